"""The sentences that were at hand when the grammar was written, and what must hold of the whole set."""

import numpy as np
import pytest
import spglib
from ase.formula import Formula
from ase.neighborlist import neighbor_list
from checks import built, failures, sentences

from gnnpot.builder import read
from gnnpot.errors import GnnpotError

#: a sentence that takes itself back ("Ni4Mo... no, just ..."), which the grammar does not read
NOT_READ = {"en-k23"}
KNOWN = sentences("known")


@pytest.mark.parametrize("entry", KNOWN, ids=lambda e: e["id"])
def test_known(entry):
    if entry["id"] in NOT_READ:
        with pytest.raises(GnnpotError, match="not understood"):
            built(entry["text"])
        return
    assert not failures(built(entry["text"]), entry["checks"])


def test_share_of_known_sentences():
    assert len(KNOWN) == 75 and 1 - len(NOT_READ) / len(KNOWN) >= 0.95


@pytest.mark.parametrize("text", ["Pt(111), 4 layers, CO on top", "ジルコニア(111)表面にPt3Rhのナノ粒子を担持"])
def test_the_same_text_gives_the_same_atoms(text):
    first, second = built(text).structure, built(text).structure
    assert first == second


def test_full_width_and_half_width_are_alike():
    plain = read("Pd(111)スラブ 4層 3x3 真空1.5nm 下2層固定").recipe
    wide = read("Pd（１１１）スラブ　４層　３×３　真空１．５ｎｍ　下２層固定").recipe
    assert plain == wide
    assert read("ｼﾘｺﾝ 2x2x2").recipe == read("シリコン 2x2x2").recipe


def test_what_is_not_understood_is_marked():
    text = "Pt(111) slab, 4 layers, with a flurble of CO"
    reading = read(text)
    assert reading.recipe is None and [text[s.start : s.end] for s in reading.spans] == ["flurble"]
    text = "Ｐｔ（１１１）表面にほげ分子を吸着"
    assert "".join(text[s.start : s.end] for s in read(text).spans) in ("ほげ", "ほ")


def test_a_misspelt_word_is_read_and_said():
    reading = read("Pt(111) slab, 15 Å vaccum")
    assert reading.recipe.steps[1].vacuum == 15
    assert any("vaccum" in note.text and "vacuum" in note.text for note in reading.notes)


def test_a_number_without_unit_is_said():
    reading = read("Pt(111), vacuum 12")
    assert reading.recipe.steps[1].vacuum == 12 and any(n.kind == "unit_angstrom" for n in reading.notes)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("LiFePO4, remove all Li", "FeO4P"),
        ("LiCoO2からLiをすべて抜く", "CoO2"),
        ("replace all O by S in ZnO 2x2x2", "SZn"),
        ("ZnOのOをすべてSに置換", "SZn"),
    ],
)
def test_all_means_all(text, formula):
    assert built(text).structure.get_chemical_formula(empirical=True) == formula


@pytest.mark.parametrize(
    "text", ["benzene molecule in a 15 Å box", "ベンゼン分子1個を15Åの箱に", "孤立分子のベンゼン、15Åの箱"]
)
def test_one_molecule_in_a_box_is_one(text):
    atoms = built(text).structure
    assert atoms.get_chemical_formula() == "C6H6" and atoms.cell.lengths() == pytest.approx([15, 15, 15])


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("GaAs with 5% In on Ga sites, 64 atoms", "As32Ga30In2"),
        ("Si 216 atoms with one vacancy", "Si215"),
        ("bcc Fe 128原子にCrを5個ドープ", "Cr5Fe123"),
        ("MgOとNiOの固溶体 75:25 2x2x2", "Mg24Ni8O32"),
        ("solid solution of MgO and CaO, 64 atoms", "Ca16Mg16O32"),
    ],
)
def test_crystals_of_a_number_of_atoms_and_solid_solutions(text, formula):
    assert built(text).structure.get_chemical_formula() == formula


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("Fe-10at%Cr", "Cr5Fe49"),
        ("HfO2にAl 3%ドープ", "AlHf31O64"),
        ("rutile TiO2 with 3% O vacancies", "O31Ti16"),
        ("LiCoO2からLiを半分抜く", "Co6Li3O12"),
    ],
)
def test_a_fraction_makes_the_cell_that_it_needs(text, formula):
    result = built(text)
    assert result.structure.get_chemical_formula() == formula
    assert any(note.kind == "cells_for_fraction" for note in result.notes)


