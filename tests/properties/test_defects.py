"""Vacancies, interstitial atoms, surfaces, adsorption: against counted bonds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from gnnpot.errors import ConfigError, DataError
from gnnpot.properties import adsorption, interstitial, surface, vacancy
from gnnpot.properties.adsorption import AdsorptionConfig
from gnnpot.properties.interstitial import InterstitialConfig
from gnnpot.properties.surface import JOULE_PER_SQUARE_METRE, SurfaceConfig
from gnnpot.properties.vacancy import VacancyConfig
from tests.properties.pair_potential import DEPTH, DISTANCE, fcc, first_neighbours


def test_a_vacancy_of_a_pair_potential_costs_the_cohesive_energy(tmp_path):
    result = vacancy.calc(fcc(), first_neighbours(), VacancyConfig(supercell=(3, 3, 3), relax=False))
    (site,) = result.sites
    # 12 bonds are cut, 6 are made where the atom goes
    assert site.energy == pytest.approx(6 * DEPTH, abs=1e-9) and site.multiplicity == 1 and result.atoms == 27
    relaxed = vacancy.calc(fcc(), EMT(), VacancyConfig(supercell=(3, 3, 3)))
    assert 0 < relaxed.sites[0].energy < relaxed.sites[0].unrelaxed_energy
    relaxed.plot(tmp_path / "vacancy.png")
    # the twelve neighbours of fcc move in
    nearest = relaxed.sites[0].shells[0]
    assert nearest.count == 12 and nearest.outward < 0 and abs(nearest.outward) <= relaxed.sites[0].displacement + 1e-9
    assert relaxed.to_json()["formation_energy_eV"] == relaxed.sites[0].energy


def test_vacancies_of_a_compound_need_chemical_potentials():
    ordered = bulk("Cu", a=3.9, cubic=True)
    ordered.symbols[0] = "Au"
    with pytest.raises(ConfigError, match="that of Au is missing"):
        vacancy.calc(ordered, EMT())
    result = vacancy.calc(
        ordered,
        EMT(),
        VacancyConfig(chemical_potentials={"Au": 0.0}, references={"Cu": bulk("Cu")}, supercell=(2, 2, 2), relax=False),
    )
    assert {(s.element, s.multiplicity) for s in result.sites} == {("Au", 1), ("Cu", 3)}
    assert result.chemical_potentials["Cu"] == pytest.approx(-0.007, abs=2e-3)
    with pytest.raises(ConfigError, match="has no Zn"):
        vacancy.calc(ordered, EMT(), VacancyConfig(element="Zn"))


def test_voids_of_fcc_are_the_octahedral_and_the_tetrahedral_ones():
    places = interstitial.voids(fcc())
    side = DISTANCE * 2**0.5
    assert [multiplicity for _, _, multiplicity in places] == [1, 2]
    assert [radius for _, radius, _ in places] == pytest.approx([side / 2, side * 3**0.5 / 4], abs=1e-6)


def test_voids_do_not_depend_on_the_choice_of_cell():
    silicon = bulk("Si")
    expected = [(radius, multiplicity) for _, radius, multiplicity in interstitial.voids(silicon)]
    skewed = silicon.copy()
    skewed.set_cell(np.array([[1, 0, 0], [3, 1, 0], [4, -3, 1]]) @ silicon.cell.array)
    far = silicon.copy()
    far.positions[1] += 3 * silicon.cell[0]
    for other in (skewed, far):
        found = interstitial.voids(other)
        assert [multiplicity for _, _, multiplicity in found] == [multiplicity for _, multiplicity in expected]
        assert [radius for _, radius, _ in found] == pytest.approx([radius for radius, _ in expected], abs=1e-6)
        for place, radius, _ in found:
            distances = silicon.copy() + Atoms("H", [place @ other.cell.array])
            assert distances.get_distances(2, [0, 1], mic=True).min() == pytest.approx(radius, abs=1e-6)


def test_an_interstitial_atom_that_nothing_holds_costs_its_chemical_potential():
    far = bulk("Cu", a=9.0)
    result = interstitial.calc(
        far,
        first_neighbours(),
        InterstitialConfig(element="Cu", chemical_potentials={"Cu": -1.25}, supercell=(1, 1, 1), relax=False),
    )
    assert result.sites[0].energy == pytest.approx(1.25, abs=1e-9)
    with pytest.raises(ConfigError, match="that of H is missing"):
        interstitial.calc(far, EMT(), InterstitialConfig(element="H"))


@pytest.fixture(scope="module")
def faces():
    return surface.calc(fcc(), first_neighbours(), SurfaceConfig(thickness=8.0, vacuum=8.0, relax=False))


def test_surface_energies_are_the_broken_bonds(faces, tmp_path):
    # of an atom of the face: 3 bonds are cut in (111), 4 in (100), 6 (of two layers) in (110); each is shared by 2
    a = DISTANCE * 2**0.5
    areas = {(1, 1, 1): 3**0.5 / 4 * a * a, (1, 0, 0): a * a / 2, (1, 1, 0): a * a / 2**0.5}
    bonds = {(1, 1, 1): 3, (1, 0, 0): 4, (1, 1, 0): 6}
    assert {s.miller for s in faces.surfaces} == set(bonds) and not faces.skipped
    for s in faces.surfaces:
        expected = bonds[s.miller] * DEPTH / 2 / areas[s.miller] * JOULE_PER_SQUARE_METRE
        assert s.energy == pytest.approx(expected, rel=1e-6)
    # the shape is the regular truncated octahedron: 6 squares and 8 hexagons of one edge
    assert faces.area_fractions[1, 0, 0] == pytest.approx(6 / (6 + 12 * 3**0.5), abs=1e-6)
    assert faces.area_fractions[1, 1, 0] == pytest.approx(0, abs=1e-6)
    faces.plot(tmp_path / "surface.png")
    assert (tmp_path / "surface.png").stat().st_size > 10_000
    assert faces.to_json()["surfaces"][0]["miller"] == [1, 1, 1]


def test_slabs_with_different_faces_have_no_energy():
    # zincblende's (111) has one element on each side
    zincblende = bulk("CuAu", "zincblende", a=5.0)
    result = surface.calc(zincblende, EMT(), SurfaceConfig(thickness=8.0, vacuum=8.0, relax=False))
    assert {s.miller for s in result.surfaces} == {(1, 1, 0)}
    assert ((1, 1, 1), "its faces are different") in result.skipped


def test_an_adsorbed_atom_has_the_bonds_of_its_site(tmp_path):
    slab = fcc111("Cu", (2, 2, 3), a=DISTANCE * 2**0.5, vacuum=8.0)
    result = adsorption.calc(slab, first_neighbours(), AdsorptionConfig(molecule="Cu", distance=2.1, fmax=1e-3))
    # the two hollows, of fcc and of hcp, hold it by 3 bonds of full depth
    assert result.sites[0].kind == "hollow"
    assert [s.energy for s in result.sites[:2]] == pytest.approx([-3 * DEPTH] * 2, abs=2e-3)
    assert result.sites[0].height == pytest.approx(DISTANCE * (2 / 3) ** 0.5, abs=0.01)
    assert result.molecule_energy == 0
    top = next(s for s in result.sites if s.kind == "ontop")
    assert top.energy == pytest.approx(-DEPTH, abs=0.02) or top.shift > 0.5
    result.plot(tmp_path / "adsorption.png")
    result.save_structures(tmp_path / "sites.extxyz")
    assert result.to_json()["adsorption_energy_eV"] == result.sites[0].energy


def test_a_molecule_stands_on_a_slab_of_any_orientation():
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    config = AdsorptionConfig(molecule="CO", binding_atom=1, relax=False)
    expected = [(s.kind, s.energy) for s in adsorption.calc(slab, EMT(), config).sites]
    slab.rotate(90, "y", rotate_cell=True)
    found = adsorption.calc(slab, EMT(), config).sites
    assert [s.kind for s in found] == [kind for kind, _ in expected]
    assert [s.energy for s in found] == pytest.approx([energy for _, energy in expected], abs=1e-6)


def test_bad_input():
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    with pytest.raises(ValueError, match="either molecule"):
        AdsorptionConfig()
    with pytest.raises(ConfigError, match="has no 'Xx9'"):
        adsorption.calc(slab, EMT(), AdsorptionConfig(molecule="Xx9"))
    with pytest.raises(DataError, match="no slab"):
        adsorption.calc(Atoms("Cu2", np.eye(3)[:2] * 3), EMT(), AdsorptionConfig(molecule="CO"))
    with pytest.raises(ValueError, match="max_index: 0 is not a whole number from 1 on"):
        SurfaceConfig(max_index=0)
