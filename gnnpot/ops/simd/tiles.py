"""Matrix products and elementwise functions of tiles, for kernels that keep a tile in the first-level cache.

A tile has `TILE` rows. Arrays are contiguous, and parts of them are given by positions: `x_rows` is (position of the
first row of x, distance between rows); `matrix` is (position, number of rows, number of columns), where the number of
columns is a multiple of `SIMD_WIDTH`. Functions take whole arrays and positions in them and are inlined, because
passing a view of an array costs more than some of these functions.
"""

import math

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST, sigmoid
from gnnpot.ops.simd.vector_math import silu_slope
from gnnpot.ops.simd.vectors import SIMD_WIDTH, aligned, broadcast, broadcast_at, fma, load, store, total

#: rows of a tile, a multiple of 4
TILE = 16
_WIDE = 4 * SIMD_WIDTH


@njit(fastmath=FAST, forceinline=True)
def zeros(rows, columns, like):
    """Zeros [rows, columns]. Products also read rows beyond the last one, which must not contain NaN."""
    x = aligned(rows * columns, like).reshape(rows, columns)
    x[:] = 0
    return x


@njit(fastmath=FAST, forceinline=True)
def copy(x, at, count, out):
    """Copy `count` numbers of x from `at` on to the start of `out`.

    Products process four rows at a time and could read beyond the end of x.
    """
    for k in range(count):
        out.flat[k] = x.flat[at + k]


@njit(fastmath=FAST, forceinline=True)
def product(x, x_rows, w, matrix, bias, out, out_rows, rows):
    """out = x w + b, where b [columns] is at position `bias` of w (-1: no bias).

    The number of rows is rounded up to a multiple of 4.
    """
    product_from(x, x_rows, w, matrix, w, (bias, 0), out, out_rows, rows)


@njit(fastmath=FAST, forceinline=True)
def product_from(x, x_rows, w, matrix, start, start_rows, out, out_rows, rows):
    """out = x w + start; otherwise as `product`. `start_rows[0]` is -1 without `start`."""
    (x_at, x_step), (w_at, depth, columns), (start_at, start_step), (out_at, out_step) = (
        x_rows, matrix, start_rows, out_rows,
    )  # fmt: skip
    for row in range(0, rows, 4):
        four, to = (x_at + row * x_step, x_step), out_at + row * out_step
        first = start_at + row * start_step if start_at >= 0 else -1
        column = 0
        while column + _WIDE <= columns:
            place = (w_at + column, depth, columns)
            _wide(x, four, w, place, start, (first, start_step), out, (to + column, out_step))
            first = first + _WIDE if first >= 0 else -1
            column += _WIDE
        while column < columns:
            place = (w_at + column, depth, columns)
            _narrow(x, four, w, place, start, (first, start_step), out, (to + column, out_step))
            first = first + SIMD_WIDTH if first >= 0 else -1
            column += SIMD_WIDTH


@njit(fastmath=FAST, forceinline=True)
def product_of_rows(x, x_rows, w, matrix, start, start_rows, out, out_rows, rows):
    """`product_from` for exactly `rows` rows; the number of rows of the matrix is a multiple of 4."""
    fours = rows - rows % 4
    product_from(x, x_rows, w, matrix, start, start_rows, out, out_rows, fours)
    w_at, depth, columns = matrix
    for row in range(fours, rows):
        x_at, to = x_rows[0] + row * x_rows[1], out_rows[0] + row * out_rows[1]
        first = start_rows[0] + row * start_rows[1]
        for column in range(0, columns, SIMD_WIDTH):
            # four independent sums: in a single one, each addition would wait for the one before
            a = b = c = d = broadcast(w, 0.0)
            if start_rows[0] >= 0:
                a = load(start, first + column)
            place = w_at + column
            for k in range(0, depth - 3, 4):
                a = fma(broadcast_at(x, x_at + k), load(w, place), a)
                b = fma(broadcast_at(x, x_at + k + 1), load(w, place + columns), b)
                c = fma(broadcast_at(x, x_at + k + 2), load(w, place + 2 * columns), c)
                d = fma(broadcast_at(x, x_at + k + 3), load(w, place + 3 * columns), d)
                place += 4 * columns
            store(out, to + column, (a + b) + (c + d))


