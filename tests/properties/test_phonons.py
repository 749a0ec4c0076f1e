"""Phonons, against the dynamical matrix of a pair potential's lattice sum."""

import itertools

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.data import atomic_masses
from ase.spacegroup import crystal as crystal_by_symmetry

from gnnpot.errors import DataError
from gnnpot.properties.phonons import GAS_CONSTANT, PhononsConfig, calc, with_force_constants
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


def test_frequencies_go_with_the_masses_of_the_structure():
    config = PhononsConfig(supercell=(2, 2, 2), mesh_length=20, relax=False)
    light, heavy = bulk("Cu", a=3.6), bulk("Cu", a=3.6)
    heavy.set_masses([4 * atomic_masses[29]])
    found, slower = (calc(atoms, pair_calculator(), config) for atoms in (light, heavy))
    assert slower.bands[0][-1] == pytest.approx(found.bands[0][-1] / 2, rel=1e-6)
    mixed = bulk("Cu", a=3.6, cubic=True)
    mixed.set_masses([63, 65, 63, 63])
    with pytest.raises(DataError, match="atoms of Cu have different masses"):
        calc(mixed, pair_calculator(), config)


def test_a_left_handed_cell_has_the_same_phonons():
    atoms = bulk("CuAu", "rocksalt", a=4.8)
    left = atoms.copy()
    left.set_cell(atoms.cell.array[[1, 0, 2]])
    config = PhononsConfig(supercell=(2, 2, 2), mesh_length=20, relax=False)
    found, other = (calc(a, pair_calculator(), config) for a in (atoms, left))
    assert other.labels == found.labels
    for one, two in zip(found.bands, other.bands, strict=True):
        assert two == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize(
    ("group", "cell"),
    [
        (2, (4, 5, 6, 80, 95, 100)),
        (5, (4, 9, 7, 90, 125, 90)),
        (38, (5, 9, 7, 90, 90, 90)),
        (166, (4, 4, 14, 90, 90, 120)),
    ],
)
def test_named_points_lie_on_the_boundary_of_the_brillouin_zone(group, cell):
    atoms = crystal_by_symmetry(["Cu", "Au"], [(0, 0, 0), (0.1, 0.2, 0.3)], spacegroup=group, cellpar=cell)
    # nothing moves, but the path is that of the lattice
    config = PhononsConfig(supercell=(1, 1, 1), mesh_length=5, relax=False)
    found = calc(atoms, pair_calculator(), config)
    phonopy = with_force_constants(atoms, pair_calculator(), (1, 1, 1))
    reciprocal = np.linalg.inv(phonopy.primitive.cell).T
    lattice = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ reciprocal
    for qpoints, names in zip(found.qpoints, found.labels, strict=True):
        for q, name in zip((qpoints[0], qpoints[-1]), names, strict=True):
            nearest = np.sort(np.linalg.norm(q @ reciprocal - lattice, axis=1))
            assert (nearest[0] == 0) if name == "Γ" else nearest[1] == pytest.approx(nearest[0], abs=1e-6), name
            # and none is nearer than the centre of the zone
            assert np.linalg.norm(q @ reciprocal) == pytest.approx(nearest[0], abs=1e-6), name


def test_bad_input():
    with pytest.raises(ValueError, match=r"displacement: 0.0 is not a distance above 0 and below 0.5 Å"):
        PhononsConfig(displacement=0.0)
