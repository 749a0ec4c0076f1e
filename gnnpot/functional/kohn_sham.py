"""Kohn-Sham density functional theory of a crystal: plane waves, local pseudopotentials, LDA.

    result = solve(atoms, Settings(mesh=(6, 6, 6)))
    result.energy, result.density, result.kinetic_potential

In atomic units, without spin polarisation. For any local potential, the density, the kinetic energy and its derivative
are an exact triple; `solve_fixed` calculates it without self-consistency.

With fractional occupations f = erfc((e - mu)/s) (Gaussian smearing), the functional whose derivative is mu - v is the
kinetic free energy T - TS, which `kinetic` contains. In a crystal with a gap, mu is not determined within the gap, nor
is an additive constant of the derivative; comparisons subtract the mean over the electrons (`without_constant`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from ase import Atoms

from gnnpot.errors import DataError, SimulationError
from gnnpot.functional import xc
from gnnpot.functional.bands import Bands, Occupation
from gnnpot.functional.external import Ions
from gnnpot.functional.grid import Grid
from gnnpot.functional.mixing import Pulay
from gnnpot.functional.pseudopotentials import Pseudopotential
from gnnpot.functional.symmetry import Symmetry, grid_for, irreducible_kpoints


@dataclass(frozen=True)
class Settings:
    """Settings of a Kohn-Sham calculation."""

    #: cut-off energy of the wave functions, Ha; that of the density is four times as high
    cutoff: float = 15.0
    #: k-point mesh
    mesh: tuple[int, int, int] = (6, 6, 6)
    #: whether the mesh is shifted by half a step along each reciprocal vector
    shift: tuple[bool, bool, bool] = (True, True, True)
    #: width s of the Gaussian smearing, Ha
    smearing: float = 0.005
    #: Hartree energy of the change of the density below which it is self-consistent, Ha
    tolerance: float = 1e-9
    #: largest norm of the residuals of eigenvectors at convergence
    residual: float = 1e-6
    #: largest number of iterations
    steps: int = 60

    def __post_init__(self) -> None:
        if not (self.cutoff > 0 and self.smearing > 0 and min(self.mesh) > 0):
            raise ValueError("cutoff, smearing and mesh must be positive")


@dataclass(frozen=True)
class KohnShamResult:
    """Result of a Kohn-Sham calculation: energies in Ha per cell, fields in atomic units on `grid`.

    `kinetic` is T - TS, `entropy` is -TS, and `energy` is the free energy. `kinetic_potential` is mu - v, and
    `orbital_potential` is the same from the sum over orbitals (`Bands.orbital_potential`).
    """

    atoms: Atoms
    grid: Grid
    symmetry: Symmetry
    density: np.ndarray
    potential: np.ndarray
    fermi_level: float
    kinetic: float
    entropy: float
    energies: dict[str, float] = field(default_factory=dict)
    forces: np.ndarray | None = None
    eigenvalues: np.ndarray | None = None
    orbital_potential: np.ndarray | None = None
    iterations: int = 0

    @property
    def energy(self) -> float:
        return sum(self.energies.values())

    @property
    def kinetic_potential(self) -> np.ndarray:
        return self.fermi_level - self.potential

    @property
    def gap(self) -> float:
        """Gap (Ha) between the highest filled and the lowest empty state at the k-points; 0 in a metal."""
        levels = self.eigenvalues
        if levels is None:
            raise ValueError("a result that was read from a file has no eigenvalues")
        filled = round(self.grid.integral(self.density) / 2)
        return max(0.0, float(levels[:, filled].min() - levels[:, filled - 1].max()))


def solve(
    atoms: Atoms,
    settings: Settings | None = None,
    table: dict[int, Pseudopotential] | None = None,
    start: np.ndarray | None = None,
    report: Callable[[int, float], None] | None = None,
) -> KohnShamResult:
    """Calculate the self-consistent density, energy and forces.

    Args:
        atoms: Crystal.
        settings: Settings of the calculation.
        table: Pseudopotentials by atomic number; by default, bulk-derived ones (BLPS).
        start: Initial density on the grid of the calculation.
        report: Called with the number of the iteration and the Hartree energy of the change of the density.

    Raises:
        SimulationError: The calculation does not converge.
        UnknownElementError: An element has no pseudopotential.
    """
    settings = settings or Settings()
    grid = calculation_grid(atoms, settings)
    ions = Ions(atoms, grid, table)
    symmetry = Symmetry.of(atoms, grid.shape)
    bands = _bands(grid, symmetry, settings, ions.electrons)
    density = symmetry.symmetrise(ions.starting_density() if start is None else start)
    mixing = Pulay(grid)
    change, residual = np.inf, 1e-2
    for iteration in range(1, settings.steps + 1):
        potential = ions.potential + hartree_potential(grid, density) + _exchange_correlation(density)[1]
        occupation = bands.solve(potential, residual)
        new = symmetry.symmetrise(bands.density(occupation))
        change = _hartree(grid, new - density)
        if report is not None:
            report(iteration, change)
        if change < settings.tolerance and residual <= 1.01 * settings.residual:
            break
        residual = max(settings.residual, min(residual, 0.03 * np.sqrt(change / max(ions.electrons, 1))))
        density = mixing.next(density, new)
    else:
        raise SimulationError(
            f"{atoms.get_chemical_formula()}: Kohn-Sham self-consistency has not converged in {settings.steps} "
            f"iterations (Hartree energy of the last change {change:.1e} Ha); raise steps or the smearing"
        )
    result = _result(atoms, grid, symmetry, bands, occupation, new, potential)
    energies = {
        "kinetic": result.kinetic,
        "external": grid.integral(ions.potential * new),
        "hartree": _hartree(grid, new),
        "xc": grid.integral(_exchange_correlation(new)[0]),
        "ewald": ions.ewald.energy,
    }
    return replace(result, energies=energies, forces=ions.forces(new), iterations=iteration)


def solve_fixed(
    atoms: Atoms, potential: np.ndarray, settings: Settings | None = None, electrons: float | None = None
) -> KohnShamResult:
    """Calculate non-interacting electrons in a given potential.

    Args:
        atoms: Crystal, whose symmetry the potential must have.
        potential: Potential on the grid of the calculation, Ha.
        settings: Settings of the calculation.
        electrons: Number of electrons; by default, that of `atoms`.

    Raises:
        DataError: The potential is on another grid.
        SimulationError: The eigenvectors do not converge.
    """
    settings = settings or Settings()
    grid = calculation_grid(atoms, settings)
    if potential.shape != grid.shape:
        raise DataError(f"potential: has the shape {potential.shape}, the calculation's grid {grid.shape}")
    symmetry = Symmetry.of(atoms, grid.shape)
    count = Ions(atoms, grid).electrons if electrons is None else electrons
    bands = _bands(grid, symmetry, settings, count)
    occupation = bands.solve(potential, settings.residual)
    density = symmetry.symmetrise(bands.density(occupation))
    return _result(atoms, grid, symmetry, bands, occupation, density, potential)


def calculation_grid(atoms: Atoms, settings: Settings) -> Grid:
    """Grid of densities and potentials, with all wave vectors up to twice the largest of the wave functions."""
    return grid_for(atoms, 2 * np.sqrt(2 * settings.cutoff))


def hartree_potential(grid: Grid, density: np.ndarray) -> np.ndarray:
    """Hartree potential (Ha) of a density in a neutralising background."""
    squares = grid.squares
    kernel = np.where(squares > 0, 4 * np.pi / np.where(squares > 0, squares, 1.0), 0.0)
    return grid.to_real(grid.to_fourier(density) * kernel)


def without_constant(potential: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Potential minus its mean over the electrons, ∫ v rho / ∫ rho."""
    return potential - (potential * density).sum() / density.sum()


