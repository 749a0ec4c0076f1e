"""Equivariant convolution in training: over bonds, and differentiable twice with one pass over them each time.

An edge and its reverse have one distance, hence one row of weights, and harmonics that are the same up to signs. So the
radial network and the harmonics are calculated once for both, and what they are differentiated with respect to is the
vector of one of the two; sums over a bond's two edges, as forces and stresses are, don't know the difference.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.graphs import Graph, undirected
from gnnpot.models.fast import trilinear as kernels
from gnnpot.models.fast.layout import Layout
from gnnpot.models.fast.threads import follow_torch, summed

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
    weights = layout.weights.pad(convolution.radial_network(radial))
    run = _Run(layout, ends, len(features[0]))
    out = _Convolve.apply(run, layout.features.join(features), harmonics / convolution.denominator, weights)
    return layout.messages.split(out)


class _Run:
    """The arguments of the kernels that have no derivatives."""

    def __init__(self, layout: Layout, ends: np.ndarray, atoms: int) -> None:
        self.parts = np.linspace(0, len(ends), torch.get_num_threads() + 1).astype(np.int64)
        self.sizes = {"features": atoms * layout.features.size, "messages": atoms * layout.messages.size}
        self.fixed = (ends, self.parts, layout.paths, layout.constants, atoms)

    def sums(self, name: str, like: Tensor) -> Tensor:
        """Zeros for features or messages, for each part."""
        return like.new_zeros(len(self.parts) - 1, self.sizes[name])

    def __call__(self, kernel: Callable, given: tuple[Tensor, ...], *results: Tensor) -> None:
        follow_torch()
        kernel(*(t.detach().numpy() for t in given), *self.fixed, *(t.numpy() for t in results))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _Run, *factors: Tensor) -> Tensor:
        """`factors`: flat features x, harmonics Y [U, harmonics] and weights w [U, weights], contiguous."""
        ctx.run = run
        ctx.save_for_backward(*factors)
        out = run.sums("messages", factors[0])
        run(kernels.convolve, factors, out)
        return summed(out)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_ConvolveBackward.apply(ctx.run, g.contiguous(), *ctx.saved_tensors)


class _ConvolveBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _Run, *factors: Tensor) -> tuple[Tensor, ...]:
        """The derivatives of g · `_Convolve`, for the factors g, x, Y, w."""
        ctx.run = run
        ctx.save_for_backward(*factors)
        _, x, harmonics, weights = factors
        to_x, to_harmonics, to_weights = run.sums("features", x), torch.empty_like(harmonics), torch.empty_like(weights)
        run(kernels.convolve_backward, factors, to_x, to_harmonics, to_weights)
        return summed(to_x), to_harmonics, to_weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *h: Tensor) -> tuple[Tensor | None, ...]:
        run, (g, x, harmonics, weights) = ctx.run, ctx.saved_tensors
        to_g, to_x = run.sums("messages", g), run.sums("features", x)
        to_harmonics, to_weights = torch.empty_like(harmonics), torch.empty_like(weights)
        given = (*ctx.saved_tensors, *(t.contiguous() for t in h))
        run(kernels.convolve_twice, given, to_g, to_x, to_harmonics, to_weights)
        return None, summed(to_g), summed(to_x), to_harmonics, to_weights
