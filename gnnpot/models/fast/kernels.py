"""Passes over the features of edges, between two matrix products. All arrays are contiguous, rows run over edges.

σ is the logistic function, silu(x) = x σ(x). A forward kernel leaves the derivatives that the backward pass multiplies
with where its arguments were.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic, overload

#: no "reassoc": it would undo the rounding in `_sigmoid`
FAST = {"contract", "nsz", "arcp"}
#: sums in any order, so that they vectorise
SUMS = {"contract", "nsz", "arcp", "reassoc"}


@intrinsic
def _bits(typing_context, number):  # noqa: ANN001, ANN202
    """The bit pattern of a float32 or float64, as an integer of its size."""
    size, integer = (32, types.int32) if number == types.float32 else (64, types.int64)

    def generate(context, builder, signature, arguments):  # noqa: ANN001, ANN202
        return builder.bitcast(arguments[0], ir.IntType(size))

    return integer(number), generate


@intrinsic
def _float_of_bits(typing_context, bits):  # noqa: ANN001, ANN202
    """The float32 or float64 with the bit pattern of an integer of its size."""
    kind, number = (ir.FloatType(), types.float32) if bits == types.int32 else (ir.DoubleType(), types.float64)

    def generate(context, builder, signature, arguments):  # noqa: ANN001, ANN202
        return builder.bitcast(arguments[0], kind)

    return number(bits), generate


def _sigmoid(x):  # noqa: ANN001, ANN202 - numba fills it in for float32 and float64
    raise NotImplementedError


@overload(_sigmoid, inline="always")
def _sigmoid_of_type(x):  # noqa: ANN001, ANN202
    """σ(x) = 1/(1 + exp(-x)), exp(y) = 2^k exp(r), |r| <= ½ ln 2, by Taylor series, so that loops over it vectorise.

    Adding and taking away 1.5 · 2^(bits of the fraction) rounds y/ln 2 to the integer k, which then stands in the
    lowest bits; shifted to where the exponent is, it makes 2^k. ln 2 is taken in two parts, the first with so few
    digits that its product with k is exact.
    """
    single = x == types.float32
    f, integer, fraction = (np.float32, np.int32, 23) if single else (np.float64, np.int64, 52)
    limit, one, per_ln2, rounder = f(87 if single else 700), f(1), f(1 / math.log(2)), f(1.5 * 2**fraction)
    ln2 = f(0.693359375)
    ln2_rest = f(-2.121944400546905827679e-4)
    shift, exponent_of_one = integer(fraction), integer(np.array(1, f).view(integer))
    a0, a1, a2, a3, a4, a5, a6, a7 = (f(1 / math.factorial(n)) for n in range(8))
    if single:

        def sigmoid32(x):  # noqa: ANN001, ANN202
            y = min(max(-x, -limit), limit)
            t = y * per_ln2 + rounder
            k = t - rounder
            r = y - k * ln2 - k * ln2_rest
            p = (((((a6 * r + a5) * r + a4) * r + a3) * r + a2) * r + a1) * r + a0
            return one / (one + p * _float_of_bits(integer((_bits(t) << shift) + exponent_of_one)))

        return sigmoid32
    a8, a9, a10, a11, a12, a13 = (1 / math.factorial(n) for n in range(8, 14))

    def sigmoid64(x):  # noqa: ANN001, ANN202
        y = min(max(-x, -limit), limit)
        t = y * per_ln2 + rounder
        k = t - rounder
        r = y - k * ln2 - k * ln2_rest
        p = ((((((a13 * r + a12) * r + a11) * r + a10) * r + a9) * r + a8) * r + a7) * r + a6
        p = (((((p * r + a5) * r + a4) * r + a3) * r + a2) * r + a1) * r + a0
        return one / (one + p * _float_of_bits(integer((_bits(t) << shift) + exponent_of_one)))

    return sigmoid64


@njit(parallel=True, fastmath=FAST, cache=True)
def silu(x, h):
    """h = silu(x), x <- silu'(x)."""
    for row in prange(x.shape[0]):
        for j in range(x.shape[1]):
            s = _sigmoid(x[row, j])
            y = x[row, j] * s
            h[row, j] = y
            x[row, j] = s + y * (1 - s)


@njit(parallel=True, fastmath=FAST, cache=True)
def silu_of_sum(x, at_centre, at_neighbor, centre, neighbor, h):
    """h = silu(x + a_i + b_j) for edges i-j, x <- silu'. The halves of x go to h[0] and h[1].

    x [M, 2u], at_centre and at_neighbor [N, 2u], centre and neighbor [M], h [2, M, u].
    """
    units = h.shape[2]
    for row in prange(x.shape[0]):
        i, j = centre[row], neighbor[row]
        for half in range(2):
            start = half * units
            for u in range(units):
                z = x[row, start + u] + at_centre[i, start + u] + at_neighbor[j, start + u]
                s = _sigmoid(z)
                y = z * s
                h[half, row, u] = y
                x[row, start + u] = s + y * (1 - s)


