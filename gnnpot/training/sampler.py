"""Batches of frames, limited by number of frames, atoms or edges.

    plan = BatchPlan(sizes, budget=512, seed=0, ranks=4)
    plan.batches(epoch=3)                       # each frame once; the number of batches is a multiple of `ranks`
    for indices in BatchStream(plan, epochs=100, rank=1, start=1234): ...

The frames of several sources are concatenated, and each source has its own weight:

    BatchPlan(sizes, budget=512, sampling_weights=(SamplingWeight(main), SamplingWeight(other, weight=0.5)))

The batches depend only on seed and epoch, and are the same on every machine. A step uses one batch on each rank, so the
number of the step defines the position in a run.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gnnpot.errors import ConfigError, counted

#: number of blocks of frames that are shuffled together
WINDOW = 32


@dataclass(frozen=True, eq=False)
class SamplingWeight:
    """Weight of a source: the number of passes over its frames in an epoch, for instance 1.5 or 0.1."""

    blocks: np.ndarray  #: [F] block of each frame, ascending; frames of a block are read together (a store's row group)
    weight: float = 1.0  #: passes over the frames in an epoch

    def __len__(self) -> int:
        return len(self.blocks)

    def order(self, seed: int, epoch: int, source: int) -> np.ndarray:
        """Frames of an epoch: the next `weight` F entries of an endless sequence of permutations."""
        n = len(self)
        first, last = (round(k * self.weight * n) for k in (epoch, epoch + 1))
        row = [
            shuffled(self.blocks, (seed, number, source))[max(first - number * n, 0) : last - number * n]
            for number in range(first // n, -(-last // n))
        ]
        return np.concatenate(row) if row else np.empty(0, dtype=np.int64)


def shuffled(blocks: np.ndarray, key: Sequence[int], window: int = WINDOW) -> np.ndarray:
    """Random permutation of the frames in `blocks`, with `key` as the seed.

    For up to `window` blocks, it is uniform. For more, the blocks are permuted, then the frames within each window of
    blocks, so that a store is read block by block.
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
    """Frames of an epoch: each source in its own order, the sources evenly interleaved.

    For a source with m frames, the epoch is divided into m equal intervals, and one frame is placed at random in each.
    Each batch thus contains the sources in their overall proportion, up to whole frames.
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
    """Division of the frames of an epoch into batches.

    Frames are added to a batch, in the order of the epoch, until the next one would exceed the budget; a frame above
    the budget is a batch by itself. Then the last of the largest batches is halved, repeatedly, until the number of
    batches is a multiple of `ranks`. If all batches have a single frame, the smallest are joined instead, and may
    exceed the budget.

    Raises `ConfigError` if there are fewer frames than ranks.
    """

    sizes: np.ndarray  #: [F] size of each frame: 1, its number of atoms, or its number of edges
    budget: float  #: largest sum of sizes in a batch
    seed: int = 0
    ranks: int = 1
    #: weights of the sources, whose frames are concatenated; empty: each frame once, in the given order
    sampling_weights: tuple[SamplingWeight, ...] = ()

    def __post_init__(self) -> None:
        given = self.sampling_weights
        frames = round(sum(len(s) * s.weight for s in given)) if given else len(self.sizes)
        if frames < self.ranks:
            raise ConfigError(
                f"{counted(frames, 'frame')} can't be shared by {self.ranks} devices; give more frames or fewer devices"
            )

    def is_even(self) -> bool:
        """Whether all epochs have the same number of batches, as their frames are equal in number and size."""
        given = [len(one) * one.weight for one in self.sampling_weights]
        # a weight is often a quotient, so its product is an integer only up to rounding
        return bool((self.sizes == self.sizes[0]).all()) and all(abs(n - round(n)) < 1e-9 for n in given)

    def batches(self, epoch: int = 0) -> list[np.ndarray]:
        """Batches of an epoch; step k of rank r uses batch k * ranks + r."""
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
    """Cut `order` into consecutive pieces whose `sizes` sum to at most `budget`, or that have a single frame."""
    ends = np.cumsum(sizes, dtype=np.int64)
    pieces, start = [], 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + budget, side="right")), start + 1)
        pieces.append(order[start:stop])
        start = stop
    return pieces


class BatchStream:
    """Batches of one rank, from step `start` to the end of the last epoch: a `batch_sampler` for a `DataLoader`.

    With `epochs` None, it does not end.
    """

    def __init__(self, plan: BatchPlan, epochs: int | None, rank: int = 0, start: int = 0) -> None:
        self.plan, self.epochs, self.rank, self.start = plan, epochs, rank, start
        self._steps: dict[int, int] = {}
        self._even = plan.is_even()

    def __iter__(self) -> Iterator[list[int]]:
        first, place = self.position(self.start)
        for epoch in self._epochs(first):
            mine = self.plan.batches(epoch)[self.rank :: self.plan.ranks]
            for batch in mine[place if epoch == first else 0 :]:
                yield batch.tolist()

    def steps(self, epoch: int) -> int:
        """Number of steps of an epoch; unless all frames have the same size, it differs slightly between epochs."""
        if self._even:
            epoch = 0
        if epoch not in self._steps:
            self._steps[epoch] = len(self.plan.batches(epoch)) // self.plan.ranks
        return self._steps[epoch]

    def total_steps(self, limit: float = math.inf) -> float:
        """Number of steps of all epochs, `limit` at most; infinite if both are unlimited."""
        if self.epochs is None:
            return limit
        total = 0
        for epoch in range(self.epochs):
            if total >= limit:
                return limit
            total += self.steps(epoch)
        return min(total, limit)

    def mean_steps(self) -> float:
        """Mean number of steps of the first epochs, ten at most."""
        count = min(self.epochs or 10, 10)
        return sum(self.steps(epoch) for epoch in range(count)) / count

    def position(self, step: int) -> tuple[int, int]:
        """Epoch, and step within it, of a step counted from the beginning of the run."""
        for epoch in self._epochs():
            if step < self.steps(epoch):
                return epoch, step
            step -= self.steps(epoch)
        return self.epochs or 0, step

    def _epochs(self, first: int = 0) -> Iterable[int]:
        return itertools.count(first) if self.epochs is None else range(first, self.epochs)
