"""How much memory a prediction takes, said before anything is allocated.

Example::

    size = graph_size(positions, cell, pbc, model.cutoff, model.three_body_cutoff, skin=0.8)
    check_memory(potential.memory(size), "Si4096", size)

`docs/benchmarks/memory.md` compares the estimates with what predictions take.
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

#: bytes of a pair of the list with its skin: its image, and which are within the cutoff
PAIR_BYTES = 4 + 4
#: the same while it is made: ends, shift, vector and distance, and a place in a chain of images
NEW_PAIR_BYTES = PAIR_BYTES + 16 + 24 + 24 + 8 + 8
#: the same where a k-d tree finds it
TREE_PAIR_BYTES = 144
#: bytes of an edge of the graph: ends, shift (integers of 64 bits), vector and distance
EDGE_BYTES = 16 + 24 + 24 + 8
#: bytes of an atom: positions and numbers of the structure, of the copies that calculator and list keep and of the
#: graph, places and bins of the search, energy and forces with what is made of them
ATOM_BYTES = 350
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
    pairs: int = 0  #: of the list with its skin
    tree: bool = False  #: whether a k-d tree finds them

    def peak(self, prediction: int) -> int:
        """Bytes of its list of pairs while that is made, or of list, graph and `prediction`, whichever is more."""
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
    """Edges, triplets and pairs of a structure, from the neighbours of a few of its atoms.

    Args:
        positions: [N, 3] Å.
        cell: [3, 3] Å.
        pbc: [3] bool.
        cutoff: Å.
        three_body_cutoff: Å, of the edges that make triplets; `None`: there are none.
        skin: Å, how far beyond the cutoff the list of pairs reaches.
    """
    atoms = len(positions)
    if not (atoms and np.isfinite(positions).all() and are_independent(cell, pbc)):
        # refused for what it is, not for its size
        return GraphSize(atoms, 0)
    # from each of as many parts of the structure: layers and blocks of one kind have their share
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
    radii: np.ndarray,
) -> tuple[int, int, int]:
    """Pairs, edges and triplets of the chosen atoms, within the three radii."""
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
                # by whole cells
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
        # the atom itself was counted
        pairs += listed - 1
        edges += near - 1
        if close:
            triplets += (close - 1) * (close - 2)
    return pairs, edges, triplets


def check_memory(need: int, where: str, size: GraphSize) -> None:
    """Raise `MemoryNeedError` if `need` bytes are more than the process may still take (`graphs.free_memory`)."""
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
