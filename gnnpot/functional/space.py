"""Fields and their operators: convolution with an isotropic kernel, gradient, integral.

    space = FourierSpace(grid)
    smooth = space.convolve(density[None, None], torch.exp(-space.g[:, None] ** 2))

Functionals are written once against `Space`; `FourierSpace` is any cell by FFT, `reduced.ReducedSpace` a symmetric
crystal on its irreducible points. Both give the same numbers.

| symbol | meaning                                              | shape     |
|--------|------------------------------------------------------|-----------|
| B      | crystals in a batch (1 in a `FourierSpace`)          |           |
| n      | points of a field                                    |           |
| m      | modes: wave vectors, or eigenvectors of the Laplacian |           |
| f      | fields                                               | [B, C, n] |
| w      | kernels, a number for each mode                      | [B, C, m] |
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gnnpot.functional.grid import Grid


class Space(Protocol):
    """`g` `[B, m]`: length of each mode's wave vector (1/bohr); `weights` `[B, n]`: volume of each point (bohr³).

    `inner` is the precision of what lies inside networks.
    """

    g: Tensor
    weights: Tensor
    inner: torch.dtype

    def modes(self, fields: Tensor) -> Tensor:
        """Coefficients `[B, C, m]` of fields `[B, C, n]`."""

    def fields(self, modes: Tensor) -> Tensor:
        """The inverse of `modes`."""

    def convolve(self, fields: Tensor, kernels: Tensor) -> Tensor:
        """Fields `[B, C, n]` multiplied mode by mode with `[B, C, m]` (or `[B, 1, m]`)."""

    def gradient(self, fields: Tensor) -> Tensor:
        """`[B, n]` to `[B, 3, n]`."""

    def power(self, fields: Tensor) -> Tensor:
        """`[B, n]` to `[B, m]`: how much of ∫ f² each mode has; they add up to it."""


def integral(space: Space, fields: Tensor) -> Tensor:
    """`[B, n]` to `[B]`."""
    return (space.weights * fields).sum(dim=-1)


def volume(space: Space) -> Tensor:
    """`[B]`, bohr³."""
    return space.weights.sum(dim=-1)


class FourierSpace:
    """One cell by FFT (B = 1); with `strain` `[3, 3]`, a tensor, everything can be differentiated with respect to it.

    Fields of a strained cell are those at the same fractional coordinates.
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
            # the root of 0 has no derivative; the mode G = 0 keeps its length
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
        """Memory `[C, n]` that is kept from call to call, of any contents; allocating it each time costs more."""
        return self._buffer(name, (channels, self.grid.size), dtype)

    def mode_buffer(self, name: str, channels: int, dtype: torch.dtype) -> Tensor:
        """The same for modes, `[C, m]`."""
        return self._buffer(name, (channels, self.g.shape[-1]), dtype)

    def _buffer(self, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        found = self._buffers.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._buffers[name] = torch.empty(shape, dtype=dtype, device=self.g.device)
        return found
