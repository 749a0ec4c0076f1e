"""Jacobian J = dG/dr of symmetry functions, kept in memory for training.

    graph = model.precompute(graph)                                  # once for each frame of a training set
    gradient = edge_gradient_of(rows, graph.jacobian, graph.edge_index[0])     # at each step, with rows = dE/dG

The symmetry functions G [N, D] have no parameters. As training uses the same frames many times, G and J are calculated
once. Each step then needs only the network and two products,

    g_e = Σ_d (dE/dG)_{i(e) d} J_{e · d}   and, in the backward pass,   (J u)_{i d} = Σ_{e: centre i} J_{e · d} · u_e

with J [E, 3, D] in the precision of the network: 12 D bytes per edge in single precision. The kernels here set J in the
same way as the kernels in `symmetry_kernels`, for one function at a time. Numba's cache does not detect changes of the
functions that are inlined from there, see `symmetry_batches`.
"""

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnnpot.compiler.decorator import njit
from gnnpot.models.symmetry_batches import BATCH, FAST, PA, PB, Q1, Q2, T0, Q, V
from gnnpot.models.symmetry_kernels import VALUE, factors, gradients, radial_batch, radial_gradients
from gnnpot.models.symmetry_neighbors import fill_batch, load_neighbors, new_batch, new_neighbor_list


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _contract_function(group, work, radial, angular, slope, m, a, lo, hi):
    """Rows T0, Q1, Q2 and V of `symmetry_batches.contract` for the single function (m, a), elements lo <= i < hi."""
    eta, shift = group.eta[m], group.shift[m]
    for i in range(lo, hi):
        value = radial[m * BATCH + i] * angular[a * BATCH + i]
        work[T0 * BATCH + i] = value
        work[Q1 * BATCH + i] = eta * value
        work[Q2 * BATCH + i] = eta * shift * value
        work[V * BATCH + i] = radial[m * BATCH + i] * slope[a * BATCH + i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def radial_jacobian(group, starts, centres, species, vectors, lo, hi, jacobian):
    """Add the derivatives of a radial group to `jacobian` [E, 3, D] for the atoms lo <= i < hi; see `radial_kernel`."""
    near, edges, bounds = new_neighbor_list(group, starts, lo, hi)
    no_direction = np.empty((0, 3))
    work, radial, angular, slope = new_batch(group)
    for atom in range(lo, hi):
        centre = centres[atom]
        if not group.active[centre].any():
            continue
        load_neighbors(
            group, vectors, species, starts[atom], starts[atom + 1], False, no_direction, near, edges, bounds
        )
        for p in range(len(bounds) - 1):
            if not group.active[centre, p]:
                continue
            for begin in range(bounds[p], bounds[p + 1], BATCH):
                n = min(BATCH, bounds[p + 1] - begin)
                radial_batch(group, VALUE, near, work, radial, angular, slope, begin, n)
                for m in range(len(group.eta)):
                    for a in range(len(group.zeta)):
                        column = group.columns[centre, p, m, a]
                        if column < 0:
                            continue
                        _contract_function(group, work, radial, angular, slope, m, a, 0, n)
                        radial_gradients(work, n)
                        for i in range(n):
                            for k in range(3):
                                jacobian[edges[begin + i], k, column] += work[PA * BATCH + i] * near[k, begin + i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def angular_jacobian(group, starts, centres, species, vectors, lo, hi, jacobian):
    """Add the derivatives of an angular group to `jacobian` [E, 3, D], atoms lo <= i < hi; see `angular_kernel`."""
    near, edges, bounds = new_neighbor_list(group, starts, lo, hi)
    no_direction, classes = np.empty((0, 3)), len(bounds) - 1
    work, radial, angular, slope = new_batch(group)
    index_j, index_k = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    batch = (work, radial, angular, slope, index_j, index_k)
    for atom in range(lo, hi):
        centre = centres[atom]
        if not group.active[centre].any():
            continue
        load_neighbors(
            group, vectors, species, starts[atom], starts[atom + 1], False, no_direction, near, edges, bounds
        )
        p = -1
        for c1 in range(classes):
            for c2 in range(c1, classes):
                p += 1
                if not group.active[centre, p]:
                    continue
                j, k_start = bounds[c1], bounds[c2] if c2 > c1 else -1
                k = k_start if k_start >= 0 else j + 1
                while j < bounds[c1 + 1]:
                    n, j, k = fill_batch(
                        group, near, work, index_j, index_k, 0, j, k, bounds[c1 + 1], k_start, bounds[c2 + 1]
                    )
                    _add_functions(group, centre, p, near, edges, batch, n, jacobian)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_functions(group, centre, p, near, edges, batch, n, jacobian):
    """Add the derivatives of the functions of the pair of classes p, for the n pairs of neighbours in a batch."""
    work, radial, angular, slope, index_j, index_k = batch
    factors(group, work, radial, angular, slope, n)
    for m in range(len(group.eta)):
        for a in range(len(group.zeta)):
            column = group.columns[centre, p, m, a]
            if column < 0:
                continue
            _contract_function(group, work, radial, angular, slope, m, a, 0, n)
            gradients(group, work, 0, n)
            for i in range(n):
                j, k = index_j[i], index_k[i]
                pa, pb, q = work[PA * BATCH + i], work[PB * BATCH + i], work[Q * BATCH + i]
                for axis in range(3):
                    jacobian[edges[j], axis, column] += pa * near[axis, j] + q * near[axis, k]
                    jacobian[edges[k], axis, column] += pb * near[axis, k] + q * near[axis, j]


@njit(cache=True, nogil=True, fastmath=FAST)
def _products(centres, jacobian, rows, out):
    """out[e] = J_e rows[centres[e]]."""
    for e in range(len(centres)):
        row = rows[centres[e]]
        for k in range(3):
            value = jacobian.dtype.type(0.0)
            slope = jacobian[e, k]
            for d in range(len(row)):
                value += slope[d] * row[d]
            out[e, k] = value


@njit(cache=True, nogil=True, fastmath=FAST)
def _sums(centres, jacobian, direction, out):
    """out[i] += Σ_e J_e^T direction[e] over the edges e with centre i."""
    for e in range(len(centres)):
        x, y, z = direction[e, 0], direction[e, 1], direction[e, 2]
        row, dx, dy, dz = out[centres[e]], jacobian[e, 0], jacobian[e, 1], jacobian[e, 2]
        for d in range(len(row)):
            row[d] += dx[d] * x + dy[d] * y + dz[d] * z


class _Products(torch.autograd.Function):
    """g_e as a function of dE/dG; J is constant."""

    @staticmethod
    def forward(ctx, rows, jacobian, centres):
        ctx.save_for_backward(jacobian, centres)
        ctx.atoms = len(rows)
        out = np.empty((len(centres), 3), jacobian.numpy().dtype)
        _products(centres.numpy(), jacobian.numpy(), rows.detach().contiguous().numpy(), out)
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, direction):
        jacobian, centres = ctx.saved_tensors
        out = np.zeros((ctx.atoms, jacobian.shape[2]), jacobian.numpy().dtype)
        _sums(centres.numpy(), jacobian.numpy(), direction.contiguous().numpy(), out)
        return torch.from_numpy(out), None, None


def edge_gradient_of(rows: Tensor, jacobian: Tensor, centres: Tensor) -> Tensor:
    """Return the edge gradient g_e = J_e rows_i(e) [E, 3]; differentiable with respect to `rows`.

    Args:
        rows: dE/dG, [N, D].
        jacobian: J, [E, 3, D], in the dtype of `rows`.
        centres: Centre of each edge, [E].
    """
    if rows.device.type == "cpu":
        return _Products.apply(rows, jacobian, centres)
    return plain_edge_gradient(rows, jacobian, centres)


def plain_edge_gradient(rows: Tensor, jacobian: Tensor, centres: Tensor) -> Tensor:
    """`edge_gradient_of` with operations of PyTorch, for devices other than the CPU."""
    return torch.bmm(jacobian, rows[centres][:, :, None])[..., 0]
