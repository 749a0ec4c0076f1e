"""A distillation from start to end, and again from wherever it was stopped.

    potential = distil(read_distil_config("7net-0", ["frames.extxyz.gz"], student="hdnnp", run="runs/student"))

The run's folder holds

| name              | what                                                                                       |
|-------------------|--------------------------------------------------------------------------------------------|
| distil.yaml       | the configuration; a run resumes only with the same, less the limits of time and steps     |
| journal.json      | what the rounds found, and the time they took (`results.py`)                               |
| round-00/         | the labelled structures, and the first students, each a training run (`training/run.py`)   |
| round-NN/         | `walks/`: the students' dynamics; `drawn.store`: the labelled random sample of its states, |
|                   | `picked.store`: the high-uncertainty sample; the students trained on all frames so far     |
| final/            | the training of the final student, and `check/`, dynamics of its own                       |
| model/            | the final student (`gnnpot.load`); its card says who the teacher was                       |
| report/           | report.md and its picture                                                                  |
"""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.calculators.calculator import BaseCalculator

from gnnpot.config import read_yaml, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore
from gnnpot.errors import DataError
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.potential import Potential
from gnnpot.runs.directory import RunDirectory
from gnnpot.runs.identity import differences
from gnnpot.runs.progress import Progress, no_progress, of_one
from gnnpot.sampling import LabelConfig, read_structures
from gnnpot.sampling.selection import select
from gnnpot.sampling.trajectories import SampledTrajectory, run_trajectories
from gnnpot.training.config import TrainConfig
from gnnpot.training.run import MODEL, ended_run, fit
from gnnpot.training.stores import read_labelled
from gnnpot.training.task import FromScratch
from gnnpot.workflows.committee import Committee
from gnnpot.workflows.distil.config import LIMITS, DistilConfig
from gnnpot.workflows.distil.measure import CHECK, measure
from gnnpot.workflows.distil.report import student_card, write_distil_report
from gnnpot.workflows.distil.results import DistilResults, RoundResult, end_name
from gnnpot.workflows.distil.students import (
    VALIDATION,
    Budget,
    Continued,
    add_frames,
    frames_in,
    student_run,
    students_of,
)
from gnnpot.workflows.distil.teacher import Teacher, left_out, open_teacher, require_stress

log = logging.getLogger(__name__)

RESULTS, CONFIG, ROUND, FINAL = "journal.json", "distil.yaml", "round-{:02d}", "final"
RANDOM, UNCERTAIN = "drawn.store", "picked.store"
#: how the names of the stages of rounds begin
ROUNDS = "round "
DIRECTORY = RunDirectory(
    what="a distillation",
    config=CONFIG,
    names=(RESULTS, "report"),
    kept=("round-*", FINAL, MODEL),
    free=(*LIMITS, "learn.final_steps", "name", "description", "licence", "functional"),
)
#: of `max_minutes`: what the rounds may take, and the share of that which trains students
ROUNDS_SHARE, TRAINING_SHARE = 0.7, 0.75

#: called with a sentence about what comes next, or what was found
OnEvent = Callable[[str], None]