def test_words_that_are_two_things():
    """co is carbon monoxide on a surface and cobalt else; fullerene is no crystal of diamond."""
    assert "CO" in built("pt(111) 3x3x4 co fcc").structure.get_chemical_formula()
    assert set(built("co(0001) 4 layers").structure.get_chemical_symbols()) == {"Co"}
    with pytest.raises(GnnpotError, match="no crystal of C60"):
        built("fullerene crystal")


@pytest.mark.parametrize("text", ["Pt(111)上に水3層", "Au(111)電極と水の界面", "interface of Cu(100) and water"])
def test_liquids_on_surfaces(text):
    result = built(text)
    assert [step.do for step in result.recipe.steps] == ["bulk", "slab", "solvent"]
    assert result.structure.get_chemical_symbols().count("O") > 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Si with 3 % uniaxial strain along [110]", "[110]"),
        ("シリコンを[110]方向に1%圧縮", "[110]"),
        ("Si 2x2x2 with no vacancies", "no"),
        ("Si 3x3x3 空孔なし", "なし"),
        ("1T' MoS2 monolayer", "1T'"),
        ("Cu(110) 2x3 slab, O on the long bridge site", "long bridge"),
        ("multi-walled carbon nanotube (6,6)", "multi-walled"),
        ("two Pt nanoparticles of 1 nm on MgO(100)", "two"),
        ("2個のPt13クラスターをCeO2(111)に担持", "2個"),
        ("Cu(111) slab 4x4 with an adatom", "adatom"),
        ("Ni(111) p(2x2), bottom 2 layers relaxed", "2 layers"),
        ("Pt(111)3x3、下2層を緩和", "2層"),
        ("full coverage of H on Pd(111) 2x2", "coverage"),
        ("Pd(111) 3x3 slab, half of the surface covered by O", "half"),
        ("Pt(111) 4 layers with 20 Å total cell height", "20 Å"),
        ("two CO 4 Å apart on Pt(111) 4x4", "4 Å"),
        ("w-BN", "w-BN"),
    ],
)
def test_what_changes_the_structure_is_not_read_over(text, words):
    reading = read(text)
    assert reading.recipe is None and words in [span.text for span in reading.spans]


@pytest.mark.parametrize(
    ("text", "strain"),
    [
        ("bcc iron with 2% compressive strain along [001]", (1, 1, 0.98)),
        ("Ge under 1% tensile strain along [100]", (1.01, 1, 1)),
        ("GaNを[0001]方向に2%引っ張る", (1, 1, 1.02)),
    ],
)
def test_strain_along_a_direction(text, strain):
    result = built(text)
    unit = built(result.recipe.steps[0].formula).structure
    assert result.structure.cell.lengths() / unit.cell.lengths() == pytest.approx(strain)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("1T-MoS2 monolayer", 164),
        ("1T構造のMoS2単層", 164),
        ("2H-MoS2 monolayer", 187),
        ("2H-TiS2 monolayer", 187),
        ("MoS2 monolayer", 187),
    ],
)
def test_phase_of_a_dichalcogenide_sheet(text, group):
    atoms = built(text).structure
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert spglib.get_symmetry_dataset(cell, symprec=1e-3).number == group


def test_zigzag_and_armchair_tubes():
    assert built("zigzag carbon nanotube").recipe.steps[0].m == 0
    with pytest.raises(GnnpotError, match="chirality twice"):
        built("zigzag nanotube (6,6)")


