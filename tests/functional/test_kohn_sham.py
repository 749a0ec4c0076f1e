"""The Kohn-Sham reference: Quantum ESPRESSO's numbers, exact identities, numeric derivatives."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from gnnpot.errors import SimulationError, UnknownElementError
from gnnpot.functional import crystals
from gnnpot.functional.kohn_sham import Settings, calculation_grid, solve, solve_fixed, without_constant
from gnnpot.functional.pseudopotentials import for_numbers, load
from gnnpot.units import BOHR

ROOT = Path(__file__).parents[2]
REFERENCE = json.loads((Path(__file__).parent / "quantum_espresso.json").read_text())
QUICK = Settings(cutoff=7.0, mesh=(2, 2, 2))


@pytest.fixture(scope="module")
def espresso():
    spec = importlib.util.spec_from_file_location(
        "check_quantum_espresso", ROOT / "scripts/studies/functional/check_quantum_espresso.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["Si", "GaAs displaced", "Al"])
def test_energies_and_forces_of_quantum_espresso(name, espresso):
    atoms = espresso.cases()[name]
    result = solve(atoms, espresso.SETTINGS, espresso.tables(atoms))
    assert abs(2 * result.energy - REFERENCE[name]["energy_ry"]) < 1e-6
    assert np.abs(2 * result.forces - np.array(REFERENCE[name]["forces_ry_bohr"])).max() < 1e-5


def test_the_potential_by_the_sum_over_orbitals_is_that_by_the_equation():
    errors = []
    for cutoff in (8.0, 16.0, 32.0):
        result = solve(crystals.diamond(), Settings(cutoff=cutoff, mesh=(2, 2, 2), residual=1e-7))
        difference = result.orbital_potential - result.kinetic_potential
        errors.append(np.sqrt((difference**2 * result.density).sum() / result.density.sum()))
    # both are equal in a complete basis; potentials vary by 0.4 Ha
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 3e-3


def test_the_kinetic_potential_is_the_derivative_of_the_kinetic_energy(gallium_arsenide):
    reference, settings = gallium_arsenide, Settings(cutoff=10.0, mesh=(2, 2, 2), residual=1e-8)
    grid, symmetry = reference.grid, reference.symmetry
    noise = grid.to_fourier(np.random.default_rng(0).normal(size=grid.shape)) * np.exp(-grid.squares / 3)
    change = symmetry.symmetrise(grid.to_real(noise))
    change *= 0.02 / np.abs(change).max()
    middle, low, high = (
        solve_fixed(reference.atoms, reference.potential + part * change, settings) for part in (0, -1, 1)
    )
    by_potential = grid.integral(middle.kinetic_potential * (high.density - low.density))
    assert high.kinetic - low.kinetic == pytest.approx(by_potential, rel=2e-3)


def test_forces_are_derivatives():
    def energy(step: float) -> float:
        atoms = moved.copy()
        atoms.positions[0, 0] += step
        return solve(atoms, settings).energy

    settings = Settings(cutoff=7.0, mesh=(2, 2, 2), shift=(False, False, False), tolerance=1e-11, residual=1e-7)
    moved = crystals.rattled(crystals.zincblende("AlP"), 0.1, seed=3)
    slope = (energy(0.01) - energy(-0.01)) / (0.02 / BOHR)
    assert solve(moved, settings).forces[0, 0] == pytest.approx(-slope, abs=2e-4)


def test_electrons_and_gap(gallium_arsenide):
    assert gallium_arsenide.grid.integral(gallium_arsenide.density) == pytest.approx(8, abs=1e-10)
    assert 0.01 < gallium_arsenide.gap < 0.1
    constant_off = without_constant(gallium_arsenide.kinetic_potential, gallium_arsenide.density)
    assert abs((constant_off * gallium_arsenide.density).sum()) < 1e-9


def test_a_metal_has_an_entropy():
    result = solve(crystals.face_centred_cubic(), Settings(cutoff=7.0, mesh=(3, 3, 3)))
    assert result.gap == 0 and result.entropy < -1e-5


def test_refusals():
    with pytest.raises(UnknownElementError, match="Fe: there is no local pseudopotential of this element; there are"):
        solve(Atoms("Fe", cell=[3, 3, 3], pbc=True), QUICK)
    with pytest.raises(UnknownElementError, match="C, O: there is no .* of these elements"):
        for_numbers([6, 8, 14])
    with pytest.raises(SimulationError, match="Si2: .* has not converged in 2 iterations"):
        solve(crystals.diamond(), Settings(cutoff=7.0, mesh=(1, 1, 1), steps=2))


def test_pseudopotentials_end_in_a_coulomb_tail():
    for symbol, charge in {"Al": 3, "As": 5, "Ga": 3, "In": 3, "Li": 1, "Mg": 2, "P": 5, "Sb": 5, "Si": 4}.items():
        one = load(symbol)
        assert one.charge == charge
        assert one(np.array([0.02]))[0] * 0.02**2 == pytest.approx(-4 * np.pi * charge, rel=0.02)
        step = 1e-5
        slope = (one(np.array([1.5 + step])) - one(np.array([1.5 - step]))) / (2 * step)
        assert one.derivative(np.array([1.5])) == pytest.approx(slope, rel=1e-5)


def test_a_grid_holds_what_it_must():
    grid = calculation_grid(crystals.diamond(), Settings(cutoff=15.0))
    assert grid.shape == (28, 28, 28)
