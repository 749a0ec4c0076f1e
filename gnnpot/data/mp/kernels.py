"""Compiled kernels for distance checks of many frames.

All frames are periodic along three linearly independent lattice vectors.
"""

import numpy as np

from gnnpot.compiler.decorator import njit


@njit(cache=True)
def _inverse(cell: np.ndarray) -> np.ndarray:
    """Return the inverse of a 3x3 matrix."""
    out = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            a, b, c, d = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
            out[j, i] = cell[a, c] * cell[b, d] - cell[a, d] * cell[b, c]
    return out / (cell[0, 0] * out[0, 0] + cell[0, 1] * out[1, 0] + cell[0, 2] * out[2, 0])


@njit(cache=True)
def _product(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return `vectors` [n, 3] @ `matrix` [3, 3]."""
    out = np.empty((len(vectors), 3))
    for i in range(len(vectors)):
        for k in range(3):
            out[i, k] = vectors[i, 0] * matrix[0, k] + vectors[i, 1] * matrix[1, k] + vectors[i, 2] * matrix[2, k]
    return out


@njit(cache=True)
def _reach(inverse: np.ndarray, cutoff: float) -> np.ndarray:
    """Return [3], the number of cells on each side with images within `cutoff` of a vector wrapped to [-1/2, 1/2]."""
    out = np.empty(3, dtype=np.int64)
    for k in range(3):
        height = 1.0 / np.sqrt(inverse[0, k] ** 2 + inverse[1, k] ** 2 + inverse[2, k] ** 2)
        out[k] = int(np.floor(cutoff / height + 0.5))
    return out


@njit(cache=True)
def _within(delta: np.ndarray, cell: np.ndarray, reach: np.ndarray, cutoff: float, same: bool) -> bool:
    """Return whether an image of the fractional vector `delta`, wrapped to [-1/2, 1/2], is within `cutoff`.

    If `same` (an atom and itself), the zero vector is excluded.
    """
    for a in range(-reach[0], reach[0] + 1):
        for b in range(-reach[1], reach[1] + 1):
            for c in range(-reach[2], reach[2] + 1):
                if same and a == 0 and b == 0 and c == 0:
                    continue
                square = 0.0
                for k in range(3):
                    x = (delta[0] + a) * cell[0, k] + (delta[1] + b) * cell[1, k] + (delta[2] + c) * cell[2, k]
                    square += x * x
                if square <= cutoff * cutoff:
                    return True
    return False


@njit(cache=True)
def have_close_pair(positions: np.ndarray, cells: np.ndarray, offsets: np.ndarray, cutoff: float) -> np.ndarray:
    """Return [F] bool: whether two atoms of a frame, or an atom and its image, are within `cutoff` (Å)."""
    found = np.zeros(len(cells), dtype=np.bool_)
    delta = np.empty(3)
    for f in range(len(cells)):
        inverse = _inverse(cells[f])
        reach = _reach(inverse, cutoff)
        fractional = _product(positions[offsets[f] : offsets[f + 1]], inverse)
        n = len(fractional)
        for i in range(n):
            for j in range(i + 1):
                for k in range(3):
                    x = fractional[i, k] - fractional[j, k]
                    delta[k] = x - np.rint(x)
                if _within(delta, cells[f], reach, cutoff, i == j):
                    found[f] = True
                    break
            if found[f]:
                break
    return found


@njit(cache=True)
def have_isolated_atom(positions: np.ndarray, cells: np.ndarray, offsets: np.ndarray, cutoff: float) -> np.ndarray:
    """Return [F] bool: whether an atom of a frame has no neighbours, including its own images, within `cutoff` (Å)."""
    found = np.zeros(len(cells), dtype=np.bool_)
    delta = np.empty(3)
    for f in range(len(cells)):
        # every atom has its own image along the shortest lattice vector as a neighbour
        if np.sqrt((cells[f] ** 2).sum(axis=1).min()) <= cutoff:
            continue
        inverse = _inverse(cells[f])
        reach = _reach(inverse, cutoff)
        fractional = _product(positions[offsets[f] : offsets[f + 1]], inverse)
        n = len(fractional)
        for i in range(n):
            bonded = False
            for j in range(n):
                for k in range(3):
                    x = fractional[i, k] - fractional[j, k]
                    delta[k] = x - np.rint(x)
                if _within(delta, cells[f], reach, cutoff, i == j):
                    bonded = True
                    break
            if not bonded:
                found[f] = True
                break
    return found


@njit(cache=True)
def near_duplicates(
    positions: np.ndarray,
    cells: np.ndarray,
    energies: np.ndarray,
    offsets: np.ndarray,
    run: np.ndarray,
    displacement: float,
    strain: float,
    energy: float,
) -> np.ndarray:
    """Return [F] bool: frames that differ from the last kept frame of their run by at most all three limits.

    The limits are the largest `displacement` of an atom (Å), calculated from the change of fractional coordinates, the
    largest component of the `strain` of the cell, and the `energy` difference (eV per atom; NaN is treated as equal).
    """
    found = np.zeros(len(cells), dtype=np.bool_)
    last = -1
    inverse = np.empty((3, 3))
    for f in range(len(cells)):
        n = offsets[f + 1] - offsets[f]
        if last >= 0 and run[last] == run[f]:
            same = not abs(energies[f] - energies[last]) > energy * n
            if same:
                change = _product(inverse, cells[f])
                for k in range(3):
                    change[k, k] -= 1.0
                same = np.abs(change).max() <= strain
            if same:
                here = _product(positions[offsets[f] : offsets[f + 1]], _inverse(cells[f]))
                there = _product(positions[offsets[last] : offsets[last + 1]], inverse)
                moved = here - there
                moved = _product(moved - np.rint(moved), cells[f])
                same = (moved**2).sum(axis=1).max() <= displacement**2
            if same:
                found[f] = True
                continue
        last = f
        inverse = _inverse(cells[f])
    return found
