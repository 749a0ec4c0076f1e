"""Real spherical harmonics and lengths of edge vectors, and their pullback in one pass.

With u = r / |r| and Y_1 = sqrt(3) u, Y_l+1 is the part of Y_l ⊗ Y_1 with angular momentum l + 1,

    Y_c = Σ_k C_k Y_a(k) Y_b(k)   over the terms k of component c, where a(k) belongs to l and b(k) to 1.            (1)

With the gradients g with respect to the harmonics, processed from the highest l down, and the tangents ṙ,

    pullback:   g_a += C g_c Y_b,    g_b += C g_c Y_a,    dE/dr = sqrt(3)/|r| (g_1 - u (u · g_1)) + u dE/d|r|        (2)
    tangent:    Ẏ_1 = sqrt(3)/|r| (ṙ - u (u · ṙ)),        Ẏ_c = Σ_k C_k (Ẏ_a Y_b + Y_a Ẏ_b)                          (3)

`spherical_harmonics` is the reference implementation; PyTorch differentiates it in forward and reverse mode.
`Harmonics` has kernels for (1) and (2), which process `SIMD_WIDTH` edges at once, with a row for each component.
"""

import math
from functools import cache

import numpy as np
import torch
from e3nn import o3
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.memory import empty_lines
from gnnpot.ops.rows import padded
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_functions import square_root
from gnnpot.ops.simd.vector_rows import load_rows, store_rows, transpose
from gnnpot.ops.simd.vectors import SIMD_WIDTH, aligned, broadcast, fma, load, mul, store

_SQRT3 = math.sqrt(3)
#: number of edges in the block of work of a thread
_BLOCK = 32 * SIMD_WIDTH


def spherical_harmonics(vectors: Tensor, lmax: int) -> list[Tensor]:
    """Y_l of the directions r̂: Y_0 = 1, Y_1 = sqrt(3) r̂, and Y_{l+1} is the part of Y_l ⊗ Y_1 with l + 1.

    Args:
        vectors: [E, 3].
        lmax: Highest l.

    Returns:
        Y_l [E, 2l+1] for each l, in the order and with the signs of e3nn, and with |Y_l|² = 2l + 1.
    """
    directions = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    harmonics = [torch.ones_like(directions[:, :1]), math.sqrt(3) * directions][: lmax + 1]
    for l in range(1, lmax):
        products = harmonics[l][:, :, None] * harmonics[1][:, None, :]
        harmonics.append(products.flatten(1) @ _raising_matrix(l).to(vectors))
    return harmonics


@cache
def _raising_matrix(l: int) -> Tensor:
    """Matrix [(2l+1) 3, 2l+3] from Y_l ⊗ Y_1 to Y_{l+1}.

    Sign and norm follow from comparison with e3nn's harmonics in one direction.
    """
    constants = o3.wigner_3j(l, 1, l + 1, dtype=torch.float64).flatten(0, 1)
    direction = torch.tensor([0.5, 0.6, 0.7], dtype=torch.float64)
    lower, one, higher = (
        o3.spherical_harmonics(k, direction, normalize=True, normalization="component") for k in (l, 1, l + 1)
    )
    product = torch.outer(lower, one).flatten() @ constants
    return constants * (product @ higher) / (product @ product)