def distil(
    config: DistilConfig,
    resume: bool = True,
    *,
    make_teacher: Callable[[], BaseCalculator] | None = None,
    processes: int = 1,
    on_event: OnEvent = lambda sentence: None,
    progress: Progress = no_progress,
) -> Potential:
    """Let students learn from the teacher until that brings nothing more; write model and report.

    With other limits (rounds, patience, minutes, steps of the final training) a run is extended, also if it has ended:
    by further rounds, after which the final student begins anew on all frames; else the final training continues.

    Args:
        config: of the distillation.
        resume: continue the run in the folder, to the same numbers where its budget is one of steps; an ended one is
            returned unchanged. Otherwise it begins again.
        make_teacher: makes the teacher's calculator where it is no potential of gnnpot; with several `processes` it
            must be importable.
        processes: that label side by side.
        on_event: called with a sentence about each step.
        progress: of dynamics, labelling and training.

    Returns:
        The final student.

    Raises:
        CheckpointError: for a teacher that is not known.
        UnknownElementError: for structures with elements that the teacher does not know.
        DataError: for structures that can't be read or labelled, or if another process works in the folder.
        ConfigError: if the folder contains another distillation.
        TrainingStopped: after Ctrl-C or SIGTERM within a training, once its state is saved.
    """
    # before the folder is touched: a wrong teacher or structure leaves nothing behind
    teacher = open_teacher(config.teacher, make_teacher)
    structures = _structures(config, teacher)
    tests = _tests(config, structures)
    inputs = (*config.paths("structures"), *config.paths("test"), Path(config.teacher))
    with DIRECTORY.open(config, resume, inputs):
        if (ended := _ended(config)) is not None:
            return ended
        rounds = Rounds(config, teacher, structures, processes, on_event, progress)
        rounds.do()
        potential = rounds.final()
        with rounds.results.stage("measurements"):
            on_event("measuring the student")
            measured = measure(config, teacher, potential, structures, tests, processes, progress)
        card = student_card(config, teacher, measured, rounds.results, rounds.folder(len(rounds.results.rounds)))
        write_distil_report(config.run / "report", card)
        save_checkpoint(config.run / MODEL, potential, card, overwrite=True)
    return potential


def _ended(config: DistilConfig) -> Potential | None:
    """The student of a distillation that has ended with these limits."""
    if not (config.run / MODEL).exists():
        return None
    potential, card = load_checkpoint(config.run / MODEL)
    # the folder and the inputs may have been moved: they have been compared by their content
    free = {"run", "teacher", "structures", "test", "name", "description", "licence", "functional"}
    return None if differences(card.training["distillation"], to_mapping(config), free) else potential


def _has_other_frames(run: TrainConfig) -> bool:
    """Whether the folder of the final training has one on the frames of another round."""
    path = run.run / "config.yaml"
    if not path.exists():
        return False
    before, now = read_yaml(path).get("data", {}).get("train"), to_mapping(run)["data"]["train"]
    # the folder of all rounds may have been moved
    return Path(str(before)).parts[-2:] != Path(str(now)).parts[-2:]


