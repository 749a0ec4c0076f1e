"""Selection of the states of trajectories that are labelled.

Example::

    selection = select(trajectories, SelectionConfig(), limit, np.random.default_rng(0))
    selection.random, selection.uncertain
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from gnnpot.data.frame import Frame
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, NOT_NEGATIVE, check_fields
from gnnpot.sampling.config import Limits
from gnnpot.sampling.trajectories import SampledTrajectory


@dataclass(frozen=True)
class SelectionConfig:
    """Options of the selection of states: a random sample, and a high-uncertainty sample."""

    RENAMED: ClassVar[dict[str, str]] = {"drawn": "random", "picked": "uncertain"}

    #: size of the random sample; errors on it, before it is used for training, estimate those of the whole dynamics
    random: Annotated[int, INTEGER_FROM_1] = 20
    #: size of the high-uncertainty sample, which has the states of the largest disagreement
    uncertain: Annotated[int, INTEGER_FROM_0] = 40
    #: states of the high-uncertainty sample have a larger disagreement than this, eV/Å
    level: Annotated[float, NOT_NEGATIVE] = 0.0
    #: least separation of two states of the high-uncertainty sample in the same trajectory, in states
    apart: Annotated[int, INTEGER_FROM_1] = 3
    #: frames outside of these limits are excluded and counted
    limits: Limits = field(default_factory=lambda: Limits(max_force=30.0))

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, eq=False)
class Selection:
    """States to be labelled."""

    random: tuple[Frame, ...]  #: random sample of the states within the limit
    uncertain: tuple[Frame, ...]  #: other states with the largest disagreement


def select(
    trajectories: Sequence[SampledTrajectory], options: SelectionConfig, limit: float, rng: np.random.Generator
) -> Selection:
    """Select states to be labelled.

    Args:
        trajectories: Trajectories with the disagreement of their states.
        options: Numbers of states.
        limit: Largest disagreement of the random sample, eV/Å; ignored if no state is below it.
        rng: Random number generator of the random sample.

    Returns:
        A random sample, and the other states with the largest disagreement, at least `options.apart` from each other.
    """
    states = [(t, s) for t, trajectory in enumerate(trajectories) for s in range(len(trajectory))]
    within = [(t, s) for t, s in states if trajectories[t].disagreements[s] <= limit] or states
    sample = sorted(within[int(i)] for i in rng.permutation(len(within))[: options.random])
    taken: dict[int, list[int]] = {}
    uncertain: list[tuple[int, int]] = []

    def largest_first(state: tuple[int, int]) -> tuple[float, tuple[int, int]]:
        return -trajectories[state[0]].disagreements[state[1]], state

    for t, s in sorted(set(states) - set(sample), key=largest_first):
        if len(uncertain) == options.uncertain or trajectories[t].disagreements[s] <= options.level:
            break
        if all(abs(s - other) >= options.apart for other in taken.get(t, ())):
            taken.setdefault(t, []).append(s)
            uncertain.append((t, s))
    return Selection(*(tuple(trajectories[t].frames[s] for t, s in part) for part in (sample, sorted(uncertain))))
