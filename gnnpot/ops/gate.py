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
from gnnpot.ops.rows import begin
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
def gate(gates, totals, given, out, result, count):
    """Equation (1) on flat arrays for `count` atoms.

    `gates` [l] is the first channel of s (l = 0) and of the gates s_l. `given` and `result` locate the rows of the
    atoms in `totals` and `out` (`rows.where`).
    """
    for l in range(len(result[0])):
        size, width, scalars = result[0][l, 1], result[0][l, 2], given[0][0, 2]
        first, from_, at = begin(given, 0) + gates[l], begin(given, l), begin(result, l)
        for i in range(count):
            for c in range(0, width, SIMD_WIDTH):
                v = load(totals, first + i * scalars + c)
                active = v * sigmoid(v) * SILU_SCALE
                if l == 0:
                    store(out, at + i * size + c, active)
                else:
                    for k in range(i * size + c, (i + 1) * size, width):
                        store(out, at + k, load(totals, from_ + k) * active)


@njit(fastmath=FAST)
def gate_backward(gates, totals, given, g, result, to_totals, to, count):
    """Equation (2): from the gradient g of the result to the gradient `to_totals` of the gated features."""
    for l in range(len(result[0])):
        size, width, scalars = result[0][l, 1], result[0][l, 2], given[0][0, 2]
        first, from_, at = begin(given, 0) + gates[l], begin(given, l), begin(result, l)
        to_first, to_rows = begin(to, 0) + gates[l], begin(to, l)
        for i in range(count):
            for c in range(0, width, SIMD_WIDTH):
                v = load(totals, first + i * scalars + c)
                s, row, end = sigmoid(v), i * size + c, (i + 1) * size
                along = load(g, at + row)
                if l > 0:
                    along = along * load(totals, from_ + row)
                    for k in range(row + width, end, width):
                        along = along + load(g, at + k) * load(totals, from_ + k)
                    for k in range(row, end, width):
                        store(to_totals, to_rows + k, load(g, at + k) * (v * s * SILU_SCALE))
                store(to_totals, to_first + i * scalars + c, along * silu_slope(v, s) * SILU_SCALE)
