"""Fast form of M3GNet: bases from tables, both gated updates of a convolution by one pass each.

There and back again without PyTorch's record of operations, which takes as long as the operations do for some tens of
atoms: each step returns what it says, and a function that takes the gradients back.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.base import AtomicOutput
from gnnpot.models.fast import readouts
from gnnpot.models.fast.close_edges import CloseGeometry, FastCloseEdges
from gnnpot.models.fast.gated import Gate, GatheredGate, Layout, Places, Scratch
from gnnpot.models.fast.kernels import Kept
from gnnpot.models.fast.tables import Table
from gnnpot.models.fast.three_body import FastThreeBody
from gnnpot.models.layers import GatedMLP

if TYPE_CHECKING:
    from gnnpot.models.m3gnet import GraphConvolution, M3GNet, ThreeBody


class M3GNetTables:
    """Bases by tables, which need no parameters."""

    def __init__(self, model: "M3GNet") -> None:
        self.edges = Table(model.radial_basis, model.cutoff)
        self.three_body = Table(model.three_body_basis, model.config.three_body_cutoff)


class FastM3GNet:
    """An M3GNet with the parameters that `model` has now."""

    def __init__(self, model: "M3GNet", tables: M3GNetTables | None = None, scratch: Scratch | None = None) -> None:
        scratch = scratch or Scratch()
        self._model, self._tables = model, tables or M3GNetTables(model)
        self._blocks = [
            _Block(three_body, convolution, scratch)
            for three_body, convolution in zip(model.three_body, model.convolutions, strict=True)
        ]

    @torch.no_grad()
    def energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        """What the model says of the atoms, and the edge gradient, [E, 3]."""
        model, vectors = self._model, graph.edge_vectors
        nodes = model.node_embedding(model.species(graph.numbers))
        if not len(vectors):
            return AtomicOutput(readouts.gated_mlp(model.readout, nodes)[0]), torch.zeros_like(vectors)
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        geometry = Kept()
        radial, radial_slope = self._tables.edges.with_slope(distances)
        close = self._close_edges(graph, distances, geometry)
        embedding = model.edge_embedding
        before = torch.addmm(embedding.bias, radial, embedding.weight.T)
        edges = nn.functional.silu(before)
        steps = _Steps(radial, close, graph.edge_index, len(nodes))
        backs = []
        for block in self._blocks:
            nodes, edges, back = block(nodes, edges, steps)
            backs.append(back)
        energies, g_nodes = readouts.gated_mlp(model.readout, nodes)
        g_edges = None
        for back in reversed(backs):
            g_nodes, g_edges = back(g_nodes, g_edges)
        g_before = torch.ops.aten.silu_backward(g_edges, before)
        g_radial = torch.addmm(steps.g_radial, g_before, embedding.weight)
        g_distances = radial_slope(g_radial)
        gradient = CloseGeometry.backward(geometry, *steps.g_close)[0]
        return AtomicOutput(energies), gradient.addcmul_(vectors, (g_distances / distances)[:, None])

    def _close_edges(self, graph: Graph, distances: Tensor, kept: Kept) -> FastCloseEdges:
        config = self._model.config
        close, rows, sign, centre, neighbor = self._model.close_rows(graph, distances)
        geometry = CloseGeometry.forward(
            kept, graph.edge_vectors, self._tables.three_body, config.max_l, close, rows, sign, config.three_body_cutoff
        )
        return FastCloseEdges(len(graph.numbers), rows, centre, neighbor, *geometry)


class _Steps:
    """What the steps of all blocks share, and the sums of their gradients."""

    def __init__(self, radial: Tensor, close: FastCloseEdges, edge_index: Tensor, atoms: int) -> None:
        self.radial, self.close = radial, close
        self.g_radial: Tensor = torch.zeros_like(radial)
        self.g_close = [torch.zeros_like(t) for t in (close.radial, close.envelope, close.harmonics)]
        ends = centre, _ = tuple(Places(end, atoms) for end in edge_index)
        self.by_edge = Layout(len(centre.index), ends)
        self.by_node = Layout(len(centre.index), ends, group=centre.index, groups=atoms)


#: from the gradients of nodes and edges (`None`: zero) after a block to those before it
Back = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


class _Block:
    """A three-body step and a convolution."""

    def __init__(self, three_body: "ThreeBody", convolution: "GraphConvolution", scratch: Scratch) -> None:
        self.atom, self.bond = three_body.atom, three_body.bond.first.weight
        self.edge_update = _Update(convolution.edge_update, convolution.edge_weight, scratch)
        self.node_update = _Update(convolution.node_update, convolution.node_weight, scratch)

    def __call__(self, nodes: Tensor, edges: Tensor, steps: _Steps) -> tuple[Tensor, Tensor, Back]:
        close, three_body = steps.close, Kept()
        weights = torch.sigmoid(torch.addmm(self.atom.bias, nodes, self.atom.weight.T))
        edges = FastThreeBody.forward(
            three_body, weights, edges, close.radial, close.envelope, close.harmonics, self.bond, close
        )
        edge_kept, change = self.edge_update(nodes, edges, steps.radial, steps.by_edge)
        edges = change.add_(edges)
        node_kept, change = self.node_update(nodes, edges, steps.radial, steps.by_node)

        def back(g_nodes: Tensor, g_edges: Tensor | None) -> tuple[Tensor, Tensor]:
            g_nodes, change = self.node_update.back(node_kept, g_nodes, g_nodes, steps)
            g_edges = change if g_edges is None else change.add_(g_edges)
            g_nodes, change = self.edge_update.back(edge_kept, g_edges, g_nodes, steps)
            g_weights, g_edges, *g_close, _, _ = FastThreeBody.backward(three_body, change.add_(g_edges))
            for total, one in zip(steps.g_close, g_close, strict=True):
                total += one
            g_before = torch.ops.aten.sigmoid_backward(g_weights, weights)
            return torch.addmm(g_nodes, g_before, self.atom.weight), g_edges

        return nodes + change, edges, back


class _Update:
    """φ(v_i ⊕ v_j ⊕ e_ij) ⊙ W h(r_ij), as the layout has it summed or not."""

    def __init__(self, mlp: GatedMLP, weight: nn.Linear, scratch: Scratch) -> None:
        first = mlp.first.linear
        self.centre, self.neighbor, edge = (w.contiguous() for w in first.weight.split(mlp.first.dims, dim=1))
        self.gate, self.bias = Gate(mlp, scratch, edge, weight.weight), first.bias

    def __call__(self, nodes: Tensor, edges: Tensor, radial: Tensor, layout: Layout) -> tuple[Kept, Tensor]:
        sources = torch.addmm(self.bias, nodes, self.centre.T), nodes @ self.neighbor.T
        kept = Kept()
        return kept, GatheredGate.forward(kept, edges, radial, self.gate, layout, *sources)

    def back(self, kept: Kept, gradient: Tensor, g_nodes: Tensor, steps: _Steps) -> tuple[Tensor, Tensor]:
        """From the gradient of what the update says to the sum of that of the nodes, and that of the edges."""
        g_edges, g_radial, _, _, g_centre, g_neighbor = GatheredGate.backward(kept, gradient)
        steps.g_radial += g_radial
        return torch.addmm(torch.addmm(g_nodes, g_centre, self.centre), g_neighbor, self.neighbor), g_edges
