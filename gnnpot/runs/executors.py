"""The executors that commands offer: processes of this machine, a Dask cluster, ranks of MPI.

    with open_executor("processes", 4) as executor: ...
    with open_executor("dask:tcp://node1:8786") as executor: ...
    with open_executor("mpi") as executor: ...              # in a program that mpiexec started: mpiexec -n 4 …

Each is a `concurrent.futures.Executor`; what runs tasks (`runs.tasks`) takes any other one too.

| executor       | workers                   | where a worker dies                                          |
|----------------|---------------------------|--------------------------------------------------------------|
| `processes`    | processes of this machine | a new one takes its place                                    |
| `dask:ADDRESS` | those of the scheduler    | Dask hands its tasks to others; workers may join at any time |
| `mpi`          | all ranks but the first   | MPI ends the whole run; the same command resumes it          |

Where the scheduler of Dask dies, the run ends with an error; the same command, with another scheduler, resumes it.
"""

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from gnnpot.errors import ConfigError
from gnnpot.extras import needs_extra

if TYPE_CHECKING:
    from distributed import Client

#: what `open_executor` takes, for help texts
EXECUTORS = "processes, dask:ADDRESS or mpi"
#: seconds in which a scheduler has to answer
_ANSWER = 20.0


@contextlib.contextmanager
def open_executor(name: str, processes: int | None = None) -> Iterator[Executor]:
    """An executor that ends with the block.

    Args:
        name: `processes`, `dask:ADDRESS` with the address of a Dask scheduler, or `mpi`.
        processes: how many of this machine, 1 if it is left out; the other executors have workers of their own.

    Returns:
        A context manager that gives the executor, and shuts it down at its end.

    Raises:
        ConfigError: The name or number can't be, a cluster can't be reached or has no workers, or there is one rank.
        MissingExtraError: dask.distributed or mpi4py is not installed.
        SystemExit: Of status 0, in ranks of MPI other than the first, after they have worked.
    """
    kind, _, address = name.partition(":")
    if kind not in ("processes", "dask", "mpi") or (kind == "dask") != bool(address):
        raise ConfigError(f"executor: '{name}' is not known; give {EXECUTORS}")
    if kind != "processes" and processes is not None:
        raise ConfigError(f"processes: {processes} is of this machine, and {name} has workers of its own; give one")
    opened = _dask(address) if kind == "dask" else _mpi() if kind == "mpi" else _processes(processes or 1)
    with opened as executor:
        yield executor


def _processes(count: int) -> contextlib.AbstractContextManager[Executor]:
    # multiprocessing, which commands that only need the names above don't
    from gnnpot.runs.processes import Processes

    return Processes(count)


@contextlib.contextmanager
def _only_critical(*packages: str) -> Iterator[None]:
    """Packages that log nothing else within the block."""
    known = {*packages, *(n for n in logging.root.manager.loggerDict if n.partition(".")[0] in packages)}
    before = {name: logging.getLogger(name).level for name in known}
    for name in known:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _dask(address: str) -> Iterator[Executor]:
    with needs_extra(f"dask:{address}"):
        from distributed import Client
    # a connection that is lost is raised by the tasks; what is logged of it are tracebacks
    with _only_critical("distributed", "tornado"), _client(Client, address) as client:
        yield from _tasks_of(client, address)


def _client(kind: type["Client"], address: str) -> "Client":
    try:
        return kind(address, timeout=_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or "no answer"
        raise ConfigError(
            f"executor: no Dask scheduler answers at {address} ({reason[:200]}); start one (dask scheduler), and give "
            "the address that it prints"
        ) from None


def _tasks_of(client: "Client", address: str) -> Iterator[Executor]:
    threads = client.nthreads()
    start = f"dask worker {address} --nworkers 4 --nthreads 1"
    if not threads:
        raise ConfigError(f"executor: the Dask scheduler at {address} has no workers; start some: {start}")
    if (most := max(threads.values())) > 1:
        raise ConfigError(
            f"executor: a Dask worker at {address} has {most} threads, and gnnpot's tasks need a process each; "
            f"start workers of one thread: {start}"
        )
    _same_version(client.run(_version), address)
    executor = client.get_executor(pure=False)
    try:
        yield executor
    finally:
        # which cancels what is running
        executor.shutdown(wait=False)


def _version() -> str:
    import gnnpot

    return gnnpot.__version__


def _same_version(versions: dict[str, str], address: str) -> None:
    here = _version()
    for worker, version in versions.items():
        if version != here:
            raise ConfigError(
                f"executor: the Dask worker {worker} of {address} has gnnpot {version}, and this is {here}; install "
                "the same version there"
            )


@contextlib.contextmanager
def _mpi() -> Iterator[Executor]:
    with needs_extra("mpi"):
        try:
            from mpi4py import MPI
        except RuntimeError as error:
            raise ConfigError(f"executor: mpi4py finds no MPI ({error}); install one: pip install mpich") from None
        from mpi4py.futures import MPICommExecutor
    world = MPI.COMM_WORLD
    if world.size < 2:
        raise ConfigError(
            "executor: mpi has one rank, and the first only hands out tasks; start the command over several, as "
            "mpiexec -n 4 gnnpot …"
        )
    executor: Any
    with MPICommExecutor(world) as executor:
        # the others have worked within MPICommExecutor until the first one shut it down
        if executor is not None:
            try:
                yield executor
            finally:
                executor.shutdown(wait=True, cancel_futures=True)
    if world.rank:
        raise SystemExit(0)
