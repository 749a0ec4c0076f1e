"""`import gnnpot`: the public names, structures of other packages, what is printed."""

import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from pymatgen.core import Lattice, Molecule, Structure

import gnnpot
from gnnpot.errors import ConfigError, DataError
from gnnpot.extras import MissingExtraError, needs_extra


@pytest.fixture(scope="module")
def potential():
    return gnnpot.load("gnnpot-1")


@pytest.fixture
def rocksalt():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_every_public_name_is_there():
    for name in gnnpot.__all__:
        assert getattr(gnnpot, name) is not None and name in dir(gnnpot)
    assert gnnpot.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = gnnpot.lod


def test_type_checkers_see_what_is_there():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(gnnpot.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname or alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: module for name, (module, _) in gnnpot._PUBLIC.items()}
    assert {*seen, "GnnpotError"} == set(gnnpot.__all__)
    assert (Path(gnnpot.__file__).parent / "py.typed").exists()


def test_the_import_loads_nothing_heavy():
    code = "import gnnpot, sys; print(sorted({'torch', 'numpy', 'ase', 'yaml', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_potential_fits_on_a_screen(potential):
    lines = repr(potential).splitlines()
    assert len(lines) < 10 and max(map(len, lines)) < 100
    assert "sevennet" in lines[1] and "89" in lines[2]


def test_structures_of_pymatgen_are_taken(potential, rocksalt):
    atoms = gnnpot.as_atoms(rocksalt)
    assert atoms.get_chemical_formula() == "Cl4Na4" and atoms.pbc.all()
    ours = next(gnnpot.predict([atoms], potential))
    theirs = next(gnnpot.predict([rocksalt], potential))
    assert ours.get_potential_energy() == theirs.get_potential_energy()
    relaxed = gnnpot.relax(rocksalt, gnnpot.Calculator(potential))
    assert relaxed.converged and len(relaxed.atoms) == 8
    result = gnnpot.run_md(rocksalt, gnnpot.Calculator(potential), gnnpot.MDConfig(steps=2))
    assert len(result.atoms) == 8
    water = gnnpot.as_atoms(Molecule(["O", "H", "H"], [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]))
    assert not water.pbc.any()


def test_partial_occupancies_and_other_objects_are_refused():
    alloy = Structure(Lattice.cubic(2.8), [{"Fe": 0.6, "Ni": 0.4}], [[0, 0, 0]])
    with pytest.raises(DataError, match="occupied in part"):
        gnnpot.as_atoms(alloy)
    with pytest.raises(DataError, match="str: is no structure"):
        gnnpot.as_atoms("POSCAR")


def test_predictions_are_those_of_the_calculator(potential):
    structures = [bulk("NaCl", "rocksalt", a=5.7), bulk("Cu", cubic=True), molecule("H2O")]
    structures[0].rattle(0.05, seed=1)
    structures[1].info["name"] = "copper"
    found = list(gnnpot.predict(iter(structures), potential, max_atoms=5))
    assert found[1].info["name"] == "copper" and "stress" not in found[2].calc.results
    for atoms, result in zip(structures, found, strict=True):
        atoms = atoms.copy()
        atoms.calc = gnnpot.Calculator(potential)
        assert abs(atoms.get_potential_energy() - result.get_potential_energy()) < 1e-5 * len(atoms)
        assert np.abs(atoms.get_forces() - result.get_forces()).max() < 1e-4
    assert np.abs(structures[0].cell - found[0].cell).max() == 0
    with pytest.raises(ConfigError, match="max_atoms"):
        gnnpot.predict(structures, potential, max_atoms=0)


def test_a_missing_extra_is_one_sentence():
    words = r'gnnpot.train: needs the package lightning.*"gnnpot\[train\]"'
    with pytest.raises(MissingExtraError, match=words), needs_extra("gnnpot.train"):
        raise ModuleNotFoundError("No module named 'lightning'", name="lightning.pytorch")
    with pytest.raises(ModuleNotFoundError, match="other"), needs_extra("gnnpot.train"):
        raise ModuleNotFoundError("No module named 'other'", name="other")
