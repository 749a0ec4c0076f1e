"""Simulations at one temperature: constant pressure, constant volume, production.

Each temperature has a folder with `pressure.traj`, `volume.traj` and `run.zarr`, a log for each, and `potential.json`.
The same call resumes the simulations of a killed process, which loses at most the time stated in
`engines.trajectories`.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator

from gnnpot.engines.md import MDConfig, MDSample, run_md
from gnnpot.engines.md_config import Ensemble
from gnnpot.engines.trajectory_reader import read_trajectory
from gnnpot.errors import DataError, ExplosionError, SimulationError
from gnnpot.properties.conductivity.conditions import write_potential
from gnnpot.properties.conductivity.config import ConductivityConfig

log = logging.getLogger(__name__)

RUN = "run.zarr"
#: fs, time constant of the thermostat during equilibration
_FAST = 100.0
#: ensembles of the stage at constant pressure
_ENSEMBLES: dict[str, Ensemble] = {"npt": "npt-isotropic", "npt-full": "npt-full"}
#: fraction of the time at constant pressure that is left out of the mean volume
_SETTLING = 0.3


@dataclass(frozen=True, slots=True)
class SimulationStage:
    """A stage of the simulations at one temperature."""

    name: str
    steps: int


def stages(config: ConductivityConfig) -> list[SimulationStage]:
    """Stages of the simulations at each temperature, in order."""
    waiting = config.steps(config.equilibration)
    found = [SimulationStage("pressure", waiting)] if config.volume != "given" and waiting else []
    found += [SimulationStage("volume", waiting)] if waiting else []
    # a whole number of intervals, so that frames remain equally spaced if the run is extended
    every = frame_steps(config)
    return [*found, SimulationStage("run", every * max(1, round(config.steps(config.production) / every)))]


def frame_steps(config: ConductivityConfig) -> int:
    """Number of time steps between frames."""
    return max(1, round(config.interval / config.timestep))


def supercell(atoms: Atoms, config: ConductivityConfig) -> tuple[Atoms, tuple[int, int, int]]:
    """Return the supercell and its repeats. Raises `DataError` if the structure is no crystal with the ion."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise DataError(f"{atoms.get_chemical_formula()}: is not periodic in three directions; give a crystal")
    if config.ion not in atoms.symbols:
        raise DataError(f"{atoms.get_chemical_formula()}: has no {config.ion}; name an ion that it has")
    if config.supercell is not None:
        repeats = config.supercell
    else:
        heights = 1 / np.linalg.norm(atoms.cell.reciprocal(), axis=1)
        a, b, c = (int(n) for n in np.ceil(config.min_length / heights - 1e-9))
        repeats = a, b, c
    atoms = atoms.copy()
    atoms.calc, atoms.info = None, {}
    for name in set(atoms.arrays) - {"numbers", "positions", "masses"}:
        del atoms.arrays[name]
    atoms.set_constraint()
    return atoms.repeat(repeats), repeats


def simulate(
    atoms: Atoms,
    calculator: AseCalculator,
    config: ConductivityConfig,
    temperature: float,
    folder: Path,
    progress: Callable[[str, MDSample], None] | None = None,
) -> Path:
    """Run or resume all stages at a temperature, and return the path of the production trajectory.

    Args:
        atoms: Supercell.
        calculator: Calculator.
        config: Options.
        temperature: K, one of `config.temperatures`.
        folder: Folder of this temperature.
        progress: Called with the name of the stage and the sample of each step.

    Raises:
        SimulationError: A run explodes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seed = config.seed + config.temperatures.index(temperature)
    atoms = atoms.copy()
    for stage in stages(config):

        def report(sample: MDSample, name: str = stage.name) -> None:
            if progress is not None:
                progress(name, sample)

        first = not atoms.has("momenta")
        options = MDConfig(
            ensemble=_ENSEMBLES[config.volume] if stage.name == "pressure" else "bussi",
            temperature=temperature,
            timestep=config.timestep,
            steps=stage.steps,
            taut=config.thermostat_time if stage.name == "run" else _FAST,
            taup=10 * _FAST,
            pressure=config.pressure,
            seed=seed,
            keep_velocities=not first,
            interval=frame_steps(config),
        )
        path = folder / (RUN if stage.name == "run" else f"{stage.name}.traj")
        log_file = folder / f"{stage.name}.log"
        try:
            result = run_md(atoms, calculator, options, trajectory=path, log=log_file, resume=True, progress=report)
        except ExplosionError as error:
            # run_md names options that a study does not have
            raise SimulationError(
                f"{error.what}; take a shorter timestep, relax the structure first, or leave out {temperature:g} K"
            ) from error
        atoms = _next_start(result.atoms, path, config) if stage.name == "pressure" else _bare(result.atoms)
    write_potential(calculator, folder)
    return folder / RUN


def _next_start(atoms: Atoms, path: Path, config: ConductivityConfig) -> Atoms:
    """The last structure of the stage at constant pressure, scaled to the mean volume (`npt`) or cell (`npt-full`)."""
    if config.volume == "npt-full":
        cells = np.array([frame.cell.array for frame in read_trajectory(path)])
        atoms = _bare(atoms)
        atoms.set_cell(cells[int(_SETTLING * len(cells)) :].mean(axis=0), scale_atoms=True)
        return atoms
    volumes = [frame.get_volume() for frame in read_trajectory(path)]
    later = volumes[int(_SETTLING * len(volumes)) :]
    atoms = _bare(atoms)
    factor = (float(np.mean(later)) / atoms.get_volume()) ** (1 / 3)
    atoms.set_cell(factor * atoms.cell.array, scale_atoms=True)
    return atoms


def _bare(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.calc, atoms.info = None, {}
    return atoms


def temperature_folders(folder: Path, config: ConductivityConfig) -> Iterator[tuple[float, Path]]:
    """Yield each temperature with its folder."""
    for temperature in config.temperatures:
        yield temperature, folder / f"{temperature:g}K"
