"""Molecular dynamics: what is conserved, what is reached, and runs that are killed."""

import gc
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixSymmetry
from ase.io import read

from gnnpot.engines import zarr_trajectory
from gnnpot.engines.calculator import Calculator
from gnnpot.engines.md import MDConfig, MDSample, degrees_of_freedom, random_velocities, run_md
from gnnpot.engines.relax import RelaxConfig, relax
from gnnpot.engines.restart import read_restart
from gnnpot.engines.trajectory_reader import read_trajectory
from gnnpot.errors import ConfigError, DataError, SimulationError
from gnnpot.runs.lock import file_lock
from gnnpot.units import BOLTZMANN, GPA
from tests.child_process import environment


@pytest.fixture
def copper() -> Atoms:
    return bulk("Cu", cubic=True).repeat((2, 1, 1))


def test_nve_conserves_energy(potential, crystal):
    """1 ps at 300 K from a relaxed crystal: the total energy does not drift."""
    calculator = Calculator(potential)
    start = relax(crystal, calculator, RelaxConfig(cell="none", fmax=0.02)).atoms
    result = run_md(start, calculator, MDConfig(ensemble="nve", temperature=300, timestep=1.0, steps=1000))
    assert 50 < result.temperature < 600
    assert abs(result.energy_drift) < 1e-5


@pytest.mark.parametrize("ensemble", ["bussi", "langevin"])
def test_nvt_reaches_its_temperature(copper, ensemble):
    """Mean kinetic energy over a run: f/2 kT, within four of its standard deviations.

    One sample of T has relative variance 2/f; samples are taken as independent after some 20 fs.
    """
    config = MDConfig(ensemble=ensemble, temperature=400, timestep=4.0, steps=800, taut=20, friction=0.05)
    warm = run_md(copper, EMT(), config)
    result = run_md(warm.atoms, EMT(), replace(config, keep_velocities=True, seed=1))
    sigma = 400 * np.sqrt(2 / degrees_of_freedom(copper, ensemble) / (800 * 4.0 / 20))
    assert abs(result.temperature - 400) < 4 * sigma


def test_bussi_conserves_its_energy_and_momentum(copper):
    result = run_md(copper, EMT(), MDConfig(temperature=300, timestep=1.0, steps=1000))
    assert abs(result.energy_drift) < 1e-3
    np.testing.assert_allclose(result.atoms.get_momenta().sum(axis=0), 0, atol=1e-10)


def test_starting_velocities():
    rng = np.random.default_rng(0)
    for atoms, freedom in ((molecule("CH3CH2OH"), 27 - 6), (molecule("CO2"), 9 - 5), (bulk("Cu", cubic=True), 12 - 3)):
        assert degrees_of_freedom(atoms, "nve") == freedom
        random_velocities(atoms, 500, rng, freedom)
        np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-10)
        if not atoms.pbc.any():
            np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-9)
        assert atoms.get_temperature() * 3 * len(atoms) / freedom == pytest.approx(500)
    slab = bulk("Cu", cubic=True)
    slab.set_constraint(FixAtoms([0]))
    assert degrees_of_freedom(slab, "nve") == 9


