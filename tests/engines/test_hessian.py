"""Second derivatives are those of finite differences, for every architecture."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.vibrations import Vibrations, VibrationsData

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.hessian import hessian, hessian_vector_products
from gnnpot.errors import ConfigError
from tests.engines.every_architecture import NAMES, make


@pytest.fixture(scope="module", params=NAMES)
def calculator(request) -> Calculator:
    return Calculator(make(request.param))


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.2)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_products_are_finite_differences_of_the_forces(calculator, crystal):
    directions, step = np.random.default_rng(0).standard_normal((2, len(crystal), 3)), 3e-4
    for direction, product in zip(directions, hessian_vector_products(crystal, calculator, directions), strict=True):
        forces = []
        for k in (-2, -1, 1, 2):
            moved = crystal.copy()
            moved.positions += k * step * direction
            forces.append(calculator.get_forces(moved))
        # error of fourth order, and no pair crosses a cutoff
        numeric = -(forces[0] - 8 * forces[1] + 8 * forces[2] - forces[3]) / (12 * step)
        np.testing.assert_allclose(product, numeric, atol=1e-5 * abs(numeric).max())
    one = hessian_vector_products(crystal, calculator, directions[0])
    assert one.shape == (2, 3)


def test_the_matrix_is_symmetric_and_translations_cost_nothing(calculator, crystal):
    steps = []
    matrix = hessian(crystal, calculator, progress=lambda what, done, total: steps.append((done, total)))
    assert matrix.shape == (2, 3, 2, 3) and steps[-1] == (6, 6)
    flat = matrix.reshape(6, 6)
    scale = abs(flat).max()
    np.testing.assert_allclose(flat, flat.T, atol=1e-9 * scale)
    np.testing.assert_allclose(matrix.sum(2), 0, atol=1e-9 * scale)


def test_vibrations_of_a_molecule(tmp_path):
    calculator = Calculator(make("m3gnet"))
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.6]])
    energies = VibrationsData(atoms, hessian(atoms, calculator)).get_energies()
    atoms.calc = calculator
    by_steps = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    by_steps.run()
    np.testing.assert_allclose(energies[-1], by_steps.get_energies()[-1], rtol=1e-4)


def test_the_calculator_is_left_as_it_was(crystal):
    calculator = Calculator(make("hdnnp"))
    before = calculator.get_forces(crystal)
    with torch.inference_mode():
        hessian_vector_products(crystal, calculator, np.ones((2, 3)))
    assert calculator.potential.model.backend == "fast"
    moved = crystal.copy()
    np.testing.assert_array_equal(calculator.get_forces(moved), before)


def test_an_atom_alone_is_not_held():
    np.testing.assert_array_equal(hessian(Atoms("Na"), Calculator(make("nequix"))), np.zeros((1, 3, 1, 3)))


def test_bad_input(crystal):
    with pytest.raises(ConfigError, match=r"EMT can't be differentiated"):
        hessian(crystal, EMT())
    with pytest.raises(ConfigError, match=r"directions: have the shape \[3, 2\]; of 2 atoms, give \[2, 3\]"):
        hessian_vector_products(crystal, Calculator(make("hdnnp")), np.zeros((3, 2)))