@pytest.mark.parametrize("text", ["Cu 3x3x3 with two vacancies next to each other", "Cu 3x3x3に隣接する空孔を2個"])
def test_vacancies_next_to_each_other(text):
    # an atom between two vacancies that are neighbours has two neighbours fewer, as four atoms of fcc do
    missing = 12 - np.bincount(neighbor_list("i", built(text).structure, 2.7))
    assert sorted(missing)[-5:] == [1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("text", "site"),
    [("Cu(111) 3x3 with a Cu adatom at hcp", "hcp"), ("Cu(111)3x3にCu吸着原子をfccサイトに", "fcc")],
)
def test_an_adatom_of_the_surface_s_own_element(text, site):
    result = built(text)
    assert result.recipe.steps[0].polymorph is None and result.recipe.steps[2].site == site
    assert (result.structure.get_tags() == 0).sum() == 1


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("H2O on Ti5c of rutile TiO2(110) 2x1", "H2O25Ti12"),
        ("Mg-substituted Al 3x3x3", "Al107Mg"),
        ("MoS2/WSe2 heterobilayer", "MoS2Se2W"),
        ("a pair of Na atoms on graphene 4x4", "C32Na2"),
        ("Al32", "Al32"),
    ],
)
def test_atoms_of_a_sentence(text, formula):
    assert built(text).structure.get_chemical_formula() == formula


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("H2O on rutile TiO2(110) 2x1, Ti5c, flat", "H2O25Ti12"),
        ("Li on graphene 4x4", "C32Li"),
        ("coadsorbed CO and O on Rh(111), 3x3, 4 layers", "COORh36"),
        ("グラフェン上のLi 4x4", "C32Li"),
        ("C64", "C64"),
        ("Pt147原子の立方八面体クラスター", "Pt147"),
        ("Si216原子に空孔1個", "Si215"),
        ("一辺15Åの箱に水分子を100個", "H200O100"),
        ("GaN 4x4x2 with 1 Mg on a Ga site and 1 N vacancy", "Ga63MgN63"),
        ("Pt(111) 2x2, 4 layers, with CO and O at 0.25 ML each", "COOPt16"),
    ],
)
def test_each_part_of_a_sentence_has_its_role(text, formula):
    counts = built(text).structure.symbols.formula.count()
    assert counts == Formula(formula).count()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("two H atoms on Pd(111) 2x2, one fcc and one hcp", "site twice: fcc and hcp"),
        ("two CO on Pt(111) 3x3, one on top and one bridge", "site twice"),
        ("brass with 30% Zn 4x4x4", "which element Zn replaces"),
        ("黄銅（Zn30%）の4×4×4", "Znで置換する元素"),
        ("一辺2nmの立方体のPtナノ粒子", "一辺"),
        ("monolayer MoS2 on bilayer graphene", "twice: 1 and 2"),
    ],
)
def test_one_value_for_two_things_is_refused(text, message):
    with pytest.raises(GnnpotError, match=message):
        built(text)


@pytest.mark.parametrize("text", ["CO on top of Pt(111) at bridge sites", "O in fcc hollow sites of Pt(111) 2x2"])
def test_on_top_of_the_surface_is_no_site(text):
    assert built(text).recipe.steps[2].site in ("bridge", "fcc")


@pytest.mark.parametrize(
    ("text", "film", "substrate"),
    [
        ("graphene on h-BN monolayer", ("C", None), ("BN", 1)),
        ("h-BN単層の上にグラフェン", ("C", None), ("BN", 1)),
        ("graphene on MoS2 monolayer", ("C", None), ("MoS2", 1)),
        ("graphene monolayer on Cu(111)", ("C", 1), ("Cu", None)),
        ("graphene on Cu", ("C", None), ("Cu", None)),
        ("WS2とMoS2の二層ヘテロ", ("MoS2", 1), ("WS2", 1)),
        ("MgO(001)上にFe(001)を5層", ("Fe", 5), ("MgO", None)),
        ("Fe(001) 5 layers on MgO(001)", ("Fe", 5), ("MgO", None)),
        ("5 layers of Fe(001) on MgO(001)", ("Fe", 5), ("MgO", None)),
    ],
)
def test_sides_of_an_interface_and_their_layers(text, film, substrate):
    step = built(text).recipe.steps[0]
    assert (step.film.formula, step.film.layers) == film
    assert (step.substrate.formula, step.substrate.layers) == substrate


@pytest.mark.parametrize("text", ["equiatomic CrMnFeCoNi, random, 108 atoms", "等モルのCrMnFeCoNi、108原子"])
def test_equal_parts_of_five_elements(text):
    counts = built(text).structure.symbols.formula.count()
    assert sum(counts.values()) == 108 and set(counts.values()) == {21, 22}


def test_layers_of_a_shell_and_of_water():
    particle = built("Cu@Pt core-shell nanoparticle of 147 atoms with 2 shell layers").recipe.steps[0]
    assert (particle.atoms, particle.shell_layers) == (147, 2)
    steps = built("Pt(111) with 3 water layers").recipe.steps
    assert steps[-1].do == "solvent" and steps[-1].thickness == pytest.approx(9.3)


@pytest.mark.parametrize(
    ("text", "top"), [("4H-SiC (0001) Si face", "Si"), ("4H-SiC (000-1) C-face", "C"), ("6H-SiC(0001)Si面 4層", "Si")]
)
def test_a_face_is_a_termination(text, top):
    atoms = built(text).structure
    assert atoms.symbols[int(np.argmax(atoms.positions[:, 2]))] == top and 0 not in atoms.get_tags()


def test_a_cluster_s_formula_alone_is_no_crystal():
    with pytest.raises(GnnpotError, match="number of atoms twice: 4 and 79"):
        built("Pt79")


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("Al(111) 4x4, 5 layers, vacancy in the middle layer", [16, 16, 15, 16, 16]),
        ("Al(111) 4x4, 5 layers, 2 vacancies in the top layer", [14, 16, 16, 16, 16]),
        ("Al(111) 4x4 5層 最表面層に空孔2個", [14, 16, 16, 16, 16]),
        ("Cu(111) 4x4, 5 layers, one Pt atom substituted in the middle layer", [16, 16, 15, 16, 16]),
    ],
)
def test_the_layer_of_a_defect(text, layers):
    atoms = built(text).structure
    host = atoms[[symbol in ("Al", "Cu") for symbol in atoms.symbols]]
    assert [int((host.get_tags() == tag).sum()) for tag in range(1, 6)] == layers


