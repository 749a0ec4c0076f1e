"""Pairs of atoms and images of atoms, without vectors and distances; the list of `graphs.skin`.

    pairs = image_pairs(positions, cell, pbc, cutoff=5.8)

An image is an atom in one of the cells. There are usually far fewer images than pairs, so that the arrays of images
stay in the cache, and a pair needs only eight bytes.

The search is that of `data.neighbor_grid`. If neighbours are not searched in a grid, the pairs of `neighbor_list` are
converted.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.data.neighbor_grid import ATOMS_PER_THREAD, NeighborGrid, find_centres, grid_of, image_range
from gnnpot.data.neighbor_search import Neighbors, compact_cell, complete_cell, find_by_tree, has_grid


class ImagePairs(NamedTuple):
    """Pairs of N atoms with images, sorted by the first atom, then by the second, then by the cell of the image."""

    first: np.ndarray  #: [N + 1] index of the first pair of each atom
    image: np.ndarray  #: [pairs] index of the image of the second atom; uint32, or int64 from 2^31 pairs on
    near: np.ndarray  #: [pairs] buffer of the same dtype for the indices of the pairs within a shorter cutoff
    owner: np.ndarray  #: [images] int64, atom of each image
    shift: np.ndarray  #: [images, 3] int64, cell of each image


def image_pairs(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> ImagePairs:
    """Find all pairs closer than the cutoff; because of rounding, also some that are up to 1e-6 of it farther apart.

    Args:
        positions: [N, 3] Å.
        cell: [3, 3] Å.
        pbc: [3] bool.
        cutoff: Å.

    Returns:
        The pairs; `near` is not set.
    """
    complete = complete_cell(cell, pbc)
    reduced, integers = compact_cell(complete, pbc, cutoff)
    if integers is not None or not has_grid(positions, complete, pbc, cutoff):
        found = find_by_tree(positions, reduced, pbc, cutoff)
        if integers is not None:
            found = found._replace(edge_shifts=found.edge_shifts @ integers)
        return _from_neighbors(found, len(positions))
    grid = grid_of(positions, complete, pbc, cutoff)
    parts = max(min(follow_torch(), len(positions) // ATOMS_PER_THREAD), 1)
    first, starts, images = _count(grid, parts)
    pairs = _empty(first, int(images[-1]))
    _write(grid, starts, images, pairs)
    return pairs


def _empty(first: np.ndarray, images: int) -> ImagePairs:
    """Allocate the arrays of `ImagePairs`."""
    count = int(first[-1])
    image, near = (np.empty(count, dtype=np.uint32 if count < 2**31 else np.int64) for _ in range(2))
    return ImagePairs(first, image, near, np.empty(images, np.int64), np.empty((images, 3), np.int64))


@njit(cache=True, parallel=True)
def _count(  # pragma: no cover - compiled
    grid: NeighborGrid, parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count pairs and images; the second atoms are divided into `parts` ranges, one for each thread.

    Returns `ImagePairs.first`, [parts, N] the index of the first pair of each atom with a second atom of each range,
    and [parts + 1] the index of the first image of each range, and the number of images.
    """
    n = len(grid.positions)
    counts, images = np.zeros((parts, n), np.int64), np.zeros(parts + 1, np.int64)
    integers = np.empty(0, np.int64)
    nothing = ImagePairs(integers, integers, integers, integers, np.empty((0, 3), np.int64))
    for part in prange(parts):
        images[part + 1] = _add_range(
            grid, (n * part // parts, n * (part + 1) // parts), counts[part], 0, nothing, False
        )
    for part in range(parts):
        images[part + 1] += images[part]
    first, total = np.empty(n + 1, np.int64), 0
    for i in range(n):
        first[i] = total
        for part in range(parts):
            count = counts[part, i]
            counts[part, i] = total
            total += count
    first[n] = total
    return first, counts, images


@njit(cache=True, parallel=True)
def _write(  # pragma: no cover - compiled
    grid: NeighborGrid, starts: np.ndarray, images: np.ndarray, pairs: ImagePairs
) -> None:
    """Set `pairs.image`, `pairs.owner` and `pairs.shift` from the result of `_count`; changes `starts`."""
    n, parts = len(grid.positions), len(starts)
    for part in prange(parts):
        _add_range(grid, (n * part // parts, n * (part + 1) // parts), starts[part], images[part], pairs, True)


@njit(forceinline=True)
def _add_range(  # pragma: no cover - compiled
    grid: NeighborGrid, atoms: tuple[int, int], at: np.ndarray, image: int, pairs: ImagePairs, is_written: bool
) -> int:
    """Increment at[i] for each image of a second atom within the cutoff of atom i.

    If `is_written`, the image is first written to position at[i] of `pairs`. Returns the index after that of the last
    image; that of the first is `image`.
    """
    near, seen = np.empty(len(grid.positions), np.uint32), np.empty(len(grid.positions), np.uint32)
    for j in range(atoms[0], atoms[1]):
        f0, f1, f2 = grid.fractional[j, 0], grid.fractional[j, 1], grid.fractional[j, 2]
        (lo0, hi0), (lo1, hi1), (lo2, hi2) = (
            image_range(grid, f0, 0),
            image_range(grid, f1, 1),
            image_range(grid, f2, 2),
        )
        for s0 in range(lo0, hi0 + 1):
            for s1 in range(lo1, hi1 + 1):
                for s2 in range(lo2, hi2 + 1):
                    count = find_centres(grid, (f0 + s0, f1 + s1, f2 + s2), near)
                    itself = s0 == 0 and s1 == 0 and s2 == 0
                    image = _add_images(grid, j, (s0, s1, s2), itself, near[:count], seen, at, image, pairs, is_written)
    return image


@njit(forceinline=True)
def _add_images(  # pragma: no cover - compiled
    grid: NeighborGrid,
    j: int,
    s: tuple[int, int, int],
    itself: bool,
    near: np.ndarray,
    seen: np.ndarray,
    at: np.ndarray,
    image: int,
    pairs: ImagePairs,
    is_written: bool,
) -> int:
    """As `_add_range`, for atom j at its wrapped position in cell s, and the atoms grid.order[near].

    Atoms i outside the cell were wrapped by different numbers of cells. Relative to each of these, j is in another cell
    and thus another image. `seen` [N] is scratch memory: for each of these images, an atom i.
    """
    cells, count = grid.cells, 0
    for a in near:
        i = grid.order[a]
        if itself and i == j:
            continue
        k = count - 1
        while k >= 0:
            r = seen[k]
            if cells[r, 0] == cells[i, 0] and cells[r, 1] == cells[i, 1] and cells[r, 2] == cells[i, 2]:
                break
            k -= 1
        if k < 0:
            k = count
            seen[k] = i
            count += 1
            if is_written:
                pairs.owner[image + k] = j
                for axis in range(3):
                    pairs.shift[image + k, axis] = s[axis] - cells[j, axis] + cells[i, axis]
        if is_written:
            pairs.image[at[i]] = image + k
        at[i] += 1
    return image + count


def _from_neighbors(found: Neighbors, atoms: int) -> ImagePairs:
    """Convert a neighbour list."""
    pairs = _empty(np.searchsorted(found.edge_index[0], np.arange(atoms + 1)), 0)
    # `near` serves as a temporary array here
    images = _find_images(found.edge_index[1], found.edge_shifts, np.full(atoms, -1), pairs.image, pairs.near)
    last = pairs.near[:images]
    return pairs._replace(owner=found.edge_index[1][last], shift=found.edge_shifts[last])


@njit(cache=True)
def _find_images(  # pragma: no cover - compiled
    neighbor: np.ndarray, shifts: np.ndarray, latest: np.ndarray, image: np.ndarray, pair: np.ndarray
) -> int:
    """Number the images and return their count.

    Writes the image of each pair to `image`, and the first pair of each image to `pair`. `latest` [N] must be -1.
    """
    count, before = 0, np.empty(len(neighbor), dtype=np.int64)
    for e in range(len(neighbor)):
        j, a, b, c = neighbor[e], shifts[e, 0], shifts[e, 1], shifts[e, 2]
        m = latest[j]
        while m >= 0:
            other = pair[m]
            if shifts[other, 0] == a and shifts[other, 1] == b and shifts[other, 2] == c:
                break
            m = before[m]
        if m < 0:
            m = count
            pair[m], before[m], latest[j] = e, latest[j], m
            count += 1
        image[e] = m
    return count
