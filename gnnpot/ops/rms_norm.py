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
from gnnpot.ops.rows import row_offset
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
def _scale(norm, x, location, i):
    """The scale s of atom i."""
    squares = broadcast(x, 0.0)
    for l in range(len(location[0])):
        at, size = row_offset(location, l), location[0][l, 1]
        sum_l = broadcast(x, 0.0)
        for k in range(at + i * size, at + (i + 1) * size, SIMD_WIDTH):
            sum_l = fma(load(x, k), load(x, k), sum_l)
        squares = fma(broadcast(x, norm.weights[l]), sum_l, squares)
    return x.dtype.type(1 / math.sqrt(total(squares) + norm.epsilon))


@njit(fastmath=FAST)
def normalize(norm, x, x_location, y, y_location, count):
    """Equation (1) for `count` atoms; `x_location` and `y_location` locate their rows in x and y (`rows.locate`)."""
    for i in range(count):
        scale, column = broadcast(x, _scale(norm, x, x_location, i)), 0
        for l in range(len(x_location[0])):
            x_at, y_at, size, width = (
                row_offset(x_location, l), row_offset(y_location, l), x_location[0][l, 1], x_location[0][l, 2],
            )  # fmt: skip
            for c in range(0, width, SIMD_WIDTH):
                factor = mul(scale, load(norm.factors, column + c))
                for k in range(i * size + c, (i + 1) * size, width):
                    store(y, y_at + k, mul(factor, load(x, x_at + k)))
            column += width


@njit(fastmath=FAST)
def normalize_backward(norm, x, x_location, g, g_location, count):
    """Equation (2): replace the gradient g with respect to y by the gradient with respect to x, for `count` atoms.

    `x_location` and `g_location` locate their rows in x and g.
    """
    for i in range(count):
        scale, h_dot_x, column = _scale(norm, x, x_location, i), broadcast(x, 0.0), 0
        for l in range(len(x_location[0])):
            x_at, g_at, size, width = (
                row_offset(x_location, l), row_offset(g_location, l), x_location[0][l, 1], x_location[0][l, 2],
            )  # fmt: skip
            for c in range(0, width, SIMD_WIDTH):
                factor = load(norm.factors, column + c)
                for k in range(i * size + c, (i + 1) * size, width):
                    h = mul(factor, load(g, g_at + k))
                    store(g, g_at + k, h)
                    h_dot_x = fma(h, load(x, x_at + k), h_dot_x)
            column += width
        slope = -scale * scale * scale * total(h_dot_x)
        for l in range(len(x_location[0])):
            x_at, g_at, size = row_offset(x_location, l), row_offset(g_location, l), x_location[0][l, 1]
            x_factor, h_factor = broadcast(x, slope * norm.weights[l]), broadcast(x, scale)
            for k in range(i * size, (i + 1) * size, SIMD_WIDTH):
                store(g, g_at + k, fma(h_factor, load(g, g_at + k), mul(x_factor, load(x, x_at + k))))
