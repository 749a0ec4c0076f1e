"""Compilation of several kernels in several processes. Within a process, Numba compiles in one thread at a time.

    with compiled_together(lambda: overloads):      # the function is called if a kernel is not in the cache
        ...

    compile_overloads(overloads, processes=4)       # compile now

This process and the worker processes (`worker`) compile one kernel after another, those with the longest compilation
times first. Workers save the compiled kernels in the cache, from which this process loads them. A kernel that a worker
has not compiled, because it was killed or could not be started, is compiled in this process when it is called.

No workers are started if one of these conditions holds:

- all kernels are in the cache,
- another process would save less than `WORTH` seconds,
- compiled kernels can't be kept,
- another process is compiling kernels into the same folder,
- `allowed_processes` is 1, as in a process that runs one task of a larger job, and in the workers themselves.

Workers are separate programs, not forks or children of `multiprocessing`, which would run the user's script again.
"""

import collections
import contextlib
import contextvars
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock

from gnnpot.compiler.events import COMPILATIONS
from gnnpot.compiler.folder import can_be_written, kernel_folder
from gnnpot.compiler.overloads import Overload
from gnnpot.compiler.processes import is_forked

log = logging.getLogger(__name__)

#: seconds until a new process can compile; seconds that it must save to be started
START, WORTH = 3.0, 1.0


class _Expected:
    """Overloads that a block is expected to call, and that are not compiled yet."""

    def __init__(self, overloads: Callable[[], Sequence[Overload]]) -> None:
        self.overloads: Callable[[], Sequence[Overload]] | None = overloads

    def compile(self) -> None:
        """Compile the overloads; later calls do nothing."""
        overloads, self.overloads = self.overloads, None
        if overloads is not None:
            compile_overloads(overloads())


_EXPECTED: contextvars.ContextVar[_Expected | None] = contextvars.ContextVar("expected kernels", default=None)


class compiled_together:  # noqa: N801 - a context manager; it is entered at every step
    """Context manager: if a kernel that is called in the block is not in the cache, all kernels are compiled together.

    Within another such block, it does nothing: the outer block determines the kernels.

    Args:
        overloads: Returns the overloads that the block is expected to call.
    """

    def __init__(self, overloads: Callable[[], Sequence[Overload]]) -> None:
        self._overloads = overloads

    def __enter__(self) -> None:
        self._token = _EXPECTED.set(_EXPECTED.get() or _Expected(self._overloads))

    def __exit__(self, *error: object) -> None:
        _EXPECTED.reset(self._token)


def compile_expected() -> None:
    """Compile all kernels of the surrounding `compiled_together`, if any; called when a kernel is not in the cache."""
    expected = _EXPECTED.get()
    if expected is not None:
        expected.compile()


def compile_overloads(overloads: Sequence[Overload], processes: int | None = None) -> None:
    """Compile the overloads that are not in the cache in several processes. Nothing is done if this saves no time.

    Args:
        overloads: Overloads to compile.
        processes: Number of processes, including this one; `None`: `allowed_processes()`.
    """
    folder = kernel_folder()
    if folder is None or not can_be_written(folder):
        return
    most = allowed_processes() if processes is None else processes
    missing = {overload.key: overload for overload in overloads if not overload.is_kept()} if most > 1 else {}
    waiting = sorted(missing.values(), key=lambda overload: -overload.seconds)
    count = _process_count([overload.seconds for overload in waiting], most)
    if count < 2:
        return
    lock = FileLock(folder / ".compiling", timeout=0)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        # another process is compiling, or the file system has no locks
        return
    try:
        _compile(collections.deque(waiting), count - 1, folder)
    finally:
        lock.release()


def _process_count(seconds: Sequence[float], most: int) -> int:
    """Number of processes that are worth starting, given the compilation time of each kernel in seconds."""

    def expected(count: int) -> float:
        return max(*seconds, (sum(seconds) + (count - 1) * START) / count)

    count = 1
    while seconds and count < most and expected(count) - expected(count + 1) >= WORTH:
        count += 1
    return count


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota()))


def allowed_processes() -> int:
    """Return the number of processes that may compile: the number of cores that this process may use.

    It is not larger than the number of threads for kernels (`NUMBA_NUM_THREADS`, `OMP_NUM_THREADS`,
    `numba.set_num_threads`), which is 1 in each task of `runs.tasks`. It is 1 in a process that `multiprocessing`
    started or that was forked. In these cases, other processes use the other cores.
    """
    if multiprocessing.parent_process() is not None or is_forked() or not _is_python(sys.executable):
        return 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    limits = [usable_cores(), numba.get_num_threads()]
    return max(1, min(limits + ([int(threads)] if threads.isdecimal() else [])))


def _is_python(executable: str | None) -> bool:
    """Whether a path names a Python interpreter, not a program with an embedded one."""
    return bool(executable) and "python" in Path(executable or "").name.lower() and not hasattr(sys, "frozen")


def _quota() -> int:
    """Number of cores that Linux allows the processes of a container, rounded down; very large without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        return int(quota) // int(period)
    return sys.maxsize


def _compile(waiting: "collections.deque[Overload]", workers: int, folder: Path) -> None:
    with _workers(workers, folder) as started:
        threads = [threading.Thread(target=_feed, args=(worker, waiting), daemon=True) for worker in started]
        for thread in threads:
            thread.start()
        while (overload := _next(waiting)) is not None:
            overload.compile()
        for thread in threads:
            thread.join()


def _next(waiting: "collections.deque[Overload]") -> Overload | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


@contextlib.contextmanager
def _workers(count: int, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Context manager that starts worker processes. They end with the block, even in the middle of a compilation."""
    package = Path(__file__).parents[2]
    settings = {
        **os.environ, "GNNPOT_KERNELS": str(folder), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")])),
    }  # fmt: skip
    # -P: do not import modules from the current folder
    command = [sys.executable, "-P", "-m", "gnnpot.compiler.worker"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    started: list[subprocess.Popen[str]] = []
    try:
        with contextlib.suppress(OSError):
            for _ in range(count):
                started.append(subprocess.Popen(command, env=settings, encoding="utf-8", **pipes))
        yield started
    finally:
        for worker in started:
            worker.kill()
        for worker in started:
            worker.communicate()


def _feed(worker: "subprocess.Popen[str]", waiting: "collections.deque[Overload]") -> None:
    """Give a worker one overload after another as long as it answers; runs in a thread."""
    assert worker.stdin is not None and worker.stdout is not None
    try:
        # the first answer: the worker is ready
        answer = worker.stdout.readline()
        while answer and (overload := _next(waiting)) is not None:
            COMPILATIONS.begin(overload.kernel)
            try:
                worker.stdin.write(json.dumps([overload.kernel, overload.types]) + "\n")
                worker.stdin.flush()
                answer = worker.stdout.readline()
            finally:
                COMPILATIONS.end(overload.kernel)
            log.debug("worker %d: %s: %s", worker.pid, overload.kernel, answer.strip() or "has ended")
    except (OSError, ValueError) as error:
        log.info("worker %d, which compiles kernels, has ended (%s)", worker.pid, error)
