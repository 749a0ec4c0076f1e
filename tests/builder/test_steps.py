"""What the executors make: planes and layers, polar surfaces, sites, particles, interfaces, liquids, holes."""

import numpy as np
import pytest
from ase.build import fcc111, hcp0001
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from checks import _components

from gnnpot.builder import Recipe, build, execute, explain, load_recipe
from gnnpot.builder.recipe import (
    Adsorb,
    Bulk,
    Film,
    Interface,
    Interstitial,
    Nanoparticle,
    RandomAlloy,
    Sheet,
    Slab,
    Solvent,
    Supercell,
    Vacancy,
)  # fmt: skip
from gnnpot.builder.steps.crystal import whole_counts
from gnnpot.errors import BuilderError


def made(*steps):
    return execute(Recipe(steps=list(steps)))


def pairs(atoms, cutoff=5.0):
    return np.sort(neighbor_list("d", atoms, cutoff)).round(3)


@pytest.mark.parametrize(
    "formula, miller, ours",
    [("Pt", (1, 1, 1), lambda: fcc111("Pt", (2, 2, 4), a=3.92, vacuum=7.5, periodic=True)),
     ("Ru", (0, 0, 0, 1), lambda: hcp0001("Ru", (2, 2, 4), vacuum=7.5, periodic=True))],
)  # fmt: skip
def test_slabs_are_those_of_ase(formula, miller, ours):
    slab = made(Bulk(formula=formula), Slab(miller=miller, layers=4, repeat=(2, 2), vacuum=15)).structure
    assert np.allclose(pairs(slab), pairs(ours()), atol=2e-3)


@pytest.mark.parametrize(
    "formula, polymorph, miller, cations_per_layer",
    [("TiO2", "rutile", (1, 1, 0), 2), ("TiO2", "anatase", (1, 0, 1), 2), ("CeO2", None, (1, 1, 1), 1),
     ("MgO", None, (0, 0, 1), 1),
     ("ZrO2", "monoclinic", (-1, 1, 1), 4), ("ZrO2", "tetragonal", (1, 0, 1), 2), ("Al2O3", None, (0, 0, 0, 1), 2)],
)  # fmt: skip
def test_stoichiometric_layers_without_dipole(formula, polymorph, miller, cations_per_layer):
    result = made(Bulk(formula=formula, polymorph=polymorph), Slab(miller=miller, layers=3))
    cations = sum(s != "O" for s in result.structure.symbols)
    assert cations == 3 * cations_per_layer and not result.warnings


@pytest.mark.parametrize(
    "formula, polymorph, miller",
    [("ZnO", None, (0, 0, 0, 1)), ("MgO", None, (1, 1, 1)), ("GaAs", None, (1, 0, 0)), ("CeO2", None, (1, 0, 0))],
)
def test_polar_surfaces_are_flagged(formula, polymorph, miller):
    assert [
        w.kind for w in made(Bulk(formula=formula, polymorph=polymorph), Slab(miller=miller, layers=4)).warnings
    ] == ["polar"]


def test_both_ends_of_a_polar_crystal():
    for miller, top in (((0, 0, 0, 1), "Zn"), ((0, 0, 0, -1), "O")):
        slab = made(Bulk(formula="ZnO"), Slab(miller=miller, layers=4)).structure
        assert slab.symbols[int(np.argmax(slab.positions[:, 2]))] == top


def test_every_plane_of_small_indices_has_its_spacing():
    a = 3.92
    for miller in [(1, 0, 0), (1, 1, 0), (2, 1, 0), (2, 1, 1), (2, 2, 1), (3, 1, 1), (3, 2, 1), (-1, 1, 3)]:
        slab = made(Bulk(formula="Pt"), Slab(miller=miller, layers=6)).structure
        heights = np.unique(slab.positions[:, 2].round(3))
        area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
        spacing = np.diff(heights).mean()
        assert area * spacing == pytest.approx(a**3 / 4, rel=1e-3), miller
        assert neighbor_list("d", slab, 3.0).min() == pytest.approx(a / 2**0.5, abs=1e-3)


def test_sites_of_a_close_packed_surface():
    distances = {}
    for site in ("top", "bridge", "fcc", "hcp"):
        slab = made(
            Bulk(formula="Cu"), Slab(miller=(1, 1, 1), layers=4, repeat=(3, 3)), Adsorb(species="O", site=site)
        ).structure
        metal = slab[slab.numbers == 29]
        vectors = find_mic(metal.positions - slab.positions[-1], slab.cell)[0]
        distances[site] = np.sort(np.linalg.norm(vectors, axis=1))[:4]
    assert np.sum(distances["top"] < 2.2) == 1 and np.sum(distances["bridge"] < 2.2) == 2
    assert np.sum(distances["fcc"] < 2.2) == 3 and np.sum(distances["hcp"] < 2.2) == 3


def test_adsorbates_keep_apart():
    result = made(
        Bulk(formula="Pt"),
        Slab(miller=(1, 1, 1), layers=3, repeat=(4, 4)),
        Adsorb(species="CO", site="top", coverage=0.25),
    )
    carbon = result.structure[result.structure.numbers == 6]
    nearest = neighbor_list("d", carbon, 12.0).min()
    assert len(carbon) == 4 and nearest == pytest.approx(2 * 3.92 / 2**0.5, abs=0.01)  # p(2x2)


