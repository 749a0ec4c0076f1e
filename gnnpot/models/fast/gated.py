"""Compiled backend of gated perceptrons on gathered rows, as messages and updates are, with their derivative by hand.

For rows r (edges or angles) that draw on sources x_k at index_k(r), and may have features d_r of their own,

    z_r = W_d d_r + Σ_k x_k[index_k(r)]                        x_k, z: [·, 2u], value and gate side by side
    z'  = L silu(z)                                            L: a layer each for value and gate; none, one or more;
                                                               the last may have another width, v, than u
    y_r = silu(a_r) ⊙ σ(b_r) ⊙ w_r                             (a | b) = z', each half after its layer norm, if any
    w_r = f[index_f(r)], or W_f f_r                            may be absent
    out_g = Σ_{r in group g} y_r                               or, without groups, out_r = d_r + y_r

All of this is one pass: a few rows at a time, from what they gather to what they are added to, without leaving the
first cache. Nothing is kept: the backward pass calculates it again, which takes less time than to write it to memory
and to read it back, and memory grows with the sources and gradients only.
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
    """What the rows are calculated from. In training each is [2, …]: values and tangents. Of no length: absent."""

    features: np.ndarray  #: d [M, K]
    weights: np.ndarray  #: f [·, F]
    x_1: np.ndarray  #: [·, 2u], as the other two sources
    x_2: np.ndarray
    x_3: np.ndarray


class PlanArrays(NamedTuple):
    """Of a `GatherPlan`. Of no length: absent."""

    index_1: np.ndarray  #: [M] the row of x_1
    index_2: np.ndarray
    index_3: np.ndarray
    index_f: np.ndarray
    group: np.ndarray
    parts: np.ndarray  #: where the rows of each thread begin, and where the last end


class GateArrays(NamedTuple):
    """Of a `Gate`, flat."""

    own: np.ndarray  #: W_d
    mix: np.ndarray  #: W_f
    layers: np.ndarray  #: of each layer, for value and gate: L, its bias
    depth: int  #: the number of layers
    norms: np.ndarray  #: [scale or shift, value or gate, u]; without norms, of length 0
    epsilon: float  #: of the norms


class TransposedArrays(NamedTuple):
    """Those of `GateArrays` for the backward pass."""

    own: np.ndarray
    mix: np.ndarray
    layers: np.ndarray


class RowGradients(NamedTuple):
    """That of `out`, which is given; those that theirs is added to, of d and f; and that of each row's z."""

    out: np.ndarray
    features: np.ndarray
    weights: np.ndarray
    rows: np.ndarray


class GatherIndex:
    """The rows of a source of `size` rows that M rows draw from: `index` [M]. The reverse: rows
    `order[starts[k]:starts[k + 1]]` draw from row k of the source."""

    def __init__(self, index: Tensor, size: int) -> None:
        self.index = index.contiguous().numpy()
        self.starts, self.order = _grouped(self.index, size)

    def sum(self, rows: Tensor) -> Tensor:
        """Σ of the rows [M, F] that draw on each row of the source, [size, F]."""
        out = rows.new_empty(len(self.starts) - 1, rows.shape[1])
        kernels.sum_groups(rows.numpy(), self.starts, self.order, out.numpy())
        return out


