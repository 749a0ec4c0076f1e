"""Common steps of property calculations: relaxation, single points, and supercells of a minimum height.

crystal = relaxed(atoms, calculator, cell="full", progress=progress)
energy = energy_of(crystal, calculator)
supercell = crystal.repeat(repeats(crystal.cell, length=10.0))
"""

from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.cell import Cell

from gnnpot.data.structures import StructureLike, as_checked_atoms
from gnnpot.engines.cell_filters import CellFreedom
from gnnpot.engines.relax import RelaxConfig, relax
from gnnpot.errors import ConfigError, DataError, SimulationError
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.units import GPA

#: maximum number of steps of a relaxation
STEPS = 1000


def crystal_of(structure: StructureLike, what: str) -> Atoms:
    """Copy a crystal as `Atoms` without a calculator.

    Raises:
        DataError: It is not periodic in three directions, or has constraints.
    """
    atoms = as_checked_atoms(structure).copy()
    if len(atoms) == 0 or not atoms.pbc.all() or atoms.cell.rank < 3:
        raise DataError(
            f"{what}: {atoms.get_chemical_formula() or 'the structure'} is no crystal; give one with a cell"
        )
    check_unconstrained(atoms, what)
    return atoms


def check_unconstrained(atoms: Atoms, what: str) -> None:
    """Raise `DataError` if atoms are constrained, for properties that are defined at a minimum of the energy."""
    if atoms.constraints:
        kinds = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
        raise DataError(
            f"{what}: {atoms.get_chemical_formula()} has fixed atoms or other constraints ({kinds}), as from selective "
            "dynamics of a POSCAR, and would not be relaxed to a minimum; remove them from the structure"
        )


def relaxed(
    atoms: Atoms,
    calculator: BaseCalculator,
    *,
    cell: CellFreedom = "none",
    fmax: float = 1e-3,
    stress_max: float = 0.01 * GPA,
    what: str = "relaxation",
    progress: Progress = no_progress,
) -> Atoms:
    """Return a relaxed copy without a calculator; constraints are kept.

    Args:
        atoms: Initial structure.
        calculator: Any ASE calculator.
        cell: Strains of the cell that may relax, as in `engines.cell_filters`.
        fmax: eV/Å, convergence threshold of the largest force.
        stress_max: eV/Å³, convergence threshold of the largest stress.
        what: Name of the relaxation, for progress and messages.
        progress: Called with the number of steps done; the total is the maximum number of steps.

    Raises:
        SimulationError: The structure explodes, or has not converged after 1,000 steps.
    """
    # BFGS needs fewer steps, but a matrix of (3N)² values
    optimizer: Literal["bfgs", "lbfgs"] = "bfgs" if len(atoms) <= 100 else "lbfgs"
    config = RelaxConfig(fmax=fmax, stress_max=stress_max, cell=cell, steps=STEPS, optimizer=optimizer)
    found = relax(
        atoms, calculator, config,
        progress=lambda step: progress(what, step.step, STEPS, f"largest force {step.fmax:.4f} eV/Å"),
    )  # fmt: skip
    progress(what, STEPS, STEPS)
    if found.interrupted:
        raise KeyboardInterrupt
    if not found.converged:
        raise SimulationError(
            f"{what}: {atoms.get_chemical_formula()} has not converged after {found.steps} steps (largest force "
            f"{found.fmax:.2g} eV/Å); relax it with other options first, or allow larger forces (fmax)"
        )
    final = found.atoms.copy()
    final.calc = None
    return final


def energy_of(atoms: Atoms, calculator: BaseCalculator) -> float:
    """Energy of a copy, eV."""
    copy = atoms.copy()
    copy.calc = calculator
    return float(copy.get_potential_energy())


def forces_of(atoms: Atoms, calculator: BaseCalculator) -> np.ndarray:
    """Forces on a copy, [N, 3] eV/Å."""
    copy = atoms.copy()
    copy.set_constraint()
    copy.calc = calculator
    return copy.get_forces()


def stress_of(atoms: Atoms, calculator: BaseCalculator) -> np.ndarray:
    """Stress of a copy, [6] eV/Å³, Voigt."""
    copy = atoms.copy()
    copy.set_constraint()
    copy.calc = calculator
    return copy.get_stress()


def repeats(cell: Cell, length: float) -> tuple[int, int, int]:
    """Least repeats of a cell along its vectors for heights of at least `length` (Å)."""
    if not 0 < length < np.inf:
        raise ConfigError(f"supercell length: {length} is no length in Å; give a positive number")
    heights = 1 / np.linalg.norm(cell.reciprocal().array, axis=1)
    a, b, c = (max(1, int(np.ceil(length / height - 1e-6))) for height in heights)
    return a, b, c
