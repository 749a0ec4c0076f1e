"""Density, energy, forces and stress of orbital-free density functional theory, in atomic units.

    result = solve(atoms, functional)
    result.energy, result.forces, result.density

L-BFGS minimises the energy with respect to phi, where rho = phi² has the right number of electrons. The initial inverse
Hessian is that of the uniform electron gas, 1/(4 rho_0 (pi²/(k_F L(n)) + 4 pi/G²)), which makes the number of steps
independent of the size of the cell.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Annotated

import numpy as np
import torch
from ase import Atoms

from gnnpot.domains import INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.errors import DataError, SimulationError
from gnnpot.functional.energy import TotalEnergy, electronic_parts
from gnnpot.functional.external import Ions
from gnnpot.functional.functionals import Functional
from gnnpot.functional.grid import Grid
from gnnpot.functional.kernels import WangTeter
from gnnpot.functional.minimise import minimise
from gnnpot.functional.network import LearnedFunctional
from gnnpot.functional.reduced import ReducedBasis, ReducedSpace
from gnnpot.functional.space import FourierSpace, Space
from gnnpot.functional.symmetry import Symmetry, check_periodic, grid_for

#: lowest cut-off, 1/bohr; at 6/bohr, the error of AlP's von Weizsäcker energy is 92 meV/atom
#: (docs/functional/grid-drift.json)
LEAST_CUTOFF = 6.5
#: tolerances (Ha/atom) of the initial density of a learned functional, and of the minimisation in single precision
START_TOLERANCE, SINGLE_TOLERANCE = 1e-5, 1e-8


@dataclass(frozen=True)
class SolverSettings:
    """Settings of the minimisation."""

    #: cut-off of the grid, 1/bohr
    cutoff: Annotated[float, POSITIVE] = 6.5
    #: expected decrease of the energy in the next step at convergence, Ha/atom
    tolerance: Annotated[float, POSITIVE] = 1e-8
    #: largest number of steps
    steps: Annotated[int, INTEGER_FROM_1] = 200

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class OrbitalFreeResult:
    """Result of a minimisation; forces and stress are calculated on access."""

    grid: Grid
    density: np.ndarray  #: density on `grid`, 1/bohr³
    energies: dict[str, float]  #: parts of the energy, Ha per cell
    chemical_potential: float  #: Ha
    steps: int  #: number of steps
    evaluations: int  #: number of energy evaluations
    functional: Functional = field(repr=False)
    ions: Ions = field(repr=False)

    @property
    def energy(self) -> float:
        return sum(self.energies.values())

    @property
    def forces(self) -> np.ndarray:
        """Forces `[n, 3]`, Ha/bohr."""
        return self.ions.forces(self.density)

    @property
    def stress(self) -> np.ndarray:
        """Stress `[3, 3]` (+1/V dE/dstrain, Ha/bohr³).

        Contributions that do not depend on the ions are calculated by automatic differentiation, including the change
        of k_F0 with strain.
        """
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        space = FourierSpace(self.grid, strain)
        density = torch.from_numpy(self.density).reshape(1, -1)
        density = density / torch.linalg.det(torch.eye(3, dtype=torch.float64) + strain)
        energy = reduce(operator.add, electronic_parts(self.functional, density, space).values()).sum()
        slope = torch.autograd.grad(energy, strain)[0].numpy()
        return 0.5 * (slope + slope.T) / self.grid.volume + self.ions.stress(self.density)


def solve(
    atoms: Atoms,
    functional: Functional,
    settings: SolverSettings | None = None,
    start: np.ndarray | None = None,
    basis: ReducedBasis | None = None,
    report: Callable[[int, float, float], None] | None = None,
) -> OrbitalFreeResult:
    """Minimise the energy of a structure with respect to the density.

    With FFTs, learned functionals are first evaluated in single precision, until the density has converged, and then in
    double precision for the last steps (often one) and the result.

    Args:
        start: Initial density on the grid. By default, a superposition of Gaussians at the atoms; for learned
            functionals, whose steps cost more, the Wang-Teter density.
        basis: Matrices (`symmetric_basis`) to solve on irreducible points; by default, FFTs are used.
        report: Called with the step, the energy (Ha) and its expected decrease (Ha/atom).

    Raises:
        DataError: The grid is too coarse, or `start` is not a density of this structure.
        SimulationError: The density does not converge.
        UnknownElementError: An element has no pseudopotential.
    """
    settings = settings or SolverSettings()
    grid = orbital_free_grid(atoms, settings.cutoff)
    ions = Ions(atoms, grid)
    density = ions.starting_density() if start is None else check_density(start, grid, ions.electrons)
    space, pack, unpack = _space(grid, basis)
    external, first = pack(ions.potential), pack(density)
    progress = _scaled(report, len(atoms))
    expected, before, evaluations = settings.tolerance * len(atoms), 0, 0
    if isinstance(functional, LearnedFunctional):
        if start is None:
            cheap = TotalEnergy(WangTeter(), space, external)
            first = minimise(cheap, first, ions.electrons, START_TOLERANCE * len(atoms), settings.steps).density
        if basis is None:
            single = TotalEnergy(functional, FourierSpace(grid, inner=torch.float32), external)
            rough = max(expected, SINGLE_TOLERANCE * len(atoms))
            outcome = minimise(single, first, ions.electrons, rough, settings.steps, progress)
            first, before, evaluations = outcome.density, outcome.steps, single.evaluations
            del single
    energy = TotalEnergy(functional, space, external)
    outcome = minimise(energy, first, ions.electrons, expected, settings.steps - before, progress)
    steps = before + outcome.steps
    if not outcome.converged:
        raise SimulationError(
            f"{atoms.get_chemical_formula()}: the density has not converged in {steps} steps (the energy is "
            f"expected to fall by {outcome.expected / len(atoms):.1e} Ha/atom); raise steps or take another start"
        )
    return OrbitalFreeResult(
        grid=grid,
        density=unpack(outcome.density),
        energies={**outcome.parts, "ewald": ions.ewald.energy},
        chemical_potential=outcome.level,
        steps=steps,
        evaluations=evaluations + energy.evaluations,
        functional=functional,
        ions=ions,
    )


def orbital_free_grid(atoms: Atoms, cutoff: float) -> Grid:
    """Grid of a structure. Raises `DataError` if it would be too coarse, or the structure is not periodic."""
    check_periodic(atoms, atoms.get_chemical_formula())
    if cutoff < LEAST_CUTOFF:
        raise DataError(
            f"grid: the cut-off {cutoff:g} /bohr is too coarse for the pseudopotentials, which end near 6; give "
            f"{LEAST_CUTOFF:g} or more"
        )
    return grid_for(atoms, cutoff)


def check_density(density: np.ndarray, grid: Grid, electrons: float) -> np.ndarray:
    """Check that a density fits the grid and the number of electrons. Raises `DataError`."""
    if density.shape != grid.shape:
        raise DataError(f"density: has {density.shape} points, the grid of this structure {grid.shape}")
    if not np.isfinite(density).all() or density.min() < 0:
        raise DataError(f"density: has negative values or such that aren't numbers (least {density.min():.2e} /bohr³)")
    number = grid.integral(density)
    if abs(number - electrons) > 1e-3 * electrons:
        raise DataError(
            f"density: holds {number:.4f} electrons, the atoms have {electrons:g}; scale it, or leave it out"
        )
    return np.maximum(density, 1e-12)


def symmetric_basis(atoms: Atoms, cutoff: float = SolverSettings.cutoff) -> ReducedBasis:
    """Matrices for `solve`, for crystals with the shape and symmetry of `atoms` and any volume."""
    grid = orbital_free_grid(atoms, cutoff)
    return ReducedBasis.of(grid, Symmetry.of(atoms, grid.shape))


def _space(grid: Grid, basis: ReducedBasis | None) -> tuple[Space, Callable, Callable]:
    if basis is None:
        return (
            FourierSpace(grid),
            lambda field_: torch.from_numpy(np.ascontiguousarray(field_)).reshape(1, -1),
            lambda values: values.reshape(grid.shape).numpy(),
        )
    if len(basis.orbit) != grid.size:
        raise DataError(f"basis: belongs to a grid of {len(basis.orbit)} points, this structure has {grid.size}")
    space = ReducedSpace(basis, [grid.volume])
    return space, lambda field_: space.reduce(field_)[None], lambda values: space.expand(values[0]).reshape(grid.shape)


def _scaled(report: Callable | None, count: int) -> Callable[[int, float, float], None] | None:
    if report is None:
        return None
    return lambda step, energy, expected: report(step, energy, expected / count)


def uniform_density(grid: Grid, electrons: float) -> np.ndarray:
    """Uniform density, 1/bohr³."""
    return np.full(grid.shape, electrons / grid.volume)
