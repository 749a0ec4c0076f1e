"""Neighbour lists of structures of any size and shape.

    (i, j), shifts, vectors, distances = neighbor_list(positions, cell, pbc, cutoff=5.0)

A grid of bins is fastest if the atoms fill the space that they span: `neighbor_grid`, or vesin if only the closest pair
is needed, as when files are read, to avoid loading the compiled kernels. For sparse structures (distant fragments, a
long wire, few atoms in a large cell) a k-d tree of the atoms and of their images near the cell is used, whose cost
depends only on the number of atoms. Skewed cells with many images within the cutoff are first reduced to the shortest
lattice vectors (Minkowski reduction).
"""

import itertools
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

#: cells with more images within the cutoff are reduced first
MAX_IMAGES = 2000
#: largest number of grid cells for few atoms; vesin has the same limit and makes larger cells instead, which fails for
#: long and thin structures
MAX_GRID_CELLS = 100_000
#: relative margin of the cutoff in the search of the tree, with wrapped positions; as in `neighbor_grid`
_ROUNDING = 1e-6


class Neighbors(NamedTuple):
    """The E edges of a structure."""

    edge_index: np.ndarray  #: [2, E] int64: centre, neighbour
    edge_shifts: np.ndarray  #: [E, 3] int64: lattice translation of the neighbour's image, in cells
    edge_vectors: np.ndarray  #: [E, 3] float64, Å, from centre to neighbour
    distances: np.ndarray  #: [E] float64, Å


