"""Relaxation of positions and cell to a minimum of the enthalpy E + p V.

    relaxation = relax(atoms, Calculator("path/to/checkpoint"), fmax=0.01)
    relaxation.converged, relaxation.energy, relaxation.atoms

The relaxation is converged when both

    max_i |F_i| <= fmax     and     max_ab |σ_ab + p δ_ab| <= stress_max

with the forces F (eV/Å; zero for fixed atoms), the stress σ and the pressure p (eV/Å³). Only the stress components that
are free to relax are considered (`engines.cell_filters`).
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixSymmetry
from ase.io.trajectory import Trajectory, TrajectoryWriter
from ase.optimize import BFGS, FIRE, LBFGS

from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.structures import StructureLike, as_checked_atoms
from gnnpot.domains import NOT_NEGATIVE, POSITIVE, STEPS, check_fields
from gnnpot.engines.cell_filters import CellChoice, CellFreedom, StrainFilter, choose_cell, keep_symmetry, stress_left
from gnnpot.engines.files import last_frame, refuse_overwrite
from gnnpot.errors import ConfigError, DataError, SimulationError
from gnnpot.units import GPA

logger = logging.getLogger(__name__)

OptimizerName = Literal["fire", "lbfgs", "bfgs"]
_OPTIMIZERS = {"fire": FIRE, "lbfgs": LBFGS, "bfgs": BFGS}
#: factor of volume change, up or down, beyond which the relaxation is stopped
_MAX_VOLUME_RATIO = 5.0
#: eV/Å, force above which the relaxation is stopped; only overlapping atoms without repulsion reach it
_MAX_FORCE = 1e6


@dataclass(frozen=True, slots=True)
class RelaxConfig:
    """Options of `relax`."""

    fmax: Annotated[float, NOT_NEGATIVE] = 0.01  #: eV/Å, convergence threshold of the largest force
    stress_max: Annotated[float, NOT_NEGATIVE] = 0.05 * GPA  #: eV/Å³, convergence threshold of the largest stress
    pressure: float = 0.0  #: eV/Å³, external pressure
    cell: CellFreedom = "full"  #: strains of the cell that may relax
    #: Å, tolerance for finding the initial symmetry, which is then kept; None: symmetry is not enforced
    symmetry: Annotated[float | None, POSITIVE] = None
    steps: Annotated[int, STEPS] = 500  #: maximum number of steps
    optimizer: OptimizerName = "fire"  #: FIRE, LBFGS or BFGS of ASE

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class RelaxStep:
    """Energy, largest force and largest stress at a step."""

    step: int
    energy: float  #: eV
    fmax: float  #: eV/Å, the largest force on an atom
    stress_max: float | None  #: eV/Å³, the largest free component of stress + pressure; None for a fixed cell


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Result of a relaxation."""

    atoms: Atoms  #: the relaxed structure; its calculator holds the results
    initial_atoms: Atoms = field(repr=False)  #: the initial structure
    converged: bool
    interrupted: bool  #: stopped by Ctrl-C; the other fields are those of the last structure
    steps: int
    energy: float  #: eV
    initial_energy: float  #: eV
    fmax: float  #: eV/Å, the largest force on an atom
    stress_max: float | None  #: eV/Å³, largest free component of stress + pressure; `None` for a fixed cell
    volume: float | None  #: Å³; `None` without a cell
    initial_volume: float | None  #: Å³
    relaxed_cell: CellChoice  #: strains of the cell that were free
    symmetry: str  #: the space group that was kept; empty if none


def relax(
    atoms: StructureLike,
    calculator: AseCalculator,
    config: RelaxConfig | None = None,
    *,
    trajectory: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[RelaxStep], None] | None = None,
) -> Relaxation:
    """Relax a copy of `atoms`; the copy keeps its constraints.

    Args:
        atoms: Initial structure.
        calculator: Calculator of energy, forces and, for the cell, stress.
        config: Options; default: `RelaxConfig()`.
        trajectory: File to which every step is written (ASE's format, readable at any time).
        resume: Start from the last structure of `trajectory` and continue it.
        overwrite: Replace an existing trajectory.
        progress: Called with each step.

    Returns:
        The last structure and its results, also if the relaxation has not converged or was stopped by Ctrl-C.

    Raises:
        SimulationError: The structure explodes.
        ConfigError, DataError: The cell can't be relaxed as asked; the trajectory exists, or is not one to resume from.
    """
    atoms, config = _start(as_checked_atoms(atoms), trajectory, resume, overwrite), config or RelaxConfig()
    choice = _cell_choice(atoms, config)
    before = [constraint for constraint in atoms.constraints if not isinstance(constraint, FixSymmetry)]
    symmetry = "" if config.symmetry is None else keep_symmetry(atoms, config.symmetry)
    initial = atoms.copy()
    initial.set_constraint(before)
    atoms.calc = calculator
    initial_energy = atoms.get_potential_energy()
    target = atoms if choice.kind == "none" else StrainFilter(atoms, choice, config.pressure)
    with ExitStack() as stack:
        engine = stack.enter_context(_OPTIMIZERS[config.optimizer](target, logfile=None))
        if trajectory is not None:
            frames = stack.enter_context(_opened(trajectory, "a" if resume else "w"))
            engine.attach(lambda: frames.write(_bare(atoms, before)))
        last_step, converged, interrupted = _run(engine, atoms, choice, config, progress or (lambda _: None))
    logger.info("relaxation %s after %d steps", "converged" if converged else "stopped", engine.nsteps)
    atoms.set_constraint(before)
    return Relaxation(
        atoms=with_results(atoms),
        initial_atoms=initial,
        converged=converged,
        interrupted=interrupted,
        steps=engine.nsteps,
        energy=atoms.get_potential_energy(),
        initial_energy=initial_energy,
        fmax=last_step.fmax,
        stress_max=last_step.stress_max,
        volume=_volume(atoms),
        initial_volume=_volume(initial),
        relaxed_cell=choice,
        symmetry=symmetry,
    )


