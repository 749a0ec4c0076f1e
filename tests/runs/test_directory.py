"""A run's folder is one run's."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.directory import RunDirectory
from tests.child_process import environment


@dataclass(frozen=True)
class Config:
    run: Path
    steps: int = 1
    title: str = ""


@dataclass(frozen=True)
class Inputs:
    run: Path
    train: Path
    more: tuple[Path, ...]


RUN = RunDirectory(
    what="a test", config="test.yaml", names=("log.txt", "pages"), resume_files=("state-*",), free=("title",)
)


def begin(config, resume=True, inputs=()):
    with RUN.open(config, resume, inputs):
        pass


@pytest.fixture
def config(tmp_path):
    """That of a folder with a log, and something that is not the run's."""
    config = Config(tmp_path / "deep" / "run")
    begin(config)
    for name in ("log.txt", "mine.txt", "pages/one"):
        (config.run / name).parent.mkdir(exist_ok=True)
        (config.run / name).touch()
    return config


def left(config):
    return sorted(path.name for path in config.run.iterdir() if path.name != ".lock")


def test_the_same_run_resumes(config):
    (config.run / "state-1").mkdir()
    begin(replace(config, title="another"))
    assert left(config) == ["log.txt", "mine.txt", "pages", "run.json", "state-1", "test.yaml"]
    assert "another" in (config.run / "test.yaml").read_text()


def test_another_run_is_refused_where_there_is_something_to_lose(config):
    (config.run / "state-1").mkdir()
    with pytest.raises(ConfigError, match=r"contains a test .* other options or inputs \(steps: was 1, is now 2\)"):
        begin(replace(config, steps=2))
    assert len(left(config)) == 6
    begin(replace(config, steps=2), resume=False)
    assert left(config) == ["mine.txt", "run.json", "test.yaml"]


def test_a_run_that_never_began_is_replaced(config):
    begin(replace(config, steps=2))
    assert left(config) == ["mine.txt", "run.json", "test.yaml"]


def test_another_kind_of_run_and_a_folder_that_cannot_be(config):
    (config.run / "state-1").touch()
    (config.run / "test.yaml").write_text("paces: 3\n")
    with pytest.raises(ConfigError, match="other options or inputs"):
        begin(config)
    with pytest.raises(ConfigError, match="name another folder for the run"):
        begin(Config(config.run / "test.yaml"))


def test_changed_inputs_are_refused_touched_ones_are_not(config, tmp_path):
    data, store = tmp_path / "frames.xyz", tmp_path / "a.store"
    data.write_text("one")
    store.mkdir()
    (store / "manifest.json").write_text("{}")
    begin(config, resume=False, inputs=(data, store, "bundled:nacl"))
    (config.run / "state-1").touch()
    data.write_text("one")
    begin(config, inputs=(data, store))
    data.write_text("two")
    with pytest.raises(ConfigError, match=rf"{data}: the content has changed since"):
        begin(config, inputs=(data, store))
    data.write_text("one")
    (store / "manifest.json").write_text("[]")
    with pytest.raises(ConfigError, match=rf"{store}: the content has changed since"):
        begin(config, inputs=(data, store))
    begin(config, resume=False, inputs=(data, store))


def test_of_a_run_that_is_an_input_the_potential_counts(config, tmp_path):
    """A potential may be named by the folder of the run that made it."""
    card = tmp_path / "teacher" / "model" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}")
    begin(config, resume=False, inputs=(tmp_path / "teacher",))
    (config.run / "state-1").touch()
    begin(config, inputs=(tmp_path / "teacher",))
    card.write_text("[]")
    with pytest.raises(ConfigError, match="teacher: the content has changed since"):
        begin(config, inputs=(tmp_path / "teacher",))


def test_a_run_and_its_inputs_may_be_moved_and_renamed(tmp_path):
    """Absolute paths, in an option and in a list of them; what is at the new place must be the same."""
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    for name in ("one", "two"):
        (project / "data" / f"{name}.xyz").write_text(name)

    def paths(folder):
        return [folder / "data" / f"{name}.xyz" for name in ("one", "two")]

    def resume(folder, **changed):
        inputs = paths(folder)
        options = {"run": folder / "run", "train": inputs[0], "more": tuple(inputs), **changed}
        begin(Inputs(**options), inputs=inputs)

    resume(project)
    (project / "run" / "state-1").touch()
    moved = project.rename(tmp_path / "moved")
    resume(moved)
    assert (moved / "run" / "state-1").exists() and str(moved) in (moved / "run" / "test.yaml").read_text()
    (moved / "run").rename(moved / "renamed")
    resume(moved.rename(project), run=project / "renamed")
    with pytest.raises(ConfigError, match=r'train: was ".*/data/one.xyz", is now ".*/data/two.xyz"'):
        resume(project, run=project / "renamed", train=paths(project)[1])
    with pytest.raises(ConfigError, match=r"more: was"):
        resume(project, run=project / "renamed", more=tuple(paths(project)[::-1]))
    project.rename(moved)
    paths(moved)[1].write_text("another")
    with pytest.raises(ConfigError, match=r"\(more: was"):
        resume(moved, run=moved / "renamed")


def test_files_of_others_are_never_deleted(tmp_path, monkeypatch):
    """The names that a run writes are the user's here, in the folder where the user is, and in another one."""
    run = tmp_path / "project"
    for name in ("log.txt", "pages/mine.html", "test.yaml"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("steps: [what the user wrote]")
    for resume in (True, False):
        with pytest.raises(ConfigError, match=r"contains log\.txt, pages, test\.yaml, which gnnpot did not make"):
            begin(Config(run), resume)
    monkeypatch.chdir(run)
    for name in (".", "", "..", "pages/.."):
        with pytest.raises(ConfigError, match=r"can't be the name|is the folder that you are in|or above it"):
            begin(Config(Path(name)), resume=False)
    assert (run / "pages/mine.html").read_text() and len(list(run.iterdir())) == 3


def test_folders_of_version_0_1_are_known_by_their_configuration(config):
    (config.run / "run.json").unlink()
    (config.run / "state-1").touch()
    begin(config)
    assert (config.run / "run.json").exists() and (config.run / "state-1").exists()


def test_one_process_at_a_time_and_a_killed_one_lets_go(config):
    script = (
        "import sys, time; from pathlib import Path; from gnnpot.runs.lock import RunLock\n"
        "lock = RunLock(Path(sys.argv[1]), 'a test'); lock.acquire(); print('locked', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(config.run)], stdout=subprocess.PIPE, env=environment())
    assert child.stdout.readline() == b"locked\n"
    with pytest.raises(DataError, match=r"another process is writing it \(a test\)"):
        begin(config)
    child.kill()
    child.communicate()
    begin(config)
