"""Fast form of M3GNet's graph convolution: both gated updates of a block of atoms, and their derivative by hand."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gnnpot.models.fast import kernels
from gnnpot.models.fast.blocks import Block, Buffers, blocks_of
from gnnpot.models.fast.tables import Table
from gnnpot.models.fast.three_body import FastThreeBody
from gnnpot.models.layers import GatedMLP

if TYPE_CHECKING:
    from gnnpot.models.m3gnet import CloseEdges, M3GNet, ThreeBody


class FastM3GNet:
    """The parts of an M3GNet that its fast form replaces: bases by tables, steps by those of this module."""

    def __init__(self, model: "M3GNet") -> None:
        self.radial_basis = Table(model.radial_basis, model.cutoff)
        self.three_body_basis = Table(model.three_body_basis, model.config.three_body_cutoff)
        self.buffers = Buffers()

    def steps(self, model: "M3GNet", edge_index: Tensor, atoms: int) -> Iterator[tuple[Callable, Callable]]:
        """The three-body step and the convolution of each block, for graphs with these edges."""
        blocks = blocks_of(edge_index, atoms)
        for three_body, convolution in zip(model.three_body, model.convolutions, strict=True):
            updates = tuple(
                GatedUpdate(mlp, weight)
                for mlp, weight in (
                    (convolution.edge_update, convolution.edge_weight),
                    (convolution.node_update, convolution.node_weight),
                )
            )
            yield partial(_three_body, three_body), partial(_convolution, updates, blocks, self.buffers)


def _three_body(step: "ThreeBody", nodes: Tensor, edges: Tensor, close: "CloseEdges") -> Tensor:
    weights = torch.sigmoid(step.atom(nodes))
    return FastThreeBody.apply(
        weights, edges, close.radial, close.envelope, close.harmonics, step.bond.first.weight, close
    )


def _convolution(
    updates: tuple["GatedUpdate", "GatedUpdate"],
    blocks: list[Block],
    buffers: Buffers,
    nodes: Tensor,
    edges: Tensor,
    radial: Tensor,
    edge_index: Tensor,  # noqa: ARG001 - the blocks hold it
) -> tuple[Tensor, Tensor]:
    return FastConvolution.apply(nodes, edges, radial, updates, blocks, buffers)


class GatedUpdate:
    """y = φ(v_i ⊕ v_j ⊕ e_ij) ⊙ W h(r_ij) on a block of edges, with three layers in φ.

    `forward` returns the derivatives of each stage, `backward` multiplies them together.
    """

    def __init__(self, mlp: GatedMLP, weight: nn.Linear) -> None:
        first = mlp.first.linear
        self.centre, self.neighbor, self.edge = first.weight.detach().split(mlp.first.dims, dim=1)
        self.bias, self.weight = first.bias.detach(), weight.weight.detach()
        self.layers = [
            [(layer.weight.detach(), layer.bias.detach()) for layer in pair]
            for pair in zip(mlp.layers, mlp.gates, strict=True)
        ]

    def at_atoms(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """W_c v and W_n v, [N, 2 units] each."""
        return nodes @ self.centre.T, nodes @ self.neighbor.T

    def forward(
        self,
        edges: Tensor,
        radial: Tensor,
        at_atoms: tuple[Tensor, Tensor],
        block: Block,
        out: Tensor,
        buffers: Buffers,
    ) -> list[Tensor]:
        """Add y to `out`: to its rows, or summed by centre if `out` has a row for each atom of the block."""
        m, units = len(block), self.weight.shape[0]
        stages = [buffers.take(m, 2 * units, dtype=edges.dtype)]
        h = buffers.take(2, m, units, dtype=edges.dtype)
        torch.addmm(self.bias, edges, self.edge.T, out=stages[0])
        at_centre, at_neighbor = (a.numpy() for a in at_atoms)
        kernels.silu_of_sum(stages[0].numpy(), at_centre, at_neighbor, block.centre, block.neighbor, h.numpy())
        for layer in self.layers[:-1]:
            x = buffers.take(2, m, units, dtype=edges.dtype)
            for k, (weight, bias) in enumerate(layer):
                torch.addmm(bias, h[k], weight.T, out=x[k])
            kernels.silu(x.view(2 * m, units).numpy(), h.view(2 * m, units).numpy())
            stages.append(x)
        last = buffers.take(3, m, units, dtype=edges.dtype)
        for k, (weight, bias) in enumerate(self.layers[-1]):
            torch.addmm(bias, h[k], weight.T, out=last[k])
        torch.mm(radial, self.weight.T, out=last[2])
        if len(out) == m:
            kernels.gated_product(*last.numpy(), out.numpy())
        else:
            kernels.gated_sum(*last.numpy(), block.starts, out.numpy())
        buffers.give(h)
        return [*stages, last]

    def backward(
        self,
        stages: list[Tensor],
        g_edges: Tensor,
        g_radial: Tensor,
        g_atoms: tuple[Tensor, Tensor],
        block: Block,
        buffers: Buffers,
    ) -> None:
        """Add to the gradients; the last stage has been multiplied with the gradient of y already."""
        first, *middle, last = stages
        m, units = len(block), self.weight.shape[0]
        g_radial.addmm_(last[2], self.weight)
        h, g = buffers.take(2, m, units, dtype=first.dtype), last
        for x, layer in zip(reversed([first, *middle]), reversed(self.layers), strict=True):
            for k, (weight, _) in enumerate(layer):
                torch.mm(g[k], weight, out=h[k])
            if x is first:
                break
            x.mul_(h)
            g = x
        for k in range(2):
            first[:, k * units : (k + 1) * units].mul_(h[k])
        g_edges.addmm_(first, self.edge)
        g_centre, g_neighbor = g_atoms
        kernels.sum_by_centre(first.numpy(), block.starts, g_centre[block.atoms].numpy())
        kernels.sum_by_neighbor(
            first.numpy(), block.by_neighbor, block.neighbor_starts, block.neighbors, g_neighbor.numpy()
        )
        buffers.give(h, *stages)

    def to_nodes(self, g_atoms: tuple[Tensor, Tensor]) -> Tensor:
        """The gradient of the atoms' features, [N, units]."""
        return g_atoms[0] @ self.centre + g_atoms[1] @ self.neighbor


