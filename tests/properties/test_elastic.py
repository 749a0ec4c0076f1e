"""Elastic tensors, against the sum over the lattice that a pair potential has."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from pymatgen.io.ase import AseAtomsAdaptor

from gnnpot.errors import DataError
from gnnpot.properties.elastic import ElasticConfig, calc
from gnnpot.units import GPA, VOIGT

CUTOFF = 6.0


def pair_calculator() -> LennardJones:
    """Smooth at the cutoff, so that derivatives are."""
    return LennardJones(sigma=2.3, epsilon=0.2, rc=CUTOFF, ro=4.5, smooth=True)


def lattice_stiffness(atoms: Atoms, calculator: LennardJones) -> np.ndarray:
    """C_ijkl = 1/(2V) Σ_R (φ'' - φ'/R) R_i R_j R_k R_l / R² of a Bravais lattice without stress, [6, 6] GPa."""
    n = 6
    vectors = np.array([k for k in itertools.product(range(-n, n + 1), repeat=3) if any(k)]) @ atoms.cell.array
    distances = np.linalg.norm(vectors, axis=1)
    vectors, distances = vectors[distances < CUTOFF], distances[distances < CUTOFF]
    h = 1e-4
    energy = np.array(
        [[pair_energy(calculator, d + s * h) for s in (-2, -1, 0, 1, 2)] for d in distances]
    )  # fmt: skip
    first = energy @ np.array([1, -8, 0, 8, -1]) / (12 * h)
    second = energy @ np.array([-1, 16, -30, 16, -1]) / (12 * h * h)
    weight = (second - first / distances) / distances**2
    products = np.stack([vectors[:, i] * vectors[:, j] for i, j in VOIGT], axis=1)
    return np.einsum("r,ra,rb->ab", weight, products, products) / (2 * atoms.get_volume() * GPA)


def pair_energy(calculator: LennardJones, distance: float) -> float:
    pair = Atoms("Cu2", [[0, 0, 0], [0, 0, distance]])
    return calculator.get_property("energy", pair)


def test_a_pair_potential_has_the_tensor_of_its_lattice_sum():
    calculator = pair_calculator()
    result = calc(bulk("Cu", a=3.6), calculator, ElasticConfig(fmax=1e-6))
    from gnnpot.properties.relaxed import relaxed

    crystal = relaxed(bulk("Cu", a=3.6), calculator, cell="full", fmax=1e-6, stress_max=1e-4 * GPA)
    expected = lattice_stiffness(crystal, calculator)
    assert np.abs(result.stiffness - expected).max() < 0.003 * expected.max()
    assert (np.abs(result.stiffness - expected) <= np.maximum(3 * result.stiffness_uncertainty, 0.3)).all()
    # Cauchy's relation of central forces
    assert result.stiffness[0, 1] == pytest.approx(result.stiffness[3, 3], rel=0.01)
    assert result.bulk_modulus == pytest.approx((expected[0, 0] + 2 * expected[0, 1]) / 3, rel=0.005)
    assert result.stable and result.universal_anisotropy > 0
    cubic = 1 / np.linalg.inv(expected)[0, 0]
    assert result.young_modulus_along(np.array([0.0, 0, 1])) == pytest.approx(cubic, rel=0.01)


def test_atoms_relax_in_strained_cells_and_the_result_is_saved(tmp_path):
    # published for this potential's hcp form nowhere; a supercell of fcc must have the tensor of its primitive cell
    cubic = calc(bulk("Cu", cubic=True), EMT(), ElasticConfig(fmax=1e-4))
    primitive = calc(AseAtomsAdaptor.get_structure(bulk("Cu")), EMT(), ElasticConfig(fmax=1e-4))
    assert cubic.stiffness == pytest.approx(primitive.stiffness, abs=0.5)
    content = cubic.to_json()
    assert content["bulk_modulus_GPa"] == pytest.approx(cubic.bulk_modulus) and content["stable"] is True
    cubic.plot(tmp_path / "elastic.png")
    assert (tmp_path / "elastic.png").stat().st_size > 10_000


def test_a_crystal_that_is_no_minimum_is_not_stable():
    # simple cubic of a pair potential of nearest neighbours has no resistance to shear
    result = calc(
        bulk("Cu", "sc", a=2.5), pair_calculator(), ElasticConfig(relax=False, strains=(-0.002, 0.002, 0.004))
    )
    assert not result.stable and result.eigenvalues[0] < 0


def test_bad_input():
    with pytest.raises(ValueError, match="three or more"):
        ElasticConfig(strains=(0.01, -0.01))
    with pytest.raises(DataError, match="no crystal"):
        calc(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]), EMT())
