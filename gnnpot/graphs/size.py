"""Estimate of the memory of a prediction, before anything is allocated.

Example::

    size = graph_size(positions, cell, pbc, model.cutoff, model.three_body_cutoff, skin=0.8)
    check_memory(potential.memory(size), "Si4096", size)

`docs/benchmarks/memory.md` compares the estimates with the memory that predictions take.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.data.neighbor_search import compact_cell, complete_cell, has_grid
from gnnpot.errors import MemoryNeedError
from gnnpot.graphs.free_memory import free_memory
from gnnpot.graphs.neighbors import are_independent

#: bytes per pair of a skin list: `ImagePairs.image` and `ImagePairs.near`
PAIR_BYTES = 4 + 4
#: bytes per pair while a skin list is built; in small cells, there is up to one image for each pair
NEW_PAIR_BYTES = PAIR_BYTES + 8 + 24
#: bytes per pair while a skin list is built with a k-d tree
TREE_PAIR_BYTES = 144
#: bytes per edge of a graph: atoms, shift (64-bit integers), vector and distance
EDGE_BYTES = 16 + 24 + 24 + 8
#: bytes per atom: positions and atomic numbers in the structure, the calculator, the list and the graph; bins of the
#: neighbour search; energies and forces
ATOM_BYTES = 350
#: bytes per triplet: its two edges, and temporary arrays for building and sorting
TRIPLET_BYTES = 100
#: number of atoms whose neighbours are counted for the estimate
SAMPLE = 16


@dataclass(frozen=True, slots=True)
class GraphSize:
    """Estimated size of the graph of a structure."""

    atoms: int
    edges: int
    triplets: int = 0
    pairs: int = 0  #: number of pairs in the skin list
    tree: bool = False  #: whether the neighbour search uses a k-d tree

    def peak(self, prediction: int) -> int:
        """Peak memory in bytes: the larger of the memory while the skin list is built, and that during the prediction.

        Args:
            prediction: Bytes that the model needs beyond list and graph, see `EnergyModel.memory`.
        """
        made = (TREE_PAIR_BYTES if self.tree else NEW_PAIR_BYTES) * max(self.pairs, self.edges)
        kept = PAIR_BYTES * self.pairs + EDGE_BYTES * self.edges + TRIPLET_BYTES * self.triplets + prediction
        return max(made, kept) + ATOM_BYTES * self.atoms


def graph_size(
    positions: np.ndarray,
    cell: np.ndarray,
    pbc: np.ndarray,
    cutoff: float,
    three_body_cutoff: float | None = None,
    skin: float = 0.0,
) -> GraphSize:
    """Estimate the numbers of edges, triplets and pairs of a structure from the neighbours of `SAMPLE` of its atoms.

    Args:
        positions: [N, 3] Å.
        cell: [3, 3] Å.
        pbc: [3] bool.
        cutoff: Å, cutoff of the edges.
        three_body_cutoff: Å, cutoff of the edges that form triplets; `None`: no triplets.
        skin: Å, distance by which the cutoff of the skin list exceeds `cutoff`.
    """
    atoms = len(positions)
    if not (atoms and np.isfinite(positions).all() and are_independent(cell, pbc)):
        # such a structure is rejected by other checks, not for its size
        return GraphSize(atoms, 0)
    # one atom from each of `count` equal ranges: layers and blocks of similar atoms are sampled in proportion
    count = min(SAMPLE, atoms)
    chosen = ((np.arange(count) + np.random.default_rng(0).random(count)) * atoms / count).astype(np.int64)
    reach = cutoff + skin
    complete, integers = compact_cell(complete_cell(cell, pbc), pbc, reach)
    tree = integers is not None or not has_grid(positions, complete, pbc, reach)
    radii = np.array([reach, cutoff, three_body_cutoff or 0.0])
    counts = _count(positions, complete, np.linalg.inv(complete), pbc, _images(complete, pbc, reach), chosen, radii)
    pairs, edges, triplets = (round(count * atoms / len(chosen)) for count in counts)
    return GraphSize(atoms, edges, triplets, pairs, tree)


def _images(cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Lattice translations [images, 3] (Å) that can place an image within the cutoff.

    Differences of positions are assumed to be wrapped to within half a cell.
    """
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
    radii: np.ndarray,
) -> tuple[int, int, int]:
    """Count pairs, edges and triplets of the chosen atoms, within the three radii."""
    pairs = edges = triplets = 0
    shift = np.empty(3)
    for i in chosen:
        listed = near = close = 0
        for j in range(len(positions)):
            x, y, z = (
                positions[j, 0] - positions[i, 0],
                positions[j, 1] - positions[i, 1],
                positions[j, 2] - positions[i, 2],
            )
            for k in range(3):
                # wrap to within half a cell
                shift[k] = (
                    math.floor(x * inverse[0, k] + y * inverse[1, k] + z * inverse[2, k] + 0.5) if pbc[k] else 0.0
                )
            x -= shift[0] * cell[0, 0] + shift[1] * cell[1, 0] + shift[2] * cell[2, 0]
            y -= shift[0] * cell[0, 1] + shift[1] * cell[1, 1] + shift[2] * cell[2, 1]
            z -= shift[0] * cell[0, 2] + shift[1] * cell[1, 2] + shift[2] * cell[2, 2]
            for n in range(len(images)):
                square = (x + images[n, 0]) ** 2 + (y + images[n, 1]) ** 2 + (z + images[n, 2]) ** 2
                listed += square < radii[0] ** 2
                near += square < radii[1] ** 2
                close += square < radii[2] ** 2
        # the atom itself was counted too
        pairs += listed - 1
        edges += near - 1
        if close:
            triplets += (close - 1) * (close - 2)
    return pairs, edges, triplets


def check_memory(need: int, where: str, size: GraphSize) -> None:
    """Raise `MemoryNeedError` if `need` bytes exceed the free memory, see `graphs.free_memory`."""
    free = free_memory()
    if need > free.bytes:
        by = f" ({free.limit})" if free.limit else ""
        more = "a higher limit" if free.limit else "a machine with more memory"
        raise MemoryNeedError(
            f"{where}: {size.atoms:,} atoms with about {size.edges / size.atoms:.0f} neighbours each need about "
            f"{_amount(need)}, and {_amount(free.bytes)} are free{by}; take fewer atoms, a potential with a shorter "
            f"cutoff, or {more}"
        )


def _amount(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"
