"""Which states of trajectories are labelled.

Example::

    selection = select(trajectories, SelectionConfig(), limit, np.random.default_rng(0))
    selection.random, selection.uncertain
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from gnnpot.data.frame import Frame
from gnnpot.domains import NOT_NEGATIVE, WHOLE_FROM_0, WHOLE_FROM_1, check_fields
from gnnpot.sampling.config import Limits
from gnnpot.sampling.trajectories import SampledTrajectory


@dataclass(frozen=True)
class SelectionConfig:
    """Which states of trajectories are labelled: a random sample, and a high-uncertainty sample."""

    RENAMED: ClassVar[dict[str, str]] = {"drawn": "random", "picked": "uncertain"}

    #: size of the random sample; errors on it, before it is trained on, are those of the dynamics as a whole
    random: Annotated[int, WHOLE_FROM_1] = 20
    #: size of the high-uncertainty sample, where the disagreement is largest
    uncertain: Annotated[int, WHOLE_FROM_0] = 40
    #: eV/Å, states of less disagreement are not in the high-uncertainty sample
    level: Annotated[float, NOT_NEGATIVE] = 0.0
    #: states of one trajectory between two of the high-uncertainty sample, at least
    apart: Annotated[int, WHOLE_FROM_1] = 3
    #: frames beyond these are left out, and counted
    limits: Limits = field(default_factory=lambda: Limits(max_force=30.0))

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, eq=False)
class Selection:
    """States to be labelled."""

    random: tuple[Frame, ...]  #: sample of all states within the limit
    uncertain: tuple[Frame, ...]  #: of the others, those of the largest disagreement


def select(
    trajectories: Sequence[SampledTrajectory], options: SelectionConfig, limit: float, rng: np.random.Generator
) -> Selection:
    """Select states to be labelled.

    Args:
        trajectories: with the disagreement on their states.
        options: numbers of states.
        limit: the random sample has states of at most this disagreement, eV/Å, if there are any.
        rng: of the random sample.

    Returns:
        A random sample, and of the other states those of the largest disagreement, `options.apart` from each other.
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
