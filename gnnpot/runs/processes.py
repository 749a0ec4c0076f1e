"""Worker processes that end with their parent, use one thread each, and are replaced if they die.

    with Processes(4) as executor:                   # a `concurrent.futures.Executor`
        executor.submit(work, 7).result()

    context.Process(target=serve, ...)               # other processes: serve() must first call end_with_parent()
    with one_thread(): ...

If the parent is killed, a worker that waits for its next task notices the closed connection. A worker that is running a
task would continue, and write to the same files as a resumed run; `end_with_parent` prevents this.
"""

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from gnnpot.errors import ConfigError

#: function, positional and keyword arguments
_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class WorkerDiedError(Exception):
    """The process that was running a task was killed or crashed."""


def end_with_parent() -> None:
    """End this worker process when its parent ends for any reason.

    It does nothing in a process that was not started by `multiprocessing`.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        # no clean-up is needed: there is no parent to report to, and files are complete after each write
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread of torch and numba within the block; the rounding of sums depends on the number of threads."""
    libraries = [sys.modules[name] for name in ("torch", "numba") if name in sys.modules]
    before = [library.get_num_threads() for library in libraries]
    try:
        for library in libraries:
            library.set_num_threads(1)
        yield
    finally:
        for library, threads in zip(libraries, before, strict=True):
            library.set_num_threads(threads)


class Processes(Executor):
    """A process pool executor that replaces processes that die.

    A task whose process dies raises `WorkerDiedError`; the other tasks continue in other processes, and the process is
    replaced. (`concurrent.futures.ProcessPoolExecutor` fails all tasks if a process dies.) Processes are started on
    demand, with `spawn`; functions and arguments must be picklable and importable. If a `with` block is left by an
    exception, all processes are terminated.

    Args:
        count: Number of processes.

    Raises:
        ConfigError: `count` is not positive.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ConfigError(f"processes: {count} is not positive")
        self.count = count
        self._context = multiprocessing.get_context("spawn")
        self._waiting: queue.SimpleQueue[tuple[Future, _Call] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._processes: set[BaseProcess] = set()
        self._lock = threading.Lock()
        self._closed = self._stopped = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Submit a task, see `concurrent.futures.Executor.submit`."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this executor has been shut down")
            future: Future = Future()
            self._waiting.put((future, (fn, args, kwargs)))
            if len(self._threads) < self.count:
                self._threads.append(threading.Thread(target=self._run_worker, name="processes", daemon=True))
                self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes when all tasks are done; with `cancel_futures`, terminate them immediately."""
        with self._lock:
            self._closed = True
            self._stopped = self._stopped or cancel_futures
            if self._stopped:
                for process in self._processes:
                    process.terminate()
            for _ in self._threads:
                self._waiting.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown(cancel_futures=kind is not None)

    def _run_worker(self) -> None:
        """Thread function: send tasks to one worker process, and set the results of the futures."""
        worker: tuple[BaseProcess, Connection] | None = None
        while (item := self._waiting.get()) is not None:
            future, call = item
            if self._stopped:
                future.cancel()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                worker = worker or self._started()
                done, value = _called(worker[1], call)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                status = None if worker is None else self._ended(*worker)
                worker = None
                future.set_exception(WorkerDiedError(f"its process died, exit status {status}"))
            except Exception as error:  # noqa: BLE001 - pickling errors; the future must always be completed
                future.set_exception(error)
            else:
                if done:
                    future.set_result(value)
                else:
                    future.set_exception(value)
        if worker is not None:
            self._ended(*worker)

    def _started(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        with self._lock:
            if self._stopped:
                raise BrokenPipeError
            process.start()
            self._processes.add(process)
        theirs.close()
        return process, ours

    def _ended(self, process: BaseProcess, connection: Connection) -> int | None:
        connection.close()
        process.join()
        with self._lock:
            self._processes.discard(process)
        return process.exitcode


def _called(connection: Connection, call: _Call) -> tuple[bool, Any]:
    connection.send(call)
    return connection.recv()


def _serve(connection: Connection) -> None:
    """Execute the calls received from `connection` until it is closed, or until the process at its other end dies."""
    end_with_parent()
    # Ctrl-C is handled by the parent, which then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            answer = _answer(connection)
            try:
                connection.send(answer)
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 - pickle raises any kind
                connection.send((False, RuntimeError(f"{answer[1]!r:.200} can't be sent ({error})")))


def _answer(connection: Connection) -> tuple[bool, Any]:
    """Execute the next call; return (True, result) or (False, exception)."""
    try:
        function, args, kwargs = connection.recv()
    except (EOFError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - a function or argument that can't be imported here
        return False, error
    try:
        return True, function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - it is raised in the caller
        return False, error
