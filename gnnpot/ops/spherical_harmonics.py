"""Real spherical harmonics of edge vectors, and their distances; the way back from their gradients in one pass.

With u = r / |r| and Y_1 = sqrt(3) u, each Y_l+1 is the part of Y_l ⊗ Y_1 of angular momentum l + 1,

    Y_c = Σ C_k Y_a(k) Y_b(k)   over the terms k of c, of which a(k) has l and b(k) has 1,                           (1)

so that, from the highest l down, a gradient g of the harmonics gives the pullback, and rates ṙ the tangent

    g_a += C g_c Y_b,    g_b += C g_c Y_a,    dE/dr = sqrt(3)/|r| (g_1 - u (u · g_1)) + u dE/d|r|                    (2)
    Ẏ_1 = sqrt(3)/|r| (ṙ - u (u · ṙ)),        Ẏ_c = Σ C_k (Ẏ_a Y_b + Y_a Ẏ_b)                                        (3)

`spherical_harmonics` is the reference, which PyTorch differentiates both ways; `Harmonics` has kernels for (1) and (2),
with a row of scratch for each component, `LANES` edges at once.
"""

import math
from functools import cache

import numpy as np
import torch
from e3nn import o3
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.lane_functions import square_root
from gnnpot.ops.simd.lanes import LANES, aligned, fma, load, mul, splat, store

_SQRT3 = math.sqrt(3)
#: edges that a thread takes at a time
_BLOCK = 16 * LANES


def spherical_harmonics(vectors: Tensor, lmax: int) -> list[Tensor]:
    """Y_l of the directions r̂, a list over l of [E, 2l+1] in e3nn's order and signs, with |Y_l|² = 2l + 1:

    Y_0 = 1,  Y_1 = sqrt(3) r̂,  and Y_{l+1} is the part of Y_l ⊗ Y_1 that has the angular momentum l + 1.
    """
    directions = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    harmonics = [torch.ones_like(directions[:, :1]), math.sqrt(3) * directions][: lmax + 1]
    for l in range(1, lmax):
        products = harmonics[l][:, :, None] * harmonics[1][:, None, :]
        harmonics.append(products.flatten(1) @ _raising(l).to(vectors))
    return harmonics


@cache
def _raising(l: int) -> Tensor:
    """Makes Y_{l+1} of Y_l ⊗ Y_1, [(2l+1) 3, 2l+3]; its sign and size are taken from one direction."""
    constants = o3.wigner_3j(l, 1, l + 1, dtype=torch.float64).flatten(0, 1)
    direction = torch.tensor([0.5, 0.6, 0.7], dtype=torch.float64)
    lower, one, higher = (
        o3.spherical_harmonics(k, direction, normalize=True, normalization="component") for k in (l, 1, l + 1)
    )
    found = torch.outer(lower, one).flatten() @ constants
    return constants * (found @ higher) / (found @ found)


