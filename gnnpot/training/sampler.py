"""Batches of frames by number, atoms or edges: a pure function of (seed, epoch), the same on every machine.

    plan = BatchPlan(sizes, budget=512, seed=0, ranks=4)
    plan.batches(epoch=3)                       # every frame exactly once; `ranks` divides their number
    for indices in BatchStream(plan, epochs=100, rank=1, start=1234): ...

A step takes one batch for each rank, so the place in a run is one number, the step.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gnnpot.errors import ConfigError

#: frames that lie together in a store (its row group), and how many such blocks are mixed at a time
BLOCK, WINDOW = 128, 32


def shuffled(count: int, seed: int, epoch: int, block: int = BLOCK, window: int = WINDOW) -> np.ndarray:
    """A permutation of `count` frames.

    Up to `block` * `window` frames it is a uniform one. Beyond, blocks of neighbouring frames are permuted, then the
    frames within each window of blocks: a store is read at random, but block by block.
    """
    rng = np.random.default_rng((seed, epoch))
    if count <= block * window:
        return rng.permutation(count)
    starts = rng.permutation(np.arange(0, count, block))
    parts = []
    for k in range(0, len(starts), window):
        pool = np.concatenate([np.arange(s, min(s + block, count)) for s in starts[k : k + window]])
        parts.append(rng.permutation(pool))
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """How frames of given sizes are cut into batches.

    Frames are taken in the epoch's order until the next one would pass the budget; a frame above the budget makes a
    batch alone. Then the largest batches are halved until `ranks` divides the number of batches.

    Raises `ConfigError` if there are fewer frames than ranks.
    """

    sizes: np.ndarray  #: [F] what each frame takes of the budget: 1, its atoms, or its edges
    budget: float
    seed: int = 0
    ranks: int = 1
    shuffle: bool = True

    def __post_init__(self) -> None:
        if len(self.sizes) < self.ranks:
            raise ConfigError(
                f"{len(self.sizes)} frames can't be shared by {self.ranks} devices; give more frames or fewer devices"
            )

    def batches(self, epoch: int = 0) -> list[np.ndarray]:
        """The batches of an epoch; step k of rank r takes number k * ranks + r."""
        n = len(self.sizes)
        order = shuffled(n, self.seed, epoch) if self.shuffle else np.arange(n)
        batches = _cut(order, self.sizes[order], self.budget)
        while len(batches) % self.ranks:
            largest = max(range(len(batches)), key=lambda k: (len(batches[k]), -k))
            whole = batches[largest]
            half = len(whole) // 2
            batches[largest : largest + 1] = [whole[:half], whole[half:]]
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
        self._even = bool((plan.sizes == plan.sizes[0]).all())

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


class MixedStream:
    """The batches of `main`, each with a batch of `extra` behind it, whose frames are numbered from `offset` on.

    It is as long as `main`; `extra` begins again as often as needed.
    """

    def __init__(self, main: BatchStream, extra: BatchPlan, offset: int) -> None:
        self.main, self.offset = main, offset
        # steps of both are counted together, so a resumed run finds the place in both
        self.extra = BatchStream(extra, sys.maxsize, main.rank, main.start)

    def __iter__(self) -> Iterator[list[int]]:
        for batch, extra in zip(self.main, self.extra, strict=False):
            yield batch + [self.offset + i for i in extra]

    def total_steps(self) -> int:
        """Steps of all epochs of `main`."""
        return self.main.total_steps()