@njit(fastmath=FAST, forceinline=True)
def _wide(x, x_rows, w, matrix, start, start_rows, out, out_rows):
    """Product for 4 rows and 4 vectors of columns: sixteen sums in registers."""
    (x_at, x_step), (w_at, depth, columns), (start_at, start_step) = x_rows, matrix, start_rows
    zero = broadcast(w, 0.0)
    a0, a1, a2, a3 = zero, zero, zero, zero
    b0, b1, b2, b3 = zero, zero, zero, zero
    c0, c1, c2, c3 = zero, zero, zero, zero
    d0, d1, d2, d3 = zero, zero, zero, zero
    if start_at >= 0:
        a0, a1, a2, a3 = _load4(start, start_at)
        b0, b1, b2, b3 = _load4(start, start_at + start_step)
        c0, c1, c2, c3 = _load4(start, start_at + 2 * start_step)
        d0, d1, d2, d3 = _load4(start, start_at + 3 * start_step)
    for k in range(depth):
        w0, w1, w2, w3 = _load4(w, w_at + k * columns)
        xa, xb = broadcast_at(x, x_at + k), broadcast_at(x, x_at + x_step + k)
        xc, xd = broadcast_at(x, x_at + 2 * x_step + k), broadcast_at(x, x_at + 3 * x_step + k)
        a0, a1, a2, a3 = fma(xa, w0, a0), fma(xa, w1, a1), fma(xa, w2, a2), fma(xa, w3, a3)
        b0, b1, b2, b3 = fma(xb, w0, b0), fma(xb, w1, b1), fma(xb, w2, b2), fma(xb, w3, b3)
        c0, c1, c2, c3 = fma(xc, w0, c0), fma(xc, w1, c1), fma(xc, w2, c2), fma(xc, w3, c3)
        d0, d1, d2, d3 = fma(xd, w0, d0), fma(xd, w1, d1), fma(xd, w2, d2), fma(xd, w3, d3)
    at, step = out_rows
    _store4(out, at, a0, a1, a2, a3)
    _store4(out, at + step, b0, b1, b2, b3)
    _store4(out, at + 2 * step, c0, c1, c2, c3)
    _store4(out, at + 3 * step, d0, d1, d2, d3)


@njit(fastmath=FAST, forceinline=True)
def _store4(out, at, x0, x1, x2, x3):
    store(out, at, x0)
    store(out, at + SIMD_WIDTH, x1)
    store(out, at + 2 * SIMD_WIDTH, x2)
    store(out, at + 3 * SIMD_WIDTH, x3)


@njit(fastmath=FAST, forceinline=True)
def _narrow(x, x_rows, w, matrix, start, start_rows, out, out_rows):
    """Product for 4 rows and one vector of columns."""
    (x_at, x_step), (w_at, depth, columns), (start_at, start_step) = x_rows, matrix, start_rows
    zero = broadcast(w, 0.0)
    a, b, c, d = zero, zero, zero, zero
    if start_at >= 0:
        a, b = load(start, start_at), load(start, start_at + start_step)
        c, d = load(start, start_at + 2 * start_step), load(start, start_at + 3 * start_step)
    for k in range(depth):
        vector = load(w, w_at + k * columns)
        a, b = fma(broadcast_at(x, x_at + k), vector, a), fma(broadcast_at(x, x_at + x_step + k), vector, b)
        c = fma(broadcast_at(x, x_at + 2 * x_step + k), vector, c)
        d = fma(broadcast_at(x, x_at + 3 * x_step + k), vector, d)
    at, step = out_rows
    store(out, at, a)
    store(out, at + step, b)
    store(out, at + 2 * step, c)
    store(out, at + 3 * step, d)


@njit(fastmath=FAST, forceinline=True)
def accumulate(x, x_rows, g, g_rows, out, matrix, rows):
    """out += xᵀ g for `rows` rows of x and g; `matrix` is the position and shape of the sum in `out`."""
    (x_at, x_step), (g_at, g_step), (out_at, depth, columns) = x_rows, g_rows, matrix
    fours = depth - depth % 4
    for k in range(0, fours, 4):
        column, place = 0, out_at + k * columns
        while column + _WIDE <= columns:
            four = (g_at + column, g_step)
            _wide_sum(x, (x_at + k, x_step), g, four, out, (place + column, columns), rows)
            column += _WIDE
        while column < columns:
            for n in range(4):
                to = place + n * columns + column
                _narrow_sum(x, (x_at + k + n, x_step), g, (g_at + column, g_step), out, to, rows)
            column += SIMD_WIDTH
    for k in range(fours, depth):
        for column in range(0, columns, SIMD_WIDTH):
            to = out_at + k * columns + column
            _narrow_sum(x, (x_at + k, x_step), g, (g_at + column, g_step), out, to, rows)


@njit(fastmath=FAST, forceinline=True)
def _wide_sum(x, x_rows, g, g_rows, out, out_rows, rows):
    """`accumulate` for 4 rows and 4 vectors of `out`: sixteen sums in registers."""
    at, step = out_rows
    a0, a1, a2, a3 = _load4(out, at)
    b0, b1, b2, b3 = _load4(out, at + step)
    c0, c1, c2, c3 = _load4(out, at + 2 * step)
    d0, d1, d2, d3 = _load4(out, at + 3 * step)
    for row in range(rows):
        g0, g1, g2, g3 = _load4(g, g_rows[0] + row * g_rows[1])
        place = x_rows[0] + row * x_rows[1]
        xa, xb = broadcast_at(x, place), broadcast_at(x, place + 1)
        xc, xd = broadcast_at(x, place + 2), broadcast_at(x, place + 3)
        a0, a1, a2, a3 = fma(xa, g0, a0), fma(xa, g1, a1), fma(xa, g2, a2), fma(xa, g3, a3)
        b0, b1, b2, b3 = fma(xb, g0, b0), fma(xb, g1, b1), fma(xb, g2, b2), fma(xb, g3, b3)
        c0, c1, c2, c3 = fma(xc, g0, c0), fma(xc, g1, c1), fma(xc, g2, c2), fma(xc, g3, c3)
        d0, d1, d2, d3 = fma(xd, g0, d0), fma(xd, g1, d1), fma(xd, g2, d2), fma(xd, g3, d3)
    _store4(out, at, a0, a1, a2, a3)
    _store4(out, at + step, b0, b1, b2, b3)
    _store4(out, at + 2 * step, c0, c1, c2, c3)
    _store4(out, at + 3 * step, d0, d1, d2, d3)


