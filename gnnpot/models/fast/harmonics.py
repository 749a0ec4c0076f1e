"""Distances and real spherical harmonics of edge vectors, and the way back from their gradients: one pass each.

With u = r / |r| and Y_1 = sqrt(3) u, each Y_l+1 is the part of Y_l ⊗ Y_1 of angular momentum l + 1,

    Y_c = Σ C_k Y_a(k) Y_b(k)   over the terms k of c, of which a(k) has l and b(k) has 1,                           (1)

so that, from the highest l down, a gradient g of the harmonics gives

    g_a += C g_c Y_b,    g_b += C g_c Y_a,    dE/dr = sqrt(3)/|r| (g_1 - u (u · g_1)) + u dE/d|r|                    (2)

The order of the components is that of `sevennet.spherical_harmonics`, which says where the constants C come from.

`LANES` edges are calculated at once, with a row of scratch for each component.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.models.fast.kernels import FAST
from gnnpot.models.fast.lane_functions import square_root
from gnnpot.models.fast.lanes import LANES, aligned, fma, load, mul, splat, store

_SQRT3 = math.sqrt(3)
#: edges that a thread takes at a time
_BLOCK = 16 * LANES


class Harmonics:
    """For l = 0 to `lmax`; `raising` are the constants of the step from each l = 1 to lmax - 1, [(2l+1) 3, 2l+3]."""

    def __init__(self, lmax: int, raising: Sequence[Tensor]) -> None:
        self.size = (lmax + 1) ** 2
        terms, constants = [], []
        for l, matrix in enumerate(raising, start=1):
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
