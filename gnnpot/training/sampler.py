"""Batches by a budget of atoms or edges, as a function of seed, epoch and rank alone.

The place in a run is one number, the count of optimiser steps: each takes one batch of every rank.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

#: frames that lie together in a store (its row group), and how many such blocks are mixed at a time
BLOCK, WINDOW = 128, 32


class BudgetSampler(Sampler[list[int]]):
    """Each epoch a new order of the frames, cut into batches whose `sizes` sum to at most `budget`.

    A frame above the budget is a batch of its own. Every frame is in one batch of one rank an epoch; all ranks have the
    same number of batches. Iterating goes from step `start` to the end of the last of the `epochs`.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        budget: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        ranks: int = 1,
        epochs: int = 1,
        start: int = 0,
    ) -> None:
        self.sizes = np.asarray(sizes)
        self.budget, self.seed, self.shuffle = budget, seed, shuffle
        self.rank, self.ranks = rank, ranks
        self.epochs, self.start = epochs, start
        self._steps: dict[int, int] = {}

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch, of all ranks; step k of a rank takes number k * ranks + rank."""
        count = len(self.sizes)
        order = shuffled(count, self.seed, epoch) if self.shuffle else np.arange(count)
        batches: list[list[int]] = [[]]
        taken = 0
        for i, size in zip(order.tolist(), self.sizes[order].tolist(), strict=True):
            if batches[-1] and taken + size > self.budget:
                batches.append([])
                taken = 0
            batches[-1].append(i)
            taken += size
        return self._even(batches)

    def _even(self, batches: list[list[int]]) -> list[list[int]]:
        """As many batches as make whole rounds of the ranks: the longest are cut in two until they do."""
        while len(batches) % self.ranks:
            longest = max(range(len(batches)), key=lambda k: len(batches[k]))
            batch = batches[longest]
            if len(batch) < 2:
                # fewer frames than ranks: the last ones are seen twice
                batches.append(batch)
                continue
            half = len(batch) // 2
            batches[longest : longest + 1] = [batch[:half], batch[half:]]
        return batches

    def steps(self, epoch: int) -> int:
        """Optimiser steps of an epoch."""
        if epoch not in self._steps:
            self._steps[epoch] = len(self.batches(epoch)) // self.ranks
        return self._steps[epoch]

    def total_steps(self) -> int:
        """Optimiser steps of all epochs."""
        return sum(self.steps(epoch) for epoch in range(self.epochs))

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step that is counted from the beginning of the run, and its place in the epoch."""
        epoch = 0
        while epoch < self.epochs and step >= self.steps(epoch):
            step -= self.steps(epoch)
            epoch += 1
        return epoch, step

    def __iter__(self) -> Iterator[list[int]]:
        first, place = self.position(self.start)
        for epoch in range(first, self.epochs):
            yield from self.batches(epoch)[self.rank :: self.ranks][place if epoch == first else 0 :]


def shuffled(count: int, seed: int, epoch: int, block: int = BLOCK, window: int = WINDOW) -> np.ndarray:
    """A permutation of `count` frames.

    Up to `block` * `window` frames it is a uniform one. Beyond, blocks of neighbouring frames are permuted, then the
    frames within each window of blocks, so that a store is read at random but block by block.
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
