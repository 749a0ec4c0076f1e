"""The calculator says which potential it is, in databases and trajectories; stresses of atoms; dispersion."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.db import connect
from ase.io import read, write

import gnnpot
from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.engines.dispersion import with_dispersion
from gnnpot.errors import ConfigError
from gnnpot.hub.card import Card
from gnnpot.hub.checkpoint import save_checkpoint
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.potential import Potential


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = M3GNet(M3GNetConfig(elements=("Na", "Cl"), units=8, blocks=1, max_n=2, max_l=2))
    references = ElementReferences.from_mapping({"energies": {"Na": -1.0, "Cl": -2.0}})
    card = Card(name="salt", functional="PBE")
    return save_checkpoint(tmp_path_factory.mktemp("x") / "salt", Potential(model, references), card)


def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.05, seed=0)
    return atoms


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_a_row_of_a_database_says_which_model_calculated(folder, tmp_path, dtype):
    atoms = salt()
    atoms.calc = Calculator(folder, dtype=dtype)
    atoms.get_potential_energy()
    database = connect(tmp_path / "rows.db")
    row = database.get(database.write(atoms))
    assert row.calculator == "gnnpot/salt"
    parameters = row.calculator_parameters
    # the same in any precision: that of the weights in their file
    assert parameters["weights_sha256"] == json.loads((folder / "card.json").read_text())["weights_sha256"]
    assert parameters["model"] == "salt" and parameters["functional"] == "PBE"
    assert parameters["dtype"] == ("float32" if dtype is None else "float64")
    assert parameters["gnnpot_version"] == gnnpot.__version__ and parameters["architecture"] == "m3gnet"
    assert database.count(calculator="gnnpot/salt") == 1
    write(tmp_path / "a.traj", atoms)
    assert read(tmp_path / "a.traj").calc.name == "gnnpot/salt"


def test_a_potential_without_a_name_has_its_weights(folder):
    potential = gnnpot.load(folder)
    calculator = Calculator(potential)
    assert calculator.name == "gnnpot" and len(calculator.todict()["weights_sha256"]) == 64
    with torch.no_grad():
        next(potential.parameters()).add_(1)
    assert Calculator(potential).parameters["weights_sha256"] != calculator.parameters["weights_sha256"]


def test_stresses_of_atoms_sum_to_the_stress(folder):
    atoms = salt()
    atoms.calc = Calculator(folder, dtype=torch.float64)
    atoms.get_stress()
    assert "stresses" not in atoms.calc.results
    stresses = atoms.get_stresses()
    assert stresses.shape == (8, 6)
    assert stresses.sum(axis=0) == pytest.approx(atoms.get_stress(), abs=1e-12)


def test_dispersion_is_added_once(folder):
    calculator = Calculator(folder)
    pair = LennardJones(sigma=2.5, epsilon=0.01, rc=6.0)
    both = with_dispersion(calculator, "pbe", make=lambda damping, functional: pair)
    atoms = salt()
    sums = np.zeros(8 * 3 + 1)
    for one in (calculator, pair):
        atoms.calc = one
        sums += np.append(atoms.get_forces().ravel(), atoms.get_potential_energy())
    atoms.calc = both
    assert np.append(atoms.get_forces().ravel(), atoms.get_potential_energy()) == pytest.approx(sums, abs=1e-9)
    assert both.name == "gnnpot/salt+d3" and both.todict()["dispersion"] == "d3bj pbe"
    assert both.todict()["model"] == "salt"
    calculator.card = replace(calculator.card, functional="PBE-D3(BJ)")
    with pytest.raises(ConfigError, match="would count it twice"):
        with_dispersion(calculator)


def test_d3_of_the_package(folder):
    pytest.importorskip("dftd3")
    atoms = salt()
    atoms.calc = with_dispersion(Calculator(folder), "pbe")
    with_d3 = atoms.get_potential_energy()
    atoms.calc = Calculator(folder)
    assert -1.0 < (with_d3 - atoms.get_potential_energy()) / 8 < -0.02
