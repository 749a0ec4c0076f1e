"""Pulay mixing of densities (P. Pulay, Chem. Phys. Lett. 73, 393 (1980)) with the Coulomb metric."""

import numpy as np

from gnnpot.functional.grid import Grid


class Pulay:
    """Pulay mixing.

    Args:
        grid: Grid of the densities.
        step: Fraction of the change that is added to the mixed density.
        history: Number of iterations that are mixed.
    """

    def __init__(self, grid: Grid, step: float = 0.7, history: int = 8) -> None:
        self.grid, self.step, self.history = grid, step, history
        squares = grid.squares
        safe = np.where(squares > 0, squares, 1.0)
        self._metric = np.where(squares > 0, grid.multiplicity * (1 / safe + 0.1), 0.0)
        self._densities: list[np.ndarray] = []
        self._changes: list[np.ndarray] = []

    def next(self, density: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Density of the next iteration, from input density and output density (`new`) of the present one."""
        self._densities = [*self._densities, self.grid.to_fourier(density)][-self.history :]
        self._changes = [*self._changes, self.grid.to_fourier(new - density)][-self.history :]
        count = len(self._changes)
        products = np.array(
            [[(self._metric * (a.conj() * b).real).sum() for b in self._changes] for a in self._changes]
        )
        system = np.ones((count + 1, count + 1))
        system[:count, :count] = products / products.diagonal().min()
        system[count, count] = 0
        right = np.zeros(count + 1)
        right[count] = 1
        weights = np.linalg.lstsq(system, right, rcond=1e-14)[0][:count]
        mixed = sum(w * (d + self.step * c) for w, d, c in zip(weights, self._densities, self._changes, strict=True))
        return np.maximum(self.grid.to_real(mixed), 1e-10)
