"""Weights of a convolution from a table of distances, with cubic Hermite interpolation.

Between two points 0 and 1 of the table, at the fraction t of the interval,

    f  = f_0 + b f_0' + c (f_1 - f_0) + d f_1',     b = t (1 - t)²,  c = t² (3 - 2 t),  d = t² (t - 1)             (1)
    f' = b' f_0' + c' (f_1 - f_0) + d' f_1'                                                                      (2)

The table is [points, 3, weights] with the slope f', the value f, and the difference f_1 - f_0 to the next point. The
difference is stored because the difference of values in single precision would be too inaccurate for slopes.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast_at, fma, load, mul, store

#: number of factors per edge: b, c, d and their derivatives b', c', d'
_FACTORS = 6


class Places(NamedTuple):
    """Places of the distances of an atom's edges in the table; the arrays are large enough for any atom."""

    rows: np.ndarray  #: [edges] position of the table point below each distance
    factors: np.ndarray  #: [edges, _FACTORS] interpolation factors


@njit(fastmath=FAST, forceinline=True)
def new_places(edges, first, last, like):
    """Allocate `Places` for the edges of any of the atoms `first` <= i < `last`."""
    most = 0
    for i in range(first, last):
        most = max(most, edges.starts[i + 1] - edges.starts[i])
    return Places(np.empty(most, np.int64), np.empty(_FACTORS * most, like.dtype))


@njit(fastmath=FAST, forceinline=True)
def set_places(plan, edges, i, places):
    """Set the places of the edges of atom i."""
    first = edges.starts[i]
    for k in range(edges.starts[i + 1] - first):
        position = edges.distances[first + k] * plan.per_step
        point = min(int(position), plan.table.shape[0] - 2)
        t = position - point
        places.rows[k] = 3 * point * plan.table.shape[2]
        at = _FACTORS * k
        places.factors[at] = t * (1 - t) * (1 - t)
        places.factors[at + 1] = t * t * (3 - 2 * t)
        places.factors[at + 2] = t * t * (t - 1)
        places.factors[at + 3] = (1 - t) * (1 - 3 * t)
        places.factors[at + 4] = 6 * t * (1 - t)
        places.factors[at + 5] = t * (3 * t - 2)


@njit(fastmath=FAST, forceinline=True)
def place_of(places, k):
    """Place of the k-th edge: position in the table, and factors as SIMD vectors, which then stay in registers."""
    at, factors = _FACTORS * k, places.factors
    values = broadcast_at(factors, at), broadcast_at(factors, at + 1), broadcast_at(factors, at + 2)
    slopes = broadcast_at(factors, at + 3), broadcast_at(factors, at + 4), broadcast_at(factors, at + 5)
    return places.rows[k], values, slopes


@njit(fastmath=FAST, forceinline=True)
def weight_at(table, place, column):
    """Equation (1) for the 16 weights from `column` on."""
    row, (b, c, d), _ = place
    row, width = row + column, table.shape[2]
    value = fma(b, load(table, row), load(table, row + width))
    value = fma(d, load(table, row + 3 * width), value)
    return fma(c, load(table, row + 2 * width), value)


@njit(fastmath=FAST, forceinline=True)
def slope_at(table, place, column):
    """Equation (2) for the 16 weights from `column` on, per table interval; `per_step` times it is the slope per Å."""
    row, _, (b, c, d) = place
    row, width = row + column, table.shape[2]
    slope = fma(d, load(table, row + 3 * width), mul(b, load(table, row)))
    return fma(c, load(table, row + 2 * width), slope)


@njit(fastmath=FAST, forceinline=True)
def interpolate(table, place, first, count, weights):
    """Set the `count` weights from column `first` on in `weights`, which has an entry for each column."""
    for c in range(first, first + count, SIMD_WIDTH):
        store(weights, c, weight_at(table, place, c))


@njit(fastmath=FAST, forceinline=True)
def interpolate_both(table, place, first, count, weights, slopes):
    """`interpolate` for weights and slopes."""
    for c in range(first, first + count, SIMD_WIDTH):
        store(weights, c, weight_at(table, place, c))
        store(slopes, c, slope_at(table, place, c))
