"""Numba functions for symmetry functions: operations on batches, written as loops that compilers can vectorise.

A batch has up to `BATCH` elements; an element is a pair of atoms (radial functions) or a pair of neighbours of an atom
(angular functions). A flat work array has a row for each quantity: row k of a batch of n elements is
`work[k * BATCH : k * BATCH + n]`. With a single array, constant offsets, and separate loops for all steps, the compiler
can prove that rows do not overlap and use vector instructions. exp, cos and powers are written out for the same reason.

A symmetry function is a sum over elements of w f R_m A_a: weights w, cutoff functions f, one of M radial factors
R_m = exp(-η_m Σ (R - R_s,m)²), and one of A angular factors A_a (a power or a Chebyshev polynomial). The functions of a
group form a grid M x A, so that the cost per element is M exponentials, A polynomials and M A multiplications.

All functions that a kernel calls are inlined into it (`forceinline`). A separately compiled function would exist in
several copies; which one is called, and thus the last bit of the result, would differ between the process that compiles
and processes that load the kernel from the cache.
"""

import math
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from gnnpot.compiler.decorator import intrinsic, njit

#: number of elements in a batch; small enough for the work arrays to stay in the fastest caches
BATCH = 128
COSINE = 1  #: position of "cosine" in `symmetry_functions.CUTOFF_FUNCTIONS`
STRAIGHT = 1e-14  #: see `symmetry_functions`

#: Rows of the work array. C: cos θ (unused for radial functions); RA, RB, RJ: R_ij, R_ik, R_jk (radial: only RA);
#: FA, FB, FJ: cutoff functions of these distances, FA and FB times the weights of j and k; DFA, DFB, DFJ: their
#: derivatives.
C, RA, RB, RJ, FA, DFA, FB, DFB, FJ, DFJ = range(10)
#: S1, S2: sums of the distances and of their squares; U, W: temporary rows; X, DX: argument of the Chebyshev
#: polynomials and its derivative.
S1, S2, U, W, X, DX = range(10, 16)
#: Sums over functions of factors times coefficients, see `contract`.
T0, Q1, Q2, V = range(16, 20)
#: Directional derivatives of R_ij, R_ik, R_jk and cos θ.
DA, DB, DJ, DC = range(20, 24)
#: Contributions to gradients: PA r_a + Q r_b to the gradient of neighbour a, PB r_b + Q r_a to that of neighbour b.
PA, PB, Q = DA, DB, DC
ROWS = 24

FAST = {"reassoc", "contract", "nsz", "arcp"}


class FunctionGroup(NamedTuple):
    """Symmetry functions that share cutoff, cutoff function and weights: a grid of M radial and A angular factors."""

    cutoff: float  #: Å
    cutoff_kind: int  #: index in `symmetry_functions.CUTOFF_FUNCTIONS`
    inner: float  #: f_c = 1 below this fraction of the cutoff
    uses_r_jk: int  #: 1 if the functions depend on R_jk
    chebyshev: int  #: 1 if the angular factors are the polynomials T_0 ... T_(A-1)
    eta: np.ndarray  #: [M] η, Å^-2
    shift: np.ndarray  #: [M] R_s, Å
    lambda_: np.ndarray  #: [A] λ
    zeta: np.ndarray  #: [A] ζ
    weight: np.ndarray  #: [S] weight of a neighbour of each species
    species_class: np.ndarray  #: [S] class of each species; neighbours of the same class are summed together
    columns: np.ndarray  #: [S, P, M, A] position of a function in the descriptor of a centre; -1 if there is none
    active: np.ndarray  #: [S, P] whether a centre has functions for the class (radial) or pair of classes (angular)


