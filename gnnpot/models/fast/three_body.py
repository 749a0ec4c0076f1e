"""Compiled backend of M3GNet's three-body step: one pass over the close edges of each atom, forward and backward.

A close edge k has w(k) [L n], the weights a_ln of its neighbour times the radial functions R_ln; harmonics Y_lm(k); and
the envelope f. Let Y_l = Y_l0(0). y [L n] has Y_l in the columns (l, n); s_lm [L n] has 1/Y_l in the columns of its l,
and 0 in the others. Then an edge j of an atom is updated by

    M_lm = s_lm ⊙ Σ_k Y_lm(k) w(k),     T(j) = Σ_lm Y_lm(j) M_lm - y ⊙ w(j)                                      (1)
    (v | g) = f W T,                    e'_j = e_j + silu(v) ⊙ σ(g)                                             (2)

Backward pass, with the gradient t with respect to T:

    D_lm = s_lm ⊙ Σ_j Y_lm(j) t(j)
    w: Σ_lm Y_lm(k) D_lm - y ⊙ t(k)     Y_lm: t(k) · M_lm + w(k) · D_lm                                          (3)

Rows of L n numbers are padded to whole SIMD vectors.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.models.fast.close_edges import FastCloseEdges
from gnnpot.models.fast.gated import flat_with_transpose
from gnnpot.ops.simd import tiles
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.tiles import TILE
from gnnpot.ops.simd.vector_math import gate
from gnnpot.ops.simd.vectors import SIMD_WIDTH, load, store, total

if TYPE_CHECKING:
    from gnnpot.models.m3gnet import ThreeBody

#: pullback of the step: from the gradient with respect to its output edges, which is also that for its input edges, to
#: the gradient with respect to the atoms; adds to the gradients for radial functions, envelope and harmonics
Pullback = Callable[[Tensor, tuple[np.ndarray, ...]], Tensor]


class CloseEdgeArrays(NamedTuple):
    """Arrays of `FastCloseEdges` for the kernels."""

    radial: np.ndarray
    envelope: np.ndarray
    harmonics: np.ndarray
    neighbor: np.ndarray
    starts: np.ndarray
    edges: np.ndarray
    parts: np.ndarray


class StepArrays(NamedTuple):
    """Constants of the step."""

    y: np.ndarray  #: [L n]
    s: np.ndarray  #: [L², L n]
    weight: np.ndarray  #: W, flat
    weight_transposed: np.ndarray  #: transposed W, flat


class FastThreeBody:
    """Backend of a `ThreeBody` step with its current parameters."""

    def __init__(self, step: "ThreeBody") -> None:
        self.atom, bond = step.atom, step.bond.first_linear.weight
        weight, weight_transposed = (w.numpy() for w in flat_with_transpose(bond.detach(), bond))
        y, s = _degree_factors(step.max_l, step.max_n, weight.dtype)
        self._arrays = StepArrays(y, s, weight, weight_transposed)

    def __call__(self, nodes: Tensor, edges: Tensor, close: FastCloseEdges) -> tuple[Tensor, Pullback]:
        """Return the updated edges and the pullback."""
        atoms = torch.sigmoid(torch.addmm(self.atom.bias, nodes, self.atom.weight.T))
        close_arrays = CloseEdgeArrays(
            close.radial, close.envelope, close.harmonics, close.neighbor.index, close.starts, close.edges, close.parts
        )
        out = edges.clone()
        _forward(atoms.numpy(), close_arrays, self._arrays, out.numpy())

        def pullback(g_edges: Tensor, g_close: tuple[np.ndarray, ...]) -> Tensor:
            g_neighbor = np.empty_like(close.radial)
            _backward(
                atoms.numpy(), close_arrays, self._arrays, g_edges.numpy(), close.max_degree, g_neighbor, *g_close
            )
            g_atoms = close.neighbor.sum(torch.from_numpy(g_neighbor))
            return torch.ops.aten.sigmoid_backward(g_atoms, atoms) @ self.atom.weight

        return out, pullback


def _degree_factors(max_l: int, max_n: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """y [L n] and s [L², L n], padded."""
    y = np.repeat([math.sqrt((2 * l + 1) / (4 * math.pi)) for l in range(max_l)], max_n)
    l_of_rows = np.repeat(range(max_l), [2 * l + 1 for l in range(max_l)])
    s = (l_of_rows[:, None] == np.repeat(range(max_l), max_n)) / y
    padding = -len(y) % SIMD_WIDTH
    return np.pad(y, (0, padding)).astype(dtype), np.pad(s, ((0, 0), (0, padding))).astype(dtype)


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(atoms, close, step, out):
    """Equations (1) and (2): add to the edges, `out`."""
    envelope, starts, edges, parts, y, s = close.envelope, close.starts, close.edges, close.parts, step.y, step.s
    units, columns = out.shape[1], len(y)
    for part in prange(len(parts) - 1):
        w, x, moments = tiles.zeros(TILE, columns, y), tiles.zeros(TILE, columns, y), tiles.zeros(len(s), columns, y)
        z = tiles.zeros(TILE, 2 * units, y)
        for i in range(parts[part], parts[part + 1]):
            _moments(starts[i], starts[i + 1], atoms, close, s, w, moments)
            for first in range(starts[i], starts[i + 1], TILE):
                count = min(TILE, starts[i + 1] - first)
                _tile((first, count), atoms, close, moments, step, w, x, z)
                for row in range(count):
                    f, at, to = envelope[first + row], 2 * row * units, edges[first + row] * units
                    for u in range(0, units, SIMD_WIDTH):
                        change, _, _ = gate(load(z, at + u) * f, load(z, at + units + u) * f)
                        store(out, to + u, load(out, to + u) + change)


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(atoms, close, step, g_edges, max_degree, g_neighbor, g_radial, g_envelope, g_harmonics):
    """Equation (3): set `g_neighbor`, the gradients with respect to a_ln at the neighbour of each close edge.

    Adds to the gradients for radial functions, envelope and harmonics. `max_degree` is the largest number of
    close edges of an atom.
    """
    radial, envelope, harmonics, neighbor, starts, edges, parts = close
    y, s, _, weight_transposed = step
    units, columns = g_edges.shape[1], len(y)
    for part in prange(len(parts) - 1):
        w, x, moments = tiles.zeros(TILE, columns, y), tiles.zeros(TILE, columns, y), tiles.zeros(len(s), columns, y)
        z, t, g_moments = (
            tiles.zeros(TILE, 2 * units, y), tiles.zeros(max_degree + TILE, columns, y), np.zeros_like(moments),
        )  # fmt: skip
        for i in range(parts[part], parts[part + 1]):
            begin, end = starts[i], starts[i + 1]
            _moments(begin, end, atoms, close, s, w, moments)
            g_moments[:] = 0
            for first in range(begin, end, TILE):
                count, at_t = min(TILE, end - first), (first - begin) * columns
                _tile((first, count), atoms, close, moments, step, w, x, z)
                for row in range(count):
                    f, of, at = envelope[first + row], edges[first + row] * units, 2 * row * units
                    for u in range(0, units, SIMD_WIDTH):
                        _, y_v, y_g = gate(load(z, at + u) * f, load(z, at + units + u) * f)
                        store(z, at + u, load(g_edges, of + u) * y_v)
                        store(z, at + units + u, load(g_edges, of + u) * y_g)
                matrix = (0, 2 * units, columns)
                tiles.product(z, (0, 2 * units), weight_transposed, matrix, -1, t, (at_t, columns), count)
                for row in range(count):
                    f, at = envelope[first + row], at_t + row * columns
                    g_envelope[first + row] += _dot(t, at, x, row * columns, columns)
                    for n in range(0, columns, SIMD_WIDTH):
                        store(t, at + n, load(t, at + n) * f)
                    _add_outer(harmonics, first + row, t, at, g_moments)
            _multiply(g_moments, s)
            for k in range(begin, end):
                at = (k - begin) * columns
                _weights(atoms, close, k, w, 0)
                for lm in range(len(s)):
                    g_lm = _dot(t, at, moments, lm * columns, columns) + _dot(w, 0, g_moments, lm * columns, columns)
                    g_harmonics[k, lm] += g_lm
                _project(harmonics, k, g_moments, y, t, at, x, 0)
                for n in range(radial.shape[1]):
                    g_neighbor[k, n] = x[0, n] * radial[k, n]
                    g_radial[k, n] += x[0, n] * atoms[neighbor[k], n]


@njit(fastmath=FAST, forceinline=True)
def _moments(begin, end, atoms, close, s, w, moments):
    """Set M of an atom with the close edges `begin` <= k < `end`."""
    moments[:] = 0
    for k in range(begin, end):
        _weights(atoms, close, k, w, 0)
        _add_outer(close.harmonics, k, w, 0, moments)
    _multiply(moments, s)


@njit(fastmath=FAST, forceinline=True)
def _weights(atoms, close, k, w, row):
    """Set a row of w to w(k)."""
    for n in range(close.radial.shape[1]):
        w[row, n] = atoms[close.neighbor[k], n] * close.radial[k, n]


@njit(fastmath=FAST, forceinline=True)
def _add_outer(harmonics, k, x, at, sums):
    """sums_lm += Y_lm(k) x."""
    columns = sums.shape[1]
    for lm in range(len(sums)):
        for n in range(0, columns, SIMD_WIDTH):
            place = lm * columns + n
            store(sums, place, load(sums, place) + load(x, at + n) * harmonics[k, lm])


@njit(fastmath=FAST, forceinline=True)
def _multiply(sums, s):
    for at in range(0, sums.size, SIMD_WIDTH):
        store(sums, at, load(sums, at) * load(s, at))


@njit(fastmath=FAST, forceinline=True)
def _project(harmonics, k, sums, y, x, at, out, to):
    """out = Σ_lm Y_lm(k) sums_lm - y ⊙ x."""
    columns = sums.shape[1]
    for n in range(0, columns, SIMD_WIDTH):
        projected = load(x, at + n) * load(y, n) * -1
        for lm in range(len(sums)):
            projected = projected + load(sums, lm * columns + n) * harmonics[k, lm]
        store(out, to + n, projected)


@njit(fastmath=FAST, forceinline=True)
def _dot(a, at_a, b, at_b, columns):
    dot = load(a, at_a) * load(b, at_b)
    for n in range(SIMD_WIDTH, columns, SIMD_WIDTH):
        dot = dot + load(a, at_a + n) * load(b, at_b + n)
    return total(dot)


@njit(fastmath=FAST, forceinline=True)
def _tile(rows, atoms, close, moments, step, w, x, z):
    """Set x to T and z to W T for `rows` of close edges, (first, number)."""
    (first, count), columns, width = rows, len(step.y), z.shape[1]
    for row in range(count):
        _weights(atoms, close, first + row, w, row)
        _project(close.harmonics, first + row, moments, step.y, w, row * columns, x, row * columns)
    tiles.product(x, (0, columns), step.weight, (0, close.radial.shape[1], width), -1, z, (0, width), count)
