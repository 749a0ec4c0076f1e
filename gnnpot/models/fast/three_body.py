"""Fast form of M3GNet's three-body step: one pass over each atom's close edges, there and back."""

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from gnnpot.models.fast import kernels
from gnnpot.models.fast.close_edges import FastCloseEdges
from gnnpot.models.fast.kernels import FAST


class FastThreeBody(torch.autograd.Function):
    """`ThreeBody` without derivatives with respect to its parameters; its derivative can't be taken twice.

    Inputs: weights of the atoms [N, L n] (L angular momenta, n radial functions), features of the edges, and of the
    close edges radial functions, envelope and harmonics.
    """

    @staticmethod
    def forward(
        ctx: Any,
        atoms: Tensor,
        edges: Tensor,
        radial: Tensor,
        envelope: Tensor,
        harmonics: Tensor,
        bond: Tensor,
        close: FastCloseEdges,
    ) -> Tensor:
        starts = np.searchsorted(close.centre.numpy(), np.arange(close.atoms + 1))
        arrays = [t.detach().contiguous() for t in (atoms, radial, envelope, harmonics)]
        mixed, moments = torch.empty_like(arrays[1]), _moments(arrays, starts)
        neighbor = close.neighbor.numpy()
        _mix(*(a.numpy() for a in arrays), neighbor, starts, moments.numpy(), mixed.numpy())
        gates = torch.mm(mixed, bond.T)
        out = edges.clone()
        kernels.gated_add(gates.numpy(), close.edges.numpy(), out.numpy())
        ctx.arrays, ctx.moments, ctx.gates = arrays, moments, gates
        ctx.bond, ctx.close, ctx.starts = bond, close, starts
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        close, gradient = ctx.close, gradient.contiguous()
        kernels.gather_multiply(gradient.numpy(), close.edges.numpy(), ctx.gates.numpy())
        g_mixed = torch.mm(ctx.gates, ctx.bond)
        atoms, radial, envelope, harmonics = ctx.arrays
        g_weights, g_radial, g_harmonics = (
            torch.empty_like(radial),
            torch.empty_like(radial),
            torch.empty_like(harmonics),
        )
        g_envelope = torch.empty_like(envelope)
        _mix_backward(
            *(a.numpy() for a in (*ctx.arrays, ctx.moments, g_mixed)),
            close.neighbor.numpy(),
            ctx.starts,
            *(g.numpy() for g in (g_weights, g_radial, g_envelope, g_harmonics)),
        )
        g_atoms = torch.zeros_like(atoms).index_add_(0, close.neighbor, g_weights)
        return g_atoms, gradient, g_radial, g_envelope, g_harmonics, None, None


def _moments(arrays: list[Tensor], starts: np.ndarray) -> Tensor:
    """Room for Σ_k Y_lm(k) w_ln(k) of each atom, [N, L², n]."""
    features, harmonics = arrays[1].shape[1], arrays[3].shape[1]
    return arrays[1].new_zeros(len(starts) - 1, harmonics, features // round(harmonics**0.5))


@njit(parallel=True, fastmath=FAST, cache=True)
def _mix(atoms, radial, envelope, harmonics, neighbor, starts, moments, mixed):
    """mixed_ln(j) = f(j) [Σ_m Y_lm(j) M_lmn / Y_l - Y_l w_ln(j)], w_ln(k) = a_ln(k) R_ln(k), Y_l = Y_l0(0)."""
    count = moments.shape[2]
    for i in prange(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            for lm in range(harmonics.shape[1]):
                l = int(np.sqrt(lm))
                for n in range(count):
                    w = atoms[neighbor[k], l * count + n] * radial[k, l * count + n]
                    moments[i, lm, n] += harmonics[k, lm] * w
        for j in range(starts[i], starts[i + 1]):
            for l in range(mixed.shape[1] // count):
                scale = np.sqrt((2 * l + 1) / (4 * np.pi))
                for n in range(count):
                    at = l * count + n
                    total = 0.0
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        total += harmonics[j, lm] * moments[i, lm, n]
                    w = atoms[neighbor[j], at] * radial[j, at]
                    mixed[j, at] = envelope[j] * (total / scale - scale * w)


@njit(parallel=True, fastmath=FAST, cache=True)
def _mix_backward(
    atoms,
    radial,
    envelope,
    harmonics,
    moments,
    gradient,
    neighbor,
    starts,
    g_weights,
    g_radial,
    g_envelope,
    g_harmonics,
):
    """The derivative of `_mix`; `g_weights` is that of the weight of the atom at the end of each close edge."""
    count = moments.shape[2]
    for i in prange(len(starts) - 1):
        g_moments = np.zeros_like(moments[i])
        for j in range(starts[i], starts[i + 1]):
            g_envelope[j] = 0
            for l in range(radial.shape[1] // count):
                scale = np.sqrt((2 * l + 1) / (4 * np.pi))
                for n in range(count):
                    at = l * count + n
                    total = 0.0
                    g = gradient[j, at] * envelope[j] / scale
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        total += harmonics[j, lm] * moments[i, lm, n]
                        g_moments[lm, n] += harmonics[j, lm] * g
                    w = atoms[neighbor[j], at] * radial[j, at]
                    g_envelope[j] += gradient[j, at] * (total / scale - scale * w)
        for k in range(starts[i], starts[i + 1]):
            for lm in range(harmonics.shape[1]):
                g_harmonics[k, lm] = 0
            for l in range(radial.shape[1] // count):
                scale = np.sqrt((2 * l + 1) / (4 * np.pi))
                for n in range(count):
                    at = l * count + n
                    g, w = gradient[k, at] * envelope[k], atoms[neighbor[k], at] * radial[k, at]
                    g_w = -scale * g
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        g_w += harmonics[k, lm] * g_moments[lm, n]
                        g_harmonics[k, lm] += g / scale * moments[i, lm, n] + w * g_moments[lm, n]
                    g_weights[k, at] = g_w * radial[k, at]
                    g_radial[k, at] = g_w * atoms[neighbor[k], at]
