"""Training backend of M3GNet, with the two passes of `training`."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.models.fast import jvp
from gnnpot.models.fast.close_edges import FastCloseEdges
from gnnpot.models.fast.gated import Gate, GatherIndex, GatherPlan, Scratch
from gnnpot.models.fast.gated_jvp import GateJVP
from gnnpot.models.fast.m3gnet import FastM3GNet, M3GNetTables
from gnnpot.models.fast.three_body_jvp import ThreeBodyJVP
from gnnpot.models.layers import GatedMLP

if TYPE_CHECKING:
    from torch import nn

    from gnnpot.models.m3gnet import M3GNet, ThreeBody


class M3GNetTraining:
    """Training backend: the first pass is that of `FastM3GNet`; the second is `jvp`."""

    def __init__(self, model: "M3GNet") -> None:
        self._model, self._tables, self._scratch = model, M3GNetTables(model), Scratch()

    def energies_and_gradient(self, graph: Graph) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return m, no magnetic moments, and g, see `TrainingBackend`."""
        output, gradient = FastM3GNet(self._model, self._tables, self._scratch).energies_and_gradient(graph)
        return output.energies.detach(), None, gradient

    def jvp(self, graph: Graph, tangents: Tensor) -> tuple[Tensor, None]:
        """Return (m, ṁ), eqs. 3 to 9 of the M3GNet paper for values and tangents, and no magnetic moments."""
        model, atoms = self._model, len(graph.numbers)
        distances = jvp.distances(graph.edge_vectors, tangents)
        radial = self._tables.edges.jvp(distances)
        close = FastCloseEdges.of(model, self._tables.three_body, graph, distances[0], tangents)
        species = model.node_embedding(model.species(graph.numbers))
        nodes = torch.stack([species, torch.zeros_like(species)])
        edges = jvp.silu(jvp.layer(radial, model.edge_embedding))
        ends = centre, _ = tuple(GatherIndex(end, atoms) for end in graph.edge_index)
        by_edge = GatherPlan(len(centre.index), ends)
        by_node = GatherPlan(len(centre.index), ends, group=centre.index, groups=atoms)
        for three_body, step in zip(model.three_body, model.convolutions, strict=True):
            edges = self._three_body(three_body, nodes, edges, close)
            edges = self._update(step.edge_update, step.edge_weight, nodes, edges, radial, by_edge)
            nodes = nodes + self._update(step.node_update, step.node_weight, nodes, edges, radial, by_node)
        return jvp.gated_mlp(nodes, model.readout).squeeze(-1), None

    def _three_body(self, step: "ThreeBody", nodes: Tensor, edges: Tensor, close: FastCloseEdges) -> Tensor:
        return ThreeBodyJVP.apply(jvp.sigmoid(jvp.layer(nodes, step.atom)), edges, step.bond.first_linear.weight, close)

    def _update(
        self, mlp: GatedMLP, weight: "nn.Linear", nodes: Tensor, edges: Tensor, radial: Tensor, plan: GatherPlan
    ) -> Tensor:
        """φ(v_i ⊕ v_j ⊕ e_ij) ⊙ W h(r_ij), summed over the edges of each atom or added to the edges (`plan`)."""
        first = mlp.first_linear
        centre, neighbor, edge = mlp.first_weights()
        gate = Gate(mlp, self._scratch, edge, weight.weight)
        sources = jvp.linear(nodes, centre, first.bias), jvp.linear(nodes, neighbor)
        return GateJVP.apply(edges, radial, gate, plan, *gate.parameters(), *sources)