@intrinsic
def _float_of_bits(typing_context, bits):
    """The float64 with the bit pattern of an int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(inline="always", fastmath=FAST)
def _exp(x):
    """exp(x) = 2^k exp(r) for x <= 0, |r| <= ½ ln 2, by a Taylor series; relative error at most 1e-16 (2 - x)."""
    x = max(-700.0, x)
    k = np.int32(x * 1.4426950408889634 - 0.5)
    r = x - k * 0.6931471805599453
    p = 1.0 + r * (1.0 / 12.0)
    p = 1.0 + p * r * (1.0 / 11.0)
    p = 1.0 + p * r * (1.0 / 10.0)
    p = 1.0 + p * r * (1.0 / 9.0)
    p = 1.0 + p * r * (1.0 / 8.0)
    p = 1.0 + p * r * (1.0 / 7.0)
    p = 1.0 + p * r * (1.0 / 6.0)
    p = 1.0 + p * r * (1.0 / 5.0)
    p = 1.0 + p * r * (1.0 / 4.0)
    p = 1.0 + p * r * (1.0 / 3.0)
    p = 1.0 + p * r * (1.0 / 2.0)
    p = 1.0 + p * r
    return p * _float_of_bits((np.int64(k) + 1023) << 52)


@njit(inline="always", fastmath=FAST)
def _cosine_cutoff(x):
    """f = cos²(πx/2) and df/dx = -π sin(πx/2) cos(πx/2) from Taylor series, 0 <= x <= 1."""
    t = 0.5 * math.pi * x
    y = t * t
    c = 1.0 - y * (1.0 / 462.0)
    c = 1.0 - y * c * (1.0 / 380.0)
    c = 1.0 - y * c * (1.0 / 306.0)
    c = 1.0 - y * c * (1.0 / 240.0)
    c = 1.0 - y * c * (1.0 / 182.0)
    c = 1.0 - y * c * (1.0 / 132.0)
    c = 1.0 - y * c * (1.0 / 90.0)
    c = 1.0 - y * c * (1.0 / 56.0)
    c = 1.0 - y * c * (1.0 / 30.0)
    c = 1.0 - y * c * (1.0 / 12.0)
    c = 1.0 - y * c * (1.0 / 2.0)
    s = 1.0 - y * (1.0 / 420.0)
    s = 1.0 - y * s * (1.0 / 342.0)
    s = 1.0 - y * s * (1.0 / 272.0)
    s = 1.0 - y * s * (1.0 / 210.0)
    s = 1.0 - y * s * (1.0 / 156.0)
    s = 1.0 - y * s * (1.0 / 110.0)
    s = 1.0 - y * s * (1.0 / 72.0)
    s = 1.0 - y * s * (1.0 / 42.0)
    s = 1.0 - y * s * (1.0 / 20.0)
    s = 1.0 - y * s * (1.0 / 6.0)
    return c * c, -math.pi * c * s * t


@njit(inline="always", fastmath=FAST)
def _acos(c):
    """arccos(c), with the rational function R of fdlibm's e_acos.c.

    For |c| < ½, it is π/2 - arcsin(c), arcsin(x) = x + x R(x²). Otherwise, it is θ = 2 arcsin(sqrt(½ (1 - |c|))) for
    c > 0, and π - θ for c < 0.
    """
    size = abs(c)
    small = size < 0.5
    z = c * c if small else 0.5 - 0.5 * size
    p = 0.0400555345006794114027 - z * (7.91534994289814532176e-04 + z * 3.47933107596021167570e-05)
    p = 1.66666666666666657415e-01 - z * (3.25565818622400915405e-01 - z * (2.01212532134862925881e-01 - z * p))
    q = 2.02094576023350569471 - z * (6.88283971605453293030e-01 - z * 7.70381505559019352791e-02)
    q = 1.0 - z * (2.40339491173441421878 - z * q)
    x = c if small else math.sqrt(z)
    asin = x + x * z * p / q
    large = 2.0 * asin if c > 0.0 else math.pi - 2.0 * asin
    return 0.5 * math.pi - asin if small else large


@njit(forceinline=True, error_model="numpy")
def cutoff_value(kind, r, cutoff, inner):
    """Return (f_c, df_c/dr) at r <= cutoff; the formulas are in `symmetry_functions.cutoff_function`.

    r = cutoff is possible because a distance below the cutoff can be rounded to it.
    """
    if kind == 2 or kind == 3:
        t = math.tanh(1.0 - r / cutoff)
        norm = math.tanh(1.0) ** 3 if kind == 3 else 1.0
        return t**3 / norm, 3.0 * t * t * (t * t - 1.0) / cutoff / norm
    width = cutoff - inner * cutoff
    x = (r - inner * cutoff) / width
    if x <= 0.0 or kind == 0:
        return 1.0, 0.0
    if x >= 1.0:
        return 0.0, 0.0
    if kind == COSINE:
        f, df = _cosine_cutoff(x)
    elif kind == 4:
        d = 1.0 / (1.0 - x * x)
        f = math.exp(1.0 - d)
        df = -2.0 * x * d * d * f
    elif kind == 5:
        f, df = 1.0 + x * x * (2.0 * x - 3.0), 6.0 * x * (x - 1.0)
    elif kind == 6:
        f, df = 1.0 + x**3 * ((15.0 - 6.0 * x) * x - 10.0), -30.0 * x**2 * (x - 1.0) ** 2
    elif kind == 7:
        f, df = 1.0 + x**4 * (x * (x * (20.0 * x - 70.0) + 84.0) - 35.0), 140.0 * x**3 * (x - 1.0) ** 3
    else:
        f = 1.0 + x**5 * (x * (x * ((315.0 - 70.0 * x) * x - 540.0) + 420.0) - 126.0)
        df = -630.0 * x**4 * (x - 1.0) ** 4
    return f, df / width


@njit(inline="always")
def _part(array, k, lo, hi):
    """Elements lo to hi of row k."""
    return array[k * BATCH + lo : k * BATCH + hi]


@njit(inline="always")
def _row(array, k):
    """Row k. For vectorisation, the compiler must know that indices are not negative, which holds within a row."""
    return array[k * BATCH : (k + 1) * BATCH]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def jk_cutoffs(group, work, n):
    """RJ = sqrt(RJ), and the cutoff function FJ and its derivative DFJ."""
    for i in range(n):
        work[RJ * BATCH + i] = math.sqrt(work[RJ * BATCH + i])
    if group.cutoff_kind != COSINE:
        for i in range(n):
            f, df = cutoff_value(group.cutoff_kind, work[RJ * BATCH + i], group.cutoff, group.inner)
            work[FJ * BATCH + i] = f
            work[DFJ * BATCH + i] = df
        return
    start = group.inner * group.cutoff
    scale = 1.0 / (group.cutoff - start)
    for i in range(n):
        x = (work[RJ * BATCH + i] - start) * scale
        f, df = _cosine_cutoff(max(0.0, x))
        work[FJ * BATCH + i] = f
        work[DFJ * BATCH + i] = df * scale


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def radial_factors(group, work, radial, n, distances):
    """radial[m] = R_m, with the sum over the first `distances` of R_ij, R_ik, R_jk in the exponent."""
    for i in range(n):
        a, b, j = work[RA * BATCH + i], 0.0, 0.0
        if distances > 1:
            b = work[RB * BATCH + i]
        if distances > 2:
            j = work[RJ * BATCH + i]
        work[S1 * BATCH + i] = a + b + j
        work[S2 * BATCH + i] = a * a + b * b + j * j
    for m in range(len(group.eta)):
        eta, shift, factor = group.eta[m], group.shift[m], _row(radial, m)
        constant = distances * shift * shift
        if eta == 0.0:
            factor[:n] = 1.0
            continue
        for i in range(n):
            square = work[S2 * BATCH + i] - 2.0 * shift * work[S1 * BATCH + i] + constant
            factor[i] = _exp(-eta * square)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def angular_factors(group, work, angular, slope, n):
    """angular[a] = A_a and slope[a] = dA_a/dcos θ, where A_a = 2 [½ (1 + λ cos θ)]^ζ or T_a(X)."""
    if group.chebyshev:
        _chebyshev_factors(work, angular, slope, n, len(group.zeta))
        return
    for a in range(len(group.zeta)):
        lambda_, zeta = group.lambda_[a], group.zeta[a]
        value, derivative = _row(angular, a), _row(slope, a)
        for i in range(n):
            x = 0.5 + 0.5 * lambda_ * work[C * BATCH + i]
            work[U * BATCH + i] = max(0.0, x)
        _power(work, derivative, zeta - 1.0, n)
        for i in range(n):
            value[i] = 2.0 * derivative[i] * work[U * BATCH + i]
        for i in range(n):
            derivative[i] *= zeta * lambda_


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _power(work, out, exponent, n):
    """out = U^exponent, by repeated squaring if the exponent is an integer."""
    e = int(exponent)
    if e != exponent:
        for i in range(n):
            out[i] = work[U * BATCH + i] ** exponent
        return
    for i in range(n):
        work[W * BATCH + i] = work[U * BATCH + i]
        out[i] = 1.0
    while e:
        if e & 1:
            for i in range(n):
                out[i] *= work[W * BATCH + i]
        e >>= 1
        if e:
            for i in range(n):
                work[W * BATCH + i] *= work[W * BATCH + i]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _chebyshev_factors(work, angular, slope, n, count):
    """T_a(X) and DX dT_a/dX for a < count, from their recurrence relations."""
    x, dx = _row(work, X), _row(work, DX)
    angular[:n] = 1.0
    slope[:n] = 0.0
    if count > 1:
        angular[BATCH : BATCH + n] = x[:n]
        slope[BATCH : BATCH + n] = dx[:n]
    for a in range(2, count):
        t, t_last, t_before = _row(angular, a), _row(angular, a - 1), _row(angular, a - 2)
        d, d_last, d_before = _row(slope, a), _row(slope, a - 1), _row(slope, a - 2)
        for i in range(n):
            t[i] = 2.0 * x[i] * t_last[i] - t_before[i]
        for i in range(n):
            d[i] = 2.0 * (dx[i] * t_last[i] + x[i] * d_last[i]) - d_before[i]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def angle_argument(work, n):
    """X = 2θ/π - 1 and DX = dX/dcos θ, with θ = arccos((1 - STRAIGHT) cos θ)."""
    for i in range(n):
        c = (1.0 - STRAIGHT) * work[C * BATCH + i]
        c = min(max(c, STRAIGHT - 1.0), 1.0 - STRAIGHT)
        work[X * BATCH + i] = 2.0 / math.pi * _acos(c) - 1.0
        # not 1 - c², which would lose significant digits
        work[DX * BATCH + i] = -2.0 / math.pi * (1.0 - STRAIGHT) / math.sqrt((1.0 - c) * (1.0 + c))


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def add_products(total, radial, angular, lo, hi):
    """total[m, a] += Σ_i radial[m] angular[a] over the elements lo <= i < hi."""
    for m in range(total.shape[0]):
        left = _part(radial, m, lo, hi)
        for a in range(total.shape[1]):
            right = _part(angular, a, lo, hi)
            value = 0.0
            for i in range(len(left)):
                value += left[i] * right[i]
            total[m, a] += value


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def contract(group, coefficients, work, radial, angular, slope, lo, hi):
    """Sums over functions with c = coefficients[m, a], for the elements lo <= i < hi.

    T0 = Σ c R_m A_a, Q1 = Σ c η_m R_m A_a, Q2 = Σ c η_m R_s,m R_m A_a, V = Σ c R_m dA_a/dcos θ.
    """
    t0, q1, q2, v = _part(work, T0, lo, hi), _part(work, Q1, lo, hi), _part(work, Q2, lo, hi), _part(work, V, lo, hi)
    u, w = _part(work, U, lo, hi), _part(work, W, lo, hi)
    t0[:] = 0.0
    q1[:] = 0.0
    q2[:] = 0.0
    v[:] = 0.0
    for m in range(coefficients.shape[0]):
        u[:] = 0.0
        w[:] = 0.0
        for a in range(coefficients.shape[1]):
            c, value, derivative = coefficients[m, a], _part(angular, a, lo, hi), _part(slope, a, lo, hi)
            for i in range(len(u)):
                u[i] += c * value[i]
            for i in range(len(u)):
                w[i] += c * derivative[i]
        eta, etas, factor = group.eta[m], group.eta[m] * group.shift[m], _part(radial, m, lo, hi)
        for i in range(len(u)):
            u[i] *= factor[i]
        for i in range(len(u)):
            v[i] += factor[i] * w[i]
        for i in range(len(u)):
            t0[i] += u[i]
        for i in range(len(u)):
            q1[i] += eta * u[i]
        if etas != 0.0:
            for i in range(len(u)):
                q2[i] += etas * u[i]
