"""Kernels of the tensor product for training: values, first and second derivatives, each in one pass over the bonds.

For a bond between atoms i and j and a path p = (l1, l2, l3), with the weights w_p and the harmonics Y of the direction
from i to j (those from j to i are s Y with s = (-1)^l2),

    R_p[m3, m1] = Σ_m2 C_p[m2, m3, m1] Y[m2],      out_i += R_p (w_p ⊙ x_j),   out_j += s R_p (w_p ⊙ x_i)       (1)

where ⊙ multiplies channel by channel, and R_p acts on m, with the same matrix for all channels. With the gradients g
with respect to `out`, the scalar S = Σ g · out is linear in each of g, x, Y and w. The backward pass is the derivative
of S. Here and below, the second half of each sum, with i and j exchanged and the factor s, is omitted:

    ∂S/∂x_j = w ⊙ R^T g_i,     ∂S/∂w = Σ_m x_j ⊙ R^T g_i,     ∂S/∂R[m3, m1] = Σ_c g_i[m3] w x_j[m1]              (2)

The second derivative, given the gradients h_x, h_Y and h_w with respect to these three results, is the derivative with
respect to g, x, Y and w of

    L = S(g, h_x, Y, w) + S(g, x, h_Y, w) + S(g, x, Y, h_w).                                                   (3)

With Q[m3, m1] = Σ_m2 C_p[m2, m3, m1] h_Y[m2] and u = w ⊙ h_x + h_w ⊙ x:

    ∂L/∂g_i = R u_j + Q (w ⊙ x_j),                    ∂L/∂x_j = w ⊙ Q^T g_i + h_w ⊙ R^T g_i,
    ∂L/∂w   = Σ_m h_x,j ⊙ R^T g_i + x_j ⊙ Q^T g_i,    ∂L/∂R[m3, m1] = Σ_c g_i[m3] u_j[m1]                        (4)

Arrays are laid out as in `layout.py`. Bonds are divided into one part per thread. Sums at atoms have an array for each
part, because bonds of two parts can share an atom.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit, prange
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vectors import SIMD_WIDTH, aligned, broadcast, broadcast_at, fma, load, mul, store, total
from gnnpot.ops.tensor_product.edges import add_harmonics_gradient, largest_rotation, set_rotation
from gnnpot.ops.tensor_product.layout import (
    COLUMN,
    FEATURE,
    FEATURE_SIZE,
    N1,
    N3,
    OUT,
    OUT_ROW,
    OUT_SIZE,
    SIGN,
    WEIGHT,
    WIDTH,
)  # fmt: skip


class BondArrays(NamedTuple):
    """U bonds, and the paths of their products."""

    ends: np.ndarray  #: [U, 2] atoms i and j
    parts: np.ndarray  #: [threads + 1] first bond of each thread, and the end of the last
    paths: np.ndarray  #: table of paths, see `ProductLayout`
    atoms: int  #: number of atoms


class Factors(NamedTuple):
    """The factors x, Y and w of the product; also used for the gradients with respect to them, and for h."""

    x: np.ndarray  #: features, flat; gradients are [parts, features]
    harmonics: np.ndarray  #: [U, harmonics]
    weights: np.ndarray  #: [U, weights]


@njit(parallel=True, fastmath=FAST, cache=True)
def convolve(factors, bonds, constants, out):
    """Add equation (1) to `out` [parts, messages]."""
    paths, parts, x = bonds.paths, bonds.parts, factors.x
    for part in prange(len(parts) - 1):
        rotation, sums = aligned(largest_rotation(paths), x), out[part]
        wx_i, wx_j = aligned(_largest_features(paths), x), aligned(_largest_features(paths), x)
        for b in range(parts[part], parts[part + 1]):
            for p in range(len(paths)):
                _, _, _, g_i, g_j = _prepare_path(factors, bonds, constants, b, p, rotation, wx_i, wx_j)
                _add_messages(rotation, wx_i, wx_j, paths, p, sums, g_i, g_j)


@njit(parallel=True, fastmath=FAST, cache=True)
def convolve_backward(g, factors, bonds, constants, gradients):
    """Equation (2): add to `gradients.x`, and set `gradients.harmonics` and `gradients.weights`."""
    paths, parts, (x, harmonics, _), (g_x, g_harmonics, g_weights) = bonds.paths, bonds.parts, factors, gradients
    for part in prange(len(parts) - 1):
        rotation, products = aligned(largest_rotation(paths), x), aligned(largest_rotation(paths) * SIMD_WIDTH, x)
        wx_i, wx_j = aligned(_largest_features(paths), x), aligned(_largest_features(paths), x)
        sums, g_x_part = aligned(harmonics.shape[1] * SIMD_WIDTH, x), g_x[part]
        for b in range(parts[part], parts[part + 1]):
            sums[:] = 0
            for p in range(len(paths)):
                positions = _prepare_path(factors, bonds, constants, b, p, rotation, wx_i, wx_j)
                _rotation_gradient(g, positions, wx_i, wx_j, paths, p, products)
                add_harmonics_gradient(products, constants, paths, p, sums)
                _backward(g, positions, rotation, factors, paths, p, g_x_part, g_weights)
            for m in range(harmonics.shape[1]):
                g_harmonics[b, m] = total(load(sums, m * SIMD_WIDTH))


@njit(parallel=True, fastmath=FAST, cache=True)
def convolve_double_backward(g, factors, h, bonds, constants, g_g, gradients):
    """Equation (4): add to `g_g`, the gradient with respect to g [parts, messages], and to `gradients.x`.

    Sets `gradients.harmonics` and `gradients.weights`.
    """
    paths, parts, (x, harmonics, _), (g_x, g_harmonics, g_weights) = bonds.paths, bonds.parts, factors, gradients
    for part in prange(len(parts) - 1):
        rotation, h_rotation = aligned(largest_rotation(paths), x), aligned(largest_rotation(paths), x)
        products, sums = aligned(largest_rotation(paths) * SIMD_WIDTH, x), aligned(harmonics.shape[1] * SIMD_WIDTH, x)
        # w ⊙ x of both ends at first, then u
        u_i, u_j = aligned(_largest_features(paths), x), aligned(_largest_features(paths), x)
        g_g_part, g_x_part = g_g[part], g_x[part]
        for b in range(parts[part], parts[part + 1]):
            sums[:] = 0
            for p in range(len(paths)):
                positions = w, x_i, x_j, g_i, g_j = _prepare_path(factors, bonds, constants, b, p, rotation, u_i, u_j)
                set_rotation(h.harmonics, b * harmonics.shape[1], constants.all, paths, p, h_rotation)
                _add_messages(h_rotation, u_i, u_j, paths, p, g_g_part, g_i, g_j)
                _weighted_tangent(factors, h, x_j, w, paths, p, 1, u_j)
                _weighted_tangent(factors, h, x_i, w, paths, p, paths[p, SIGN], u_i)
                _add_messages(rotation, u_i, u_j, paths, p, g_g_part, g_i, g_j)
                _rotation_gradient(g, positions, u_i, u_j, paths, p, products)
                add_harmonics_gradient(products, constants, paths, p, sums)
                _double_backward(g, positions, rotation, h_rotation, factors, h, paths, p, g_x_part, g_weights)
            for m in range(harmonics.shape[1]):
                g_harmonics[b, m] = total(load(sums, m * SIMD_WIDTH))


@njit(fastmath=FAST, forceinline=True)
def _prepare_path(factors, bonds, constants, b, p, rotation, wx_i, wx_j):
    """Set R and the weighted features of path p at both ends of bond b.

    Returns the positions of the weights, of the features of i and j, and of the messages of i and j.
    """
    (x, harmonics, weights), paths, atoms = factors, bonds.paths, bonds.atoms
    i, j, w = bonds.ends[b, 0], bonds.ends[b, 1], b * weights.shape[1] + paths[p, WEIGHT]
    set_rotation(harmonics, b * harmonics.shape[1], constants.all, paths, p, rotation)
    x_i = paths[p, FEATURE] * atoms + i * paths[p, FEATURE_SIZE]
    x_j = paths[p, FEATURE] * atoms + j * paths[p, FEATURE_SIZE]
    _weighted(x, x_j, weights, w, paths, p, 1, wx_j)
    _weighted(x, x_i, weights, w, paths, p, paths[p, SIGN], wx_i)
    out = paths[p, OUT] * atoms + paths[p, COLUMN]
    return w, x_i, x_j, out + i * paths[p, OUT_SIZE], out + j * paths[p, OUT_SIZE]


@njit(fastmath=FAST, forceinline=True)
def _largest_features(paths):
    """Largest size of an atom's features in any path."""
    size = 0
    for p in range(len(paths)):
        size = max(size, paths[p, N1] * paths[p, WIDTH])
    return size


