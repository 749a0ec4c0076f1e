"""Batches of frames by number, atoms or edges: a pure function of (seed, epoch), the same on every machine.

    plan = BatchPlan(sizes, budget=512, seed=0, ranks=4)
    plan.batches(epoch=3)                       # every frame exactly once; `ranks` divides their number
    for indices in BatchStream(plan, epochs=100, rank=1, start=1234): ...

Frames of several sources stand one source after the other, each with its own weight:

    BatchPlan(sizes, budget=512, sampling_weights=(SamplingWeight(main), SamplingWeight(other, weight=0.5)))

A step takes one batch for each rank, so the place in a run is one number, the step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gnnpot.errors import ConfigError, counted

#: blocks of frames that are mixed at a time
WINDOW = 32


@dataclass(frozen=True, eq=False)
class SamplingWeight:
    """What a source gives to an epoch: `weight` passes over its frames, 1.5 for instance or 0.1."""

    blocks: np.ndarray  #: [F] which frames are read together, as those of a store's row group: ascending numbers
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.blocks)

    def order(self, seed: int, epoch: int, source: int) -> np.ndarray:
        """The frames that an epoch takes: the next `weight` F places of one endless row of permutations."""
        n = len(self)
        first, last = (round(k * self.weight * n) for k in (epoch, epoch + 1))
        row = [
            shuffled(self.blocks, (seed, number, source))[max(first - number * n, 0) : last - number * n]
            for number in range(first // n, -(-last // n))
        ]
        return np.concatenate(row) if row else np.empty(0, dtype=np.int64)


def shuffled(blocks: np.ndarray, key: Sequence[int], window: int = WINDOW) -> np.ndarray:
    """A permutation of the frames that lie in these `blocks`, drawn from `key`.

    Up to `window` blocks it is a uniform one. Beyond, the blocks are permuted, then the frames within each window of
    blocks: a store is read at random, but block by block.
    """
    rng = np.random.default_rng(key)
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(blocks)) + 1, [len(blocks)]])
    if len(bounds) - 1 <= window:
        return rng.permutation(len(blocks))
    chosen = rng.permutation(len(bounds) - 1)
    parts = []
    for k in range(0, len(chosen), window):
        pool = np.concatenate([np.arange(bounds[b], bounds[b + 1]) for b in chosen[k : k + window]])
        parts.append(rng.permutation(pool))
    return np.concatenate(parts)


def mixed(sampling_weights: Sequence[SamplingWeight], seed: int, epoch: int) -> np.ndarray:
    """The frames of an epoch: each source in its own order, the sources evenly interleaved.

    Of the m frames that a source gives, one has its place in each m-th part of the epoch, at random within it; so each
    batch holds the sources in their proportion, as nearly as whole frames can.
    """
    starts = np.cumsum([0] + [len(one) for one in sampling_weights])
    orders = [starts[k] + one.order(seed, epoch, k) for k, one in enumerate(sampling_weights)]
    if len(orders) == 1:
        return orders[0]
    rng = np.random.default_rng((seed, epoch, 0, 1))
    places = [(np.arange(len(order)) + rng.random(len(order))) / len(order) for order in orders if len(order)]
    return np.concatenate(orders)[np.argsort(np.concatenate(places), kind="stable")]


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """How frames of given sizes are cut into batches.

    Frames are taken in the epoch's order until the next one would pass the budget; a frame above the budget makes a
    batch alone. Then the last of the largest batches are halved until `ranks` divides the number of batches; where all
    are of one frame, the smallest are joined instead, beyond the budget.

    Raises `ConfigError` if there are fewer frames than ranks.
    """

    sizes: np.ndarray  #: [F] what each frame takes of the budget: 1, its atoms, or its edges
    budget: float
    seed: int = 0
    ranks: int = 1
    #: the sources, whose frames follow one another; empty: the frames are taken once, in the order in which they stand
    sampling_weights: tuple[SamplingWeight, ...] = ()

    def __post_init__(self) -> None:
        given = self.sampling_weights
        frames = round(sum(len(s) * s.weight for s in given)) if given else len(self.sizes)
        if frames < self.ranks:
            raise ConfigError(
                f"{counted(frames, 'frame')} can't be shared by {self.ranks} devices; give more frames or fewer devices"
            )

    def is_even(self) -> bool:
        """Whether all epochs have the same number of batches, because their frames are as many, and of one size."""
        given = [len(one) * one.weight for one in self.sampling_weights]
        # a weight is often a quotient, and its product whole to rounding only
        return bool((self.sizes == self.sizes[0]).all()) and all(abs(n - round(n)) < 1e-9 for n in given)

    def batches(self, epoch: int = 0) -> list[np.ndarray]:
        """The batches of an epoch; step k of rank r takes number k * ranks + r."""
        order = mixed(self.sampling_weights, self.seed, epoch) if self.sampling_weights else np.arange(len(self.sizes))
        batches = _cut(order, self.sizes[order], self.budget)
        while (surplus := len(batches) % self.ranks) and max(map(len, batches)) > 1:
            largest = max(range(len(batches)), key=lambda k: (len(batches[k]), k))
            whole = batches[largest]
            half = len(whole) // 2
            batches[largest : largest + 1] = [whole[:half], whole[half:]]
        for _ in range(surplus):
            first, second = sorted(sorted(range(len(batches)), key=lambda k: self.sizes[batches[k]].sum())[:2])
            batches[first] = np.concatenate([batches[first], batches.pop(second)])
        return batches


def _cut(order: np.ndarray, sizes: np.ndarray, budget: float) -> list[np.ndarray]:
    """`order` in consecutive pieces whose `sizes` sum to at most `budget`, or that have a single frame."""
    ends = np.cumsum(sizes, dtype=np.int64)
    pieces, start = [], 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + budget, side="right")), start + 1)
        pieces.append(order[start:stop])
        start = stop
    return pieces


class BatchStream:
    """The batches of one rank from step `start` to the end of the last epoch: a `batch_sampler` for a `DataLoader`."""

    def __init__(self, plan: BatchPlan, epochs: int, rank: int = 0, start: int = 0) -> None:
        self.plan, self.epochs, self.rank, self.start = plan, epochs, rank, start
        self._steps: dict[int, int] = {}
        self._even = plan.is_even()

    def __iter__(self) -> Iterator[list[int]]:
        first, place = self.position(self.start)
        for epoch in range(first, self.epochs):
            mine = self.plan.batches(epoch)[self.rank :: self.plan.ranks]
            for batch in mine[place if epoch == first else 0 :]:
                yield batch.tolist()

    def steps(self, epoch: int) -> int:
        """Steps of an epoch; unless all frames are of one size, their number differs a little from epoch to epoch."""
        if self._even:
            epoch = 0
        if epoch not in self._steps:
            self._steps[epoch] = len(self.plan.batches(epoch)) // self.plan.ranks
        return self._steps[epoch]

    def total_steps(self) -> int:
        """Steps of all epochs."""
        return sum(self.steps(epoch) for epoch in range(self.epochs))

    def position(self, step: int) -> tuple[int, int]:
        """The epoch, and the place in it, of a step counted from the beginning of the run."""
        epoch = 0
        while epoch < self.epochs and step >= self.steps(epoch):
            step -= self.steps(epoch)
            epoch += 1
        return epoch, step
