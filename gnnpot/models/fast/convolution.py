"""Equivariant convolution in training: over bonds, and differentiable twice with one pass over them each time.

An edge and its reverse have one distance, hence one row of weights, and harmonics that are the same up to signs. So the
radial network and the harmonics are calculated once for both, and what they are differentiated with respect to is the
vector of one of the two; sums over a bond's two edges, as forces and stresses are, don't know the difference.
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
    """The convolutions of a model in training on the processor, for a graph of `bonds`."""

    def __init__(self, model: "EquivariantModel") -> None:
        self.model = model

    def convolutions(
        self, graph: Graph, distances: Tensor, harmonics: list[Tensor]
    ) -> Iterator[Callable[[list[Tensor]], list[Tensor]]]:
        """Each layer's convolution: features of the atoms -> messages."""
        radial, flat = self.model.radial_basis(distances), torch.cat(harmonics, 1)
        ends = np.ascontiguousarray(graph.edge_index.numpy().T)
        for layer in self.model.layers:
            yield partial(_messages, layer.convolution, ends, radial, flat)


def bonds(graph: Graph, cutoff: float) -> Graph:
    """A shallow copy with one of the two edges of each bond shorter than `cutoff` (Å)."""
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
