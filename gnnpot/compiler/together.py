"""What a first use needs, compiled in several processes: Numba compiles in one thread of a process at a time.

    with compiled_together(lambda: overloads):      # called when a kernel is not in the cache, else not at all
        ...

    compile_overloads(overloads, processes=4)       # now

This process compiles, the longest first, and so do worker processes (`worker`), which keep what they have compiled in
the cache, from where this one loads it. What a worker does not do, as it was killed or can't be started, is
compiled here when it is called.

No processes are started where everything is in the cache, where that is one processor's work in any case (`WORTH`),
where compiled kernels can't be kept, where another process is at it in the same folder, and where `allowed_processes`
is 1: in processes that have a task of a larger job, workers among them. They are programs of their own, not forks or
children of `multiprocessing`, which would run a user's script once more.
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

#: seconds until a process that was started can compile, and those that it has to save
START, WORTH = 3.0, 1.0


class _Expected:
    """Overloads that a block needs, until they are asked for."""

    def __init__(self, overloads: Callable[[], Sequence[Overload]]) -> None:
        self.overloads: Callable[[], Sequence[Overload]] | None = overloads

    def compile(self) -> None:
        """Compile them once."""
        overloads, self.overloads = self.overloads, None
        if overloads is not None:
            compile_overloads(overloads())


_EXPECTED: contextvars.ContextVar[_Expected | None] = contextvars.ContextVar("expected kernels", default=None)


class compiled_together:  # noqa: N801 - a block, which is entered at every step
    """A block in which all that it needs is compiled once a kernel is not in the cache; of nested ones, the outer.

    Args:
        overloads: gives what the block calls, about.
    """

    def __init__(self, overloads: Callable[[], Sequence[Overload]]) -> None:
        self._overloads = overloads

    def __enter__(self) -> None:
        self._token = _EXPECTED.set(_EXPECTED.get() or _Expected(self._overloads))

    def __exit__(self, *error: object) -> None:
        _EXPECTED.reset(self._token)


def compile_expected() -> None:
    """Called when a kernel is not in the cache: compile what the block around it needs, if there is one."""
    expected = _EXPECTED.get()
    if expected is not None:
        expected.compile()


def compile_overloads(overloads: Sequence[Overload], processes: int | None = None) -> None:
    """Compile what is not in the cache, in several processes if that is worth it; otherwise nothing is done.

    Args:
        overloads: what to compile.
        processes: how many, with this one; `None`: `allowed_processes()`.
    """
    folder = kernel_folder()
    if folder is None or not can_be_written(folder):
        return
    most = allowed_processes() if processes is None else processes
    missing = {overload.key: overload for overload in overloads if not overload.is_kept()} if most > 1 else {}
    waiting = sorted(missing.values(), key=lambda overload: -overload.seconds)
    count = _worth([overload.seconds for overload in waiting], most)
    if count < 2:
        return
    lock = FileLock(folder / ".compiling", timeout=0)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        # another process is at it, or a disk without locks
        return
    try:
        _compile(collections.deque(waiting), count - 1, folder)
    finally:
        lock.release()


def _worth(seconds: Sequence[float], most: int) -> int:
    """How many processes are worth it, for kernels that take so long."""

    def expected(count: int) -> float:
        return max(*seconds, (sum(seconds) + (count - 1) * START) / count)

    count = 1
    while seconds and count < most and expected(count) - expected(count + 1) >= WORTH:
        count += 1
    return count


def usable_cores() -> int:
    """Cores that this process may use, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota()))


def allowed_processes() -> int:
    """How many processes may compile: the cores that this one may use.

    One in a process that `multiprocessing` started or that was forked, and where kernels are to use one thread
    (`NUMBA_NUM_THREADS`, `OMP_NUM_THREADS`, `numba.set_num_threads`, as in each task of `runs.tasks`): others have the
    other cores.
    """
    if multiprocessing.parent_process() is not None or is_forked() or not _is_python(sys.executable):
        return 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    limits = [usable_cores(), numba.get_num_threads()]
    return max(1, min(limits + ([int(threads)] if threads.isdecimal() else [])))


def _is_python(executable: str | None) -> bool:
    """Whether it is an interpreter, not a program that has Python within it."""
    return bool(executable) and "python" in Path(executable or "").name.lower() and not hasattr(sys, "frozen")


def _quota() -> int:
    """Cores that Linux grants the processes of a container, rounded down."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        return int(quota) // int(period)
    return sys.maxsize


def _compile(waiting: "collections.deque[Overload]", workers: int, folder: Path) -> None:
    with _workers(workers, folder) as started:
        threads = [threading.Thread(target=_hand_on, args=(worker, waiting), daemon=True) for worker in started]
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
    """Processes that end with the block, in the middle of a kernel if it is left by an exception."""
    package = Path(__file__).parents[2]
    settings = {
        **os.environ, "GNNPOT_KERNELS": str(folder), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")])),
    }  # fmt: skip
    # -P: nothing from the folder that it runs in
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


def _hand_on(worker: "subprocess.Popen[str]", waiting: "collections.deque[Overload]") -> None:
    """A thread: give a worker one overload after the other, as long as it answers."""
    assert worker.stdin is not None and worker.stdout is not None
    try:
        # it has been imported
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
