"""The steps of a round, one after the other: the students move atoms, the teacher labels, errors are measured.

dynamics = explore(committee, structures, config, limit, number, folder, progress)
labelled = label_states(teacher, dynamics.selection, limits, folder, processes, progress)
result = round_result(number, trained_on, committee, labelled, dynamics)
new_frames(labelled)                                       # which the students are trained with next
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

#: stores of the labelled states, by the names that existing runs resume with
RANDOM, UNCERTAIN = "drawn.store", "picked.store"

Count = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class StudentDynamics:
    """Where the students' dynamics led to."""

    trajectories: list[SampledTrajectory]
    selection: Selection  #: states to be labelled
    limit: float  #: eV/Å, disagreement at which trajectories end
    picoseconds: float  #: of a trajectory, mean


@dataclass(frozen=True, eq=False)
class Labelled:
    """States of the dynamics with the teacher's labels."""

    random: FrameStore
    uncertain: FrameStore | None  #: `None`: no state was that uncertain


def explore(
    committee: Committee,
    structures: Sequence[Frame],
    config: DistilConfig,
    limit: float,
    number: int,
    folder: Path,
    progress: Count,
) -> StudentDynamics:
    """Molecular dynamics by the students in turns, and the states of it that are to be labelled.

    Args:
        committee: the students.
        structures: where trajectories start.
        config: options of the dynamics and of the selection; the seed.
        limit: eV/Å, disagreement at which a trajectory ends.
        number: of the round.
        folder: of the round; trajectories that are in it are not run again.
        progress: called with finished trajectories and their number.

    Raises:
        DataError: all trajectories explode at once.
    """
    options = config.explore
    # so that every student meets every temperature
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
    """The teacher's labels of both samples; those that are in the folder are not calculated again."""
    sample = teacher.label(selection.random, folder / RANDOM, limits, processes, progress)
    uncertain = None
    if selection.uncertain:
        uncertain = teacher.label(selection.uncertain, folder / UNCERTAIN, limits, processes, progress)
    return Labelled(sample, uncertain)


def round_result(
    number: int, trained_on: int, committee: Committee, labelled: Labelled, dynamics: StudentDynamics
) -> RoundResult:
    """What a round found: the students' errors where their dynamics led to, before they are trained on it.

    Args:
        number: of the round.
        trained_on: frames that the students were trained on.
        committee: the students.
        labelled: what `label_states` gave.
        dynamics: what `explore` gave.
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
    """The labelled frames of both samples; which of them each is, stands in its provenance."""
    return [
        frame.with_(provenance=replace(frame.provenance, config_type=kind))
        for kind, store in (("drawn", labelled.random), ("picked", labelled.uncertain or ()))
        for frame in store
    ]
