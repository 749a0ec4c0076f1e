"""Scaled energies, forces and stress with the equations of `potential`, in one pass over atoms and edges each."""

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.graphs import Graph
from gnnpot.ops.simd.kernels import FAST

#: least number of edges per thread
EDGES_PER_THREAD = 2000


def scaled(
    energies: Tensor, gradient: Tensor, scale: Tensor, references: Tensor, numbers: Tensor
) -> tuple[Tensor, Tensor]:
    """Return s m_i + E0(Z_i) [N] in float64, and s times the edge gradient [E, 3]; not differentiable."""
    scaled_energies, scaled_gradient = (
        np.empty(len(energies)), np.empty(tuple(gradient.shape), gradient.detach().numpy().dtype),
    )  # fmt: skip
    _scale(
        energies.detach().contiguous().numpy(), gradient.detach().contiguous().numpy(), scale.item(),
        references.numpy(), numbers.numpy(), scaled_energies, scaled_gradient,
    )  # fmt: skip
    return torch.from_numpy(scaled_energies), torch.from_numpy(scaled_gradient)


def forces_and_stress(gradient: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
    """Return forces [N, 3] and stress [B, 6] from the edge gradient [E, 3]; not differentiable.

    Sums are computed in float64; results have the dtype of the gradient. The stress is NaN if the cell has no volume.
    """
    batch = graph.get("batch")
    parts = max(min(follow_torch(), len(gradient) // EDGES_PER_THREAD), 1)
    forces, stress = np.zeros((parts, len(graph.numbers), 3)), np.zeros((parts, len(graph.cell), 6))
    _sums(
        graph.edge_index.numpy(), graph.edge_vectors.detach().contiguous().numpy(), gradient.contiguous().numpy(),
        graph.cell.double().numpy(), np.empty(0, np.int64) if batch is None else batch.numpy(), forces, stress,
    )  # fmt: skip
    return torch.from_numpy(forces[0]).to(gradient.dtype), torch.from_numpy(stress[0]).to(gradient.dtype)


@njit(cache=True, parallel=True, fastmath=FAST)
def _scale(energies, gradient, scale, references, numbers, scaled_energies, scaled_gradient):
    factor = gradient.dtype.type(scale)
    for i in prange(len(energies)):
        scaled_energies[i] = scale * energies[i] + references[numbers[i]]
    for e in prange(len(gradient)):
        for k in range(3):
            scaled_gradient[e, k] = factor * gradient[e, k]


@njit(cache=True, parallel=True, error_model="numpy", fastmath=FAST)
def _sums(edge_index, vectors, gradient, cells, batch, forces, stress):
    """Set forces[0] and stress[0]. If `batch` is empty, all atoms are in structure 0.

    The edges are divided among threads. Each has its own sums: `forces` [threads, N, 3] and `stress` [threads, B, 6],
    which are initially zero.
    """
    count, parts = len(vectors), len(forces)
    for part in prange(parts):
        _add_range(
            edge_index, vectors, gradient, batch, count * part // parts, count * (part + 1) // parts,
            forces[part], stress[part],
        )  # fmt: skip
    for i in prange(forces.shape[1] if parts > 1 else 0):
        for part in range(1, parts):
            for k in range(3):
                forces[0, i, k] += forces[part, i, k]
    for b in range(len(cells)):
        c = cells[b]
        volume = abs(
            c[0, 0] * (c[1, 1] * c[2, 2] - c[1, 2] * c[2, 1])
            + c[0, 1] * (c[1, 2] * c[2, 0] - c[1, 0] * c[2, 2])
            + c[0, 2] * (c[1, 0] * c[2, 1] - c[1, 1] * c[2, 0])
        )
        for k in range(6):
            total = stress[:, b, k].sum()
            stress[0, b, k] = total / volume if volume > 0 else np.nan


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_range(edge_index, vectors, gradient, batch, begin, end, forces, stress):
    """Add the contributions of the edges begin <= e < end; to `stress` that of equation (3) times the volume."""
    while begin < end:
        # the edges of a centre are usually contiguous, so that their sums stay in registers
        i = edge_index[0, begin]
        fx, fy, fz = 0.0, 0.0, 0.0
        xx, yy, zz, yz, xz, xy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        e = begin
        while e < end and edge_index[0, e] == i:
            j = edge_index[1, e]
            x, y, z = np.float64(vectors[e, 0]), np.float64(vectors[e, 1]), np.float64(vectors[e, 2])
            gx, gy, gz = np.float64(gradient[e, 0]), np.float64(gradient[e, 1]), np.float64(gradient[e, 2])
            fx, fy, fz = fx + gx, fy + gy, fz + gz
            forces[j, 0] -= gx
            forces[j, 1] -= gy
            forces[j, 2] -= gz
            xx, yy, zz = xx + x * gx, yy + y * gy, zz + z * gz
            yz, xz, xy = yz + (y * gz + z * gy), xz + (x * gz + z * gx), xy + (x * gy + y * gx)
            e += 1
        forces[i, 0] += fx
        forces[i, 1] += fy
        forces[i, 2] += fz
        row = stress[batch[i] if len(batch) else 0]
        row[0] += xx
        row[1] += yy
        row[2] += zz
        row[3] += 0.5 * yz
        row[4] += 0.5 * xz
        row[5] += 0.5 * xy
        begin = e
