"""Matrix products of a few rows, and what stands between them, for kernels that keep such a tile in the first cache.

A tile is `TILE` rows. In products, `at` and `stride` count numbers of contiguous arrays, and widths are
multiples of `LANES`.
Functions take whole arrays and positions in them, and are compiled into their callers: to hand on a view of an array
costs more than some of them do.
"""

import math

from numba import njit

from gnnpot.models.fast.kernels import FAST, SUMS, sigmoid
from gnnpot.models.fast.lanes import LANES, fma, load, splat, spread, store

#: rows of a tile, a multiple of 4
TILE = 16
_WIDE = 4 * LANES


@njit(fastmath=FAST, forceinline=True)
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


@njit(fastmath=FAST, forceinline=True)
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
        xa, xb = spread(x, x_at + k), spread(x, x_at + x_stride + k)
        xc, xd = spread(x, x_at + 2 * x_stride + k), spread(x, x_at + 3 * x_stride + k)
        a0, a1, a2, a3 = fma(xa, w0, a0), fma(xa, w1, a1), fma(xa, w2, a2), fma(xa, w3, a3)
        b0, b1, b2, b3 = fma(xb, w0, b0), fma(xb, w1, b1), fma(xb, w2, b2), fma(xb, w3, b3)
        c0, c1, c2, c3 = fma(xc, w0, c0), fma(xc, w1, c1), fma(xc, w2, c2), fma(xc, w3, c3)
        d0, d1, d2, d3 = fma(xd, w0, d0), fma(xd, w1, d1), fma(xd, w2, d2), fma(xd, w3, d3)
    _store4(out, at, a0, a1, a2, a3)
    _store4(out, at + stride, b0, b1, b2, b3)
    _store4(out, at + 2 * stride, c0, c1, c2, c3)
    _store4(out, at + 3 * stride, d0, d1, d2, d3)


@njit(fastmath=FAST, forceinline=True)
def _store4(out, at, x0, x1, x2, x3):
    store(out, at, x0)
    store(out, at + LANES, x1)
    store(out, at + 2 * LANES, x2)
    store(out, at + 3 * LANES, x3)


@njit(fastmath=FAST, forceinline=True)
def _narrow(x, x_at, x_stride, w, w_at, w_stride, depth, bias, out, at, stride):
    """4 rows of one vector."""
    a = load(w, bias) if bias >= 0 else splat(w, 0.0)
    b, c, d = a, a, a
    for k in range(depth):
        vector = load(w, w_at + k * w_stride)
        a, b = fma(spread(x, x_at + k), vector, a), fma(spread(x, x_at + x_stride + k), vector, b)
        c = fma(spread(x, x_at + 2 * x_stride + k), vector, c)
        d = fma(spread(x, x_at + 3 * x_stride + k), vector, d)
    store(out, at, a)
    store(out, at + stride, b)
    store(out, at + 2 * stride, c)
    store(out, at + 3 * stride, d)


@njit(fastmath=FAST, forceinline=True)
def silu(x, x_row, count, h):
    """h = silu(x) for rows of x from `x_row` on."""
    for row in range(count):
        for u in range(h.shape[1]):
            v = x[x_row + row, u]
            h[row, u] = v * sigmoid(v)


@njit(fastmath=FAST, forceinline=True)
def silu_backward(x, x_row, count, h, g):
    """g = h silu'(x) for rows of x from `x_row` on."""
    for row in range(count):
        for u in range(h.shape[1]):
            v = x[x_row + row, u]
            s = sigmoid(v)
            g[row, u] = h[row, u] * (s + v * s * (1 - s))


@njit(fastmath=FAST, forceinline=True)
def gate(x, row, norms, epsilon, y):
    """y = silu(a) σ(b), (a | b) = x[row], each half after its layer norm, if there are any.

    norms [scale and shift, value and gate, u], or of length 0.
    """
    units = len(y)
    if len(norms):
        m, s = mean_and_scale(x, row, 0, units, epsilon)
        n, t = mean_and_scale(x, row, units, units, epsilon)
        for u in range(units):
            a = (x[row, u] - m) * s * norms[0, 0, u] + norms[1, 0, u]
            b = (x[row, units + u] - n) * t * norms[0, 1, u] + norms[1, 1, u]
            y[u] = a * sigmoid(a) * sigmoid(b)
    else:
        for u in range(units):
            y[u] = x[row, u] * sigmoid(x[row, u]) * sigmoid(x[row, units + u])


@njit(fastmath=FAST, forceinline=True)
def gate_backward(x, row, norms, epsilon, g_y, g, g_row):
    """g[g_row] = the gradient of x[row] in `gate`, from that of y."""
    units = len(g_y)
    if len(norms):
        m, s = mean_and_scale(x, row, 0, units, epsilon)
        n, t = mean_and_scale(x, row, units, units, epsilon)
        for u in range(units):
            a = (x[row, u] - m) * s * norms[0, 0, u] + norms[1, 0, u]
            b = (x[row, units + u] - n) * t * norms[0, 1, u] + norms[1, 1, u]
            p, q = sigmoid(a), sigmoid(b)
            h = a * p
            g[g_row, u] = g_y[u] * (p + h * (1 - p)) * q * norms[0, 0, u]
            g[g_row, units + u] = g_y[u] * h * q * (1 - q) * norms[0, 1, u]
        _norm_backward(x, row, 0, units, m, s, g, g_row)
        _norm_backward(x, row, units, units, n, t, g, g_row)
    else:
        for u in range(units):
            p, q = sigmoid(x[row, u]), sigmoid(x[row, units + u])
            h = x[row, u] * p
            g[g_row, u] = g_y[u] * (p + h * (1 - p)) * q
            g[g_row, units + u] = g_y[u] * h * q * (1 - q)


@njit(fastmath=SUMS, forceinline=True)
def mean_and_scale(x, row, start, units, epsilon):
    """Mean of x[row, start : start + units] and 1/sqrt(variance + epsilon)."""
    total = x.dtype.type(0)
    for u in range(units):
        total += x[row, start + u]
    mean = total / x.dtype.type(units)
    square = x.dtype.type(0)
    for u in range(units):
        square += (x[row, start + u] - mean) * (x[row, start + u] - mean)
    return mean, x.dtype.type(1 / math.sqrt(square / units + epsilon))


@njit(fastmath=SUMS, forceinline=True)
def _norm_backward(x, row, start, units, mean, scale, d, d_row):
    """d <- the gradient of x, from that of its layer norm n = (x - mean) scale: scale (d - mean(d) - n mean(d n))."""
    total, along = x.dtype.type(0), x.dtype.type(0)
    for u in range(units):
        total += d[d_row, start + u]
        along += d[d_row, start + u] * (x[row, start + u] - mean)
    count = x.dtype.type(units)
    total, along = total / count, along * scale * scale / count
    for u in range(units):
        d[d_row, start + u] = scale * (d[d_row, start + u] - total - (x[row, start + u] - mean) * along)
