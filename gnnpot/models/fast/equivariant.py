"""Compiled backend of SevenNet and Nequix.

The spherical harmonics take one pass over the edges; each layer takes one pass forward and one backward
(`equivariant_layer.py`), with weights from a table of distances.

The backend uses neither autograd nor operations of PyTorch: for some tens of atoms, the overhead of each call is as
large as its work. Features are in flat arrays (`rows.py`), with channels padded to whole SIMD vectors; padding is
always zero.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.memory import empty_lines
from gnnpot.graphs import Graph
from gnnpot.models.base import AtomicOutput, check_elements
from gnnpot.models.fast import equivariant_layer as kernels
from gnnpot.models.fast.equivariant_layer import Edges, Gradients, LayerPlan, Saved
from gnnpot.ops.exchange import Exchange, Part
from gnnpot.ops.feature_products import Products, products_for_kernels
from gnnpot.ops.radial_table import hermite_rows
from gnnpot.ops.rms_norm import Norm, degree_weights
from gnnpot.ops.rows import Columns, Rows
from gnnpot.ops.spherical_harmonics import Harmonics
from gnnpot.ops.tensor_product.scalar_paths_backward import lmax_of_last_layer

if TYPE_CHECKING:
    from gnnpot.models.equivariant import ChannelLinear, Convolution, EquivariantModel, FeatureProducts, Layer, RMSNorm

#: smallest number of intervals of a table
INTERVALS = {torch.float32: 800, torch.float64: 1600}


class FastEquivariant:
    """Backend of an equivariant model with the current parameters of `model`."""

    @torch.no_grad()
    def __init__(self, model: "EquivariantModel") -> None:
        self._species_of = model.element_index.numpy()
        dtype = model.layers[0].convolution.denominator.dtype
        intervals = intervals_with(model.kink / model.cutoff, INTERVALS[dtype])
        self._harmonics, self._elements = Harmonics(model.lmax), model.elements
        tables = [_table(layer.convolution, model.radial_basis, model.cutoff, intervals) for layer in model.layers]
        per_step = intervals / model.cutoff
        self._layers = [_Layer(layer, table, per_step) for layer, table in zip(model.layers, tables, strict=True)]
        self._embedding = self._layers[0].features.columns[0].pad(model.first_features()).numpy()
        slopes, self._constant = _linear_readout(model.readouts())
        #: dE_i/dx_i [padded channels] for the scalars of the last layer; the same for all atoms, because E_i is linear
        self._slopes = self._layers[-1].out.columns[0].pad(slopes).numpy()

    def energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        """Return the predictions for the atoms, and the edge gradient [E, 3]."""
        vectors, edge_index = graph.edge_vectors.detach().contiguous().numpy(), graph.edge_index.numpy()
        distances, harmonics = self._harmonics(vectors)
        part = graph.get("part") or Part(len(graph.numbers))
        starts, species, parts, features = kernels.first_features(
            edge_index, graph.numbers.numpy(), self._species_of, self._embedding, torch.get_num_threads(), part.own
        )
        if species.min(initial=0) < 0:
            check_elements(graph.numbers.tolist(), self._elements, "the graph")
        edges = Edges(starts, edge_index[1], distances, harmonics, species, parts)
        pullbacks: list[Callable] = []
        for k, layer in enumerate(self._layers):
            if k > 0 and part.exchange is not None:
                part.exchange.forward(features, layer.plan.features)
            features, pullback = layer(features, edges, with_input_gradient=k > 0)
            pullbacks.append(pullback)
        energies, gradient = np.empty(part.own, features.dtype), empty_lines(features.shape, features.dtype)
        kernels.readout(features, self._slopes, self._constant, energies, gradient)
        g_edges = empty_lines(harmonics.shape, harmonics.dtype)
        g_edges[:] = 0
        while pullbacks:
            # `pop` frees the arrays that the layer has stored
            gradient = pullbacks.pop()(gradient, g_edges, part.exchange)
        g_vectors = self._harmonics.pullback(vectors, g_edges)
        return AtomicOutput(torch.from_numpy(energies)), torch.from_numpy(g_vectors)


def _linear_readout(readouts: "Sequence[ChannelLinear]") -> tuple[Tensor, float]:
    """Combine a sequence of linear layers from scalars to a number: slope [channels] and constant."""
    slope, constant = readouts[-1].matrices[0].new_ones(1), 0.0
    for linear in reversed(readouts):
        if linear.bias is not None:
            constant += float(linear.bias @ slope)
        slope = linear.matrices[0] @ slope
    return slope, constant


def intervals_with(fraction: float, least: int) -> int:
    """Choose a number of intervals from `least` to 2 `least` - 1 such that `fraction` of the range is a table point.

    Cubic interpolation is inaccurate in an interval in which the curvature is discontinuous.
    """
    return min(range(least, 2 * least), key=lambda n: round(abs(n * fraction - round(n * fraction)), 9))


def _table(
    convolution: "Convolution", radial_basis: Callable[[Tensor], Tensor], cutoff: float, intervals: int
) -> np.ndarray:
    """Make the table [points, 3, weights] of a convolution for `tensor_product.table`: slopes, values, differences."""
    dtype = convolution.denominator.dtype
    network = copy.deepcopy(convolution.radial_network).double()
    rows = hermite_rows(lambda r: network(radial_basis(r)), cutoff, intervals) / convolution.denominator
    values, slopes = rows.unbind(1)
    differences = torch.cat([values.diff(dim=0), torch.zeros_like(values[:1])])
    return convolution.layout(dtype).weights.pad(torch.stack([slopes, values, differences], 1).to(dtype)).numpy()


class _Layer:
    """Compiled `Layer`: flat features -> flat features."""

    def __init__(self, layer: "Layer", table: np.ndarray, per_step: float) -> None:
        layout = layer.convolution.layout(layer.convolution.denominator.dtype)
        self.features, self.out = layout.features, Rows([[c] for c in layer.outputs])
        #: whether the backward pass runs over the messages that atoms send, not over those they receive
        self.by_sender, self.messages = lmax_of_last_layer(layout.paths) > 0, layout.messages
        #: layout of the input of the gate: for l = 0, the scalars and then the gates of each l > 0
        self.totals = Rows([list(layer.outputs), *([c] for c in layer.outputs[1:])])
        inputs, totals = self.features.columns, self.totals.columns
        factors: Sequence[Tensor] = [] if layer.scales is None else list(layer.scales.factors)
        scales = [columns.pad(f) for columns, f in zip(totals, factors, strict=False)]
        empty = np.empty(0, table.dtype)
        norm = Norm(empty, empty, 0.0) if layer.norm is None else _norm(layer.norm, totals)
        weights = _Weights()
        linear = [
            weights.add(layer.linear_in, inputs, inputs),
            weights.add(layer.linear_out, layout.messages.columns, totals),
            weights.add(layer.self_connection, inputs, totals),
        ]
        products, product_features = layer.products, None
        if products is not None:
            product_features = Rows([[products.width] * (c // products.width) for c in products.outputs])
            linear.append(
                weights.add(products.linear, product_features.columns, [Columns([layer.outputs[0]]), *totals[1:]])
            )
        offsets = [np.array(rows.offsets) for rows in (self.features, layout.messages, self.totals, self.out)]
        self.constants, self.products = layout.constants, _products(products, table.dtype)
        self.plan = LayerPlan(
            paths=layout.paths,
            table=table,
            per_step=per_step,
            weights=torch.cat(weights.all).numpy(),
            linear_in=linear[0],
            linear_out=linear[1],
            self_connection=linear[2],
            scales=torch.cat(scales, 1).numpy() if scales else np.empty((0, 0), table.dtype),
            products_linear=linear[3] if product_features else np.zeros((2, 0, 5), np.int64),
            norm_factors=norm.factors,
            norm_weights=norm.weights,
            epsilon=norm.epsilon,
            features=offsets[0],
            messages=offsets[1],
            totals=offsets[2],
            product_features=np.array(product_features.offsets) if product_features else np.zeros((0, 3), np.int64),
            out=offsets[3],
            gates=np.array(totals[0].starts),
        )

    def __call__(self, features: np.ndarray, edges: Edges, *, with_input_gradient: bool) -> tuple[np.ndarray, Callable]:
        """Apply the layer to flat features; return the new features and the pullback.

        The pullback returns the gradient with respect to the input features, and adds to the gradients with respect to
        distances and harmonics. For the first layer (not `with_input_gradient`), the former is not needed and
        left out. Features of ghosts are not set.
        """
        atoms, dtype = len(edges.species), features.dtype
        totals, out = empty_lines((atoms * self.totals.size,), dtype), empty_lines((atoms * self.out.size,), dtype)
        mixed = empty_lines(totals.shape, dtype) if len(self.plan.product_features) else totals
        saved = Saved(empty_lines(features.shape, dtype), totals, mixed)
        kernels.forward(self.plan, self.constants, self.products, edges, features, saved, out)

        def pullback(g: np.ndarray, g_edges: np.ndarray, exchange: Exchange | None) -> np.ndarray:
            size = len(saved.y) if with_input_gradient else 0
            g_features = empty_lines((size,), dtype)
            if self.by_sender and with_input_gradient:
                g_messages = empty_lines((atoms * self.messages.size,), dtype)
                kernels.backward_to_messages(self.plan, self.products, edges, saved, g, g_features, g_messages)
                if exchange is not None:
                    exchange.forward(g_messages, self.plan.messages)
                kernels.backward_to_senders(self.plan, self.constants, edges, saved, g_messages, g_features, g_edges)
                return g_features
            g_y = empty_lines((edges.parts.shape[1] - 1, size), dtype)
            g_y[:] = 0
            gradients = Gradients(g_features, g_y, g_edges)
            kernels.backward(self.plan, self.constants, self.products, edges, saved, g, gradients)
            if with_input_gradient and exchange is not None:
                exchange.backward(g_features, self.plan.features)
            return g_features

        return out, pullback


def _norm(norm: "RMSNorm", columns: list[Columns]) -> Norm:
    """Convert a norm to padded channels."""
    factors = torch.cat([c.pad(f) for c, f in zip(columns, norm.factors, strict=True)])
    return Norm(factors.numpy(), np.array(degree_weights(len(columns)), factors.numpy().dtype), norm.epsilon)


def _products(products: "FeatureProducts | None", dtype: np.dtype) -> Products:
    """Constants of the products of a layer for kernels; without products, empty arrays of the same types."""
    if products is None:
        return products_for_kernels([], 0, 1, dtype)
    return products_for_kernels(list(products.factors), len(products.linear.weights) - 1, products.width, dtype)


class _Weights:
    """Collect matrices, their transposes and biases one after the other, for `LayerPlan.weights`."""

    def __init__(self) -> None:
        self.all: list[Tensor] = []

    def add(self, linear: "ChannelLinear", inputs: list[Columns], outputs: list[Columns]) -> np.ndarray:
        """Append the matrices of a linear layer, padded for rows of `inputs` and `outputs`.

        Returns:
            [forward and backward, l, 5], see `LayerPlan`. The layer may have fewer l than `inputs` and `outputs`.
        """
        entries = np.zeros((2, max(len(inputs), len(outputs)), 5), np.int64)
        entries[..., 3] = -1
        for l, (a, b, w) in enumerate(zip(inputs, outputs, linear.matrices, strict=False)):
            padded = a.pad(b.pad(w).mT).mT
            for direction, matrix in enumerate((padded, padded.mT)):
                entries[direction, l, :3] = self._append(matrix), *matrix.shape[-2:]
                entries[direction, l, 4] = matrix[0].numel() if matrix.ndim == 3 else 0
        if linear.bias is not None:
            entries[0, 0, 3] = self._append(outputs[0].pad(linear.bias))
        return entries

    def _append(self, numbers: Tensor) -> int:
        self.all.append(numbers.flatten())
        return sum(len(block) for block in self.all[:-1])
