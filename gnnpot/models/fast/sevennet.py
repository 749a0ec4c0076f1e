"""Fast form of SevenNet's convolution: weights from a table of distances, then one pass over the edges."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.models.fast import tensor_product as kernels
from gnnpot.models.fast.tables import hermite_rows

if TYPE_CHECKING:
    from gnnpot.models.sevennet import Convolution, SevenNet

#: least number of intervals of a table
INTERVALS = {torch.float32: 800, torch.float64: 1600}


class FastSevenNet:
    """The parts of a SevenNet that its fast form replaces: the convolutions."""

    def __init__(self, model: "SevenNet") -> None:
        config = model.config
        kink = config.cutoff_on if config.cutoff_function == "xplor" else 0.0
        intervals = intervals_with(kink / config.cutoff, INTERVALS[model.frequencies.dtype])
        self.layers = [
            FastConvolution(layer.convolution, model.radial_basis, model.cutoff, intervals) for layer in model.layers
        ]

    def convolutions(
        self, graph: Graph, distances: Tensor, harmonics: list[Tensor]
    ) -> Iterator[Callable[[list[Tensor]], list[Tensor]]]:
        """Each layer's convolution: features of the atoms -> messages."""
        edges = Edges(graph.edge_index, len(graph.numbers))
        flat = torch.cat(harmonics, 1)
        for layer in self.layers:
            yield partial(layer, edges, distances, flat)


def intervals_with(fraction: float, least: int) -> int:
    """How many intervals, from `least` to twice that, make a fraction of the whole the end of one.

    No cubic polynomial follows a curvature that jumps within an interval.
    """
    return min(range(least, 2 * least), key=lambda n: round(abs(n * fraction - round(n * fraction)), 9))


class Edges:
    """The edges of each atom, and which atoms are whose: as many parts as PyTorch uses threads, of similar work."""

    def __init__(self, edge_index: Tensor, atoms: int) -> None:
        centre, self.neighbor = (row.numpy() for row in edge_index)
        self.starts = np.searchsorted(centre, np.arange(atoms + 1))
        shares = np.arange(1, torch.get_num_threads()) / torch.get_num_threads()
        self.parts = np.concatenate([[0], np.searchsorted(self.starts, shares * len(centre)), [atoms]])


class FastConvolution:
    """`Convolution` without derivatives with respect to its parameters, which are fixed here."""

    def __init__(
        self, convolution: "Convolution", radial_basis: Callable[[Tensor], Tensor], cutoff: float, intervals: int
    ) -> None:
        dtype = convolution.denominator.dtype
        self.layout = convolution.layout(dtype)
        network = copy.deepcopy(convolution.radial_network).double()
        rows = hermite_rows(lambda r: network(radial_basis(r)), cutoff, intervals) / convolution.denominator
        values, slopes = rows.unbind(1)
        rises = torch.cat([values.diff(dim=0), torch.zeros_like(values[:1])])
        self.table = self.layout.weights.pad(torch.stack([slopes, values, rises], 1).to(dtype))
        self.per_step = intervals / cutoff

    def __call__(self, edges: Edges, distances: Tensor, harmonics: Tensor, features: list[Tensor]) -> list[Tensor]:
        return list(_Convolve.apply(self, edges, distances, harmonics, *features))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, convolution: FastConvolution, edges: Edges, distances: Tensor, harmonics: Tensor, *features: Tensor
    ) -> tuple[Tensor, ...]:
        layout, x = convolution.layout, convolution.layout.features.join(features)
        out = x.new_zeros(len(features[0]) * layout.messages.size)
        ctx.arguments = (
            *(a.detach().numpy() for a in (x, harmonics, distances)),
            convolution.table.numpy(),
            convolution.per_step,
            layout.paths,
            layout.constants,
            edges.starts,
            edges.neighbor,
            edges.parts,
        )
        ctx.layout = layout
        kernels.convolve(*ctx.arguments, out.numpy())
        return tuple(layout.messages.split(out))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, harmonics, distances = ctx.arguments[:3]
        parts = ctx.arguments[-1]
        g = ctx.layout.messages.join(gradients)
        g_x = g.new_zeros(len(parts) - 1, len(x))
        g_harmonics, g_distances = g.new_empty(harmonics.shape), g.new_empty(distances.shape)
        kernels.convolve_backward(
            *ctx.arguments, g.numpy(), g_x.numpy(), g_harmonics.numpy(), g_distances.numpy()
        )
        return None, None, g_distances, g_harmonics, *ctx.layout.features.split(g_x.sum(0))
