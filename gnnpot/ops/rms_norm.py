"""Equivariant RMS norm: all features of an atom are divided by one scale, to which each l contributes with a weight.

    y_l = γ_l ⊙ x_l s,      s = 1/sqrt(ε + q),      q = Σ_l w_l |x_l|²,      w_l = 1/(L (2l+1)²)                 (1)

where L is the number of values of l. With the gradient g with respect to y, h = γ ⊙ g, and the tangent ẋ,

    pullback:   dE/dx_l = s h_l - s³ w_l x_l Σ h · x,        dE/dγ_l = Σ_m g_l ⊙ x_l s                            (2)
    tangent:    ẏ_l = γ_l ⊙ (s ẋ_l - s³ x_l Σ_l w_l x_l · ẋ_l)                                                     (3)

This is the norm of Nequix; eSEN and EquiformerV2 (Liao et al., ICLR 2024) use the mean of the squares instead of q.
`rms_norm` is the reference implementation; PyTorch can differentiate it any number of times, in forward and reverse
mode. `normalize` and `normalize_backward` are for kernels, on flat arrays (`rows.py`).
"""

import math
import operator
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit
from gnnpot.ops.rows import begin
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, fma, load, mul, store, total


def degree_weights(count: int) -> list[float]:
    """w_l of equation (1) for l = 0 to `count` - 1."""
    return [1 / (count * (2 * l + 1) ** 2) for l in range(count)]


def rms_norm(features: Sequence[Tensor], factors: Sequence[Tensor], epsilon: float) -> list[Tensor]:
    """Equation (1).

    Args:
        features: x_l [N, 2l+1, channels] for each l.
        factors: γ_l [channels] for each l.
        epsilon: ε.

    Returns:
        y_l, with the shapes of the features.
    """
    weights = degree_weights(len(features))
    squares = reduce(operator.add, (w * x.square().sum((1, 2)) for w, x in zip(weights, features, strict=True)))
    scale = torch.rsqrt(squares + epsilon)[:, None, None]
    return [x * scale * f for x, f in zip(features, factors, strict=True)]


class Norm(NamedTuple):
    """Constants of equation (1) for kernels; without factors there is no norm."""

    factors: np.ndarray  #: [columns of all l] γ
    weights: np.ndarray  #: [l] w
    epsilon: float  #: ε


@njit(fastmath=FAST, forceinline=True)
def _scale(norm, x, where, i):
    """The scale s of atom i."""
    squares = broadcast(x, 0.0)
    for l in range(len(where[0])):
        at, size = begin(where, l), where[0][l, 1]
        sum_l = broadcast(x, 0.0)
        for k in range(at + i * size, at + (i + 1) * size, SIMD_WIDTH):
            sum_l = fma(load(x, k), load(x, k), sum_l)
        squares = fma(broadcast(x, norm.weights[l]), sum_l, squares)
    return x.dtype.type(1 / math.sqrt(total(squares) + norm.epsilon))


@njit(fastmath=FAST)
def normalize(norm, x, given, y, to, count):
    """Equation (1) for `count` atoms; `given` and `to` locate their rows in x and y (`rows.where`)."""
    for i in range(count):
        scale, column = broadcast(x, _scale(norm, x, given, i)), 0
        for l in range(len(given[0])):
            from_, at, size, width = begin(given, l), begin(to, l), given[0][l, 1], given[0][l, 2]
            for c in range(0, width, SIMD_WIDTH):
                factor = mul(scale, load(norm.factors, column + c))
                for k in range(i * size + c, (i + 1) * size, width):
                    store(y, at + k, mul(factor, load(x, from_ + k)))
            column += width


@njit(fastmath=FAST)
def normalize_backward(norm, x, given, g, where, count):
    """Replace the gradient g with respect to y by the gradient with respect to x, equation (2), for `count` atoms."""
    for i in range(count):
        scale, along, column = _scale(norm, x, given, i), broadcast(x, 0.0), 0
        for l in range(len(given[0])):
            from_, at, size, width = begin(given, l), begin(where, l), given[0][l, 1], given[0][l, 2]
            for c in range(0, width, SIMD_WIDTH):
                factor = load(norm.factors, column + c)
                for k in range(i * size + c, (i + 1) * size, width):
                    h = mul(factor, load(g, at + k))
                    store(g, at + k, h)
                    along = fma(h, load(x, from_ + k), along)
            column += width
        turn = -scale * scale * scale * total(along)
        for l in range(len(given[0])):
            from_, at, size = begin(given, l), begin(where, l), given[0][l, 1]
            by_x, by_h = broadcast(x, turn * norm.weights[l]), broadcast(x, scale)
            for k in range(i * size, (i + 1) * size, SIMD_WIDTH):
                store(g, at + k, fma(by_h, load(g, at + k), mul(by_x, load(x, from_ + k))))
