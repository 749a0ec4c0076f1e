"""Unfolding of a periodic graph: the images that its atoms depend on become separate atoms of a graph without a cell.

    cluster = unfold(graph, hops=3)
    cluster.graph                # no cell; the first N atoms are those of the cell, the others images within 3 edges
    cluster.owner                # [M] index of the atom in the cell, for each atom of the cluster

The energies of the N atoms, and their derivatives, are the same in both graphs if they depend on atoms at most `hops`
edges away. In the unfolded graph, the derivative with respect to an image is separate from the derivative with respect
to its atom in the cell. The energies of the images are meaningless, because their neighbours are incomplete.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gnnpot.graphs.graph import Graph
from gnnpot.graphs.neighbors import triplets


@dataclass(frozen=True, slots=True)
class Unfolded:
    """A graph of M atoms: the N atoms of a cell, and images of them."""

    graph: Graph  #: graph of the M atoms, without a cell
    owner: np.ndarray  #: [M] int64, index of the atom in the cell; 0 to N - 1 for the first N


def unfold(graph: Graph, hops: int, three_body_cutoff: float | None = None) -> Unfolded:
    """Return the atoms of a graph and all images up to `hops` edges away from them, with all edges among these atoms.

    Args:
        graph: Graph of one structure, on the CPU.
        hops: At least 1.
        three_body_cutoff: Å, cutoff of the edges that form triplets; `None`: no triplets.
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
    """All edges of the atoms `owner`, in their order: ([K] position in `owner`, [K] edge of the periodic graph)."""
    counts = np.diff(first)[owner]
    source = np.repeat(np.arange(len(owner)), counts)
    ends = np.cumsum(counts)
    edge = np.arange(len(source)) - np.repeat(ends - counts, counts) + first[owner][source]
    return source, edge


def _keys(owner: np.ndarray, cells: np.ndarray, atoms: int, reach: int) -> np.ndarray:
    """Unique integer of each (atom, cell)."""
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
