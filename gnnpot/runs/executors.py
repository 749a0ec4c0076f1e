"""Executors of commands: local processes, a Dask cluster, or MPI ranks.

    with open_executor("processes", 4) as executor: ...
    with open_executor("dask:tcp://node1:8786") as executor: ...
    with open_executor("mpi") as executor: ...              # in a program started by mpiexec: mpiexec -n 4 …

Each is a `concurrent.futures.Executor`; `runs.tasks` also accepts any other executor.

| executor       | workers                   | if a worker dies                                               |
|----------------|---------------------------|----------------------------------------------------------------|
| `processes`    | local processes           | it is replaced by a new one                                    |
| `dask:ADDRESS` | workers of the scheduler  | Dask reassigns its tasks; workers may join at any time         |
| `mpi`          | all ranks but the first   | MPI ends the whole run; the same command resumes it            |

If the Dask scheduler dies, the run ends with an error; the same command, with a new scheduler, resumes it.
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

#: values that `open_executor` accepts, for help texts
EXECUTORS = "processes, dask:ADDRESS or mpi"
#: timeout of the connection to a scheduler, s
_ANSWER = 20.0


@contextlib.contextmanager
def open_executor(name: str, processes: int | None = None) -> Iterator[Executor]:
    """Open an executor, and shut it down at the end of the `with` block.

    Args:
        name: `processes`, `dask:ADDRESS` with the address of a Dask scheduler, or `mpi`.
        processes: Number of local processes, 1 by default; not allowed for other executors.

    Returns:
        A context manager that provides the executor.

    Raises:
        ConfigError: The name or number is invalid, the cluster can't be reached or has no workers, or there is only one
            MPI rank.
        MissingExtraError: dask.distributed or mpi4py is not installed.
        SystemExit: With status 0, in all MPI ranks but the first, when they have finished.
    """
    kind, _, address = name.partition(":")
    if kind not in ("processes", "dask", "mpi") or (kind == "dask") != bool(address):
        raise ConfigError(f"executor: '{name}' is not known; give {EXECUTORS}")
    if kind != "processes" and processes is not None:
        raise ConfigError(f"processes: {processes} is for local processes, {name} has its own workers; leave it out")
    opened = _dask(address) if kind == "dask" else _mpi() if kind == "mpi" else _processes(processes or 1)
    with opened as executor:
        yield executor


def _processes(count: int) -> contextlib.AbstractContextManager[Executor]:
    # imports multiprocessing, which is only needed here
    from gnnpot.runs.processes import Processes

    return Processes(count)


@contextlib.contextmanager
def _only_critical(*packages: str) -> Iterator[None]:
    """Restrict the logging of packages to critical messages within the block."""
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
    # the tasks raise an error if the connection is lost; the log messages would only add tracebacks
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
        # this also cancels running tasks
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
        # `executor` is None in other ranks, which have worked until the first rank has shut down its executor
        if executor is not None:
            try:
                yield executor
            finally:
                executor.shutdown(wait=True, cancel_futures=True)
    if world.rank:
        raise SystemExit(0)
