"""How much memory a prediction takes, said before anything is allocated.

Example::

    size = graph_size(positions, cell, pbc, model.cutoff, model.three_body_cutoff)
    check_memory(size.bytes + model.memory(size), "Si4096", size)
"""

import itertools
from dataclasses import dataclass

import numpy as np
import psutil

from gnnpot.compiler.decorator import njit
from gnnpot.data.neighbor_search import compact_cell, complete_cell
from gnnpot.errors import MemoryNeedError

#: bytes of an edge: ends, shifts and vector in the graph, as much again in the list with its skin, and while sorting
EDGE_BYTES = 250
#: bytes of a triplet: its two edges, where it is read from, and while sorting
TRIPLET_BYTES = 100
#: the neighbours of so many atoms stand for those of all
SAMPLE = 16


@dataclass(frozen=True, slots=True)
class GraphSize:
    """About how large the graph of a structure will be."""

    atoms: int
    edges: int
    triplets: int = 0

    @property
    def bytes(self) -> int:
        """Of the graph itself."""
        return EDGE_BYTES * self.edges + TRIPLET_BYTES * self.triplets


def graph_size(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float, three_body_cutoff: float | None = None
) -> GraphSize:
    """Edges and triplets of a structure, from the neighbours of a few of its atoms."""
    atoms = len(positions)
    if not (atoms and np.isfinite(positions).all() and np.linalg.matrix_rank(cell[pbc]) == pbc.sum()):
        # refused for what it is, not for its size
        return GraphSize(atoms, 0)
    chosen = np.random.default_rng(0).choice(atoms, min(SAMPLE, atoms), replace=False)
    complete, _ = compact_cell(complete_cell(cell, pbc), pbc, cutoff)
    counts = _count(
        positions, complete, np.linalg.inv(complete), pbc, _images(complete, pbc, cutoff), chosen, cutoff,
        three_body_cutoff or 0.0,
    )  # fmt: skip
    edges, triplets = counts * atoms / len(chosen)
    return GraphSize(atoms, round(edges), round(triplets))


def _images(cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Translations, Å, that can bring an image within the cutoff once it is within half a cell; [images, 3]."""
    reach = [range(1)] * 3
    for k in np.flatnonzero(pbc):
        normal = np.cross(cell[k - 2], cell[k - 1])
        n = int(cutoff * np.linalg.norm(normal) / abs(cell[k] @ normal) + 0.5)
        reach[k] = range(-n, n + 1)
    return np.array(list(itertools.product(*reach)), dtype=float) @ cell


@njit(cache=True)
def _count(  # pragma: no cover - compiled
    positions: np.ndarray,
    cell: np.ndarray,
    inverse: np.ndarray,
    pbc: np.ndarray,
    images: np.ndarray,
    chosen: np.ndarray,
    cutoff: float,
    close_cutoff: float,
) -> np.ndarray:
    """Edges and triplets of the chosen atoms."""
    edges = triplets = 0
    vector = np.empty(3)
    for i in chosen:
        near = close = 0
        for j in range(len(positions)):
            vector[:] = positions[j] - positions[i]
            for k in range(3):
                if pbc[k]:
                    cells = np.round(
                        (positions[j, 0] - positions[i, 0]) * inverse[0, k]
                        + (positions[j, 1] - positions[i, 1]) * inverse[1, k]
                        + (positions[j, 2] - positions[i, 2]) * inverse[2, k]
                    )
                    vector -= cells * cell[k]
            for image in images:
                square = ((vector + image) ** 2).sum()
                near += square < cutoff * cutoff
                close += square < close_cutoff * close_cutoff
        # the atom itself was counted
        edges += near - 1
        if close:
            triplets += (close - 1) * (close - 2)
    return np.array([edges, triplets])


def check_memory(need: int, where: str, size: GraphSize) -> None:
    """Raise `MemoryNeedError` if `need` bytes are more than the machine has to spare."""
    free = psutil.virtual_memory().available
    if need > free:
        raise MemoryNeedError(
            f"{where}: {size.atoms:,} atoms with about {size.edges / size.atoms:.0f} neighbours each need about "
            f"{_gigabytes(need)}, and {_gigabytes(free)} are free; take fewer atoms, a potential with a shorter "
            "cutoff, or a machine with more memory"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
