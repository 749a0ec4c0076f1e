"""Regular real-space grid in a periodic cell, and its wave vectors.

    grid = Grid.for_cutoff(cell, 6.5)
    density.shape == grid.shape

Lengths are in bohr, wave vectors in 1/bohr. A field is an array of `grid.shape`; the point (i, j, k) is at
`(i/n1, j/n2, k/n3) @ cell`. On a finite grid, wave vectors that differ by multiples of the grid's own are equivalent.
Of these aliases, the shortest is used; if several are equally short, scalars use their common length and vectors their
mean. Operators made from wave vectors thus preserve the symmetry of the crystal, also in non-orthogonal cells.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft

from gnnpot.errors import DataError

#: relative difference of squares below which two aliases count as equally long
ALIAS_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Grid:
    """Regular grid in a periodic cell."""

    cell: np.ndarray  #: `[3, 3]` cell vectors in rows, bohr
    shape: tuple[int, int, int]  #: numbers of points along the cell vectors

    @classmethod
    def for_cutoff(cls, cell: np.ndarray, cutoff: float, multiple: int = 2) -> "Grid":
        """Smallest grid that contains all |G| <= `cutoff` (1/bohr), with numbers of points from `fast_length`.

        Raises `DataError` if the cut-off is not positive or the cell has no volume.
        """
        if not cutoff > 0:
            raise DataError(f"grid: the cut-off {cutoff:g} /bohr is not positive; about 6.5 is usual")
        cell = np.asarray(cell, dtype=float)
        if abs(np.linalg.det(cell)) < 1e-6:
            raise DataError("grid: the cell has no volume; give a structure with three independent cell vectors")
        largest = np.floor(np.linalg.norm(cell, axis=1) * cutoff / (2 * np.pi) + 1e-9)
        a, b, c = (fast_length(2 * m + 1, multiple) for m in largest)
        return cls(cell, (a, b, c))

    @cached_property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @cached_property
    def volume(self) -> float:
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def cell_volume(self) -> float:
        """Volume of one point."""
        return self.volume / self.size

    @cached_property
    def reciprocal(self) -> np.ndarray:
        """`[3, 3]` reciprocal vectors in rows, including the factor 2 pi."""
        return 2 * np.pi * np.linalg.inv(self.cell).T

    @cached_property
    def inscribed_cutoff(self) -> float:
        """Radius (1/bohr) of the largest sphere of wave vectors that the grid contains."""
        return float(np.min(np.pi * np.array(self.shape) / np.linalg.norm(self.cell, axis=1)))

    @cached_property
    def half_shape(self) -> tuple[int, int, int]:
        """Shape of the Fourier coefficients of a real field (`rfftn`)."""
        return (self.shape[0], self.shape[1], self.shape[2] // 2 + 1)

    @cached_property
    def metric(self) -> np.ndarray:
        """`[6, *half_shape]` mean of m_i m_j (11, 22, 33, 23, 13, 12) over the shortest aliases, m integer.

        |G|² = Σ_ij m_i m_j b_i·b_j, also in a strained cell.
        """
        return self._aliases[0]

    @cached_property
    def miller(self) -> np.ndarray:
        """`[3, *half_shape]` mean of the integer components m over the shortest aliases."""
        return self._aliases[1]

    @cached_property
    def wave_vectors(self) -> np.ndarray:
        """`[3, *half_shape]` mean of the shortest aliases, 1/bohr."""
        return np.tensordot(self.reciprocal.T, self.miller, axes=1)

    @cached_property
    def squares(self) -> np.ndarray:
        """`[*half_shape]` |G|² of the shortest alias."""
        return np.maximum(np.tensordot(metric_weights(self.reciprocal), self.metric, axes=1), 0.0)

    @cached_property
    def _aliases(self) -> tuple[np.ndarray, np.ndarray]:
        axes = [np.fft.fftfreq(n, 1 / n) for n in self.shape]
        axes[2] = axes[2][: self.half_shape[2]]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"))
        weights = metric_weights(self.reciprocal)
        best = np.full(self.half_shape, np.inf)
        metric, miller, count = np.zeros((6, *self.half_shape)), np.zeros((3, *self.half_shape)), np.zeros(best.shape)
        for shift in itertools.product((-1, 0, 1), repeat=3):
            m = mesh + (np.array(shift) * self.shape)[:, None, None, None]
            products = _products(m)
            square = np.tensordot(weights, products, axes=1)
            shorter = square < best * (1 - ALIAS_TOLERANCE)
            equal = ~shorter & (square <= best * (1 + ALIAS_TOLERANCE))
            for total, part in ((metric, products), (miller, m)):
                total[:, shorter] = part[:, shorter]
                total[:, equal] += part[:, equal]
            count[shorter], count[equal] = 1, count[equal] + 1
            best = np.where(shorter, square, best)
        return metric / count, miller / count

    def points(self) -> np.ndarray:
        """`[*shape, 3]` positions of the points, bohr."""
        axes = [np.arange(n) / n for n in self.shape]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ self.cell

    def integral(self, field: np.ndarray) -> float:
        return float(field.sum() * self.cell_volume)

    def to_fourier(self, field: np.ndarray) -> np.ndarray:
        """Half of the coefficients f(G) of f(r) = Σ_G f(G) exp(iG·r), `[..., *half_shape]`."""
        return scipy.fft.rfftn(field, axes=(-3, -2, -1), norm="forward")

    def to_real(self, coefficients: np.ndarray) -> np.ndarray:
        return scipy.fft.irfftn(coefficients, s=self.shape, axes=(-3, -2, -1), norm="forward")

    @cached_property
    def multiplicity(self) -> np.ndarray:
        """`[*half_shape]` 2 for coefficients that also represent their complex conjugate, otherwise 1."""
        result = np.full(self.half_shape, 2.0)
        result[..., 0] = 1
        if self.shape[2] % 2 == 0:
            result[..., -1] = 1
        return result


def resample(field: np.ndarray, grid: Grid) -> np.ndarray:
    """Interpolate a real field to a finer or coarser grid of the same cell, with its Fourier coefficients.

    A coarser grid keeps the coefficients in the largest sphere that it contains, so that a symmetric field stays
    symmetric.
    """
    shape = grid.shape
    coefficients = scipy.fft.fftn(field, norm="forward")
    result = np.zeros(shape, dtype=complex)
    selections = []
    for old, new in zip(field.shape, shape, strict=True):
        half = (min(old, new) - 1) // 2
        index = np.r_[0 : half + 1, -half:0] if half else np.array([0])
        selections.append((index % old, index % new))
    result[np.ix_(*(new for _, new in selections))] = coefficients[np.ix_(*(old for old, _ in selections))]
    values = scipy.fft.ifftn(result, norm="forward").real
    if all(new >= old for old, new in zip(field.shape, shape, strict=True)):
        return values
    return grid.to_real(grid.to_fourier(values) * (grid.squares < grid.inscribed_cutoff**2 * (1 - 1e-9)))


def metric_weights(reciprocal: np.ndarray) -> np.ndarray:
    """b_i·b_j in the order of `Grid.metric`, doubled if i and j differ."""
    b = reciprocal @ reciprocal.T
    return np.array([b[0, 0], b[1, 1], b[2, 2], 2 * b[1, 2], 2 * b[0, 2], 2 * b[0, 1]])


def fast_length(least: float, multiple: int = 2) -> int:
    """Smallest multiple of `multiple` that is not less than `least` and has no prime factor above 7."""
    length = max(multiple, int(np.ceil(least / multiple - 1e-9)) * multiple)
    while not _is_fast(length):
        length += multiple
    return length


def _is_fast(number: int) -> bool:
    for factor in (2, 3, 5, 7):
        while number % factor == 0:
            number //= factor
    return number == 1


def _products(m: np.ndarray) -> np.ndarray:
    return np.stack([m[0] * m[0], m[1] * m[1], m[2] * m[2], m[1] * m[2], m[0] * m[2], m[0] * m[1]])
