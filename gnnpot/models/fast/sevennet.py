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

#: least number of intervals of a table: 0.01 Å, for a cutoff of 5 Å
POINTS = 500


class FastSevenNet:
    """The parts of a SevenNet that its fast form replaces: the convolutions."""

    def __init__(self, model: "SevenNet") -> None:
        config = model.config
        kink = config.cutoff_on if config.cutoff_function == "xplor" else 0.0
        points = intervals_with(kink / config.cutoff)
        self.layers = [FastConvolution(c.convolution, model.radial_basis, model.cutoff, points) for c in model.layers]

    def convolutions(
        self, graph: Graph, distances: Tensor, harmonics: list[Tensor]
    ) -> Iterator[Callable[[list[Tensor]], list[Tensor]]]:
        """Each layer's convolution: features of the atoms -> messages."""
        edges = Edges(graph.edge_index, len(graph.numbers))
        flat = torch.cat(harmonics, 1)
        for layer in self.layers:
            yield partial(layer, edges, distances, flat)


def intervals_with(fraction: float, least: int = POINTS) -> int:
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
        self.inputs = convolution.inputs
        self.paths, self.coupling, weights, self.outputs = _layout(convolution)
        network = copy.deepcopy(convolution.radial_network).double()
        rows = hermite_rows(lambda r: network(radial_basis(r)), cutoff, intervals) / convolution.denominator
        #: [intervals + 1, value and slope, weights]
        self.table = rows.new_zeros(*rows.shape[:2], _padded(int(weights[-1]) + 1), dtype=dtype)
        self.table[:, :, weights] = rows.to(dtype)
        self.per_step = intervals / cutoff

    def __call__(self, edges: Edges, distances: Tensor, harmonics: Tensor, features: list[Tensor]) -> list[Tensor]:
        return list(_Convolve.apply(self, edges, distances, harmonics, *features))

    def pack(self, features: tuple[Tensor, ...]) -> Tensor:
        """[N, 2l+1, channels] for each l -> [N, all], with channels in blocks."""
        rows = []
        for x in features:
            x = nn.functional.pad(x, (0, -x.shape[2] % LANES))
            rows.append(x.view(*x.shape[:2], -1, LANES).transpose(1, 2).reshape(len(x), -1))
        return torch.cat(rows, 1)

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """The reverse."""
        features, first = [], 0
        for l, channels in enumerate(self.inputs):
            size = (2 * l + 1) * _padded(channels)
            x = packed[:, first : first + size].view(len(packed), -1, 2 * l + 1, LANES).transpose(1, 2)
            features.append(x.reshape(len(packed), 2 * l + 1, -1)[:, :, :channels])
            first += size
        return features

    def split(self, flat: Tensor, atoms: int) -> list[Tensor]:
        """What the kernels make of the messages -> [N, 2l+1, channels] for each l."""
        sizes = [atoms * (2 * l + 1) * width for l, (width, _) in enumerate(self.outputs)]
        parts = flat.split(sizes)
        return [
            part.view(atoms, 2 * l + 1, width)[:, :, columns]
            for l, (part, (width, columns)) in enumerate(zip(parts, self.outputs, strict=True))
        ]

    def join(self, messages: tuple[Tensor, ...]) -> Tensor:
        """The reverse of `split`."""
        parts = []
        for x, (width, columns) in zip(messages, self.outputs, strict=True):
            if x.shape[2] < width:
                x = x.new_zeros(*x.shape[:2], width).index_copy(2, columns, x)
            parts.append(x.reshape(-1))
        return torch.cat(parts)


def _padded(channels: int) -> int:
    return channels + -channels % LANES


def _layout(convolution: "Convolution") -> tuple[np.ndarray, Tensor, Tensor, list[tuple[int, Tensor | slice]]]:
    """The kernels' table of paths, the coupling constants, and where in their arrays our weights and outputs are."""
    feature = np.cumsum([0] + [(2 * l + 1) * _padded(c) for l, c in enumerate(convolution.inputs)])
    paths, constants, weights = [], [], []
    outputs: list[list[Tensor]] = [[] for _ in range(convolution.lmax_out + 1)]
    columns = [0] * len(outputs)
    harmonic = coupling = weight = 0
    for (l1, l2, l3), width, c in zip(convolution.paths, convolution.widths, convolution.constants, strict=True):
        c = c.permute(1, 2, 0).flatten(1)
        constants.append(nn.functional.pad(c, (0, -c.shape[1] % LANES)))
        stride = constants[-1].shape[1]
        harmonic = l2 * l2
        paths.append(
            [2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, harmonic, coupling, stride, feature[l1], _padded(width) // LANES]
            + [weight, l3, columns[l3]]
        )
        ours = torch.arange(width)
        weights.append(weight + ours)
        outputs[l3].append(columns[l3] + ours)
        coupling += constants[-1].numel()
        weight += _padded(width)
        columns[l3] += _padded(width)
    firsts = np.cumsum([0] + [(2 * l + 1) * w for l, w in enumerate(columns)])
    table = [[*path[:9], firsts[path[9]], path[2] * columns[path[9]], columns[path[9]], path[10]] for path in paths]
    kept = [torch.cat(o) for o in outputs]
    flat = torch.cat([c.flatten() for c in constants]).to(convolution.denominator.dtype)
    return np.array(table), flat, torch.cat(weights), [
        (w, slice(None) if len(k) == w else k) for w, k in zip(columns, kept, strict=True)
    ]


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        convolution: FastConvolution,
        edges: Edges,
        distances: Tensor,
        harmonics: Tensor,
        *features: Tensor,
    ) -> tuple[Tensor, ...]:
        atoms = len(features[0])
        x = convolution.pack(features)
        out = x.new_zeros(sum(atoms * (2 * l + 1) * w for l, (w, _) in enumerate(convolution.outputs)))
        ctx.arguments = (
            *(a.detach().numpy() for a in (x, harmonics, distances)),
            convolution.table.numpy(),
            convolution.per_step,
            convolution.paths,
            convolution.coupling.numpy(),
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
