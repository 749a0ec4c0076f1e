"""Operators on fields: convolution with an isotropic kernel, gradient, integral.

    space = FourierSpace(grid)
    smooth = space.convolve(density[None, None], torch.exp(-space.g[:, None] ** 2))

Functionals use the protocol `Space`. `FourierSpace` implements it with FFTs for any cell, `reduced.ReducedSpace` on the
irreducible points of a symmetric crystal, with the same results.

| symbol | meaning                                              | shape     |
|--------|------------------------------------------------------|-----------|
| B      | crystals in a batch (1 in a `FourierSpace`)          |           |
| n      | points of a field                                    |           |
| m      | modes: wave vectors, or eigenvectors of the Laplacian |           |
| f      | fields                                               | [B, C, n] |
| w      | kernels, a value for each mode                       | [B, C, m] |
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gnnpot.functional.grid import Grid


class Space(Protocol):
    """Protocol of the operators on fields."""

    g: Tensor  #: `[B, m]` length of the wave vector of each mode, 1/bohr
    weights: Tensor  #: `[B, n]` volume of each point, bohr³
    inner: torch.dtype  #: precision inside networks

    def modes(self, fields: Tensor) -> Tensor:
        """Coefficients of the modes, `[B, C, m]`, of fields `[B, C, n]`."""

    def fields(self, modes: Tensor) -> Tensor:
        """The inverse of `modes`."""

    def convolve(self, fields: Tensor, kernels: Tensor) -> Tensor:
        """Multiply the modes of fields `[B, C, n]` by kernels `[B, C, m]` (or `[B, 1, m]`)."""

    def gradient(self, fields: Tensor) -> Tensor:
        """Gradient `[B, 3, n]` of fields `[B, n]`."""

    def power(self, fields: Tensor) -> Tensor:
        """Contribution `[B, m]` of each mode to ∫ f² of fields `[B, n]`."""


def integral(space: Space, fields: Tensor) -> Tensor:
    """Integral `[B]` of fields `[B, n]`."""
    return (space.weights * fields).sum(dim=-1)


def volume(space: Space) -> Tensor:
    """Volume of each crystal, `[B]`, bohr³."""
    return space.weights.sum(dim=-1)


class FourierSpace:
    """Fields in a single cell (B = 1), with FFTs.

    Args:
        grid: Grid of the fields.
        strain: Strain `[3, 3]` of the cell, with respect to which results can be differentiated. Fields are given at
            the same fractional coordinates as in the unstrained cell.
        device: Device of the fields.
        inner: Precision inside networks.
    """

    def __init__(
        self,
        grid: Grid,
        strain: Tensor | None = None,
        device: torch.device | str = "cpu",
        inner: torch.dtype = torch.float64,
    ) -> None:
        self.shape = grid.shape
        self.grid = grid
        self.strain = strain
        self.inner = inner
        if strain is None:
            self.g = torch.from_numpy(np.sqrt(grid.squares)).reshape(1, -1).to(device)
            cell_volume = torch.tensor(grid.cell_volume, dtype=torch.float64, device=device)
            self._reciprocal = torch.from_numpy(grid.reciprocal).to(device)
        else:
            cell = torch.from_numpy(grid.cell) @ (torch.eye(3, dtype=torch.float64) + strain)
            self._reciprocal = 2 * torch.pi * torch.linalg.inv(cell).T
            products = self._reciprocal @ self._reciprocal.T
            weights = torch.stack([products[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
            doubled = torch.tensor([1.0, 1, 1, 2, 2, 2], dtype=torch.float64)
            squares = torch.tensordot(weights * doubled, torch.from_numpy(grid.metric), dims=1).reshape(1, -1)
            # G = 0 is treated separately, as sqrt has no derivative at 0
            positive = squares > 1e-12
            self.g = torch.where(positive, squares.where(positive, 1.0).sqrt(), 0.0)
            cell_volume = torch.linalg.det(cell).abs() / grid.size
        self.multiplicity = torch.from_numpy(grid.multiplicity).reshape(1, -1).to(device)
        self.weights = cell_volume.expand(1, grid.size)
        self._buffers: dict[str, Tensor] = {}

    def modes(self, fields: Tensor) -> Tensor:
        """Fourier coefficients `[B, C, m]` of fields `[B, C, n]`."""
        box = fields.reshape(*fields.shape[:-1], *self.shape)
        return torch.fft.rfftn(box, dim=(-3, -2, -1), norm="forward").flatten(-3)

    def fields(self, modes: Tensor) -> Tensor:
        """The inverse of `modes`."""
        box = modes.reshape(*modes.shape[:-1], *self.grid.half_shape)
        return torch.fft.irfftn(box, s=self.shape, dim=(-3, -2, -1), norm="forward").flatten(-3)

    def convolve(self, fields: Tensor, kernels: Tensor) -> Tensor:
        return self.fields(self.modes(fields) * kernels)

    def gradient(self, fields: Tensor) -> Tensor:
        miller = torch.from_numpy(self.grid.miller).reshape(3, -1).to(fields.device)
        vectors = self._reciprocal.T @ miller
        return self.fields(1j * vectors * self.modes(fields[:, None]))

    def power(self, fields: Tensor) -> Tensor:
        return self.multiplicity * self.modes(fields[:, None])[:, 0].abs().square() * volume(self)[:, None]

    def buffer(self, name: str, channels: int, dtype: torch.dtype) -> Tensor:
        """Uninitialised memory `[C, n]` that is kept between calls, to save the time of allocating it."""
        return self._buffer(name, (channels, self.grid.size), dtype)

    def mode_buffer(self, name: str, channels: int, dtype: torch.dtype) -> Tensor:
        """Uninitialised memory for modes, `[C, m]`, that is kept between calls."""
        return self._buffer(name, (channels, self.g.shape[-1]), dtype)

    def _buffer(self, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        found = self._buffers.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._buffers[name] = torch.empty(shape, dtype=dtype, device=self.g.device)
        return found
