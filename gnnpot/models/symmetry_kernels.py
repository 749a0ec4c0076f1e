"""Symmetry functions of all atoms, their vector-Jacobian and Jacobian-vector products, without lists of triplets.

With descriptors G and edge vectors r, J = dG/dr, a call does one of three things:

| mode  | reads           | adds to                                  |
|-------|-----------------|------------------------------------------|
| VALUE |                 | G [N, D]                                 |
| VJP   | v = dE/dG [N, D]| the edges' gradient J^T v [E, 3]         |
| JVP   | u [E, 3]        | J u [N, D]                               |

Each recalculates what it needs from the edge vectors: nothing is stored between calls. For a pair of neighbours with
vectors a, b, S = Σ c w f R A is a function of R_ij, R_ik, R_jk and cos θ = a·b/(R_ij R_ik), so that

    dS/da = PA a + Q b,    dS/db = PB b + Q a
    PA = S_ij/R_ij - cos θ S_c/R_ij² + S_jk/R_jk,    PB likewise,    Q = S_c/(R_ij R_ik) - S_jk/R_jk

where S_x is the derivative with respect to x. The kernels release the interpreter's lock and work on a range of atoms,
so that threads can share them: an atom's results touch only its own rows and edges.
"""

import math

import numpy as np
from numba import njit

from gnnpot.models.symmetry_lanes import (
    BATCH,
    DA,
    DB,
    DC,
    DFA,
    DFB,
    DFJ,
    DJ,
    DX,
    FA,
    FAST,
    FB,
    FJ,
    PA,
    PB,
    Q1,
    Q2,
    RA,
    RB,
    RJ,
    ROWS,
    T0,
    C,
    Q,
    U,
    V,
    W,
    X,
    add_products,
    angle_argument,
    angular_factors,
    contract,
    cutoff_value,
    neighbour_cutoffs,
    radial_factors,
)

#: rows of an atom's list of neighbours: vector, distance, weight times cutoff function, its derivative, 1/distance,
#: and the derivative of the distance along u
_X, _Y, _Z, _R, _F, _DF, _INVERSE, _DR = range(8)
VALUE, VJP, JVP = 0, 1, 2


@njit(forceinline=True, error_model="numpy")
def _load(group, vectors, species, start, end, mode, u, near, edges, bounds):
    """The neighbours within the group's cutoff, sorted by class: `near` [8, n], `edges` [n], `bounds` [classes + 1]."""
    bounds[:] = 0
    square = group.cutoff**2
    for e in range(start, end):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        if x * x + y * y + z * z < square:
            bounds[group.species_class[species[e]] + 1] += 1
    for k in range(1, len(bounds)):
        bounds[k] += bounds[k - 1]
    for e in range(start, end):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        r2 = x * x + y * y + z * z
        if r2 >= square:
            continue
        k = group.species_class[species[e]]
        i = bounds[k]
        bounds[k] += 1
        r = math.sqrt(r2)
        f, df = cutoff_value(group.cutoff_kind, r, group.cutoff, group.inner)
        weight = group.weight[species[e]]
        near[_X, i], near[_Y, i], near[_Z, i], near[_R, i] = x, y, z, r
        near[_F, i], near[_DF, i], near[_INVERSE, i] = weight * f, weight * df, 1.0 / r
        if mode == JVP:
            near[_DR, i] = (x * u[e, 0] + y * u[e, 1] + z * u[e, 2]) / r
        edges[i] = e
    for k in range(len(bounds) - 1, 0, -1):
        bounds[k] = bounds[k - 1]
    bounds[0] = 0


@njit(forceinline=True, error_model="numpy")
def _gather(group, row, centre, p, coefficients):
    """coefficients [M, A] of the functions of a class or pair p: entries of `row` [D], 0 where there is no function."""
    columns = group.columns[centre, p]
    for m in range(columns.shape[0]):
        for a in range(columns.shape[1]):
            coefficients[m, a] = row[columns[m, a]] if columns[m, a] >= 0 else 0.0


