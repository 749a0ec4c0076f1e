"""Distances and real spherical harmonics of edge vectors, and the way back from their gradients: one pass each.

With u = r / |r| and Y_1 = sqrt(3) u, each Y_l+1 is the part of Y_l ⊗ Y_1 of angular momentum l + 1,

    Y_c = Σ C_k Y_a(k) Y_b(k)   over the terms k of c, of which a(k) has l and b(k) has 1,                           (1)

so that, from the highest l down, a gradient g of the harmonics gives

    g_a += C g_c Y_b,    g_b += C g_c Y_a,    dE/dr = sqrt(3)/|r| (g_1 - u (u · g_1)) + u dE/d|r|                    (2)

The order of the components is that of `sevennet.spherical_harmonics`, which says where the constants C come from.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from gnnpot.models.fast.kernels import FAST

_SQRT3 = math.sqrt(3)
#: edges that a thread takes at a time
_BLOCK = 256


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
        self._constants = np.array(constants)

    def __call__(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances [E] and harmonics [E, (lmax + 1)²] of edge vectors [E, 3]."""
        distances, harmonics = np.empty(len(vectors), vectors.dtype), np.empty((len(vectors), self.size), vectors.dtype)
        _forward(vectors, self._terms, self._constants, distances, harmonics)
        return distances, harmonics

    def back(
        self, vectors: np.ndarray, harmonics: np.ndarray, to_distances: np.ndarray, to_harmonics: np.ndarray
    ) -> np.ndarray:
        """Equation (2), [E, 3]; `to_harmonics` is used up."""
        gradient = np.empty_like(vectors)
        _backward(vectors, harmonics, self._terms, self._constants, to_distances, to_harmonics, gradient)
        return gradient


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(vectors, terms, constants, distances, harmonics):
    for block in prange(-(-len(vectors) // _BLOCK)):
        for e in range(block * _BLOCK, min((block + 1) * _BLOCK, len(vectors))):
            x, y, z = vectors[e]
            r = math.sqrt(x * x + y * y + z * z)
            distances[e] = r
            harmonics[e] = 0
            harmonics[e, 0] = 1
            if harmonics.shape[1] > 1:
                for k in range(3):
                    harmonics[e, 1 + k] = _SQRT3 * vectors[e, k] / r
            for k in range(len(terms)):
                a, b, c = terms[k]
                harmonics[e, c] += constants[k] * harmonics[e, a] * harmonics[e, b]


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(vectors, harmonics, terms, constants, to_distances, to_harmonics, gradient):
    for block in prange(-(-len(vectors) // _BLOCK)):
        for e in range(block * _BLOCK, min((block + 1) * _BLOCK, len(vectors))):
            for k in range(len(terms) - 1, -1, -1):
                a, b, c = terms[k]
                g = constants[k] * to_harmonics[e, c]
                # a and b are the same for squares of Y_1, which these two lines get right
                to_harmonics[e, a] += g * harmonics[e, b]
                to_harmonics[e, b] += g * harmonics[e, a]
            x, y, z = vectors[e]
            r = math.sqrt(x * x + y * y + z * z)
            along = to_distances[e]
            if harmonics.shape[1] > 1:
                for k in range(3):
                    along -= _SQRT3 * to_harmonics[e, 1 + k] * vectors[e, k] / (r * r)
            for k in range(3):
                g = along * vectors[e, k]
                if harmonics.shape[1] > 1:
                    g += _SQRT3 * to_harmonics[e, 1 + k]
                gradient[e, k] = g / r
