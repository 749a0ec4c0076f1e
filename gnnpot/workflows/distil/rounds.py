"""Steps of a round: dynamics of the students, labels of the teacher, errors of the students.

Example::

    dynamics = explore(committee, structures, config, limit, number, folder, progress)
    labelled = label_states(teacher, dynamics.selection, limits, folder, processes, progress)
    result = round_result(number, trained_on, committee, labelled, dynamics)
    new_frames(labelled)                                       # added to the training frames of the students
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore
from gnnpot.errors import DataError
from gnnpot.sampling import Limits
from gnnpot.sampling.selection import Selection, select
from gnnpot.sampling.trajectories import SampledTrajectory, run_trajectories
from gnnpot.workflows.committee import Committee
from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.results import RoundResult
from gnnpot.workflows.distil.teacher import Teacher, left_out

#: names of the stores of labelled states; existing runs resume with them
RANDOM, UNCERTAIN = "drawn.store", "picked.store"

Count = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class StudentDynamics:
    """Trajectories of the students' dynamics, and the states to label."""

    trajectories: list[SampledTrajectory]
    selection: Selection  #: states to be labelled
    limit: float  #: disagreement above which trajectories end, eV/Å
    picoseconds: float  #: mean length of the trajectories, ps


@dataclass(frozen=True, eq=False)
class Labelled:
    """States of the dynamics with the teacher's labels."""

    random: FrameStore
    uncertain: FrameStore | None  #: high-uncertainty sample; `None` if no state was selected


def explore(
    committee: Committee,
    structures: Sequence[Frame],
    config: DistilConfig,
    limit: float,
    number: int,
    folder: Path,
    progress: Count,
) -> StudentDynamics:
    """Run molecular dynamics with the students in turns, and select the states to label.

    Args:
        committee: The students.
        structures: Initial structures of the trajectories.
        config: Options of dynamics and selection, and the seed.
        limit: Disagreement above which a trajectory ends, eV/Å.
        number: Number of the round.
        folder: Folder of the round; trajectories that it contains are not run again.
        progress: Called with the number of finished trajectories and that of all.

    Raises:
        DataError: All trajectories explode in the first steps.
    """
    options = config.explore
    # so that each student is used at each temperature
    turns = len(options.temperatures)
    trajectories = run_trajectories(
        structures, lambda k: committee.driver(k // turns), committee.disagreement, options, limit,
        (config.seed, number), folder / "walks", progress,
    )  # fmt: skip
    selection = select(trajectories, config.select, limit, np.random.default_rng([config.seed, number, 3]))
    if not selection.random:
        raise DataError(
            f"{folder}: all trajectories exploded at once; train the students longer (learn.first_steps) or take a "
            "shorter explore.timestep"
        )
    lengths = [len(t) * options.interval * options.timestep / 1000 for t in trajectories]
    return StudentDynamics(trajectories, selection, limit, float(np.mean(lengths)))


def label_states(
    teacher: Teacher, selection: Selection, limits: Limits, folder: Path, processes: int, progress: Count
) -> Labelled:
    """Label both samples with the teacher, or read the labels that the folder already contains."""
    sample = teacher.label(selection.random, folder / RANDOM, limits, processes, progress)
    uncertain = None
    if selection.uncertain:
        uncertain = teacher.label(selection.uncertain, folder / UNCERTAIN, limits, processes, progress)
    return Labelled(sample, uncertain)


def round_result(
    number: int, trained_on: int, committee: Committee, labelled: Labelled, dynamics: StudentDynamics
) -> RoundResult:
    """Result of a round: errors of the students on states of their own dynamics, before they are trained on these.

    Args:
        number: Number of the round.
        trained_on: Number of frames that the students were trained on.
        committee: The students.
        labelled: Labelled states, from `label_states`.
        dynamics: Dynamics of the students, from `explore`.
    """
    sample, uncertain = labelled.random, labelled.uncertain
    lost = left_out(sample) + (Counter() if uncertain is None else left_out(uncertain))
    return RoundResult(
        number=number,
        trained_on=trained_on,
        drawn=len(sample),
        picked=0 if uncertain is None else len(uncertain),
        left_out=dict(lost),
        errors=committee.errors(sample),
        picked_errors=None if uncertain is None else committee.errors(uncertain),
        limit=dynamics.limit,
        disagreement=float(np.median([d for t in dynamics.trajectories for d in t.disagreements])),
        ends=dict(Counter(t.end for t in dynamics.trajectories)),
        picoseconds=dynamics.picoseconds,
    )


def new_frames(labelled: Labelled) -> list[Frame]:
    """Labelled frames of both samples; the configuration type in the provenance names the sample."""
    return [
        frame.replace(provenance=replace(frame.provenance, config_type=kind))
        for kind, store in (("drawn", labelled.random), ("picked", labelled.uncertain or ()))
        for frame in store
    ]
