"""M3GNet's three-body step for values and tangents (see `training`).

It takes one pass over the close edges of each atom, forward and backward. With the weights w_ln(k) =
R_ln(k) a_ln(neighbour of k), the sums M_lmn = Σ_k Y_lm(k) w_ln(k) of each atom, Y_l = Y_l0(0), and
T_ln(j) = Σ_m Y_lm(j) M_lmn / Y_l - Y_l w_ln(j),

    e_ln(j) = f(j) T_ln(j)                    ė = ḟ T + f [(Ẏ · M + Y · Ṁ)/Y_l - Y_l ẇ]                         (1)

is linear in w. With the gradients c and ċ with respect to e and ė, the gradients for w and ẇ are

    D_lmn = Σ_j [Y f c + (Ẏ f + Y ḟ) ċ]/Y_l,      Ḋ_lmn = Σ_j Y f ċ/Y_l
    w: Y · D + Ẏ · Ḋ - Y_l (f c + ḟ ċ)            ẇ: Y · Ḋ - Y_l f ċ                                             (2)

R, f and Y depend only on the edge vectors, which need no gradient.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.models.fast.close_edges import FastCloseEdges
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_math import gate_jvp
from gnnpot.ops.simd.vectors import SIMD_WIDTH, load, store


class ThreeBodyJVP(torch.autograd.Function):
    """`ThreeBody` for values and tangents; differentiable once.

    Inputs: a [2, N, L n], features of the edges [2, E, u], the weight W of the gate [2u, L n], and the close edges.
    """

    @staticmethod
    def forward(ctx: Any, atoms: Tensor, edges: Tensor, bond: Tensor, close: FastCloseEdges) -> Tensor:
        follow_torch()
        ctx.arrays = (
            atoms.detach().contiguous().numpy(), close.radial, close.envelope, close.harmonics, close.neighbor.index,
            close.starts,
        )  # fmt: skip
        mixed = torch.from_numpy(np.empty_like(close.radial))
        _mix(*ctx.arrays, mixed.numpy())
        ctx.gates = (mixed.flatten(0, 1) @ bond.detach().T).view(2, len(close.edges), len(bond))
        ctx.mixed, ctx.bond, ctx.close = mixed, bond.detach(), close
        out = edges.clone(memory_format=torch.contiguous_format)
        _gate(ctx.gates.numpy(), close.edges, out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient, gates = gradient.contiguous(), ctx.gates.clone()
        _gate_backward(gradient.numpy(), ctx.close.edges, gates.numpy())
        flat = gates.flatten(0, 1)
        g_bond, g_mixed = flat.T @ ctx.mixed.flatten(0, 1), flat @ ctx.bond
        g_neighbor = torch.empty_like(ctx.mixed)
        _mix_backward(*ctx.arrays, g_mixed.view_as(ctx.mixed).numpy(), g_neighbor.numpy())
        g_atoms = torch.stack([ctx.close.neighbor.sum(g) for g in g_neighbor])
        return g_atoms, gradient, g_bond, None


@njit(parallel=True, fastmath=FAST, cache=True)
def _mix(atoms, radial, envelope, harmonics, neighbor, starts, mixed):
    """Equation (1)."""
    lms = harmonics.shape[2]
    count = radial.shape[2] // round(math.sqrt(lms))
    for i in prange(len(starts) - 1):
        m = np.zeros((2, lms, count))
        w = np.empty((2, count))
        for k in range(starts[i], starts[i + 1]):
            for lm in range(lms):
                at = int(math.sqrt(lm)) * count
                y, tangent = harmonics[0, k, lm], harmonics[1, k, lm]
                _weights(atoms, radial, neighbor, k, at, w)
                for n in range(count):
                    m[0, lm, n] += y * w[0, n]
                    m[1, lm, n] += tangent * w[0, n] + y * w[1, n]
        for j in range(starts[i], starts[i + 1]):
            f, tangent_f = envelope[0, j], envelope[1, j]
            for at in range(0, mixed.shape[2], count):
                l = at // count
                scale = math.sqrt((2 * l + 1) / (4 * math.pi))
                _weights(atoms, radial, neighbor, j, at, w)
                for n in range(count):
                    value, tangent = 0.0, 0.0
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        value += harmonics[0, j, lm] * m[0, lm, n]
                        tangent += harmonics[1, j, lm] * m[0, lm, n] + harmonics[0, j, lm] * m[1, lm, n]
                    value, tangent = value / scale - scale * w[0, n], tangent / scale - scale * w[1, n]
                    mixed[0, j, at + n] = f * value
                    mixed[1, j, at + n] = tangent_f * value + f * tangent


@njit(fastmath=FAST, forceinline=True)
def _weights(atoms, radial, neighbor, k, at, w):
    """Set w and ẇ of close edge k, for the functions from `at` on."""
    for n in range(w.shape[1]):
        a, r = atoms[0, neighbor[k], at + n], radial[0, k, at + n]
        w[0, n] = a * r
        w[1, n] = atoms[1, neighbor[k], at + n] * r + a * radial[1, k, at + n]


@njit(parallel=True, fastmath=FAST, cache=True)
def _mix_backward(atoms, radial, envelope, harmonics, neighbor, starts, gradient, g_neighbor):
    """Equation (2): set `g_neighbor`, the gradients with respect to a and ȧ at the neighbour of each close edge."""
    lms = harmonics.shape[2]
    count = radial.shape[2] // round(math.sqrt(lms))
    for i in prange(len(starts) - 1):
        d = np.zeros((2, lms, count))
        for j in range(starts[i], starts[i + 1]):
            f, tangent_f = envelope[0, j], envelope[1, j]
            for lm in range(lms):
                l = int(math.sqrt(lm))
                scale = math.sqrt((2 * l + 1) / (4 * math.pi))
                y, tangent = harmonics[0, j, lm] / scale, harmonics[1, j, lm] / scale
                for n in range(count):
                    c, dc = gradient[0, j, l * count + n], gradient[1, j, l * count + n]
                    d[0, lm, n] += y * f * c + (tangent * f + y * tangent_f) * dc
                    d[1, lm, n] += y * f * dc
        for k in range(starts[i], starts[i + 1]):
            f, tangent_f = envelope[0, k], envelope[1, k]
            for at in range(radial.shape[2]):
                l, n = at // count, at % count
                scale = math.sqrt((2 * l + 1) / (4 * math.pi))
                c, dc = gradient[0, k, at], gradient[1, k, at]
                value, tangent = -scale * (f * c + tangent_f * dc), -scale * f * dc
                for lm in range(l * l, (l + 1) * (l + 1)):
                    value += harmonics[0, k, lm] * d[0, lm, n] + harmonics[1, k, lm] * d[1, lm, n]
                    tangent += harmonics[0, k, lm] * d[1, lm, n]
                g_neighbor[0, k, at] = radial[0, k, at] * value + radial[1, k, at] * tangent
                g_neighbor[1, k, at] = radial[0, k, at] * tangent


@njit(parallel=True, fastmath=FAST, cache=True)
def _gate(gates, index, out):
    """out[index] += silu(v) σ(g), with tangents, for (v | g) in the rows of `gates`; indices must be unique."""
    rows, width = gates.shape[1], gates.shape[2]
    units, size, out_size = width // 2, rows * width, out.shape[1] * out.shape[2]
    for row in prange(rows):
        at, to = row * width, index[row] * units
        for u in range(0, units, SIMD_WIDTH):
            v, g = load(gates, at + u), load(gates, at + units + u)
            y, tangent, _, _, _, _ = gate_jvp(v, g, load(gates, size + at + u), load(gates, size + at + units + u))
            store(out, to + u, load(out, to + u) + y)
            store(out, out_size + to + u, load(out, out_size + to + u) + tangent)


@njit(parallel=True, fastmath=FAST, cache=True)
def _gate_backward(gradient, index, gates):
    """Replace `gates` by the gradients with respect to them, equation (2) of `gated_jvp` without weights."""
    rows, width = gates.shape[1], gates.shape[2]
    units, size, out_size = width // 2, rows * width, gradient.shape[1] * gradient.shape[2]
    for row in prange(rows):
        at, of = row * width, index[row] * units
        for u in range(0, units, SIMD_WIDTH):
            at_v, at_g = at + u, at + units + u
            dv, dg = load(gates, size + at_v), load(gates, size + at_g)
            g_y, g_dy = load(gradient, of + u), load(gradient, out_size + of + u)
            _, _, y_v, y_g, dy_v, dy_g = gate_jvp(load(gates, at_v), load(gates, at_g), dv, dg)
            store(gates, at_v, g_y * y_v + g_dy * dy_v)
            store(gates, size + at_v, g_dy * y_v)
            store(gates, at_g, g_y * y_g + g_dy * dy_g)
            store(gates, size + at_g, g_dy * y_g)
