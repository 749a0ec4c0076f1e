"""Batches by a budget of atoms, as a function of seed, epoch and rank alone."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class BudgetSampler(Sampler[list[int]]):
    """Each epoch a new order of the frames, cut into batches of at most `max_atoms` atoms.

    Every frame is in one batch of one rank; all ranks have the same number of batches. `start` skips batches of the
    first epoch that is drawn, for a run that goes on in the middle of it.
    """

    def __init__(
        self, n_atoms: Sequence[int], max_atoms: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, ranks: int = 1
    ) -> None:
        self.n_atoms = np.asarray(n_atoms)
        self.max_atoms, self.seed, self.shuffle = max_atoms, seed, shuffle
        self.rank, self.ranks = rank, ranks
        self.epoch = self.start = 0

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch, of all ranks."""
        order = np.arange(len(self.n_atoms))
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        batches: list[list[int]] = [[]]
        atoms = 0
        for i in order.tolist():
            if batches[-1] and atoms + self.n_atoms[i] > self.max_atoms:
                batches.append([])
                atoms = 0
            batches[-1].append(i)
            atoms += self.n_atoms[i]
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

    def seek(self, step: int) -> None:
        """Go to the place of a run that has taken `step` optimiser steps."""
        self.epoch, self.start = 0, step
        while self.start >= (length := len(self.batches(self.epoch)) // self.ranks):
            self.start -= length
            self.epoch += 1

    def __iter__(self) -> Iterator[list[int]]:
        mine = self.batches(self.epoch)[self.rank :: self.ranks][self.start :]
        self.epoch, self.start = self.epoch + 1, 0
        yield from mine

    def __len__(self) -> int:
        return len(self.batches(self.epoch)) // self.ranks
