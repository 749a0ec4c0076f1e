"""A two-worker Dask cluster and a two-rank MPI run, with a worker killed in the middle of each, and a scheduler."""

import functools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ase.build import bulk

from gnnpot.cli.common import open_calculator
from gnnpot.data import Frame, Provenance
from gnnpot.engines.relax import RelaxConfig
from gnnpot.sampling import LabelConfig, Labeller, Original, Rattled, label
from gnnpot.workflows.many import Model, Relaxing, open_structures, run_many
from tests.child_process import environment
from tests.workflows.many.conftest import EMT, OPTIONS, digests, gnnpot

KILLS_ITSELF = "tests.workflows.many.calculators:KillsItself"


@pytest.fixture
def whole(file, tmp_path):
    """What comes out without a cluster."""
    model = Model(functools.partial(open_calculator, EMT), EMT)
    return run_many(open_structures(file), Relaxing(RelaxConfig(fmax=0.2, cell="none")), model, tmp_path / "whole")


@pytest.fixture
def flag(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "flag"
    path.touch()
    monkeypatch.setenv("KILL", str(path))
    return path


@pytest.fixture
def cluster(flag):
    """Two workers that a nanny each starts again when they are killed."""
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install gnnpot[dask]")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    ) as opened:
        yield opened


def test_dask_workers_that_are_killed_are_replaced(cluster, flag, file, whole, tmp_path):
    where = f"dask:{cluster.scheduler_address}"
    words = ("--many", *OPTIONS, "-q", "--json", "-m", KILLS_ITSELF, "--executor", where)
    done = gnnpot("relax", file, *words, "-o", tmp_path / "relaxed")
    assert done.returncode == 3, done.stderr
    assert not flag.exists() and json.loads(done.stdout)["failed"] == 1
    assert digests(tmp_path / "relaxed") == digests(whole.folder)
    # the same workers label
    flag.touch()
    frames = [Frame.from_atoms(bulk(s, cubic=True), Provenance("bulk", s, s)) for s in ("Cu", "Au", "Al")]
    config = LabelConfig((Original(), Rattled(rattle=0.1, count=2)), seed=3)
    labeller = Labeller(functools.partial(open_calculator, KILLS_ITSELF), "EMT")
    from gnnpot.runs.executors import open_executor

    with open_executor(where) as executor:
        two = label(frames, labeller, tmp_path / "dask.store", config, processes=executor)
    one = label(frames, Labeller(functools.partial(open_calculator, EMT), "EMT"), tmp_path / "one.store", config)
    assert not flag.exists() and [f.energy for f in two] == [f.energy for f in one]
    assert one.manifest.to_text() == two.manifest.to_text()


@pytest.fixture
def scheduler(flag, tmp_path):
    """A scheduler with one worker, as processes; it is the one to be killed."""
    pytest.importorskip("distributed", reason="needs Dask: pip install gnnpot[dask]")
    place = tmp_path / "scheduler.json"
    dask = (sys.executable, "-m", "dask")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    quiet["env"] = environment(OMP_NUM_THREADS="1")
    words = (*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", place)
    with subprocess.Popen(words, **quiet) as opened:
        flag.write_text(str(opened.pid))
        while not place.is_file():
            assert opened.poll() is None
            time.sleep(0.1)
        words = (*dask, "worker", "--scheduler-file", place, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        with subprocess.Popen((*words, "--death-timeout", "5"), **quiet) as worker:
            address = json.loads(place.read_text())["address"]
            from distributed import Client

            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(1)
            yield address
            worker.kill()
        opened.kill()


def test_a_dask_scheduler_that_dies_ends_the_run_which_resumes(scheduler, flag, file, whole, tmp_path):
    killing = "tests.workflows.many.calculators:KillsAnother"
    words = ("relax", file, "--many", *OPTIONS, "-q", "-m", killing, "-o", tmp_path / "relaxed")
    done = gnnpot(*words, "--executor", f"dask:{scheduler}")
    assert done.returncode == 1, done.stderr
    assert not flag.exists() and not (tmp_path / "relaxed").exists()
    assert done.stderr.count("\n") == 1, done.stderr
    sentence = done.stderr.strip()
    assert sentence.startswith("error: the executor has ended (")
    assert sentence.endswith("what was done is kept, run the same command again")
    again = gnnpot(*words, "--json")
    assert again.returncode == 3, again.stderr
    assert digests(tmp_path / "relaxed") == digests(whole.folder)


def mpiexec() -> tuple[str, ...]:
    """The command that starts ranks, with an MPI that mpi4py finds."""
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install gnnpot[mpi]")
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("needs mpiexec: pip install mpich")
    return (found,)


def test_mpi_ends_with_a_rank_and_resumes(flag, file, whole, tmp_path):
    ranks = (*mpiexec(), "-n", "2")
    words = ("relax", file, "--many", *OPTIONS, "-q", "--json", "-m", KILLS_ITSELF)
    words = (*words, "--executor", "mpi", "-o", tmp_path / "relaxed")
    assert gnnpot(*words, before=ranks, kill=flag).returncode != 0
    assert not flag.exists() and not (tmp_path / "relaxed").exists()
    again = gnnpot(*words, before=ranks)
    assert again.returncode == 3, again.stderr
    found = json.loads(again.stdout)
    assert 2 <= found["resumed_from"] < 10 and found["failed"] == 1
    assert digests(tmp_path / "relaxed") == digests(whole.folder)
    assert pq.read_table(found["table"]).num_rows == 10
    # what is wrong ends all ranks, with one sentence
    wrong = gnnpot("relax", tmp_path / "none.cif", *words[2:], before=ranks)
    assert wrong.returncode == 1 and wrong.stderr.count("there is no such file") == 1
    alone = gnnpot(*words, before=(*mpiexec(), "-n", "1"))
    assert alone.returncode == 1 and "mpiexec -n 4 gnnpot" in alone.stderr
