"""Molecular dynamics at constant energy, temperature or pressure; runs can be killed at any time and resumed exactly.

    config = MDConfig(ensemble="npt-isotropic", temperature=600, pressure=1.0, steps=10_000)
    result = run_md(atoms, calculator, config, trajectory="run.traj", log="run.log")

The ensembles, their integrators and numbers of degrees of freedom f are listed in `engines.integrators`. The
temperature is T = 2 E_kin / (f k_B).

Initial velocities are drawn from the Maxwell-Boltzmann distribution; drift and rotation are removed, and velocities are
scaled to exactly the temperature. All random numbers come from one generator with the seed `seed`.

The file name extension sets the format of the trajectory (`engines.trajectories`). The full state of the run is saved
without rounding, in the trajectory or in a file beside it, at intervals of wall time also between frames. `resume`
continues from this state and gives the same numbers as an uninterrupted run; a different potential, structure or seed
is an error. A run that was killed before its first frame is started again. Memory does not grow with run length.
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator
from ase.io import iread
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta

from gnnpot.data.structures import StructureLike, as_checked_atoms
from gnnpot.engines.averages import Averages
from gnnpot.engines.files import refuse_overwrite, refuse_same
from gnnpot.engines.integrators import Integrator, check_ensemble, degrees_of_freedom, make_integrator
from gnnpot.engines.md_config import LANGEVIN, MDConfig, MDResult, MDSample
from gnnpot.engines.md_log import LogFile, is_log
from gnnpot.engines.pressure import pressure_of
from gnnpot.engines.restart import check_fingerprint, fingerprint, structure_identity
from gnnpot.engines.trajectories import (
    TrajectoryWriter,
    check_new_trajectory,
    check_trajectory_name,
    create_trajectory,
    open_trajectory,
)
from gnnpot.errors import ConfigError, DataError, ExplosionError, SimulationError
from gnnpot.runs.files import appending
from gnnpot.runs.identity import differences
from gnnpot.runs.lock import file_lock
from gnnpot.units import BOLTZMANN

__all__ = ["MDConfig", "MDResult", "MDSample", "degrees_of_freedom", "random_velocities", "run_md"]

logger = logging.getLogger(__name__)

#: eV per atom, change of the total energy in `nve` above which the run is stopped
_MAX_ENERGY_CHANGE = 0.5
#: format version of the state
_VERSION = 2


@dataclass(slots=True)
class _MDRun:
    """State of a run in progress."""

    atoms: Atoms
    config: MDConfig
    integrator: Integrator
    structure: str  #: digest of the initial structure
    averages: Averages = field(default_factory=Averages)
    step: int = 0
    frame_written: bool = True  #: whether a frame has been written for this step
    conserved: float | None = None  #: eV, conserved energy at step 0; `None` if it was not saved, before version 0.2

    def sample(self, with_pressure: bool = False) -> MDSample:
        """Sample the current step. The pressure is optional, since some calculators compute the stress separately."""
        kinetic, potential = self.atoms.get_kinetic_energy(), self.atoms.get_potential_energy()
        return MDSample(
            step=self.step,
            time=self.step * self.config.timestep,
            temperature=2 * kinetic / (self.integrator.freedom * BOLTZMANN),
            potential=potential,
            kinetic=kinetic,
            conserved=self.integrator.conserved_energy(potential + kinetic),
            volume=self.atoms.get_volume() if self.config.changes_cell else None,
            pressure=pressure_of(self.atoms) if with_pressure else None,
        )

    def state(self) -> dict[str, Any]:
        """State that a resume needs besides positions, momenta and cell, as JSON values."""
        return {
            "version": _VERSION,
            "step": self.step,
            "framed": self.frame_written,
            "conserved": self.conserved,
            "time": self.step * self.config.timestep,
            "rng": self.integrator.rng.bit_generator.state,
            "integrator": self.integrator.state(),
            "averages": self.averages.state(),
            "settings": self.config.decisive(),
            "structure": self.structure,
            "potential": fingerprint(self.atoms),
        }


@dataclass(slots=True)
class _Outputs:
    """Output files of a run."""

    run: _MDRun
    frames: TrajectoryWriter | None
    lines: LogFile | None

    def record(self, sample: MDSample) -> None:
        """Write a frame and a log line, and count the pressure."""
        self.run.frame_written = True
        if sample.step >= self.run.config.equilibration:
            self.run.averages.add_pressure(sample)
        if self.frames is not None:
            state = self.run.state()
            with appending(self.frames.path):
                self.frames.write(self.run.atoms, state)
        if self.lines is not None:
            self.lines.write(sample)

    def skip_frame(self) -> None:
        """Skip the frame of this step, but save the state if it is due."""
        self.run.frame_written = False
        if self.frames is not None and self.frames.state_due:
            state = self.run.state()
            with appending(self.frames.path):
                self.frames.save_state(self.run.atoms, state)


def run_md(
    atoms: StructureLike,
    calculator: AseCalculator,
    config: MDConfig | None = None,
    *,
    trajectory: Path | str | None = None,
    log: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[MDSample], None] | None = None,
) -> MDResult:
    """Run to step `config.steps`, from a copy of `atoms` or, with `resume`, from the last state of `trajectory`.

    Args:
        atoms: Initial structure; its constraints are applied.
        calculator: Calculator of energy, forces and, at constant pressure, stress.
        config: Options; default: `MDConfig()`.
        trajectory: File for frames, every `config.interval` steps and at the last; its extension sets the format.
        log: File for a table of samples at the same steps.
        resume: Continue both files; steps after the last saved state (every 20 s) are repeated. Starts a new run if
            there is no trajectory.
        overwrite: Replace existing files, as soon as the first frame of the new run is written.
        progress: Called with the sample of each step.

    Returns:
        The last state, and averages.

    Raises:
        SimulationError: The run explodes; the files contain the steps before.
        ConfigError: The structure is not suitable for the ensemble, or the run to resume differs from this one.
        DataError: Files exist already, or can't be written or read, or another process writes the trajectory.
    """
    atoms, config = as_checked_atoms(atoms), config or MDConfig()
    trajectory, log = (None if path is None else Path(path) for path in (trajectory, log))
    begun = _check_outputs(trajectory, log, config.elements, resume, overwrite)
    with ExitStack() as stack:
        if trajectory is not None and trajectory.parent.is_dir():
            stack.enter_context(file_lock(trajectory, "a simulation"))
        frames: TrajectoryWriter | None = None
        if begun and trajectory is not None:
            run, frames = _resumed(trajectory, atoms, calculator, config)
        else:
            run = _started(atoms, calculator, config)
        first = run.sample(with_pressure=True)
        if run.conserved is None:
            run.conserved = first.conserved
        if not begun and trajectory is not None:
            frames = create_trajectory(trajectory, run.atoms, run.state(), config.elements)
        if frames is not None:
            stack.enter_context(frames)
        lines = None
        if log is not None:
            lines = stack.enter_context(LogFile(log, first, resume=begun, framed=run.frame_written))
            if not begun:
                lines.write(first)
        return _advance(run, _Outputs(run, frames, lines), first, progress or (lambda _: None))


def _check_outputs(
    trajectory: Path | None, log: Path | None, elements: tuple[str, ...], resume: bool, overwrite: bool
) -> bool:
    """Return whether there is a run to resume; invalid outputs raise errors before any work is done."""
    refuse_same({"trajectory": trajectory, "log": log})
    if trajectory is None and resume:
        raise DataError("resume: there is no trajectory to resume from; name it")
    if trajectory is not None:
        check_trajectory_name(trajectory, elements)
    begun = resume and trajectory is not None and trajectory.exists()
    if not begun:
        if trajectory is not None:
            check_new_trajectory(trajectory, overwrite)
        # a run that was killed before its first frame may have left a log
        refuse_overwrite(log, overwrite or (resume and log is not None and is_log(log)))
    return begun


def _advance(run: _MDRun, outputs: _Outputs, reference: MDSample, report: Callable[[MDSample], None]) -> MDResult:
    """Run to the last step from the current one, whose sample is `reference`."""
    start, config = time.perf_counter(), run.config
    first = run.step
    if not run.frame_written and (run.step % config.interval == 0 or run.step >= config.steps):
        # a resume with different `steps` or `interval`
        outputs.record(reference)
    if run.step == 0 and config.equilibration == 0:
        run.averages = Averages()
        run.averages.add(reference)
        run.averages.add_pressure(reference)
    while run.step < config.steps:
        if config.temperature_end is not None:
            run.integrator.set_temperature(config.target(run.step + 1))
        try:
            run.integrator.step()
        except (SimulationError, DataError) as error:
            what = f"molecular dynamics, step {run.step + 1}: exploded ({error})"
            raise ExplosionError(what, "take a shorter timestep, or relax the structure first") from error
        run.step += 1
        written = run.step % config.interval == 0 or run.step == config.steps
        sample = run.sample(with_pressure=written)
        _check(sample, run)
        if run.step >= config.equilibration:
            run.averages.add(sample)
        report(sample)
        if written:
            outputs.record(sample)
        else:
            outputs.skip_frame()
    seconds = time.perf_counter() - start
    done = run.step - first
    logger.info("molecular dynamics: %d steps in %.1f s", done, seconds)
    return _result(run, seconds, done)


def _result(run: _MDRun, seconds: float, done: int) -> MDResult:
    config, means = run.config, run.averages
    drifts = config.ensemble not in LANGEVIN and config.temperature_end is None
    nothing = float("nan")
    return MDResult(
        atoms=run.atoms,
        steps=run.step,
        time=run.step * config.timestep,
        averaged=means.count,
        temperature=means.temperature if means.count else nothing,
        potential_energy=means.potential if means.count else nothing,
        volume=means.volume if config.changes_cell and means.count else None,
        pressure=means.pressure if means.pressure_count else None,
        energy_drift=means.drift(len(run.atoms)) if drifts else nothing,
        seconds=seconds,
        microseconds_per_atom_step=1e6 * seconds / max(done, 1) / len(run.atoms),
    )


def _started(atoms: Atoms, calculator: AseCalculator, config: MDConfig) -> _MDRun:
    structure = structure_identity(atoms, config.keep_velocities)
    atoms = atoms.copy()
    atoms.calc = calculator
    check_ensemble(atoms, config)
    rng = np.random.default_rng(config.seed)
    freedom = degrees_of_freedom(atoms, config.ensemble)
    if freedom <= 0:
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: nothing is free to move in ensemble '{config.ensemble}'; "
            "give a larger structure or take 'langevin'"
        )
    if config.keep_velocities:
        _keep_velocities(atoms, config)
    else:
        random_velocities(atoms, config.temperature, rng, freedom)
    return _MDRun(atoms, config, make_integrator(atoms, config, rng, freedom), structure)


def _keep_velocities(atoms: Atoms, config: MDConfig) -> None:
    """Check the initial velocities; drift is removed if the thermostat would not dissipate it."""
    if atoms.constraints:
        # set_momenta applies the constraints
        atoms.set_momenta(atoms.get_momenta())
    if config.ensemble == "nve" or config.ensemble in LANGEVIN:
        return
    if atoms.get_kinetic_energy() == 0:
        raise ConfigError(
            f"keep_velocities: the atoms stand still, and '{config.ensemble}' only scales what moves; set it to false"
        )
    if not atoms.constraints and len(atoms) > 1:
        _stop_drift(atoms)


def _resumed(
    trajectory: Path, start: Atoms, calculator: AseCalculator, config: MDConfig
) -> tuple[_MDRun, TrajectoryWriter]:
    atoms, state, frames = open_trajectory(trajectory, start, config.elements)
    try:
        if "version" not in state:
            state = _from_first_version(trajectory, start, atoms, state, config)
        _agree(trajectory, start, state, config)
        atoms.calc = calculator
        check_ensemble(atoms, config)
        check_fingerprint(state["potential"], atoms, str(trajectory))
        rng = np.random.default_rng()
        rng.bit_generator.state = state["rng"]
        integrator = make_integrator(atoms, config, rng, degrees_of_freedom(atoms, config.ensemble))
        integrator.restore(state["integrator"])
    except BaseException:
        frames.close()
        raise
    run = _MDRun(atoms, config, integrator, state["structure"], Averages(**state["averages"]), state["step"])
    run.frame_written, run.conserved = state.get("framed", True), state.get("conserved")
    return run, frames


def _from_first_version(
    trajectory: Path, start: Atoms, last: Atoms, state: dict[str, Any], config: MDConfig
) -> dict[str, Any]:
    """Convert the state of a run of gnnpot 0.1.0, with its `last` frame, to that of `_MDRun.state`.

    Frames of 0.1.0 contain energies and forces, and the first frame is the initial structure. Settings that were not
    saved are taken from `config`; averages are restarted.
    """
    structure = structure_identity(start, config.keep_velocities)
    first = next(iread(trajectory, index=0, do_not_split_by_at_sign=True))
    same = len(first) == len(start) and np.array_equal(first.numbers, start.numbers)
    if not same or not np.allclose(first.positions, start.positions, rtol=0, atol=1e-9):
        structure = "another"
    changing = {"transferred_energy": state["transferred_energy"]} if config.ensemble == "bussi" else {}
    return {
        **state,
        "version": _VERSION,
        "integrator": changing,
        "averages": Averages().state(),
        "settings": {**config.decisive(), **state["settings"]},
        "structure": structure,
        "potential": fingerprint(last),
    }


def _agree(trajectory: Path, start: Atoms, state: dict[str, Any], config: MDConfig) -> None:
    """Raise an error if the run had different settings or another initial structure."""
    if state.get("version") != _VERSION:
        raise DataError(f"{trajectory}: was written by another version of gnnpot; start without resuming")
    wanted, before = config.decisive(), state["settings"]
    if different := differences(before, wanted):
        named = "; ".join(f"{name}: {how}" for name, how in different.items())
        raise ConfigError(f"{trajectory}: was run with other options ({named}); resume with the same ones")
    if state["structure"] != structure_identity(start, config.keep_velocities):
        raise ConfigError(f"{trajectory}: was begun from another structure; resume with the same structure")


def random_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator, freedom: int) -> None:
    """Set random velocities at `temperature` (K), without drift and, for non-periodic structures, rotation."""
    thermalize_momenta(atoms, temperature, rng=rng)
    if not atoms.constraints and len(atoms) > 1:
        _stop_drift(atoms)
    kinetic = atoms.get_kinetic_energy()
    if kinetic > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(0.5 * freedom * BOLTZMANN * temperature / kinetic))


def _stop_drift(atoms: Atoms) -> None:
    Stationary(atoms, preserve_temperature=False)
    if not atoms.pbc.any():
        # for a linear molecule, ASE divides by a moment of inertia of zero, and ignores the result
        with np.errstate(invalid="ignore"):
            ZeroRotation(atoms, preserve_temperature=False)


def _check(sample: MDSample, run: _MDRun) -> None:
    change = abs(sample.conserved - (run.conserved or 0.0)) / len(run.atoms)
    if not math.isfinite(sample.temperature) or not math.isfinite(sample.potential):
        problem, advice = "exploded, energies are not finite", "take a shorter timestep"
    elif sample.temperature > run.config.max_temperature:
        problem = f"exploded, the temperature is {sample.temperature:.3g} K"
        advice = "take a shorter timestep, relax the structure first, or raise max_temperature"
    elif run.config.ensemble == "nve" and change > _MAX_ENERGY_CHANGE:
        problem = f"the total energy has changed by {change:.2f} eV/atom, and should not"
        advice = "take a shorter timestep"
    else:
        return
    # only in case of an error: finding the formula takes longer than the integrator
    where = f"molecular dynamics of {run.atoms.get_chemical_formula()}, step {sample.step}"
    raise ExplosionError(f"{where}: {problem}", advice)
