"""Tables of functions of a distance, with cubic Hermite interpolation.

The table has values and slopes at the points r_k = kh. With x = r/h, k = floor(x), t = x - k, and g_k = h f'(r_k),

    f(r) = (1 - t)²(1 + 2t) f_k + t(1 - t)² g_k + t²(3 - 2t) f_{k+1} + t²(t - 1) g_{k+1}

r and h are in Å. The table of F functions is [POINTS + 1, 2, F] with f_k and g_k, both in the unit of the function.
Values at E distances are [E, F]; slopes are in the unit of the function per Å.

As f and f' are exact at the points, the interpolation error is at most h⁴/384 max|f''''|. The radial functions of a
potential have periods of 1 Å or more; with 4096 points, the error is below the rounding errors of single precision.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.ops.simd.kernels import FAST

POINTS = 4096


class Table:
    """F functions of a distance, tabulated from 0 to `stop` (Å); beyond `stop`, they are constant.

    `functions` maps distances [P] to values [P, F], in double precision.
    """

    def __init__(self, functions: Callable[[Tensor], Tensor], stop: float) -> None:
        self.step = stop / POINTS
        #: [POINTS + 1, 2, F] in double precision, because slopes between the points are differences of values
        self.rows = hermite_rows(functions, stop, POINTS)

    def with_pullback(self, distances: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the values [E, F] at distances [E], and their pullback: gradient [E, F] -> gradient [E]."""
        distances, per_step, rows = distances.detach(), 1 / self.step, self.rows.numpy()
        values = distances.new_empty(len(distances), rows.shape[2])
        _interpolate(distances.numpy(), per_step, rows, values.numpy())

        def pullback(gradient: Tensor) -> Tensor:
            out = torch.empty_like(distances)
            _interpolate_backward(distances.numpy(), per_step, rows, gradient.contiguous().numpy(), out.numpy())
            return out

        return values, pullback

    def jvp(self, distances: Tensor) -> Tensor:
        """Return values and tangents [2, E, F] for distances and their tangents [2, E]; not differentiable."""
        values = distances.new_empty(2, distances.shape[1], self.rows.shape[2])
        _interpolate_jvp(distances.contiguous().numpy(), 1 / self.step, self.rows.numpy(), values.numpy())
        return values


def hermite_rows(functions: Callable[[Tensor], Tensor], stop: float, intervals: int) -> Tensor:
    """Return values, and slopes times the spacing, at the ends of equal intervals from 0 to `stop`.

    Args:
        functions: Maps distances [P] to values [P, F].
        stop: Å.
        intervals: Number of intervals.

    Returns:
        [intervals + 1, 2, F], float64.
    """
    step = stop / intervals
    # stay away from a possible pole at 0 and a kink at the cutoff
    points = torch.linspace(0, stop, intervals + 1, dtype=torch.float64).clamp(1e-3 * step, stop - 1e-9 * step)
    with torch.enable_grad():
        values = functions(points.requires_grad_())
        # the slopes are the derivative of Σ_pf v_pf f'_f(r_p) with respect to v
        v = torch.zeros_like(values, requires_grad=True)
        (vjp,) = torch.autograd.grad(values, points, v, create_graph=True)
        (slopes,) = torch.autograd.grad(vjp.sum(), v)
    return torch.stack([values.detach(), slopes * step], 1)


@njit(fastmath=FAST, forceinline=True)
def hermite(rows, x, per_step, out):
    """Set `out` [2, F] to the values and slopes at the distance x / `per_step`."""
    last = rows.shape[0] - 2
    k = min(int(x), last)
    t = min(x - k, 1.0)
    a, b = 1 - t * t * (3 - 2 * t), t * (1 - t) * (1 - t)
    c, d = t * t * (3 - 2 * t), t * t * (t - 1)
    dc, db, dd = 6 * t * (1 - t), (1 - t) * (1 - 3 * t), t * (3 * t - 2)
    # beyond the end of the table, the functions are constant
    slope = per_step if x - k <= 1 else 0.0
    for f in range(rows.shape[2]):
        value_left, value_right, slope_left, slope_right = (
            rows[k, 0, f], rows[k + 1, 0, f], rows[k, 1, f], rows[k + 1, 1, f],
        )  # fmt: skip
        out[0, f] = a * value_left + b * slope_left + c * value_right + d * slope_right
        out[1, f] = slope * (dc * (value_right - value_left) + db * slope_left + dd * slope_right)


@njit(parallel=True, fastmath=FAST, cache=True)
def _interpolate_jvp(distances, per_step, rows, values):
    for e in prange(distances.shape[1]):
        interpolated = np.empty((2, rows.shape[2]))
        hermite(rows, np.float64(distances[0, e]) * per_step, per_step, interpolated)
        for f in range(rows.shape[2]):
            values[0, e, f] = interpolated[0, f]
            values[1, e, f] = interpolated[1, f] * distances[1, e]


@njit(parallel=True, fastmath=FAST, cache=True)
def _interpolate(distances, per_step, rows, values):
    last = rows.shape[0] - 2
    for e in prange(len(distances)):
        x = np.float64(distances[e]) * per_step
        k = min(int(x), last)
        t = min(x - k, 1.0)
        a, b = 1 - t * t * (3 - 2 * t), t * (1 - t) * (1 - t)
        c, d = t * t * (3 - 2 * t), t * t * (t - 1)
        for f in range(values.shape[1]):
            values[e, f] = a * rows[k, 0, f] + b * rows[k, 1, f] + c * rows[k + 1, 0, f] + d * rows[k + 1, 1, f]


@njit(parallel=True, fastmath=FAST, cache=True)
def _interpolate_backward(distances, per_step, rows, gradient, out):
    last = rows.shape[0] - 2
    for e in prange(len(distances)):
        x = np.float64(distances[e]) * per_step
        k = min(int(x), last)
        t = x - k
        c, b, d = 6 * t * (1 - t), (1 - t) * (1 - 3 * t), t * (3 * t - 2)
        total = 0.0
        if t <= 1:
            for f in range(gradient.shape[1]):
                rise = rows[k + 1, 0, f] - rows[k, 0, f]
                total += gradient[e, f] * (c * rise + b * rows[k, 1, f] + d * rows[k + 1, 1, f])
        out[e] = total * per_step
