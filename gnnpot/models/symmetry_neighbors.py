"""Lists of the neighbours of an atom, and batches of pairs of neighbours, for the kernels of symmetry functions.

These functions are inlined into kernels. Numba's cache does not detect changes here, see `symmetry_batches`.
"""

import math

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.models.symmetry_batches import BATCH, DFA, DFB, FA, FAST, FB, RA, RB, RJ, ROWS, C, cutoff_value

#: rows of the list of neighbours of an atom: vector, distance, weight times cutoff function, weight times its
#: derivative, 1/distance, and derivative of the distance along u
_X, _Y, _Z, R, F, DF, INVERSE, DR = range(8)


@njit(forceinline=True, error_model="numpy")
def new_neighbor_list(group, starts, lo, hi):
    """Allocate `near`, `edges` and `bounds` of `load_neighbors`, for any of the atoms lo <= i < hi."""
    degree = 1
    for atom in range(lo, hi):
        degree = max(degree, starts[atom + 1] - starts[atom])
    bounds = np.empty(group.species_class.max() + 2, np.int64)
    return np.empty((8, degree)), np.empty(degree, np.int64), bounds


@njit(forceinline=True, error_model="numpy")
def new_batch(group):
    """Allocate the rows of a batch: work array, radial factors, angular factors and their derivatives."""
    n_radial, n_angular = len(group.eta), len(group.zeta)
    angular, slope = np.empty(n_angular * BATCH), np.empty(n_angular * BATCH)
    return np.empty(ROWS * BATCH), np.empty(n_radial * BATCH), angular, slope


@njit(forceinline=True, error_model="numpy")
def load_neighbors(group, vectors, species, start, end, with_tangent, u, near, edges, bounds):
    """Load the n neighbours within the cutoff of the group, sorted by class.

    Sets the rows `near` [8, n], the edges `edges` [n], and the start and end of each class, `bounds` [classes + 1]. Row
    DR is set only if `with_tangent` is true, for the direction u [E, 3].
    """
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
        near[_X, i], near[_Y, i], near[_Z, i], near[R, i] = x, y, z, r
        near[F, i], near[DF, i], near[INVERSE, i] = weight * f, weight * df, 1.0 / r
        if with_tangent:
            near[DR, i] = (x * u[e, 0] + y * u[e, 1] + z * u[e, 2]) / r
        edges[i] = e
    for k in range(len(bounds) - 1, 0, -1):
        bounds[k] = bounds[k - 1]
    bounds[0] = 0


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def fill_batch(group, near, work, index_j, index_k, n, j, k, j_end, k_start, k_end):
    """Add pairs of neighbours from (j, k) on to a batch of n elements; return (number of elements, next j, next k).

    j runs to `j_end`. k runs from `k_start` to `k_end`; if both neighbours are of the same class (k_start < 0), it
    starts from j + 1. If the returned j is less than `j_end`, the batch is full.
    """
    square = group.cutoff**2
    while j < j_end:
        x, y, z, r = near[_X, j], near[_Y, j], near[_Z, j], near[R, j]
        f, df, inverse = near[F, j], near[DF, j], near[INVERSE, j]
        while k < k_end:
            dot = x * near[_X, k] + y * near[_Y, k] + z * near[_Z, k]
            jk2 = r * r + near[R, k] ** 2 - 2.0 * dot
            if jk2 < square or not group.uses_r_jk:
                if n == BATCH:
                    return n, j, k
                work[C * BATCH + n] = dot * inverse * near[INVERSE, k]
                work[RA * BATCH + n], work[RB * BATCH + n], work[RJ * BATCH + n] = r, near[R, k], jk2
                work[FA * BATCH + n], work[DFA * BATCH + n] = f, df
                work[FB * BATCH + n], work[DFB * BATCH + n] = near[F, k], near[DF, k]
                index_j[n], index_k[n] = j, k
                n += 1
            k += 1
        j += 1
        k = k_start if k_start >= 0 else j + 1
    return n, j, k
