"""Fields of a symmetric crystal on irreducible grid points, with operators as dense matrices instead of FFTs.

    basis = ReducedBasis.of(grid, symmetry)
    space = ReducedSpace(basis, [grid.volume])
    values = space.reduce(density)

Let m_i be the size of the orbit of point i. For symmetric fields multiplied by sqrt(m), the Laplacian is a symmetric
matrix -U g² Uᵀ. An isotropic convolution is then exactly f -> m^-1/2 U w(g) Uᵀ m^1/2 f, with a matrix of n² numbers for
n irreducible points (245 of 4,096 in zincblende). Cells of the same shape have the same matrices.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnnpot.functional.grid import Grid
from gnnpot.functional.symmetry import Symmetry

#: number of fields that are Fourier transformed together when a basis is built
CHUNK = 64


@dataclass(frozen=True)
class ReducedBasis:
    """Matrices for cells of the same shape, in units with V^(1/3) = 1."""

    eigenvectors: Tensor  #: `[n, n]` U
    g: Tensor  #: `[n]` square roots of the negative eigenvalues of the Laplacian
    gradient: Tensor  #: `[3, n, n]`
    points: np.ndarray  #: `[n]` grid indices of the irreducible points
    sizes: np.ndarray  #: `[n]` sizes of their orbits
    orbit: np.ndarray  #: `[size]` orbit of each point of the grid

    @classmethod
    def of(cls, grid: Grid, symmetry: Symmetry) -> "ReducedBasis":
        """Build the matrices, with an FFT for each orbit and an eigenvalue decomposition."""
        points, sizes, orbit = symmetry.orbits
        count, length = len(points), grid.volume ** (1 / 3)
        laplacian, gradient = np.empty((count, count)), np.empty((3, count, count))
        squares, vectors = grid.squares * length**2, grid.wave_vectors * length
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            fields = (orbit[None, :] == np.arange(start, stop)[:, None]).astype(float)
            modes = grid.to_fourier(fields.reshape(-1, *grid.shape))
            laplacian[:, start:stop] = _at(points, grid.to_real(-squares * modes)).T
            for axis in range(3):
                gradient[axis, :, start:stop] = _at(points, grid.to_real(1j * vectors[axis] * modes)).T
        root = np.sqrt(sizes)
        symmetric = laplacian * root[:, None] / root[None, :]
        values, eigenvectors = np.linalg.eigh(0.5 * (symmetric + symmetric.T))
        g = np.sqrt(np.maximum(-values, 0.0))
        g[np.argmin(g)] = 0.0
        a, b, c = (torch.from_numpy(np.ascontiguousarray(x)) for x in (eigenvectors, g, gradient))
        return cls(eigenvectors=a, g=b, gradient=c, points=points, sizes=sizes, orbit=orbit)


class ReducedSpace:
    """Batch of crystals with the same basis.

    Args:
        basis: Matrices of the crystals.
        volumes: Volume of each crystal, bohr³.
        inner: Precision of fields inside networks, in addition to float64.
    """

    def __init__(
        self, basis: ReducedBasis, volumes: list[float] | np.ndarray, inner: torch.dtype = torch.float64
    ) -> None:
        self.basis = basis
        lengths = torch.as_tensor(np.asarray(volumes, dtype=float)) ** (1 / 3)
        self._lengths = lengths
        self.g = basis.g / lengths[:, None]
        sizes = torch.from_numpy(basis.sizes.astype(float))
        self.weights = sizes / sizes.sum() * lengths[:, None] ** 3
        self.inner = inner
        precisions = {torch.float64, inner}
        self._roots = {dtype: sizes.sqrt().to(dtype) for dtype in precisions}
        self._eigenvectors = {dtype: basis.eigenvectors.to(dtype) for dtype in precisions}

    def reduce(self, field: np.ndarray) -> Tensor:
        """Values `[n]` at the irreducible points of a symmetric field on the grid."""
        return torch.from_numpy(field.reshape(-1)[self.basis.points])

    def expand(self, values: Tensor) -> np.ndarray:
        """Flat field on the grid from values `[n]` at the irreducible points."""
        return values.detach().numpy()[self.basis.orbit]

    def modes(self, fields: Tensor) -> Tensor:
        """Coefficients `[B, C, m]` of fields `[B, C, n]` in the eigenvectors of the Laplacian."""
        return (fields * self._roots[fields.dtype]) @ self._eigenvectors[fields.dtype]

    def fields(self, modes: Tensor) -> Tensor:
        """The inverse of `modes`."""
        return (modes @ self._eigenvectors[modes.dtype].T) / self._roots[modes.dtype]

    def convolve(self, fields: Tensor, kernels: Tensor) -> Tensor:
        return self.fields(self.modes(fields) * kernels)

    def gradient(self, fields: Tensor) -> Tensor:
        scaled = fields / self._lengths[:, None]
        return torch.stack([scaled @ matrix.T for matrix in self.basis.gradient], dim=1)

    def power(self, fields: Tensor) -> Tensor:
        return self.modes(fields[:, None])[:, 0].square() * (self._lengths**3 / self.basis.sizes.sum())[:, None]


def _at(points: np.ndarray, fields: np.ndarray) -> np.ndarray:
    return fields.reshape(len(fields), -1)[:, points]
