"""What a calculator, a relaxation, dynamics or predict remember is never that of another structure or another run."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.md import MDConfig, run_md
from gnnpot.engines.predict import predict
from gnnpot.engines.relax import RelaxConfig, relax
from gnnpot.errors import SimulationError


def swap_symbols(atoms: Atoms) -> None:
    atoms.numbers = atoms.numbers[::-1]


def one_element(atoms: Atoms) -> None:
    atoms.symbols[:] = "Na"


def remove(atoms: Atoms) -> None:
    del atoms[0]


def add(atoms: Atoms) -> None:
    atoms.append("Cl")
    atoms.positions[-1] = atoms.positions[:-1].mean(axis=0) + np.array([0.4, 0.3, 0.2])


def repeat(atoms: Atoms) -> None:
    atoms *= (2, 1, 1)


def dense(atoms: Atoms) -> None:
    atoms.set_cell(0.8 * atoms.cell.array, scale_atoms=True)


def thin(atoms: Atoms) -> None:
    atoms.set_cell(1.6 * atoms.cell.array, scale_atoms=True)


def sheared(atoms: Atoms) -> None:
    atoms.set_cell(atoms.cell.array @ [[1, 0.3, 0], [0, 1, 0], [0.1, 0, 1]], scale_atoms=True)


def other_cell_same_places(atoms: Atoms) -> None:
    atoms.set_cell(1.3 * atoms.cell.array)


def open_boundary(atoms: Atoms) -> None:
    atoms.pbc = [True, False, True]


def no_cell(atoms: Atoms) -> None:
    atoms.pbc = False
    atoms.cell[:] = 0


def image(atoms: Atoms) -> None:
    atoms.positions[1] += 2 * atoms.cell.array[0]


def constrained(atoms: Atoms) -> None:
    atoms.set_constraint(FixAtoms([0, 1]))


def free(atoms: Atoms) -> None:
    atoms.set_constraint()


def moving(atoms: Atoms) -> None:
    atoms.set_velocities(np.full((len(atoms), 3), 0.1))


def described(atoms: Atoms) -> None:
    atoms.info["charge"] = 1
    atoms.set_initial_charges(np.linspace(-1, 1, len(atoms)))
    atoms.set_initial_magnetic_moments(np.ones(len(atoms)))
    atoms.set_tags(np.arange(len(atoms)))


CHANGES = (
    swap_symbols, one_element, remove, add, repeat, dense, thin, sheared, other_cell_same_places, open_boundary,
    no_cell, image, constrained, free, moving, described,
)  # fmt: skip


def answers(atoms: Atoms) -> dict[str, np.ndarray]:
    found = {
        "energy": np.array(atoms.get_potential_energy()),
        "energies": atoms.get_potential_energies(),
        "forces": atoms.get_forces(),
        "free forces": atoms.get_forces(apply_constraint=False),
    }
    try:
        found["stress"] = atoms.get_stress()
    except PropertyNotImplementedError:
        assert atoms.cell.rank < 3
    found["extrapolating"] = np.array(atoms.calc.extrapolating)
    return found


def check_equal(atoms: Atoms, potential) -> None:
    fresh = atoms.copy()
    fresh.calc = Calculator(potential, warn=False)
    found, expected = answers(atoms), answers(fresh)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_a_change_between_two_calls(potential, crystal, change):
    """There, and back again."""
    crystal.calc = Calculator(potential, warn=False)
    before = answers(crystal)
    changed = crystal.copy()
    change(changed)
    changed.calc = crystal.calc
    check_equal(changed, potential)
    for name, value in before.items():
        np.testing.assert_allclose(answers(crystal)[name], value, rtol=1e-12, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_many_changes_of_one_object(potential, crystal, seed):
    rng = np.random.default_rng(seed)
    crystal.calc = Calculator(potential, warn=False)
    for _ in range(8):
        rng.choice(CHANGES)(crystal)
        crystal.rattle(0.02, rng=rng)
        if len(crystal) > 40:
            del crystal[30:]
        check_equal(crystal, potential)


@pytest.fixture
def other(crystal) -> Atoms:
    """A molecule."""
    return Atoms("NaCl2", crystal.positions[:3])


def used(potential, *structures: Atoms) -> Calculator:
    calculator = Calculator(potential, warn=False)
    for atoms in structures:
        answers_of = atoms.copy()
        answers_of.calc = calculator
        answers_of.get_forces()
    return calculator


@pytest.mark.parametrize("ensemble", ["nve", "bussi", "npt-isotropic"])
def test_dynamics_with_a_used_calculator(potential, crystal, other, ensemble):
    config = MDConfig(ensemble=ensemble, temperature=200, timestep=1.0, steps=6, interval=3)
    moving(other)
    runs = [run_md(crystal, calculator, config) for calculator in (used(potential), used(potential, other, crystal))]
    # the first calculator again, after its own run
    calculator = used(potential, crystal)
    run_md(other, calculator, MDConfig(ensemble="nve", temperature=100, steps=3))
    runs.append(run_md(crystal, calculator, config))
    for run in runs[1:]:
        np.testing.assert_allclose(run.atoms.positions, runs[0].atoms.positions, rtol=0, atol=1e-9)
        np.testing.assert_allclose(run.atoms.get_momenta(), runs[0].atoms.get_momenta(), rtol=0, atol=1e-9)
        np.testing.assert_allclose(run.atoms.cell.array, runs[0].atoms.cell.array, rtol=0, atol=1e-9)


def test_a_drift_left_by_a_removed_atom_does_not_stay(potential, crystal):
    result = run_md(crystal, Calculator(potential), MDConfig(temperature=300, steps=2))
    atoms = result.atoms
    del atoms[0]
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() > 1e-3
    config = MDConfig(ensemble="bussi", temperature=300, steps=3, keep_velocities=True)
    again = run_md(atoms, Calculator(potential), config).atoms
    np.testing.assert_allclose(again.get_momenta().sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("cell", ["none", "full"])
def test_relaxation_with_a_used_calculator(potential, crystal, other, cell):
    config = RelaxConfig(cell=cell, steps=4)
    expected = relax(crystal, Calculator(potential), config)
    calculator = used(potential, other)
    relax(other, calculator, RelaxConfig(cell="none", steps=2))
    found = relax(crystal, calculator, config)
    np.testing.assert_allclose(found.atoms.positions, expected.atoms.positions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.atoms.cell.array, expected.atoms.cell.array, rtol=0, atol=1e-9)
    assert found.energy == pytest.approx(expected.energy, abs=1e-9)


def test_what_is_given_stays_as_it_is(potential, crystal):
    constrained(crystal)
    moving(crystal)
    described(crystal)
    before = crystal.copy()
    calculator = Calculator(potential)
    crystal.calc = calculator
    relax(crystal, calculator, RelaxConfig(steps=2))
    run_md(crystal, calculator, MDConfig(steps=2, temperature=100))
    list(predict([crystal], potential))
    assert crystal == before and crystal.calc is calculator
    assert len(crystal.constraints) == 1 and crystal.info == before.info
    for name, values in before.arrays.items():
        np.testing.assert_array_equal(crystal.arrays[name], values)


def test_predict_in_any_order(potential, crystal, other):
    structures = [crystal, other]
    for change in CHANGES:
        structures.append(crystal.copy())
        change(structures[-1])
    forwards = list(predict(structures, potential, max_atoms=20))
    backwards = list(predict(structures[::-1], potential, max_atoms=50))[::-1]
    for atoms, a, b in zip(structures, forwards, backwards, strict=True):
        fresh = atoms.copy()
        fresh.calc = Calculator(potential, warn=False)
        for found in (a, b):
            assert found.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-9)
            np.testing.assert_allclose(found.get_forces(), fresh.get_forces(), rtol=0, atol=1e-9)


def test_a_resumed_run_at_constant_energy_remembers_the_energy_of_its_start(tmp_path, monkeypatch):
    atoms, config, path = (
        bulk("Cu", cubic=True),
        MDConfig(ensemble="nve", timestep=8.0, steps=30),
        tmp_path / "run.traj",
    )
    samples = []
    run_md(atoms, EMT(), config, progress=samples.append)
    change = np.abs([s.conserved - samples[0].conserved for s in samples])
    # the step with the largest change; that of the next step is similar
    k = int(change[:-1].argmax())
    limit = 0.5 * min(change[k], change[k + 1])
    assert abs(samples[k].conserved - samples[k + 1].conserved) < limit
    run_md(atoms, EMT(), replace(config, steps=samples[k].step), trajectory=path)
    monkeypatch.setattr("gnnpot.engines.md._MAX_ENERGY_CHANGE", limit / len(atoms))
    with pytest.raises(SimulationError, match="the total energy has changed"):
        run_md(atoms, EMT(), config, trajectory=path, resume=True)
