"""Neighbour lists by a grid of bins over a cell, multithreaded; called by `neighbor_search`.

The loop runs over neighbours j and their images within the cutoff of the cell, and adds each to the lists of the
centres i close to it. The list of each centre is therefore sorted by neighbour. The neighbours are divided among
threads; a first pass counts the pairs, so that each thread knows where to write.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit, prange
from gnnpot.data.neighbor_search import Neighbors, heights, wrapped

#: relative margin of the cutoff in the search with wrapped positions; the final test uses the original positions, so
#: that either both or none of a pair and its reverse are found
_ROUNDING = 1e-6
#: least number of atoms per thread
ATOMS_PER_THREAD = 64


class NeighborGrid(NamedTuple):
    """N atoms in bins, which cover the cell along periodic directions, and the atoms along others."""

    positions: np.ndarray  #: [N, 3] Å, not wrapped
    cell: np.ndarray  #: [3, 3] Å, complete
    cutoff: float  #: Å
    fractional: np.ndarray  #: [N, 3] fractional coordinates, wrapped to 0 to 1 along periodic directions
    cells: np.ndarray  #: [N, 3] int64, cells subtracted by the wrapping
    pbc: np.ndarray  #: [3] bool
    margin: np.ndarray  #: [3] cutoff in fractional coordinates
    low: np.ndarray  #: [3] fractional coordinates of the first bin
    scale: np.ndarray  #: [3] bins per unit of the fractional coordinates
    bins: np.ndarray  #: [3] int64, number of bins
    order: np.ndarray  #: [N] atoms sorted by bin
    starts: np.ndarray  #: [number of bins + 1] start of each bin in `order`
    places: np.ndarray  #: [N, 3] wrapped positions, Å, sorted by bin


def grid_of(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> NeighborGrid:
    """Sort atoms into bins of half the cutoff, or of the cutoff if there are too few atoms for so many bins.

    Args:
        positions: [N, 3] Å.
        cell: [3, 3] Å, complete.
        pbc: [3] bool.
        cutoff: Å.

    Returns:
        The grid.
    """
    positions, cell = (np.array(x, dtype=float, order="C") for x in (positions, cell))
    pbc, cutoff = np.array(pbc, dtype=bool), float(cutoff)
    margin = cutoff / heights(cell) * (1 + _ROUNDING)
    fractional, cells = wrapped(positions, cell, pbc)
    low = np.where(pbc, 0.0, fractional.min(axis=0))
    span = np.where(pbc, 1.0, np.ptp(fractional, axis=0))
    bins = np.maximum(1, np.floor(2 * span / margin)).astype(np.int64)
    if bins.prod() > 4 * len(fractional):
        bins = np.maximum(1, np.floor(span / margin)).astype(np.int64)
    scale = np.divide(bins, span, out=np.zeros(3), where=bins > 1)
    each = np.clip(np.floor((fractional - low) * scale), 0, bins - 1).astype(np.int64)
    number = (each[:, 0] * bins[1] + each[:, 1]) * bins[2] + each[:, 2]
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(bins.prod() + 1))
    return NeighborGrid(
        positions, cell, cutoff, fractional, cells.astype(np.int64), pbc, margin, low, scale, bins, order, starts,
        places=(fractional @ cell)[order],
    )  # fmt: skip


@njit(cache=True, parallel=True)
def pairs_by_grid(grid: NeighborGrid, parts: int) -> Neighbors:  # pragma: no cover - compiled
    """Find all pairs closer than the cutoff.

    Args:
        grid: Atoms in bins.
        parts: Number of threads; it does not affect the result.

    Returns:
        The pairs, sorted by centre, then by neighbour.
    """
    n = len(grid.positions)
    counts = np.zeros((parts, n), np.int64)
    nothing = Neighbors(np.empty((2, 0), np.int64), np.empty((0, 3), np.int64), np.empty((0, 3)), np.empty(0))
    for part in prange(parts):
        near = np.empty(n, np.uint32)
        for j in range(n * part // parts, n * (part + 1) // parts):
            _add_neighbor(grid, j, counts[part], near, nothing, False)
    total = 0
    for i in range(n):
        for part in range(parts):
            count = counts[part, i]
            counts[part, i] = total
            total += count
    found = Neighbors(
        np.empty((2, total), np.int64), np.empty((total, 3), np.int64), np.empty((total, 3)), np.empty(total)
    )
    for part in prange(parts):
        near = np.empty(n, np.uint32)
        for j in range(n * part // parts, n * (part + 1) // parts):
            _add_neighbor(grid, j, counts[part], near, found, True)
    return found


@njit(forceinline=True)
def _add_neighbor(  # pragma: no cover - compiled
    grid: NeighborGrid, j: int, at: np.ndarray, near: np.ndarray, found: Neighbors, is_written: bool
) -> None:
    """Increment at[i] for each centre i that has atom j, or an image of it, as a neighbour.

    If `is_written`, the pair is first written to position at[i] of `found`. `near` [N] is scratch memory.
    """
    f0, f1, f2 = grid.fractional[j, 0], grid.fractional[j, 1], grid.fractional[j, 2]
    (lo0, hi0), (lo1, hi1), (lo2, hi2) = image_range(grid, f0, 0), image_range(grid, f1, 1), image_range(grid, f2, 2)
    for s0 in range(lo0, hi0 + 1):
        for s1 in range(lo1, hi1 + 1):
            for s2 in range(lo2, hi2 + 1):
                count = find_centres(grid, (f0 + s0, f1 + s1, f2 + s2), near)
                _add_image(grid, j, (s0, s1, s2), near[:count], at, found, is_written)


@njit(forceinline=True)
def find_centres(  # pragma: no cover - compiled
    grid: NeighborGrid, f: tuple[float, float, float], near: np.ndarray
) -> int:
    """Write to `near` the indices into `grid.order` of atoms within the cutoff of fractional coordinates f.

    The cutoff has a margin for rounding errors. Returns the number of atoms.
    """
    cell, places = grid.cell, grid.places
    limit = (grid.cutoff * (1 + _ROUNDING)) ** 2
    x = f[0] * cell[0, 0] + f[1] * cell[1, 0] + f[2] * cell[2, 0]
    y = f[0] * cell[0, 1] + f[1] * cell[1, 1] + f[2] * cell[2, 1]
    z = f[0] * cell[0, 2] + f[1] * cell[1, 2] + f[2] * cell[2, 2]
    (first0, last0), (first1, last1), (first2, last2) = _bins(grid, f[0], 0), _bins(grid, f[1], 1), _bins(grid, f[2], 2)
    count = 0
    for b0 in range(first0, last0 + 1):
        for b1 in range(first1, last1 + 1):
            row = (b0 * grid.bins[1] + b1) * grid.bins[2]
            for a in range(grid.starts[row + first2], grid.starts[row + last2 + 1]):
                dx, dy, dz = places[a, 0] - x, places[a, 1] - y, places[a, 2] - z
                # branchless: a branch would be mispredicted for about every fourth atom
                near[count] = a
                count += dx * dx + dy * dy + dz * dz <= limit
    return count


@njit(forceinline=True)
def _add_image(  # pragma: no cover - compiled
    grid: NeighborGrid,
    j: int,
    s: tuple[int, int, int],
    near: np.ndarray,
    at: np.ndarray,
    found: Neighbors,
    is_written: bool,
) -> None:
    """As `_add_neighbor`, for the image of j in cell s and the centres grid.order[near]."""
    positions, cell = grid.positions, grid.cell
    for a in near:
        i = grid.order[a]
        shift0 = s[0] - grid.cells[j, 0] + grid.cells[i, 0]
        shift1 = s[1] - grid.cells[j, 1] + grid.cells[i, 1]
        shift2 = s[2] - grid.cells[j, 2] + grid.cells[i, 2]
        # with this order of operations, the vector of the reverse pair differs only in its sign
        x_ij = positions[j, 0] - positions[i, 0] + (shift0 * cell[0, 0] + shift1 * cell[1, 0] + shift2 * cell[2, 0])
        y_ij = positions[j, 1] - positions[i, 1] + (shift0 * cell[0, 1] + shift1 * cell[1, 1] + shift2 * cell[2, 1])
        z_ij = positions[j, 2] - positions[i, 2] + (shift0 * cell[0, 2] + shift1 * cell[1, 2] + shift2 * cell[2, 2])
        distance = np.sqrt(x_ij * x_ij + y_ij * y_ij + z_ij * z_ij)
        if distance >= grid.cutoff or (i == j and shift0 == 0 and shift1 == 0 and shift2 == 0):
            continue
        to = at[i]
        at[i] += 1
        if is_written:
            found.edge_index[0, to], found.edge_index[1, to], found.distances[to] = i, j, distance
            found.edge_shifts[to, 0], found.edge_shifts[to, 1], found.edge_shifts[to, 2] = shift0, shift1, shift2
            found.edge_vectors[to, 0], found.edge_vectors[to, 1], found.edge_vectors[to, 2] = x_ij, y_ij, z_ij


@njit(forceinline=True)
def image_range(grid: NeighborGrid, fraction: float, k: int) -> tuple[int, int]:  # pragma: no cover - compiled
    """Return the first and last cell along direction k with an image within the cutoff of the cell."""
    if not grid.pbc[k]:
        return 0, 0
    return int(np.ceil(-grid.margin[k] - fraction)), int(np.floor(1 + grid.margin[k] - fraction))


@njit(forceinline=True)
def _bins(grid: NeighborGrid, fraction: float, k: int) -> tuple[int, int]:  # pragma: no cover - compiled
    """Return the first and last bin along direction k within the cutoff, clamped to the grid."""
    low, high = fraction - grid.margin[k] - grid.low[k], fraction + grid.margin[k] - grid.low[k]
    last = grid.bins[k] - 1
    return min(max(int(np.floor(low * grid.scale[k])), 0), last), min(max(int(np.floor(high * grid.scale[k])), 0), last)
