"""Run of a suite for a potential, in several processes, with a results log and a file of results.

    evaluate_suite(suite, Subject("7net-0", make, sha256), Path("evaluation"), processes=2, progress=bars)

writes `evaluation/results/phonons/7net-0.json`. An interrupted run resumes from the results log in the same folder.
"""

import contextlib
import functools
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.data import chemical_symbols

from gnnpot.errors import ConfigError, DataError, GnnpotError, UnknownElementError
from gnnpot.properties.suites.base import FAILED, Item, Result, Suite
from gnnpot.runs.files import write_text
from gnnpot.runs.identity import differences, other_run
from gnnpot.runs.processes import Processes
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.runs.results_log import ResultsLog
from gnnpot.runs.tasks import WorkerFactory, run_tasks

log = logging.getLogger(__name__)

RESULTS = "results"
#: exceptions of calculators that count as a failed item; torch raises RuntimeError, for unknown elements too
_BEYOND = (GnnpotError, CalculatorError, RuntimeError, ArithmeticError, np.linalg.LinAlgError)


@dataclass(frozen=True)
class Subject:
    """A potential under evaluation."""

    name: str
    make: Callable[[], BaseCalculator]  #: creates its calculator; must be picklable for several processes
    sha256: str = ""  #: sha256 of the weights, or another identifier of the version
    training: str = ""  #: training data, from the model card
    functional: str = ""  #: functional, from the model card
    dtype: str = ""  #: precision, if another than that of the potential was chosen


def evaluate_suite(
    suite: Suite,
    subject: Subject,
    output: Path,
    *,
    processes: int = 1,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Measure all items of a suite with a potential, and write the results.

    Args:
        suite: Suite.
        subject: Potential under evaluation.
        output: Folder of the results of all suites and potentials.
        processes: Number of parallel processes with one thread each; 1: the current process.
        fresh: Discard earlier results.
        progress: Called with the number of items done and the total.

    Returns:
        Path of the JSON file of results: `key` (options, data and weights), `about` (training data, functional,
        overlap, items left out), and `results` by item.

    Raises:
        ConfigError: There are results with other options, data or weights under this name.
        DataError: The data can't be read, or processes have died repeatedly on an item.
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
        _measure_all(suite, subject, calculator, items, done, processes, work, progress)
        results = {item.key: json.loads(content) for item, content in zip(items, done.contents(), strict=True)}
        about = {
            "training": subject.training,
            "functional": subject.functional,
            "overlap": suite.overlap(subject.training),
            "left_out": left_out,
        }
        write_text(path, json.dumps({"key": plan, "about": about, "results": results}) + "\n")
        done.remove()
    shutil.rmtree(work, ignore_errors=True)
    return path


def _plan(suite: Suite, subject: Subject, items: Sequence[Item]) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "potential": subject.name,
        "sha256": subject.sha256,
        # results of earlier versions, which had no choice, are not measured again
        **({"dtype": subject.dtype} if subject.dtype else {}),
        "items": [item.key for item in items],
        **suite.identity(),
    }


def _file_name(name: str) -> str:
    """File name for a potential; other characters, as in module names or paths, are replaced by underscores."""
    return "".join(c if c.isalnum() or c in "@.-_+" else "_" for c in name)


def _known(items: Sequence[Item], calculator: BaseCalculator) -> tuple[list[Item], dict[str, str]]:
    """Return the items whose elements the calculator supports, if it lists them, and reasons for leaving out others."""
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


class _Worker:
    """Measures items; creates a calculator if none is given."""

    def __init__(self, suite: Suite, subject: Subject, work: Path, calculator: BaseCalculator | None = None) -> None:
        self.suite, self.work = suite, work
        self._calculator = subject.make() if calculator is None else calculator

    def __call__(self, items: Sequence[Item]) -> list[bytes]:
        return [json.dumps(_measured(self.suite, item, self._calculator, self.work)).encode() for item in items]


def _measure_all(
    suite: Suite, subject: Subject, calculator: BaseCalculator, items: Sequence[Item], done: ResultsLog,
    processes: int, work: Path, progress: Progress,
) -> None:  # fmt: skip
    """Measure the items that are not in the results log."""
    left = [(k, item) for k, item in enumerate(items) if k not in done]
    words = f"{suite.label}, {subject.name}"
    progress(words, len(done), len(items))
    with contextlib.ExitStack() as stack:
        several = processes > 1 and len(left) > 1
        executor = stack.enter_context(Processes(min(processes, len(left)))) if several else None
        factory = WorkerFactory(functools.partial(_Worker, suite, subject, work, None if several else calculator))
        run_tasks(
            factory, ([one] for one in left), done, executor,
            lost=functools.partial(_lost, suite), done=lambda _: progress(words, len(done), len(items)),
        )  # fmt: skip


def _lost(suite: Suite, item: Item, reason: str) -> bytes:
    raise DataError(
        f"{suite.name}, {item.key}: {reason}, perhaps for lack of memory; what was measured is kept: run the same "
        "command again, with fewer processes"
    )


def _measured(suite: Suite, item: Item, calculator: BaseCalculator, work: Path) -> Result:
    try:
        return suite.measure(item, calculator, work)
    except UnknownElementError as error:
        return {FAILED: f"unknown element: {error}"}
    except _BEYOND as error:
        return {FAILED: f"{type(error).__name__}: {error}"}
