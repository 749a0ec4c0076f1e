"""Passes over the features of edges, between two matrix products. All arrays are contiguous, rows run over edges.

σ is the logistic function, silu(x) = x σ(x). A forward kernel leaves the derivatives that the backward pass multiplies
with where its arguments were.
"""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic, overload

FAST = {"reassoc", "contract", "nsz", "arcp"}


@intrinsic
def _float32_of_bits(typing_context, bits):  # noqa: ANN001, ANN202
    """The float32 with the bit pattern of an int32."""

    def generate(context, builder, signature, arguments):  # noqa: ANN001, ANN202
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _float64_of_bits(typing_context, bits):  # noqa: ANN001, ANN202
    """The float64 with the bit pattern of an int64."""

    def generate(context, builder, signature, arguments):  # noqa: ANN001, ANN202
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


def _sigmoid(x):  # noqa: ANN001, ANN202 - numba fills it in for float32 and float64
    raise NotImplementedError


@overload(_sigmoid, inline="always")
def _sigmoid_of_type(x):  # noqa: ANN001, ANN202
    """σ(x) = 1/(1 + exp(-x)), exp(y) = 2^k exp(r), |r| <= ½ ln 2, by Taylor series, so that loops over it vectorise."""
    if x == types.float32:
        f = np.float32
        one, half, limit, per_ln2, bias, shift = f(1), f(0.5), f(87), f(1 / np.log(2)), np.int32(127), np.int32(23)
        # ln 2 in two parts: the first has so few digits that its product with k is exact
        ln2, ln2_rest = f(0.693359375), f(np.log(2) - 0.693359375)
        c2, c3, c4, c5, c6, c7 = (f(1 / n) for n in range(2, 8))

        def sigmoid32(x):  # noqa: ANN001, ANN202
            y = min(max(-x, -limit), limit)
            k = np.int32(y * per_ln2 + (half if y > 0 else -half))
            r = y - k * ln2 - k * ln2_rest
            p = one + r * c4 * (one + r * c5 * (one + r * c6 * (one + r * c7)))
            p = one + r * (one + r * c2 * (one + r * c3 * p))
            return one / (one + p * _float32_of_bits((k + bias) << shift))

        return sigmoid32
    long_ln2 = float(np.float32(np.log(2)))
    long_rest = float(np.log(2)) - long_ln2

    def sigmoid64(x):  # noqa: ANN001, ANN202
        y = min(max(-x, -700.0), 700.0)
        k = np.int64(y / 0.6931471805599453 + (0.5 if y > 0 else -0.5))
        r = y - k * long_ln2 - k * long_rest
        p = 1 + r / 10 * (1 + r / 11 * (1 + r / 12 * (1 + r / 13)))
        p = 1 + r / 6 * (1 + r / 7 * (1 + r / 8 * (1 + r / 9 * p)))
        p = 1 + r * (1 + r / 2 * (1 + r / 3 * (1 + r / 4 * (1 + r / 5 * p))))
        return 1 / (1 + p * _float64_of_bits((k + 1023) << 52))

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
