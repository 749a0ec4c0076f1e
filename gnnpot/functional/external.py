"""Potential, energy, forces and stress of the ions.

Example::

    ions = Ions(atoms, grid)
    ions.potential                      # Ha, on the grid
    ions.forces(density)                # Ha/bohr, due to the density and the other ions
"""

from functools import cached_property

import numpy as np
from ase import Atoms

from gnnpot.functional.ewald import EwaldResult, ewald
from gnnpot.functional.grid import Grid
from gnnpot.functional.lattice import StructureFactor
from gnnpot.functional.pseudopotentials import Pseudopotential, for_numbers
from gnnpot.units import BOHR


class Ions:
    """Local pseudopotentials of `atoms` on `grid`.

    `table` contains pseudopotentials by atomic number; by default, these are bulk-derived ones (BLPS).
    """

    def __init__(self, atoms: Atoms, grid: Grid, table: dict[int, Pseudopotential] | None = None) -> None:
        self.table = for_numbers(atoms.numbers) if table is None else table
        self.grid = grid
        self.numbers = atoms.numbers.copy()
        self.positions = atoms.positions / BOHR
        self.charges = np.array([self.table[number].charge for number in atoms.numbers], dtype=float)
        self.electrons = float(self.charges.sum())
        self._factor = StructureFactor(self.positions @ np.linalg.inv(grid.cell), grid.shape)

    @cached_property
    def _unique(self) -> np.ndarray:
        """Whether a wave vector has no equally short alias; only then is the phase of an atom off the grid unique."""
        return self.grid.squares < self.grid.inscribed_cutoff**2 * (1 - 1e-9)

    @cached_property
    def _forms(self) -> dict[int, np.ndarray]:
        q = np.sqrt(self.grid.squares)
        return {number: self.table[number](q) * self._unique for number in sorted(self.table)}

    @cached_property
    def _sums(self) -> dict[int, np.ndarray]:
        return {number: self._factor.sum((self.numbers == number).astype(float)) for number in sorted(self.table)}

    @cached_property
    def potential(self) -> np.ndarray:
        """Potential v(r), Ha; its mean is that of the pseudopotentials without their Coulomb part."""
        coefficients = sum(self._forms[number] * self._sums[number] for number in self._forms)
        return self.grid.to_real(coefficients / self.grid.volume)

    @cached_property
    def ewald(self) -> EwaldResult:
        return ewald(self.grid.cell, self.positions, self.charges)

    def starting_density(self) -> np.ndarray:
        """Superposition of Gaussians at the atoms, about as wide as a valence shell; positive and normalised."""
        damping = np.exp(-self.grid.squares * 1.5**2 / 4) * self._unique
        coefficients = sum(self._sums[number] * self.table[number].charge for number in self._sums) * damping
        density = np.maximum(self.grid.to_real(coefficients / self.grid.volume), 1e-6)
        return density * (self.electrons / self.grid.integral(density))

    def forces(self, density: np.ndarray) -> np.ndarray:
        """Hellmann-Feynman forces `[n, 3]`, Ha/bohr."""
        coefficients = self.grid.to_fourier(density)
        result = np.array(self.ewald.forces)
        to_cartesian = np.linalg.inv(self.grid.cell).T
        for number, form in self._forms.items():
            chosen = self.numbers == number
            slopes = self._factor.gradients(coefficients * form)[chosen]
            result[chosen] -= slopes @ to_cartesian
        return result

    def stress(self, density: np.ndarray) -> np.ndarray:
        """Stress `[3, 3]` (+1/V dE/dstrain, Ha/bohr³) of the ions' energy and of that of a density in their potential.

        The density follows the strain.
        """
        grid = self.grid
        coefficients = grid.to_fourier(density)
        q = np.sqrt(grid.squares)
        safe = np.where(q > 0, q, 1.0)
        energy, strain = 0.0, np.zeros((3, 3))
        vectors = grid.wave_vectors
        for number in self._forms:
            product = grid.multiplicity * (coefficients.conj() * self._sums[number]).real
            energy += (product * self._forms[number]).sum()
            slope = -product * self.table[number].derivative(q) * self._unique / safe
            strain += np.einsum("ixyz,jxyz,xyz->ij", vectors, vectors, slope, optimize=True)
        return (strain - energy * np.eye(3)) / grid.volume + self.ewald.stress
