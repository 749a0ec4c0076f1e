"""Every crystal of the library has its formula and space group, and sensible distances; names lead to one substance."""

import numpy as np
import pytest
import spglib
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from pymatgen.core import Composition

from gnnpot.builder import Recipe, execute
from gnnpot.builder.library import library
from gnnpot.builder.recipe import Bulk, Slab
from gnnpot.builder.state import State
from gnnpot.builder.steps import molecule

CRYSTALS = [(f, p) for f in library().substances for p in library().polymorphs(f)]
#: neighbours are further apart than bonds
LOOSE = {"Ne", "Ar", "Kr", "Xe", "K", "Rb", "Cs", "Sr", "Ba", "In", "Tl", "Eu"}


def test_there_are_enough():
    compounds = [f for f in library().substances if len(Composition(f).elements) > 1]
    assert len(compounds) >= 120 and len(CRYSTALS) >= 200 and len(library().molecules) >= 80


@pytest.mark.parametrize("start", range(0, len(CRYSTALS), 40))
def test_crystals(start):
    for formula, polymorph in CRYSTALS[start : start + 40]:
        crystal = library().crystal(formula, polymorph)
        atoms = crystal.atoms
        where = f"{formula} {polymorph}"
        assert Composition(str(atoms.symbols)).reduced_formula == Composition(formula).reduced_formula, where
        cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
        assert spglib.get_symmetry_dataset(cell, symprec=0.02).number == crystal.spacegroup, where
        first, second, length = neighbor_list("ijd", atoms, 4.0)
        if formula not in LOOSE:
            ratio = length / (covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]])
            assert 0.7 < ratio.min() < 1.35, f"{where}: {ratio.min():.2f}"
        assert crystal.source, where


@pytest.mark.parametrize(
    "formula, polymorph, density",
    [  # g/cm³, CRC Handbook of Chemistry and Physics
        ("NaCl", None, 2.17),
        ("MgO", None, 3.6),
        ("TiO2", "rutile", 4.23),
        ("TiO2", "anatase", 3.9),
        ("TiO2", "brookite", 4.14),
        ("SiO2", "alpha-quartz", 2.65),
        ("SiO2", "stishovite", 4.29),
        ("Al2O3", None, 3.99),
        ("Fe2O3", None, 5.25),
        ("ZrO2", "monoclinic", 5.81),
        ("CeO2", None, 7.22),
        ("GaAs", None, 5.32),
        ("GaN", None, 6.1),
        ("ZnO", None, 5.6),
        ("SrTiO3", None, 5.11),
        ("BaTiO3", None, 6.02),
        ("MoS2", None, 5.06),
        ("CaCO3", None, 2.71),
        ("CuO", None, 6.31),
        ("Cu2O", None, 6.0),
        ("Fe3O4", None, 5.17),
        ("FeS2", "pyrite", 5.02),
        ("WC", None, 15.6),
        ("V2O5", None, 3.35),
        ("Bi2Te3", None, 7.74),
        ("LiCoO2", None, 5.05),
        ("LiFePO4", None, 3.6),
        ("Si3N4", None, 3.17),
        ("Ga2O3", "beta", 5.95),
        ("C", "graphite", 2.26),
        ("Mn", None, 7.3),
        ("In", None, 7.31),
        ("Sn", "beta", 7.27),
        ("Bi", None, 9.79),
    ],
)
def test_densities(formula, polymorph, density):
    atoms = library().crystal(formula, polymorph).atoms
    assert atoms.get_masses().sum() / atoms.get_volume() * 1.66054 == pytest.approx(density, rel=0.04)


@pytest.mark.parametrize("key", list(library().molecules))
def test_molecules(key):
    entry = library().molecules[key]
    if "smiles" in entry:
        pytest.importorskip("rdkit", reason="needs RDKit")
    atoms = molecule.make(key, State())
    lengths = neighbor_list("d", atoms, 3.0) if len(atoms) > 1 else np.ones(1)
    assert 0.7 < lengths.min() < 2.1 and entry["binds"] in atoms.symbols
    for name in (*entry["en"], *entry["ja"]):
        assert molecule.identify(name) == key, name


@pytest.mark.parametrize("name", ["2H", "4H", "6H"])
def test_the_basal_face_of_silicon_carbide_is_of_silicon(name):
    """(0001) is the face of Si by convention: the C of the bond along c stands above its Si."""
    slab = execute(Recipe(steps=[Bulk(formula="SiC", polymorph=name), Slab(miller=(0, 0, 0, 1), layers=4)])).structure
    assert slab.symbols[int(np.argmax(slab.positions[:, 2]))] == "Si"
    assert slab.get_chemical_formula() == "C4Si4"
