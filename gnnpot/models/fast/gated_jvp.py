"""Gated perceptrons on gathered rows, as in `gated`, for values and tangents; used and differentiated in training.

All arrays are [2, rows, …]: values x and their tangents ẋ along a direction of the edge vectors (see `training`).
Linear layers act on both, biases only on the values. With a = silu, b = σ and the halves v and g of the gate,

    h = a(z)                  ḣ = a' ż
    n = (x - mean x) s        ṅ = s (ẋ - mean ẋ - n mean(n ẋ)),   s = 1/sqrt(variance x + ε)
    y = a(v) b(g) w           ẏ = (a' b v̇ + a b' ġ) w + a b ẇ                                                  (1)

With the gradients Y and Ẏ with respect to y and ẏ, W = Y w + Ẏ ẇ and R = Ẏ w, the gradients for the inputs of (1) are

    v: W a' b + R (a'' b v̇ + a' b' ġ)      v̇: R a' b
    g: W a b' + R (a' b' v̇ + a b'' ġ)      ġ: R a b'
    w: Y a b + Ẏ (a' b v̇ + a b' ġ)         ẇ: Ẏ a b                                                           (2)

and, with the gradients d and e with respect to n and ṅ, q = mean(n ẋ), and p = ẋ - mean ẋ - n q,

    ẋ: s P e      x: s (P d - s q P e - s mean(e n) p - s n mean(e p)),   P y = y - mean y - n mean(n y)       (3)

As in `gated`, there is one pass over tiles of rows, and the backward pass computes intermediate values again. Each part
of the rows has its own sums of the gradients with respect to parameters.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.models.fast.gated import (
    Gate,
    GatherIndex,
    GatherPlan,
    RowGradients,
    RowInputs,
    first_layer,
    row_weights,
    scratch_width,
)
from gnnpot.ops.simd import tiles
from gnnpot.ops.simd.kernels import FAST, sigmoid
from gnnpot.ops.simd.tiles import TILE
from gnnpot.ops.simd.vector_math import gate_jvp, silu_curvature, silu_slope
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, load, store


class GateJVP(torch.autograd.Function):
    """Equation (1) with the sums of `gated`, for values and tangents; differentiable once.

    Inputs: d [2, M, K] or `None`, f [2, ·, F] or `None`, the parameters of `gate`, and two or three sources [2, ·, 2u].
    If there is a W_f, f gets no gradient, because it depends only on distances.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor | None, weights: Tensor | None, gate: Gate, plan: GatherPlan, *tensors: Tensor
    ) -> Tensor:
        follow_torch()
        parameters, sources = tensors[: len(gate.parameters())], tensors[len(gate.parameters()) :]
        like = sources[0]
        absent = like.new_empty(0, 0, 0)
        arrays = [absent if t is None else t.detach().contiguous() for t in (features, weights)]
        arrays += [s.detach().contiguous() for s in sources] + [absent] * (3 - len(sources))
        grouped = plan.group is not None
        out = like.new_zeros(2, plan.groups, gate.outs) if grouped else like.new_empty(2, plan.rows, gate.outs)
        ctx.arguments = RowInputs(*(a.numpy() for a in arrays)), plan.arrays, gate.arrays
        _forward(*ctx.arguments, out.numpy())
        ctx.arrays, ctx.gate, ctx.plan = arrays, gate, plan
        ctx.shapes = [p.shape for p in parameters]
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_out: Tensor) -> tuple[Tensor | None, ...]:
        gate, plan, (features, _, source, *_) = ctx.gate, ctx.plan, ctx.arrays
        g_out = g_out.contiguous()
        g_features = torch.zeros_like(features) if plan.group is not None else g_out.clone()
        array, rows, width = gate.scratch.array, plan.rows, source.shape[2]
        g_rows = array("rows", 2 * rows, width, g_out).view(2, rows, width)
        shared = plan.weights is not None
        g_weights = array("weights", 2 * rows if shared else 0, gate.outs, g_out).view(2, -1, gate.outs)
        sizes = [t.numel() for t in gate.parameters()]
        sums = g_out.new_zeros(len(plan.arrays.parts) - 1, sum(sizes))
        gradients = RowGradients(*(g.numpy() for g in (g_out, g_features, g_weights, g_rows)))
        _backward(*ctx.arguments, gate.transposed_arrays, gradients, np.cumsum([0, *sizes]), sums.numpy())
        ctx.arguments = None
        g_parameters = [g.view(shape) for g, shape in zip(sums.sum(0).split(sizes), ctx.shapes, strict=True)]
        g_sources = [_sum(g_rows, index) for index in plan.sources]
        g_weights = _sum(g_weights, plan.weights) if shared else None
        return g_features if len(features) else None, g_weights, None, None, *g_parameters, *g_sources