@njit(cache=True)
def _grouped(index, size):
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
    """M rows: what they are gathered from, and how they are summed.

    `sources` are two or three; `weights` is where the f of the rows' weights are, `None` if each row has its own, or
    none; `group` [M] the group of each row, in order, `None` if rows are not summed.
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
        # where rows are shared out to threads; no group is torn apart
        parts = np.arange(count + 1) * rows // count
        if group is not None:
            parts[1:-1] = np.searchsorted(group, group[parts[1:-1]])
        index_f = _NOWHERE if weights is None else weights.index
        #: for the kernels
        self.arrays = PlanArrays(first, second, third, index_f, _NOWHERE if group is None else group, parts)


class Scratch:
    """Memory for the gradients of rows, which is used again: fresh pages cost the system as much as what is written."""

    def __init__(self) -> None:
        self._arrays: dict[str, Tensor] = {}

    def __deepcopy__(self, memo: dict) -> "Scratch":
        return Scratch()

    def array(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """[rows, columns] with anything in it; what was handed out under this name before is overwritten."""
        kept = self._arrays.get(name)
        if kept is None or len(kept) < rows * columns or kept.dtype != like.dtype:
            kept = self._arrays[name] = like.new_empty(rows * columns)
        return kept[: rows * columns].view(rows, columns)


#: (gradient of out, of d, of f) -> those of the sources. To what is given for d and f, `None` where they are absent,
#: theirs is added; without groups, that of d is that of out at first, and the same array
GatePullback = Callable[[Tensor, Tensor | None, Tensor | None], list[Tensor]]


class Gate:
    """The numbers of a `GatedMLP` on gathered rows, laid out for the kernels.

    All gates of a model share `scratch`. `own` [2u, K] are the columns of its first layer that belong to d.
    `mix` is W_f [v, F].
    """

    def __init__(self, mlp: GatedMLP, scratch: Scratch, own: Tensor | None = None, mix: Tensor | None = None) -> None:
        first, self.scratch = mlp.first_linear.bias, scratch
        pairs = [pair for layer in zip(mlp.layers, mlp.gates, strict=True) for pair in layer]
        forward = [m for layer in pairs for m in (layer.weight.T.flatten(), layer.bias)]
        backward = [layer.weight.detach().flatten() for layer in pairs]
        self.own, self.own_transposed = both_ways(own, first)
        self.mix, self.mix_transposed = both_ways(mix, first)
        self.layers, self.transposed = (torch.cat(ts) if pairs else first.new_empty(0) for ts in (forward, backward))
        self.depth = len(pairs) // 2
        self.outs = pairs[-1].out_features if pairs else len(first) // 2  #: v
        norms = [] if mlp.norms is None else list(mlp.norms)
        #: [scale or shift, value or gate, u]; without norms, of length 0
        self.norms = (
            torch.stack([getattr(n, p) for p in ("weight", "bias") for n in norms]).view(2, 2, -1)
            if norms
            else first.new_empty(0, 2, 0)
        )
        self.epsilon = norms[0].eps if norms else 0.0
        own_array, mix_array, layers, scales = (p.detach().numpy() for p in self.parameters())
        #: for the kernels
        self.arrays = GateArrays(own_array, mix_array, layers, self.depth, scales, self.epsilon)
        #: for those of the backward pass
        self.transposed_arrays = TransposedArrays(
            self.own_transposed.numpy(), self.mix_transposed.numpy(), self.transposed.numpy()
        )
        self._absent = np.empty((0, 0), own_array.dtype)

    def parameters(self) -> tuple[Tensor, ...]:
        """Differentiable if those of the perceptron are."""
        return self.own, self.mix, self.layers, self.norms

    def __call__(
        self, plan: GatherPlan, features: Tensor | None, weights: Tensor | None, *sources: Tensor
    ) -> tuple[Tensor, GatePullback]:
        """`out` of d [M, K] or `None`, f [·, F] or `None`, and two or three sources [·, 2u]; and the pullback."""
        inputs = RowInputs(*map(self._array, (features, weights, *sources, *(None,) * (3 - len(sources)))))
        like = sources[0]
        grouped = plan.group is not None
        out = like.new_zeros(plan.groups, self.outs) if grouped else like.new_empty(plan.rows, self.outs)
        _forward(inputs, plan.arrays, self.arrays, out.numpy())

        def pullback(g_out: Tensor, g_features: Tensor | None, g_weights: Tensor | None) -> list[Tensor]:
            to_rows = self.scratch.array("rows", plan.rows, like.shape[1], like)
            shared = self.scratch.array("weights", plan.rows if plan.weights else 0, self.outs, like)
            to_weights = g_weights if plan.weights is None else shared
            gradients = RowGradients(*map(self._array, (g_out, g_features, to_weights, to_rows)))
            _backward(inputs, plan.arrays, self.arrays, self.transposed_arrays, gradients)
            if plan.weights is not None and g_weights is not None:
                g_weights += plan.weights.sum(shared)
            return [index.sum(to_rows) for index in plan.sources]

        return out, pullback

    def _array(self, rows: Tensor | None) -> np.ndarray:
        """For the kernels; an empty one stands for what is absent."""
        return self._absent if rows is None else rows.contiguous().numpy()


def both_ways(weight: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """A weight [out, in], flat, for products [·, in] -> [·, out] and, padded to SIMD vectors, for their derivative."""
    if weight is None:
        return like.new_empty(0), like.new_empty(0)
    return weight.T.flatten(), nn.functional.pad(weight.detach(), (0, -weight.shape[1] % SIMD_WIDTH)).flatten()


@njit(fastmath=FAST, forceinline=True)
def first_layer(t, rows, inputs, plan, own, zs, at_z, scratch):
    """z of `rows`, the first and how many, to `at_z` in zs; of arrays [2, rows, …], those in row t."""
    (first, count), (features, _, a, b, c) = rows, inputs
    width, size = zs.shape[-1], a.shape[-2] * a.shape[-1]
    if len(own):
        depth = features.shape[-1]
        tiles.copy(features, (t * features.shape[-2] + first) * depth, count * depth, scratch)
        tiles.product(scratch, (0, depth), own, (0, depth, width), -1, zs, (at_z, width), count)
    for row in range(count):
        at, at_a = at_z + row * width, t * size + plan.index_1[first + row] * width
        at_b = t * b.shape[-2] * width + plan.index_2[first + row] * width
        at_c = t * c.shape[-2] * width + plan.index_3[first + row] * width if len(c) else 0
        for u in range(0, width, SIMD_WIDTH):
            z = load(a, at_a + u) + load(b, at_b + u)
            if len(c):
                z = z + load(c, at_c + u)
            if len(own):
                z = z + load(zs, at + u)
            store(zs, at + u, z)


@njit(fastmath=FAST, forceinline=True)
def _layers(count, numbers, outs, zs, h):
    """z' of each layer after the first, `TILE` rows after the one before in `zs`, where silu'(z) is left of the others;
    the last has `outs` columns."""
    width = zs.shape[1]
    units, at = width // 2, 0
    for layer in range(numbers.depth):
        columns = outs if layer == numbers.depth - 1 else units
        tiles.silu(zs, layer * TILE * width, count * width, h)
        for half in range(2):
            out, bias = (layer + 1) * TILE * width + half * units, at + units * columns
            matrix = (at, units, columns)
            tiles.product(h, (half * units, width), numbers.layers, matrix, bias, zs, (out, width), count)
            at = bias + columns


@njit(fastmath=FAST, forceinline=True)
def row_weights(t, rows, f, index, mix, ws, at_w, scratch):
    """w of `rows`, the first and how many, to `at_w` in ws; of arrays [2, rows, F], those in row t."""
    first, count = rows
    outs, depth = ws.shape[-1], f.shape[-1]
    if len(mix):
        tiles.copy(f, (t * f.shape[-2] + first) * depth, count * depth, scratch)
        tiles.product(scratch, (0, depth), mix, (0, depth, outs), -1, ws, (at_w, outs), count)
    else:
        for row in range(count):
            for u in range(0, outs, SIMD_WIDTH):
                store(ws, at_w + row * outs + u, load(f, (t * f.shape[-2] + index[first + row]) * outs + u))


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(inputs, plan, numbers, out):
    """Fills `out`."""
    f, group, norms, parts, width = inputs.weights, plan.group, numbers.norms, plan.parts, inputs.x_1.shape[1]
    units, last, outs = width // 2, numbers.depth * TILE * width, out.shape[1]
    for part in prange(len(parts) - 1):
        zs, h = tiles.zeros((numbers.depth + 1) * TILE, width, out), tiles.zeros(TILE, width, out)
        ws = tiles.zeros(TILE, outs, out)
        ws[:] = 1
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            first_layer(0, (first, count), inputs, plan, numbers.own, zs, 0, h)
            _layers(count, numbers, outs, zs, h)
            if len(f):
                row_weights(0, (first, count), f, plan.index_f, numbers.mix, ws, 0, h)
            for row in range(count):
                at = last + row * width
                statistics = tiles.norms_of_halves(zs, at, units, norms, numbers.epsilon)
                to = (group[first + row] if len(group) else first + row) * outs
                for u in range(0, outs, SIMD_WIDTH):
                    value, other = tiles.halves(zs, at, units, u, norms, statistics)
                    y, _, _ = gate(value, other)
                    y = y * load(ws, row * outs + u)
                    store(out, to + u, y + (load(out, to + u) if len(group) else load(inputs.features, to + u)))


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(inputs, plan, numbers, transposed, gradients):
    """Fills the gradients of rows, and adds to those of d and f."""
    f, group, norms, parts, width = inputs.weights, plan.group, numbers.norms, plan.parts, inputs.x_1.shape[1]
    g_out, g_features, g_f, g_rows = gradients
    units, last, outs = width // 2, numbers.depth * TILE * width, g_out.shape[1]
    for part in prange(len(parts) - 1):
        zs, h = tiles.zeros((numbers.depth + 1) * TILE, width, g_out), tiles.zeros(TILE, width, g_out)
        g, ws, g_w = tiles.zeros(TILE, width, g_out), tiles.zeros(TILE, outs, g_out), tiles.zeros(TILE, outs, g_out)
        ws[:] = 1
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            first_layer(0, (first, count), inputs, plan, numbers.own, zs, 0, h)
            _layers(count, numbers, outs, zs, h)
            if len(f):
                row_weights(0, (first, count), f, plan.index_f, numbers.mix, ws, 0, h)
            for row in range(count):
                at, to, at_w = last + row * width, row * width, row * outs
                statistics = tiles.norms_of_halves(zs, at, units, norms, numbers.epsilon)
                of = (group[first + row] if len(group) else first + row) * outs
                for u in range(0, outs, SIMD_WIDTH):
                    value, other = tiles.halves(zs, at, units, u, norms, statistics)
                    (y, along_value, along_other), g_y = gate(value, other), load(g_out, of + u)
                    store(g_w, at_w + u, y * g_y)
                    g_y = g_y * load(ws, at_w + u)
                    store(g, to + u, g_y * along_value)
                    store(g, to + units + u, g_y * along_other)
                tiles.halves_backward(zs, at, units, norms, statistics, g, to)
            if len(f):
                _weights_backward(first, count, g_w, transposed.mix, g_f, h)
            _layers_backward(count, transposed.layers, numbers.depth, outs, zs, h, g)
            for at in range(0, count * width, SIMD_WIDTH):
                store(g_rows, first * width + at, load(g, at))
            if len(numbers.own):
                _to_features(g, transposed.own, g_features, first, count, h)


@njit(fastmath=FAST, forceinline=True)
def _weights_backward(first, count, g_w, mix_transposed, g_f, scratch):
    """The gradient of each row's f, from that of w: added to the row's own, but where rows share f."""
    outs, depth = g_w.shape[1], g_f.shape[1]
    if len(mix_transposed):
        padded = len(mix_transposed) // outs
        tiles.product(g_w, (0, outs), mix_transposed, (0, outs, padded), -1, scratch, (0, padded), count)
        for row in range(count):
            for u in range(depth):
                g_f[first + row, u] += scratch.flat[row * padded + u]
    else:
        for at in range(0, count * outs, SIMD_WIDTH):
            store(g_f, first * outs + at, load(g_w, at))


@njit(fastmath=FAST, forceinline=True)
def _layers_backward(count, transposed, number, outs, zs, h, g):
    """g <- the gradient of z, from that of the last z'."""
    width = zs.shape[1]
    units = width // 2
    for layer in range(number - 1, -1, -1):
        depth = outs if layer == number - 1 else units
        for half in range(2):
            at, of_half = (2 * layer * units + half * depth) * units, (half * units, width)
            tiles.product(g, of_half, transposed, (at, depth, units), -1, h, of_half, count)
        tiles.multiply(zs, layer * TILE * width, count * width, h, g)


@njit(fastmath=FAST, forceinline=True)
def _to_features(g, own_transposed, g_features, first, count, scratch):
    """Add to the gradient of the rows' own features; whole fours of rows go through `scratch`, so as not to write too
    far."""
    width, depth = g.shape[1], g_features.shape[1]
    tiles.product(g, (0, width), own_transposed, (0, width, depth), -1, scratch, (0, depth), count)
    for at in range(0, count * depth, SIMD_WIDTH):
        store(g_features, first * depth + at, load(g_features, first * depth + at) + load(scratch, at))
