"""Periodic neighbour lists and triplets.

Convention for the whole package: an edge e = (i, j) has its centre i in `edge_index[0]` and its neighbour j in
`edge_index[1]`. Its vector points from the centre to the neighbour,

    edge_vectors[e] = positions[j] + edge_shifts[e] @ cell - positions[i].

Edges are sorted by centre, so that the edges of an atom are contiguous, and then by neighbour. The reverse of each edge
is in the list as well. A triplet is an ordered pair of different edges (i, j), (i, k) with the same centre. Triplets
are sorted by their first edge.
"""

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.data.neighbor_search import Neighbors, complete_cell, neighbor_list

__all__ = ["Neighbors", "are_independent", "complete_cell", "neighbor_list", "triplets"]


def are_independent(cell: np.ndarray, pbc: np.ndarray) -> bool:
    """Whether the periodic lattice vectors are linearly independent; true if there are none."""
    # before NumPy 2, matrix_rank does not accept an empty matrix
    return not pbc.any() or bool(np.linalg.matrix_rank(cell[pbc]) == pbc.sum())


def triplets(centres: np.ndarray, distances: np.ndarray, cutoff: float) -> np.ndarray:
    """Return all ordered pairs of different edges with the same centre.

    Args:
        centres: [E] centre of each edge, sorted.
        distances: [E] length of each edge, Å.
        cutoff: Å, largest length of both edges.

    Returns:
        [2, T] edge indices, sorted by the first row.
    """
    edges = np.flatnonzero(distances <= cutoff)
    return _triplets(edges, centres[edges])


@njit(cache=True)
def _triplets(edges: np.ndarray, centres: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    n = len(edges)
    total = 0
    start = 0
    for end in range(1, n + 1):
        if end == n or centres[end] != centres[start]:
            total += (end - start) * (end - start - 1)
            start = end
    pairs = np.empty((2, total), dtype=np.int64)
    t = 0
    start = 0
    for end in range(1, n + 1):
        if end == n or centres[end] != centres[start]:
            for a in range(start, end):
                for b in range(start, end):
                    if a != b:
                        pairs[0, t] = edges[a]
                        pairs[1, t] = edges[b]
                        t += 1
            start = end
    return pairs