def test_the_height_of_the_vacuum():
    assert built("Cu(111) 4 layers, height of the vacuum 15 Å").recipe.steps[1].vacuum == 15


@pytest.mark.parametrize("text", ["Ni(111) 2x2x4 with 15 Å vacuum above and below", "Ni(111) 2x2 4層 真空15Åを上下に"])
def test_vacuum_on_each_side(text):
    assert built(text).recipe.steps[1].vacuum == 30


@pytest.mark.parametrize(
    "text, formula",
    [("C60 fullerene", "C60"), ("Li0.5CoO2", "Co6Li3O12"), ("Fe0.95O", "Fe103O108"), ("liquid sodium", "Na64"),
     ("liquid Al, 40 atoms", "Al40"), ("リチウムイオン電池の正極LiCoO2", "Co3Li3O6"), ("グラフェン5×5に単空孔", "C49"),
     ("二酸化炭素分子を一辺15Åの箱に", "CO2"), ("水分子30個を一辺10Åの箱に", "H60O30"),
     ("Au55 icosahedron in a 30 Å box", "Au55"), ("鉄の体心立方格子 2×2×2 炭素1原子を八面体サイトに侵入", "CFe16"),
     ("Pt3Ni(111) 1x1 4 layers, top layer is Pt", "Ni3Pt13"), ("Pt3Ni(111)面の4層スラブ、最表面はPtのみ", "Ni3Pt13")],
)  # fmt: skip
def test_the_formula_that_the_sentence_says(text, formula):
    assert built(text).structure.get_chemical_formula() == formula


@pytest.mark.parametrize(
    "text, message",
    [("C60 crystal 2x2x2", "no crystal of C60"), ("NaCoO2", "no crystal of NaCoO2"), ("ポリエチレン", "ポリエチレン"),
     ("GaN n-plane", "n-plane"),
     ("メタノール水溶液", "各分子の数"), ("aqueous methanol", "how many molecules"),
     ("liquid NaCl", "how many molecules"),
     ("liquid iron, 50 atoms", "no density of liquid Fe"), ("m-plane rutile", "hexagonal crystals"),
     ("a-plane GaN (0001)", "not understood: 'a-plane'"), ("bilayer graphene AA' stacking", "stacking AA'")],
)  # fmt: skip
def test_what_would_be_something_else_is_refused(text, message):
    with pytest.raises(GnnpotError, match=message):
        built(text)


@pytest.mark.parametrize(
    "text, plane",
    [("a-plane sapphire", (1, 1, -2, 0)), ("c面サファイア", (0, 0, 0, 1)), ("GaN m-plane (1-100)", (1, -1, 0, 0))],
)
def test_planes_by_letter(text, plane):
    assert read(text).recipe.steps[1].miller == plane


@pytest.mark.parametrize("text", ["NiO(111) O-polar", "SrTiO3(001)面、最表面はTiO2"])
def test_a_polar_face_or_outermost_layer_is_a_termination(text):
    assert [step.do for step in read(text).recipe.steps] == ["bulk", "slab"]
    assert read(text).recipe.steps[1].termination in ("O", "TiO2")


def test_a_prefix_of_a_word_that_is_no_substance_is_a_slip():
    assert len(read("Coadsorption on Rh(111), 3x3 - CO on top and one O atom in an fcc hollow").recipe.steps) == 4


def test_a_molecule_in_the_vacancy_is_there():
    result = built("Ni(111) 3x3x4, remove one surface atom, CO in the vacancy")
    assert result.recipe.steps[-1].near == "vacancy"


def test_layers_of_a_heterostructure_are_not_bound():
    atoms = built("MoS2/WSe2 heterostructure").structure
    heights = atoms.positions[:, 2]
    below, above = heights[np.isin(atoms.numbers, (74, 34))], heights[np.isin(atoms.numbers, (42, 16))]
    assert np.isclose(above.min() - below.max(), 3.3)


def test_boron_is_above_nitrogen():
    atoms = built("h-BN bilayer AA' stacking").structure
    lower, upper = atoms[:2], atoms[2:]
    assert np.allclose(lower.positions[:, :2], upper.positions[:, :2]) and (lower.numbers != upper.numbers).all()