class Harmonics:
    """`spherical_harmonics` for l = 0 to `lmax`, and its pullback, as kernels.

    Kernels read and write sixteen edges at once. Therefore the arrays of harmonics, and of gradients with respect to
    them, have rows and columns padded to multiples of sixteen. Entries beyond E edges and (lmax + 1)² harmonics may
    have any value, except in columns 1 to 3, where they must be zero.
    """

    def __init__(self, lmax: int) -> None:
        self.columns = padded((lmax + 1) ** 2)
        terms, constants = [], []
        for l, matrix in enumerate([_raising_matrix(l) for l in range(1, lmax)], start=1):
            for k, c in torch.nonzero(matrix).tolist():
                terms.append((l * l + k // 3, 1 + k % 3, (l + 1) ** 2 + c))
                constants.append(float(matrix[k, c]))
        self._terms = np.array(terms, dtype=np.int64).reshape(-1, 3)
        self._constants = {np.dtype(dtype): np.array(constants, dtype) for dtype in (np.float32, np.float64)}

    def __call__(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return distances [E] and harmonics [at least E, columns] of edge vectors [E, 3]."""
        distances = np.empty(len(vectors), vectors.dtype)
        harmonics = empty_lines((padded(len(vectors)), self.columns), vectors.dtype)
        _forward(vectors, self._terms, self._constants[vectors.dtype], distances, harmonics)
        return distances, harmonics

    def pullback(self, vectors: np.ndarray, g_edges: np.ndarray) -> np.ndarray:
        """Equation (2).

        Args:
            vectors: Edge vectors, [E, 3].
            g_edges: Gradients with respect to the harmonics, [at least E, columns]. Column 0 has the gradient with
                respect to the distance instead, because Y_0 is constant.

        Returns:
            Gradient with respect to the edge vectors, [E, 3].
        """
        gradient = np.empty_like(vectors)
        _backward(vectors, self._terms, self._constants[vectors.dtype], g_edges, gradient)
        return gradient


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(vectors, terms, constants, distances, harmonics):
    edges, columns = len(vectors), harmonics.shape[1]
    for block in prange(-(-edges // _BLOCK)):
        u, r, y = aligned(3 * SIMD_WIDTH, vectors), aligned(SIMD_WIDTH, vectors), aligned(columns * SIMD_WIDTH, vectors)
        for first in range(block * _BLOCK, min((block + 1) * _BLOCK, edges), SIMD_WIDTH):
            count = min(SIMD_WIDTH, edges - first)
            _evaluate(vectors, first, count, terms, constants, u, r, y)
            for k in range(count):
                distances[first + k] = r[k]
            for c in range(0, columns, SIMD_WIDTH):
                rows = transpose(load_rows(y, c * SIMD_WIDTH, SIMD_WIDTH, SIMD_WIDTH))
                store_rows(harmonics, first * columns + c, columns, rows)


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(vectors, terms, constants, g_edges, gradient):
    edges, columns = len(vectors), g_edges.shape[1]
    for block in prange(-(-edges // _BLOCK)):
        u, r, y = aligned(3 * SIMD_WIDTH, vectors), aligned(SIMD_WIDTH, vectors), aligned(columns * SIMD_WIDTH, vectors)
        g, g_distance = aligned(columns * SIMD_WIDTH, vectors), aligned(SIMD_WIDTH, vectors)
        for first in range(block * _BLOCK, min((block + 1) * _BLOCK, edges), SIMD_WIDTH):
            count = min(SIMD_WIDTH, edges - first)
            _evaluate(vectors, first, count, terms, constants, u, r, y)
            for c in range(0, columns, SIMD_WIDTH):
                rows = transpose(load_rows(g_edges, first * columns + c, columns, SIMD_WIDTH))
                store_rows(g, c * SIMD_WIDTH, SIMD_WIDTH, rows)
            store(g_distance, 0, load(g, 0))
            for k in range(len(terms) - 1, -1, -1):
                a, b, c = terms[k, 0] * SIMD_WIDTH, terms[k, 1] * SIMD_WIDTH, terms[k, 2] * SIMD_WIDTH
                t = mul(broadcast(g, constants[k]), load(g, c))
                # correct also where a = b (squares of Y_1)
                store(g, a, fma(t, load(y, b), load(g, a)))
                store(g, b, fma(t, load(y, a), load(g, b)))
            _vector_gradient(g, g_distance, u, r)
            for k in range(count):
                for d in range(3):
                    gradient[first + k, d] = g[(1 + d) * SIMD_WIDTH + k]


@njit(fastmath=FAST, forceinline=True)
def _evaluate(vectors, first, count, terms, constants, u, r, y):
    """Set directions [3, SIMD_WIDTH], distances [SIMD_WIDTH] and harmonics [columns, SIMD_WIDTH] of `count` edges."""
    # vector elements beyond the last edge need a nonzero vector too
    u[:] = 1
    for k in range(count):
        for d in range(3):
            u[d * SIMD_WIDTH + k] = vectors[first + k, d]
    t = mul(load(u, 0), load(u, 0))
    for d in range(1, 3):
        t = fma(load(u, d * SIMD_WIDTH), load(u, d * SIMD_WIDTH), t)
    distance = square_root(t)
    store(r, 0, distance)
    store(y, 0, broadcast(y, 1.0))
    for d in range(3):
        direction = load(u, d * SIMD_WIDTH) / distance
        store(u, d * SIMD_WIDTH, direction)
        store(y, (1 + d) * SIMD_WIDTH, mul(broadcast(y, _SQRT3), direction))
    y[4 * SIMD_WIDTH :] = 0
    for k in range(len(terms)):
        a, b, c = terms[k, 0] * SIMD_WIDTH, terms[k, 1] * SIMD_WIDTH, terms[k, 2] * SIMD_WIDTH
        product = mul(load(y, a), load(y, b))
        store(y, c, fma(broadcast(y, constants[k]), product, load(y, c)))


@njit(fastmath=FAST, forceinline=True)
def _vector_gradient(g, g_distance, u, r):
    """Equation (2): replace g_1 by the gradient with respect to the vectors; `g_distance` is dE/d|r|."""
    radial, root, distance = load(g_distance, 0), broadcast(g, _SQRT3), load(r, 0)
    tangential = mul(load(g, SIMD_WIDTH), load(u, 0))
    for d in range(1, 3):
        tangential = fma(load(g, (1 + d) * SIMD_WIDTH), load(u, d * SIMD_WIDTH), tangential)
    scale = root / distance
    radial = radial - scale * tangential
    for d in range(3):
        position = (1 + d) * SIMD_WIDTH
        store(g, position, fma(scale, load(g, position), mul(radial, load(u, d * SIMD_WIDTH))))
