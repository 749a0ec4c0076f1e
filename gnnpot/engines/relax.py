"""Relaxation of positions and cell to a minimum of the enthalpy E + p V.

    relaxation = relax(atoms, Calculator("path/to/checkpoint"), fmax=0.01)
    relaxation.converged, relaxation.energy, relaxation.atoms

It has converged when both

    max_i |F_i| <= fmax     and     max_ab |σ_ab + p δ_ab| <= stress_max

with the forces F (eV/Å; zero where constraints hold an atom), the stress σ and the pressure p (eV/Å³).
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.io.trajectory import Trajectory
from ase.optimize import BFGS, FIRE, LBFGS
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.engines.files import last_frame, refuse_overwrite
from gnnpot.errors import DataError, GnnpotError, SimulationError
from gnnpot.units import GPA

logger = logging.getLogger(__name__)

OptimizerName = Literal["fire", "lbfgs", "bfgs"]
_OPTIMIZERS = {"fire": FIRE, "lbfgs": LBFGS, "bfgs": BFGS}
#: A cell that grows or shrinks by this factor is no longer the crystal that was given.
_MAX_VOLUME_RATIO = 5.0
#: eV/Å; forces beyond it come from atoms on top of each other that nothing pushes apart
_MAX_FORCE = 1e6


@dataclass(frozen=True, slots=True)
class Relaxation:
    """What a relaxation came to."""

    atoms: Atoms  #: the relaxed structure; its calculator holds the results below
    converged: bool
    steps: int
    energy: float  #: eV
    initial_energy: float  #: eV
    fmax: float  #: eV/Å, the largest force on an atom
    stress_max: float | None  #: eV/Å³, largest component of stress + pressure; `None` without a relaxed cell
    volume: float | None  #: Å³; `None` without a cell
    initial_volume: float | None  #: Å³


def relax(
    atoms: StructureLike,
    calculator: AseCalculator,
    *,
    fmax: float = 0.01,
    stress_max: float = 0.05 * GPA,
    pressure: float = 0.0,
    cell: bool = True,
    steps: int = 500,
    optimizer: OptimizerName = "fire",
    trajectory: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Relaxation:
    """Relax a copy of `atoms`; the copy keeps its constraints.

    `fmax` eV/Å, `stress_max` and `pressure` eV/Å³. `cell` asks for all of the cell and needs three periodic directions.
    Every step is written to `trajectory` (ASE's format, readable at any time); with `resume` its last structure is the
    start, and it is continued. `progress` shows a live line.

    Not converging within `steps` is an answer, not an error. Raises `SimulationError` if the structure explodes, and
    `DataError` for a cell that can't be relaxed or a trajectory that is in the way.
    """
    atoms = as_atoms(atoms)
    if resume:
        atoms = last_frame(trajectory)
    else:
        refuse_overwrite(trajectory, overwrite)
    atoms = _movable(atoms, calculator, cell)
    initial_energy, initial_volume = atoms.get_potential_energy(), _volume(atoms)
    target = FrechetCellFilter(atoms, scalar_pressure=pressure) if cell else atoms
    with ExitStack() as stack:
        engine = stack.enter_context(_OPTIMIZERS[optimizer](target, logfile=None))
        if trajectory is not None:
            frames = stack.enter_context(Trajectory(str(trajectory), "a" if resume else "w", atoms))
            engine.attach(frames)
        report = stack.enter_context(_progress(steps, progress))
        converged, forces, stress = False, np.inf, None
        for _ in _steps(engine, steps):
            forces, stress = _largest_force(atoms), _largest_stress(atoms, pressure) if cell else None
            _check(atoms, forces, initial_volume, engine.nsteps)
            report(engine.nsteps, atoms.get_potential_energy() / len(atoms), forces, stress)
            converged = forces <= fmax and (stress is None or stress <= stress_max)
            if converged:
                break
    logger.info("relaxation %s after %d steps", "converged" if converged else "stopped", engine.nsteps)
    energy = atoms.get_potential_energy()
    return Relaxation(
        atoms=_with_results(atoms),
        converged=bool(converged),
        steps=engine.nsteps,
        energy=energy,
        initial_energy=initial_energy,
        fmax=forces,
        stress_max=stress,
        volume=_volume(atoms),
        initial_volume=initial_volume,
    )


def _movable(atoms: Atoms, calculator: AseCalculator, cell: bool) -> Atoms:
    """A copy with the calculator; raises `DataError` if the cell is to be relaxed and can't."""
    atoms = atoms.copy()
    if cell and not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise DataError(
            f"{atoms.get_chemical_formula()}: is not periodic in three directions, so its cell can't be relaxed; "
            "relax the positions only"
        )
    atoms.calc = calculator
    return atoms


def _steps(engine: FIRE | LBFGS | BFGS, steps: int) -> Iterator[None]:
    """The optimiser's steps; what goes wrong after the first one is an explosion, not a faulty structure."""
    iterator = engine.irun(fmax=0.0, steps=steps)
    while True:
        try:
            next(iterator)
        except StopIteration:
            return
        except GnnpotError as error:
            if engine.nsteps == 0:
                raise
            raise SimulationError(f"relaxation, step {engine.nsteps}: exploded ({error})") from error
        yield


def _check(atoms: Atoms, force: float, initial_volume: float | None, step: int) -> None:
    where = f"relaxation of {atoms.get_chemical_formula()}, step {step}"
    if not (np.isfinite(force) and np.isfinite(atoms.get_potential_energy()) and force < _MAX_FORCE):
        raise SimulationError(
            f"{where}: exploded, the largest force is {force:.3g} eV/Å; look for atoms that stand too close in the "
            "given structure"
        )
    volume = _volume(atoms)
    if initial_volume and volume and not 1 / _MAX_VOLUME_RATIO < volume / initial_volume < _MAX_VOLUME_RATIO:
        raise SimulationError(
            f"{where}: the cell went from {initial_volume:.1f} to {volume:.1f} Å³; the potential does not hold this "
            "structure together, relax with the cell held fixed or give a better start"
        )


def _largest_force(atoms: Atoms) -> float:
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def _largest_stress(atoms: Atoms, pressure: float) -> float:
    return float(np.abs(atoms.get_stress() + pressure * np.array([1.0, 1, 1, 0, 0, 0])).max())


def _volume(atoms: Atoms) -> float | None:
    return float(abs(atoms.get_volume())) if atoms.cell.rank == 3 else None


def _with_results(atoms: Atoms) -> Atoms:
    """`atoms` with the results stored, free of the calculator."""
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(apply_constraint=False)}
    if atoms.cell.rank == 3 and "stress" in atoms.calc.implemented_properties:
        results["stress"] = atoms.get_stress(apply_constraint=False)
    if atoms.calc.results.get("magmoms") is not None:
        results["magmoms"] = atoms.calc.results["magmoms"]
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@contextmanager
def _progress(total: int, show: bool) -> Iterator:
    """A function report(step, energy per atom, largest force, largest stress), on a live line if `show`."""
    if not show:
        yield lambda *_: None
        return
    energy, force, stress = (f"{{task.fields[{name}]}}" for name in ("energy", "force", "stress"))
    text = TextColumn(f"E [bold]{energy}[/] eV/atom   F {force} eV/Å   σ {stress} GPa")
    columns = (SpinnerColumn(), TextColumn("relax"), BarColumn(30), MofNCompleteColumn(), text, TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("relax", total=total, energy="", force="", stress="")

        def report(step: int, energy: float, force: float, stress: float | None) -> None:
            shown = "–" if stress is None else f"{stress / GPA:.3f}"
            bar.update(task, completed=step, energy=f"{energy:.5f}", force=f"{force:.4f}", stress=shown)

        yield report
