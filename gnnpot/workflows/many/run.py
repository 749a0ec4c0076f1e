"""`run_many`: distribute structures to workers, collect the results in a log, and write them to a folder."""

import functools
import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import gnnpot
from gnnpot.errors import DataError
from gnnpot.runs.files import recover
from gnnpot.runs.guard import check_folder, check_name, replaceable
from gnnpot.runs.identity import require_same
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.runs.results_log import ResultsLog, read_plan
from gnnpot.runs.tasks import Batch, WorkerFactory, run_tasks
from gnnpot.workflows.many.calculations import Calculation
from gnnpot.workflows.many.structures import Structures
from gnnpot.workflows.many.tables import MANY, Many, read_many, write_many
from gnnpot.workflows.many.worker import ManyWorker, Model, failure, unpack

log = logging.getLogger(__name__)

#: largest number of structures in a batch
MOST = 100


def run_many(
    structures: Structures,
    calculation: Calculation,
    model: Model,
    output: Path | str,
    *,
    executor: Executor | None = None,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> Many:
    """Run a calculation for each structure, and write a folder with a table and structures.

    Results are collected in the folder `OUTPUT.calculations`, from which the same call resumes after it was interrupted
    or killed. A structure that fails, or whose worker dies repeatedly, has a row with an `error` in the table, and is
    written to `failed.extxyz`.

    Args:
        structures: Structures to compute.
        calculation: Calculation for each structure.
        model: Model that computes them.
        output: Folder of the results.
        executor: Executor, as opened by `gnnpot.runs.executors`; without one, this process computes.
        fresh: Whether to start again and replace the results of an earlier call.
        progress: Receives the number of computed structures.

    Returns:
        The results, or those of an earlier call with the same arguments if they exist.

    Raises:
        ConfigError: The folder contains results of other structures, options or models.
        DataError: There are no structures, `output` is not a folder of results, another process writes it, or the
            executor has ended.
    """
    output = check_name(output)
    if len(structures) == 0:
        raise DataError(f"{output}: there are no structures to compute")
    identity = json.loads(json.dumps(_identity(structures, calculation, model)))
    folder = output.with_name(f"{output.name}.calculations")
    recover(output)
    if not fresh and (before := _earlier(output, folder, identity, calculation.name)) is not None:
        return before
    check_folder(output, overwrite=fresh, kind=MANY)
    with ResultsLog(folder, identity, calculation.name, fresh) as results:
        resumed_from = len(results)
        if resumed_from:
            log.info("%s: resumes at %d of %d structures", folder, resumed_from, len(structures))
        _compute(structures, calculation, model, results, executor, progress)
        found = write_many(results.contents, output, identity, resumed_from, fresh)
        results.remove()
    return found


def _compute(
    structures: Structures, calculation: Calculation, model: Model, results: ResultsLog, executor: Executor | None,
    progress: Progress,
) -> None:  # fmt: skip
    """Compute the structures that have no result yet."""
    total, failed = len(structures), 0

    def report(records: Iterable[bytes]) -> None:
        nonlocal failed
        failed += sum(unpack(record)[0]["error"] is not None for record in records)
        progress(calculation.name, len(results), total, f"{failed} failed" if failed else "")

    report(results.contents())
    if len(results) < total:
        factory = WorkerFactory(functools.partial(ManyWorker, calculation, model))
        batches = _batches(structures, calculation.max_atoms, results)
        run_tasks(factory, batches, results, executor, lost=failure, done=report)


def _identity(structures: Structures, calculation: Calculation, model: Model) -> dict[str, Any]:
    return {
        "calculation": calculation.name,
        "options": calculation.identity(),
        "model": model.name,
        "structures": f"{len(structures)} (sha256 {structures.sha256})",
        "gnnpot": gnnpot.__version__,
    }


def _earlier(output: Path, folder: Path, identity: dict[str, Any], what: str) -> Many | None:
    """Results of an earlier call with the same identity, if any. Raises an error for results with another identity."""
    if not output.exists():
        return None
    replaceable(output, MANY)
    found = read_many(output)
    require_same(found.identity, identity, where=output, kind=what)
    if read_plan(folder) == identity:
        # the earlier call was killed before it removed the results log
        with ResultsLog(folder, identity, what) as results:
            results.remove()
    return found


def _batches(structures: Structures, max_atoms: int, results: ResultsLog) -> Iterator[Batch]:
    """Yield the batches of structures that are not completely computed.

    A resumed call has the same batches, so that its results are the same.
    """
    if max_atoms == 0:
        yield from ([(k, (k, structures[k]))] for k in range(len(structures)) if k not in results)
        return
    batch: list[tuple[int, Any]] = []
    atoms = 0
    for number in range(len(structures)):
        structure = structures[number]
        if batch and (atoms + len(structure) > max_atoms or len(batch) == MOST):
            yield from _unfinished(batch, results)
            batch, atoms = [], 0
        batch.append((number, (number, structure)))
        atoms += len(structure)
    yield from _unfinished(batch, results)


def _unfinished(batch: Batch, results: ResultsLog) -> Iterator[Batch]:
    if any(number not in results for number, _ in batch):
        yield batch
