"""The gate: silu on the scalars; features of l > 0 times silu of a scalar of their own.

    y_0 = a(s),      y_l = x_l a(s_l),      a(s) = κ silu(s) = κ s σ(s)                                            (1)

where the scalars are s and the gates s_l, side by side as channels, and κ makes the mean square of a(z) 1 for normally
distributed z. With the gradient g of y, and for features that change at the tangents ẋ and ṡ,

    pullback:   dE/ds = g_0 a'(s),   dE/ds_l = a'(s_l) Σ_m g_l ⊙ x_l,   dE/dx_l = g_l a(s_l)                       (2)
    tangent:    ẏ_0 = a'(s) ṡ,       ẏ_l = ẋ_l a(s_l) + x_l a'(s_l) ṡ_l                                             (3)

Batzner et al., Nat. Commun. 13, 2453 (2022). `gated_features` is the reference, which PyTorch differentiates both
ways as often as is asked for; `gate` and `gate_backward` are for kernels, on the flat arrays of `rows.py`.
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
        features: for l = 0 scalars and gates, [N, 1, sum of `channels`]; for each l > 0 x_l, [N, 2l+1, channels[l]].
        channels: how many features of each l there are.

    Returns:
        y_l, for each l [N, 2l+1, channels[l]].
    """
    scalars, *gates = (SILU_SCALE * silu(features[0])).split(list(channels), dim=-1)
    return [scalars, *(x * g for x, g in zip(features[1:], gates, strict=True))]


@njit(fastmath=FAST)
def gate(gates, totals, given, out, result, count):
    """Equation (1) on flat arrays, of `count` atoms; `gates` [l]: where those of each l begin in the scalars."""
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
    """Equation (2): from the gradient g of what was made to that of what was gated."""
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