@njit(fastmath=FAST, forceinline=True)
def _weighted(x, feature, weights, w, paths, p, sign, rows):
    """rows = sign w ⊙ x, [m1, channels]."""
    width, factor = paths[p, WIDTH], broadcast(x, sign)
    for c in range(0, width, SIMD_WIDTH):
        weight = mul(factor, load(weights, w + c))
        for m1 in range(paths[p, N1]):
            store(rows, m1 * width + c, mul(weight, load(x, feature + m1 * width + c)))


@njit(fastmath=FAST, forceinline=True)
def _weighted_tangent(factors, h, feature, w, paths, p, sign, rows):
    """rows = sign u of equation (4), [m1, channels]."""
    (x, _, weights), (h_x, _, h_weights) = factors, h
    width, factor = paths[p, WIDTH], broadcast(x, sign)
    for c in range(0, width, SIMD_WIDTH):
        weight, h_weight = mul(factor, load(weights, w + c)), mul(factor, load(h_weights, w + c))
        for m1 in range(paths[p, N1]):
            position = feature + m1 * width + c
            store(rows, m1 * width + c, fma(weight, load(h_x, position), mul(h_weight, load(x, position))))


@njit(fastmath=FAST, forceinline=True)
def _add_messages(rotation, wx_i, wx_j, paths, p, out, at_i, at_j):
    """Add R times the weighted features of j to the messages of i, and those of i to the messages of j."""
    n1, n3, row, width = paths[p, N1], paths[p, N3], paths[p, OUT_ROW], paths[p, WIDTH]
    for c in range(0, width, SIMD_WIDTH):
        for m3 in range(n3):
            sum_i, sum_j = broadcast(out, 0.0), broadcast(out, 0.0)
            for m1 in range(n1):
                r = broadcast_at(rotation, m3 * n1 + m1)
                sum_i = fma(r, load(wx_j, m1 * width + c), sum_i)
                sum_j = fma(r, load(wx_i, m1 * width + c), sum_j)
            # one after the other: both ends may be the same atom
            _add(out, at_i + m3 * row + c, sum_i)
            _add(out, at_j + m3 * row + c, sum_j)


