"""Functions of the edges within the three-body cutoff, for M3GNet's three-body steps: values, tangents and pullback.

For a close edge c with unit vector d and length r, which updates an edge of length r' (itself, except in
`m3gnet_matgl_rows`),

    envelope f = f_c(r'),      radial R_ln(r) f,      harmonics Y_lm(d).

With (x + iy)^m = A_m + i B_m, and P_lm = Q_lm sin^m θ for the associated Legendre polynomials without sign factor,

    Y_lm = N_lm Q_lm(z) A_m,   Y_l-m = N_lm Q_lm(z) B_m,   N_lm² = (2l+1)/4π (l-m)!/(l+m)! (2 if m > 0)
    Q_mm = (2m-1)!!,   (l+1-m) Q_(l+1)m = (2l+1) z Q_lm - (l+m) Q_(l-1)m                                        (1)

are polynomials in x, y and z. They are differentiated as polynomials; then the component of the gradient along d is
removed. The polar axis is z. Only sums over m are used, which do not depend on the axis.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.graphs import Graph
from gnnpot.models.fast.gated import GatherIndex
from gnnpot.ops.radial_table import Table, hermite
from gnnpot.ops.simd.kernels import FAST

if TYPE_CHECKING:
    from gnnpot.models.m3gnet import M3GNet


class CloseEdgeInputs(NamedTuple):
    """Inputs of the kernels for the C close edges."""

    vectors: np.ndarray  #: [E, 3] vectors of all edges, Å
    table: np.ndarray  #: [points, 2, L n] table of R_ln, see `ops.radial_table`
    per_step: float  #: points of the table per Å
    close: np.ndarray  #: [C] indices of the close edges
    rows: np.ndarray  #: [C] edges that they update
    sign: int  #: sign of the edge vectors
    cutoff: float  #: cutoff of f_c, Å
    norms: np.ndarray  #: N_lm [L, L]


@dataclass(frozen=True, slots=True)
class FastCloseEdges:
    """The C close edges of N atoms, and their functions. In training, functions are [2, …]: values and tangents."""

    edges: np.ndarray  #: [C] edges that they update
    starts: np.ndarray  #: [N + 1] the close edges of atom i are starts[i], …, starts[i + 1] - 1
    max_degree: int  #: largest number of close edges of an atom
    parts: np.ndarray  #: ranges of atoms for threads
    neighbor: GatherIndex  #: [C] neighbours
    radial: np.ndarray  #: [C, L n] R_ln f
    envelope: np.ndarray  #: [C] f
    harmonics: np.ndarray  #: [C, L²] Y_lm
    inputs: CloseEdgeInputs

    @classmethod
    def of(
        cls, model: "M3GNet", table: Table, graph: Graph, distances: Tensor, tangents: Tensor | None = None
    ) -> "FastCloseEdges":
        """Compute the close edges of a graph, with R_ln from a table; with tangents if `tangents` [E, 3] are given."""
        follow_torch()
        close, rows, sign, centre, neighbor = model.close_rows(graph, distances)
        vectors, atoms = graph.edge_vectors.detach().contiguous().numpy(), len(graph.numbers)
        inputs = CloseEdgeInputs(
            vectors, table.rows.numpy(), 1 / table.step, close.numpy(), rows.numpy(), sign,
            model.config.three_body_cutoff, _norms(model.config.max_l),
        )  # fmt: skip
        tangent_array = np.empty((0, 3), vectors.dtype) if tangents is None else tangents.contiguous().numpy()
        columns = table.rows.shape[2], 1, model.config.max_l**2
        out = [np.empty((1 if tangents is None else 2, len(rows), n), vectors.dtype) for n in columns]
        _values(inputs, tangent_array, *out)
        radial, envelope, harmonics = out if tangents is not None else (x[0] for x in out)
        starts, count = np.searchsorted(centre.numpy(), np.arange(atoms + 1)), min(atoms, 4 * torch.get_num_threads())
        return cls(
            rows.numpy(), starts, int(np.diff(starts).max()), np.arange(count + 1) * atoms // count,
            GatherIndex(neighbor, atoms), radial, envelope[..., 0], harmonics, inputs,
        )  # fmt: skip

    def zero_gradients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Allocate zero gradients with respect to `radial`, `envelope` and `harmonics`."""
        return np.zeros_like(self.radial), np.zeros_like(self.envelope), np.zeros_like(self.harmonics)

    def pullback(self, gradients: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Tensor:
        """Return the gradient with respect to the edge vectors [E, 3], from those of `zero_gradients`."""
        out = np.zeros_like(self.inputs.vectors)
        _backward(self.inputs, *gradients, out)
        return torch.from_numpy(out)


def _norms(max_l: int) -> np.ndarray:
    """N_lm, [L, L]."""
    norms = np.zeros((max_l, max_l))
    for l in range(max_l):
        for m in range(l + 1):
            factor = (2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m)
            norms[l, m] = math.sqrt(factor * (2 if m else 1))
    return norms


@njit(fastmath=FAST, forceinline=True)
def _harmonics(x, y, z, norms, values, slopes):
    """Equation (1): set values [L²] and gradients `slopes` [L², 3] of the polynomials."""
    max_l = len(norms)
    a, b, a_before, b_before, q_mm = 1.0, 0.0, 0.0, 0.0, 1.0
    for m in range(max_l):
        q, dq, q_before, dq_before = q_mm, 0.0, 0.0, 0.0
        for l in range(m, max_l):
            n, at = norms[l, m], l * l + l
            for sign in range(2 if m else 1):
                azimuthal, d_x, d_y = (b, b_before, a_before) if sign else (a, a_before, -b_before)
                lm = at - m if sign else at + m
                values[lm] = n * q * azimuthal
                slopes[lm, 0], slopes[lm, 1], slopes[lm, 2] = n * q * m * d_x, n * q * m * d_y, n * dq * azimuthal
            up, down = (2 * l + 1) / (l + 1 - m), (l + m) / (l + 1 - m)
            q, dq, q_before, dq_before = up * z * q - down * q_before, up * (q + z * dq) - down * dq_before, q, dq
        a, b, a_before, b_before = x * a - y * b, x * b + y * a, a, b
        q_mm *= 2 * m + 1


@njit(fastmath=FAST, forceinline=True)
def _envelope(r, cutoff):
    """f_c = 1 - 10 x³ + 15 x⁴ - 6 x⁵ with x = r/r_c, 0 beyond the cutoff; and df_c/dr."""
    x = r / cutoff
    if x >= 1:
        return 0.0, 0.0
    return 1 - x * x * x * (10 - x * (15 - 6 * x)), -30 * x * x * (1 - x) * (1 - x) / cutoff


@njit(fastmath=FAST, forceinline=True)
def _length(vectors, e):
    return math.sqrt(float(vectors[e, 0]) ** 2 + float(vectors[e, 1]) ** 2 + float(vectors[e, 2]) ** 2)


@njit(fastmath=FAST, forceinline=True)
def _dot(vectors, other, e):
    return vectors[e, 0] * other[e, 0] + vectors[e, 1] * other[e, 1] + vectors[e, 2] * other[e, 2]


@njit(parallel=True, fastmath=FAST, cache=True)
def _values(inputs, tangents, radial, envelope, harmonics):
    vectors, table, per_step, close, rows, sign, cutoff, norms = inputs
    columns, lms = radial.shape[2], harmonics.shape[2]
    for c in prange(len(close)):
        values, slopes = np.empty((2, columns)), np.empty((lms, 3))
        e, updated = close[c], rows[c]
        r, r_updated = _length(vectors, e), _length(vectors, updated)
        scale = sign / r
        hermite(table, r * per_step, per_step, values)
        f, slope = _envelope(r_updated, cutoff)
        y = np.empty(lms)
        _harmonics(scale * vectors[e, 0], scale * vectors[e, 1], scale * vectors[e, 2], norms, y, slopes)
        envelope[0, c, 0] = f
        for k in range(columns):
            radial[0, c, k] = values[0, k] * f
        for lm in range(lms):
            harmonics[0, c, lm] = y[lm]
        if len(tangents):
            tangent, tangent_f = _dot(vectors, tangents, e) / r, slope * _dot(vectors, tangents, updated) / r_updated
            envelope[1, c, 0] = tangent_f
            for k in range(columns):
                radial[1, c, k] = values[1, k] * tangent * f + values[0, k] * tangent_f
            for lm in range(lms):
                total = 0.0
                for x in range(3):
                    total += slopes[lm, x] * scale * (tangents[e, x] - vectors[e, x] * tangent / r)
                harmonics[1, c, lm] = total


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(inputs, g_radial, g_envelope, g_harmonics, out):
    vectors, table, per_step, close, rows, sign, cutoff, norms = inputs
    columns, lms = g_radial.shape[1], g_harmonics.shape[1]
    gradients, updated_factors = np.empty((len(close), 3)), np.empty(len(close))
    for c in prange(len(close)):
        values, slopes, y = np.empty((2, columns)), np.empty((lms, 3)), np.empty(lms)
        e, updated = close[c], rows[c]
        r, r_updated = _length(vectors, e), _length(vectors, updated)
        scale = sign / r
        hermite(table, r * per_step, per_step, values)
        f, slope = _envelope(r_updated, cutoff)
        _harmonics(scale * vectors[e, 0], scale * vectors[e, 1], scale * vectors[e, 2], norms, y, slopes)
        g_f, g_r = float(g_envelope[c]), 0.0
        for k in range(columns):
            g_f += g_radial[c, k] * values[0, k]
            g_r += g_radial[c, k] * values[1, k] * f
        updated_factors[c] = g_f * slope / r_updated
        dot = 0.0
        for x in range(3):
            total = 0.0
            for lm in range(lms):
                total += g_harmonics[c, lm] * slopes[lm, x]
            gradients[c, x] = total * scale
            dot += total * scale * vectors[e, x]
        for x in range(3):
            gradients[c, x] += vectors[e, x] * (g_r - dot / r) / r
    # sequential: two close edges may update the same edge
    for c in range(len(close)):
        for x in range(3):
            out[close[c], x] += gradients[c, x]
            out[rows[c], x] += updated_factors[c] * vectors[rows[c], x]
