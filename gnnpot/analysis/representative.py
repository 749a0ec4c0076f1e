"""Frames that stand for many: which to label, or to learn from, where only a few can be.

    choice = choose_frames(frames, count=20)  # for example of a long molecular dynamics, before anything is labelled
    [frames[k] for k in choice.indices], choice.distances

Labels are not looked at. An atom a is described by x_a, the weighted symmetry functions of its surroundings
(`symmetry_sets.weighted_set`), scaled by their deviations over the atoms of its element. Frames C stand for the atoms
of all frames as well as these lie near to an atom of theirs:

    cost(C) = Σ_a min_{b in C, of a's element} |x_a - x_b|

Frame after frame is taken that lowers the cost most. For such a cost what is won is at least 1 - 1/e of what the best
choice wins (Nemhauser, Wolsey & Fisher 1978, section 4). So what many atoms differ in, as in liquids, gets many frames,
what is alike gets one, and single odd frames none: unlike the choice of what is farthest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.errors import ConfigError
from gnnpot.graphs import build_graph
from gnnpot.models.symmetry import SymmetryDescriptor
from gnnpot.models.symmetry_sets import WeightedSet

#: atoms for which frames stand, at most: evenly spread over all
MOST_ATOMS = 8192
#: what hardly differs over the atoms is noise
_MIN_DEVIATION = 1e-6
#: distances that are held at once
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Choice:
    """Frames that stand for others, the most telling first."""

    indices: list[int]
    #: mean distance of an atom from the nearest one like it in the frames up to here, in deviations of the descriptors
    distances: list[float]


def choose_frames(frames: Sequence[Frame], count: int, *, progress: Callable[[int, int], None] | None = None) -> Choice:
    """`count` of the frames; see the module.

    `progress` is told how many frames have been described, of how many. The same frames in the same order give the
    same choice, and a smaller `count` the beginning of a larger one's. Raises `ConfigError` if there are not as many,
    or `count` is not positive.
    """
    if not 1 <= count <= len(frames):
        raise ConfigError(f"{count} of {len(frames)} frames can't be chosen; ask for 1 to {len(frames)}")
    described = _describe(frames, progress)
    total = sum(len(x) for _, x in described.values())
    distances = [
        _distances(owner, x, len(frames), max(1, round(MOST_ATOMS * len(x) / total))) for owner, x in described.values()
    ]
    return _greedy(np.concatenate(distances), count)


def _describe(
    frames: Sequence[Frame], progress: Callable[[int, int], None] | None
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Of each element: the frames of its atoms [A], and the atoms' descriptors [A, D], scaled."""
    elements = sorted({int(z) for frame in frames for z in np.unique(frame.numbers)})
    symbols = tuple(chemical_symbols[z] for z in elements)
    chosen = WeightedSet()
    descriptor = SymmetryDescriptor(chosen.functions(symbols), symbols)
    index = torch.full((119,), -1, dtype=torch.int64)
    index[[atomic_numbers[s] for s in symbols]] = torch.arange(len(symbols))
    owners: dict[int, list[np.ndarray]] = {z: [] for z in elements}
    tables: dict[int, list[np.ndarray]] = {z: [] for z in elements}
    for k, frame in enumerate(frames):
        graph = build_graph(frame, chosen.radial_cutoff, labels=False)
        with torch.no_grad():
            table = descriptor(graph, index[graph.numbers]).numpy()
        for z in np.unique(frame.numbers):
            mine = table[frame.numbers == z]
            owners[int(z)].append(np.full(len(mine), k))
            tables[int(z)].append(mine)
        if progress is not None:
            progress(k + 1, len(frames))
    found = {}
    for z in elements:
        x = np.concatenate(tables[z])
        deviation = x.std(axis=0)
        x = (x - x.mean(axis=0)) * np.where(deviation > _MIN_DEVIATION, 1 / np.maximum(deviation, _MIN_DEVIATION), 0.0)
        found[z] = np.concatenate(owners[z]), x.astype(np.float32)
    return found


def _distances(owner: np.ndarray, x: np.ndarray, frames: int, most: int) -> np.ndarray:
    """From each of at most `most` atoms to the nearest atom of each frame, [atoms, frames].

    A frame without such an atom is farther than any other.
    """
    target = x[np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).astype(int))]
    present, starts = np.unique(owner, return_index=True)
    nearest = np.empty((len(target), len(present)), dtype=np.float32)
    square = (x * x).sum(axis=1)
    rows = max(1, _BLOCK // len(x))
    for begin in range(0, len(target), rows):
        t = target[begin : begin + rows]
        squares = (t * t).sum(axis=1)[:, None] + square - 2 * t @ x.T
        # atoms are in the order of their frames
        nearest[begin : begin + rows] = np.minimum.reduceat(squares, starts, axis=1)
    nearest = np.sqrt(np.maximum(nearest, 0.0))
    # where a frame has none of an element, the farthest atom of it would do better
    result = np.full((len(target), frames), 2 * nearest.max() + 1, dtype=np.float32)
    result[:, present] = nearest
    return result


def _greedy(distances: np.ndarray, count: int) -> Choice:
    """The columns of `distances` [atoms, frames] that lower the sum over atoms of the least distance most."""
    least = np.full((len(distances), 1), np.float32(distances.max()))
    left = np.ones(distances.shape[1], dtype=bool)
    choice = Choice([], [])
    for _ in range(count):
        won = np.where(left, np.maximum(least - distances, 0.0).sum(axis=0, dtype=np.float64), -1.0)
        k = int(np.argmax(won))
        left[k] = False
        least = np.minimum(least, distances[:, k : k + 1])
        choice.indices.append(k)
        choice.distances.append(float(least.mean(dtype=np.float64)))
    return choice