def _hartree(grid: Grid, density: np.ndarray) -> float:
    return 0.5 * grid.integral(density * hartree_potential(grid, density))


def _exchange_correlation(density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    energy, potential = xc.energy_and_potential(torch.from_numpy(np.ascontiguousarray(density)))
    return energy.numpy(), potential.numpy()


def _bands(grid: Grid, symmetry: Symmetry, settings: Settings, electrons: float) -> Bands:
    kpoints, weights = irreducible_kpoints(symmetry, settings.mesh, settings.shift)
    return Bands(grid, kpoints, weights, settings.cutoff, electrons, settings.smearing)


def _result(
    atoms: Atoms,
    grid: Grid,
    symmetry: Symmetry,
    bands: Bands,
    occupation: Occupation,
    density: np.ndarray,
    potential: np.ndarray,
) -> KohnShamResult:
    kinetic = occupation.energy - grid.integral(density * potential) + occupation.entropy
    orbital = symmetry.symmetrise(bands.orbital_potential(occupation)) / density
    return KohnShamResult(
        atoms=atoms.copy(),
        grid=grid,
        symmetry=symmetry,
        density=density,
        potential=potential,
        fermi_level=occupation.fermi_level,
        kinetic=kinetic,
        entropy=occupation.entropy,
        eigenvalues=bands.values,
        orbital_potential=orbital,
    )
