"""Fast form of SevenNet: harmonics and convolutions by one pass over the edges each, weights from a table of distances.

There and back again without PyTorch's record of operations, which takes as long as the operations do for some tens of
atoms: each step returns its result, and a function that takes the gradient back. Features lie in flat arrays, as the
kernels read them (`layout.py`), so that matrix products write where the next kernel reads; what pads their channels to
whole lanes is zero throughout.
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.models.base import AtomicOutput
from gnnpot.models.fast import tensor_product as kernels
from gnnpot.models.fast.activations import SILU_SCALE
from gnnpot.models.fast.layout import Columns, Rows
from gnnpot.models.fast.tables import hermite_rows
from gnnpot.models.fast.threads import summed

if TYPE_CHECKING:
    from gnnpot.models.sevennet import ChannelLinear, Convolution, Layer, SevenNet

#: least number of intervals of a table
INTERVALS = {torch.float32: 800, torch.float64: 1600}

#: from the gradient of what a step says to that of what it was given
Back = Callable[[Tensor], Tensor]


class FastSevenNet:
    """A SevenNet with the parameters that `model` has now."""

    @torch.no_grad()
    def __init__(self, model: "SevenNet") -> None:
        config, self._model = model.config, model
        kink = config.cutoff_on if config.cutoff_function == "xplor" else 0.0
        intervals = intervals_with(kink / config.cutoff, INTERVALS[model.frequencies.dtype])
        self._harmonics = model.fast_harmonics()
        convolutions = [
            _FastConvolution(layer.convolution, model.radial_basis, model.cutoff, intervals) for layer in model.layers
        ]
        self._layers = [_Layer(*pair) for pair in zip(model.layers, convolutions, strict=True)]
        (hidden,), (readout,) = model.hidden.matrices, model.readout.matrices
        #: dE_i/dx_i of the last layer's scalars, the same for all atoms, [padded channels]; E_i is linear in them
        self._slopes = self._layers[-1].columns[0].pad((hidden @ readout)[:, 0])
        self._constant = 0.0 if model.hidden.bias is None else float(model.hidden.bias @ readout[:, 0])

    @torch.no_grad()
    def energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        """What the model says of the atoms, and the edge gradient, [E, 3]."""
        model, vectors = self._model, graph.edge_vectors.detach().contiguous()
        species = model.species(graph.numbers)
        edges = _Edges(graph.edge_index, len(species), *self._harmonics(vectors))
        first = self._layers[0].features
        features, backs = first.join([model.embedding(species)[:, None, :]]), []
        for layer in self._layers:
            features, back = layer(features, species, edges)
            backs.append(back)
        scalars = features.view(len(species), -1)
        gradient = self._slopes.expand_as(scalars).flatten()
        while backs:
            # what a layer has kept is gone after its turn
            gradient = backs.pop()(gradient)
        to_vectors = self._harmonics.back(vectors, edges.harmonics, edges.to_distances, edges.to_harmonics)
        return AtomicOutput(scalars @ self._slopes + self._constant), to_vectors


def intervals_with(fraction: float, least: int) -> int:
    """How many intervals, from `least` to twice that, make a fraction of the whole the end of one.

    No cubic polynomial follows a curvature that jumps within an interval.
    """
    return min(range(least, 2 * least), key=lambda n: round(abs(n * fraction - round(n * fraction)), 9))


class _Edges:
    """What the convolutions of all layers share: the edges of each atom, their distances and harmonics, the gradients
    of these, which each layer adds to, and which atoms are whose: as many parts as PyTorch uses threads, of similar
    work."""

    def __init__(self, edge_index: Tensor, atoms: int, distances: Tensor, harmonics: Tensor) -> None:
        centre, self.neighbor = (row.numpy() for row in edge_index)
        self.starts = np.searchsorted(centre, np.arange(atoms + 1))
        shares = np.arange(1, torch.get_num_threads()) / torch.get_num_threads()
        self.parts = np.concatenate([[0], np.searchsorted(self.starts, shares * len(centre)), [atoms]])
        self.distances, self.harmonics = distances, harmonics
        self.to_distances, self.to_harmonics = torch.zeros_like(distances), torch.zeros_like(harmonics)


class _FastConvolution:
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

    def __call__(self, features: Tensor, edges: _Edges) -> tuple[Tensor, Back]:
        """Flat features -> flat messages."""
        layout, atoms = self.layout, len(edges.starts) - 1
        messages = features.new_zeros(atoms * layout.messages.size)
        arguments = (
            features.numpy(), edges.harmonics.numpy(), edges.distances.numpy(), self.table.numpy(), self.per_step,
            layout.paths, layout.constants, edges.starts, edges.neighbor, edges.parts,
        )  # fmt: skip
        kernels.convolve(*arguments, messages.numpy())

        def back(g: Tensor) -> Tensor:
            to_features = g.new_zeros(len(edges.parts) - 1, len(features))
            to_edges = edges.to_harmonics.numpy(), edges.to_distances.numpy()
            kernels.convolve_backward(*arguments, g.numpy(), to_features.numpy(), *to_edges)
            return summed(to_features)

        return messages, back


class _Layer:
    """`Layer`, flat features -> flat features."""

    def __init__(self, layer: "Layer", convolution: _FastConvolution) -> None:
        self.convolution = convolution
        self.features, self.messages = convolution.layout.features, convolution.layout.messages
        #: what is gated: for l = 0 the scalars, then the gates of each l > 0
        self.columns = [Columns(list(layer.outputs)), *(Columns([c]) for c in layer.outputs[1:])]
        self.out = Rows([[c] for c in layer.outputs])
        inputs = self.features.columns
        self.linear_in = _Linear(layer.linear_in, inputs, inputs)
        self.linear_out = _Linear(layer.linear_out, self.messages.columns, self.columns)
        self.self_connection = _Linear(layer.self_connection, inputs, self.columns)
        factors = [] if layer.scales is None else layer.scales.factors
        self.scales = [c.pad(f) for c, f in zip(self.columns, factors, strict=False)]

    def __call__(self, features: Tensor, species: Tensor, edges: _Edges) -> tuple[Tensor, Back]:
        given = self.features.blocks(features)
        sent = torch.empty_like(features)
        self.linear_in(given, self.features.blocks(sent))
        received, back_convolution = self.convolution(sent, edges)
        totals = [features.new_empty(len(species) * (2 * l + 1), c.width) for l, c in enumerate(self.columns)]
        self.linear_out(self.messages.blocks(received), totals)
        scales = [s.index_select(0, species)[:, None] for s in self.scales]
        _scale(totals, scales)
        self.self_connection(given, totals, add=True)
        out, back_gate = self._gate(totals, len(species))

        def back(g: Tensor) -> Tensor:
            # messages are the largest arrays: those of the way there are gone by now
            to_totals, to_received = back_gate(g), g.new_empty(len(species) * self.messages.size)
            to_features = torch.empty_like(features)
            # before the scales are multiplied into them
            to_given = self.features.blocks(to_features)
            self.self_connection.back(to_totals, to_given)
            _scale(to_totals, scales)
            self.linear_out.back(to_totals, self.messages.blocks(to_received))
            to_sent = self.features.blocks(back_convolution(to_received))
            self.linear_in.back(to_sent, to_given, add=True)
            return to_features

        return out, back

    def _gate(self, totals: list[Tensor], atoms: int) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
        """`gate`, and the way back."""
        starts, scalars = self.columns[0].starts, self.out.columns[0].width
        active = SILU_SCALE * torch.nn.functional.silu(totals[0])
        out = totals[0].new_empty(atoms * self.out.size)
        blocks = self.out.blocks(out)
        blocks[0].copy_(active[:, :scalars])
        by_atom = [t.view(atoms, -1, t.shape[1]) for t in totals]
        gates = [active[:, None, start : start + t.shape[2]] for start, t in zip(starts[1:], by_atom[1:], strict=True)]
        for block, total, gate in zip(blocks[1:], by_atom[1:], gates, strict=True):
            torch.mul(total, gate, out=block.view_as(total))

        def back(g: Tensor) -> list[Tensor]:
            given = self.out.blocks(g)
            parts, to_totals = [given[0]], []
            for part, total, gate in zip(given[1:], by_atom[1:], gates, strict=True):
                part = part.view_as(total)
                parts.append((part * total).sum(1))
                to_totals.append((part * gate).flatten(0, 1))
            to_active = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            return [torch.ops.aten.silu_backward(to_active, totals[0]).mul_(SILU_SCALE), *to_totals]

        return out, back


class _Linear:
    """`ChannelLinear` from rows of padded channels to others; the list over l may be shorter than theirs."""

    def __init__(self, linear: "ChannelLinear", inputs: list[Columns], outputs: list[Columns]) -> None:
        self.weights = [
            a.pad(b.pad(w).T).T.contiguous()
            for a, b, w in zip(inputs, outputs, linear.matrices, strict=False)
        ]
        self.bias = None if linear.bias is None else outputs[0].pad(linear.bias)

    def __call__(self, given: list[Tensor], out: list[Tensor], *, add: bool = False) -> None:
        """Written to `out`, or added to it."""
        for x, w, y in zip(given, self.weights, out, strict=False):
            y.addmm_(x, w, beta=float(add))
        if self.bias is not None:
            out[0] += self.bias

    def back(self, gradients: list[Tensor], out: list[Tensor], *, add: bool = False) -> None:
        """The gradients of what was given; zero for an l that has no weights."""
        for g, w, y in zip(gradients, self.weights, out, strict=False):
            y.addmm_(g, w.T, beta=float(add))
        if not add:
            for y in out[len(self.weights) :]:
                y.zero_()


def _scale(totals: list[Tensor], scales: list[Tensor]) -> None:
    """Multiply each atom's rows by its element's factors."""
    for total, scale in zip(totals, scales, strict=False):
        total.view(len(scale), -1, total.shape[1]).mul_(scale)
