"""Tasks through executors: each is done once, deaths of workers lose none, and a run resumes."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.executors import open_executor
from gnnpot.runs.processes import Processes, WorkerDiedError
from gnnpot.runs.results_log import ResultsLog
from gnnpot.runs.tasks import ATTEMPTS, WorkerFactory, run_tasks
from tests.runs.workers import die, fail, lambda_of, square, squares


def batches(numbers, size=1):
    numbers = list(numbers)
    return [[(n, n) for n in numbers[k : k + size]] for k in range(0, len(numbers), size)]


def run(folder, executor, numbers=range(8), size=1, **options) -> dict:
    """The record of each number."""
    lost = []

    def give_up(content, reason):
        lost.append((content, reason))
        return b"lost"

    with ResultsLog(folder, {}) as results:
        waiting = batches((n for n in numbers if n not in results), size)
        run_tasks(WorkerFactory(squares(**options)), waiting, results, executor, lost=give_up)
        records = dict(zip(sorted(results._places), results.contents(), strict=True))
    assert all("exit status -9" in reason for _, reason in lost)
    return records


SQUARES = {n: str(n * n).encode() for n in range(8)}


def test_processes_are_an_executor_that_survives_deaths():
    with Processes(1) as executor:
        futures = [executor.submit(f, 3) for f in (square, fail, lambda_of, die, square)]
        assert futures[0].result() == 9 and futures[4].result() == 9
        with pytest.raises(ValueError, match="not today"):
            futures[1].result()
        with pytest.raises(RuntimeError, match="can't be sent"):
            futures[2].result()
        with pytest.raises(WorkerDiedError, match="exit status -9"):
            futures[3].result()
        with pytest.raises(Exception, match=r"pickle|local object"):
            executor.submit(lambda: None).result()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(square, 1)
    with pytest.raises(ConfigError, match="processes: 0 is not positive"):
        Processes(0)


def test_a_death_costs_a_task_no_more_than_another_try(tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    with Processes(1) as executor:
        assert run(tmp_path / "once", executor, size=3, once=(4, flag)) == SQUARES and not flag.exists()
        # of a batch, only the task that kills its process each time is lost
        found = run(tmp_path / "deadly", executor, range(2, 6), size=4, deadly=(4,))
    assert ATTEMPTS > 1 and found == {n: SQUARES[n] if n != 4 else b"lost" for n in range(2, 6)}


def test_any_executor_does_the_same(tmp_path):
    with ThreadPoolExecutor(2) as executor:
        assert run(tmp_path / "threads", executor, size=2) == SQUARES
    assert run(tmp_path / "none", None) == SQUARES
    with (
        pytest.raises(RuntimeError, match="a worker failed: ValueError: -1 is negative"),
        ThreadPoolExecutor(1) as pool,
    ):
        run(tmp_path / "negative", pool, [1, -1])
    # a process of the standard library's executor that dies takes it along: what was done is kept
    ended = pytest.raises(DataError, match="the executor has ended .* run the same command again")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor, ended:
        run(tmp_path / "broken", executor, deadly=(3,))
    assert run(tmp_path / "broken", None) == SQUARES


def test_executors_are_checked_by_name():
    for name, processes, problem in [
        ("dask", None, "executor: 'dask' is not known; give processes, dask:ADDRESS or mpi"),
        ("processes:4", None, "'processes:4' is not known"),
        ("mpi", 2, "processes: 2 is for local processes, mpi has its own workers"),
    ]:
        with pytest.raises(ConfigError, match=problem), open_executor(name, processes):
            pass
    with open_executor("processes", 3) as executor:
        assert isinstance(executor, Processes) and executor.count == 3


def test_a_cluster_that_is_not_there_is_said(monkeypatch):
    pytest.importorskip("distributed", reason="needs Dask: pip install gnnpot[dask]")
    monkeypatch.setattr("gnnpot.runs.executors._ANSWER", 1.0)
    nobody = pytest.raises(ConfigError, match="no Dask scheduler answers at tcp://127.0.0.1:9")
    with nobody, open_executor("dask:tcp://127.0.0.1:9"):
        pass
