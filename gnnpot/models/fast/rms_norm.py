"""The norm of an atom's features, and its way back, on rows of padded channels.

    y_l = γ_l ⊙ x_l s,      s = 1/sqrt(ε + q),      q = Σ_l w_l |x_l|²                                              (1)

With h = γ ⊙ g from the gradient g of y,

    dE/dx_l = s h_l - s³ w_l x_l Σ h · x                                                                        (2)

Padding is zero throughout, and stays so.
"""

import math
from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.models.fast.kernels import FAST
from gnnpot.models.fast.lanes import LANES, fma, load, mul, splat, store, total


class Norm(NamedTuple):
    """γ and w of equation (1)."""

    factors: np.ndarray  #: [columns of all l]
    weights: np.ndarray  #: [l]
    epsilon: float


@njit(fastmath=FAST, forceinline=True)
def _first(where, l):
    """Where the rows of l begin, an atom's size and a row's."""
    places, first, atoms = where
    return places[l, 0] * atoms + first * places[l, 1], places[l, 1], places[l, 2]


@njit(fastmath=FAST, forceinline=True)
def _scale(norm, x, where, i):
    """s of atom i."""
    squares = splat(x, 0.0)
    for l in range(len(where[0])):
        begin, size, _ = _first(where, l)
        sum_l = splat(x, 0.0)
        for k in range(begin + i * size, begin + (i + 1) * size, LANES):
            sum_l = fma(load(x, k), load(x, k), sum_l)
        squares = fma(splat(x, norm.weights[l]), sum_l, squares)
    return x.dtype.type(1 / math.sqrt(total(squares) + norm.epsilon))


@njit(fastmath=FAST)
def normalize(norm, x, given, y, to, count):
    """Equation (1), of `count` atoms."""
    for i in range(count):
        scale, column = splat(x, _scale(norm, x, given, i)), 0
        for l in range(len(given[0])):
            (begin, size, width), (at, _, _) = _first(given, l), _first(to, l)
            for c in range(0, width, LANES):
                factor = mul(scale, load(norm.factors, column + c))
                for k in range(i * size + c, (i + 1) * size, width):
                    store(y, at + k, mul(factor, load(x, begin + k)))
            column += width


@njit(fastmath=FAST)
def normalize_backward(norm, x, given, g, where, count):
    """g <- equation (2), of `count` atoms."""
    for i in range(count):
        scale, along, column = _scale(norm, x, given, i), splat(x, 0.0), 0
        for l in range(len(given[0])):
            (begin, size, width), (at, _, _) = _first(given, l), _first(where, l)
            for c in range(0, width, LANES):
                factor = load(norm.factors, column + c)
                for k in range(i * size + c, (i + 1) * size, width):
                    h = mul(factor, load(g, at + k))
                    store(g, at + k, h)
                    along = fma(h, load(x, begin + k), along)
            column += width
        turn = -scale * scale * scale * total(along)
        for l in range(len(given[0])):
            (begin, size, _), (at, _, _) = _first(given, l), _first(where, l)
            by_x, by_h = splat(x, turn * norm.weights[l]), splat(x, scale)
            for k in range(i * size, (i + 1) * size, LANES):
                store(g, at + k, fma(by_h, load(g, at + k), mul(by_x, load(x, begin + k))))
