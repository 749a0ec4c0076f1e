"""The input graph of all models: a PyTorch Geometric `Data` object with fixed field names.

    graph = build_graph(frame, cutoff=5.0, three_body_cutoff=4.0)
    batch = Batch.from_data_list([graph, other])          # batching of torch_geometric

Missing labels are NaN, so that frames with different labels can be in one batch. The loss masks them and counts the
others.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gnnpot.compiler.decorator import njit
from gnnpot.data.frame import Frame
from gnnpot.data.quantities import QUANTITIES
from gnnpot.graphs.neighbors import Neighbors, neighbor_list, triplets


class Graph(Data):
    """Nodes, edges and triplets of one structure (B = 1) or of a batch of B structures.

    | name            | shape     | dtype   | meaning                                                             |
    |-----------------|-----------|---------|---------------------------------------------------------------------|
    | numbers         | [N]       | int64   | atomic numbers                                                      |
    | positions       | [N, 3]    | float64 | Å                                                                   |
    | cell            | [B, 3, 3] | float64 | rows are lattice vectors, Å                                         |
    | pbc             | [B, 3]    | bool    |                                                                     |
    | edge_index      | [2, E]    | int64   | centre i (row 0, sorted), neighbour j (row 1)                       |
    | edge_shifts     | [E, 3]    | int64   | cell of the neighbour, in lattice vectors                           |
    | edge_vectors    | [E, 3]    | float64 | r_j + shift @ cell - r_i, Å                                         |
    | triplet_index   | [2, T]    | int64   | edges (i, j) and (i, k); absent without a three-body cutoff         |
    | energy          | [B]       | float64 | label, eV, or NaN                                                   |
    | forces          | [N, 3]    | float64 | label, eV/Å, or NaN                                                 |
    | stress          | [B, 6]    | float64 | label, eV/Å³, Voigt, or NaN                                         |
    | magmoms         | [N]       | float64 | label, µB, or NaN; likewise every quantity of `data.quantities`     |
    | part            |           | Part    | only if the graph is a part of a structure: its own atoms and the   |
    |                 |           |         | exchange of features with the other parts, see `ops.exchange`       |

    All other fields are added by `EnergyModel.precompute` for training.
    """

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key == "triplet_index":
            return self.num_edges
        return super().__inc__(key, value, *args, **kwargs)

    def within(self, cutoff: float) -> tuple["Graph", Tensor | None]:
        """Remove the edges that are not shorter than a cutoff, and their triplets.

        Args:
            cutoff: Å.

        Returns:
            The graph itself and `None` if all its edges are shorter than the cutoff; otherwise a shallow copy with the
            remaining edges, and their indices in this graph.
        """
        vectors = self.edge_vectors.detach()
        if vectors.device.type == "cpu" and _all_within(vectors.contiguous().numpy(), cutoff):
            return self, None
        inside = torch.nonzero(self.edge_vectors.square().sum(-1) < cutoff**2).squeeze(-1)
        if len(inside) == len(self.edge_vectors):
            return self, None
        graph = self.clone_with_edge_vectors(self.edge_vectors.index_select(0, inside))
        graph.edge_index = self.edge_index.index_select(1, inside)
        graph.edge_shifts = self.edge_shifts.index_select(0, inside)
        if self.get("triplet_index") is not None:
            place = torch.full_like(self.edge_index[0], -1)
            place[inside] = torch.arange(len(inside), device=inside.device)
            triplets = place[self.triplet_index]
            graph.triplet_index = triplets[:, (triplets >= 0).all(0)]
        return graph, inside

    def clone_with_edge_vectors(self, edge_vectors: Tensor) -> "Graph":
        """Return a shallow copy with other edge vectors; all other tensors are shared."""
        graph = copy.copy(self)
        graph.edge_vectors = edge_vectors
        return graph

    def differentiable(self) -> "Graph":
        """Return a graph that autograd can use: tensors that were created in inference mode are copied."""
        copies = {name: x.clone() for name, x in self.items() if isinstance(x, Tensor) and x.is_inference()}
        if not copies:
            return self
        graph = copy.copy(self)
        for name, value in copies.items():
            graph[name] = value
        return graph


@njit(cache=True)
def _all_within(vectors: np.ndarray, cutoff: float) -> bool:  # pragma: no cover - compiled
    """Whether all vectors are shorter than the cutoff; in most calls they are, and one pass is enough."""
    for e in range(len(vectors)):
        x, y, z = float(vectors[e, 0]), float(vectors[e, 1]), float(vectors[e, 2])
        # "not <" instead of ">=", so that NaN is not within the cutoff
        if not x * x + y * y + z * z < cutoff * cutoff:
            return False
    return True


def build_graph(frame: Frame, cutoff: float, three_body_cutoff: float | None = None, *, labels: bool = True) -> Graph:
    """Build the graph of a frame.

    Args:
        frame: Structure and labels.
        cutoff: Å, cutoff of the edges.
        three_body_cutoff: Å, cutoff of the edges that form triplets; `None`: no triplets.
        labels: Whether the graph gets the labels of the frame.
    """
    neighbors = neighbor_list(frame.positions, frame.cell, frame.pbc, cutoff)
    graph = graph_from_neighbors(frame.numbers, frame.positions, frame.cell, frame.pbc, neighbors, three_body_cutoff)
    if labels:
        known = frame.labels
        for name, quantity in QUANTITIES.items():
            shape = quantity.shape_of(len(frame))
            value = torch.full(shape, torch.nan, dtype=torch.float64) if name not in known else _tensor(known[name])
            graph[name] = value if quantity.per == "atom" else value[None]
    return graph


def graph_from_neighbors(
    numbers: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray,
    pbc: np.ndarray,
    neighbors: Neighbors,
    three_body_cutoff: float | None = None,
) -> Graph:
    """Build a graph without labels from a neighbour list."""
    graph = Graph(
        numbers=torch.as_tensor(numbers),
        positions=torch.as_tensor(positions),
        cell=torch.as_tensor(cell).reshape(1, 3, 3),
        pbc=torch.as_tensor(pbc).reshape(1, 3),
        edge_index=torch.as_tensor(neighbors.edge_index),
        edge_shifts=torch.as_tensor(neighbors.edge_shifts),
        edge_vectors=torch.as_tensor(neighbors.edge_vectors),
        num_nodes=len(numbers),
    )
    if three_body_cutoff is not None:
        graph.triplet_index = torch.as_tensor(triplets(neighbors.edge_index[0], neighbors.distances, three_body_cutoff))
    return graph


def undirected(graph: Graph) -> tuple[Tensor, Tensor]:
    """Assign edges to bonds: the edges i -> j with shift S and j -> i with shift -S form one bond.

    Returns:
        [E] index of the bond of each edge, and [U] the first edge of each bond.
    """
    centre, neighbor = graph.edge_index
    shifts = graph.edge_shifts
    if len(shifts) == 0:
        return centre.clone(), centre.clone()
    reach = int(shifts.abs().max())
    base = 2 * reach + 1
    cell = ((shifts[:, 0] * base + shifts[:, 1]) * base) + shifts[:, 2]
    # both edges of a bond get the key of the direction that begins at the smaller (atom, cell)
    backward = (centre > neighbor) | ((centre == neighbor) & (cell < 0))
    first, second = torch.where(backward, neighbor, centre), torch.where(backward, centre, neighbor)
    key = (first * len(graph.numbers) + second) * base**3 + torch.where(backward, -cell, cell) + base**3 // 2
    keys, bond = torch.unique(key, return_inverse=True)
    edges = torch.arange(len(bond), device=bond.device)
    return bond, torch.full_like(keys, len(bond)).scatter_reduce(0, bond, edges, "amin")


def _tensor(value: float | np.ndarray) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)
