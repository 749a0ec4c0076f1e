"""What may be written, and what may be replaced."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.files import move_folder, new_folder, recover, write_atomically, write_text
from gnnpot.runs.guard import (
    FolderKind,
    check_distinct,
    check_file,
    check_folder,
    check_new_run,
    check_not_input,
    check_report_folder,
)
from gnnpot.runs.pages import page
from tests.child_process import environment

KIND = FolderKind("a book", "index.json", "book", ("page-*.txt",))


def book(folder, word="old"):
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({"format": "book"}))
    (folder / "page-1.txt").write_text(word)
    return folder


def replace(folder, word="new"):
    with new_folder(folder, overwrite=True, kind=KIND) as partial:
        (partial / "index.json").write_text(json.dumps({"format": "book"}))
        (partial / "page-1.txt").write_text(word)


def test_names_that_cannot_be_outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for check in (check_file, check_folder):
        for name in ("", ".", "..", "/", "a" * 300, "é" * 120, "a\0b", f"{'b' * 300}/c"):
            with pytest.raises(DataError, match="can't be the name|is a name of"):
                check(name, overwrite=True)
    with pytest.raises(DataError, match="missing does not exist; make it first"):
        check_file("missing/file")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        check_folder("file/inside/it")
    assert check_folder("new/folders/too") == Path("new/folders/too")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    for check in (check_file, check_folder):
        with pytest.raises(DataError, match="is read-only"):
            check(tmp_path / "out")


def test_only_ordinary_files_are_replaced(tmp_path):
    ordinary, link, fifo = (tmp_path / name for name in ("ordinary", "link", "fifo"))
    ordinary.write_text("mine")
    link.symlink_to(ordinary)
    os.mkfifo(fifo)
    for path, what in ((link, "a link"), (fifo, "a FIFO"), (Path("/dev/null"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(DataError, match=f"is {what}"):
            write_atomically(path, lambda p: p.write_text("x"), overwrite=True)
        if path != tmp_path:
            with pytest.raises(DataError, match=f"is {what}"):
                check_folder(path, overwrite=True, kind=KIND)
    with pytest.raises(DataError, match="exists already"):
        check_file(ordinary)
    write_atomically(ordinary, lambda p: p.write_text("new"), overwrite=True)
    assert ordinary.read_text() == "new" and sorted(p.name for p in tmp_path.iterdir()) == ["fifo", "link", "ordinary"]


def test_only_folders_that_gnnpot_made_are_replaced(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    replace(mine)  # empty
    (mine / "notes.txt").write_text("of the user")
    with pytest.raises(DataError, match=r"contains notes\.txt beside a book, which would be lost"):
        replace(mine)
    other = tmp_path / "other"
    other.mkdir()
    for content in ("{}", "[]", "{", '{"format": "another"}'):
        (other / "index.json").write_text(content)
        with pytest.raises(DataError, match="is not a book that gnnpot made"):
            replace(other)
    with pytest.raises(DataError, match="is not a folder of gnnpot"), new_folder(other, overwrite=True):
        pass
    assert (other / "index.json").exists()
    damaged = book(tmp_path / "damaged")
    (damaged / "index.json").write_text("{")
    replace(damaged)
    assert (damaged / "page-1.txt").read_text() == "new"


def test_two_outputs_are_never_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="can't be both the trajectory and the log"):
        check_distinct({"trajectory": "x", "plot": None, "log": "./x"})
    check_distinct({"trajectory": "x", "log": "y", "plot": None, "table": None})


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.runs.test_guard import replace
rename, done = os.rename, []
def killing(source, target):
    done.append(1)
    if len(done) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.rename = killing
replace(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("call", [1, 2, 3])
def test_killed_between_the_renames_nothing_stays_for_ever(tmp_path, call):
    """Before the first rename, before the second, and after both."""
    folder = book(tmp_path / "a.book")
    ended = subprocess.run([sys.executable, "-c", KILLED, folder, str(call)], env=environment(), check=False)
    assert ended.returncode == (-signal.SIGKILL if call < 3 else 0)
    recover(folder)
    assert (folder / "page-1.txt").read_text() == ("old" if call < 3 else "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.book"]
    replace(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a.book"]


def test_what_living_processes_write_beside_is_left_alone(tmp_path):
    folder = book(tmp_path / "a.book")
    with new_folder(folder, overwrite=True, kind=KIND) as partial:
        book(partial / "page-2.txt")
        recover(folder)
        assert partial.exists()
    # version 0.1: no host in the name; 2**22 is the largest process number
    book(tmp_path / f".a.book.{2**22 + 1}.old")
    recover(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a.book"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path):
    folder = book(tmp_path / "a.book")
    with pytest.raises(OSError):
        move_folder(tmp_path / "missing", folder, KIND)
    assert (folder / "page-1.txt").read_text() == "old"
    with pytest.raises(DataError, match="can't be written"):
        write_text(folder, "a folder is in the way")
    assert [path.name for path in tmp_path.iterdir()] == ["a.book"]


def test_reports_go_into_folders_of_their_own(tmp_path):
    names = ("report.html", "*.png")
    folder = tmp_path / "report"
    assert check_report_folder(folder, names) == folder
    folder.mkdir()
    (folder / "report.html").write_text(page("mine", []))
    (folder / "errors.png").touch()
    check_report_folder(folder, names)
    (folder / "report.html").write_text("<p>of the user</p>")
    with pytest.raises(DataError, match=r"report\.html that gnnpot did not make"):
        check_report_folder(folder, names)
    (folder / "thesis.txt").touch()
    with pytest.raises(DataError, match=r"contains thesis\.txt"):
        check_report_folder(folder, names)
    with pytest.raises(DataError, match="is a file"):
        check_report_folder(folder / "thesis.txt", names)


def test_no_output_is_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="can't be both an input and the output"):
        check_not_input({"output": "./a.xyz", "log": None}, ["b.xyz", tmp_path / "a.xyz"])
    check_not_input({"output": "c.xyz"}, ["a.xyz"])


def test_a_new_run_needs_an_empty_folder(tmp_path):
    check_new_run(tmp_path / "new", "--output")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="did not make"):
        check_new_run(tmp_path, "--output")


def test_what_another_process_made_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(DataError, match="exists already"), new_folder(tmp_path / "a.book", kind=KIND) as partial:
        book(partial / "page-2.txt")
        book(tmp_path / "a.book", "of another process")
    assert (tmp_path / "a.book" / "page-1.txt").read_text() == "of another process"
    assert [path.name for path in tmp_path.iterdir()] == ["a.book"]