def _cell_choice(atoms: Atoms, config: RelaxConfig) -> CellChoice:
    """Return the free strains of the cell. Raises `ConfigError` for a pressure on a constant volume."""
    choice = choose_cell(atoms, config.cell)
    if choice.kind in ("none", "shape") and config.pressure != 0:
        raise ConfigError(
            f"pressure: has no effect on {atoms.get_chemical_formula()}, whose volume does not relax; leave it out, or "
            "relax the cell of a periodic structure"
        )
    return choice


def _run(
    engine: FIRE | LBFGS | BFGS,
    atoms: Atoms,
    choice: CellChoice,
    config: RelaxConfig,
    report: Callable[[RelaxStep], None],
) -> tuple[RelaxStep, bool, bool]:
    """Run the optimiser; returns the last step, and whether it has converged and was interrupted."""
    initial_volume = _volume(atoms)
    last, converged = None, False
    try:
        for _ in _steps(engine, config.steps):
            force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
            stress = None if choice.kind == "none" else stress_left(atoms, choice, config.pressure)
            last = RelaxStep(engine.nsteps, atoms.get_potential_energy(), force, stress)
            _check(atoms, last, initial_volume)
            report(last)
            converged = force <= config.fmax and (stress is None or stress <= config.stress_max)
            if converged:
                break
    except KeyboardInterrupt:
        if last is None:
            raise
        # the interrupted step may have moved the atoms without calculating results for them
        atoms.get_forces()
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        stress = None if choice.kind == "none" else stress_left(atoms, choice, config.pressure)
        return RelaxStep(engine.nsteps, atoms.get_potential_energy(), force, stress), False, True
    assert last is not None
    return last, converged, False


def _opened(path: Path | str, mode: Literal["a", "w"]) -> TrajectoryWriter:
    try:
        return Trajectory(str(path), mode)
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror}); give another name") from None


def _start(atoms: Atoms, trajectory: Path | str | None, resume: bool, overwrite: bool) -> Atoms:
    """Copy `atoms`; with `resume`, take the last frame of the trajectory, else check that it does not exist."""
    if not resume:
        refuse_overwrite(trajectory, overwrite)
        return atoms.copy()
    # only positions and cell, since frames do not store the symmetry constraint
    return _moved(atoms, last_frame(trajectory))


def _moved(atoms: Atoms, last: Atoms) -> Atoms:
    """Copy `atoms` with the positions and cell of `last`. Raises `ConfigError` if `last` is another structure."""
    if len(atoms) != len(last) or (atoms.numbers != last.numbers).any():
        raise ConfigError(
            f"trajectory: is of {last.get_chemical_formula()}, not {atoms.get_chemical_formula()}; resume with the "
            "same structure"
        )
    atoms = atoms.copy()
    atoms.set_cell(last.cell)
    atoms.positions[:] = last.positions
    return atoms


def _bare(atoms: Atoms, constraints: list) -> Atoms:
    """Copy `atoms` for a file, with the results and without the symmetry constraint."""
    copy = atoms.copy()
    copy.set_constraint(constraints)
    copy.calc = atoms.calc
    return with_results(copy)


def _steps(engine: FIRE | LBFGS | BFGS, steps: int) -> Iterator[None]:
    """Steps of the optimiser; errors after the first step are reported as an explosion, not as an invalid structure."""
    iterator = engine.irun(fmax=0.0, steps=steps)
    while True:
        try:
            next(iterator)
        except StopIteration:
            return
        except (SimulationError, DataError) as error:
            if engine.nsteps == 0:
                raise
            raise SimulationError(f"relaxation, step {engine.nsteps}: exploded ({error})") from error
        yield


def _check(atoms: Atoms, step: RelaxStep, initial_volume: float | None) -> None:
    where = f"relaxation of {atoms.get_chemical_formula()}, step {step.step}"
    if not (np.isfinite(step.fmax) and np.isfinite(step.energy) and step.fmax < _MAX_FORCE):
        raise SimulationError(
            f"{where}: exploded, the largest force is {step.fmax:.3g} eV/Å; look for atoms that stand too close in the "
            "given structure"
        )
    volume = _volume(atoms)
    if initial_volume and volume and not 1 / _MAX_VOLUME_RATIO < volume / initial_volume < _MAX_VOLUME_RATIO:
        raise SimulationError(
            f"{where}: the cell went from {initial_volume:.1f} to {volume:.1f} Å³; the potential does not hold this "
            "structure together, relax with the cell held fixed or give a better start"
        )


def _volume(atoms: Atoms) -> float | None:
    return float(abs(atoms.get_volume())) if atoms.cell.rank == 3 else None


def with_results(atoms: Atoms) -> Atoms:
    """Replace the calculator of `atoms` by one that holds its energy, forces and other results; returns `atoms`."""
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(apply_constraint=False)}
    if atoms.cell.rank == 3 and "stress" in atoms.calc.implemented_properties:
        results["stress"] = atoms.get_stress(apply_constraint=False)
    further = (name for name in QUANTITIES if name not in results and not QUANTITIES[name].derivative)
    results |= {name: atoms.calc.results[name] for name in further if atoms.calc.results.get(name) is not None}
    atoms.calc = SinglePointCalculator(atoms)
    atoms.calc.results = results
    return atoms
