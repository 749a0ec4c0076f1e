"""ASE calculator for orbital-free density functional theory.

Example::

    atoms.calc = Calculator()                       # the functional included in gnnpot
    atoms.calc = Calculator("wt", cutoff=7.0)
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.calc.result.density                       # 1/bohr³, on atoms.calc.result.grid
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators import calculator as ase_calculator

from gnnpot.functional.external import Ions
from gnnpot.functional.functionals import Functional
from gnnpot.functional.solver import OrbitalFreeResult, SolverSettings, orbital_free_grid, solve
from gnnpot.functional.store import DEFAULT, open_functional
from gnnpot.units import BOHR, HARTREE, stress_to_voigt


class Calculator(ase_calculator.Calculator):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt) of periodic structures.

    The elements must have a bulk-derived local pseudopotential (`pseudopotentials.ELEMENTS`). If the grid is unchanged,
    the minimisation starts from the previous density, moved with the atoms; the result does not depend on it.

    Args:
        functional: A `Functional`, or an argument of `open_functional`; by default, the one included in gnnpot.
        cutoff: Cut-off of the density's grid, 1/bohr.
        tolerance: The density has converged if the next step is expected to lower the energy by less, Ha/atom.
        steps: Largest number of steps of the minimisation.

    Raises:
        UnknownElementError: An element has no local pseudopotential.
        DataError: The structure isn't periodic, or the grid is too coarse.
        SimulationError: The density does not converge.
    """

    implemented_properties: list[str] = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self,
        functional: Functional | str | Path = DEFAULT,
        *,
        cutoff: float = SolverSettings.cutoff,
        tolerance: float = 1e-9,
        steps: int = SolverSettings.steps,
    ) -> None:
        super().__init__()
        self.functional = functional if isinstance(functional, Functional) else open_functional(functional)
        self.settings = SolverSettings(cutoff, tolerance, steps)
        self.result: OrbitalFreeResult | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = ase_calculator.all_changes,
    ) -> None:
        """Calculate the energy, and forces and stress if they are in `properties`; called by ASE."""
        before = None
        if self.result is not None and self.atoms is not None:
            before = self.atoms.copy(), self.result
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise ValueError("there is no structure to calculate")
        properties = properties or ["energy"]
        if system_changes or self.result is None:
            # if solve fails, ASE may call again without changes, and must not get the result of another structure
            self.result = None
            result = self.result = solve(
                self.atoms, self.functional, self.settings, start=self._start(self.atoms, before)
            )
        else:
            result = self.result
        energy = result.energy * HARTREE
        self.results.update(energy=energy, free_energy=energy)
        if "forces" in properties:
            self.results["forces"] = result.forces * (HARTREE / BOHR)
        if "stress" in properties:
            self.results["stress"] = stress_to_voigt(result.stress) * (HARTREE / BOHR**3)

    def _start(self, now: Atoms, before: tuple[Atoms, OrbitalFreeResult] | None) -> np.ndarray | None:
        """Initial density: the previous one plus the change of the superposition of atomic densities."""
        if before is None:
            return None
        atoms, last = before
        if not np.array_equal(atoms.numbers, now.numbers):
            return None
        grid = orbital_free_grid(now, self.settings.cutoff)
        if grid.shape != last.grid.shape:
            return None
        ions = Ions(now, grid)
        density = last.density * (last.grid.volume / grid.volume)
        density = density + ions.starting_density() - last.ions.starting_density() * (last.grid.volume / grid.volume)
        density = np.maximum(density, 1e-3 * density.mean())
        return density * (ions.electrons / grid.integral(density))
