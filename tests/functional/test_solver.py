"""Self-consistent densities, forces, stress, the calculator, and what they refuse."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gnnpot.errors import DataError, SimulationError, UnknownElementError
from gnnpot.functional import Calculator, crystals
from gnnpot.functional.cube import read_cube, write_cube
from gnnpot.functional.evaluate import compare, equation_of_state, plane_average_error
from gnnpot.functional.solver import SolverSettings, orbital_free_grid, solve, symmetric_basis, uniform_density
from gnnpot.functional.store import open_functional
from gnnpot.units import BOHR, HARTREE

SHIPPED = "gnnpot-kedf-1"
TIGHT = SolverSettings(tolerance=1e-10)


@pytest.fixture(scope="module")
def functional():
    return open_functional(SHIPPED)


@pytest.fixture(scope="module")
def moved() -> Atoms:
    return crystals.rattled(crystals.strained(crystals.zincblende("GaAs"), crystals.tetragonal(0.02)), 0.06, seed=1)


def test_single_precision_leaves_no_trace(functional, moved, monkeypatch):
    """Steps in single precision lead to the result of double precision alone."""
    mixed = solve(moved, functional, TIGHT)
    monkeypatch.setattr("gnnpot.functional.solver.SINGLE_TOLERANCE", np.inf)
    double = solve(moved, functional, TIGHT)
    assert mixed.energy == pytest.approx(double.energy, abs=1e-9) and mixed.steps <= double.steps + 3
    assert np.abs(mixed.density - double.density).max() < 1e-4 * double.density.max()
    assert np.abs(mixed.forces - double.forces).max() < 1e-5


def test_starts_lead_to_one_density(functional, moved):
    grid = orbital_free_grid(moved, 6.5)
    random = np.random.default_rng(0).uniform(0.3, 1.7, grid.shape)
    starts = [None, uniform_density(grid, 8), random * 8 / grid.integral(random)]
    results = [solve(moved, functional, start=start) for start in starts]
    energies = [result.energy * HARTREE * 1000 / 2 for result in results]
    assert np.ptp(energies) < 0.1
    assert all(result.steps <= 60 for result in results) and results[0].steps <= 25
    assert results[0].grid.integral(results[0].density) == pytest.approx(8, abs=1e-9)


@pytest.mark.parametrize("name", ["wt", SHIPPED])
def test_forces_and_stress_are_derivatives(name, moved):
    functional = open_functional(name)
    result = solve(moved, functional, TIGHT)
    step, energies = 0.01, []
    for sign in (1, -1):
        atoms = moved.copy()
        atoms.positions[0, 0] += sign * step
        energies.append(solve(atoms, functional, TIGHT).energy)
    # points of the grid make a force of some meV/Å
    assert result.forces[0, 0] == pytest.approx(-(energies[0] - energies[1]) / (2 * step / BOHR), abs=1.5e-4)
    for i, j in ((2, 2), (0, 1)):
        strain, energies = np.zeros((3, 3)), []
        strain[i, j] += 2e-3
        strain[j, i] += 2e-3
        for sign in (0.5, -0.5):
            energies.append(solve(crystals.strained(moved, sign * strain), functional, TIGHT).energy)
        slope = (energies[0] - energies[1]) / 4e-3 / result.grid.volume
        # a strain moves wave vectors across the end of the grid; 6e-6 Ha/bohr³ are 0.18 GPa
        assert result.stress[i, j] == pytest.approx(slope, abs=6e-6)


def test_symmetric_form_gives_the_same(functional):
    atoms = crystals.zincblende("InP", 1.01)
    whole, reduced = solve(atoms, functional, TIGHT), solve(atoms, functional, TIGHT, basis=symmetric_basis(atoms))
    assert whole.energy == pytest.approx(reduced.energy, abs=1e-9)
    assert np.abs(whole.density - reduced.density).max() < 1e-6


def test_a_supercell_costs_no_more_steps_and_has_the_same_energy(functional):
    one, eight = bulk("Si", "diamond", a=5.43, cubic=True), bulk("Si", "diamond", a=5.43, cubic=True) * (2, 1, 1)
    small, large = solve(one, functional), solve(eight, functional)
    assert large.energy == pytest.approx(2 * small.energy, abs=1e-6)
    assert large.steps <= small.steps + 3


def test_the_shipped_functional_is_near_kohn_sham(functional, sample):
    errors, classic = compare(functional, sample), compare(open_functional("tfvw"), sample)
    assert errors.density_error < 0.015 < 10 * errors.density_error < classic.density_error


def test_calculator(functional):
    atoms = bulk("Si", "diamond", a=5.43)
    atoms.rattle(0.05, seed=0)
    atoms.calc = Calculator(functional)
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    assert atoms.calc.get_property("free_energy", atoms) == energy and np.abs(forces.sum(axis=0)).max() < 0.05
    steps = atoms.calc.result.steps
    atoms.positions[0, 0] += 0.02
    again = atoms.get_potential_energy()
    # the density followed the atoms
    assert atoms.calc.result.steps < steps + 3
    fresh = atoms.copy()
    fresh.calc = Calculator(functional)
    assert fresh.get_potential_energy() == pytest.approx(again, abs=1e-5)
    assert stress.shape == (6,)


def test_a_density_that_does_not_converge_leaves_no_result_of_another_structure():
    atoms = crystals.diamond()
    atoms.calc = Calculator("wt")
    atoms.get_potential_energy()
    atoms.positions[0] += 0.3
    atoms.calc.settings = SolverSettings(steps=1)
    for _ in range(2):
        with pytest.raises(SimulationError, match="has not converged"):
            atoms.get_potential_energy()
    atoms.calc.settings = SolverSettings()
    energy = atoms.get_potential_energy()
    fresh = atoms.copy()
    fresh.calc = Calculator("wt")
    assert energy == pytest.approx(fresh.get_potential_energy(), abs=1e-5)


def test_vacuum_is_not_refused(functional):
    atoms = crystals.diamond()
    slab = Atoms("Si2", positions=atoms.positions, cell=atoms.cell, pbc=True)
    cell = slab.cell.array
    cell[2] += 2.0 * np.cross(cell[0], cell[1]) / np.linalg.norm(np.cross(cell[0], cell[1]))
    slab.set_cell(cell)
    result = solve(slab, functional, SolverSettings(tolerance=1e-6))
    assert np.isfinite(result.energy) and result.density.min() < 0.2 * result.density.mean()


def test_refusals(functional, sample):
    with pytest.raises(UnknownElementError, match="Cu: there is no local pseudopotential"):
        solve(bulk("Cu"), functional)
    with pytest.raises(DataError, match=r"the cut-off 3 /bohr is too coarse"):
        solve(crystals.diamond(), functional, SolverSettings(cutoff=3.0))
    with pytest.raises(DataError, match="is not periodic in three directions"):
        solve(Atoms("Si"), functional)
    atoms = sample.atoms
    with pytest.raises(DataError, match="density: has negative values"):
        solve(atoms, functional, start=sample.density - 0.1)
    with pytest.raises(DataError, match=r"density: holds 16.0000 electrons, the atoms have 8"):
        solve(atoms, functional, start=2 * sample.density)
    with pytest.raises(DataError, match=r"density: has \(4, 4, 4\) points"):
        solve(atoms, functional, start=np.ones((4, 4, 4)))
    with pytest.raises(SimulationError, match="the density has not converged in 2 steps"):
        solve(atoms, functional, SolverSettings(steps=2))


def test_cube_files(tmp_path, sample):
    path = tmp_path / "rho.cube"
    write_cube(path, sample.atoms, sample.density)
    atoms, density = read_cube(path)
    assert np.abs(density - sample.density).max() < 1e-5 * sample.density.max()
    assert np.abs(atoms.cell.array - sample.atoms.cell.array).max() < 1e-4
    path.write_text("not a cube\n")
    with pytest.raises(DataError, match="can't be read as a cube file"):
        read_cube(path)


def test_equation_of_state_and_plane_average():
    volumes = np.linspace(18, 22, 7)
    fit = equation_of_state(volumes, 0.5 * (volumes - 20.1) ** 2 - 7)
    assert fit.volume == pytest.approx(20.1, abs=0.02) and fit.energy == pytest.approx(-7, abs=1e-2)
    assert fit.bulk_modulus == pytest.approx(20.1 * 160.2177, rel=0.02)
    assert np.isnan(equation_of_state(volumes, volumes).volume)
    field = np.random.default_rng(0).uniform(size=(4, 4, 6))
    assert plane_average_error(field, field + 0.1) == pytest.approx(0.1)