def _sum(rows: Tensor, index: GatherIndex) -> Tensor:
    """`GatherIndex.sum` for values and tangents."""
    return torch.stack([index.sum(rows[0]), index.sum(rows[1])])


@njit(fastmath=FAST, forceinline=True)
def _layers(rows, inputs, plan, parameters, outs, zs, hs, scratch):
    """Set z and ż of each layer in `zs`, 2 `TILE` rows after those of the layer before; `hs` has the inputs of layers.

    The last layer has `outs` columns.
    """
    width, count = zs.shape[1], rows[1]
    units, tile, at = width // 2, TILE * width, 0
    for t in range(2):
        first_layer(t, rows, inputs, plan, parameters.w_d, zs, t * tile, scratch)
    for layer in range(parameters.depth):
        place, columns = 2 * layer * tile, outs if layer == parameters.depth - 1 else units
        for u in range(place, place + count * width, SIMD_WIDTH):
            z = load(zs, u)
            s = sigmoid(z)
            store(hs, u, z * s)
            store(hs, u + tile, load(zs, u + tile) * silu_slope(z, s))
        for half in range(2):
            for t in range(2):
                x, bias = place + t * tile + half * units, at + units * columns if t == 0 else -1
                matrix, out_rows = (at, units, columns), (x + 2 * tile, width)
                tiles.product(hs, (x, width), parameters.layers, matrix, bias, zs, out_rows, count)
            at += units * columns + columns


@njit(fastmath=FAST, forceinline=True)
def _tangent_statistics(x, at, tangent_at, units, norms, mean, scale):
    """Return (mean x, s, mean ẋ, mean(n ẋ)) of half a row; the last two are 0 without norms."""
    zero = x.dtype.type(0)
    if not len(norms):
        return mean, scale, zero, zero
    sums, products = broadcast(x, 0.0), broadcast(x, 0.0)
    for u in range(0, units, SIMD_WIDTH):
        tangent = load(x, tangent_at + u)
        sums = sums + tangent
        products = products + tangent * (load(x, at + u) - mean)
    size = x.dtype.type(units)
    return mean, scale, tiles.total(sums) / size, tiles.total(products) * scale / size


@njit(fastmath=FAST, forceinline=True)
def _normalized_tangent(x, at, tangent_at, norms, scales, statistics):
    """Return 16 numbers of the tangent of half a row after its layer norm, if any."""
    tangent, (mean, scale, tangent_mean, q) = load(x, tangent_at), statistics
    if len(norms):
        tangent = (tangent - tangent_mean - (load(x, at) - mean) * scale * q) * scale * load(norms, scales)
    return tangent


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(inputs, plan, parameters, out):
    """Forward pass: set `out`, or add to it if there are groups."""
    f, group, norms, parts, width = inputs.weights, plan.group, parameters.norms, plan.parts, inputs.x_1.shape[2]
    units, tile, size = width // 2, TILE * width, out.shape[1] * out.shape[2]
    last, outs = 2 * parameters.depth * tile, out.shape[2]
    for part in prange(len(parts) - 1):
        zs = np.zeros(((parameters.depth + 1) * 2 * TILE, width), out.dtype)
        hs, scratch = np.zeros_like(zs), np.zeros((TILE, scratch_width(width, f)), out.dtype)
        ws = np.ones((2 * TILE, outs), out.dtype)
        ws[TILE:] = 0
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            _layers((first, count), inputs, plan, parameters, outs, zs, hs, scratch)
            if len(f):
                for t in range(2):
                    row_weights(t, (first, count), f, plan.index_f, parameters.w_f, ws, t * TILE * outs, scratch)
            for row in range(count):
                at = last + row * width
                statistics = m, s, n, t = tiles.norms_of_halves(zs, at, units, norms, parameters.epsilon)
                v_statistics = _tangent_statistics(zs, at, at + tile, units, norms, m, s)
                g_statistics = _tangent_statistics(zs, at + units, at + tile + units, units, norms, n, t)
                to = (group[first + row] if len(group) else first + row) * outs
                for u in range(0, outs, SIMD_WIDTH):
                    v, g = tiles.halves(zs, at, units, u, norms, statistics)
                    dv = _normalized_tangent(zs, at + u, at + tile + u, norms, u, v_statistics)
                    dg = _normalized_tangent(zs, at + units + u, at + tile + units + u, norms, units + u, g_statistics)
                    y, tangent, _, _, _, _ = gate_jvp(v, g, dv, dg)
                    w, dw = load(ws, row * outs + u), load(ws, (TILE + row) * outs + u)
                    base = out if len(group) else inputs.features
                    store(out, size + to + u, tangent * w + y * dw + load(base, size + to + u))
                    store(out, to + u, y * w + load(base, to + u))


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(inputs, plan, parameters, transposed, gradients, offsets, sums):
    """Backward pass: set or add to the gradients, and add to `sums`, the gradients for the parameters in each part.

    `offsets` are the positions of the parameters in a row of `sums`.
    """
    f, parts, width, (g_out, g_features, g_f, g_rows) = inputs.weights, plan.parts, inputs.x_1.shape[2], gradients
    tile, rows, outs = TILE * width, g_rows.shape[1], g_out.shape[2]
    at_w_d, at_w_f, at_layers, at_norms = offsets[0], offsets[1], offsets[2], offsets[3]
    for part in prange(len(parts) - 1):
        zs, g = (
            np.zeros(((parameters.depth + 1) * 2 * TILE, width), sums.dtype), np.zeros((2 * TILE, width), sums.dtype),
        )  # fmt: skip
        hs, h = np.zeros_like(zs), np.zeros((2 * TILE, scratch_width(width, f)), sums.dtype)
        ws, g_w = np.ones((2 * TILE, outs), sums.dtype), np.zeros((2 * TILE, outs), sums.dtype)
        ws[TILE:] = 0
        total = sums[part]
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            tile_rows = (first, count)
            _layers(tile_rows, inputs, plan, parameters, outs, zs, hs, h)
            if len(f):
                for t in range(2):
                    row_weights(t, tile_rows, f, plan.index_f, parameters.w_f, ws, t * TILE * outs, h)
            _gate_backward(tile_rows, plan.group, parameters, zs, ws, g_out, g, g_w, total, at_norms)
            # exclude rows beyond the last one from the sums
            g[count:TILE], g[TILE + count :] = 0, 0
            if len(f):
                _weights_backward(tile_rows, f, len(parameters.w_f), g_w, g_f, h, total, at_w_f)
            _layers_backward(count, transposed.layers, parameters.depth, outs, zs, hs, g, h, total, at_layers)
            for t in range(2):
                for at in range(0, count * width, SIMD_WIDTH):
                    store(g_rows, (t * rows + first) * width + at, load(g, t * tile + at))
            if len(parameters.w_d):
                _features_backward(tile_rows, inputs.features, transposed.w_d, g, g_features, h, total, at_w_d)


