"""A periodic graph with the images that its atoms depend on written out, each as an atom of its own.

    cluster = unfold(graph, hops=3)
    cluster.graph                # no cell; the first N atoms are those of the cell, the others images within 3 edges
    cluster.owner                # [M] the atom of the cell that each of them is an image of

The energy of an atom of the cell, and its derivatives, are the same in both graphs if it depends on atoms at most
`hops` edges away. In the unfolded one, the derivative with respect to an image is known apart from the derivative with
respect to its atom. Energies of the images mean nothing: they lack neighbours.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gnnpot.graphs.graph import Graph
from gnnpot.graphs.neighbors import triplets


@dataclass(frozen=True, slots=True)
class Unfolded:
    """M atoms: the N of a cell, and images of them."""

    graph: Graph  #: of M atoms without a cell
    owner: np.ndarray  #: [M] int64, the atom of the cell; the first N are the atoms themselves


def unfold(graph: Graph, hops: int, three_body_cutoff: float | None = None) -> Unfolded:
    """The atoms of a graph, and all images up to `hops` edges away from one of them, with all edges among these.

    Args:
        graph: Of one structure, on the processor.
        hops: At least 1.
        three_body_cutoff: Å, of the edges that make triplets; `None`: there are none.
    """
    centre, neighbor = graph.edge_index.numpy()
    shifts, cell = graph.edge_shifts.numpy(), graph.cell[0].numpy()
    atoms, reach = len(graph.numbers), 2 * hops * int(np.abs(shifts).max(initial=0)) + 1
    first = np.searchsorted(centre, np.arange(atoms + 1))
    owner, cells = np.arange(atoms), np.zeros((atoms, 3), dtype=np.int64)
    begin = 0
    for _ in range(hops):
        source, edge = _edges_of(owner[begin:], first)
        found = np.column_stack([neighbor[edge], cells[begin:][source] + shifts[edge]])
        keys = _keys(owner, cells, atoms, reach)
        new, place = np.unique(_keys(found[:, 0], found[:, 1:], atoms, reach), return_index=True)
        added = found[np.sort(place[~np.isin(new, keys)])]
        begin = len(owner)
        owner, cells = np.concatenate([owner, added[:, 0]]), np.concatenate([cells, added[:, 1:]])
    source, edge = _edges_of(owner, first)
    keys = _keys(owner, cells, atoms, reach)
    order = np.argsort(keys)
    wanted = _keys(neighbor[edge], cells[source] + shifts[edge], atoms, reach)
    place = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
    kept = keys[place] == wanted
    return Unfolded(
        _cluster(graph, owner, cells @ cell, source[kept], place[kept], edge[kept], three_body_cutoff), owner
    )


def _edges_of(owner: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([K] position in `owner`, [K] edge of the periodic graph) of all edges of some atoms, in their order."""
    counts = np.diff(first)[owner]
    source = np.repeat(np.arange(len(owner)), counts)
    ends = np.cumsum(counts)
    edge = np.arange(len(source)) - np.repeat(ends - counts, counts) + first[owner][source]
    return source, edge


def _keys(owner: np.ndarray, cells: np.ndarray, atoms: int, reach: int) -> np.ndarray:
    """A number of each pair of atom and cell."""
    x, y, z = (cells + reach).T
    side = 2 * reach + 1
    return ((x * side + y) * side + z) * atoms + owner


def _cluster(
    graph: Graph, owner: np.ndarray, moved: np.ndarray, centre: np.ndarray, neighbor: np.ndarray, edge: np.ndarray,
    three_body_cutoff: float | None,
) -> Graph:  # fmt: skip
    vectors = graph.edge_vectors[torch.from_numpy(edge)]
    cluster = Graph(
        numbers=graph.numbers[torch.from_numpy(owner)],
        positions=graph.positions[torch.from_numpy(owner)] + torch.from_numpy(moved),
        cell=torch.zeros_like(graph.cell),
        pbc=torch.zeros_like(graph.pbc),
        edge_index=torch.from_numpy(np.stack([centre, neighbor])),
        edge_shifts=torch.zeros(len(edge), 3, dtype=torch.int64),
        edge_vectors=vectors,
        num_nodes=len(owner),
    )
    if three_body_cutoff is not None:
        lengths = np.linalg.norm(vectors.numpy(), axis=1)
        cluster.triplet_index = torch.from_numpy(triplets(centre, lengths, three_body_cutoff))
    return cluster
