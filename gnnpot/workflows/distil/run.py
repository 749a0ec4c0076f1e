"""Distillation runs, which can be stopped and resumed.

    potential = distil(read_distil_config("7net-0", ["frames.extxyz.gz"], student="hdnnp", run="runs/student"))

Contents of the run folder:

| name              | content                                                                                    |
|-------------------|--------------------------------------------------------------------------------------------|
| distil.yaml       | the configuration; a resumed run may only change the limits of time, rounds and steps      |
| journal.json      | results of the rounds, and the time they took (`results.py`)                               |
| round-00/         | the labelled structures, and the first students, each a training run (`training/run.py`)   |
| round-NN/         | `walks/`: the students' dynamics; `drawn.store`: the labelled random sample of its states; |
|                   | `picked.store`: the high-uncertainty sample; the students trained on all frames so far     |
| final/            | the training of the final student, and `check/`, its own dynamics                          |
| model/            | the final student (`gnnpot.load`); its card names the teacher                              |
| report/           | report.md and its figure                                                                   |
"""

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.calculators.calculator import BaseCalculator

from gnnpot.config import from_mapping, read_yaml, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.hub.opening import OpenedPotential, open_potential
from gnnpot.potential import Potential
from gnnpot.runs.directory import RunDirectory
from gnnpot.runs.identity import differences
from gnnpot.runs.progress import Progress, no_progress, progress_of
from gnnpot.training.config import TrainConfig
from gnnpot.training.run import MODEL, ended_run, fit
from gnnpot.training.task import FromScratch
from gnnpot.workflows.committee import Committee
from gnnpot.workflows.distil.config import LIMITS, DistilConfig
from gnnpot.workflows.distil.inputs import start_structures, test_frames
from gnnpot.workflows.distil.limits import ROUNDS, final_minutes, reason_to_end, student_minutes
from gnnpot.workflows.distil.measure import DYNAMICS_FOLDER, measure
from gnnpot.workflows.distil.report import student_card, write_distil_report
from gnnpot.workflows.distil.results import DistilResults, RoundResult, end_name
from gnnpot.workflows.distil.rounds import explore, label_states, new_frames, round_result
from gnnpot.workflows.distil.students import (
    VALIDATION,
    Budget,
    Continued,
    add_frames,
    frames_in,
    student_folder,
    student_run,
    students_of,
)
from gnnpot.workflows.distil.teacher import Teacher, open_teacher, require_stress

RESULTS, CONFIG, ROUND, FINAL = "journal.json", "distil.yaml", "round-{:02d}", "final"
DIRECTORY = RunDirectory(
    what="a distillation",
    config=CONFIG,
    names=(RESULTS, "report"),
    resume_files=("round-*", FINAL, MODEL),
    free=(*LIMITS, "learn.final_steps", "name", "description", "licence", "functional"),
)

#: callback with a sentence about the next step, or about a result
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
    """Train students on labels of the teacher until their error no longer falls, and write model and report.

    With other limits (rounds, tolerance, patience, minutes, steps of the final training), a run is extended, even if it
    has ended. After further rounds, a new final student is trained on all frames; without further rounds, the final
    training continues.

    Args:
        config: Configuration of the distillation.
        resume: Whether to continue the run in the folder (if it has ended, its student is returned), or to start it
            again. With a budget in steps, a resumed run has the same results as an uninterrupted one.
        make_teacher: Makes the calculator of a teacher that is not a potential of gnnpot; it must be importable if
            there are several `processes`.
        processes: Number of processes for labelling.
        on_event: Called with a sentence about each step.
        progress: Receives the progress of dynamics, labelling and training.

    Returns:
        The final student.

    Raises:
        CheckpointError: The teacher is not known.
        UnknownElementError: A structure has an element that the teacher does not have.
        DataError: Structures can't be read or labelled, or another process uses the folder.
        ConfigError: The folder contains another distillation.
        TrainingStopped: A training was stopped by Ctrl-C or SIGTERM; its state is saved.
    """
    # before the folder is created, so that errors in teacher or structures leave no files behind
    teacher = open_teacher(config.teacher, make_teacher)
    structures = start_structures(config, teacher)
    tests = test_frames(config, structures)
    inputs = (*config.paths("structures"), *config.paths("test"), Path(config.teacher))
    with DIRECTORY.open(config, resume, inputs):
        if (ended := _ended(config)) is not None:
            return ended
        rounds = Rounds(config, teacher, structures, processes, on_event, progress)
        rounds.run()
        student = rounds.final()
        with rounds.results.stage("measurements"):
            on_event("measuring the student")
            measured = measure(config, teacher, student, structures, tests, processes, progress)
        frames = rounds.folder(len(rounds.results.rounds))
        card = student_card(config, teacher, student.card, measured, rounds.results, frames)
        write_distil_report(config.run / "report", card)
        save_checkpoint(config.run / MODEL, student.potential, card, overwrite=True)
    return student.potential


def _ended(config: DistilConfig) -> Potential | None:
    """Student of a distillation that has ended with these limits."""
    if not (config.run / MODEL).exists():
        return None
    potential, card = load_checkpoint(config.run / MODEL)
    # folder and inputs may have been moved; the content of the inputs has already been compared
    free = {"run", "teacher", "structures", "test", "name", "description", "licence", "functional"}
    return None if differences(card.training["distillation"], to_mapping(config), free) else potential


