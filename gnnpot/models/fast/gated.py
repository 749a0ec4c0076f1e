"""Compiled backend of gated perceptrons on gathered rows (messages and updates), with explicitly coded derivatives.

Rows r (edges or angles) gather from sources x_k at index_k(r), and may have their own features d_r:

    z_r = W_d d_r + Σ_k x_k[index_k(r)]                        x_k, z: [·, 2u], value and gate side by side
    z'  = L silu(z)                                            L: linear layers for value and gate; none, one or more
                                                               pairs; the width of the last, v, may differ from u
    y_r = silu(a_r) ⊙ σ(b_r) ⊙ w_r                             (a | b) = z', each half after its layer norm, if any
    w_r = f[index_f(r)], or W_f f_r                            optional weights
    out_g = Σ_{r in group g} y_r                               or, without groups, out_r = d_r + y_r

A tile of rows is processed in one pass, from gathering to summation, within the first-level cache. No intermediate
values are stored: the backward pass computes them again, which is faster than writing them to memory and reading them.
Memory is needed only for sources and gradients.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gnnpot.compiler.decorator import njit, prange
from gnnpot.models.layers import GatedMLP
from gnnpot.ops.simd import kernels, tiles
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.tiles import TILE
from gnnpot.ops.simd.vector_math import gate
from gnnpot.ops.simd.vectors import SIMD_WIDTH, load, store

_NOWHERE = np.zeros(0, dtype=np.int64)


class RowInputs(NamedTuple):
    """Inputs of the rows; arrays of length 0 are absent. In training, each is [2, …]: values and tangents."""

    features: np.ndarray  #: d [M, K]
    weights: np.ndarray  #: f [·, F]
    x_1: np.ndarray  #: [·, 2u] first source
    x_2: np.ndarray  #: second source
    x_3: np.ndarray  #: third source


class PlanArrays(NamedTuple):
    """Arrays of a `GatherPlan` for the kernels; arrays of length 0 are absent."""

    index_1: np.ndarray  #: [M] row of x_1
    index_2: np.ndarray  #: [M] row of x_2
    index_3: np.ndarray  #: [M] row of x_3
    index_f: np.ndarray  #: [M] row of f
    group: np.ndarray  #: [M] group of each row
    parts: np.ndarray  #: first row of each thread, and the end of the last


class GateArrays(NamedTuple):
    """Parameters of a `Gate` for the kernels, flat."""

    w_d: np.ndarray  #: W_d
    w_f: np.ndarray  #: W_f
    layers: np.ndarray  #: for each layer, for value and gate: matrix L and bias
    depth: int  #: number of layers
    norms: np.ndarray  #: [scale or shift, value or gate, u]; of length 0 without norms
    epsilon: float  #: ε of the norms


class TransposedArrays(NamedTuple):
    """Transposed matrices of `GateArrays` for the backward pass."""

    w_d: np.ndarray
    w_f: np.ndarray
    layers: np.ndarray


class RowGradients(NamedTuple):
    """Gradients of the backward pass."""

    out: np.ndarray  #: gradient with respect to `out`, the input
    features: np.ndarray  #: gradient with respect to d, added to
    weights: np.ndarray  #: gradient with respect to f: added to, or, if rows share f, set for each row
    rows: np.ndarray  #: [M, 2u] gradient with respect to z, set


class GatherIndex:
    """Index [M] of the row of a source, of `size` rows, from which each of M rows gathers; and the inverse.

    The rows `order[starts[k]:starts[k + 1]]` gather from row k of the source.
    """

    def __init__(self, index: Tensor, size: int) -> None:
        self.index = index.contiguous().numpy()
        self.starts, self.order = _inverse_index(self.index, size)

    def sum(self, rows: Tensor) -> Tensor:
        """Sum the rows [M, F] that gather from each row of the source, [size, F]."""
        out = rows.new_empty(len(self.starts) - 1, rows.shape[1])
        kernels.sum_groups(rows.numpy(), self.starts, self.order, out.numpy())
        return out


@njit(cache=True)
def _inverse_index(index, size):
    starts = np.zeros(size + 1, dtype=np.int64)
    for k in index:
        starts[k + 1] += 1
    for k in range(size):
        starts[k + 1] += starts[k]
    order, filled = np.empty(len(index), dtype=np.int64), starts[:-1].copy()
    for row, k in enumerate(index):
        order[filled[k]] = row
        filled[k] += 1
    return starts, order


class GatherPlan:
    """Indices for gathering M rows and summing them.

    There are two or three `sources`. `weights` is the index of f, `None` if each row has its own f, or if there are no
    weights. `group` [M] is the group of each row, sorted; `None` if rows are not summed.
    """

    def __init__(
        self,
        rows: int,
        sources: tuple[GatherIndex, ...],
        weights: GatherIndex | None = None,
        group: np.ndarray | None = None,
        groups: int = 0,
    ) -> None:
        self.rows, self.sources, self.weights, self.group, self.groups = rows, sources, weights, group, groups
        first, second, third = [p.index for p in sources] + [_NOWHERE] * (3 - len(sources))
        count = min(4 * torch.get_num_threads(), 1 + rows // TILE)
        # ranges of rows for threads; all rows of a group are in the same range
        parts = np.arange(count + 1) * rows // count
        if group is not None:
            parts[1:-1] = np.searchsorted(group, group[parts[1:-1]])
        index_f = _NOWHERE if weights is None else weights.index
        #: arrays for the kernels
        self.arrays = PlanArrays(first, second, third, index_f, _NOWHERE if group is None else group, parts)


class Scratch:
    """Reusable memory for the gradients of rows; allocating new pages would cost as much as writing to them."""

    def __init__(self) -> None:
        self._arrays: dict[str, Tensor] = {}

    def __deepcopy__(self, memo: dict) -> "Scratch":
        return Scratch()

    def array(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """Return an uninitialised array [rows, columns]; it overwrites the previous array of the same name."""
        buffer = self._arrays.get(name)
        if buffer is None or len(buffer) < rows * columns or buffer.dtype != like.dtype:
            buffer = self._arrays[name] = like.new_empty(rows * columns)
        return buffer[: rows * columns].view(rows, columns)


#: (gradients with respect to out, d and f) -> gradients with respect to the sources. Adds to the gradients for d and f,
#: which are `None` if d or f is absent. Without groups, the gradient for d is the same array as that for out
GatePullback = Callable[[Tensor, Tensor | None, Tensor | None], list[Tensor]]


class Gate:
    """A `GatedMLP` on gathered rows, with its parameters in the layout of the kernels.

    All gates of a model share `scratch`. `w_d` [2u, K] is W_d, columns of the first layer for d; `w_f` [v, F] is W_f.
    """

    def __init__(self, mlp: GatedMLP, scratch: Scratch, w_d: Tensor | None = None, w_f: Tensor | None = None) -> None:
        first, self.scratch = mlp.first_linear.bias, scratch
        pairs = [pair for layer in zip(mlp.layers, mlp.gates, strict=True) for pair in layer]
        forward = [m for layer in pairs for m in (layer.weight.T.flatten(), layer.bias)]
        backward = [layer.weight.detach().flatten() for layer in pairs]
        self.w_d, self.w_d_transposed = flat_with_transpose(w_d, first)
        self.w_f, self.w_f_transposed = flat_with_transpose(w_f, first)
        self.layers, self.transposed = (torch.cat(ts) if pairs else first.new_empty(0) for ts in (forward, backward))
        self.depth = len(pairs) // 2
        self.outs = pairs[-1].out_features if pairs else len(first) // 2  #: v
        norms = [] if mlp.norms is None else list(mlp.norms)
        #: [scale or shift, value or gate, u]; of length 0 without norms
        self.norms = (
            torch.stack([getattr(n, p) for p in ("weight", "bias") for n in norms]).view(2, 2, -1)
            if norms
            else first.new_empty(0, 2, 0)
        )
        self.epsilon = norms[0].eps if norms else 0.0
        w_d_array, w_f_array, layers, scales = (p.detach().numpy() for p in self.parameters())
        #: arrays for the kernels
        self.arrays = GateArrays(w_d_array, w_f_array, layers, self.depth, scales, self.epsilon)
        #: arrays for the kernels of the backward pass
        self.transposed_arrays = TransposedArrays(
            self.w_d_transposed.numpy(), self.w_f_transposed.numpy(), self.transposed.numpy()
        )
        self._absent = np.empty((0, 0), w_d_array.dtype)

    def parameters(self) -> tuple[Tensor, ...]:
        """W_d, W_f, layers and norms; differentiable if the parameters of the perceptron are."""
        return self.w_d, self.w_f, self.layers, self.norms

    def __call__(
        self, plan: GatherPlan, features: Tensor | None, weights: Tensor | None, *sources: Tensor
    ) -> tuple[Tensor, GatePullback]:
        """Return `out` and the pullback; d [M, K] or `None`, f [·, F] or `None`, and two or three sources [·, 2u]."""
        inputs = RowInputs(*map(self._array, (features, weights, *sources, *(None,) * (3 - len(sources)))))
        like = sources[0]
        grouped = plan.group is not None
        out = like.new_zeros(plan.groups, self.outs) if grouped else like.new_empty(plan.rows, self.outs)
        _forward(inputs, plan.arrays, self.arrays, out.numpy())

        def pullback(g_out: Tensor, g_features: Tensor | None, g_weights: Tensor | None) -> list[Tensor]:
            g_rows = self.scratch.array("rows", plan.rows, like.shape[1], like)
            shared = self.scratch.array("weights", plan.rows if plan.weights else 0, self.outs, like)
            g_f = g_weights if plan.weights is None else shared
            gradients = RowGradients(*map(self._array, (g_out, g_features, g_f, g_rows)))
            _backward(inputs, plan.arrays, self.arrays, self.transposed_arrays, gradients)
            if plan.weights is not None and g_weights is not None:
                g_weights += plan.weights.sum(shared)
            return [index.sum(g_rows) for index in plan.sources]

        return out, pullback

    def _array(self, rows: Tensor | None) -> np.ndarray:
        """Array for the kernels; empty for `None`."""
        return self._absent if rows is None else rows.contiguous().numpy()


def flat_with_transpose(weight: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten a weight [out, in] for products [·, in] -> [·, out] and, padded to SIMD vectors, for their pullback."""
    if weight is None:
        return like.new_empty(0), like.new_empty(0)
    return weight.T.flatten(), nn.functional.pad(weight.detach(), (0, -weight.shape[1] % SIMD_WIDTH)).flatten()


