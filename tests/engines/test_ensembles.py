"""What each ensemble samples, on 32 atoms of copper's masses whose nearest neighbours are tied by Morse bonds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator as AseCalculator
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list

from gnnpot.engines.integrators import degrees_of_freedom
from gnnpot.engines.md import MDConfig, run_md
from gnnpot.engines.md_config import ENSEMBLES, MDSample
from gnnpot.errors import ConfigError
from gnnpot.units import BOLTZMANN, GPA

TEMPERATURE = 300.0
THERMOSTATS = [name for name in ENSEMBLES if name != "nve"]
BAROSTATS = [name for name in ENSEMBLES if name.startswith("npt")]
LATTICE = 3.6


class Bonds(AseCalculator):
    """E = Σ D (1 - exp(-a (d - d0)))² over bonds that never change, so that nothing is searched."""

    implemented_properties = ("energy", "forces", "stress")
    depth, steepness, length = 0.35, 1.6, LATTICE / np.sqrt(2)

    def __init__(self, atoms: Atoms) -> None:
        super().__init__()
        i, j, shift = neighbor_list("ijS", atoms, 1.1 * self.length)
        half = (i < j) | ((i == j) & (shift.sum(axis=1) > 0))
        self.i, self.j, self.shift = i[half], j[half], shift[half]

    def check_state(self, atoms, tol=0.0):
        # ASE's comparison takes longer than the bonds
        same = self.atoms is not None and (self.atoms.positions == atoms.positions).all()
        return [] if same and (self.atoms.cell.array == atoms.cell.array).all() else ["positions", "cell"]

    def calculate(self, atoms=None, properties=None, system_changes=None):
        self.atoms = atoms.copy()
        vectors = atoms.positions[self.j] - atoms.positions[self.i] + self.shift @ atoms.cell.array
        distances = np.sqrt((vectors**2).sum(axis=1))
        decay = np.exp(-self.steepness * (distances - self.length))
        slope = 2 * self.depth * self.steepness * decay * (1 - decay) / distances
        pull = slope[:, None] * vectors
        forces = np.zeros_like(atoms.positions)
        for k in range(3):
            forces[:, k] = np.bincount(self.i, pull[:, k], len(atoms)) - np.bincount(self.j, pull[:, k], len(atoms))
        stress = pull.T @ vectors / atoms.get_volume()
        energy = float(self.depth * ((1 - decay) ** 2).sum())
        self.results = {"energy": energy, "forces": forces, "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]}


def crystal(scale: float = 1.0) -> Atoms:
    return bulk("Cu", cubic=True, a=LATTICE * scale).repeat(2)


def sampled(config: MDConfig, atoms: Atoms | None = None, after: int = 700) -> list[MDSample]:
    """The samples of a run after its first steps."""
    atoms = atoms or crystal()
    samples: list[MDSample] = []
    run_md(atoms, Bonds(crystal()), config, progress=samples.append)
    return samples[after:]


def options(ensemble: str, steps: int, **more) -> MDConfig:
    times = {"taut": 40.0, "taup": 150.0, "friction": 0.02, "timestep": 4.0}
    return MDConfig(ensemble=ensemble, temperature=TEMPERATURE, steps=steps, interval=10**6, **(times | more))


def block_error(values: np.ndarray, blocks: int = 20) -> float:
    """Standard error of a mean of correlated values."""
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    return float(means.std(ddof=1) / np.sqrt(blocks))


@pytest.fixture(scope="module")
def runs() -> dict[str, list[MDSample]]:
    return {name: sampled(options(name, 5_000)) for name in THERMOSTATS}


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_kinetic_energies(runs, ensemble):
    """Mean f/2 kT, variance f/2 (kT)²."""
    kinetic = np.array([s.kinetic for s in runs[ensemble]])
    freedom = degrees_of_freedom(crystal(), ensemble)
    mean = freedom / 2 * BOLTZMANN * TEMPERATURE
    assert abs(kinetic.mean() - mean) < 4 * block_error(kinetic)
    square = (kinetic - mean) ** 2
    assert abs(square.mean() - freedom / 2 * (BOLTZMANN * TEMPERATURE) ** 2) < 4 * block_error(square)


def test_energy_fluctuation_is_the_heat_capacity(runs):
    """Var(E) = k T² C, with C from runs that are 30 K hotter and colder."""
    means = []
    for temperature in (TEMPERATURE - 30, TEMPERATURE + 30):
        config = options("bussi", 3_500)
        samples = sampled(MDConfig(**{**_as_dict(config), "temperature": temperature}))
        means.append(np.mean([s.kinetic + s.potential for s in samples]))
    capacity = (means[1] - means[0]) / 60
    for ensemble in ("bussi", "langevin", "nose-hoover"):
        energy = np.array([s.kinetic + s.potential for s in runs[ensemble]])
        square = (energy - energy.mean()) ** 2
        expected = BOLTZMANN * TEMPERATURE**2 * capacity * (1 if ensemble != "langevin" else 96 / 93)
        assert abs(square.mean() - expected) < 4 * block_error(square) + 0.08 * expected


@pytest.fixture(scope="module")
def equation_of_state() -> tuple[float, float]:
    """Volume without pressure (Å³) and bulk modulus (eV/Å³) at the temperature, from pressures at three volumes."""
    volumes, pressures = [], []
    for scale in (1.0, 1.006, 1.012):
        found: list[float] = []
        calculator, atoms = Bonds(crystal()), crystal(scale)

        def keep(sample: MDSample, calculator=calculator, atoms=atoms, found=found) -> None:
            virial = -calculator.results["stress"][:3].mean()
            found.append(virial + 2 * sample.kinetic / (3 * atoms.get_volume()))

        run_md(atoms, calculator, options("bussi", 2_000), progress=keep)
        volumes.append(atoms.get_volume())
        pressures.append(np.mean(found[400:]))
    slope, start = np.polyfit(volumes, pressures, 1)
    volume = -start / slope
    return volume, -slope * volume


@pytest.mark.parametrize("ensemble", BAROSTATS)
def test_volume_fluctuation_is_the_compressibility(runs, equation_of_state, ensemble):
    """<V> is where the pressure is zero, Var(V) = k T V / B."""
    volume, modulus = equation_of_state
    found = np.array([s.volume for s in runs[ensemble]])
    assert abs(found.mean() - volume) < 4 * block_error(found) + 0.001 * volume
    square = (found - found.mean()) ** 2
    expected = BOLTZMANN * TEMPERATURE * volume / modulus
    assert abs(square.mean() - expected) < 4 * block_error(square) + 0.1 * expected


@pytest.mark.parametrize("ensemble", BAROSTATS)
def test_pressure(equation_of_state, ensemble):
    """5 GPa shrink the crystal as its equation of state says."""
    volume, modulus = equation_of_state
    samples = sampled(options(ensemble, 2_000, pressure=5.0))
    shrunk = np.mean([s.volume for s in samples])
    # to second order, with dB/dP = 4.5 within 2
    expected = volume * (1 - 5 * GPA / modulus)
    assert expected < shrunk < expected + 3.5 * volume * (5 * GPA / modulus) ** 2
    assert abs(np.mean([s.temperature for s in samples]) - TEMPERATURE) < 0.1 * TEMPERATURE


@pytest.mark.parametrize("ensemble", ["nve", "bussi", "nose-hoover", "npt-isotropic", "npt-full"])
def test_conserved_quantity(ensemble):
    """Its drift, and its wandering, fall with the square of the time step."""
    wandering = []
    for timestep in (4.0, 2.0):
        config = options(ensemble, int(2000 / timestep), timestep=timestep)
        samples: list[MDSample] = []
        result = run_md(crystal(), Bonds(crystal()), config, progress=samples.append)
        conserved = np.array([s.conserved for s in samples])
        wandering.append(conserved.std())
        assert abs(result.energy_drift) < 2e-4
    assert wandering[1] < 0.45 * wandering[0]


def test_temperature_ramp():
    samples = sampled(options("nose-hoover", 2_000, temperature_end=900.0), after=0)
    for part, target in ((slice(400, 600), 450), (slice(1400, 1600), 750)):
        assert abs(np.mean([s.temperature for s in samples[part]]) - target) < 0.15 * target
    for ensemble in ("bussi", "langevin", "npt-isotropic", "npt-langevin-full"):
        hot = sampled(options(ensemble, 1_200, temperature_end=1200.0), after=1_000)
        assert np.mean([s.temperature for s in hot]) > 2.5 * TEMPERATURE


@pytest.mark.parametrize("ensemble", ["nve", "bussi", "langevin", "nose-hoover"])
def test_fixed_atoms_stay(ensemble):
    atoms = crystal()
    atoms.set_constraint(FixAtoms(range(8)))
    result = run_md(atoms, Bonds(crystal()), options(ensemble, 1_500))
    np.testing.assert_array_equal(result.atoms.positions[:8], atoms.positions[:8])
    assert np.abs(result.atoms.positions[8:] - atoms.positions[8:]).max() > 0.05
    if ensemble != "nve":
        assert abs(result.temperature - TEMPERATURE) < 0.2 * TEMPERATURE


def test_what_constant_pressure_needs():
    fixed = crystal()
    fixed.set_constraint(FixAtoms([0]))
    with pytest.raises(ConfigError, match="fixed atoms"):
        run_md(fixed, Bonds(crystal()), MDConfig(ensemble="npt-full"))
    slab = crystal()
    slab.pbc = (True, True, False)
    with pytest.raises(ConfigError, match="three directions"):
        run_md(slab, Bonds(crystal()), MDConfig(ensemble="npt-isotropic"))


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_resume_is_exact(ensemble, tmp_path):
    """Four parts of a run are the same as the whole, and so are their means."""
    end = None if ensemble == "nve" else 600.0
    for name, target in (("constant", None), ("ramp", end)):
        config = options(ensemble, 80, temperature_end=target)
        whole = run_md(crystal(), Bonds(crystal()), config)
        path = tmp_path / f"{name}.traj"

        class Stop(Exception):
            pass

        for end_step in (17, 18, 60):

            def stop(sample: MDSample, end_step=end_step) -> None:
                if sample.step > end_step:
                    raise Stop

            settings = MDConfig(**{**_as_dict(config), "interval": 1})
            with pytest.raises(Stop):
                run_md(crystal(), Bonds(crystal()), settings, trajectory=path, resume=True, progress=stop)
        parts = run_md(crystal(), Bonds(crystal()), settings, trajectory=path, resume=True)
        np.testing.assert_allclose(parts.atoms.positions, whole.atoms.positions, rtol=0, atol=1e-11)
        np.testing.assert_allclose(parts.atoms.cell.array, whole.atoms.cell.array, rtol=0, atol=1e-11)
        assert parts.averaged == whole.averaged == 81
        assert parts.temperature == pytest.approx(whole.temperature, rel=1e-12)
        assert parts.energy_drift == pytest.approx(whole.energy_drift, rel=1e-6, nan_ok=True)


def _as_dict(config: MDConfig) -> dict:
    return {name: getattr(config, name) for name in MDConfig.__dataclass_fields__}
