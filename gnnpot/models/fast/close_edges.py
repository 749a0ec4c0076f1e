"""What M3GNet's three-body steps need of the edges within the three-body cutoff, in one pass, with its derivative.

For a close edge c with unit vector d, of length r, standing for an edge of length r' (itself, but in matgl's layout),

    envelope f = f_c(r'),      radial R_ln(r) f,      harmonics Y_lm(d).

With (x + iy)^m = A_m + i B_m and P_lm = Q_lm sin^m θ for the associated Legendre polynomials without their sign,

    Y_lm = N_lm Q_lm(z) A_m,   Y_l-m = N_lm Q_lm(z) B_m,   N_lm² = (2l+1)/4π (l-m)!/(l+m)! (2 if m > 0)
    Q_mm = (2m-1)!!,   (l+1-m) Q_(l+1)m = (2l+1) z Q_lm - (l+m) Q_(l-1)m                                        (1)

are polynomials in x, y, z; their slopes are taken as such, and then the part along d is taken off. The axis is z here;
sums over m, which are all that is used, do not depend on it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from gnnpot.models.fast.kernels import FAST
from gnnpot.models.fast.tables import Table, hermite
from gnnpot.models.fast.threads import follow_torch


@dataclass(frozen=True, slots=True)
class FastCloseEdges:
    """The C close edges of N atoms. What depends on distances and angles is a dual [2, …] in training's second pass."""

    atoms: int  #: N
    edges: Tensor  #: [C] the edges that they stand for
    centre: Tensor  #: [C], in order
    neighbor: Tensor  #: [C]
    radial: Tensor  #: [C, L n]
    envelope: Tensor  #: [C]
    harmonics: Tensor  #: [C, L²]


class CloseGeometry(torch.autograd.Function):
    """(radial [C, L n], envelope [C], harmonics [C, L²]) of edge vectors [E, 3]; its derivative can't be taken twice.

    `close` and `rows` [C] are the edges c and those that they stand for, `sign` that of the vectors,
    `cutoff` that of f; `table` holds R_ln.
    """

    @staticmethod
    def forward(
        ctx: Any, vectors: Tensor, table: Table, max_l: int, close: Tensor, rows: Tensor, sign: int, cutoff: float
    ) -> tuple[Tensor, ...]:
        radial, envelope, harmonics = duals(vectors, None, table, max_l, close, rows, sign, cutoff)
        ctx.arguments = vectors.detach(), table, close, rows, sign, cutoff
        return radial[0], envelope[0], harmonics[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_radial: Tensor, g_envelope: Tensor, g_harmonics: Tensor) -> tuple[Tensor | None, ...]:
        vectors, table, close, rows, sign, cutoff = ctx.arguments
        out = torch.zeros_like(vectors)
        _backward(
            *(t.contiguous().numpy() for t in (vectors, table.rows)), 1 / table.step, close.numpy(), rows.numpy(),
            sign, cutoff, _norms(math.isqrt(g_harmonics.shape[1])),
            *(g.contiguous().numpy() for g in (g_radial, g_envelope, g_harmonics, out)),
        )  # fmt: skip
        return out, None, None, None, None, None, None


