"""Training data: densities, kinetic energies and kinetic potentials of Kohn-Sham and non-interacting calculations.

    tasks = plan(DataConfig())                  # plans.py
    generate(tasks, folder, processes=2)        # existing samples are not calculated again
    samples = [read_sample(path) for path in sorted(folder.glob("*.npz"))]

A sample is a triple (rho, T, dT/drho), which is exact for electrons in any potential. Self-consistent samples come from
crystals at several volumes, strains and displacements; non-interacting samples from arbitrary potentials, at the cost
of one diagonalisation each. Fields are stored on the orbital-free grid (`CUTOFF`), in atomic units.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from gnnpot.errors import DataError, SimulationError
from gnnpot.functional import kohn_sham
from gnnpot.functional.grid import resample
from gnnpot.functional.kohn_sham import Settings, without_constant
from gnnpot.functional.symmetry import grid_for
from gnnpot.runs.files import write_bytes
from gnnpot.runs.guard import check_run_folder
from gnnpot.runs.processes import end_with_parent

#: cut-off of the orbital-free grid, 1/bohr; the pseudopotentials end near 6/bohr
CUTOFF = 6.5


@dataclass(frozen=True)
class Sample:
    """Exact triple (rho, T, dT/drho) on the orbital-free grid."""

    name: str
    crystal: str
    atoms: Atoms
    electrons: float
    density: np.ndarray  #: rho, 1/bohr³
    potential: np.ndarray  #: dT/drho up to a constant, Ha
    kinetic: float  #: T, Ha; a free energy, see `kohn_sham`
    energies: dict[str, float]  #: parts of the total energy, Ha; empty for non-interacting electrons
    forces: np.ndarray | None  #: `[n, 3]`, Ha/bohr

    @property
    def energy(self) -> float:
        return sum(self.energies.values())


@dataclass(frozen=True)
class Task:
    """Calculation of a sample."""

    name: str
    crystal: str
    atoms: Atoms
    settings: Settings = field(default_factory=Settings)
    #: seed of the random potential of a non-interacting sample; `None`: self-consistent
    seed: int | None = None
    cutoff: float = CUTOFF  #: cut-off of the orbital-free grid, 1/bohr


def generate(
    tasks: Sequence[Task],
    folder: Path,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Calculate the samples that are not in `folder` yet; each file is written atomically.

    Args:
        tasks: Tasks of the samples.
        folder: Folder of the samples.
        processes: Number of processes.
        progress: Called with the number of finished samples and that of all.

    Returns:
        Paths of all samples.

    Raises:
        DataError: Two tasks have the same name, the folder contains other files, or it can't be written.
        SimulationError: A calculation does not converge, or a process dies.
    """
    paths = [folder / f"{task.name}.npz" for task in tasks]
    if len(set(paths)) < len(paths):
        raise DataError("two samples have the same name; give each its own")
    check_run_folder(folder, False, "folder")
    if folder.is_dir():
        strangers = sorted(p.name for p in folder.iterdir() if p.suffix != ".npz" and not p.name.startswith("."))
        if strangers:
            raise DataError(f"{folder}: contains {strangers[0]}, which is no sample; name a folder of its own")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: can't be made ({error.strerror})") from None
    waiting = [(task, path) for task, path in zip(tasks, paths, strict=True) if not path.exists()]
    done = len(tasks) - len(waiting)
    for _ in _run(waiting, processes):
        done += 1
        if progress is not None:
            progress(done, len(tasks))
    return paths


def calculate(task: Task) -> Sample:
    """Calculate the sample of a task."""
    atoms = task.atoms
    result = kohn_sham.solve(atoms, task.settings)
    if task.seed is not None:
        potential, electrons = _random_potential(result, task.seed)
        result = kohn_sham.solve_fixed(atoms, potential, task.settings, electrons)
    return to_sample(result, task.name, task.crystal, task.cutoff)


def to_sample(result: kohn_sham.KohnShamResult, name: str, crystal: str = "", cutoff: float = CUTOFF) -> Sample:
    """Convert a Kohn-Sham result to a sample on the orbital-free grid with `cutoff` (1/bohr)."""
    grid = grid_for(result.atoms, cutoff)
    density = resample(result.density, grid)
    potential = without_constant(resample(result.kinetic_potential, grid), density)
    return Sample(
        name=name,
        crystal=crystal,
        atoms=result.atoms,
        electrons=result.grid.integral(result.density),
        density=density,
        potential=potential,
        kinetic=result.kinetic,
        energies=dict(result.energies),
        forces=result.forces,
    )


def write_sample(sample: Sample, path: Path) -> None:
    """Write a sample atomically."""
    buffer = io.BytesIO()
    names = sorted(sample.energies)
    np.savez_compressed(
        buffer,
        crystal=sample.crystal,
        cell=sample.atoms.cell.array,
        positions=sample.atoms.positions,
        numbers=sample.atoms.numbers,
        electrons=sample.electrons,
        density=sample.density,
        potential=sample.potential,
        kinetic=sample.kinetic,
        energy_names=np.array(names, dtype="U16"),
        energies=np.array([sample.energies[name] for name in names]),
        forces=np.zeros((0, 3)) if sample.forces is None else sample.forces,
    )
    write_bytes(path, buffer.getvalue())


def read_sample(path: Path) -> Sample:
    """Read a sample. Raises `DataError`."""
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
        atoms = Atoms(arrays["numbers"], positions=arrays["positions"], cell=arrays["cell"], pbc=True)
        return Sample(
            name=path.stem,
            crystal=str(arrays["crystal"]),
            atoms=atoms,
            electrons=float(arrays["electrons"]),
            density=arrays["density"],
            potential=arrays["potential"],
            kinetic=float(arrays["kinetic"]),
            energies=dict(zip(arrays["energy_names"].tolist(), arrays["energies"].tolist(), strict=True)),
            forces=arrays["forces"] if len(arrays["forces"]) else None,
        )
    except (OSError, KeyError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: can't be read as a sample ({error}); delete it and generate it again") from None


def _run(waiting: Sequence[tuple[Task, Path]], processes: int) -> Iterator[None]:
    if processes == 1:
        for task, path in waiting:
            _write(task, path)
            yield
        return
    with ProcessPoolExecutor(processes, initializer=end_with_parent) as pool:
        futures = [pool.submit(_write, task, path) for task, path in waiting]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise SimulationError(
                "Kohn-Sham: a process has died, killed or out of memory; use fewer processes, and run the same command "
                "again: finished samples are kept"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _write(task: Task, path: Path) -> None:
    write_sample(calculate(task), path)


def _random_potential(result: kohn_sham.KohnShamResult, seed: int) -> tuple[np.ndarray, float]:
    """Sum of a multiple of the crystal's potential and a smooth random field with its symmetry, Ha; electron number."""
    random = np.random.default_rng([2, seed])
    part, amplitude = random.uniform(0.15, 1.25), random.uniform(0.01, 0.25)
    smoothness = random.uniform(1.2, 3.0)
    grid = result.grid
    noise = grid.to_fourier(random.normal(size=grid.shape)) * np.exp(-grid.squares / smoothness**2)
    noise.flat[0] = 0
    rough = result.symmetry.symmetrise(grid.to_real(noise))
    field_ = amplitude * rough / rough.std()
    electrons = grid.integral(result.density)
    if random.uniform() < 0.25:
        electrons += random.integers(-2, 3)
    return part * (result.potential - result.potential.mean()) + field_, electrons
