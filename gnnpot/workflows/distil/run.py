"""A distillation from start to end, and again from wherever it was stopped.

    potential = distil(read_distil_config("7net-0", ["frames.extxyz.gz"], student="hdnnp", run="runs/student"))

The run's folder holds

| name              | what                                                                                       |
|-------------------|--------------------------------------------------------------------------------------------|
| distil.yaml       | the configuration; a run goes on only with the same                                        |
| journal.json      | what the rounds found, and the time they took (`journal.py`)                               |
| round-00/         | the labelled structures, and the first students, each a training run (`training/run.py`)   |
| round-NN/         | `walks/`: the students' dynamics; `drawn.store`, `picked.store`: what the teacher labelled |
|                   | of them; the students trained on everything so far                                         |
| final/            | the training of the final student, and `check/`, dynamics of its own                       |
| model/            | the final student (`gnnpot.load`); its card says who the teacher was                       |
| report/           | report.md and its picture                                                                  |
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore
from gnnpot.errors import DataError
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.potential import Potential
from gnnpot.runs.directory import RunDirectory
from gnnpot.sampling import LabelConfig, read_structures
from gnnpot.training.prepare import read_any, resolve
from gnnpot.training.recipe import FromScratch
from gnnpot.training.run import MODEL, carry_out
from gnnpot.workflows.committee import Committee
from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.explore import Walk, choose, explore
from gnnpot.workflows.distil.journal import RoundResult, RunJournal
from gnnpot.workflows.distil.measure import measure
from gnnpot.workflows.distil.report import student_card, write_distil_report
from gnnpot.workflows.distil.students import (
    VALIDATION,
    Budget,
    Continued,
    add_frames,
    frames_in,
    student_run,
    students_of,
)
from gnnpot.workflows.distil.teacher import Progress, Teacher, left_out, open_teacher, require_stress

log = logging.getLogger(__name__)

JOURNAL, CONFIG, ROUND, FINAL = "journal.json", "distil.yaml", "round-{:02d}", "final"
DRAWN, PICKED = "drawn.store", "picked.store"
FOLDER = RunDirectory(
    what="a distillation",
    config=CONFIG,
    names=(JOURNAL, "report"),
    kept=("round-*", FINAL, MODEL),
    free=("name", "description", "licence", "functional"),
)
#: of `max_minutes`: what the rounds may take, and the share of that which trains students
ROUNDS_SHARE, TRAINING_SHARE = 0.7, 0.75

#: is told in a sentence what comes next, or what was found
Tell = Callable[[str], None]


def distil(
    config: DistilConfig,
    resume: bool = True,
    *,
    make_teacher: Callable[[], BaseCalculator] | None = None,
    processes: int = 1,
    tell: Tell = lambda sentence: None,
    progress: Progress = lambda what, done, total: None,
    bars: bool = False,
) -> Potential:
    """Let students learn from the teacher until that brings nothing more; write model and report, return the student.

    With `resume`, a run that was stopped goes on where it was, to the same numbers where its budget is one of steps;
    one that has ended is returned as it is. `make_teacher` makes the teacher's calculator where it is not a potential
    of gnnpot's; with several `processes`, which label side by side, it must be importable. `bars` shows those of the
    trainings on the terminal.

    Raises `CheckpointError` for a teacher that is not known, `UnknownElementError` for structures with elements that
    it does not know, `DataError` for structures that can't be read or labelled, `ConfigError` if the folder holds
    another distillation, `TrainingStopped` after Ctrl-C or SIGTERM within a training, once its state is saved.
    """
    # before the folder is touched: what is wrong with teacher or structures leaves nothing behind
    teacher = open_teacher(config.teacher, make_teacher)
    structures = _structures(config, teacher)
    tests = _tests(config, structures)
    FOLDER.claim(config, resume)
    if (config.run / MODEL).exists():
        return load_checkpoint(config.run / MODEL)[0]
    rounds = Rounds(config, teacher, structures, processes, tell, progress, bars)
    rounds.do()
    potential = rounds.final()
    with rounds.journal.stage("measurements"):
        tell("measuring the student")
        measured = measure(config, teacher, potential, structures, tests, processes, progress)
    card = student_card(config, teacher, measured, rounds.journal, rounds.folder(len(rounds.journal.rounds)))
    write_distil_report(config.run / "report", card)
    save_checkpoint(config.run / MODEL, potential, card, overwrite=True)
    return potential


class Rounds:
    """Explore, label, train; again and again. Whatever an earlier session has done is found on disk."""

    def __init__(
        self,
        config: DistilConfig,
        teacher: Teacher,
        structures: Sequence[Frame],
        processes: int,
        tell: Tell,
        progress: Progress,
        bars: bool,
    ) -> None:
        self.config, self.teacher, self.structures = config, teacher, structures
        self.journal = RunJournal(config.run / JOURNAL)
        self.elements = np.unique(np.concatenate([frame.numbers for frame in structures]))
        self._processes, self._tell, self._progress, self._bars = processes, tell, progress, bars

    def folder(self, number: int) -> Path:
        return self.config.run / ROUND.format(number)

    def do(self) -> None:
        """All rounds, until one of the reasons to end holds; the reason is kept in the journal."""
        self._begin()
        number = 0
        while True:
            self._train(number)
            number += 1
            if number > len(self.journal.rounds):
                self.journal.add(self._explore(number))
            result = self.journal.rounds[number - 1]
            self._tell(f"{_sentence(result)}; {self._time()}")
            if reason := self.journal.once(f"end {number}", lambda: reason_to_end(self.config, self.journal)):
                self._tell(f"the rounds end: {reason}")
                return

    def final(self) -> Potential:
        """The last student, trained longest, on everything."""
        config = self.config
        folder = self.folder(len(self.journal.rounds))
        minutes = self.journal.once("final minutes", lambda: final_minutes(config, self.journal.minutes))
        self._tell(f"training the final student on {frames_in(folder)} frames")
        budget = Budget(config.learn.final_steps, minutes, config.learn.final_batch)
        run = student_run(config, folder, config.run / FINAL, budget, self.elements, config.seed)
        with self.journal.stage("final"):
            return carry_out(FromScratch(run), progress=self._bars)

    def _time(self) -> str:
        most = self.config.max_minutes
        return f"{self.journal.minutes:.1f} min so far" + ("" if most is None else f", of {most:g}")

    def _begin(self) -> None:
        """The labelled structures of round 0."""
        config, folder = self.config, self.folder(0)
        with self.journal.stage("round 0: labelling"):
            self._tell(f"labelling {len(self.structures)} structures, as they are and distorted, with {config.teacher}")
            options = LabelConfig(config.start.distortions, config.seed, config.pick.limits)
            store = self.teacher.label(
                self.structures, folder / "labelled.store", options, self._processes, self._part("labelling")
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
            if not (folder / f"student-{k}" / MODEL).exists():
                self._tell(
                    f"round {number} of at most {config.rounds}: training student {k + 1} of {config.committee} on "
                    f"{frames} frames"
                )
            run = student_run(config, folder, folder / f"student-{k}", budget, self.elements, config.seed + k)
            recipe = FromScratch(run)
            if number > 0:
                recipe = Continued(run, self.folder(number - 1) / f"student-{k}" / MODEL)
            with self.journal.stage(f"round {number}: training"):
                carry_out(recipe, progress=self._bars)

    def _explore(self, number: int) -> RoundResult:
        """Dynamics by the students of the round before; what the teacher says of where they went."""
        config, before, folder = self.config, self.folder(number - 1), self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        committee = Committee(students_of(before, config.committee))
        with self.journal.stage(f"round {number}: dynamics"):
            usual = self.journal.once(
                f"usual {number}", lambda: committee.usual(list(FrameStore(before / VALIDATION)))
            )
            limit = config.explore.limit * usual
            walks = explore(
                self.structures, committee, config, limit, number, folder / "walks",
                self._part(f"round {number}: dynamics"),
            )  # fmt: skip
            chosen = choose(walks, config.pick, limit, np.random.default_rng([config.seed, number, 3]))
            if not chosen.drawn:
                raise DataError(
                    f"{folder}: all trajectories exploded at once; train the students longer (learn.first_steps) or "
                    "take a shorter explore.timestep"
                )
        with self.journal.stage(f"round {number}: labelling"):
            drawn, picked = (
                self._label(frames, folder / name, number)
                for name, frames in ((DRAWN, chosen.drawn), (PICKED, chosen.picked))
            )
        result = _result(number, frames_in(before), committee, drawn, picked, limit, walks, config)
        new = [
            frame.with_(provenance=replace(frame.provenance, config_type=kind))
            for kind, store in (("drawn", drawn), ("picked", picked or ()))
            for frame in store
        ]
        add_frames(new, config.learn.validation, config.seed + number, folder, before)
        return result

    def _label(self, frames: Sequence[Frame], store: Path, number: int) -> FrameStore | None:
        """Labelled frames, `None` if there were none to label."""
        if not frames:
            return None
        shown = self._part(f"round {number}: labelling")
        return self.teacher.as_they_are(frames, store, self.config.pick.limits, self._processes, shown)

    def _part(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(what, done, total)


def _result(
    number: int,
    trained_on: int,
    committee: Committee,
    drawn: FrameStore,
    picked: FrameStore | None,
    limit: float,
    walks: Sequence[Walk],
    config: DistilConfig,
) -> RoundResult:
    lost = left_out(drawn) + (Counter() if picked is None else left_out(picked))
    lengths = [len(walk) * config.explore.interval * config.explore.timestep / 1000 for walk in walks]
    return RoundResult(
        number=number,
        trained_on=trained_on,
        drawn=len(drawn),
        picked=0 if picked is None else len(picked),
        left_out=dict(lost),
        errors=committee.errors(drawn),
        picked_errors=None if picked is None else committee.errors(picked),
        limit=limit,
        disagreement=float(np.median([d for walk in walks for d in walk.disagreements])),
        ends=dict(Counter(walk.end for walk in walks)),
        picoseconds=float(np.mean(lengths)),
    )


def reason_to_end(config: DistilConfig, journal: RunJournal) -> str:
    """Why no further round is made after those in the journal; empty: there is to be one."""
    errors = [result.errors.forces_mae for result in journal.rounds]
    best, waited = errors[0], 0
    for error in errors[1:]:
        waited = 0 if error < (1 - config.tolerance) * best else waited + 1
        best = min(best, error)
    if waited >= config.patience:
        return "the error on fresh frames falls no longer"
    if len(errors) >= config.rounds:
        return f"{config.rounds} were asked for"
    last = journal.minutes_of(f"round {len(errors)}: ") + (student_minutes(config, len(errors)) or 0) * config.committee
    if config.max_minutes is not None and journal.minutes + last > ROUNDS_SHARE * config.max_minutes:
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
        f"{1e3 * errors.energy_mae:.3g} meV/atom (MAE); {result.picked} more were picked"
    )


def _structures(config: DistilConfig, teacher: Teacher) -> list[Frame]:
    """Those that are used, evenly spread over all that are given."""
    given = read_structures([resolve(path) for path in config.paths("structures")])
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
    frames = list(read_any(paths, DataConfig(train=paths, reader=config.reader)))
    known = {int(z) for frame in structures for z in frame.numbers}
    for frame in frames:
        if unseen := sorted({s for z, s in zip(frame.numbers, frame.symbols, strict=True) if z not in known}):
            raise DataError(
                f"{frame.where}: the student will not know {', '.join(unseen)}, which no structure has; take it out of "
                "the test, or give structures with it"
            )
    return frames
