"""Compiled backend of M3GNet: basis functions from tables, and one pass for each gated update of a convolution.

Forward and backward pass do not use autograd, whose overhead for some tens of atoms is as large as the work: each step
returns its result and its pullback.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.base import AtomicOutput
from gnnpot.models.fast.close_edges import FastCloseEdges
from gnnpot.models.fast.gated import Gate, GatherIndex, GatherPlan, Scratch
from gnnpot.models.fast.readouts import GatedReadout
from gnnpot.models.fast.three_body import FastThreeBody
from gnnpot.ops.radial_table import Table

if TYPE_CHECKING:
    from gnnpot.models.m3gnet import GraphConvolution, M3GNet, ThreeBody


class M3GNetTables:
    """Tables of the basis functions, which have no parameters."""

    def __init__(self, model: "M3GNet") -> None:
        self.edges = Table(model.radial_basis, model.cutoff)
        self.three_body = Table(model.three_body_basis, model.config.three_body_cutoff)


class FastM3GNet:
    """Backend of an M3GNet with the current parameters of `model`."""

    @torch.no_grad()
    def __init__(self, model: "M3GNet", tables: M3GNetTables | None = None, scratch: Scratch | None = None) -> None:
        scratch = scratch or Scratch()
        #: concurrent calls would write to the same scratch
        self._lock = threading.Lock()
        self._model, self._tables = model, tables or M3GNetTables(model)
        self._blocks = [
            _Block(three_body, convolution, scratch)
            for three_body, convolution in zip(model.three_body, model.convolutions, strict=True)
        ]
        self._readout = GatedReadout(model.readout)

    def energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        """Return the predictions for the atoms, and the edge gradient [E, 3]; calls of several threads wait in turn."""
        with self._lock:
            return self._energies_and_gradient(graph)

    @torch.no_grad()
    def _energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        model, vectors, embedding = self._model, graph.edge_vectors, self._model.edge_embedding
        nodes = model.node_embedding(model.species(graph.numbers))
        if not len(vectors):
            return AtomicOutput(self._readout(nodes)[0]), torch.zeros_like(vectors)
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        radial, radial_pullback = self._tables.edges.with_pullback(distances)
        close = FastCloseEdges.of(model, self._tables.three_body, graph, distances)
        preactivation = torch.addmm(embedding.bias, radial, embedding.weight.T)
        edges = nn.functional.silu(preactivation)
        steps = _Steps(radial, close, graph.edge_index, len(nodes))
        pullbacks = []
        for block in self._blocks:
            nodes, edges, pullback = block(nodes, edges, steps)
            pullbacks.append(pullback)
        energies, g_nodes = self._readout(nodes)
        g = _Gradients(g_nodes, torch.zeros_like(edges), torch.zeros_like(radial), close.zero_gradients())
        for pullback in reversed(pullbacks):
            pullback(g)
        g.radial.addmm_(torch.ops.aten.silu_backward(g.edges, preactivation), embedding.weight)
        gradient = close.pullback(g.close).addcmul_(vectors, (radial_pullback(g.radial) / distances)[:, None])
        return AtomicOutput(energies), gradient


class _Steps:
    """Inputs that the steps of all blocks share."""

    def __init__(self, radial: Tensor, close: FastCloseEdges, edge_index: Tensor, atoms: int) -> None:
        self.radial, self.close = radial, close
        ends = centre, _ = tuple(GatherIndex(end, atoms) for end in edge_index)
        self.by_edge = GatherPlan(len(centre.index), ends)
        self.by_node = GatherPlan(len(centre.index), ends, group=centre.index, groups=atoms)


@dataclass(slots=True)
class _Gradients:
    """Gradients with respect to the features between two steps, and sums of those for inputs that the steps share."""

    nodes: Tensor  #: [N, u]
    edges: Tensor  #: [E, u]
    radial: Tensor  #: [E, radial]
    close: tuple[np.ndarray, np.ndarray, np.ndarray]  #: see `FastCloseEdges.zero_gradients`


#: pullback of a block: replaces the gradients with respect to its output features by those with respect to its input
Pullback = Callable[[_Gradients], None]


class _Block:
    """A block of the model: three-body step and graph convolution."""

    def __init__(self, three_body: "ThreeBody", convolution: "GraphConvolution", scratch: Scratch) -> None:
        self.three_body = FastThreeBody(three_body)
        edge, node = convolution.edge_update, convolution.node_update
        first_weights = [mlp.first_weights() for mlp in (edge, node)]
        self.edge_update = Gate(edge, scratch, first_weights[0][2], convolution.edge_weight.weight)
        self.node_update = Gate(node, scratch, first_weights[1][2], convolution.node_weight.weight)
        #: [4, 2u, u] first weights of both updates for centre and neighbour: one product, as all act on the same atoms
        self.weight = torch.stack([w for weights in first_weights for w in weights[:2]])
        biases = [mlp.first_linear.bias for mlp in (edge, node)]
        self.bias = torch.stack([b for bias in biases for b in (bias, torch.zeros_like(bias))])[:, None]

    def __call__(self, nodes: Tensor, edges: Tensor, steps: _Steps) -> tuple[Tensor, Tensor, Pullback]:
        edges, pullback_three_body = self.three_body(nodes, edges, steps.close)
        sources = torch.baddbmm(self.bias, nodes.expand(4, -1, -1), self.weight.mT)
        edges, pullback_edges = self.edge_update(steps.by_edge, edges, steps.radial, *sources[:2])
        change, pullback_nodes = self.node_update(steps.by_node, edges, steps.radial, *sources[2:])

        def pullback(g: _Gradients) -> None:
            g_node_sources = pullback_nodes(g.nodes, g.edges, g.radial)
            g_edge_sources = pullback_edges(g.edges, g.edges, g.radial)
            g_nodes = torch.addbmm(g.nodes, torch.stack(g_edge_sources + g_node_sources), self.weight)
            g.nodes = g_nodes.add_(pullback_three_body(g.edges, g.close))

        return nodes + change, edges, pullback
