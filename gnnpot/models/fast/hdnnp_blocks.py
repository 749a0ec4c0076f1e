"""Blocks of sixteen elements, for the compiled backend of HDNNPs.

An element is a pair of atoms (radial functions) or a pair of neighbours of an atom (angular functions). A block is a
range of the array `slab`: row k of the block at position `at` is `slab[at + 16 k : at + 16 k + 16]`. Elements added as
padding have weight zero. As in `symmetry_batches`, a symmetry function is the sum over elements of w f R_m A_a.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.models.symmetry_batches import COSINE, STRAIGHT, cutoff_value
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_functions import arccosine, at_least, decay, half_cosine, square_root
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, broadcast_at, load, store, total

#: Rows of a block. C: cos θ; RA, RB, RJ: R_ij, R_ik, R_jk; FF: w f_c(R_ij) f_c(R_ik); DFA, DFB: its derivatives with
#: respect to R_ij and R_ik; IA, IB: 1/R_ij, 1/R_ik; FJ, DFJ: f_c(R_jk) and its derivative. Blocks of radial polynomials
#: use only RA, FF (w f_c), DFA and IA.
C, RA, RB, RJ, FF, DFA, DFB, IA, IB, FJ, DFJ = range(11)
#: Contributions to gradients, which overwrite other rows: PA r_a + Q r_b to the gradient of neighbour a, PB r_b + Q r_a
#: to that of neighbour b.
PA, PB, Q = RA, RB, C
#: First row of the factors R_m, w f R_m, A_a and dA_a/dcos θ, see `SymmetryFunctionPlan.rows`.
FACTORS = 11


class SymmetryFunctionPlan(NamedTuple):
    """G groups of symmetry functions that share cutoff, cutoff function and weights, for S species.

    `parts[g, s, p]` belongs to centres of species s and the class (radial) or pair of classes (angular) p of group g.
    It has the ranges (first, last + 1) of functions, of radial factors, and of angular factors.
    """

    cutoff: np.ndarray  #: [G] Å
    cutoff_kind: np.ndarray  #: [G] index in `symmetry_functions.CUTOFF_FUNCTIONS`
    inner: np.ndarray  #: [G] f_c = 1 below this fraction of the cutoff
    distances: np.ndarray  #: [G] number of distances in the Gaussians: 1 (radial), 2 (wide) or 3 (narrow angular)
    chebyshev: np.ndarray  #: [G] 1 if angular factors are the polynomials T_ζ
    weight: np.ndarray  #: [G, S] weight of a neighbour of each species
    species_class: np.ndarray  #: [G, S] class of each species
    classes: np.ndarray  #: [G] number of classes
    parts: np.ndarray  #: [G, S, P, 6]
    eta: np.ndarray  #: η of all radial factors, Å^-2, followed by sixteen zeros
    shift: np.ndarray  #: R_s of all radial factors, Å, followed by sixteen zeros
    lambda_: np.ndarray  #: λ of all angular factors
    zeta: np.ndarray  #: ζ of all angular factors
    radial: np.ndarray  #: index of the radial factor of each function, within its part
    angular: np.ndarray  #: index of the angular factor of each function, within its part
    column: np.ndarray  #: position of each function in the descriptor
    rows: np.ndarray  #: [5] first rows of R_m, w f R_m, A_a and dA_a, and the number of rows of a block
    radial_width: int  #: largest number of functions in a part of radial Gaussians, padded to whole SIMD vectors


@njit(forceinline=True)
def in_blocks(plan, g):
    """Whether the functions of a group are calculated in blocks; otherwise, they are calculated by `hdnnp_radial`."""
    return plan.distances[g] > 1 or plan.chebyshev[g] == 1


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def cutoff_block(plan, g, array, at_r, at_f, at_df):
    """f_c and df_c/dr of the sixteen distances at `at_r`, all of which must be below the cutoff."""
    kind, cutoff, inner = plan.cutoff_kind[g], plan.cutoff[g], plan.inner[g]
    if kind == COSINE:
        scale = 1.0 / (cutoff - inner * cutoff)
        x = at_least((load(array, at_r) - inner * cutoff) * scale, 0.0)
        f, df = half_cosine(x)
        store(array, at_f, f)
        store(array, at_df, df * scale)
        return
    for i in range(SIMD_WIDTH):
        f, df = cutoff_value(kind, array[at_r + i], cutoff, inner)
        array[at_f + i], array[at_df + i] = f, df


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def angle_block(plan, g, slab, at):
    """Set cos θ from the scalar product, and, if used, R_jk from its square, and its cutoff function."""
    c = load(slab, at + SIMD_WIDTH * C) * load(slab, at + SIMD_WIDTH * IA) * load(slab, at + SIMD_WIDTH * IB)
    store(slab, at + SIMD_WIDTH * C, c)
    if plan.distances[g] == 3:
        store(slab, at + SIMD_WIDTH * RJ, square_root(load(slab, at + SIMD_WIDTH * RJ)))
        cutoff_block(plan, g, slab, at + SIMD_WIDTH * RJ, at + SIMD_WIDTH * FJ, at + SIMD_WIDTH * DFJ)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def radial_block(plan, g, part, slab, at):
    """Set the rows R_m = exp(-η Σ (R - R_s)²) and w f R_m."""
    distances = plan.distances[g]
    a, weight = load(slab, at + SIMD_WIDTH * RA), load(slab, at + SIMD_WIDTH * FF)
    b, j = a, a
    if distances > 1:
        b = load(slab, at + SIMD_WIDTH * RB)
    if distances > 2:
        j = load(slab, at + SIMD_WIDTH * RJ)
        weight = weight * load(slab, at + SIMD_WIDTH * FJ)
    at_r, at_wr = at + SIMD_WIDTH * plan.rows[0], at + SIMD_WIDTH * plan.rows[1]
    for m in range(part[2], part[3]):
        eta, shift = plan.eta[m], plan.shift[m]
        if eta == 0.0:
            store(slab, at_r, broadcast(slab, 1.0))
            store(slab, at_wr, weight)
        else:
            square = (a - shift) * (a - shift)
            if distances > 1:
                square = square + (b - shift) * (b - shift)
            if distances > 2:
                square = square + (j - shift) * (j - shift)
            r = decay(square * -eta)
            store(slab, at_r, r)
            store(slab, at_wr, r * weight)
        at_r += SIMD_WIDTH
        at_wr += SIMD_WIDTH


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def angular_block(plan, g, part, slab, at):
    """Set the rows A_a and dA_a/dcos θ, where A_a = 2 [½ (1 + λ cos θ)]^ζ or a Chebyshev polynomial."""
    at_a, at_d = at + SIMD_WIDTH * plan.rows[2], at + SIMD_WIDTH * plan.rows[3]
    if plan.chebyshev[g]:
        _chebyshev(plan, g, part, slab, at, at_a, at_d)
        return
    for a in range(part[4], part[5]):
        lambda_, zeta = plan.lambda_[a], plan.zeta[a]
        if lambda_ == 0.0:
            store(slab, at_a, broadcast(slab, 2.0 * 0.5**zeta))
            store(slab, at_d, broadcast(slab, 0.0))
        else:
            x = at_least(load(slab, at + SIMD_WIDTH * C) * (0.5 * lambda_) + 0.5, 0.0)
            power = broadcast(slab, 1.0)
            e = int(zeta - 1.0)
            if e == zeta - 1.0:
                factor = x
                while e:
                    if e & 1:
                        power = power * factor
                    factor = factor * factor
                    e >>= 1
            else:
                store(slab, at_d, x)
                for i in range(SIMD_WIDTH):
                    slab[at_d + i] = slab[at_d + i] ** (zeta - 1.0)
                power = load(slab, at_d)
            store(slab, at_a, power * x * 2.0)
            store(slab, at_d, power * (zeta * lambda_))
        at_a += SIMD_WIDTH
        at_d += SIMD_WIDTH


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _chebyshev(plan, g, part, slab, at, at_a, at_d):
    """T_k(X) and T_k'(X) dX, with X = 2R/R_c - 1 and dX = dX/dR, or X = 2θ/π - 1 and dX = dX/dcos θ."""
    if plan.distances[g] == 1:
        x = load(slab, at + SIMD_WIDTH * RA) * (2.0 / plan.cutoff[g]) - 1.0
        dx = broadcast(slab, 2.0 / plan.cutoff[g])
    else:
        c = load(slab, at + SIMD_WIDTH * C) * (1.0 - STRAIGHT)
        c = 0.0 - at_least(0.0 - at_least(c, STRAIGHT - 1.0), STRAIGHT - 1.0)
        x = arccosine(c) * (2.0 / np.pi) - 1.0
        # not 1 - c², which would lose significant digits
        dx = (-2.0 / np.pi * (1.0 - STRAIGHT)) / square_root((1.0 - c) * (1.0 + c))
    t_last, t = x, broadcast(slab, 1.0)
    d_last, d = dx, broadcast(slab, 0.0)
    a = part[4]
    for k in range(int(plan.zeta[part[5] - 1]) + 1):
        if k == plan.zeta[a]:
            store(slab, at_a, t)
            store(slab, at_d, d)
            a += 1
            at_a += SIMD_WIDTH
            at_d += SIMD_WIDTH
        d_last, d = d, (dx * t + x * d) * 2.0 - d_last
        t_last, t = t, x * t * 2.0 - t_last


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def add_functions(plan, part, slab, begin, end, row):
    """Add Σ w f R_m A_a over the blocks from `begin` to `end` to `row`, for the functions of a part."""
    stride = SIMD_WIDTH * plan.rows[4]
    for f in range(part[0], part[1]):
        at_r = SIMD_WIDTH * (plan.rows[1] + plan.radial[f])
        at_a = SIMD_WIDTH * (plan.rows[2] + plan.angular[f])
        s = broadcast(slab, 0.0)
        for at in range(begin, end, stride):
            s = load(slab, at + at_r) * load(slab, at + at_a) + s
        row[plan.column[f]] += total(s)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def contract_block(plan, g, part, slab, at, c):
    """Sums over the functions of a part with coefficients c.

    Returns T0 = Σ c R_m A_a, V = Σ c R_m dA_a, Q1 = Σ c η_m R_m A_a, and Q2 = Σ c η_m R_s,m R_m A_a.
    """
    zero = broadcast(slab, 0.0)
    t0, v, q1, q2 = zero, zero, zero, zero
    f = part[0]
    for m in range(part[3] - part[2]):
        u, w = zero, zero
        while f < part[1] and plan.radial[f] == m:
            factor, a = broadcast_at(c, f - part[0]), SIMD_WIDTH * plan.angular[f]
            u = factor * load(slab, at + SIMD_WIDTH * plan.rows[2] + a) + u
            w = factor * load(slab, at + SIMD_WIDTH * plan.rows[3] + a) + w
            f += 1
        r = load(slab, at + SIMD_WIDTH * (plan.rows[0] + m))
        u = u * r
        eta = plan.eta[part[2] + m]
        t0 = t0 + u
        v = w * r + v
        q1 = u * eta + q1
        q2 = u * (eta * plan.shift[part[2] + m]) + q2
    return t0, v, q1, q2


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def gradient_block(plan, g, part, slab, at, c):
    """Set the rows PA, PB and Q, see the equations in `symmetry_kernels`; only PA for radial functions."""
    t0, v, q1, q2 = contract_block(plan, g, part, slab, at, c)
    ff, a, ia = load(slab, at + SIMD_WIDTH * FF), load(slab, at + SIMD_WIDTH * RA), load(slab, at + SIMD_WIDTH * IA)
    if plan.distances[g] == 1:
        slope = ff * (v - (a * q1 - q2) * 2.0) + load(slab, at + SIMD_WIDTH * DFA) * t0
        store(slab, at + SIMD_WIDTH * PA, slope * ia)
        return
    b, ib = load(slab, at + SIMD_WIDTH * RB), load(slab, at + SIMD_WIDTH * IB)
    f, fj, s_j = ff, broadcast(slab, 1.0), broadcast(slab, 0.0)
    if plan.distances[g] == 3:
        j, fj = load(slab, at + SIMD_WIDTH * RJ), load(slab, at + SIMD_WIDTH * FJ)
        f = ff * fj
        s_j = (load(slab, at + SIMD_WIDTH * DFJ) * ff * t0 - f * (j * q1 - q2) * 2.0) / j
    s_a = load(slab, at + SIMD_WIDTH * DFA) * fj * t0 - f * (a * q1 - q2) * 2.0
    s_b = load(slab, at + SIMD_WIDTH * DFB) * fj * t0 - f * (b * q1 - q2) * 2.0
    s_c, cosine = f * v, load(slab, at + SIMD_WIDTH * C)
    store(slab, at + SIMD_WIDTH * PA, (s_a - cosine * s_c * ia) * ia + s_j)
    store(slab, at + SIMD_WIDTH * PB, (s_b - cosine * s_c * ib) * ib + s_j)
    store(slab, at + SIMD_WIDTH * Q, s_c * ia * ib - s_j)