@njit(parallel=True, fastmath=FAST, cache=True)
def gated_product(value, gate, weight, out):
    """y = silu(v) σ(g); out += y w; v <- ∂y/∂v w, g <- ∂y/∂g w, w <- y: the derivatives of what is added."""
    for row in prange(value.shape[0]):
        for u in range(value.shape[1]):
            v, w = value[row, u], weight[row, u]
            s, t = _sigmoid(v), _sigmoid(gate[row, u])
            h = v * s
            y = h * t
            out[row, u] += y * w
            value[row, u] = (s + h * (1 - s)) * t * w
            gate[row, u] = y * (1 - t) * w
            weight[row, u] = y


@njit(parallel=True, fastmath=FAST, cache=True)
def gated_sum(value, gate, weight, starts, out):
    """As `gated_product`, but the rows of edges of atom i, starts[i] to starts[i + 1], are added to row i of `out`."""
    for i in prange(len(starts) - 1):
        for row in range(starts[i], starts[i + 1]):
            for u in range(value.shape[1]):
                v, w = value[row, u], weight[row, u]
                s, t = _sigmoid(v), _sigmoid(gate[row, u])
                h = v * s
                y = h * t
                out[i, u] += y * w
                value[row, u] = (s + h * (1 - s)) * t * w
                gate[row, u] = y * (1 - t) * w
                weight[row, u] = y


@njit(parallel=True, fastmath=FAST, cache=True)
def gated_add(gates, index, out):
    """out[index] += y = silu(v) σ(g) for (v | g) in the rows of `gates`, which become (∂y/∂v | ∂y/∂g).

    No index twice: rows are written side by side.
    """
    units = out.shape[1]
    for row in prange(gates.shape[0]):
        i = index[row]
        for u in range(units):
            v = gates[row, u]
            s, t = _sigmoid(v), _sigmoid(gates[row, units + u])
            h = v * s
            out[i, u] += h * t
            gates[row, u] = (s + h * (1 - s)) * t
            gates[row, units + u] = h * t * (1 - t)


@njit(parallel=True, fastmath=FAST, cache=True)
def gather_multiply(gradient, index, gates):
    """(v | g) *= gradient[index], the backward pass of `gated_add`."""
    units = gradient.shape[1]
    for row in prange(gates.shape[0]):
        i = index[row]
        for u in range(units):
            gates[row, u] *= gradient[i, u]
            gates[row, units + u] *= gradient[i, u]


@njit(parallel=True, fastmath=FAST, cache=True)
def spread(gradient, derivatives, centre):
    """d[k, e] *= g[centre of e] for the three arrays of derivatives, [3, M, u]."""
    for row in prange(derivatives.shape[1]):
        i = centre[row]
        for k in range(3):
            for u in range(derivatives.shape[2]):
                derivatives[k, row, u] *= gradient[i, u]


@njit(parallel=True, fastmath=FAST, cache=True)
def sum_by_centre(rows, starts, out):
    """out[i] += the rows of atom i's edges."""
    for i in prange(len(starts) - 1):
        for row in range(starts[i], starts[i + 1]):
            for u in range(rows.shape[1]):
                out[i, u] += rows[row, u]


@njit(parallel=True, fastmath=FAST, cache=True)
def sum_by_neighbor(rows, order, starts, neighbors, out):
    """out[neighbors[k]] += the rows order[starts[k]], …, order[starts[k + 1] - 1]."""
    for k in prange(len(neighbors)):
        j = neighbors[k]
        for at in range(starts[k], starts[k + 1]):
            row = order[at]
            for u in range(rows.shape[1]):
                out[j, u] += rows[row, u]


@njit(parallel=True, fastmath=FAST, cache=True)
def silu_of(x, h):
    """h = silu(x)."""
    for row in prange(x.shape[0]):
        for j in range(x.shape[1]):
            h[row, j] = x[row, j] * _sigmoid(x[row, j])


@njit(parallel=True, fastmath=FAST, cache=True)
def silu_backward(x, g):
    """g *= silu'(x)."""
    for row in prange(x.shape[0]):
        for j in range(x.shape[1]):
            s = _sigmoid(x[row, j])
            g[row, j] *= s + x[row, j] * s * (1 - s)


@njit(parallel=True, fastmath=FAST, cache=True)
def gather_sum(x, add, a, i, b, j, c, k):
    """x = [x +] a[i] + b[j] + c[k], row by row."""
    for row in prange(x.shape[0]):
        at_a, at_b, at_c = i[row], j[row], k[row]
        if add:
            for u in range(x.shape[1]):
                x[row, u] += a[at_a, u] + b[at_b, u] + c[at_c, u]
        else:
            for u in range(x.shape[1]):
                x[row, u] = a[at_a, u] + b[at_b, u] + c[at_c, u]


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
def _mean_and_scale(x, epsilon):
    """Mean and 1/sqrt(variance + epsilon)."""
    mean = _sum(x) / x.dtype.type(len(x))
    square = x.dtype.type(0)
    for u in range(len(x)):
        square += (x[u] - mean) * (x[u] - mean)
    return mean, x.dtype.type(1 / math.sqrt(square / len(x) + epsilon))


