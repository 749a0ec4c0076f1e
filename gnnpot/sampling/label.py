"""Labelling of structures in processes, with a results log, and conversion of the results to a store."""

import functools
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from gnnpot.config import to_mapping
from gnnpot.data.frame import Frame
from gnnpot.data.schema import fingerprint
from gnnpot.data.store import STORE, FrameStore
from gnnpot.data.stress_check import write_checked_store
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.files import recover
from gnnpot.runs.guard import check_folder, check_name
from gnnpot.runs.processes import Processes
from gnnpot.runs.results_log import ResultsLog, read_plan
from gnnpot.runs.tasks import WorkerFactory, run_tasks
from gnnpot.sampling.config import LabelConfig
from gnnpot.sampling.tasks import Labeller, LabelTask, LabelWorker, unpack

log = logging.getLogger(__name__)

#: called with the number of finished tasks and the total number of tasks
Progress = Callable[[int, int], None]


def label(
    structures: Sequence[Frame],
    labeller: Labeller,
    output: Path | str,
    config: LabelConfig | None = None,
    *,
    processes: int | Executor = 1,
    fresh: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> FrameStore:
    """Distort `structures`, label them, and write them to a store.

    Results of finished tasks are saved in the folder `OUTPUT.labelling`, from which the same call resumes after an
    interruption. Each process uses one thread; a single process is this one.

    Args:
        structures: Structures to distort.
        labeller: Calculates energies, forces and stresses.
        output: Folder of the store.
        config: Distortions and limits.
        processes: Number of parallel processes, or an executor, for example from `gnnpot.runs.executors`.
        fresh: Discard earlier results.
        overwrite: Replace an existing store.
        progress: Called with the number of finished tasks and the total number of tasks.

    Returns:
        The store. Frames outside of the limits, and structures that can't be distorted or labelled, are excluded and
        counted by reason in its manifest.

    Raises:
        DataError: `output` exists, no frame could be labelled, the process of a task died in all attempts, or another
            process is labelling.
        ConfigError: The folder contains results of different options.
    """
    config = config or LabelConfig()
    output = check_name(output)
    if isinstance(processes, int) and processes < 1:
        raise ConfigError(f"processes: {processes} is not positive")
    if len(structures) == 0:
        raise DataError(f"{output}: there are no structures to label")
    plan = _plan(structures, labeller, config)
    folder = output.with_name(f"{output.name}.labelling")
    recover(output)
    if not fresh and (finished := _finished(output, folder, plan)) is not None:
        return finished
    check_folder(output, overwrite=overwrite, kind=STORE)
    with ResultsLog(folder, plan, "labelling", fresh) as results:
        with _executor(processes) as executor:
            _do_all(structures, labeller, config, results, executor, progress)
        store = _assemble(results, output, plan, overwrite)
        results.remove()
    return store


def _executor(processes: int | Executor) -> AbstractContextManager[Executor | None]:
    """Return the executor; `None` to run in this process."""
    if isinstance(processes, int):
        return Processes(processes) if processes > 1 else nullcontext()
    return nullcontext(processes)


def _plan(structures: Sequence[Frame], labeller: Labeller, config: LabelConfig) -> dict[str, object]:
    """Return everything that the results depend on, as JSON values."""
    digest = hashlib.sha256()
    for frame in structures:
        p = frame.provenance
        digest.update(f"{fingerprint(frame)} {p.source!r} {p.source_id!r} {p.material_id!r}\n".encode())
    return {
        "structures": f"{len(structures)} (sha256 {digest.hexdigest()})",
        "labeller": labeller.name,
        "mover": labeller.mover,
        **json.loads(json.dumps(to_mapping(config))),
    }


def _finished(output: Path, folder: Path, plan: dict[str, object]) -> FrameStore | None:
    """Return the finished store of this plan if an earlier call was killed before it removed the results log."""
    if not output.is_dir() or read_plan(folder) != plan or not STORE.is_created_by_gnnpot(output):
        return None
    store = FrameStore(output)
    if store.manifest.source != _source(plan):
        return None
    with ResultsLog(folder, plan, "labelling") as results:
        results.remove()
    return store


def _source(plan: dict[str, object]) -> str:
    return f"gnnpot label: {json.dumps(plan, ensure_ascii=False)}"


def _tasks(structures: Sequence[Frame], config: LabelConfig, results: ResultsLog) -> Iterator[LabelTask]:
    """Yield the tasks that are not in the results."""
    number = 0
    for k in range(len(structures)):
        left = [n for n in range(number, number + config.runs) if n not in results]
        structure = structures[k] if left else None
        for distortion in config.distortions:
            for run in range(distortion.runs):
                if structure is not None and number not in results:
                    yield LabelTask(number, structure, distortion, run)
                number += 1


def _do_all(
    structures: Sequence[Frame], labeller: Labeller, config: LabelConfig, results: ResultsLog,
    executor: Executor | None, progress: Progress,
) -> None:  # fmt: skip
    """Run the tasks that are not in the results."""
    total = len(structures) * config.runs
    if len(results):
        log.info("%s: resumes at %d of %d tasks", results.folder, len(results), total)
    progress(len(results), total)
    if len(results) < total:
        factory = WorkerFactory(functools.partial(LabelWorker, labeller, config))
        batches = ([(task.number, task)] for task in _tasks(structures, config, results))
        run_tasks(factory, batches, results, executor, lost=_lost, done=lambda _: progress(len(results), total))


def _lost(task: LabelTask, reason: str) -> bytes:
    where = task.structure.provenance.source_id or task.structure.provenance.source
    raise DataError(
        f"labelling of structure {where}: {reason}, perhaps for lack of memory; what was labelled is kept: run the "
        "same command again, with fewer processes or a smaller max_atoms"
    )


def _assemble(results: ResultsLog, output: Path, plan: dict[str, object], overwrite: bool) -> FrameStore:
    reasons: Counter[str] = Counter()

    def frames() -> Iterator[Frame]:
        some = False
        for content in results.contents():
            found, left_out = unpack(content)
            reasons.update(left_out)
            some = some or bool(found)
            yield from found
        if not some:
            counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
            raise DataError(f"{output}: no frame could be labelled ({counts}); look at the structures and the limits")

    return write_checked_store(frames(), output, source=_source(plan), filters=reasons, overwrite=overwrite)
