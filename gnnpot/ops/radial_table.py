"""Functions of a distance from a table: value and slope at evenly spaced points, cubic Hermite interpolation between.

With x = r/h, k = floor(x), t = x - k, and g_k = h f'(r_k), between the points r_k = kh:

    f(r) = (1 - t)²(1 + 2t) f_k + t(1 - t)² g_k + t²(3 - 2t) f_{k+1} + t²(t - 1) g_{k+1}

r and h are in Å, the table of F functions is [POINTS + 1, 2, F] (f_k and g_k, both in the unit of the function), values
of E distances are [E, F], and slopes in the function's unit per Å.

With f and f' right at the points of spacing h, the error within is at most h⁴/384 max|f''''|: for the radial functions
of a potential, with periods of 1 Å and more, 4096 points leave less than single precision does.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.ops.simd.kernels import FAST

POINTS = 4096


class Table:
    """F functions of a distance, tabulated from 0 to `stop` (Å); beyond, they are what they are at `stop`.

    `functions` maps distances [P] to values [P, F], in double precision.
    """

    def __init__(self, functions: Callable[[Tensor], Tensor], stop: float) -> None:
        self.step = stop / POINTS
        #: in double precision, since slopes between points are differences of values
        self.rows = hermite_rows(functions, stop, POINTS)

    def with_slope(self, distances: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Values [E, F], and what turns their gradient into that of the distances, [E]."""
        distances, per_step, rows = distances.detach(), 1 / self.step, self.rows.numpy()
        values = distances.new_empty(len(distances), rows.shape[2])
        _interpolate(distances.numpy(), per_step, rows, values.numpy())

        def pullback(gradient: Tensor) -> Tensor:
            out = torch.empty_like(distances)
            _slope(distances.numpy(), per_step, rows, gradient.contiguous().numpy(), out.numpy())
            return out

        return values, pullback

    def jvp(self, distances: Tensor) -> Tensor:
        """Of distances and their tangents [2, E], values and their tangents [2, E, F]; not differentiable."""
        values = distances.new_empty(2, distances.shape[1], self.rows.shape[2])
        _interpolate_jvp(distances.contiguous().numpy(), 1 / self.step, self.rows.numpy(), values.numpy())
        return values


def hermite_rows(functions: Callable[[Tensor], Tensor], stop: float, intervals: int) -> Tensor:
    """Values, and slopes times the spacing, at the ends of even intervals from 0 to `stop`; [intervals + 1, 2, F]."""
    step = stop / intervals
    # the functions may have a pole at 0, where no two atoms are, and a kink at the cutoff
    points = torch.linspace(0, stop, intervals + 1, dtype=torch.float64).clamp(1e-3 * step, stop - 1e-9 * step)
    with torch.enable_grad():
        values = functions(points.requires_grad_())
        # Σ_pf v_pf f'_f(r_p) has the slopes as its derivative with respect to v
        v = torch.zeros_like(values, requires_grad=True)
        (along,) = torch.autograd.grad(values, points, v, create_graph=True)
        (slopes,) = torch.autograd.grad(along.sum(), v)
    return torch.stack([values.detach(), slopes * step], 1)


@njit(fastmath=FAST, forceinline=True)
def hermite(rows, x, per_step, out):
    """The functions, and their slopes, [2, F], at x steps from 0."""
    last = rows.shape[0] - 2
    k = min(int(x), last)
    t = min(x - k, 1.0)
    a, b = 1 - t * t * (3 - 2 * t), t * (1 - t) * (1 - t)
    c, d = t * t * (3 - 2 * t), t * t * (t - 1)
    rise, db, dd = 6 * t * (1 - t), (1 - t) * (1 - 3 * t), t * (3 * t - 2)
    # where x is beyond the table, the functions are constant
    slope = per_step if x - k <= 1 else 0.0
    for f in range(rows.shape[2]):
        left, right, at_left, at_right = rows[k, 0, f], rows[k + 1, 0, f], rows[k, 1, f], rows[k + 1, 1, f]
        out[0, f] = a * left + b * at_left + c * right + d * at_right
        out[1, f] = slope * (rise * (right - left) + db * at_left + dd * at_right)


@njit(parallel=True, fastmath=FAST, cache=True)
def _interpolate_jvp(distances, per_step, rows, values):
    for e in prange(distances.shape[1]):
        found = np.empty((2, rows.shape[2]))
        hermite(rows, np.float64(distances[0, e]) * per_step, per_step, found)
        for f in range(rows.shape[2]):
            values[0, e, f] = found[0, f]
            values[1, e, f] = found[1, f] * distances[1, e]


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
def _slope(distances, per_step, rows, gradient, out):
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
