"""Matrix products of a few rows, and what stands between them, for kernels that keep such a tile in the first cache.

A tile is `TILE` rows of a flat array; `at` and `stride` count numbers. Widths are multiples of `LANES`.
"""

import math

from numba import njit

from gnnpot.models.fast.kernels import FAST, SUMS, sigmoid
from gnnpot.models.fast.lanes import LANES, fma, load, splat, store

#: rows of a tile, a multiple of 4
TILE = 16
_WIDE = 4 * LANES


@njit(fastmath=FAST)
def product(x, x_at, x_stride, w, w_at, depth, columns, bias, out, out_at, out_stride, rows):
    """out = x w + bias, x [rows, depth], w [depth, columns] at `w_at`, bias [columns] at `bias`, -1: none.

    Rows are rounded up to a multiple of 4.
    """
    for row in range(0, rows, 4):
        x_row, out_row = x_at + row * x_stride, out_at + row * out_stride
        column = 0
        while column + _WIDE <= columns:
            shift = bias + column if bias >= 0 else -1
            _wide(x, x_row, x_stride, w, w_at + column, columns, depth, shift, out, out_row + column, out_stride)
            column += _WIDE
        while column < columns:
            shift = bias + column if bias >= 0 else -1
            _narrow(x, x_row, x_stride, w, w_at + column, columns, depth, shift, out, out_row + column, out_stride)
            column += LANES


@njit(fastmath=FAST)
def _wide(x, x_at, x_stride, w, w_at, w_stride, depth, bias, out, at, stride):
    """4 rows of 4 vectors: sixteen sums in registers."""
    zero = splat(w, 0.0)
    a0 = load(w, bias) if bias >= 0 else zero
    a1 = load(w, bias + LANES) if bias >= 0 else zero
    a2 = load(w, bias + 2 * LANES) if bias >= 0 else zero
    a3 = load(w, bias + 3 * LANES) if bias >= 0 else zero
    b0, b1, b2, b3 = a0, a1, a2, a3
    c0, c1, c2, c3 = a0, a1, a2, a3
    d0, d1, d2, d3 = a0, a1, a2, a3
    for k in range(depth):
        place = w_at + k * w_stride
        w0, w1, w2, w3 = load(w, place), load(w, place + LANES), load(w, place + 2 * LANES), load(w, place + 3 * LANES)
        xa, xb = splat(x, x[x_at + k]), splat(x, x[x_at + x_stride + k])
        xc, xd = splat(x, x[x_at + 2 * x_stride + k]), splat(x, x[x_at + 3 * x_stride + k])
        a0, a1, a2, a3 = fma(xa, w0, a0), fma(xa, w1, a1), fma(xa, w2, a2), fma(xa, w3, a3)
        b0, b1, b2, b3 = fma(xb, w0, b0), fma(xb, w1, b1), fma(xb, w2, b2), fma(xb, w3, b3)
        c0, c1, c2, c3 = fma(xc, w0, c0), fma(xc, w1, c1), fma(xc, w2, c2), fma(xc, w3, c3)
        d0, d1, d2, d3 = fma(xd, w0, d0), fma(xd, w1, d1), fma(xd, w2, d2), fma(xd, w3, d3)
    _store4(out, at, a0, a1, a2, a3)
    _store4(out, at + stride, b0, b1, b2, b3)
    _store4(out, at + 2 * stride, c0, c1, c2, c3)
    _store4(out, at + 3 * stride, d0, d1, d2, d3)


@njit(fastmath=FAST)
def _store4(out, at, x0, x1, x2, x3):
    store(out, at, x0)
    store(out, at + LANES, x1)
    store(out, at + 2 * LANES, x2)
    store(out, at + 3 * LANES, x3)


@njit(fastmath=FAST)
def _narrow(x, x_at, x_stride, w, w_at, w_stride, depth, bias, out, at, stride):
    """4 rows of one vector."""
    a = load(w, bias) if bias >= 0 else splat(w, 0.0)
    b, c, d = a, a, a
    for k in range(depth):
        vector = load(w, w_at + k * w_stride)
        a, b = fma(splat(x, x[x_at + k]), vector, a), fma(splat(x, x[x_at + x_stride + k]), vector, b)
        c = fma(splat(x, x[x_at + 2 * x_stride + k]), vector, c)
        d = fma(splat(x, x[x_at + 3 * x_stride + k]), vector, d)
    store(out, at, a)
    store(out, at + stride, b)
    store(out, at + 2 * stride, c)
    store(out, at + 3 * stride, d)