def _has_other_frames(run: TrainConfig) -> bool:
    """Whether the folder of the final training contains one on the frames of another round."""
    path = run.run / "config.yaml"
    if not path.exists():
        return False
    before, now = read_yaml(path).get("data", {}).get("train"), to_mapping(run)["data"]["train"]
    # the folder of the distillation may have been moved
    return Path(str(before)).parts[-2:] != Path(str(now)).parts[-2:]


def _as_it_began(run: TrainConfig) -> TrainConfig:
    """Give an extended final training the validation interval of its first configuration.

    It depends on the number of steps; if it changed with it, the run in the folder could not be resumed.
    """
    path = run.run / "config.yaml"
    if not path.exists():
        return run
    before = from_mapping(TrainConfig, read_yaml(path), where=str(path))
    return replace(run, validate_every=before.validate_every)


class Rounds:
    """Rounds of dynamics, labelling and training. Completed steps are read from disk."""

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

    def run(self) -> None:
        """Run rounds until there is a reason to end, which is stored in the results."""
        self._begin()
        for number in itertools.count(1):
            self._train(number - 1)
            if number > len(self.results.rounds):
                self.results.add(self._explore(number))
            self._on_event(f"{_sentence(self.results.rounds[number - 1])}; {self._time()}")
            if number == len(self.results.rounds) and (reason := self._reason_to_end()):
                self._on_event(f"the rounds end: {reason}")
                return

    def final(self) -> OpenedPotential:
        """Train the final student on all frames."""
        config = self.config
        folder = self.folder(len(self.results.rounds))
        name = f"final minutes of {config.max_minutes} and {len(self.results.rounds)} rounds"
        minutes = self.results.get_or_compute(name, lambda: final_minutes(config, self.results.minutes_of(ROUNDS)))
        budget = Budget(config.learn.final_steps, minutes, config.learn.final_batch)
        run = student_run(config, folder, config.run / FINAL, budget, self.elements.tolist(), config.seed)
        is_new = _has_other_frames(run)
        if not is_new:
            run = _as_it_began(run)
        if is_new or ended_run(run) is None:
            self._on_event(f"training the final student on {frames_in(folder)} frames")
            # dynamics of an earlier final student
            shutil.rmtree(run.run / DYNAMICS_FOLDER, ignore_errors=True)
            with self.results.stage("final"):
                fit(FromScratch(run), resume=not is_new, progress=self._progress)
        return open_potential(run.run)

    def _reason_to_end(self) -> str:
        """Reason to end after the last round, as first determined; empty if there is a further round."""
        name = end_name(self.config, len(self.results.rounds))
        return self.results.get_or_compute(name, lambda: reason_to_end(self.config, self.results))

    def _time(self) -> str:
        most = self.config.max_minutes
        return f"{self.results.minutes:.1f} min so far" + ("" if most is None else f", of {most:g}")

    def _begin(self) -> None:
        """Label the structures of round 0."""
        config, folder = self.config, self.folder(0)
        with self.results.stage("round 0: labelling"):
            self._on_event(
                f"labelling {len(self.structures)} structures, undistorted and distorted, with {config.teacher}"
            )
            store = self.teacher.label(
                self.structures, folder / "labelled.store", config.select.limits, self._processes,
                progress_of(self._progress, "labelling"), config.start.distortions, config.seed,
            )  # fmt: skip
            if config.learn.loss.stress > 0:
                require_stress(store)
            add_frames(store, config.learn.validation, config.seed, folder)

    def _train(self, number: int) -> None:
        """Train the students of a round on all frames labelled so far."""
        config, folder = self.config, self.folder(number)
        steps = config.learn.first_steps if number == 0 else config.learn.round_steps
        budget = Budget(steps, student_minutes(config, number))
        frames = frames_in(folder)
        for k in range(config.committee):
            student = student_folder(folder, k)
            if (student / MODEL).exists():
                continue
            self._on_event(
                f"round {number} of at most {config.rounds}: training student {k + 1} of {config.committee} on "
                f"{frames} frames"
            )
            run = student_run(config, folder, student, budget, self.elements.tolist(), config.seed + k)
            task = FromScratch(run)
            if number > 0:
                task = Continued(run, student_folder(self.folder(number - 1), k))
            with self.results.stage(f"round {number}: training"):
                fit(task, progress=self._progress)

    def _explore(self, number: int) -> RoundResult:
        """Run dynamics with the students of the previous round, and label the selected states with the teacher."""
        config, before, folder = self.config, self.folder(number - 1), self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        committee = Committee(students_of(before, config.committee))
        with self.results.stage(f"round {number}: dynamics"):
            median = self.results.get_or_compute(
                f"usual {number}", lambda: committee.median_disagreement(list(FrameStore(before / VALIDATION)))
            )
            limit, shown = config.explore.limit * median, progress_of(self._progress, f"round {number}: dynamics")
            dynamics = explore(committee, self.structures, config, limit, number, folder, shown)
        with self.results.stage(f"round {number}: labelling"):
            shown, limits = progress_of(self._progress, f"round {number}: labelling"), config.select.limits
            labelled = label_states(self.teacher, dynamics.selection, limits, folder, self._processes, shown)
        result = round_result(number, frames_in(before), committee, labelled, dynamics)
        add_frames(new_frames(labelled), config.learn.validation, config.seed + number, folder, before)
        return result


def _sentence(result: RoundResult) -> str:
    errors = result.errors
    return (
        f"round {result.number}: on {result.drawn} fresh frames the students err by {errors.forces_mae:.3g} eV/Å and "
        f"{1e3 * errors.energy_mae:.3g} meV/atom (MAE); {result.picked} more have a high uncertainty"
    )
