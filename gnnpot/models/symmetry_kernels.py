"""Symmetry functions of all atoms, and their VJP and JVP, without lists of triplets.

With symmetry functions G, edge vectors r, and J = dG/dr, the kernels have three modes:

| mode  | reads           | adds to                                  |
|-------|-----------------|------------------------------------------|
| VALUE |                 | G [N, D]                                 |
| VJP   | v = dE/dG [N, D]| gradient of the edges J^T v [E, 3]       |
| JVP   | u [E, 3]        | J u [N, D]                               |

Each call calculates all quantities from the edge vectors; nothing is stored between calls. For a pair of neighbours
with vectors a and b, S = Σ c w f R A is a function of R_ij, R_ik, R_jk and cos θ = a·b/(R_ij R_ik), so that

    dS/da = PA a + Q b,    dS/db = PB b + Q a
    PA = S_ij/R_ij - cos θ S_c/R_ij² + S_jk/R_jk,    PB likewise,    Q = S_c/(R_ij R_ik) - S_jk/R_jk

where S_x is the derivative with respect to x. The kernels release the GIL and process a range of atoms, so that several
threads can run them: each atom writes only to its own row and edges.
"""

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.models.symmetry_batches import (
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
    jk_cutoffs,
    radial_factors,
)
from gnnpot.models.symmetry_neighbors import (
    DF,
    DR,
    INVERSE,
    F,
    R,
    fill_batch,
    load_neighbors,
    new_batch,
    new_neighbor_list,
)

#: modes of the kernels
VALUE, VJP, JVP = 0, 1, 2


@njit(forceinline=True, error_model="numpy")
def _gather(group, row, centre, p, coefficients):
    """Gather `coefficients` [M, A] of a class or pair of classes p from `row` [D]; 0 where there is no function."""
    columns = group.columns[centre, p]
    for m in range(columns.shape[0]):
        for a in range(columns.shape[1]):
            coefficients[m, a] = row[columns[m, a]] if columns[m, a] >= 0 else 0.0