class Harmonics:
    """`spherical_harmonics` for l = 0 to `lmax` and the way back by hand."""

    def __init__(self, lmax: int) -> None:
        self.size = (lmax + 1) ** 2
        terms, constants = [], []
        for l, matrix in enumerate([_raising(l) for l in range(1, lmax)], start=1):
            for k, c in torch.nonzero(matrix).tolist():
                terms.append((l * l + k // 3, 1 + k % 3, (l + 1) ** 2 + c))
                constants.append(float(matrix[k, c]))
        self._terms = np.array(terms, dtype=np.int64).reshape(-1, 3)
        self._constants = {np.dtype(dtype): np.array(constants, dtype) for dtype in (np.float32, np.float64)}

    def __call__(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances [E] and harmonics [E, (lmax + 1)²] of edge vectors [E, 3]."""
        distances, harmonics = np.empty(len(vectors), vectors.dtype), np.empty((len(vectors), self.size), vectors.dtype)
        _forward(vectors, self._terms, self._constants[vectors.dtype], distances, harmonics)
        return distances, harmonics

    def back(self, vectors: np.ndarray, to_distances: np.ndarray, to_harmonics: np.ndarray) -> np.ndarray:
        """Equation (2), [E, 3]."""
        gradient = np.empty_like(vectors)
        _backward(vectors, self._terms, self._constants[vectors.dtype], to_distances, to_harmonics, gradient)
        return gradient


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(vectors, terms, constants, distances, harmonics):
    edges, size = harmonics.shape
    for block in prange(-(-edges // _BLOCK)):
        rows = aligned(3 * LANES, vectors), aligned(LANES, vectors), aligned(max(size, 4) * LANES, vectors)
        for first in range(block * _BLOCK, min((block + 1) * _BLOCK, edges), LANES):
            count = min(LANES, edges - first)
            _begin(vectors, first, count, terms, constants, *rows)
            _, r, y = rows
            for k in range(count):
                distances[first + k] = r[k]
                for c in range(size):
                    harmonics[first + k, c] = y[c * LANES + k]


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(vectors, terms, constants, to_distances, to_harmonics, gradient):
    edges, size = to_harmonics.shape
    for block in prange(-(-edges // _BLOCK)):
        u, r, y = aligned(3 * LANES, vectors), aligned(LANES, vectors), aligned(max(size, 4) * LANES, vectors)
        g, along = aligned(max(size, 4) * LANES, vectors), aligned(LANES, vectors)
        along[:] = 0
        for first in range(block * _BLOCK, min((block + 1) * _BLOCK, edges), LANES):
            count = min(LANES, edges - first)
            _begin(vectors, first, count, terms, constants, u, r, y)
            g[:] = 0
            for k in range(count):
                along[k] = to_distances[first + k]
                for c in range(size):
                    g[c * LANES + k] = to_harmonics[first + k, c]
            for k in range(len(terms) - 1, -1, -1):
                a, b, c = terms[k, 0] * LANES, terms[k, 1] * LANES, terms[k, 2] * LANES
                t = mul(splat(g, constants[k]), load(g, c))
                # a and b are the same for squares of Y_1, which these two lines get right
                store(g, a, fma(t, load(y, b), load(g, a)))
                store(g, b, fma(t, load(y, a), load(g, b)))
            _to_vectors(g, along, u, r)
            for k in range(count):
                for d in range(3):
                    gradient[first + k, d] = g[(1 + d) * LANES + k]


@njit(fastmath=FAST, forceinline=True)
def _begin(vectors, first, count, terms, constants, u, r, y):
    """Fill directions [3, LANES], distances [LANES] and harmonics [at least 4, LANES] of some edges."""
    # what is beyond the last edge is some direction, too
    u[:] = 1
    for k in range(count):
        for d in range(3):
            u[d * LANES + k] = vectors[first + k, d]
    t = mul(load(u, 0), load(u, 0))
    for d in range(1, 3):
        t = fma(load(u, d * LANES), load(u, d * LANES), t)
    distance = square_root(t)
    store(r, 0, distance)
    store(y, 0, splat(y, 1.0))
    for d in range(3):
        direction = load(u, d * LANES) / distance
        store(u, d * LANES, direction)
        store(y, (1 + d) * LANES, mul(splat(y, _SQRT3), direction))
    y[4 * LANES :] = 0
    for k in range(len(terms)):
        a, b, c = terms[k, 0] * LANES, terms[k, 1] * LANES, terms[k, 2] * LANES
        product = mul(load(y, a), load(y, b))
        store(y, c, fma(splat(y, constants[k]), product, load(y, c)))


@njit(fastmath=FAST, forceinline=True)
def _to_vectors(g, along, u, r):
    """Equation (2), from the gradient g_1, in whose place it comes, and that of the distances, `along`."""
    radial, root, distance = load(along, 0), splat(g, _SQRT3), load(r, 0)
    tangential = mul(load(g, LANES), load(u, 0))
    for d in range(1, 3):
        tangential = fma(load(g, (1 + d) * LANES), load(u, d * LANES), tangential)
    turn = root / distance
    radial = radial - turn * tangential
    for d in range(3):
        place = (1 + d) * LANES
        store(g, place, fma(turn, load(g, place), mul(radial, load(u, d * LANES))))