class FastConvolution(torch.autograd.Function):
    """`GraphConvolution` without derivatives with respect to its parameters; its derivative can't be taken twice."""

    @staticmethod
    def forward(
        ctx: Any,
        nodes: Tensor,
        edges: Tensor,
        radial: Tensor,
        updates: tuple[GatedUpdate, GatedUpdate],
        blocks: list[Block],
        buffers: Buffers,
    ) -> tuple[Tensor, Tensor]:
        edge_update, node_update = updates
        new_nodes, new_edges = nodes.clone(), edges.clone()
        at_atoms = [update.at_atoms(nodes) for update in updates]
        ctx.stages = []
        for block in blocks:
            e, r = new_edges[block.edges], radial[block.edges]
            to_edges = edge_update.forward(edges[block.edges], r, at_atoms[0], block, e, buffers)
            to_nodes = node_update.forward(e, r, at_atoms[1], block, new_nodes[block.atoms], buffers)
            ctx.stages.append((to_edges, to_nodes))
        ctx.updates, ctx.blocks, ctx.buffers, ctx.radial_shape = updates, blocks, buffers, radial.shape
        return new_nodes, new_edges

    @staticmethod
    def backward(ctx: Any, g_nodes: Tensor, g_edges: Tensor) -> tuple[Tensor | None, ...]:
        edge_update, node_update = ctx.updates
        g_nodes, g_edges = g_nodes.contiguous(), g_edges.clone(memory_format=torch.contiguous_format)
        g_radial = g_edges.new_zeros(ctx.radial_shape)
        g_atoms = [tuple(g_nodes.new_zeros(len(g_nodes), 2 * g_nodes.shape[1]) for _ in range(2)) for _ in range(2)]
        for block, (to_edges, to_nodes) in zip(ctx.blocks, ctx.stages, strict=True):
            g, r = g_edges[block.edges], g_radial[block.edges]
            kernels.spread(g_nodes.numpy(), to_nodes[-1].numpy(), block.centre)
            node_update.backward(to_nodes, g, r, g_atoms[1], block, ctx.buffers)
            to_edges[-1].mul_(g)
            edge_update.backward(to_edges, g, r, g_atoms[0], block, ctx.buffers)
        ctx.stages = None
        g_nodes = g_nodes + edge_update.to_nodes(g_atoms[0]) + node_update.to_nodes(g_atoms[1])
        return g_nodes, g_edges, g_radial, None, None, None
