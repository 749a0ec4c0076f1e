"""Phonons, against the dynamical matrix of a pair potential's lattice sum."""

import itertools

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.data import atomic_masses

from gnnpot.properties.phonons import GAS_CONSTANT, PhononsConfig, calc
from gnnpot.properties.relaxed import relaxed
from gnnpot.units import GPA

pytest.importorskip("phonopy")
pytest.importorskip("seekpath")

CUTOFF = 3.3  # between the first and the second neighbours


def pair_calculator() -> LennardJones:
    return LennardJones(sigma=2.3, epsilon=0.2, rc=CUTOFF, ro=2.9, smooth=True)


def lattice_frequencies(atoms: Atoms, calculator: LennardJones, q: np.ndarray) -> np.ndarray:
    """THz at the wave vector q (in reciprocal vectors): D(q) = 1/m Σ_R Φ(R) (1 - cos q R) of a Bravais lattice, with
    Φ(R) = (φ'' - φ'/R) R R / R² + φ'/R."""
    integers = np.array([k for k in itertools.product(range(-3, 4), repeat=3) if any(k)])
    vectors = integers @ atoms.cell.array
    distances = np.linalg.norm(vectors, axis=1)
    near = distances < CUTOFF
    matrix, h = np.zeros((3, 3)), 1e-4
    for n, vector, d in zip(integers[near], vectors[near], distances[near], strict=True):
        energy = [
            calculator.get_property("energy", Atoms("Cu2", [[0, 0, 0], [0, 0, d + s * h]])) for s in (-2, -1, 0, 1, 2)
        ]
        first = energy @ np.array([1, -8, 0, 8, -1]) / (12 * h)
        second = energy @ np.array([-1, 16, -30, 16, -1]) / (12 * h * h)
        force = (second - first / d) * np.outer(vector, vector) / d**2 + first / d * np.eye(3)
        matrix += force * (1 - np.cos(2 * np.pi * n @ q))
    omega = np.sqrt(np.linalg.eigvalsh(matrix / atomic_masses[29]))
    return omega * units.s * 1e-12 / (2 * np.pi)


@pytest.fixture(scope="module")
def result():
    return calc(bulk("Cu", a=3.6), pair_calculator(), PhononsConfig(supercell=(3, 3, 3), mesh_length=60, fmax=1e-6))


def test_bands_are_those_of_the_lattice_sum(result):
    calculator = pair_calculator()
    crystal = relaxed(bulk("Cu", a=3.6), calculator, cell="full", fmax=1e-6, stress_max=1e-4 * GPA)
    for qpoints, bands in zip(result.qpoints, result.bands, strict=True):
        for k in (10, len(qpoints) // 2, len(qpoints) - 1):
            expected = lattice_frequencies(crystal, calculator, qpoints[k])
            assert np.sort(bands[k]) == pytest.approx(expected, abs=0.02)
    assert result.labels[0] == ("Γ", "X") and result.stable and not result.imaginary


def test_heat_capacity_of_the_modes(result, tmp_path):
    # the law of Dulong and Petit, with its first quantum correction: C = 3 n R (1 - <(ħω/kT)²> / 12)
    middle = 0.5 * (result.dos_frequencies[1:] + result.dos_frequencies[:-1])
    weight = 0.5 * (result.dos[1:] + result.dos[:-1]) * np.diff(result.dos_frequencies)
    assert weight.sum() == pytest.approx(3, rel=0.02)
    x = 2 * np.pi * middle * 1e12 * units._hbar / (units._k * 1000.0)
    expected = GAS_CONSTANT * (weight * (1 - x**2 / 12)).sum() / (weight.sum() / 3)
    assert result.heat_capacity_at(1000.0) == pytest.approx(expected, rel=2e-3)
    assert result.heat_capacity[0] == 0
    # at 0 K, the energy of the zero-point motion
    zero = 0.5 * (weight * middle).sum() * 1e12 * units._hplanck * units._Nav / 1000
    assert result.free_energy[0] == pytest.approx(zero, rel=5e-3)
    result.plot(tmp_path / "phonons.png")
    assert (tmp_path / "phonons.png").stat().st_size > 10_000
    assert result.to_json()["bands"][0]["ends"] == ["Γ", "X"]


def test_imaginary_modes_are_named_and_have_no_free_energy(tmp_path):
    # simple cubic: shears cost nothing or gain energy
    found = calc(
        bulk("Cu", "sc", a=2.55), pair_calculator(), PhononsConfig(supercell=(3, 3, 3), mesh_length=30, relax=False)
    )
    assert not found.stable and found.imaginary[0][1] < -0.5
    assert np.isnan(found.heat_capacity).all()
    found.plot(tmp_path / "phonons.png")


def test_bad_input():
    with pytest.raises(ValueError, match=r"displacement: 0.0 is not a distance above 0 and below 0.5 Å"):
        PhononsConfig(displacement=0.0)