@njit(forceinline=True, error_model="numpy")
def _scatter(group, total, centre, p, row):
    """Add `total` [M, A] of a class or pair of classes p to `row` [D]."""
    columns = group.columns[centre, p]
    for m in range(columns.shape[0]):
        for a in range(columns.shape[1]):
            if columns[m, a] >= 0:
                row[columns[m, a]] += total[m, a]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def radial_kernel(group, mode, starts, centres, species, vectors, lo, hi, rows, edge_rows):
    """Process a radial group for the atoms lo <= i < hi.

    Args:
        group: `FunctionGroup` of radial functions.
        mode: VALUE, VJP or JVP.
        starts: [N + 1] first edge of each atom.
        centres: [N] species of the atoms.
        species: [E] species of the neighbours.
        vectors: [E, 3] edge vectors.
        lo: First atom.
        hi: End of the range of atoms.
        rows: [N, D] G (VALUE), v (VJP) or J u (JVP).
        edge_rows: [E, 3] J^T v (VJP) or u (JVP).
    """
    near, edges, bounds = new_neighbor_list(group, starts, lo, hi)
    n_radial, n_angular = len(group.eta), len(group.zeta)
    work, radial, angular, slope = new_batch(group)
    grid = np.empty((n_radial, n_angular))
    for atom in range(lo, hi):
        centre = centres[atom]
        if not group.active[centre].any():
            continue
        load_neighbors(
            group, vectors, species, starts[atom], starts[atom + 1], mode == JVP, edge_rows, near, edges, bounds
        )
        for p in range(len(bounds) - 1):
            if not group.active[centre, p] or bounds[p] == bounds[p + 1]:
                continue
            if mode == VJP:
                _gather(group, rows[atom], centre, p, grid)
            else:
                grid[:] = 0.0
            for begin in range(bounds[p], bounds[p + 1], BATCH):
                n = min(BATCH, bounds[p + 1] - begin)
                radial_batch(group, mode, near, work, radial, angular, slope, begin, n)
                if mode == VJP:
                    contract(group, grid, work, radial, angular, slope, 0, n)
                    radial_gradients(work, n)
                    for i in range(n):
                        e = edges[begin + i]
                        for k in range(3):
                            edge_rows[e, k] += work[PA * BATCH + i] * near[k, begin + i]
                else:
                    _add_radial(group, mode, grid, work, radial, angular, slope, n)
            if mode != VJP:
                _scatter(group, grid, centre, p, rows[atom])


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def radial_batch(group, mode, near, work, radial, angular, slope, begin, n):
    """Set the rows of the work array and the factors for n neighbours from `begin` on."""
    for i in range(n):
        work[RA * BATCH + i] = near[R, begin + i]
        work[FA * BATCH + i] = near[F, begin + i]
        work[DFA * BATCH + i] = near[DF, begin + i]
        work[X * BATCH + i] = 2.0 / group.cutoff * near[R, begin + i] - 1.0
        work[DX * BATCH + i] = 2.0 / group.cutoff
        # cos θ = 0 makes the angular factor of groups without polynomials 1
        work[C * BATCH + i] = 0.0
        work[DA * BATCH + i] = near[DR, begin + i] if mode == JVP else 0.0
    radial_factors(group, work, radial, n, 1)
    angular_factors(group, work, angular, slope, n)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def radial_gradients(work, n):
    """Set row PA: the gradient with respect to r_ij is PA r_ij."""
    for i in range(n):
        f, r = work[FA * BATCH + i], work[RA * BATCH + i]
        slope = f * (work[V * BATCH + i] - 2.0 * (r * work[Q1 * BATCH + i] - work[Q2 * BATCH + i]))
        work[PA * BATCH + i] = (slope + work[DFA * BATCH + i] * work[T0 * BATCH + i]) / r


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_radial(group, mode, total, work, radial, angular, slope, n):
    """Add the function (VALUE) or its derivative along u (JVP), summed over n neighbours, to `total` [M, A]."""
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


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def angular_kernel(group, mode, starts, centres, species, vectors, lo, hi, rows, edge_rows):
    """Process an angular group for the atoms lo <= i < hi; the arguments are those of `radial_kernel`."""
    near, edges, bounds = new_neighbor_list(group, starts, lo, hi)
    near_gradient, classes, pairs = np.empty((len(edges), 3)), len(bounds) - 1, group.active.shape[1]
    n_radial, n_angular = len(group.eta), len(group.zeta)
    work, radial, angular, slope = new_batch(group)
    index_j, index_k = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    batch = (work, radial, angular, slope, index_j, index_k)
    grids, ends = np.empty((pairs, n_radial, n_angular)), np.empty(pairs, np.int64)
    for atom in range(lo, hi):
        centre = centres[atom]
        if not group.active[centre].any():
            continue
        load_neighbors(
            group, vectors, species, starts[atom], starts[atom + 1], mode == JVP, edge_rows, near, edges, bounds
        )
        near_gradient[: bounds[classes]] = 0.0
        for p in range(pairs):
            if mode == VJP:
                _gather(group, rows[atom], centre, p, grids[p])
            else:
                grids[p] = 0.0
        # a batch can have elements of several pairs of classes, one after the other; pair p ends at element ends[p]
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
                    n, j, k = fill_batch(
                        group, near, work, index_j, index_k, n, j, k, bounds[c1 + 1], k_start, bounds[c2 + 1]
                    )
                    ends[p] = n
                    if j >= bounds[c1 + 1]:
                        break
                    _process_batch(group, mode, near, edges, edge_rows, batch, grids, ends, near_gradient)
                    n, ends[:] = 0, 0
        _process_batch(group, mode, near, edges, edge_rows, batch, grids, ends, near_gradient)
        if mode != VJP:
            for p in range(pairs):
                _scatter(group, grids[p], centre, p, rows[atom])
            continue
        for i in range(bounds[classes]):
            for k in range(3):
                edge_rows[edges[i], k] += near_gradient[i, k]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _process_batch(group, mode, near, edges, u, batch, grids, ends, near_gradient):
    """Process a batch: add to `grids` [P, M, A] (VALUE, JVP), or to `near_gradient` [n, 3] from coefficients (VJP)."""
    n = ends.max()
    if n == 0:
        return
    work, radial, angular, slope, index_j, index_k = batch
    factors(group, work, radial, angular, slope, n)
    if mode == VALUE:
        _multiply_by_cutoffs(work, radial, len(group.eta), n)
    elif mode == JVP:
        _set_tangents(near, edges, u, work, index_j, index_k, n)
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
            _add_tangents(group, grids[p], work, radial, angular, slope, begin, end)
        begin = end
    if mode == VJP:
        gradients(group, work, 0, n)
        _add_gradients(work, near, index_j, index_k, n, near_gradient)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def factors(group, work, radial, angular, slope, n):
    """Set the rows that all modes need: cutoff functions of R_jk, radial and angular factors."""
    if group.uses_r_jk:
        jk_cutoffs(group, work, n)
    else:
        work[FJ * BATCH : FJ * BATCH + n] = 1.0
        work[DFJ * BATCH : DFJ * BATCH + n] = 0.0
        work[RJ * BATCH : RJ * BATCH + n] = 1.0
    radial_factors(group, work, radial, n, 3 if group.uses_r_jk else 2)
    if group.chebyshev:
        angle_argument(work, n)
    angular_factors(group, work, angular, slope, n)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _multiply_by_cutoffs(work, radial, count, n):
    """radial[m] = w f R_m."""
    for i in range(n):
        work[U * BATCH + i] = work[FA * BATCH + i] * work[FB * BATCH + i] * work[FJ * BATCH + i]
    for m in range(count):
        factor = radial[m * BATCH : (m + 1) * BATCH]
        for i in range(n):
            factor[i] *= work[U * BATCH + i]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def gradients(group, work, lo, hi):
    """Set the rows PA, PB and Q of the module docstring for the elements lo <= i < hi."""
    for i in range(lo, hi):
        a, b, j = work[RA * BATCH + i], work[RB * BATCH + i], work[RJ * BATCH + i]
        fa, fb, fj = work[FA * BATCH + i], work[FB * BATCH + i], work[FJ * BATCH + i]
        t0, q1, q2 = work[T0 * BATCH + i], work[Q1 * BATCH + i], work[Q2 * BATCH + i]
        f = 2.0 * fa * fb * fj
        s_a = work[DFA * BATCH + i] * fb * fj * t0 - f * (a * q1 - q2)
        s_b = work[DFB * BATCH + i] * fa * fj * t0 - f * (b * q1 - q2)
        s_j = 0.0
        if group.uses_r_jk:
            s_j = (work[DFJ * BATCH + i] * fa * fb * t0 - f * (j * q1 - q2)) / j
        s_c = 0.5 * f * work[V * BATCH + i]
        c, inverse_a, inverse_b = work[C * BATCH + i], 1.0 / a, 1.0 / b
        work[PA * BATCH + i] = (s_a - c * s_c * inverse_a) * inverse_a + s_j
        work[PB * BATCH + i] = (s_b - c * s_c * inverse_b) * inverse_b + s_j
        work[Q * BATCH + i] = s_c * inverse_a * inverse_b - s_j


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_gradients(work, near, index_j, index_k, n, near_gradient):
    """near_gradient[j] += PA a + Q b, near_gradient[k] += PB b + Q a."""
    for i in range(n):
        j, k = index_j[i], index_k[i]
        pa, pb, q = work[PA * BATCH + i], work[PB * BATCH + i], work[Q * BATCH + i]
        for axis in range(3):
            near_gradient[j, axis] += pa * near[axis, j] + q * near[axis, k]
            near_gradient[k, axis] += pb * near[axis, k] + q * near[axis, j]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _set_tangents(near, edges, u, work, index_j, index_k, n):
    """Set the rows DA, DB, DJ, DC: derivatives of R_ij, R_ik, R_jk and cos θ along the direction u of edge vectors."""
    for i in range(n):
        j, k = index_j[i], index_k[i]
        dot, across = 0.0, 0.0
        for axis in range(3):
            a, b = near[axis, j], near[axis, k]
            du, dv = u[edges[j], axis], u[edges[k], axis]
            dot += a * dv + b * du
            across += (b - a) * (dv - du)
        da, db = near[DR, j], near[DR, k]
        stretch = da * near[INVERSE, j] + db * near[INVERSE, k]
        work[DA * BATCH + i], work[DB * BATCH + i] = da, db
        work[DJ * BATCH + i] = across / work[RJ * BATCH + i]
        work[DC * BATCH + i] = dot * near[INVERSE, j] * near[INVERSE, k] - work[C * BATCH + i] * stretch


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_tangents(group, total, work, radial, angular, slope, lo, hi):
    """Add the derivatives of w f R_m A_a along u, summed over the elements lo <= i < hi, to `total` [M, A]."""
    for m in range(total.shape[0]):
        eta, shift = group.eta[m], group.shift[m]
        for i in range(lo, hi):
            fa, fb, fj = work[FA * BATCH + i], work[FB * BATCH + i], work[FJ * BATCH + i]
            da, db, dj = work[DA * BATCH + i], work[DB * BATCH + i], work[DJ * BATCH + i]
            f = fa * fb * fj
            df = work[DFA * BATCH + i] * fb * fj * da + fa * work[DFB * BATCH + i] * fj * db
            stretch = (work[RA * BATCH + i] - shift) * da + (work[RB * BATCH + i] - shift) * db
            if group.uses_r_jk:
                df += fa * fb * work[DFJ * BATCH + i] * dj
                stretch += (work[RJ * BATCH + i] - shift) * dj
            work[U * BATCH + i] = radial[m * BATCH + i] * f * work[DC * BATCH + i]
            work[W * BATCH + i] = radial[m * BATCH + i] * (df - 2.0 * eta * stretch * f)
        add_products(total[m : m + 1], work[U * BATCH : (U + 1) * BATCH], slope, lo, hi)
        add_products(total[m : m + 1], work[W * BATCH : (W + 1) * BATCH], angular, lo, hi)
