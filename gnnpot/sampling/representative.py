"""Selection of representative frames, for labelling or training with a small number of frames.

    choice = choose_frames(frames, count=20)  # for example from a long molecular dynamics, before labelling
    [frames[k] for k in choice.indices], choice.distances

Labels are not used. An atom a is described by the vector x_a of weighted symmetry functions
(`symmetry_sets.weighted_set`, whose grid starts at the shortest distances of the frames), each scaled by its standard
deviation over the atoms of the element. The cost of a set C of frames is the sum over all atoms of the distance from
the nearest atom in C:

    cost(C) = Σ_a min_{b in C, same element as a} |x_a - x_b|

Frames are selected greedily: each next frame is the one that lowers the cost most. The reduction of such a cost is at
least 1 - 1/e of the largest possible one (Nemhauser, Wolsey & Fisher 1978, section 4). Diverse environments of many
atoms, as in liquids, get many frames, similar ones get a single frame, and single outliers get none, in contrast to
farthest point sampling.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.errors import ConfigError, counted
from gnnpot.graphs import build_graph
from gnnpot.models.symmetry import SymmetryDescriptor
from gnnpot.models.symmetry_choice import first_shift
from gnnpot.models.symmetry_sets import FIRST_SHIFT, WeightedSet

#: largest number of atoms of all frames
MAX_ATOMS = 5_000_000
#: largest number of atoms in the sum of the cost, drawn at random
MAX_TARGETS = 8192
#: largest number of distances between atoms and frames in memory
MAX_DISTANCES = 100_000_000
#: descriptors with a smaller standard deviation over the atoms are ignored as noise
_MIN_DEVIATION = 1e-4
#: number of frames in which the shortest distances are looked for, at least if there are as many
_FRAMES = 500
#: largest number of distances in temporary arrays
_BLOCK = 4_000_000


@dataclass(frozen=True)
class RepresentativeFrames:
    """Selected frames, in the order of selection."""

    indices: list[int]
    #: mean distance of an atom from the nearest atom in the frames selected so far, in scaled descriptors
    distances: list[float]


def _up_to(number: int) -> str:
    return "1" if number == 1 else f"1 to {number}"


def choose_frames(
    frames: Sequence[Frame], count: int, *, progress: Callable[[int, int], None] | None = None
) -> RepresentativeFrames:
    """Select `count` representative frames; see the module for the method.

    The result is reproducible for the same frames in the same order; the selection for a smaller `count` is the
    beginning of that for a larger one.

    Args:
        frames: The frames.
        count: Number of frames to select.
        progress: Called with the number of frames whose descriptors are calculated, and the number of all frames.

    Returns:
        The indices of the selected frames.

    Raises:
        ConfigError: `count` is not from 1 to the number of frames, or there are more than `MAX_ATOMS` atoms.
    """
    if not 1 <= count <= len(frames):
        raise ConfigError(
            f"count: {count} can't be chosen of {counted(len(frames), 'frame')}; ask for {_up_to(len(frames))}"
        )
    described = _describe(frames, progress)
    total = sum(len(x) for _, x in described.values())
    share = min(1.0, min(MAX_TARGETS, MAX_DISTANCES // len(frames)) / total)
    rng = np.random.default_rng(0)
    targets = [np.sort(rng.choice(len(x), max(1, round(share * len(x))), replace=False)) for _, x in described.values()]
    distances = np.empty((sum(map(len, targets)), len(frames)), dtype=np.float32)
    row = 0
    for chosen, (owner, x) in zip(targets, described.values(), strict=True):
        _fill_distances(owner, x, x[chosen], distances[row : row + len(chosen)])
        row += len(chosen)
    return _greedy(distances, count)


def _describe(
    frames: Sequence[Frame], progress: Callable[[int, int], None] | None
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return for each element the frames of its atoms, [A], and their scaled descriptors, [A, D]."""
    elements = sorted({int(z) for frame in frames for z in np.unique(frame.numbers)})
    symbols = tuple(chemical_symbols[z] for z in elements)
    chosen = WeightedSet()
    some = range(0, len(frames), max(1, len(frames) // _FRAMES))
    first = first_shift((build_graph(frames[k], FIRST_SHIFT, labels=False) for k in some), symbols)
    descriptor = SymmetryDescriptor(chosen.functions(symbols, first), symbols)
    index = torch.full((119,), -1, dtype=torch.int64)
    index[[atomic_numbers[s] for s in symbols]] = torch.arange(len(symbols))
    owners: dict[int, list[np.ndarray]] = {z: [] for z in elements}
    tables: dict[int, list[np.ndarray]] = {z: [] for z in elements}
    atoms = 0
    for k, frame in enumerate(frames):
        atoms += len(frame)
        if atoms > MAX_ATOMS:
            raise ConfigError(
                f"there are more than {MAX_ATOMS:,} atoms in {k + 1} of {len(frames)} frames, too many to compare; "
                "give every other frame, or fewer still"
            )
        graph = build_graph(frame, chosen.radial_cutoff, labels=False)
        with torch.no_grad():
            table = descriptor(graph, index[graph.numbers]).numpy()
        for z in np.unique(frame.numbers):
            mine = table[frame.numbers == z]
            owners[int(z)].append(np.full(len(mine), k))
            tables[int(z)].append(mine.astype(np.float32))
        if progress is not None:
            progress(k + 1, len(frames))
    found = {}
    for z in elements:
        x = np.concatenate(tables.pop(z))
        deviation = x.std(axis=0, dtype=np.float64)
        scale = np.where(deviation > _MIN_DEVIATION, 1 / np.maximum(deviation, _MIN_DEVIATION), 0.0)
        x -= x.mean(axis=0, dtype=np.float64).astype(np.float32)
        x *= scale.astype(np.float32)
        found[z] = np.concatenate(owners[z]), x
    return found


def _fill_distances(owner: np.ndarray, x: np.ndarray, targets: np.ndarray, out: np.ndarray) -> None:
    """Set `out` [targets, frames] to the distances from each target to the nearest of the atoms x of each frame.

    Frames without atoms of the element are farther than all others.
    """
    present, starts = np.unique(owner, return_index=True)
    square, rows = (x * x).sum(axis=1), max(1, _BLOCK // len(x))
    for begin in range(0, len(targets), rows):
        t = targets[begin : begin + rows]
        squares = (t * t).sum(axis=1)[:, None] + square - 2 * t @ x.T
        # atoms are in the order of their frames
        nearest = np.minimum.reduceat(squares, starts, axis=1)
        out[begin : begin + rows, present] = np.sqrt(np.maximum(nearest, 0.0))
    absent = np.setdiff1d(np.arange(out.shape[1]), present)
    # any atom of the element, however far, must be closer than none
    out[:, absent] = 2 * out[:, present].max() + 1


def _greedy(distances: np.ndarray, count: int) -> RepresentativeFrames:
    """Select columns of `distances` [atoms, frames] greedily, to lower the sum over atoms of the least distance."""
    least = np.full(len(distances), distances.max())
    left = np.ones(distances.shape[1], dtype=bool)
    choice, rows = RepresentativeFrames([], []), max(1, _BLOCK // distances.shape[1])
    for _ in range(count):
        won = np.zeros(len(left))
        for begin in range(0, len(distances), rows):
            block = slice(begin, begin + rows)
            won += np.maximum(least[block, None] - distances[block], 0.0).sum(axis=0, dtype=np.float64)
        k = int(np.argmax(np.where(left, won, -1.0)))
        left[k] = False
        least = np.minimum(least, distances[:, k])
        choice.indices.append(k)
        choice.distances.append(float(least.mean(dtype=np.float64)))
    return choice
