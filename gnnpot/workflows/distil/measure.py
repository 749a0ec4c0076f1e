"""What came of a distillation: errors on fresh dynamics and on labels from elsewhere, and the speed."""

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
from gnnpot.runs.progress import Progress, of_one
from gnnpot.runs.results_log import read_plan
from gnnpot.sampling.distortions import repeated
from gnnpot.sampling.selection import select
from gnnpot.sampling.trajectories import run_trajectories
from gnnpot.training.evaluate import Evaluation, evaluate, evaluate_calculator
from gnnpot.workflows.committee import Committee
from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.speed import Speed, speeds
from gnnpot.workflows.distil.teacher import Teacher, left_out

#: dynamics of the final student, in the folder of its training, and their results log there
CHECK, WALKS = "check", "walks"


@dataclass(frozen=True)
class StudentMeasurements:
    """Figures of the final student; errors as `Evaluation.metrics` has them."""

    #: against the teacher, on a random sample of states from dynamics of its own, none of which it was trained on
    fresh: dict[str, float]
    #: such states that the teacher could not label, by reason
    left_out: dict[str, int]
    #: those trajectories by how they ended
    ends: dict[str, int]
    picoseconds: float  #: of those trajectories, mean
    speeds: tuple[Speed, ...]  #: of the first structure, and of a larger one
    #: against labels from elsewhere, "teacher" and "student"; empty without such
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
    """All figures; `tests` are frames with labels from elsewhere. Raises `DataError` if the student's dynamics explode
    at once."""
    folder, options, number = config.run / "final" / CHECK, config.explore, config.rounds + 1
    if read_plan(folder / WALKS).get("round", number) != number:
        # the run was extended, but ended with the same student: its dynamics are those of the other limits
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # alone it never disagrees: only explosions end a trajectory
    alone, no_limit = Committee([student]), float("inf")
    trajectories = run_trajectories(
        structures, alone.driver, alone.disagreement, options, no_limit, (config.seed, number),
        folder / WALKS, of_one(progress, "the student's dynamics"),
    )  # fmt: skip
    sample = select(trajectories, config.select, no_limit, np.random.default_rng([config.seed, 4])).random
    if not sample:
        raise DataError(f"{folder}: the student's dynamics explode at once; give it more steps (learn.final_steps)")
    store = teacher.label(
        sample, folder / "drawn.store", config.select.limits, processes, of_one(progress, "labelling")
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