def test_seed_decides(copper):
    one, two, other = (
        run_md(copper, EMT(), MDConfig(ensemble="langevin", steps=5, seed=s)).atoms.positions for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("ensemble", ["nve", "bussi", "langevin"])
def test_resume_gives_the_same_numbers(copper, ensemble, tmp_path):
    whole = run_md(copper, EMT(), MDConfig(ensemble=ensemble, steps=60), trajectory=tmp_path / "whole.traj")
    path, log = tmp_path / "parts.traj", tmp_path / "parts.log"
    run_md(copper, EMT(), MDConfig(ensemble=ensemble, steps=25), trajectory=path, log=log)
    with log.open("a") as file:
        file.write("      30   30.0")  # a line that was cut off
    parts = run_md(copper, EMT(), MDConfig(ensemble=ensemble, steps=60), trajectory=path, log=log, resume=True)
    np.testing.assert_allclose(parts.atoms.positions, whole.atoms.positions, atol=1e-10)
    np.testing.assert_allclose(parts.atoms.get_momenta(), whole.atoms.get_momenta(), atol=1e-10)
    steps = np.loadtxt(log)[:, 0]
    np.testing.assert_array_equal(steps, [0, 10, 20, 25, 30, 40, 50, 60])
    assert len(read(path, ":")) == len(steps)


def test_resume_asks_for_the_same_settings(copper, tmp_path):
    path = tmp_path / "run.traj"
    run_md(copper, EMT(), MDConfig(steps=10, temperature=300), trajectory=path)
    with pytest.raises(ConfigError, match="temperature: was 300, is now 400"):
        run_md(copper, EMT(), MDConfig(steps=20, temperature=400), trajectory=path, resume=True)
    with pytest.raises(DataError, match="exists already"):
        run_md(copper, EMT(), trajectory=path)
    with pytest.raises(DataError, match="no trajectory to resume"):
        run_md(copper, EMT(), resume=True)
    copper.write(tmp_path / "foreign.traj")
    with pytest.raises(DataError, match="not written by gnnpot"):
        run_md(copper, EMT(), trajectory=tmp_path / "foreign.traj", resume=True)


def test_a_second_process_does_not_write_the_same_trajectory(copper, tmp_path):
    path, config = tmp_path / "run.traj", MDConfig(steps=4, temperature=300)
    with file_lock(path, "a simulation"), pytest.raises(DataError, match=r"run\.traj: another process is writing it"):
        run_md(copper, EMT(), config, trajectory=path)
    run_md(copper, EMT(), config, trajectory=path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.traj"]


def kill_run(copper: Atoms, path: Path, grown: Callable[[], bool]) -> None:
    """Run in another process, with a state every 0.2 s, until `grown`; then SIGKILL."""
    start = path.with_name("start.traj")
    copper.write(start)
    script = f"""
        from ase.calculators.emt import EMT
        from ase.io import read
        from gnnpot.engines import trajectories, zarr_trajectory
        from gnnpot.engines.md import MDConfig, run_md
        trajectories.STATE_SECONDS, zarr_trajectory.FLUSH_SECONDS = 0.2, 0.02
        atoms = read({str(start)!r})
        run_md(atoms, EMT(), MDConfig(ensemble="langevin", steps=10**6, interval=5), trajectory={str(path)!r})
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment())
    try:
        deadline = time.monotonic() + 600
        while not grown() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_killed_run_leaves_a_readable_file_and_resumes(copper, tmp_path):
    """SIGKILL in the middle: the file reads, and the run resumes to the numbers of one that was left alone."""
    path = tmp_path / "run.traj"
    kill_run(copper, path, lambda: path.exists() and path.stat().st_size > 40_000)
    killed = read(path, ":")
    reached = killed[-1].info["gnnpot_md"]["step"]
    assert len(killed) > 5 and reached == 5 * (len(killed) - 1)
    config = MDConfig(ensemble="langevin", steps=reached + 20, interval=5)
    resumed = run_md(copper, EMT(), config, trajectory=path, resume=True)
    whole = run_md(copper, EMT(), config)
    np.testing.assert_allclose(resumed.atoms.positions, whole.atoms.positions, atol=1e-8)
    assert len(read(path, ":")) == len(killed) + 4


def test_a_killed_run_in_zarr_resumes_to_the_same_frames(copper, tmp_path):
    """SIGKILL after a state in the middle; frames after the state are written again."""
    path, restart = tmp_path / "run.zarr", tmp_path / "run.zarr.restart"

    def saved() -> int:
        return read_restart(restart, copper.copy())["step"] if restart.is_file() else -1

    kill_run(copper, path, lambda: saved() > 50)
    reached, steps = saved(), [atoms.info["step"] for atoms in read_trajectory(path)]
    assert steps[: reached // 5 + 1] == list(range(0, reached + 1, 5))
    config = MDConfig(ensemble="langevin", steps=reached + 20, interval=5)
    resumed = run_md(copper, EMT(), config, trajectory=path, resume=True)
    whole = run_md(copper, EMT(), config, trajectory=tmp_path / "whole.zarr")
    np.testing.assert_allclose(resumed.atoms.positions, whole.atoms.positions, atol=1e-8)
    first, second = list(read_trajectory(tmp_path / "whole.zarr")), list(read_trajectory(path))
    assert [a.info for a in first] == [a.info for a in second] and second[-1].info["step"] == config.steps
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, rtol=0, atol=1e-6)


class Springs(AseCalculator):
    """Atoms tied to their sites: a step of dynamics takes little more than the run itself."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.sites = getattr(self, "sites", atoms.positions.copy())
        forces = self.sites - atoms.positions
        self.results = {"energy": 0.5 * float((forces**2).sum()), "forces": forces}


def test_memory_does_not_grow_with_the_length_of_a_run(copper, tmp_path, monkeypatch):
    """Twenty times as many frames in Zarr, in chunks of 50, and lines of the log: the same peak of allocated memory."""
    monkeypatch.setattr(zarr_trajectory, "_CHUNK_BYTES", 50 * 12 * len(copper))

    def peak(steps: int) -> int:
        config = MDConfig(ensemble="langevin", steps=steps, interval=1)
        outputs = {"trajectory": tmp_path / f"{steps}.zarr", "log": tmp_path / f"{steps}.log", "overwrite": True}
        # cycles are collected at the same steps in both runs; those of before are not searched
        gc.collect()
        gc.freeze()
        tracemalloc.start()
        try:
            run_md(copper, Springs(), config, **outputs, progress=lambda s: gc.collect() if s.step % 50 == 0 else None)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.unfreeze()

    # what is imported and cached once
    peak(100)
    short, long = peak(100), peak(2000)
    assert len(zarr_trajectory.ZarrFrames(tmp_path / "2000.zarr")) == 2001
    # a frame of 8 atoms that is kept takes more than 1 kB
    assert long - short < 300_000


def test_a_gnnpot_run_resumes_to_the_same_numbers(potential, crystal, tmp_path):
    """Remembered neighbours are not part of the state, and must not be."""
    path = tmp_path / "run.traj"
    whole = run_md(crystal, Calculator(potential), MDConfig(steps=40, temperature=600))
    run_md(crystal, Calculator(potential), MDConfig(steps=20, temperature=600), trajectory=path)
    parts = run_md(crystal, Calculator(potential), MDConfig(steps=40, temperature=600), trajectory=path, resume=True)
    np.testing.assert_allclose(parts.atoms.positions, whole.atoms.positions, atol=1e-9)


def test_explosions_are_stopped(copper, tmp_path):
    hot = copper.copy()
    random_velocities(hot, 3000, np.random.default_rng(0), degrees_of_freedom(hot, "nve"))
    config = MDConfig(temperature=1000, steps=200, max_temperature=2000, keep_velocities=True)
    with pytest.raises(SimulationError, match=r"temperature is .*; .* raise max_temperature") as stopped:
        run_md(hot, EMT(), config, log=tmp_path / "x.log")
    # as it comes from another process
    assert str(pickle.loads(pickle.dumps(stopped.value))) == str(stopped.value)
    with pytest.raises(ValueError, match="temperature: 3000 K is above .*, 2000 K; .* raise max_temperature"):
        MDConfig(temperature=3000, max_temperature=2000)
    assert (tmp_path / "x.log").read_text().count("\n") >= 2
    with pytest.raises(SimulationError, match="shorter timestep"):
        run_md(copper, EMT(), MDConfig(ensemble="nve", temperature=1000, timestep=60, steps=200))


def test_explosions_of_a_gnnpot_run(potential, crystal):
    with pytest.raises(SimulationError, match="exploded.*take a shorter timestep"):
        run_md(crystal, Calculator(potential), MDConfig(ensemble="nve", temperature=5000, timestep=100, steps=50))


class SeparateStress(EMT):
    """Computes the stress only if it is asked for, as many DFT codes do; counts its calls."""

    together = False

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.calls = getattr(self, "calls", 0) + 1
        super().calculate(atoms, properties, system_changes)
        if "stress" not in properties and not self.together:
            del self.results["stress"]


@pytest.mark.parametrize("together", [True, False])
def test_the_pressure_of_a_fixed_cell(tmp_path, together):
    """In the log and its mean in the result, with the kinetic part; no step is computed again for it."""
    atoms, calculator = bulk("Cu", cubic=True, a=3.5), SeparateStress()
    calculator.together = together
    config = MDConfig(steps=20, interval=5, equilibration=6)
    result = run_md(atoms, calculator, config, log=tmp_path / "run.log")
    assert calculator.calls == 21 + (0 if together else 5)
    rows = np.loadtxt(tmp_path / "run.log")
    assert (tmp_path / "run.log").read_text().splitlines()[0].endswith("conserved/eV  pressure/GPa")
    # compressed
    assert rows.shape == (5, 7) and rows[:, 6].min() > 3
    assert result.pressure == pytest.approx(rows[2:, 6].mean(), abs=2e-4)
    end = result.atoms
    virial, kinetic = -end.get_stress()[:3].mean(), 2 * end.get_kinetic_energy() / (3 * end.get_volume())
    assert rows[-1, 6] == pytest.approx((virial + kinetic) / GPA, abs=1e-4)


def test_a_log_without_pressures(copper, tmp_path):
    """Of a structure that has none, and of a run by an earlier version, whose columns stay as they were."""
    slab, log, path = copper.copy(), tmp_path / "run.log", tmp_path / "run.traj"
    slab.pbc = (True, True, False)
    result = run_md(slab, EMT(), MDConfig(steps=10), log=log)
    assert result.pressure is None and np.loadtxt(log).shape == (2, 6)
    run_md(copper, EMT(), MDConfig(steps=10), trajectory=path, log=log, overwrite=True)
    old = [line.rsplit(maxsplit=1)[0] for line in log.read_text().splitlines()]
    log.write_text("\n".join(old) + "\n")
    run_md(copper, EMT(), MDConfig(steps=30), trajectory=path, log=log, resume=True)
    assert log.read_text().splitlines()[:3] == old and np.loadtxt(log).shape == (4, 6)


def test_what_can_not_run(copper):
    with pytest.raises(ConfigError, match="nothing is free to move"):
        run_md(Atoms("Cu"), EMT(), MDConfig(ensemble="nve"))
    with pytest.raises(ConfigError, match="stand still"):
        run_md(copper, EMT(), MDConfig(keep_velocities=True))
    for bad in ({"timestep": 0.0}, {"interval": 0}, {"temperature": -1.0}, {"steps": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            MDConfig(**bad)


def test_velocities_that_are_kept_are_none_of_atoms_that_are_held(copper):
    random_velocities(copper, 600.0, np.random.default_rng(0), 3 * len(copper))
    before = copper.get_momenta()
    copper.set_constraint(FixAtoms(range(5)))
    copper.set_momenta(before, apply_constraint=False)
    first: list[MDSample] = []
    found = run_md(copper, EMT(), MDConfig(ensemble="bussi", steps=1, keep_velocities=True), progress=first.append)
    free = 0.5 * (before[5:] ** 2).sum(axis=1) / copper.get_masses()[5:]
    freedom = degrees_of_freedom(copper, "bussi")
    start = 2 * free.sum() / (freedom * BOLTZMANN)
    # the mean of the two steps
    assert 2 * found.temperature - first[0].temperature == pytest.approx(start, rel=1e-9)


def test_constraints_that_nobody_counts_are_refused(copper):
    copper.set_constraint(FixSymmetry(copper))
    with pytest.raises(ConfigError, match="a constraint, FixSymmetry, that leaves an unknown number"):
        run_md(copper, EMT(), MDConfig(steps=1))


def test_progress_is_reported(copper):
    samples = []
    run_md(copper, EMT(), MDConfig(steps=3), progress=samples.append)
    assert [s.step for s in samples] == [1, 2, 3]
