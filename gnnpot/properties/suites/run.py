"""Running a suite: which items are left, processes, the results log, the file of results.

    evaluate_suite(suite, Subject("7net-0", make, sha256), Path("evaluation"), processes=2, progress=bars)

writes `evaluation/results/phonons/7net-0.json`; an interrupted run resumes from the results log beside it.
"""

import contextlib
import json
import logging
import multiprocessing
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.data import chemical_symbols

from gnnpot.errors import ConfigError, DataError, GnnpotError, UnknownElementError
from gnnpot.properties.suites.base import FAILED, Item, Result, Suite
from gnnpot.runs.files import write_text
from gnnpot.runs.identity import differences, other_run
from gnnpot.runs.processes import end_with_parent
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.runs.results_log import ResultsLog

log = logging.getLogger(__name__)

RESULTS = "results"
#: what calculators raise for structures that are beyond them; torch raises RuntimeError, for unknown elements too
_BEYOND = (GnnpotError, CalculatorError, RuntimeError, ArithmeticError, np.linalg.LinAlgError)


@dataclass(frozen=True)
class Subject:
    """A potential under evaluation."""

    name: str
    make: Callable[[], BaseCalculator]  #: makes its calculator; importable, where there are several processes
    sha256: str = ""  #: of its weights, or what else tells it from others of the name
    training: str = ""  #: what it was trained on, as its card says


def evaluate_suite(
    suite: Suite,
    subject: Subject,
    output: Path,
    *,
    processes: int = 1,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Measure every item of a suite with one potential, and write the results.

    Args:
        suite: what is asked.
        subject: who is asked.
        output: folder of the results of all suites and potentials.
        processes: that measure side by side, each with one thread; with 1 it is this one.
        fresh: forget earlier results.
        progress: called with items done and in all.

    Returns:
        The JSON file of the results: `key` (what they depend on), `about` (training data, overlap), `results` by item.

    Raises:
        ConfigError: if there are results of other options, data or weights under this name.
        DataError: if the data can't be read, or a process died.
    """
    if processes < 1:
        raise ConfigError(f"processes: {processes} is not positive")
    calculator = subject.make()
    items, left_out = _known(suite.items(), calculator)
    path = output / RESULTS / suite.label / f"{_file_name(subject.name)}.json"
    plan = json.loads(json.dumps(_plan(suite, subject, items)))
    if path.is_file() and not fresh:
        if different := differences(json.loads(path.read_text("utf-8"))["key"], plan):
            raise other_run(path, "an evaluation", different)
        log.info("%s: is there", path)
        return path
    work = path.with_suffix(".work")
    with ResultsLog(path.with_suffix(".log"), plan, "an evaluation", fresh) as done:
        if fresh:
            shutil.rmtree(work, ignore_errors=True)
        for number, result in _results(suite, subject, calculator, items, done, processes, work, progress):
            done.add(number, json.dumps(result).encode())
        results = {item.key: json.loads(content) for item, content in zip(items, done.contents(), strict=True)}
        about = {"training": subject.training, "overlap": suite.overlap(subject.training), "left_out": left_out}
        write_text(path, json.dumps({"key": plan, "about": about, "results": results}) + "\n")
        done.remove()
    shutil.rmtree(work, ignore_errors=True)
    return path


def _plan(suite: Suite, subject: Subject, items: Sequence[Item]) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "potential": subject.name,
        "sha256": subject.sha256,
        "items": [item.key for item in items],
        **suite.identity(),
    }


def _file_name(name: str) -> str:
    """A potential's name as a file's: a module or a path has other characters."""
    return "".join(c if c.isalnum() or c in "@.-_+" else "_" for c in name)


def _known(items: Sequence[Item], calculator: BaseCalculator) -> tuple[list[Item], dict[str, str]]:
    """The items whose elements the calculator knows, as far as it says, and why the others are left out."""
    elements = getattr(calculator, "elements", None)
    if elements is None:
        return list(items), {}
    kept, left_out = [], {}
    for item in items:
        unknown = [chemical_symbols[z] for z in item.numbers if chemical_symbols[z] not in elements]
        if unknown:
            left_out[item.key] = f"does not know {', '.join(unknown)}"
        else:
            kept.append(item)
    return kept, left_out


def _results(
    suite: Suite, subject: Subject, calculator: BaseCalculator, items: Sequence[Item], done: ResultsLog,
    processes: int, work: Path, progress: Progress,
) -> Iterator[tuple[int, Result]]:  # fmt: skip
    """(number, result) of each item that is not in the results log."""
    left = [k for k in range(len(items)) if k not in done]
    words, finished = f"{suite.label}, {subject.name}", len(items) - len(left)
    progress(words, finished, len(items))
    for number, result in _measure_all(suite, subject, calculator, [(k, items[k]) for k in left], processes, work):
        finished += 1
        yield number, result
        progress(words, finished, len(items))


def _measure_all(
    suite: Suite, subject: Subject, calculator: BaseCalculator, items: Sequence[tuple[int, Item]], processes: int,
    work: Path,
) -> Iterator[tuple[int, Result]]:  # fmt: skip
    if processes == 1 or len(items) < 2:
        for number, item in items:
            yield number, _measured(suite, item, calculator, work)
        return
    with _workers(suite, subject, work, min(processes, len(items))) as connections:
        waiting, busy = iter(items), set(connections)
        for connection in connections:
            connection.send(next(waiting))
        while busy:
            ready = set(wait(list(busy)))
            for connection in [one for one in connections if one in ready]:
                yield _received(connection, suite)
                if (following := next(waiting, None)) is None:
                    busy.discard(connection)
                else:
                    connection.send(following)


@contextlib.contextmanager
def _workers(suite: Suite, subject: Subject, work: Path, count: int) -> Iterator[list[Connection]]:
    """Connections to processes that measure; they end when their connections close."""
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[Connection, BaseProcess]] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, suite, subject, work), daemon=True)
            process.start()
            theirs.close()
            workers.append((ours, process))
        yield [connection for connection, _ in workers]
    finally:
        for connection, worker in workers:
            connection.close()
            worker.terminate()
            worker.join()


def _received(connection: Connection, suite: Suite) -> tuple[int, Result]:
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError):
        raise DataError(
            f"{suite.name}: a process died, perhaps for lack of memory; what was measured is kept: run the same "
            "command again, with fewer processes"
        ) from None


def _serve(connection: Connection, suite: Suite, subject: Subject, work: Path) -> None:
    """Measure the items that come through the connection, until it closes: also if its other end was killed."""
    end_with_parent()
    # Ctrl-C is the parent's business, which then closes the connection
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calculator = subject.make()
    for name in ("torch", "numba"):
        if name in sys.modules:
            sys.modules[name].set_num_threads(1)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            number, item = connection.recv()
            connection.send((number, _measured(suite, item, calculator, work)))


def _measured(suite: Suite, item: Item, calculator: BaseCalculator, work: Path) -> Result:
    try:
        return suite.measure(item, calculator, work)
    except UnknownElementError as error:
        return {FAILED: f"unknown element: {error}"}
    except _BEYOND as error:
        return {FAILED: f"{type(error).__name__}: {error}"}