@njit(fastmath=FAST, forceinline=True)
def first_layer(t, rows, inputs, plan, w_d, zs, at_z, scratch):
    """Set z of `rows`, (first row, number of rows), at `at_z` in zs; t selects values or tangents of [2, rows, …]."""
    (first, count), (features, _, a, b, c) = rows, inputs
    width, size = zs.shape[-1], a.shape[-2] * a.shape[-1]
    if len(w_d):
        depth = features.shape[-1]
        tiles.copy(features, (t * features.shape[-2] + first) * depth, count * depth, scratch)
        tiles.product(scratch, (0, depth), w_d, (0, depth, width), -1, zs, (at_z, width), count)
    for row in range(count):
        at, at_a = at_z + row * width, t * size + plan.index_1[first + row] * width
        at_b = t * b.shape[-2] * width + plan.index_2[first + row] * width
        at_c = t * c.shape[-2] * width + plan.index_3[first + row] * width if len(c) else 0
        for u in range(0, width, SIMD_WIDTH):
            z = load(a, at_a + u) + load(b, at_b + u)
            if len(c):
                z = z + load(c, at_c + u)
            if len(w_d):
                z = z + load(zs, at + u)
            store(zs, at + u, z)


@njit(fastmath=FAST, forceinline=True)
def _layers(count, parameters, outs, zs, h):
    """Set z' of each layer in `zs`, `TILE` rows after its input z, which is replaced by silu'(z).

    The last layer has `outs` columns.
    """
    width = zs.shape[1]
    units, at = width // 2, 0
    for layer in range(parameters.depth):
        columns = outs if layer == parameters.depth - 1 else units
        tiles.silu(zs, layer * TILE * width, count * width, h)
        for half in range(2):
            out, bias = (layer + 1) * TILE * width + half * units, at + units * columns
            matrix = (at, units, columns)
            tiles.product(h, (half * units, width), parameters.layers, matrix, bias, zs, (out, width), count)
            at = bias + columns