class Rounds:
    """Explore, label, train, in rounds. What this run has done before is read from disk."""

    def __init__(
        self,
        config: DistilConfig,
        teacher: Teacher,
        structures: Sequence[Frame],
        processes: int,
        on_event: OnEvent,
        progress: Progress,
    ) -> None:
        self.config, self.teacher, self.structures = config, teacher, structures
        self.results = DistilResults(config.run / RESULTS)
        self.elements = np.unique(np.concatenate([frame.numbers for frame in structures]))
        self._processes, self._on_event, self._progress = processes, on_event, progress

    def folder(self, number: int) -> Path:
        return self.config.run / ROUND.format(number)

    def do(self) -> None:
        """All rounds, until one of the reasons to end holds; the reason is kept in the results."""
        self._begin()
        number = 0
        while True:
            self._train(number)
            number += 1
            if number > len(self.results.rounds):
                self.results.add(self._explore(number))
            result = self.results.rounds[number - 1]
            self._on_event(f"{_sentence(result)}; {self._time()}")
            if number < len(self.results.rounds):
                continue
            if reason := self.results.once(end_name(self.config, number), self._reason_to_end):
                self._on_event(f"the rounds end: {reason}")
                return

    def final(self) -> Potential:
        """The last student, trained longest, on everything."""
        config = self.config
        folder = self.folder(len(self.results.rounds))
        name = f"final minutes of {config.max_minutes} and {len(self.results.rounds)} rounds"
        minutes = self.results.once(name, lambda: final_minutes(config, self.results.minutes_of(ROUNDS)))
        budget = Budget(config.learn.final_steps, minutes, config.learn.final_batch)
        run = student_run(config, folder, config.run / FINAL, budget, self.elements.tolist(), config.seed)
        if (ended := ended_run(run)) is not None and not _has_other_frames(run):
            return ended
        self._on_event(f"training the final student on {frames_in(folder)} frames")
        # dynamics of the student before
        shutil.rmtree(config.run / FINAL / CHECK, ignore_errors=True)
        with self.results.stage("final"):
            return fit(FromScratch(run), resume=not _has_other_frames(run), progress=self._progress)

    def _reason_to_end(self) -> str:
        return reason_to_end(self.config, self.results)

    def _time(self) -> str:
        most = self.config.max_minutes
        return f"{self.results.minutes:.1f} min so far" + ("" if most is None else f", of {most:g}")

    def _begin(self) -> None:
        """The labelled structures of round 0."""
        config, folder = self.config, self.folder(0)
        with self.results.stage("round 0: labelling"):
            self._on_event(
                f"labelling {len(self.structures)} structures, undistorted and distorted, with {config.teacher}"
            )
            options = LabelConfig(config.start.distortions, config.seed, config.select.limits)
            store = self.teacher.label(
                self.structures,
                folder / "labelled.store",
                options,
                self._processes,
                of_one(self._progress, "labelling"),
            )
            if config.learn.loss.stress > 0:
                require_stress(store)
            add_frames(store, config.learn.validation, config.seed, folder)

    def _train(self, number: int) -> None:
        """The students of a round, on everything that has been labelled by then."""
        config, folder = self.config, self.folder(number)
        steps = config.learn.first_steps if number == 0 else config.learn.round_steps
        budget = Budget(steps, student_minutes(config, number))
        frames = frames_in(folder)
        for k in range(config.committee):
            if (folder / f"student-{k}" / MODEL).exists():
                continue
            self._on_event(
                f"round {number} of at most {config.rounds}: training student {k + 1} of {config.committee} on "
                f"{frames} frames"
            )
            run = student_run(config, folder, folder / f"student-{k}", budget, self.elements.tolist(), config.seed + k)
            task = FromScratch(run)
            if number > 0:
                task = Continued(run, self.folder(number - 1) / f"student-{k}" / MODEL)
            with self.results.stage(f"round {number}: training"):
                fit(task, progress=self._progress)

    def _explore(self, number: int) -> RoundResult:
        """Dynamics by the students of the round before, labelled by the teacher."""
        config, before, folder = self.config, self.folder(number - 1), self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        committee = Committee(students_of(before, config.committee))
        with self.results.stage(f"round {number}: dynamics"):
            median = self.results.once(
                f"usual {number}", lambda: committee.median_disagreement(list(FrameStore(before / VALIDATION)))
            )
            limit = config.explore.limit * median
            # so that every student meets every temperature
            turns = len(config.explore.temperatures)
            trajectories = run_trajectories(
                self.structures, lambda k: committee.driver(k // turns), committee.disagreement, config.explore, limit,
                (config.seed, number), folder / "walks", of_one(self._progress, f"round {number}: dynamics"),
            )  # fmt: skip
            selection = select(trajectories, config.select, limit, np.random.default_rng([config.seed, number, 3]))
            if not selection.random:
                raise DataError(
                    f"{folder}: all trajectories exploded at once; train the students longer (learn.first_steps) or "
                    "take a shorter explore.timestep"
                )
        with self.results.stage(f"round {number}: labelling"):
            sample = self._label(selection.random, folder / RANDOM, number)
            assert sample is not None, "the random sample is not empty"
            uncertain = self._label(selection.uncertain, folder / UNCERTAIN, number)
        result = _result(number, frames_in(before), committee, (sample, uncertain), limit, trajectories, config)
        new = [
            frame.with_(provenance=replace(frame.provenance, config_type=kind))
            for kind, store in (("drawn", sample), ("picked", uncertain or ()))
            for frame in store
        ]
        add_frames(new, config.learn.validation, config.seed + number, folder, before)
        return result

    def _label(self, frames: Sequence[Frame], store: Path, number: int) -> FrameStore | None:
        """Labelled frames, `None` if there were none to label."""
        if not frames:
            return None
        shown = of_one(self._progress, f"round {number}: labelling")
        return self.teacher.undistorted(frames, store, self.config.select.limits, self._processes, shown)


def _result(
    number: int,
    trained_on: int,
    committee: Committee,
    labelled: tuple[FrameStore, FrameStore | None],
    limit: float,
    trajectories: Sequence[SampledTrajectory],
    config: DistilConfig,
) -> RoundResult:
    sample, uncertain = labelled
    lost = left_out(sample) + (Counter() if uncertain is None else left_out(uncertain))
    lengths = [len(t) * config.explore.interval * config.explore.timestep / 1000 for t in trajectories]
    return RoundResult(
        number=number,
        trained_on=trained_on,
        drawn=len(sample),
        picked=0 if uncertain is None else len(uncertain),
        left_out=dict(lost),
        errors=committee.errors(sample),
        picked_errors=None if uncertain is None else committee.errors(uncertain),
        limit=limit,
        disagreement=float(np.median([d for t in trajectories for d in t.disagreements])),
        ends=dict(Counter(t.end for t in trajectories)),
        picoseconds=float(np.mean(lengths)),
    )


def reason_to_end(config: DistilConfig, results: DistilResults) -> str:
    """Why no further round is made after those in the results; empty: there is to be one."""
    errors = [result.errors.forces_mae for result in results.rounds]
    best, waited = errors[0], 0
    for error in errors[1:]:
        waited = 0 if error < (1 - config.tolerance) * best else waited + 1
        best = min(best, error)
    if waited >= config.patience:
        return "the error on fresh frames falls no longer"
    if len(errors) >= config.rounds:
        return f"{config.rounds} were asked for"
    last = results.minutes_of(f"round {len(errors)}: ") + (student_minutes(config, len(errors)) or 0) * config.committee
    if config.max_minutes is not None and results.minutes_of(ROUNDS) + last > ROUNDS_SHARE * config.max_minutes:
        return "the time for them is over"
    return ""


def student_minutes(config: DistilConfig, number: int) -> float | None:
    """What a student's training in a round may take; `None`: its steps count. First trainings take twice as long."""
    if config.max_minutes is None:
        return None
    trainings = config.committee * (config.rounds + 2)
    return ROUNDS_SHARE * TRAINING_SHARE * config.max_minutes * (2 if number == 0 else 1) / trainings


def final_minutes(config: DistilConfig, spent: float) -> float | None:
    """What the final training may take: what the rounds have left, at least three tenths of all."""
    if config.max_minutes is None:
        return None
    return max((1 - ROUNDS_SHARE) * config.max_minutes, config.max_minutes - spent)


def _sentence(result: RoundResult) -> str:
    errors = result.errors
    return (
        f"round {result.number}: on {result.drawn} fresh frames the students err by {errors.forces_mae:.3g} eV/Å and "
        f"{1e3 * errors.energy_mae:.3g} meV/atom (MAE); {result.picked} more have a high uncertainty"
    )


def _structures(config: DistilConfig, teacher: Teacher) -> list[Frame]:
    """Those that are used, evenly spread over all that are given."""
    given = read_structures(config.paths("structures"))
    if len(given) == 0:
        where = ", ".join(map(str, config.paths("structures")))
        raise DataError(f"{where}: there are no structures to start from; give a file that holds some")
    count = min(config.start.structures, len(given))
    chosen = [given[int(k)] for k in np.unique(np.linspace(0, len(given) - 1, count).astype(int))]
    teacher.check(chosen)
    return chosen


def _tests(config: DistilConfig, structures: Sequence[Frame]) -> list[Frame]:
    """Frames with labels from elsewhere, to measure with at the end."""
    from gnnpot.training.config import DataConfig

    paths = config.paths("test")
    if not paths:
        return []
    frames = list(read_labelled(paths, DataConfig(train=paths, reader=config.reader)))
    known = {int(z) for frame in structures for z in frame.numbers}
    for frame in frames:
        if unseen := sorted({s for z, s in zip(frame.numbers, frame.symbols, strict=True) if z not in known}):
            raise DataError(
                f"{frame.where}: the student will not know {', '.join(unseen)}, which no structure has; take it out of "
                "the test, or give structures with it"
            )
    return frames