@njit(fastmath=FAST)
def silu(x, h):
    """h = silu(x)."""
    for k in range(len(h)):
        h[k] = x[k] * sigmoid(x[k])


@njit(fastmath=FAST)
def silu_backward(x, h, g):
    """g = h silu'(x)."""
    for k in range(len(h)):
        s = sigmoid(x[k])
        g[k] = h[k] * (s + x[k] * s * (1 - s))


@njit(fastmath=FAST)
def gate(value, other, norms, epsilon, y):
    """y = silu(a) σ(b), a and b the value and the other half after their layer norms, if there are any.

    norms [scale and shift, value and other, u], or of length 0.
    """
    if len(norms):
        (m, s), (n, t) = mean_and_scale(value, epsilon), mean_and_scale(other, epsilon)
        scale_a, scale_b, shift_a, shift_b = norms[0, 0], norms[0, 1], norms[1, 0], norms[1, 1]
        for u in range(len(y)):
            a = (value[u] - m) * s * scale_a[u] + shift_a[u]
            b = (other[u] - n) * t * scale_b[u] + shift_b[u]
            y[u] = a * sigmoid(a) * sigmoid(b)
    else:
        for u in range(len(y)):
            y[u] = value[u] * sigmoid(value[u]) * sigmoid(other[u])


@njit(fastmath=FAST)
def gate_backward(value, other, norms, epsilon, g_y, g_value, g_other):
    """The gradients of both halves in `gate`, from that of y."""
    if len(norms):
        (m, s), (n, t) = mean_and_scale(value, epsilon), mean_and_scale(other, epsilon)
        scale_a, scale_b, shift_a, shift_b = norms[0, 0], norms[0, 1], norms[1, 0], norms[1, 1]
        for u in range(len(g_y)):
            a = (value[u] - m) * s * scale_a[u] + shift_a[u]
            b = (other[u] - n) * t * scale_b[u] + shift_b[u]
            p, q = sigmoid(a), sigmoid(b)
            h = a * p
            g_value[u] = g_y[u] * (p + h * (1 - p)) * q * scale_a[u]
            g_other[u] = g_y[u] * h * q * (1 - q) * scale_b[u]
        _norm_backward(value, m, s, g_value)
        _norm_backward(other, n, t, g_other)
    else:
        for u in range(len(g_y)):
            p, q = sigmoid(value[u]), sigmoid(other[u])
            h = value[u] * p
            g_value[u] = g_y[u] * (p + h * (1 - p)) * q
            g_other[u] = g_y[u] * h * q * (1 - q)


@njit(fastmath=SUMS)
def _sum(x):
    total = x.dtype.type(0)
    for u in range(len(x)):
        total += x[u]
    return total


@njit(fastmath=SUMS)
def _dot(x, y):
    total = x.dtype.type(0)
    for u in range(len(x)):
        total += x[u] * y[u]
    return total


@njit(fastmath=SUMS)
def mean_and_scale(x, epsilon):
    """Mean and 1/sqrt(variance + epsilon)."""
    mean = _sum(x) / x.dtype.type(len(x))
    square = x.dtype.type(0)
    for u in range(len(x)):
        square += (x[u] - mean) * (x[u] - mean)
    return mean, x.dtype.type(1 / math.sqrt(square / len(x) + epsilon))


@njit(fastmath=SUMS)
def _norm_backward(x, mean, scale, d):
    """d <- the gradient of x, from that of its layer norm n = (x - mean) scale: scale (d - mean(d) - n mean(d n))."""
    units = x.dtype.type(len(x))
    total = _sum(d)
    along = (_dot(d, x) - mean * total) * scale / units
    total = total / units
    for u in range(len(x)):
        d[u] = scale * (d[u] - total - (x[u] - mean) * scale * along)