@njit(fastmath=FAST, forceinline=True)
def row_weights(t, rows, f, index, w_f, ws, at_w, scratch):
    """Set w of `rows`, (first row, number of rows), at `at_w` in ws; t selects values or tangents of [2, rows, F]."""
    first, count = rows
    outs, depth = ws.shape[-1], f.shape[-1]
    if len(w_f):
        tiles.copy(f, (t * f.shape[-2] + first) * depth, count * depth, scratch)
        tiles.product(scratch, (0, depth), w_f, (0, depth, outs), -1, ws, (at_w, outs), count)
    else:
        for row in range(count):
            for u in range(0, outs, SIMD_WIDTH):
                store(ws, at_w + row * outs + u, load(f, (t * f.shape[-2] + index[first + row]) * outs + u))


@njit(fastmath=FAST, forceinline=True)
def scratch_width(width, f):
    """Columns of temporary rows that hold z [2u], or the padded columns of f, which can be more."""
    return max(width, (f.shape[-1] + SIMD_WIDTH - 1) // SIMD_WIDTH * SIMD_WIDTH)


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(inputs, plan, parameters, out):
    """Forward pass: set `out`, or add to it if there are groups."""
    f, group, norms, parts, width = inputs.weights, plan.group, parameters.norms, plan.parts, inputs.x_1.shape[1]
    units, last, outs = width // 2, parameters.depth * TILE * width, out.shape[1]
    for part in prange(len(parts) - 1):
        zs, h = tiles.zeros((parameters.depth + 1) * TILE, width, out), tiles.zeros(TILE, scratch_width(width, f), out)
        ws = tiles.zeros(TILE, outs, out)
        ws[:] = 1
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            first_layer(0, (first, count), inputs, plan, parameters.w_d, zs, 0, h)
            _layers(count, parameters, outs, zs, h)
            if len(f):
                row_weights(0, (first, count), f, plan.index_f, parameters.w_f, ws, 0, h)
            for row in range(count):
                at = last + row * width
                statistics = tiles.norms_of_halves(zs, at, units, norms, parameters.epsilon)
                to = (group[first + row] if len(group) else first + row) * outs
                for u in range(0, outs, SIMD_WIDTH):
                    a, b = tiles.halves(zs, at, units, u, norms, statistics)
                    y, _, _ = gate(a, b)
                    y = y * load(ws, row * outs + u)
                    store(out, to + u, y + (load(out, to + u) if len(group) else load(inputs.features, to + u)))


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(inputs, plan, parameters, transposed, gradients):
    """Backward pass: set the gradients of rows, and add to those of d and f."""
    f, group, norms, parts, width = inputs.weights, plan.group, parameters.norms, plan.parts, inputs.x_1.shape[1]
    g_out, g_features, g_f, g_rows = gradients
    units, last, outs = width // 2, parameters.depth * TILE * width, g_out.shape[1]
    for part in prange(len(parts) - 1):
        zs = tiles.zeros((parameters.depth + 1) * TILE, width, g_out)
        h = tiles.zeros(TILE, scratch_width(width, f), g_out)
        g, ws, g_w = tiles.zeros(TILE, width, g_out), tiles.zeros(TILE, outs, g_out), tiles.zeros(TILE, outs, g_out)
        ws[:] = 1
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            first_layer(0, (first, count), inputs, plan, parameters.w_d, zs, 0, h)
            _layers(count, parameters, outs, zs, h)
            if len(f):
                row_weights(0, (first, count), f, plan.index_f, parameters.w_f, ws, 0, h)
            for row in range(count):
                at, to, at_w = last + row * width, row * width, row * outs
                statistics = tiles.norms_of_halves(zs, at, units, norms, parameters.epsilon)
                of = (group[first + row] if len(group) else first + row) * outs
                for u in range(0, outs, SIMD_WIDTH):
                    a, b = tiles.halves(zs, at, units, u, norms, statistics)
                    (y, y_a, y_b), g_y = gate(a, b), load(g_out, of + u)
                    store(g_w, at_w + u, y * g_y)
                    g_y = g_y * load(ws, at_w + u)
                    store(g, to + u, g_y * y_a)
                    store(g, to + units + u, g_y * y_b)
                tiles.halves_backward(zs, at, units, norms, statistics, g, to)
            if len(f):
                _weights_backward(first, count, g_w, transposed.w_f, g_f, h)
            _layers_backward(count, transposed.layers, parameters.depth, outs, zs, h, g)
            for at in range(0, count * width, SIMD_WIDTH):
                store(g_rows, first * width + at, load(g, at))
            if len(parameters.w_d):
                _features_backward(g, transposed.w_d, g_features, first, count, h)


@njit(fastmath=FAST, forceinline=True)
def _weights_backward(first, count, g_w, w_f_transposed, g_f, scratch):
    """Gradient with respect to f of each row from that of w: added if each row has its own f, set if rows share f."""
    outs, depth = g_w.shape[1], g_f.shape[1]
    if len(w_f_transposed):
        padded = len(w_f_transposed) // outs
        tiles.product(g_w, (0, outs), w_f_transposed, (0, outs, padded), -1, scratch, (0, padded), count)
        for row in range(count):
            for u in range(depth):
                g_f[first + row, u] += scratch.flat[row * padded + u]
    else:
        for at in range(0, count * outs, SIMD_WIDTH):
            store(g_f, first * outs + at, load(g_w, at))


@njit(fastmath=FAST, forceinline=True)
def _layers_backward(count, transposed, number, outs, zs, h, g):
    """Replace g, the gradient with respect to the last z', by the gradient with respect to z."""
    width = zs.shape[1]
    units = width // 2
    for layer in range(number - 1, -1, -1):
        depth = outs if layer == number - 1 else units
        for half in range(2):
            at, of_half = (2 * layer * units + half * depth) * units, (half * units, width)
            tiles.product(g, of_half, transposed, (at, depth, units), -1, h, of_half, count)
        tiles.multiply(zs, layer * TILE * width, count * width, h, g)


@njit(fastmath=FAST, forceinline=True)
def _features_backward(g, w_d_transposed, g_features, first, count, scratch):
    """Add to the gradient with respect to d.

    Products write four rows at a time; `scratch` prevents them from writing beyond the end.
    """
    width, depth = g.shape[1], g_features.shape[1]
    tiles.product(g, (0, width), w_d_transposed, (0, width, depth), -1, scratch, (0, depth), count)
    for at in range(0, count * depth, SIMD_WIDTH):
        store(g_features, first * depth + at, load(g_features, first * depth + at) + load(scratch, at))
