"""Equivariant convolution for training: kernels over bonds, twice differentiable.

An edge and its reverse (a bond) have the same distance and thus the same weights, and their harmonics differ only in
sign. Therefore the radial network and the harmonics are computed once per bond, as functions of the vector of one of
its edges. The gradient of the bond belongs to this edge; forces and stress, which are sums over both edges, do not
change.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gnnpot.graphs import Graph, undirected
from gnnpot.ops.tensor_product import product_over_bonds

if TYPE_CHECKING:
    from gnnpot.models.equivariant import Convolution, EquivariantModel


class BondConvolutions:
    """Convolutions of a model for training on the CPU, for graphs made by `bonds`."""

    def __init__(self, model: "EquivariantModel") -> None:
        self.model = model

    def convolutions(
        self, graph: Graph, distances: Tensor, harmonics: list[Tensor]
    ) -> Iterator[Callable[[list[Tensor]], list[Tensor]]]:
        """Yield the convolution of each layer: features of the atoms -> messages."""
        radial, flat = self.model.radial_basis(distances), torch.cat(harmonics, 1)
        ends = np.ascontiguousarray(graph.edge_index.numpy().T)
        for layer in self.model.layers:
            yield partial(_messages, layer.convolution, ends, radial, flat)


def bonds(graph: Graph, cutoff: float) -> Graph:
    """Return a shallow copy of a graph with one of the two edges of each bond shorter than `cutoff` (Å)."""
    bond, edge = undirected(graph)
    if len(bond) != 2 * len(edge):
        raise ValueError("a graph for training needs the reverse of each of its edges")
    edge = edge[graph.edge_vectors.detach().index_select(0, edge).square().sum(-1) < cutoff**2]
    half = graph.clone_with_edge_vectors(graph.edge_vectors.index_select(0, edge))
    half.edge_index = graph.edge_index.index_select(1, edge)
    return half


def _messages(
    convolution: "Convolution", ends: np.ndarray, radial: Tensor, harmonics: Tensor, features: list[Tensor]
) -> list[Tensor]:
    layout = convolution.layout(harmonics.dtype)
    weights = convolution.radial_network(radial)
    return product_over_bonds(layout, ends, features, harmonics / convolution.denominator, weights)
