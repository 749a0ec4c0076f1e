"""Tasks through any `concurrent.futures.Executor`, what comes of them to a results log.

    factory = WorkerFactory(make_worker)     # makes what does the tasks, once in each process
    with ResultsLog(folder, plan) as results, open_executor("processes", 4) as executor:
        run_tasks(factory, tasks, results, executor)

A batch is a few tasks that a worker does in one call, as (number, content) each; of each task comes a record of bytes,
which depends on nothing else. What is in the results log is not done again: a run that was killed, or whose workers
were, resumes where it was. A task whose worker dies is tried again, `ATTEMPTS` times in all, then by itself.
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

#: contents of tasks -> a record of each
Worker = Callable[[Sequence[Any]], Sequence[bytes]]
#: (number, content) of tasks
Batch = Sequence[tuple[int, Any]]

#: how often a task is tried whose worker dies
ATTEMPTS = 3
#: batches that an executor has at a time; more than a cluster has workers, few enough for memory
IN_FLIGHT = 1024

#: a process does one task at a time, as calculators require, also where a cluster's worker has several threads
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class WorkerFactory:
    """Makes the worker that does the tasks of a run."""

    make: Callable[[], Worker] = field(compare=False)  #: importable in each process, where it is called once
    key: str = field(default_factory=lambda: uuid.uuid4().hex)  #: by which processes know it again


def run_tasks(
    factory: WorkerFactory,
    batches: Iterable[Batch],
    results: ResultsLog,
    executor: Executor | None = None,
    *,
    lost: Callable[[Any, str], bytes],
    done: Callable[[Sequence[bytes]], None] = lambda records: None,
) -> None:
    """Do the tasks, and add their records to the results log.

    Args:
        factory: makes the worker.
        batches: of tasks that are not in the results; read as they are needed.
        results: open.
        executor: any; without one, this process does them. Its workers have gnnpot and what `factory` opens.
        lost: called with a task's content and the reason where its worker dies each time; gives the record, or raises.
        done: called with the records of each batch, once they are in the results.

    Raises:
        GnnpotError: what a worker raises.
        RuntimeError: a worker raised anything else, which is a defect.
        DataError: the executor has ended.
    """
    if executor is not None:
        _SubmittedBatches(factory, executor, results, lost, done).do(iter(batches))
        return
    worker = factory.make()
    with one_thread():
        for batch in batches:
            done(_kept(results, batch, worker([content for _, content in batch])))


class _SubmittedBatches:
    """Batches that are with an executor."""

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
    """What a worker process runs: the records of some tasks."""
    with _ONE_AT_A_TIME:
        worker = _worker(factory)
        with one_thread():
            return worker(contents)


@functools.lru_cache(maxsize=1)
def _worker(factory: WorkerFactory) -> Worker:
    return factory.make()


def _kept(results: ResultsLog, batch: Batch, records: Sequence[bytes]) -> list[bytes]:
    """Add records to the results; those that are new. A batch may hold tasks that are done already."""
    added = []
    for (number, _), record in zip(batch, records, strict=True):
        if number not in results:
            results.add(number, record)
            added.append(record)
    return added


def _death(future: Future) -> str | None:
    """Why the worker of a batch ended; `None`: it is done. Raises what else went wrong."""
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