@njit(parallel=True, fastmath=FAST, cache=True)
def gate(x, norms, epsilon, y):
    """y = silu(a) σ(b), (a | b) = x, each half after its layer norm; norms [scale and shift, value and gate, u]."""
    units = y.shape[1]
    for row in prange(x.shape[0]):
        value, other, out = x[row, :units], x[row, units:], y[row]
        if len(norms):
            (m, s), (n, t) = _mean_and_scale(value, epsilon), _mean_and_scale(other, epsilon)
            scale_a, scale_b, shift_a, shift_b = norms[0, 0], norms[0, 1], norms[1, 0], norms[1, 1]
            for u in range(units):
                a = (value[u] - m) * s * scale_a[u] + shift_a[u]
                b = (other[u] - n) * t * scale_b[u] + shift_b[u]
                out[u] = a * _sigmoid(a) * _sigmoid(b)
        else:
            for u in range(units):
                out[u] = value[u] * _sigmoid(value[u]) * _sigmoid(other[u])


@njit(parallel=True, fastmath=FAST, cache=True)
def gate_backward(x, norms, epsilon, g_y, g):
    """g = the gradient of x in `gate`, from that of y.

    Of a layer norm n = (x - m) s, with d the gradient of n: g = s (d - mean(d) - n mean(d n)).
    """
    units = g_y.shape[1]
    for row in prange(x.shape[0]):
        value, other, grad = x[row, :units], x[row, units:], g_y[row]
        to_value, to_other = g[row, :units], g[row, units:]
        if len(norms):
            (m, s), (n, t) = _mean_and_scale(value, epsilon), _mean_and_scale(other, epsilon)
            scale_a, scale_b, shift_a, shift_b = norms[0, 0], norms[0, 1], norms[1, 0], norms[1, 1]
            for u in range(units):
                a = (value[u] - m) * s * scale_a[u] + shift_a[u]
                b = (other[u] - n) * t * scale_b[u] + shift_b[u]
                p, q = _sigmoid(a), _sigmoid(b)
                h = a * p
                to_value[u] = grad[u] * (p + h * (1 - p)) * q * scale_a[u]
                to_other[u] = grad[u] * h * q * (1 - q) * scale_b[u]
            _norm_backward(value, m, s, to_value)
            _norm_backward(other, n, t, to_other)
        else:
            for u in range(units):
                a, p, q = value[u], _sigmoid(value[u]), _sigmoid(other[u])
                h = a * p
                to_value[u] = grad[u] * (p + h * (1 - p)) * q
                to_other[u] = grad[u] * h * q * (1 - q)


@njit(fastmath=SUMS)
def _norm_backward(x, mean, scale, d):
    """d <- the gradient of x, from that of its layer norm without scale and shift."""
    units = x.dtype.type(len(x))
    total = _sum(d)
    along = (_dot(d, x) - mean * total) * scale / units
    total = total / units
    for u in range(len(x)):
        d[u] = scale * (d[u] - total - (x[u] - mean) * scale * along)


@njit(parallel=True, fastmath=FAST, cache=True)
def weighted_sum(y, weights, index, starts, out):
    """out[g] = Σ of y w[index] over rows starts[g] to starts[g + 1]."""
    for g in prange(len(starts) - 1):
        total = out[g]
        total[:] = 0
        for row in range(starts[g], starts[g + 1]):
            w = weights[index[row]]
            for u in range(len(total)):
                total[u] += y[row, u] * w[u]


@njit(parallel=True, fastmath=FAST, cache=True)
def weighted_sum_backward(y, weights, index, starts, g_out, g_weights):
    """From the gradient of `out` in `weighted_sum`: of each row's weight, in `g_weights`, and of y, in its place."""
    for g in prange(len(starts) - 1):
        for row in range(starts[g], starts[g + 1]):
            w = weights[index[row]]
            for u in range(y.shape[1]):
                g_weights[row, u] = y[row, u] * g_out[g, u]
                y[row, u] = w[u] * g_out[g, u]


@njit(parallel=True, fastmath=FAST, cache=True)
def sum_groups(rows, starts, order, out):
    """out[g] = Σ of the rows order[starts[g]], …, order[starts[g + 1] - 1]."""
    for g in prange(len(starts) - 1):
        total = out[g]
        total[:] = 0
        for at in range(starts[g], starts[g + 1]):
            row = rows[order[at]]
            for u in range(len(total)):
                total[u] += row[u]