def duals(
    vectors: Tensor,
    rates: Tensor | None,
    table: Table,
    max_l: int,
    close: Tensor,
    rows: Tensor,
    sign: int,
    cutoff: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(radial [2, C, L n], envelope [2, C], harmonics [2, C, L²]): values, and how they change with edge vectors that
    change at `rates` [E, 3]; without them, [1, …]."""
    follow_torch()
    vectors = vectors.detach().contiguous()
    moving = vectors.new_empty(0, 3) if rates is None else rates.contiguous()
    half = 1 if rates is None else 2
    out = [vectors.new_empty(half, len(close), n) for n in (table.rows.shape[2], 1, max_l**2)]
    _values(
        vectors.numpy(), moving.numpy(), table.rows.numpy(), 1 / table.step, close.numpy(), rows.numpy(),
        sign, cutoff, _norms(max_l), *(t.numpy() for t in out),
    )  # fmt: skip
    return out[0], out[1].squeeze(2), out[2]


def _norms(max_l: int) -> np.ndarray:
    """N_lm, [L, L]."""
    norms = np.zeros((max_l, max_l))
    for l in range(max_l):
        for m in range(l + 1):
            factor = (2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m)
            norms[l, m] = math.sqrt(factor * (2 if m else 1))
    return norms


@njit(fastmath=FAST, forceinline=True)
def _harmonics(x, y, z, norms, values, slopes):
    """Equation (1): values [L²] and slopes [L², 3]."""
    max_l = len(norms)
    a, b, a_before, b_before, first = 1.0, 0.0, 0.0, 0.0, 1.0
    for m in range(max_l):
        q, dq, q_before, dq_before = first, 0.0, 0.0, 0.0
        for l in range(m, max_l):
            n, at = norms[l, m], l * l + l
            for sign in range(2 if m else 1):
                own, along_x, along_y = (b, b_before, a_before) if sign else (a, a_before, -b_before)
                lm = at - m if sign else at + m
                values[lm] = n * q * own
                slopes[lm, 0], slopes[lm, 1], slopes[lm, 2] = n * q * m * along_x, n * q * m * along_y, n * dq * own
            up, down = (2 * l + 1) / (l + 1 - m), (l + m) / (l + 1 - m)
            q, dq, q_before, dq_before = up * z * q - down * q_before, up * (q + z * dq) - down * dq_before, q, dq
        a, b, a_before, b_before = x * a - y * b, x * b + y * a, a, b
        first *= 2 * m + 1


@njit(fastmath=FAST, forceinline=True)
def _envelope(r, cutoff):
    """f_c and its slope: 1 - 10 x³ + 15 x⁴ - 6 x⁵, 0 beyond the cutoff."""
    x = r / cutoff
    if x >= 1:
        return 0.0, 0.0
    return 1 - x * x * x * (10 - x * (15 - 6 * x)), -30 * x * x * (1 - x) * (1 - x) / cutoff


@njit(fastmath=FAST, forceinline=True)
def _length(vectors, e):
    return math.sqrt(float(vectors[e, 0]) ** 2 + float(vectors[e, 1]) ** 2 + float(vectors[e, 2]) ** 2)


@njit(fastmath=FAST, forceinline=True)
def _along(vectors, other, e):
    return vectors[e, 0] * other[e, 0] + vectors[e, 1] * other[e, 1] + vectors[e, 2] * other[e, 2]


@njit(parallel=True, fastmath=FAST, cache=True)
def _values(vectors, moving, table, per_step, close, rows, sign, cutoff, norms, radial, envelope, harmonics):
    columns, lms = radial.shape[2], harmonics.shape[2]
    for c in prange(len(close)):
        values, slopes = np.empty((2, columns)), np.empty((lms, 3))
        e, of = close[c], rows[c]
        r, r_of = _length(vectors, e), _length(vectors, of)
        scale = sign / r
        hermite(table, r * per_step, per_step, values)
        f, slope = _envelope(r_of, cutoff)
        y = np.empty(lms)
        _harmonics(scale * vectors[e, 0], scale * vectors[e, 1], scale * vectors[e, 2], norms, y, slopes)
        envelope[0, c, 0] = f
        for k in range(columns):
            radial[0, c, k] = values[0, k] * f
        for lm in range(lms):
            harmonics[0, c, lm] = y[lm]
        if len(moving):
            rate, rate_f = _along(vectors, moving, e) / r, slope * _along(vectors, moving, of) / r_of
            envelope[1, c, 0] = rate_f
            for k in range(columns):
                radial[1, c, k] = values[1, k] * rate * f + values[0, k] * rate_f
            for lm in range(lms):
                total = 0.0
                for x in range(3):
                    total += slopes[lm, x] * scale * (moving[e, x] - vectors[e, x] * rate / r)
                harmonics[1, c, lm] = total


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(
    vectors, table, per_step, close, rows, sign, cutoff, norms, g_radial, g_envelope, g_harmonics, out
):  # fmt: skip
    columns, lms = g_radial.shape[1], g_harmonics.shape[1]
    gradients, along_rows = np.empty((len(close), 3)), np.empty(len(close))
    for c in prange(len(close)):
        values, slopes, y = np.empty((2, columns)), np.empty((lms, 3)), np.empty(lms)
        e, of = close[c], rows[c]
        r, r_of = _length(vectors, e), _length(vectors, of)
        scale = sign / r
        hermite(table, r * per_step, per_step, values)
        f, slope = _envelope(r_of, cutoff)
        _harmonics(scale * vectors[e, 0], scale * vectors[e, 1], scale * vectors[e, 2], norms, y, slopes)
        g_f, g_r = float(g_envelope[c]), 0.0
        for k in range(columns):
            g_f += g_radial[c, k] * values[0, k]
            g_r += g_radial[c, k] * values[1, k] * f
        along_rows[c] = g_f * slope / r_of
        along = 0.0
        for x in range(3):
            total = 0.0
            for lm in range(lms):
                total += g_harmonics[c, lm] * slopes[lm, x]
            gradients[c, x] = total * scale
            along += total * scale * vectors[e, x]
        for x in range(3):
            gradients[c, x] += vectors[e, x] * (g_r - along / r) / r
    # two close edges may stand for one
    for c in range(len(close)):
        for x in range(3):
            out[close[c], x] += gradients[c, x]
            out[rows[c], x] += along_rows[c] * vectors[rows[c], x]
