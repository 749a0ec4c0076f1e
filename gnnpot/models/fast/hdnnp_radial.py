"""Radial Gaussian symmetry functions of one atom, sixteen functions at once:

    G_m = Σ_j f_j exp(-η_m (r_j - s_m)²)
    dE/dr_j = Σ_m dE/dG_m exp(-η_m (r_j - s_m)²) (f'_j - 2 η_m (r_j - s_m) f_j)

f_j is the cutoff function times the weight of the neighbour. The elements of SIMD vectors are functions, not
neighbours, so that the sum over neighbours needs no sum over vector elements.
"""

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_functions import decay
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, broadcast_at, fma, load, store, total


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def add_radial(plan, part, near, rows, lo, hi, gaussians, sums, row):
    """Add G_m of the functions of `part`, summed over the neighbours lo <= j < hi of one class, to `row`.

    `near[rows[0] + j]` is r_j and `near[rows[1] + j]` is f_j. exp(-η_m (r_j - s_m)²) is stored in
    `gaussians[plan.radial_width * j + m]`; `sums` is a temporary array.
    """
    count = part[1] - part[0]
    for m in range(0, count, SIMD_WIDTH):
        eta, shift, s = load(plan.eta, part[2] + m), load(plan.shift, part[2] + m), broadcast(near, 0.0)
        for j in range(lo, hi):
            x = broadcast_at(near, rows[0] + j) - shift
            gaussian = decay(0.0 - x * x * eta)
            store(gaussians, plan.radial_width * j + m, gaussian)
            s = fma(gaussian, broadcast_at(near, rows[1] + j), s)
        store(sums, m, s)
    for m in range(count):
        row[plan.column[part[0] + m]] += sums[m]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def radial_slope(plan, part, near, rows, j, gaussians, coefficients):
    """Return dE/dr_j for `coefficients`, dE/dG_m of the functions of `part`, padded with zeros.

    `rows` has the positions of r, f and f' in `near`.
    """
    r, f, df = broadcast_at(near, rows[0] + j), broadcast_at(near, rows[1] + j), broadcast_at(near, rows[2] + j)
    s = broadcast(near, 0.0)
    for m in range(0, part[1] - part[0], SIMD_WIDTH):
        eta, shift = load(plan.eta, part[2] + m), load(plan.shift, part[2] + m)
        slope = load(gaussians, plan.radial_width * j + m) * (df - (r - shift) * eta * f * 2.0)
        s = fma(load(coefficients, m), slope, s)
    return total(s)
