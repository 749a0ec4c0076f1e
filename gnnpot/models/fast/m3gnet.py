"""Fast form of M3GNet: bases from tables, both gated updates of a convolution by one pass each."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.fast.close_edges import CloseGeometry, FastCloseEdges
from gnnpot.models.fast.gated import Gate, GatheredGate, Layout, Places, Scratch
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
    """The parts of an M3GNet that its fast form replaces: bases by tables, steps by those of this module."""

    def __init__(
        self, model: "M3GNet", tables: M3GNetTables | None = None, scratch: Scratch | None = None
    ) -> None:
        tables, scratch = tables or M3GNetTables(model), scratch or Scratch()
        self._model, self.radial_basis, self._three_body_basis = model, tables.edges, tables.three_body
        self._blocks = [
            (partial(_three_body, three_body), _Convolution(convolution, scratch))
            for three_body, convolution in zip(model.three_body, model.convolutions, strict=True)
        ]

    def close_edges(self, graph: Graph, distances: Tensor) -> FastCloseEdges:
        """Radial functions and harmonics of the close edges in one pass."""
        config = self._model.config
        close, rows, sign, centre, neighbor = self._model.close_rows(graph, distances.detach())
        geometry = CloseGeometry.apply(
            graph.edge_vectors, self._three_body_basis, config.max_l, close, rows, sign, config.three_body_cutoff
        )
        return FastCloseEdges(len(graph.numbers), rows, centre, neighbor, *geometry)

    def steps(self, model: "M3GNet", edge_index: Tensor, atoms: int) -> Iterator[tuple[Callable, Callable]]:  # noqa: ARG002
        """The three-body step and the convolution of each block, for graphs with these edges."""
        ends = centre, _ = tuple(Places(end, atoms) for end in edge_index)
        edges = Layout(len(centre.index), ends)
        nodes = Layout(len(centre.index), ends, group=centre.index, groups=atoms)
        for three_body, convolution in self._blocks:
            yield three_body, partial(convolution, edges, nodes)


def _three_body(step: "ThreeBody", nodes: Tensor, edges: Tensor, close: FastCloseEdges) -> Tensor:
    weights = torch.sigmoid(step.atom(nodes))
    return FastThreeBody.apply(
        weights, edges, close.radial, close.envelope, close.harmonics, step.bond.first.weight, close
    )


class _Convolution:
    """`GraphConvolution`."""

    def __init__(self, step: "GraphConvolution", scratch: Scratch) -> None:
        self.edge_update = _Update(step.edge_update, step.edge_weight, scratch)
        self.node_update = _Update(step.node_update, step.node_weight, scratch)

    def __call__(
        self,
        edge_layout: Layout,
        node_layout: Layout,
        nodes: Tensor,
        edges: Tensor,
        radial: Tensor,
        edge_index: Tensor,  # noqa: ARG002 - the layouts hold it
    ) -> tuple[Tensor, Tensor]:
        edges = edges + self.edge_update(nodes, edges, radial, edge_layout)
        return nodes + self.node_update(nodes, edges, radial, node_layout), edges


class _Update:
    """φ(v_i ⊕ v_j ⊕ e_ij) ⊙ W h(r_ij), as the layout has it summed or not."""

    def __init__(self, mlp: GatedMLP, weight: nn.Linear, scratch: Scratch) -> None:
        first = mlp.first.linear
        self.centre, self.neighbor, edge = (w.contiguous() for w in first.weight.split(mlp.first.dims, dim=1))
        self.gate, self.bias = Gate(mlp, scratch, edge, weight.weight), first.bias

    def __call__(self, nodes: Tensor, edges: Tensor, radial: Tensor, layout: Layout) -> Tensor:
        sources = torch.addmm(self.bias, nodes, self.centre.T), nodes @ self.neighbor.T
        return GatheredGate.apply(edges, radial, self.gate, layout, *sources)
