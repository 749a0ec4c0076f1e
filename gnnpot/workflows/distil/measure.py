"""Evaluation of the final student: errors on its own dynamics and on test frames, and speed."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import DataError
from gnnpot.hub.opening import OpenedPotential
from gnnpot.potential import Potential
from gnnpot.runs.progress import Progress, progress_of
from gnnpot.runs.results_log import read_plan
from gnnpot.sampling.distortions import repeated
from gnnpot.sampling.selection import select
from gnnpot.sampling.trajectories import run_trajectories
from gnnpot.training.evaluate import Evaluation, evaluate, evaluate_calculator
from gnnpot.workflows.committee import Committee
from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.speed import Speed, speeds
from gnnpot.workflows.distil.teacher import Teacher, left_out

#: folder of the final student's dynamics, in that of its training, and folder of their results log
DYNAMICS_FOLDER, TRAJECTORIES_FOLDER = "check", "walks"


@dataclass(frozen=True)
class StudentMeasurements:
    """Errors (as in `Evaluation.metrics`) and speed of the final student."""

    #: errors with respect to the teacher, on a random sample of states of the student's own dynamics, not trained on
    fresh: dict[str, float]
    #: number of states of that sample that the teacher could not label, by reason
    left_out: dict[str, int]
    #: number of trajectories of these dynamics by how they ended
    ends: dict[str, int]
    picoseconds: float  #: mean length of these trajectories, ps
    speeds: tuple[Speed, ...]  #: speed for the first structure, and for a larger one
    #: errors of "teacher" and "student" with respect to the labels of the test frames; empty without test frames
    test: dict[str, dict[str, float]] = field(default_factory=dict)


def measure(
    config: DistilConfig,
    teacher: Teacher,
    student: OpenedPotential,
    structures: Sequence[Frame],
    tests: Sequence[Frame],
    processes: int,
    progress: Progress,
) -> StudentMeasurements:
    """Evaluate the final student.

    Args:
        config: Configuration of the distillation.
        teacher: The teacher, which labels the sampled states.
        student: The final student.
        structures: Initial structures of the dynamics.
        tests: Labelled test frames.
        processes: Number of processes for labelling.
        progress: Receives the progress of dynamics and labelling.

    Returns:
        Errors and speed.

    Raises:
        DataError: All trajectories of the student explode in the first steps.
    """
    folder, options, number = config.run / "final" / DYNAMICS_FOLDER, config.explore, config.rounds + 1
    if read_plan(folder / TRAJECTORIES_FOLDER).get("round", number) != number:
        # the run was extended without a new final student: the existing dynamics belong to the earlier limits
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # the disagreement of a single student is 0, so only explosions end a trajectory
    alone, no_limit = Committee([student]), float("inf")
    trajectories = run_trajectories(
        structures, alone.driver, alone.disagreement, options, no_limit, (config.seed, number),
        folder / TRAJECTORIES_FOLDER, progress_of(progress, "the student's dynamics"),
    )  # fmt: skip
    sample = select(trajectories, config.select, no_limit, np.random.default_rng([config.seed, 4])).random
    if not sample:
        raise DataError(f"{folder}: the student's dynamics explode at once; give it more steps (learn.final_steps)")
    store = teacher.label(
        sample, folder / "drawn.store", config.select.limits, processes, progress_of(progress, "labelling")
    )
    atoms = repeated(structures[0].to_atoms(), options.min_atoms)
    return StudentMeasurements(
        fresh=evaluate(student.potential, store, stress=_has_stress(store)).metrics(),
        left_out=dict(left_out(store)),
        ends=dict(Counter(trajectory.end for trajectory in trajectories)),
        picoseconds=float(np.mean([len(trajectory) for trajectory in trajectories]))
        * options.interval
        * options.timestep
        / 1000,
        speeds=speeds(
            teacher.labeller.make(), Calculator(student, warn=False), atoms, options.temperatures[0], options.timestep
        ),
        test=_test(teacher, student.potential, tests),
    )


def _test(teacher: Teacher, student: Potential, tests: Sequence[Frame]) -> dict[str, dict[str, float]]:
    if not tests:
        return {}
    return {"teacher": _teachers_errors(teacher, tests).metrics(), "student": evaluate(student, tests).metrics()}


def _teachers_errors(teacher: Teacher, tests: Sequence[Frame]) -> Evaluation:
    calculator = teacher.labeller.make()
    if isinstance(calculator, Calculator):
        return evaluate(calculator.potential, tests)
    return evaluate_calculator(calculator, tests)


def _has_stress(store: FrameStore) -> bool:
    return store.manifest.labels.get("stress", 0) > 0
