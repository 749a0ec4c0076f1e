"""Errors of a functional with respect to Kohn-Sham samples, at the functional's own density.

Example::

    evaluations = evaluate(functional, samples)
    evaluations[0].density_error            # ∫ |rho - rho_KS| / N
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from gnnpot.errors import DataError
from gnnpot.functional.data import Sample
from gnnpot.functional.functionals import Functional
from gnnpot.functional.grid import Grid
from gnnpot.functional.reduced import ReducedBasis
from gnnpot.functional.solver import OrbitalFreeResult, SolverSettings, solve
from gnnpot.functional.space import FourierSpace
from gnnpot.functional.symmetry import Symmetry
from gnnpot.units import BOHR, HARTREE

#: largest number of irreducible points with which a crystal is solved on these points
REDUCED_UP_TO = 800


@dataclass(frozen=True)
class SampleErrors:
    """Errors of one structure; energies in eV/atom, forces in eV/Å."""

    name: str
    density_error: float
    energy_error: float
    kinetic_error: float
    force_error: float
    energy: float
    reference_energy: float
    steps: int


def evaluate(
    functional: Functional,
    samples: Sequence[Sample],
    progress: Callable[[int, int], None] | None = None,
) -> list[SampleErrors]:
    """Minimise the energy for each self-consistent sample, and compare the results with the sample.

    `kinetic_error` is the error of T at the Kohn-Sham density. Raises `DataError` if no sample is self-consistent.
    """
    chosen = [sample for sample in samples if sample.energies]
    if not chosen:
        raise DataError(
            "there are no self-consistent samples to compare with; non-interacting ones have no total energy"
        )
    results = []
    for number, sample in enumerate(chosen):
        results.append(compare(functional, sample))
        if progress is not None:
            progress(number + 1, len(chosen))
    return results


def solve_sample(functional: Functional, sample: Sample, settings: SolverSettings | None = None) -> OrbitalFreeResult:
    """Calculate the orbital-free density of a sample's structure on the grid of the sample.

    Crystals with at most `REDUCED_UP_TO` irreducible points are solved on these points. If `settings` are given, their
    cut-off must be that of the grid.
    """
    grid = Grid(sample.atoms.cell.array / BOHR, sample.density.shape)
    symmetry = Symmetry.of(sample.atoms, grid.shape)
    basis = ReducedBasis.of(grid, symmetry) if len(symmetry.orbits[0]) <= REDUCED_UP_TO else None
    return solve(sample.atoms, functional, settings or SolverSettings(cutoff=_cutoff(grid)), basis=basis)


def _cutoff(grid: Grid) -> float:
    """Largest cut-off (1/bohr) that gives this grid, as samples may have a finer one than that of `data.CUTOFF`."""
    return grid.inscribed_cutoff * (1 - 1e-7)


def compare(functional: Functional, sample: Sample) -> SampleErrors:
    """Errors for one sample."""
    result = solve_sample(functional, sample)
    count = len(sample.atoms)
    forces = 0.0
    if sample.forces is not None:
        forces = float(np.sqrt(np.mean((result.forces - sample.forces) ** 2))) * HARTREE / BOHR
    return SampleErrors(
        name=sample.name,
        density_error=density_error(result.density, sample),
        energy_error=(result.energy - sample.energy) * HARTREE / count,
        kinetic_error=(kinetic_energy(functional, sample) - sample.kinetic) * HARTREE / count,
        force_error=forces,
        energy=result.energy * HARTREE / count,
        reference_energy=sample.energy * HARTREE / count,
        steps=result.steps,
    )


def density_error(density: np.ndarray, sample: Sample) -> float:
    """∫ |rho - rho_KS| / N."""
    volume = Grid(sample.atoms.cell.array / BOHR, sample.density.shape).cell_volume
    return float(np.abs(density - sample.density).sum() * volume / sample.electrons)


def kinetic_energy(functional: Functional, sample: Sample) -> float:
    """T (Ha) at the density of the sample."""
    space = FourierSpace(Grid(sample.atoms.cell.array / BOHR, sample.density.shape))
    with torch.no_grad():
        density = torch.from_numpy(sample.density).reshape(1, -1)
        return float(functional.energy(density, space))


def plane_average_error(density: np.ndarray, reference: np.ndarray, axis: int = 2) -> float:
    """Mean absolute error (1/bohr³) of the density averaged over planes along a cell vector."""
    others = tuple(i for i in range(3) if i != axis)
    return float(np.abs(density.mean(axis=others) - reference.mean(axis=others)).mean())


@dataclass(frozen=True)
class EquationOfStateMinimum:
    """Volume (Å³/atom), bulk modulus (GPa) and energy (eV/atom) at the minimum; NaN where it lies outside the range."""

    volume: float
    bulk_modulus: float
    energy: float


def equation_of_state(volumes: Sequence[float], energies: Sequence[float]) -> EquationOfStateMinimum:
    """Fit a cubic polynomial in V^(-2/3) (F. Birch, 1947) to energies (eV/atom) at volumes (Å³/atom)."""
    volumes_, x = np.asarray(volumes), np.asarray(volumes) ** (-2 / 3)
    centre, width = x.mean(), np.ptp(x)
    fit = np.polynomial.Polynomial.fit((x - centre) / width, energies, 3)
    low, high = volumes_.min(), volumes_.max()

    def energy(volume: float) -> float:
        return float(fit((volume ** (-2 / 3) - centre) / width))

    found = minimize_scalar(energy, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    volume = float(found.x)
    if min(volume - low, high - volume) < 1e-3 * (high - low):
        return EquationOfStateMinimum(np.nan, np.nan, np.nan)
    h = 1e-3 * volume
    second = (energy(volume + h) - 2 * energy(volume) + energy(volume - h)) / h**2
    return EquationOfStateMinimum(volume, volume * second * 160.21766208, energy(volume))