@njit(fastmath=FAST, forceinline=True)
def _add(array, position, vector):
    store(array, position, fma(broadcast(array, 1.0), vector, load(array, position)))


@njit(fastmath=FAST, forceinline=True)
def _rotation_gradient(g, positions, wx_i, wx_j, paths, p, products):
    """∂S/∂R or ∂L/∂R, [(m3, m1), SIMD_WIDTH]; the sum over vector elements, which is slow, is done later."""
    _, _, _, g_i, g_j = positions
    n1, row, width = paths[p, N1], paths[p, OUT_ROW], paths[p, WIDTH]
    for m3 in range(paths[p, N3]):
        for m1 in range(n1):
            t, s = broadcast(g, 0.0), broadcast(g, 0.0)
            for c in range(0, width, SIMD_WIDTH):
                t = fma(load(g, g_i + m3 * row + c), load(wx_j, m1 * width + c), t)
                s = fma(load(g, g_j + m3 * row + c), load(wx_i, m1 * width + c), s)
            store(products, (m3 * n1 + m1) * SIMD_WIDTH, fma(broadcast(g, 1.0), s, t))


@njit(fastmath=FAST, forceinline=True)
def _backward(g, positions, rotation, factors, paths, p, g_x, g_weights):
    """∂S/∂x and ∂S/∂w of equation (2)."""
    (w, x_i, x_j, g_i, g_j), (x, _, weights) = positions, factors
    n1, row, width, sign = paths[p, N1], paths[p, OUT_ROW], paths[p, WIDTH], broadcast(x, paths[p, SIGN])
    for c in range(0, width, SIMD_WIDTH):
        weight, dot = load(weights, w + c), broadcast(x, 0.0)
        for m1 in range(n1):
            rg_i, rg_j = broadcast(x, 0.0), broadcast(x, 0.0)
            for m3 in range(paths[p, N3]):
                r = broadcast_at(rotation, m3 * n1 + m1)
                rg_j = fma(r, load(g, g_i + m3 * row + c), rg_j)
                rg_i = fma(r, load(g, g_j + m3 * row + c), rg_i)
            rg_i, offset = mul(sign, rg_i), m1 * width + c
            dot = fma(load(x, x_j + offset), rg_j, fma(load(x, x_i + offset), rg_i, dot))
            store(g_x, x_j + offset, fma(weight, rg_j, load(g_x, x_j + offset)))
            store(g_x, x_i + offset, fma(weight, rg_i, load(g_x, x_i + offset)))
        store(g_weights, w + c, dot)


@njit(fastmath=FAST, forceinline=True)
def _double_backward(g, positions, rotation, h_rotation, factors, h, paths, p, g_x, g_weights):
    """∂L/∂x and ∂L/∂w of equation (4)."""
    (w, x_i, x_j, g_i, g_j), (x, _, weights), (h_x, _, h_weights) = positions, factors, h
    n1, row, width, sign = paths[p, N1], paths[p, OUT_ROW], paths[p, WIDTH], broadcast(x, paths[p, SIGN])
    for c in range(0, width, SIMD_WIDTH):
        weight, h_weight, dot = load(weights, w + c), load(h_weights, w + c), broadcast(x, 0.0)
        for m1 in range(n1):
            rg_i, rg_j, qg_i, qg_j = broadcast(x, 0.0), broadcast(x, 0.0), broadcast(x, 0.0), broadcast(x, 0.0)
            for m3 in range(paths[p, N3]):
                r, q = broadcast_at(rotation, m3 * n1 + m1), broadcast_at(h_rotation, m3 * n1 + m1)
                vector_i, vector_j = load(g, g_i + m3 * row + c), load(g, g_j + m3 * row + c)
                rg_j, qg_j = fma(r, vector_i, rg_j), fma(q, vector_i, qg_j)
                rg_i, qg_i = fma(r, vector_j, rg_i), fma(q, vector_j, qg_i)
            rg_i, qg_i, offset = mul(sign, rg_i), mul(sign, qg_i), m1 * width + c
            for k, rg, qg in ((x_j + offset, rg_j, qg_j), (x_i + offset, rg_i, qg_i)):
                dot = fma(load(h_x, k), rg, fma(load(x, k), qg, dot))
                store(g_x, k, fma(weight, qg, fma(h_weight, rg, load(g_x, k))))
        store(g_weights, w + c, dot)
