"""Execution of tasks with any `concurrent.futures.Executor`, with a results log.

    factory = WorkerFactory(make_worker)     # creates the worker, once in each process
    with ResultsLog(folder, plan) as results, open_executor("processes", 4) as executor:
        run_tasks(factory, batches, results, executor, lost=lost)

A batch is a sequence of tasks (number, content) that a worker does in one call. The result of each task is a record of
bytes, which only depends on the task. Tasks in the results log are not repeated, so that a run can be resumed after it,
or its workers, were killed. A batch whose worker dies is tried `ATTEMPTS` times, then each of its tasks separately.
"""

import functools
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gnnpot.errors import DataError, GnnpotError
from gnnpot.runs.processes import WorkerDiedError, one_thread
from gnnpot.runs.results_log import ResultsLog

#: contents of tasks -> record of each task
Worker = Callable[[Sequence[Any]], Sequence[bytes]]
#: (number, content) of each task
Batch = Sequence[tuple[int, Any]]

#: number of attempts for a batch whose worker dies
ATTEMPTS = 3
#: largest number of submitted batches; more than the workers of a cluster, few enough for memory
IN_FLIGHT = 1024

#: calculators require one task at a time in a process, also if a worker of a cluster has several threads
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class WorkerFactory:
    """Factory of the worker that does the tasks of a run."""

    make: Callable[[], Worker] = field(compare=False)  #: called once in each process, in which it must be importable
    key: str = field(default_factory=lambda: uuid.uuid4().hex)  #: key of the worker in the cache of a process


def run_tasks(
    factory: WorkerFactory,
    batches: Iterable[Batch],
    results: ResultsLog,
    executor: Executor | None = None,
    *,
    lost: Callable[[Any, str], bytes],
    done: Callable[[Sequence[bytes]], None] = lambda records: None,
) -> None:
    """Run tasks, and add their records to the results log.

    Args:
        factory: Creates the worker.
        batches: Batches of tasks that are not in the results; iterated over on demand.
        results: The open results log.
        executor: Any executor, whose workers must have gnnpot and the files that `factory` needs; `None` to run the
            tasks in this process.
        lost: Called with the content of a task and the reason if its worker died in all attempts; returns the record,
            or raises.
        done: Called with the new records of each batch, after they have been added to the results.

    Raises:
        GnnpotError: Raised by a worker.
        RuntimeError: A worker raised any other exception, which is a bug.
        DataError: The executor has ended.
    """
    if executor is not None:
        _SubmittedBatches(factory, executor, results, lost, done).do(iter(batches))
        return
    worker = factory.make()
    with one_thread():
        for batch in batches:
            done(_kept(results, batch, worker([content for _, content in batch])))


class _SubmittedBatches:
    """Submits batches to an executor, and collects their records."""

    def __init__(
        self, factory: WorkerFactory, executor: Executor, results: ResultsLog, lost: Callable[[Any, str], bytes],
        done: Callable[[Sequence[bytes]], None],
    ) -> None:  # fmt: skip
        self.factory, self.executor, self.results, self.lost, self.done = factory, executor, results, lost, done
        self._running: dict[Future, tuple[Batch, int]] = {}
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()

    def do(self, batches: Iterable[Batch]) -> None:
        try:
            for batch in islice(batches, IN_FLIGHT):
                self._submit(batch)
            while self._running:
                future = self._ended.get()
                batch, attempt = self._running.pop(future)
                if (death := _death(future)) is not None:
                    self._died(batch, attempt, death)
                else:
                    self.done(_kept(self.results, batch, future.result()))
                for following in islice(batches, max(0, IN_FLIGHT - len(self._running))):
                    self._submit(following)
        finally:
            for future in self._running:
                future.cancel()

    def _submit(self, batch: Batch, attempt: int = 1) -> None:
        try:
            future = self.executor.submit(do_batch, self.factory, [content for _, content in batch])
        except (BrokenExecutor, RuntimeError) as error:
            raise _no_executor(error) from None
        self._running[future] = batch, attempt
        future.add_done_callback(self._ended.put)

    def _died(self, batch: Batch, attempt: int, death: str) -> None:
        if attempt < ATTEMPTS:
            self._submit(batch, attempt + 1)
        elif len(batch) > 1:
            for task in batch:
                self._submit([task])
        else:
            ((_, content),) = batch
            self.done(_kept(self.results, batch, [self.lost(content, death)]))


def do_batch(factory: WorkerFactory, contents: Sequence[Any]) -> Sequence[bytes]:
    """Run tasks in a worker process, and return their records."""
    with _ONE_AT_A_TIME:
        worker = _worker(factory)
        with one_thread():
            return worker(contents)


@functools.lru_cache(maxsize=1)
def _worker(factory: WorkerFactory) -> Worker:
    return factory.make()


def _kept(results: ResultsLog, batch: Batch, records: Sequence[bytes]) -> list[bytes]:
    """Add records to the results, and return the new ones; tasks of a batch that are already done are skipped."""
    added = []
    for (number, _), record in zip(batch, records, strict=True):
        if number not in results:
            results.add(number, record)
            added.append(record)
    return added


def _death(future: Future) -> str | None:
    """Return the reason if the worker of a batch died, `None` if the batch is done. Raises all other errors."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        raise _no_executor(cancelled) from None
    if error is None:
        return None
    distributed = sys.modules.get("distributed")
    if isinstance(error, WorkerDiedError) or (distributed and isinstance(error, distributed.KilledWorker)):
        return " ".join(str(error).split())
    if isinstance(error, BrokenExecutor):
        raise _no_executor(error) from None
    if isinstance(error, GnnpotError):
        raise error
    raise RuntimeError(f"a worker failed: {type(error).__name__}: {error}") from error


def _no_executor(error: BaseException) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"the executor has ended ({reason[:300]}); what was done is kept, run the same command again")