@pytest.mark.parametrize(
    "shape, atoms", [("cuboctahedron", 147), ("icosahedron", 147), ("truncated octahedron", 201), ("octahedron", 146)]
)
def test_magic_numbers(shape, atoms):
    particle = made(Nanoparticle(composition={"Au": 1}, shape=shape, atoms=atoms)).structure
    assert len(particle) == atoms and neighbor_list("d", particle, 3.5).min() > 2.6


def test_interface_fits_and_strains_the_film():
    result = made(
        Interface(
            film=Film(formula="Al", miller=(1, 1, 1), layers=3),
            substrate=Film(formula="Al2O3", miller=(0, 0, 0, 1), layers=2),
            max_strain=0.04,
        )
    )
    atoms = result.structure
    assert 0 < atoms.info["strain"] <= 0.04
    oxide = atoms[[i for i, s in enumerate(atoms.symbols) if s == "O"]]
    assert neighbor_list("d", oxide, 4.0).min() == pytest.approx(2.53, abs=0.03)  # the substrate is not strained


def test_liquid_has_density_and_no_overlap():
    atoms = made(
        Solvent(molecules=[{"name": "H2O", "number": 100}, {"name": "CH3OH", "number": 10}], density=0.97)
    ).structure
    assert atoms.get_masses().sum() / atoms.get_volume() * 1.66054 == pytest.approx(0.97, rel=1e-3)
    groups = _components(atoms)
    assert len(groups) == 110
    label = np.zeros(len(atoms), int)
    for number, group in enumerate(groups):
        label[group] = number
    i, j, d = neighbor_list("ijd", atoms, 3.0)
    assert d[label[i] != label[j]].min() > 1.3


@pytest.mark.parametrize(
    "formula, site, neighbours, distance",
    [
        ("Cu", "octahedral", 6, 1.805),
        ("Cu", "tetrahedral", 4, 1.563),
        ("Fe", "octahedral", 2, 1.435),
        ("Fe", "tetrahedral", 4, 1.604),
        ("Mg", "octahedral", 6, 2.26),
        ("Si", "tetrahedral", 4, 2.351),
    ],
)
def test_holes(formula, site, neighbours, distance):
    atoms = made(Bulk(formula=formula), Supercell(repeat=(3, 3, 3)), Interstitial(element="H", site=site)).structure
    lengths = np.sort(atoms.get_distances(-1, range(len(atoms) - 1), mic=True))
    assert np.allclose(lengths[:neighbours], distance, atol=0.03) and lengths[neighbours] > distance + 0.1


def test_alloys_have_their_composition_and_seed():
    steps = [Bulk(formula="Pt"), Supercell(repeat=(3, 3, 3))]
    first, same, other = (
        made(*steps, RandomAlloy(composition={"Pt": 3, "Rh": 1}, seed=s)).structure for s in (1, 1, 2)
    )
    assert first.symbols.count("Rh") == 27 and first == same and (first.numbers != other.numbers).any()
    assert whole_counts({"A": 1, "B": 1, "C": 1}, 10) == {"A": 4, "B": 3, "C": 3}


def test_bilayers_are_stacked():
    above, below = (made(Sheet(formula="C", layers=2, stacking=s)).structure for s in ("AB", "AA"))
    assert len(above) == len(below) == 4 and not np.allclose(above.positions, below.positions)


def test_json_round_trip_and_words():
    recipe = build("Pt(111) 3x3, 4 layers, CO on top, bottom 2 layers fixed").recipe
    assert load_recipe(recipe.model_dump_json()) == recipe
    assert "(111)面のスラブ" in explain(recipe, "ja") and "Adsorb CO" in explain(recipe)


def test_edits_follow_on():
    result = build("Pt(111) slab, 4 layers, 2x2").edit("now 6 layers and 20 Å vacuum").edit("add O at the fcc site")
    assert [s.do for s in result.recipe.steps] == ["bulk", "slab", "adsorb"]
    assert result.structure.symbols.count("Pt") == 24 and result.recipe.steps[1].vacuum == 20
    assert build("MgO 2x2x2").edit("酸素を1個抜く").structure.symbols.count("O") == 31


def test_files_are_read_in_their_folder_only(tmp_path):
    build("bulk NaCl").structure.write(tmp_path / "salt.cif")
    recipe = Recipe(steps=[Bulk(file="salt.cif"), Vacancy(element="Na")])
    assert len(execute(recipe, folder=tmp_path).structure) == 7
    for name, message in (("../salt.cif", "only files"), ("none.cif", "no such file"), ("salt.py", "format")):
        with pytest.raises(BuilderError, match=message):
            execute(Recipe(steps=[Bulk(file=name)]), folder=tmp_path / "sub" if ".." in name else tmp_path)


def test_a_notebook_draws_the_result():
    page = build("bulk NaCl")._repr_html_()
    assert page.startswith("<iframe") and "3Dmol" in page and "http" not in page.split("srcdoc")[0]
