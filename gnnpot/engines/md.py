"""Molecular dynamics: NVE, and NVT with Bussi's or Langevin's thermostat.

    result = run_md(atoms, calculator, MDConfig(temperature=600, steps=10_000), trajectory="run.traj", log="run.log")

| ensemble   | integrator                                  | degrees of freedom f                                 |
|------------|---------------------------------------------|------------------------------------------------------|
| `nve`      | velocity Verlet                             | 3N - 3; without periodicity less 3 (2 for a line)    |
| `bussi`    | stochastic velocity rescaling, then the same | the same: drift and rotation stay zero              |
| `langevin` | Langevin                                    | 3N: the centre of mass takes part                    |

    T = 2 E_kin / (f k_B)

Constraints take their degrees of freedom, and the conservation of drift and rotation, away. Bussi, Donadio & Parrinello
2007; Vanden-Eijnden & Ciccotti 2006, eq. 23. The integrators are ASE's.

Starting velocities are drawn from Maxwell's and Boltzmann's distribution, freed of drift and rotation, and scaled to
the temperature exactly. Every random number comes from one generator, seeded by `seed`.

The trajectory (ASE's format) is complete after every frame, so that a run which was killed leaves a readable file. Its
last frame holds, as numbers without rounding, positions, velocities, the step and the generator's state: `resume`
continues from there with the same numbers as a run that was never interrupted.
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.io.trajectory import Trajectory
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from gnnpot.engines.files import last_frame, refuse_overwrite
from gnnpot.engines.md_log import LogFile, Sample, live_progress
from gnnpot.errors import ConfigError, DataError, GnnpotError, SimulationError
from gnnpot.units import BOLTZMANN, FEMTOSECOND

logger = logging.getLogger(__name__)

#: eV per atom that the total energy may wander in `nve` before the run is stopped
_MAX_ENERGY_CHANGE = 0.5
_STATE = "gnnpot_md"


@dataclass(frozen=True, slots=True)
class MDConfig:
    """Options of `run_md`."""

    ensemble: Literal["nve", "bussi", "langevin"] = "bussi"
    temperature: float = 300.0  #: K, of the thermostat and of the starting velocities
    timestep: float = 1.0  #: fs
    steps: int = 1000  #: in all, those before a resume included
    taut: float = 100.0  #: fs, time constant of `bussi`
    friction: float = 0.01  #: 1/fs, of `langevin`
    seed: int = 0
    keep_velocities: bool = False  #: start with the velocities that the atoms have
    interval: int = 10  #: steps between frames and log lines
    max_temperature: float = 20000.0  #: K; a run that gets hotter is stopped

    def __post_init__(self) -> None:
        for name in ("timestep", "taut", "friction", "interval", "max_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not positive")
        if self.temperature < 0 or (self.temperature == 0 and self.ensemble == "bussi"):
            raise ValueError(f"temperature: {self.temperature} K can't be reached")
        if self.steps < 0:
            raise ValueError(f"steps: {self.steps} is negative")


@dataclass(frozen=True, slots=True)
class MDResult:
    """What a run came to; averages are over the steps of this call."""

    atoms: Atoms  #: the last state, with velocities
    steps: int  #: of the whole run
    time: float  #: fs, of the whole run
    temperature: float  #: K, mean
    potential_energy: float  #: eV, mean
    energy_drift: float  #: eV per atom and ps, slope of the conserved energy; NaN for `langevin`
    seconds: float  #: wall time of this call
    microseconds_per_atom_step: float


@dataclass(slots=True)
class _Run:
    """A run under way: what its parts share."""

    atoms: Atoms
    config: MDConfig
    dynamics: MolecularDynamics
    rng: np.random.Generator
    freedom: int
    step: int = 0

    def sample(self) -> Sample:
        kinetic = self.atoms.get_kinetic_energy()
        potential = self.atoms.get_potential_energy()
        return Sample(
            step=self.step,
            time=self.step * self.config.timestep,
            temperature=2 * kinetic / (self.freedom * BOLTZMANN),
            potential=potential,
            kinetic=kinetic,
            conserved=potential + kinetic - getattr(self.dynamics, "transferred_energy", 0.0),
        )

    def state(self) -> dict[str, Any]:
        """What a resume needs besides positions and velocities, as JSON."""
        return {
            "step": self.step,
            "rng": self.rng.bit_generator.state,
            "transferred_energy": getattr(self.dynamics, "transferred_energy", 0.0),
            "settings": _settings(self.config),
        }


def run_md(
    atoms: Atoms,
    calculator: AseCalculator,
    config: MDConfig | None = None,
    *,
    trajectory: Path | str | None = None,
    log: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> MDResult:
    """Run to step `config.steps`, from a copy of `atoms` or, with `resume`, from the last frame of `trajectory`.

    Frames and log lines are written every `config.interval` steps and at the last. With `resume` the files are
    continued; steps after the last frame are done again. `progress` shows temperature, energy, rate and time left.

    Raises `SimulationError` if the run explodes (the files hold it up to there), `ConfigError` if a resume asks for
    other settings than the run was started with, `DataError` if files are in the way or missing.
    """
    config = config or MDConfig()
    if resume:
        run = _resumed(trajectory, calculator, config)
    else:
        refuse_overwrite(trajectory, overwrite)
        refuse_overwrite(log, overwrite)
        run = _started(atoms, calculator, config)
    with ExitStack() as stack:
        frames = None
        if trajectory is not None:
            frames = stack.enter_context(Trajectory(str(trajectory), "a" if resume else "w", run.atoms))
        lines = None if log is None else stack.enter_context(LogFile(Path(log), resume_at=run.step if resume else None))
        report = stack.enter_context(live_progress(config.steps, len(run.atoms), config.timestep, progress))

        def record(sample: Sample) -> None:
            if frames is not None:
                run.atoms.info[_STATE] = run.state()
                frames.write()
            if lines is not None:
                lines.write(sample)

        if not resume:
            record(run.sample())
        return _advance(run, record, report)


def _advance(run: _Run, record: Callable[[Sample], None], report: Callable[[Sample], None]) -> MDResult:
    start, config = time.perf_counter(), run.config
    first = run.step
    reference = run.sample()
    samples: list[Sample] = [reference]
    while run.step < config.steps:
        try:
            run.dynamics.step()
        except GnnpotError as error:
            raise SimulationError(f"molecular dynamics, step {run.step + 1}: exploded ({error})") from error
        run.step += 1
        sample = run.sample()
        _check(sample, reference, run)
        samples.append(sample)
        report(sample)
        if run.step % config.interval == 0 or run.step == config.steps:
            record(sample)
    seconds = time.perf_counter() - start
    done = run.step - first
    logger.info("molecular dynamics: %d steps in %.1f s", done, seconds)
    run.atoms.info.pop(_STATE, None)
    return MDResult(
        atoms=run.atoms,
        steps=run.step,
        time=run.step * config.timestep,
        temperature=float(np.mean([s.temperature for s in samples])),
        potential_energy=float(np.mean([s.potential for s in samples])),
        energy_drift=_drift(samples, len(run.atoms)) if config.ensemble != "langevin" else float("nan"),
        seconds=seconds,
        microseconds_per_atom_step=1e6 * seconds / max(done, 1) / len(run.atoms),
    )


def _started(atoms: Atoms, calculator: AseCalculator, config: MDConfig) -> _Run:
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(config.seed)
    freedom = degrees_of_freedom(atoms, config.ensemble)
    if freedom <= 0:
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: nothing is free to move in ensemble '{config.ensemble}'; "
            "give a larger structure or take 'langevin'"
        )
    if not config.keep_velocities:
        draw_velocities(atoms, config.temperature, rng, freedom)
    elif config.ensemble == "bussi" and atoms.get_kinetic_energy() == 0:
        raise ConfigError("keep_velocities: the atoms stand still, and 'bussi' only scales what moves; set it to false")
    return _Run(atoms, config, _dynamics(atoms, config, rng, freedom), rng, freedom)


def _resumed(trajectory: Path | str | None, calculator: AseCalculator, config: MDConfig) -> _Run:
    atoms = last_frame(trajectory)
    state = atoms.info.pop(_STATE, None)
    if state is None:
        raise DataError(f"{trajectory}: was not written by gnnpot's molecular dynamics; start without resuming")
    for name, value in _settings(config).items():
        if state["settings"].get(name) != value:
            raise ConfigError(
                f"{trajectory}: was run with {name} = {state['settings'].get(name)}, not {value}; "
                "resume with the same settings"
            )
    rng = np.random.default_rng()
    rng.bit_generator.state = state["rng"]
    atoms.calc = calculator
    freedom = degrees_of_freedom(atoms, config.ensemble)
    dynamics = _dynamics(atoms, config, rng, freedom)
    if isinstance(dynamics, Bussi):
        dynamics.transferred_energy = state["transferred_energy"]
    return _Run(atoms, config, dynamics, rng, freedom, step=state["step"])


def _settings(config: MDConfig) -> dict[str, Any]:
    """The options that a resume must share."""
    names = {"nve": (), "bussi": ("temperature", "taut"), "langevin": ("temperature", "friction")}[config.ensemble]
    return {name: getattr(config, name) for name in ("ensemble", "timestep", *names)}


def _dynamics(atoms: Atoms, config: MDConfig, rng: np.random.Generator, freedom: int) -> MolecularDynamics:
    timestep = config.timestep * FEMTOSECOND
    if config.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if config.ensemble == "langevin":
        return Langevin(
            atoms,
            timestep,
            temperature_K=config.temperature,
            friction=config.friction / FEMTOSECOND,
            fixcm=False,
            rng=rng,
        )
    dynamics = Bussi(atoms, timestep, temperature_K=config.temperature, taut=config.taut * FEMTOSECOND, rng=rng)
    # ASE counts 3N whatever is conserved, which would heat 8 atoms by a seventh
    dynamics.ndof = freedom
    dynamics.target_kinetic_energy = 0.5 * freedom * BOLTZMANN * config.temperature
    return dynamics


def degrees_of_freedom(atoms: Atoms, ensemble: str) -> int:
    """f of the table above."""
    freedom = atoms.get_number_of_degrees_of_freedom()
    if ensemble == "langevin" or atoms.constraints:
        return freedom
    freedom -= 3
    if not atoms.pbc.any() and len(atoms) > 1:
        centred = atoms.positions - atoms.positions.mean(axis=0)
        freedom -= 2 if np.linalg.matrix_rank(centred, tol=1e-6) == 1 else 3
    return freedom


def draw_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator, freedom: int) -> None:
    """Set random velocities of `temperature` K, without drift and, without periodicity, without rotation."""
    thermalize_momenta(atoms, temperature, rng=rng)
    if not atoms.constraints and len(atoms) > 1:
        Stationary(atoms, preserve_temperature=False)
        if not atoms.pbc.any():
            # a linear molecule has an axis without inertia, which ASE divides by before it leaves it out
            with np.errstate(invalid="ignore"):
                ZeroRotation(atoms, preserve_temperature=False)
    kinetic = atoms.get_kinetic_energy()
    if kinetic > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(0.5 * freedom * BOLTZMANN * temperature / kinetic))


def _check(sample: Sample, reference: Sample, run: _Run) -> None:
    change = abs(sample.conserved - reference.conserved) / len(run.atoms)
    if not math.isfinite(sample.temperature) or not math.isfinite(sample.potential):
        problem = "exploded, energies are not finite; take a shorter timestep"
    elif sample.temperature > run.config.max_temperature:
        problem = (
            f"exploded, the temperature is {sample.temperature:.3g} K; take a shorter timestep, relax the structure "
            "first, or raise max_temperature"
        )
    elif run.config.ensemble == "nve" and change > _MAX_ENERGY_CHANGE:
        problem = f"the total energy has changed by {change:.2f} eV/atom, which it must not; take a shorter timestep"
    else:
        return
    # only here: a formula takes longer than the integrator
    where = f"molecular dynamics of {run.atoms.get_chemical_formula()}, step {sample.step}"
    raise SimulationError(f"{where}: {problem}")


def _drift(samples: list[Sample], n_atoms: int) -> float:
    """Slope of a straight line through the conserved energy, eV per atom and ps."""
    if len(samples) < 3:
        return float("nan")
    time_ps = np.array([s.time for s in samples]) / 1000
    return float(np.polyfit(time_ps - time_ps[0], [s.conserved for s in samples], 1)[0] / n_atoms)