def neighbor_list(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Neighbors:
    """Find all ordered pairs i, j with |positions[j] + shift @ cell - positions[i]| < cutoff, sorted by i, then by j.

    The cell may be smaller than the cutoff, triclinic, left-handed, periodic along some directions only, or absent. The
    images of an atom are its neighbours; the atom itself is not.

    Args:
        positions: [N, 3] Å.
        cell: [3, 3] Å, rows are lattice vectors; those of non-periodic directions are ignored.
        pbc: [3] bool.
        cutoff: Å.

    Returns:
        The pairs.
    """
    pbc = np.asarray(pbc, dtype=bool)
    complete = complete_cell(cell, pbc)
    reduced, integers = compact_cell(complete, pbc, cutoff)
    if integers is not None:
        found = find_by_tree(positions, reduced, pbc, cutoff)
        return found._replace(edge_shifts=found.edge_shifts @ integers)
    if not has_grid(positions, complete, pbc, cutoff):
        return find_by_tree(positions, complete, pbc, cutoff)
    from gnnpot.compiler.threads import follow_torch
    from gnnpot.data.neighbor_grid import ATOMS_PER_THREAD, grid_of, pairs_by_grid

    threads = max(min(follow_torch(), len(positions) // ATOMS_PER_THREAD), 1)
    return pairs_by_grid(grid_of(positions, complete, pbc, cutoff), threads)


def closest_pair(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[int, int, float] | None:
    """Return the pair with the smallest distance within the cutoff, (i, j, distance in Å); `None` if there is none."""
    complete = complete_cell(cell, pbc)
    reduced, integers = compact_cell(complete, pbc, cutoff)
    if integers is not None:
        (i, j), _, _, distances = find_by_tree(positions, reduced, pbc, cutoff)
    elif fits_grid(positions, complete, pbc, cutoff, MAX_GRID_CELLS):
        from vesin import NeighborList

        i, j, distances = NeighborList(cutoff=cutoff, full_list=False).compute(
            points=positions, box=complete, periodic=pbc.tolist(), quantities="ijd"
        )
    else:
        (i, j), _, _, distances = find_by_tree(positions, complete, pbc, cutoff)
    if len(distances) == 0:
        return None
    k = int(distances.argmin())
    return int(i[k]), int(j[k]), float(distances[k])


def complete_cell(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Replace the non-periodic vectors of `cell` by unit vectors orthogonal to the periodic ones.

    The given vectors of non-periodic directions (often zeros) do not affect the neighbours.
    """
    if pbc.all():
        return cell
    periodic = cell[pbc]
    _, _, basis = np.linalg.svd(periodic) if len(periodic) else (None, None, np.eye(3))
    completed = np.array(cell, dtype=float)
    completed[~pbc] = basis[len(periodic) :]
    return completed


def compact_cell(complete: np.ndarray, pbc: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Reduce a cell to the shortest lattice vectors if it has more than `MAX_IMAGES` images within the cutoff.

    Returns the reduced cell [3, 3] = integers @ `complete`, and the integers [3, 3]; or `complete` and `None`.
    """
    if not pbc.any() or np.prod(np.where(pbc, 2 * np.ceil(cutoff / heights(complete)) + 1, 1.0)) <= MAX_IMAGES:
        return complete, None
    from ase.geometry import minkowski_reduce

    reduced, integers = minkowski_reduce(complete, pbc=pbc)
    return np.asarray(reduced), np.asarray(integers, dtype=np.int64)


def heights(complete: np.ndarray) -> np.ndarray:
    """Return the distances [3] between opposite faces of a cell, Å."""
    return 1 / np.linalg.norm(np.linalg.inv(complete), axis=0)


def fits_grid(positions: np.ndarray, complete: np.ndarray, pbc: np.ndarray, cutoff: float, most: int) -> bool:
    """Return whether a grid over cell and atoms with spacing `cutoff` has at most `most` cells."""
    span = positions.max(axis=0) - positions.min(axis=0)
    longest = np.sqrt(max(float((complete**2).sum(axis=1).max()), float(span @ span)))
    if (longest / cutoff + 1) ** 3 <= most:
        return True
    spans = np.where(pbc, heights(complete), np.ptp(positions @ np.linalg.inv(complete), axis=0))
    return bool(np.prod(np.maximum(spans / cutoff, 1.0)) <= most)


def has_grid(positions: np.ndarray, complete: np.ndarray, pbc: np.ndarray, cutoff: float) -> bool:
    """Return whether neighbours are searched in a grid; otherwise in a k-d tree, which takes more time and memory."""
    return fits_grid(positions, complete, pbc, cutoff, max(MAX_GRID_CELLS, len(positions)))


def wrapped(positions: np.ndarray, complete: np.ndarray, pbc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return [N, 3] fractional coordinates, wrapped along periodic directions, and the [N, 3] cells subtracted."""
    fractional = positions @ np.linalg.inv(complete)
    cells = np.where(pbc, np.floor(fractional), 0.0)
    return fractional - cells, cells


def find_by_tree(positions: np.ndarray, complete: np.ndarray, pbc: np.ndarray, cutoff: float) -> Neighbors:
    """As `neighbor_list`, for a complete cell, with a k-d tree."""
    fractional, cells = wrapped(positions, complete, pbc)
    # the final test uses the original positions, so that either both or none of a pair and its reverse are found
    within = cutoff * (1 + _ROUNDING)
    images, atoms, shifts = _images(fractional, complete, pbc, within)
    found = cKDTree(fractional @ complete).sparse_distance_matrix(cKDTree(images), within, output_type="ndarray")
    order = np.lexsort((atoms[found["j"]], found["i"]))
    i, image = found["i"][order].astype(np.int64, copy=False), found["j"][order]
    # arrays are freed early, because they are as large as the result
    del found, order
    j, shift = atoms[image], shifts[image]
    del image
    shift += cells[i]
    shift -= cells[j]
    vectors = positions[j]
    vectors -= positions[i]
    vectors += shift @ complete
    distances = np.linalg.norm(vectors, axis=1)
    near = np.flatnonzero((distances < cutoff) & ((i != j) | shift.any(axis=1)))
    edge_index = np.stack([i[near], j[near]])
    del i, j
    shift, vectors, distances = shift[near].astype(np.int64), vectors[near], distances[near]
    return Neighbors(edge_index, shift, vectors, distances)


def _images(
    fractional: np.ndarray, complete: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the atoms and images within the cutoff of the cell: [M, 3] positions, Å, [M] atoms, [M, 3] cells."""
    margin = np.where(pbc, cutoff / heights(complete), np.inf)
    reach = [range(-int(np.ceil(m)), int(np.ceil(m)) + 1) if p else range(1) for m, p in zip(margin, pbc, strict=True)]
    places, atoms, shifts = [], [], []
    for shift in itertools.product(*reach):
        moved = fractional + shift
        near = np.flatnonzero(((moved >= -margin) & (moved <= 1 + margin)).all(axis=1))
        places.append(moved[near] @ complete)
        atoms.append(near)
        shifts.append(np.tile(np.array(shift, dtype=float), (len(near), 1)))
    return np.concatenate(places), np.concatenate(atoms), np.concatenate(shifts)
