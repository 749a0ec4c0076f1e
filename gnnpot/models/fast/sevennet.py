"""Fast form of SevenNet's convolution: weights from a table of distances, then one pass over the edges."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.fast import tensor_product as kernels
from gnnpot.models.fast.lanes import LANES
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
    """`Convolution` without derivatives with respect to its parameters, which are fixed here.

    Its arrays hold channels in blocks of `LANES`, with zeros where a number of channels is no multiple of that.
    """

    def __init__(
        self, convolution: "Convolution", radial_basis: Callable[[Tensor], Tensor], cutoff: float, intervals: int
    ) -> None:
        dtype = convolution.denominator.dtype
        self.inputs = convolution.inputs
        widths = [_padded(width) for width in convolution.widths]
        lasts = [l3 for _, _, l3 in convolution.paths]
        constants = [_by_harmonic(c) for c in convolution.constants]
        rows = [row for c in constants for row in c]
        places = [torch.nonzero(row).flatten() for row in rows]
        self.constants = kernels.Constants(
            torch.cat(rows).to(dtype).numpy(),
            torch.cat([row[at] for row, at in zip(rows, places, strict=True)]).to(dtype).numpy(),
            torch.cat(places).numpy(),
            np.cumsum([0, *(len(at) for at in places)]),
        )
        #: channels of the messages of each l, and which of them are not padding
        self.outputs = [
            _side_by_side([width for width, last in zip(convolution.widths, lasts, strict=True) if last == l])
            for l in range(convolution.lmax_out + 1)
        ]
        features = _starts([(2 * l + 1) * _padded(c) for l, c in enumerate(self.inputs)])
        outputs = _starts([(2 * l + 1) * width for l, (width, _) in enumerate(self.outputs)])
        weights, couplings = _starts(widths), _starts([c.numel() for c in constants])
        ends = _starts([len(c) for c in constants])
        paths = []
        for k, (l1, l2, l3) in enumerate(convolution.paths):
            row = self.outputs[l3][0]
            column = sum(width for width, last in zip(widths[:k], lasts, strict=False) if last == l3)
            paths.append(
                [2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, l2 * l2, couplings[k], constants[k].shape[1], ends[k]]
                + [features[l1], widths[k] // LANES, weights[k], outputs[l3], (2 * l3 + 1) * row, row, column]
            )
        #: one row a path, with the columns that `tensor_product` names
        self.paths = np.array(paths)
        network = copy.deepcopy(convolution.radial_network).double()
        rows = hermite_rows(lambda r: network(radial_basis(r)), cutoff, intervals) / convolution.denominator
        values, slopes = rows.unbind(1)
        rises = torch.cat([values.diff(dim=0), torch.zeros_like(values[:1])])
        rows = torch.stack([slopes, values, rises], 1).to(dtype)
        width, ours = _side_by_side(convolution.widths)
        self.table = rows.new_zeros(*rows.shape[:2], width).index_copy(2, ours, rows)
        self.per_step = intervals / cutoff

    def __call__(self, edges: Edges, distances: Tensor, harmonics: Tensor, features: list[Tensor]) -> list[Tensor]:
        return list(_Convolve.apply(self, edges, distances, harmonics, *features))

    def pack(self, features: tuple[Tensor, ...]) -> Tensor:
        """[N, 2l+1, channels] for each l -> [N, all of them], as the kernels read them."""
        rows = []
        for x in features:
            x = nn.functional.pad(x, (0, -x.shape[2] % LANES))
            rows.append(x.view(*x.shape[:2], -1, LANES).transpose(1, 2).reshape(len(x), -1))
        return torch.cat(rows, 1)

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """The reverse."""
        parts = packed.split([(2 * l + 1) * _padded(c) for l, c in enumerate(self.inputs)], 1)
        blocks = [part.view(len(packed), -1, 2 * l + 1, LANES).transpose(1, 2) for l, part in enumerate(parts)]
        return [x.flatten(2)[:, :, :c] for x, c in zip(blocks, self.inputs, strict=True)]

    def split(self, flat: Tensor, atoms: int) -> list[Tensor]:
        """Messages as the kernels write them -> [N, 2l+1, channels] for each l."""
        parts = flat.split([atoms * (2 * l + 1) * width for l, (width, _) in enumerate(self.outputs)])
        whole = [part.view(atoms, 2 * l + 1, -1) for l, part in enumerate(parts)]
        return [
            x if len(ours) == width else x.index_select(2, ours)
            for x, (width, ours) in zip(whole, self.outputs, strict=True)
        ]

    def join(self, messages: tuple[Tensor, ...]) -> Tensor:
        """The reverse."""
        return torch.cat([
            (x if len(ours) == width else x.new_zeros(*x.shape[:2], width).index_copy(2, ours, x)).flatten()
            for x, (width, ours) in zip(messages, self.outputs, strict=True)
        ])  # fmt: skip


def _padded(channels: int) -> int:
    return channels + -channels % LANES


def _starts(sizes: list[int]) -> list[int]:
    """Where each begins if they follow one another."""
    return [sum(sizes[:k]) for k in range(len(sizes))]


def _side_by_side(widths: list[int]) -> tuple[int, Tensor]:
    """The width of all, padded, and where in it their numbers are."""
    starts = _starts([_padded(width) for width in widths])
    ours = [start + torch.arange(width) for start, width in zip(starts, widths, strict=True)]
    return sum(_padded(width) for width in widths), torch.cat(ours)


def _by_harmonic(constants: Tensor) -> Tensor:
    """C [m1, m2, m3] -> [m2, (m3, m1)], padded."""
    rows = constants.permute(1, 2, 0).flatten(1)
    return nn.functional.pad(rows, (0, -rows.shape[1] % LANES))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, convolution: FastConvolution, edges: Edges, distances: Tensor, harmonics: Tensor, *features: Tensor
    ) -> tuple[Tensor, ...]:
        atoms = len(features[0])
        x = convolution.pack(features)
        out = x.new_zeros(atoms * sum((2 * l + 1) * width for l, (width, _) in enumerate(convolution.outputs)))
        ctx.arguments = (
            *(a.detach().numpy() for a in (x, harmonics, distances)),
            convolution.table.numpy(),
            convolution.per_step,
            convolution.paths,
            convolution.constants,
            edges.starts,
            edges.neighbor,
            edges.parts,
        )
        ctx.convolution = convolution
        kernels.convolve(*ctx.arguments, out.numpy())
        return tuple(convolution.split(out, atoms))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, harmonics, distances = ctx.arguments[:3]
        parts = ctx.arguments[-1]
        g = ctx.convolution.join(gradients)
        g_x = g.new_zeros(len(parts) - 1, *x.shape)
        g_harmonics, g_distances = g.new_empty(harmonics.shape), g.new_empty(distances.shape)
        kernels.convolve_backward(
            *ctx.arguments, g.numpy(), g_x.numpy(), g_harmonics.numpy(), g_distances.numpy()
        )
        return None, None, g_distances, g_harmonics, *ctx.convolution.unpack(g_x.sum(0))