@njit(forceinline=True, error_model="numpy")
def _scatter(group, total, centre, p, row):
    """Add total [M, A] to the entries of `row` [D]."""
    columns = group.columns[centre, p]
    for m in range(columns.shape[0]):
        for a in range(columns.shape[1]):
            if columns[m, a] >= 0:
                row[columns[m, a]] += total[m, a]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def radial_kernel(group, mode, first, centres, species, vectors, lo, hi, rows, edge_rows):
    """One radial group for the atoms lo <= i < hi.

    `first` [N + 1] edges of each atom, `centres` [N] species of the atoms, `species` [E] of the neighbours, `vectors`
    [E, 3]; `rows` [N, D] is G (VALUE), v (VJP) or J u (JVP), `edge_rows` [E, 3] J^T v (VJP) or u (JVP).
    """
    degree = 1
    for atom in range(lo, hi):
        degree = max(degree, first[atom + 1] - first[atom])
    near, edges = np.empty((8, degree)), np.empty(degree, np.int64)
    bounds = np.empty(group.active.shape[1] + 1, np.int64)
    n_radial, n_angular = len(group.eta), len(group.zeta)
    work, radial = np.empty(ROWS * BATCH), np.empty(n_radial * BATCH)
    angular, slope = np.empty(n_angular * BATCH), np.empty(n_angular * BATCH)
    grid = np.empty((n_radial, n_angular))
    for atom in range(lo, hi):
        centre = centres[atom]
        if not group.active[centre].any():
            continue
        _load(group, vectors, species, first[atom], first[atom + 1], mode, edge_rows, near, edges, bounds)
        for p in range(len(bounds) - 1):
            if not group.active[centre, p] or bounds[p] == bounds[p + 1]:
                continue
            if mode == VJP:
                _gather(group, rows[atom], centre, p, grid)
            else:
                grid[:] = 0.0
            for begin in range(bounds[p], bounds[p + 1], BATCH):
                n = min(BATCH, bounds[p + 1] - begin)
                for i in range(n):
                    work[RA * BATCH + i] = near[_R, begin + i]
                    work[FA * BATCH + i] = near[_F, begin + i]
                    work[DFA * BATCH + i] = near[_DF, begin + i]
                    work[X * BATCH + i] = 2.0 / group.cutoff * near[_R, begin + i] - 1.0
                    work[DX * BATCH + i] = 2.0 / group.cutoff
                    # with this, the angular factor of groups without polynomials is 1
                    work[C * BATCH + i] = 0.0
                    work[DA * BATCH + i] = near[_DR, begin + i] if mode == JVP else 0.0
                radial_factors(group, work, radial, n, 1)
                angular_factors(group, work, angular, slope, n)
                if mode == VJP:
                    contract(group, grid, work, radial, angular, slope, 0, n)
                    for i in range(n):
                        f, r = work[FA * BATCH + i], work[RA * BATCH + i]
                        pull = f * (work[V * BATCH + i] - 2.0 * (r * work[Q1 * BATCH + i] - work[Q2 * BATCH + i]))
                        work[PA * BATCH + i] = (pull + work[DFA * BATCH + i] * work[T0 * BATCH + i]) / r
                    for i in range(n):
                        e = edges[begin + i]
                        for k in range(3):
                            edge_rows[e, k] += work[PA * BATCH + i] * near[k, begin + i]
                else:
                    _add_radial(group, mode, grid, work, radial, angular, slope, n)
            if mode != VJP:
                _scatter(group, grid, centre, p, rows[atom])


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_radial(group, mode, total, work, radial, angular, slope, n):
    """total[m, a] += Σ_lanes of the function (VALUE) or of its change along u (JVP)."""
    if mode == VALUE:
        for m in range(total.shape[0]):
            for i in range(n):
                radial[m * BATCH + i] *= work[FA * BATCH + i]
        add_products(total, radial, angular, 0, n)
        return
    for m in range(total.shape[0]):
        for i in range(n):
            work[U * BATCH + i] = radial[m * BATCH + i] * work[FA * BATCH + i] * work[DA * BATCH + i]
            stretch = 2.0 * group.eta[m] * (work[RA * BATCH + i] - group.shift[m]) * work[FA * BATCH + i]
            work[W * BATCH + i] = radial[m * BATCH + i] * (work[DFA * BATCH + i] - stretch) * work[DA * BATCH + i]
        add_products(total[m : m + 1], work[U * BATCH : (U + 1) * BATCH], slope, 0, n)
        add_products(total[m : m + 1], work[W * BATCH : (W + 1) * BATCH], angular, 0, n)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _fill(group, near, work, first, second, n, j, k, j_end, k_start, k_end):
    """Fill a batch of n lanes further with pairs of neighbours from (j, k) on: (lanes, next j, next k).

    j runs to `j_end`, k from `k_start`, or from j + 1 where both are of one class (k_start < 0), to `k_end`. The batch
    is full if j has not come to its end.
    """
    square = group.cutoff**2
    while j < j_end:
        x, y, z, r = near[_X, j], near[_Y, j], near[_Z, j], near[_R, j]
        f, df, inverse = near[_F, j], near[_DF, j], near[_INVERSE, j]
        while k < k_end:
            dot = x * near[_X, k] + y * near[_Y, k] + z * near[_Z, k]
            jk2 = r * r + near[_R, k] ** 2 - 2.0 * dot
            if jk2 < square or not group.narrow:
                if n == BATCH:
                    return n, j, k
                work[C * BATCH + n] = dot * inverse * near[_INVERSE, k]
                work[RA * BATCH + n], work[RB * BATCH + n], work[RJ * BATCH + n] = r, near[_R, k], jk2
                work[FA * BATCH + n], work[DFA * BATCH + n] = f, df
                work[FB * BATCH + n], work[DFB * BATCH + n] = near[_F, k], near[_DF, k]
                first[n], second[n] = j, k
                n += 1
            k += 1
        j += 1
        k = k_start if k_start >= 0 else j + 1
    return n, j, k


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def angular_kernel(group, mode, first, centres, species, vectors, lo, hi, rows, edge_rows):
    """One angular group for the atoms lo <= i < hi; the arguments are those of `radial_kernel`."""
    degree = 1
    for atom in range(lo, hi):
        degree = max(degree, first[atom + 1] - first[atom])
    near, edges, pull = np.empty((8, degree)), np.empty(degree, np.int64), np.empty((degree, 3))
    classes, pairs = group.species_class.max() + 1, group.active.shape[1]
    bounds = np.empty(classes + 1, np.int64)
    n_radial, n_angular = len(group.eta), len(group.zeta)
    work, radial = np.empty(ROWS * BATCH), np.empty(n_radial * BATCH)
    angular, slope = np.empty(n_angular * BATCH), np.empty(n_angular * BATCH)
    one, two = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    lanes = (work, radial, angular, slope, one, two)
    grids, ends = np.empty((pairs, n_radial, n_angular)), np.empty(pairs, np.int64)
    for atom in range(lo, hi):
        centre = centres[atom]
        if not group.active[centre].any():
            continue
        _load(group, vectors, species, first[atom], first[atom + 1], mode, edge_rows, near, edges, bounds)
        pull[: bounds[classes]] = 0.0
        for p in range(pairs):
            if mode == VJP:
                _gather(group, rows[atom], centre, p, grids[p])
            else:
                grids[p] = 0.0
        # a batch holds lanes of several pairs of classes one after the other: pair p ends at lane ends[p]
        p, n, ends[:] = -1, 0, 0
        for c1 in range(classes):
            for c2 in range(c1, classes):
                p += 1
                ends[p] = n
                if not group.active[centre, p]:
                    continue
                j, k_start = bounds[c1], bounds[c2] if c2 > c1 else -1
                k = k_start if k_start >= 0 else j + 1
                while True:
                    n, j, k = _fill(group, near, work, one, two, n, j, k, bounds[c1 + 1], k_start, bounds[c2 + 1])
                    ends[p] = n
                    if j >= bounds[c1 + 1]:
                        break
                    _process(group, mode, near, edges, edge_rows, lanes, grids, ends, pull)
                    n, ends[:] = 0, 0
        _process(group, mode, near, edges, edge_rows, lanes, grids, ends, pull)
        if mode != VJP:
            for p in range(pairs):
                _scatter(group, grids[p], centre, p, rows[atom])
            continue
        for i in range(bounds[classes]):
            for k in range(3):
                edge_rows[edges[i], k] += pull[i, k]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _process(group, mode, near, edges, u, lanes, grids, ends, pull):
    """Work off a batch: add to `grids` [P, M, A] (VALUE, JVP), or to `pull` [n, 3] what follows from them (VJP)."""
    n = ends.max()
    if n == 0:
        return
    work, radial, angular, slope, one, two = lanes
    _factors(group, work, radial, angular, slope, n)
    if mode == VALUE:
        _weigh(work, radial, len(group.eta), n)
    elif mode == JVP:
        _changes(near, edges, u, work, one, two, n)
    begin = 0
    for p in range(len(ends)):
        end = ends[p]
        if end <= begin:
            continue
        if mode == VALUE:
            add_products(grids[p], radial, angular, begin, end)
        elif mode == VJP:
            contract(group, grids[p], work, radial, angular, slope, begin, end)
        else:
            _add_changes(group, grids[p], work, radial, angular, slope, begin, end)
        begin = end
    if mode == VJP:
        _gradients(group, work, n)
        _pull(work, near, one, two, n, pull)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _factors(group, work, radial, angular, slope, n):
    """Rows of the batch that all modes need: cutoff functions of R_jk, radial and angular factors."""
    if group.narrow:
        neighbour_cutoffs(group, work, n)
    else:
        work[FJ * BATCH : FJ * BATCH + n] = 1.0
        work[DFJ * BATCH : DFJ * BATCH + n] = 0.0
        work[RJ * BATCH : RJ * BATCH + n] = 1.0
    radial_factors(group, work, radial, n, 3 if group.narrow else 2)
    if group.chebyshev:
        angle_argument(work, n)
    angular_factors(group, work, angular, slope, n)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _weigh(work, radial, count, n):
    """radial[m] = w f R_m."""
    for i in range(n):
        work[U * BATCH + i] = work[FA * BATCH + i] * work[FB * BATCH + i] * work[FJ * BATCH + i]
    for m in range(count):
        factor = radial[m * BATCH : (m + 1) * BATCH]
        for i in range(n):
            factor[i] *= work[U * BATCH + i]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _gradients(group, work, n):
    """Rows PA, PB and Q of the module's equations."""
    for i in range(n):
        a, b, j = work[RA * BATCH + i], work[RB * BATCH + i], work[RJ * BATCH + i]
        fa, fb, fj = work[FA * BATCH + i], work[FB * BATCH + i], work[FJ * BATCH + i]
        t0, q1, q2 = work[T0 * BATCH + i], work[Q1 * BATCH + i], work[Q2 * BATCH + i]
        f = 2.0 * fa * fb * fj
        s_a = work[DFA * BATCH + i] * fb * fj * t0 - f * (a * q1 - q2)
        s_b = work[DFB * BATCH + i] * fa * fj * t0 - f * (b * q1 - q2)
        s_j = 0.0
        if group.narrow:
            s_j = (work[DFJ * BATCH + i] * fa * fb * t0 - f * (j * q1 - q2)) / j
        s_c = 0.5 * f * work[V * BATCH + i]
        c, inverse_a, inverse_b = work[C * BATCH + i], 1.0 / a, 1.0 / b
        work[PA * BATCH + i] = (s_a - c * s_c * inverse_a) * inverse_a + s_j
        work[PB * BATCH + i] = (s_b - c * s_c * inverse_b) * inverse_b + s_j
        work[Q * BATCH + i] = s_c * inverse_a * inverse_b - s_j


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _pull(work, near, one, two, n, pull):
    """pull[j] += PA a + Q b, pull[k] += PB b + Q a."""
    for i in range(n):
        j, k = one[i], two[i]
        pa, pb, q = work[PA * BATCH + i], work[PB * BATCH + i], work[Q * BATCH + i]
        for axis in range(3):
            pull[j, axis] += pa * near[axis, j] + q * near[axis, k]
            pull[k, axis] += pb * near[axis, k] + q * near[axis, j]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _changes(near, edges, u, work, one, two, n):
    """Rows DA, DB, DJ, DC: changes of R_ij, R_ik, R_jk and cos θ when the edge vectors change along u."""
    for i in range(n):
        j, k = one[i], two[i]
        dot, across = 0.0, 0.0
        for axis in range(3):
            a, b = near[axis, j], near[axis, k]
            du, dv = u[edges[j], axis], u[edges[k], axis]
            dot += a * dv + b * du
            across += (b - a) * (dv - du)
        da, db = near[_DR, j], near[_DR, k]
        stretch = da * near[_INVERSE, j] + db * near[_INVERSE, k]
        work[DA * BATCH + i], work[DB * BATCH + i] = da, db
        work[DJ * BATCH + i] = across / work[RJ * BATCH + i]
        work[DC * BATCH + i] = dot * near[_INVERSE, j] * near[_INVERSE, k] - work[C * BATCH + i] * stretch


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_changes(group, total, work, radial, angular, slope, lo, hi):
    """total[m, a] += Σof the change of w f R_m A_a along the rows DA, DB, DJ, DC, lanes lo <= i < hi."""
    for m in range(total.shape[0]):
        eta, shift = group.eta[m], group.shift[m]
        for i in range(lo, hi):
            fa, fb, fj = work[FA * BATCH + i], work[FB * BATCH + i], work[FJ * BATCH + i]
            da, db, dj = work[DA * BATCH + i], work[DB * BATCH + i], work[DJ * BATCH + i]
            f = fa * fb * fj
            df = work[DFA * BATCH + i] * fb * fj * da + fa * work[DFB * BATCH + i] * fj * db
            stretch = (work[RA * BATCH + i] - shift) * da + (work[RB * BATCH + i] - shift) * db
            if group.narrow:
                df += fa * fb * work[DFJ * BATCH + i] * dj
                stretch += (work[RJ * BATCH + i] - shift) * dj
            work[U * BATCH + i] = radial[m * BATCH + i] * f * work[DC * BATCH + i]
            work[W * BATCH + i] = radial[m * BATCH + i] * (df - 2.0 * eta * stretch * f)
        add_products(total[m : m + 1], work[U * BATCH : (U + 1) * BATCH], slope, lo, hi)
        add_products(total[m : m + 1], work[W * BATCH : (W + 1) * BATCH], angular, lo, hi)