@njit(fastmath=FAST, forceinline=True)
def _gate_backward(rows, group, parameters, zs, ws, g_out, g, g_w, total, at_norms):
    """Gradients with respect to the last z' and w, equations (2) and (3)."""
    (first, count), width, norms = rows, zs.shape[1], parameters.norms
    units, tile, size, outs = width // 2, TILE * width, g_out.shape[1] * g_out.shape[2], g_out.shape[2]
    for row in range(count):
        at, to, at_w = 2 * parameters.depth * tile + row * width, row * width, row * outs
        statistics = m, s, n, t = tiles.norms_of_halves(zs, at, units, norms, parameters.epsilon)
        v_statistics = _tangent_statistics(zs, at, at + tile, units, norms, m, s)
        x_statistics = _tangent_statistics(zs, at + units, at + tile + units, units, norms, n, t)
        of = (group[first + row] if len(group) else first + row) * outs
        for u in range(0, outs, SIMD_WIDTH):
            v, x = tiles.halves(zs, at, units, u, norms, statistics)
            dv = _normalized_tangent(zs, at + u, at + tile + u, norms, u, v_statistics)
            dx = _normalized_tangent(zs, at + units + u, at + tile + units + u, norms, units + u, x_statistics)
            y, dy, y_v, y_x, dy_v, dy_x = gate_jvp(v, x, dv, dx)
            g_y, g_dy = load(g_out, of + u), load(g_out, size + of + u)
            store(g_w, at_w + u, g_y * y + g_dy * dy)
            store(g_w, TILE * outs + at_w + u, g_dy * y)
            w = load(ws, at_w + u)
            g_y, g_dy = g_y * w + g_dy * load(ws, TILE * outs + at_w + u), g_dy * w
            store(g, to + u, g_y * y_v + g_dy * dy_v)
            store(g, tile + to + u, g_dy * y_v)
            store(g, to + units + u, g_y * y_x + g_dy * dy_x)
            store(g, tile + to + units + u, g_dy * y_x)
        if len(norms):
            _norm_backward(zs, (at, units), norms, 0, v_statistics, g, to, total, at_norms)
            _norm_backward(zs, (at + units, units), norms, units, x_statistics, g, to + units, total, at_norms)


