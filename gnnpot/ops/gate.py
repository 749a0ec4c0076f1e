"""Gated nonlinearity: silu acts on the scalars; features with l > 0 are multiplied by the silu of a gate scalar.

    y_0 = a(s),      y_l = x_l a(s_l),      a(s) = κ silu(s) = κ s σ(s)                                            (1)

The scalars s and the gates s_l are side by side as channels of l = 0; each channel of l > 0 has its own gate. κ
normalises a: the mean square of a(z) is 1 for normally distributed z. With the gradient g with respect to y, and the
tangents ẋ and ṡ,

    pullback:   dE/ds = g_0 a'(s),   dE/ds_l = a'(s_l) Σ_m g_l ⊙ x_l,   dE/dx_l = g_l a(s_l)                       (2)
    tangent:    ẏ_0 = a'(s) ṡ,       ẏ_l = ẋ_l a(s_l) + x_l a'(s_l) ṡ_l                                             (3)

Source: Batzner et al., Nat. Commun. 13, 2453 (2022). `gated_features` is the reference implementation; PyTorch can
differentiate it any number of times, in forward and reverse mode. `gate` and `gate_backward` are for kernels, on flat
arrays (`rows.py`).
"""

from collections.abc import Sequence

from torch import Tensor

from gnnpot.compiler.decorator import njit
from gnnpot.ops.activations import SILU_SCALE, silu
from gnnpot.ops.rows import row_offset
from gnnpot.ops.simd.kernels import FAST, sigmoid
from gnnpot.ops.simd.vector_math import silu_slope
from gnnpot.ops.simd.vectors import SIMD_WIDTH, load, store


def gated_features(features: Sequence[Tensor], channels: Sequence[int]) -> list[Tensor]:
    """Equation (1).

    Args:
        features: Scalars and gates [N, 1, sum of `channels`] for l = 0, then x_l [N, 2l+1, channels[l]] for each l > 0.
        channels: Number of channels of y_l for each l.

    Returns:
        y_l [N, 2l+1, channels[l]] for each l.
    """
    scalars, *gates = (SILU_SCALE * silu(features[0])).split(list(channels), dim=-1)
    return [scalars, *(x * g for x, g in zip(features[1:], gates, strict=True))]


@njit(fastmath=FAST)
def gate(gates, x, x_location, y, y_location, count):
    """Equation (1) on flat arrays for `count` atoms.

    `gates` [l] is the first channel of s (l = 0) and of the gates s_l. `x_location` and `y_location` locate the rows of
    the atoms in x and y (`rows.locate`).
    """
    for l in range(len(y_location[0])):
        size, width, scalars = y_location[0][l, 1], y_location[0][l, 2], x_location[0][0, 2]
        s_at, x_at, y_at = row_offset(x_location, 0) + gates[l], row_offset(x_location, l), row_offset(y_location, l)
        for i in range(count):
            for c in range(0, width, SIMD_WIDTH):
                v = load(x, s_at + i * scalars + c)
                active = v * sigmoid(v) * SILU_SCALE
                if l == 0:
                    store(y, y_at + i * size + c, active)
                else:
                    for k in range(i * size + c, (i + 1) * size, width):
                        store(y, y_at + k, load(x, x_at + k) * active)


@njit(fastmath=FAST)
def gate_backward(gates, x, x_location, g, g_location, g_x, g_x_location, count):
    """Equation (2): set `g_x`, the gradient with respect to x, from the gradient g with respect to y."""
    for l in range(len(g_location[0])):
        size, width, scalars = g_location[0][l, 1], g_location[0][l, 2], x_location[0][0, 2]
        s_at, x_at, g_at = row_offset(x_location, 0) + gates[l], row_offset(x_location, l), row_offset(g_location, l)
        g_s_at, g_x_at = row_offset(g_x_location, 0) + gates[l], row_offset(g_x_location, l)
        for i in range(count):
            for c in range(0, width, SIMD_WIDTH):
                v = load(x, s_at + i * scalars + c)
                s, row, end = sigmoid(v), i * size + c, (i + 1) * size
                g_active = load(g, g_at + row)
                if l > 0:
                    g_active = g_active * load(x, x_at + row)
                    for k in range(row + width, end, width):
                        g_active = g_active + load(g, g_at + k) * load(x, x_at + k)
                    for k in range(row, end, width):
                        store(g_x, g_x_at + k, load(g, g_at + k) * (v * s * SILU_SCALE))
                store(g_x, g_s_at + i * scalars + c, g_active * silu_slope(v, s) * SILU_SCALE)
