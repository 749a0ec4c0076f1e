"""Results survive kills, and belong to one plan."""

import subprocess
import sys

import pytest

from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.results_log import ResultsLog


def test_it_is_for_one_process_and_forgets_what_is_damaged(tmp_path):
    with ResultsLog(tmp_path / "j", {"a": 1}) as results:
        for k in (2, 0, 1):
            results.add(k, bytes([k]) * 10)
        with pytest.raises(DataError, match="another process"):
            ResultsLog(tmp_path / "j", {"a": 1})
        assert list(results.contents()) == [b"\0" * 10, b"\1" * 10, b"\2" * 10]
    data = (tmp_path / "j" / "journal").read_bytes()
    (tmp_path / "j" / "journal").write_bytes(data[:-1] + b"x")
    with ResultsLog(tmp_path / "j", {"a": 1}) as results:
        assert len(results) == 2 and 1 not in results


def test_another_plan_is_refused_where_there_are_results(tmp_path):
    with ResultsLog(tmp_path / "j", {"a": 1}):
        pass
    with ResultsLog(tmp_path / "j", {"a": {"b": 2, "c": 3}}) as results:
        results.add(0, b"done")
    with pytest.raises(ConfigError, match=r"\(a\.b: was 2, is now 4\).*--fresh"):
        ResultsLog(tmp_path / "j", {"a": {"b": 4, "c": 3}}, "labelling")
    with ResultsLog(tmp_path / "j", {"a": 4}, fresh=True) as results:
        assert len(results) == 0


def test_a_full_disk_gives_a_sentence_and_releases_the_lock(tmp_path):
    """The size limit of files has the effect of a full disk; it holds for a whole process."""
    code = """
import resource, signal, sys
from pathlib import Path
from gnnpot.errors import DataError
from gnnpot.runs.results_log import ResultsLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
try:
    with ResultsLog(folder, {"a": 1}) as log:
        log.add(1, b"kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, unlimited[1]))
        log.add(2, bytes(1000))
except DataError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
with ResultsLog(folder, {"a": 1}) as log:
    print(*log.contents())
"""
    pytest.importorskip("resource", reason="needs limits of POSIX")
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "j"], capture_output=True, text=True, check=True)
    sentence, kept = done.stdout.splitlines()
    assert "free some space and run the same command again" in sentence and kept == "b'kept'"


def test_a_plan_that_cannot_be_written_releases_the_lock(tmp_path):
    folder = tmp_path / "j"
    (folder / "plan.json" / "in the way").mkdir(parents=True)
    with pytest.raises(DataError, match="plan.json: can't be written") as kept:
        ResultsLog(folder, {"a": 1})
    (folder / "plan.json" / "in the way").rmdir()
    (folder / "plan.json").rmdir()
    with ResultsLog(folder, {"a": 1}) as results:
        assert len(results) == 0
    # the error holds the frame of the constructor, which would release the lock when it is collected
    del kept