@njit(fastmath=FAST, forceinline=True)
def _narrow_sum(x, x_rows, g, g_rows, out, at, rows):
    """`accumulate` for one vector of `out`."""
    a = load(out, at)
    for row in range(rows):
        a = fma(broadcast_at(x, x_rows[0] + row * x_rows[1]), load(g, g_rows[0] + row * g_rows[1]), a)
    store(out, at, a)


@njit(fastmath=FAST, forceinline=True)
def _load4(x, at):
    return load(x, at), load(x, at + SIMD_WIDTH), load(x, at + 2 * SIMD_WIDTH), load(x, at + 3 * SIMD_WIDTH)


@njit(fastmath=FAST, forceinline=True)
def silu(x, at, count, h):
    """h = silu(x), and x is replaced by silu'(x), for `count` numbers of x from `at` on."""
    for k in range(0, count, SIMD_WIDTH):
        v = load(x, at + k)
        s = sigmoid(v)
        store(h, k, v * s)
        store(x, at + k, silu_slope(v, s))


@njit(fastmath=FAST, forceinline=True)
def multiply(x, at, count, h, g):
    """g = h x for `count` numbers of x from `at` on."""
    for k in range(0, count, SIMD_WIDTH):
        store(g, k, load(h, k) * load(x, at + k))


@njit(fastmath=FAST, forceinline=True)
def norms_of_halves(x, at, units, norms, epsilon):
    """(mean, 1/sqrt(variance + epsilon)) of the first and of the second half of a row; (0, 1) without norms."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if not len(norms):
        return zero, one, zero, one
    m, s = _mean_and_scale(x, at, units, epsilon)
    n, t = _mean_and_scale(x, at + units, units, epsilon)
    return m, s, n, t


@njit(fastmath=FAST, forceinline=True)
def _mean_and_scale(x, at, units, epsilon):
    sums = broadcast(x, 0.0)
    for u in range(0, units, SIMD_WIDTH):
        sums = sums + load(x, at + u)
    mean = total(sums) / x.dtype.type(units)
    squares = broadcast(x, 0.0)
    for u in range(0, units, SIMD_WIDTH):
        d = load(x, at + u) - mean
        squares = squares + d * d
    return mean, x.dtype.type(1 / math.sqrt(total(squares) / units + epsilon))


@njit(fastmath=FAST, forceinline=True)
def halves(x, at, units, u, norms, statistics):
    """Return 16 numbers of a and of b in the gate silu(a) σ(b): the halves of a row after their layer norms, if any.

    `statistics` is the result of `norms_of_halves`; `norms` is [scale and shift, value and gate, u], or has length 0.
    """
    m, s, n, t = statistics
    a, b = load(x, at + u), load(x, at + units + u)
    if len(norms):
        a = (a - m) * s * load(norms, u) + load(norms, 2 * units + u)
        b = (b - n) * t * load(norms, units + u) + load(norms, 3 * units + u)
    return a, b


@njit(fastmath=FAST, forceinline=True)
def halves_backward(x, at, units, norms, statistics, g, g_at):
    """Replace g, the gradients with respect to a and b, by those with respect to the halves before the layer norms."""
    if len(norms):
        m, s, n, t = statistics
        _norm_backward(x, (at, units), norms, 0, (m, s), g, g_at)
        _norm_backward(x, (at + units, units), norms, units, (n, t), g, g_at + units)


@njit(fastmath=FAST, forceinline=True)
def _norm_backward(x, half, norms, scales, statistics, g, g_at):
    """Gradient of n = (x - mean) scale: with d the gradient with respect to n, scale (d - mean(d) - n mean(d n)).

    `half` is (position, length), `statistics` (mean, scale).
    """
    (at, units), (mean, scale) = half, statistics
    sums, products = broadcast(x, 0.0), broadcast(x, 0.0)
    for u in range(0, units, SIMD_WIDTH):
        d = load(g, g_at + u) * load(norms, scales + u)
        store(g, g_at + u, d)
        sums = sums + d
        products = products + d * (load(x, at + u) - mean)
    shift, slope = total(sums) / x.dtype.type(units), total(products) * scale * scale / x.dtype.type(units)
    for u in range(0, units, SIMD_WIDTH):
        store(g, g_at + u, (load(g, g_at + u) - shift - (load(x, at + u) - mean) * slope) * scale)