@njit(fastmath=FAST, forceinline=True)
def _norm_backward(x, half, norms, scales, statistics, g, g_at, total, at_norms):
    """Equation (3), and the gradients with respect to scale and shift; `half` is (position, length)."""
    (at, units), (mean, scale, tangent_mean, q) = half, statistics
    tile, size, zero = TILE * x.shape[1], x.dtype.type(units), broadcast(x, 0.0)
    d_sum, d_n, e_sum, e_n, e_p = zero, zero, zero, zero, zero
    for u in range(0, units, SIMD_WIDTH):
        n = (load(x, at + u) - mean) * scale
        p = load(x, at + tile + u) - tangent_mean - n * q
        d, e = load(g, g_at + u), load(g, g_at + tile + u)
        scale_at, shift_at = at_norms + scales + u, at_norms + 2 * units + scales + u
        store(total, scale_at, load(total, scale_at) + d * n + e * p * scale)
        store(total, shift_at, load(total, shift_at) + d)
        d, e = d * load(norms, scales + u), e * load(norms, scales + u)
        store(g, g_at + u, d)
        store(g, g_at + tile + u, e)
        d_sum, d_n = d_sum + d, d_n + d * n
        e_sum, e_n, e_p = e_sum + e, e_n + e * n, e_p + e * p
    d_mean, dn_mean = tiles.total(d_sum) / size, tiles.total(d_n) / size
    e_mean, en_mean, ep_mean = tiles.total(e_sum) / size, tiles.total(e_n) / size, tiles.total(e_p) / size
    for u in range(0, units, SIMD_WIDTH):
        n = (load(x, at + u) - mean) * scale
        p = load(x, at + tile + u) - tangent_mean - n * q
        tangent = (load(g, g_at + tile + u) - e_mean - n * en_mean) * scale
        value = load(g, g_at + u) - d_mean - n * dn_mean - tangent * q - (p * en_mean + n * ep_mean) * scale
        store(g, g_at + u, value * scale)
        store(g, g_at + tile + u, tangent)


@njit(fastmath=FAST, forceinline=True)
def _weights_backward(rows, f, has_w_f, g_w, g_f, scratch, total, at_w_f):
    """Gradient with respect to f of each row, or to W_f, from the gradient with respect to w."""
    (first, count), outs, depth = rows, g_w.shape[1], f.shape[2]
    for t in range(2):
        if has_w_f:
            tiles.copy(f, (t * f.shape[1] + first) * depth, count * depth, scratch)
            w_rows = (t * TILE * outs, outs)
            tiles.accumulate(scratch, (0, depth), g_w, w_rows, total, (at_w_f, depth, outs), count)
        else:
            for at in range(0, count * outs, SIMD_WIDTH):
                store(g_f, (t * g_f.shape[1] + first) * outs + at, load(g_w, t * TILE * outs + at))


@njit(fastmath=FAST, forceinline=True)
def _layers_backward(count, transposed, number, outs, zs, hs, g, h, total, at_layers):
    """Replace g, the gradients with respect to the last z' and ż', by those with respect to z and ż.

    Also adds to the gradients with respect to the parameters of the layers.
    """
    width = zs.shape[1]
    units, tile = width // 2, TILE * width
    for layer in range(number - 1, -1, -1):
        place, depth = 2 * layer * tile, outs if layer == number - 1 else units
        for half in range(2):
            at, column = (2 * layer * units + half * depth) * units, half * units
            to = at_layers + at + 2 * layer * units + half * depth
            x_rows, matrix = (place + column, width), (to, units, depth)
            tiles.accumulate(hs, x_rows, g, (column, width), total, matrix, 2 * TILE)
            for u in range(0, depth, SIMD_WIDTH):
                shift = load(total, to + units * depth + u)
                for row in range(count):
                    shift = shift + load(g, row * width + column + u)
                store(total, to + units * depth + u, shift)
            for t in range(2):
                of_half = (t * tile + column, width)
                tiles.product(g, of_half, transposed, (at, depth, units), -1, h, of_half, count)
        for u in range(0, count * width, SIMD_WIDTH):
            z = load(zs, place + u)
            s = sigmoid(z)
            g_h, g_dh, slope = load(h, u), load(h, tile + u), silu_slope(z, s)
            store(g, u, g_h * slope + g_dh * silu_curvature(z, s) * load(zs, place + tile + u))
            store(g, tile + u, g_dh * slope)


@njit(fastmath=FAST, forceinline=True)
def _features_backward(rows, features, w_d_transposed, g, g_features, scratch, total, at_w_d):
    """Add to the gradients with respect to d and W_d."""
    (first, count), width, depth = rows, g.shape[1], features.shape[2]
    for t in range(2):
        place, g_of = (t * features.shape[1] + first) * depth, (t * TILE * width, width)
        # products process four rows at a time; `scratch` prevents access beyond the end
        tiles.copy(features, place, count * depth, scratch)
        tiles.accumulate(scratch, (0, depth), g, g_of, total, (at_w_d, depth, width), count)
        tiles.product(g, g_of, w_d_transposed, (0, width, depth), -1, scratch, (0, depth), count)
        for at in range(0, count * depth, SIMD_WIDTH):
            store(g_features, place + at, load(g_features, place + at) + load(scratch, at))
