"""What a sentence leaves open is chosen as a reader expects, and a note says how; each rule in both languages."""

import numpy as np
import pytest
from ase.formula import Formula
from checks import built

from gnnpot.builder import read
from gnnpot.errors import GnnpotError


def notes(text: str, kind: str) -> str:
    """The texts of the notes of a kind, in one."""
    return " ".join(note.text for note in built(text).notes if note.kind == kind)


def lengths(text: str, of: str) -> np.ndarray:
    """The lengths of the cell, divided by those of the cell of another sentence."""
    return built(text).structure.cell.lengths() / built(of).structure.cell.lengths()


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("Si with its volume reduced by 3 %", 0.97),
        ("reduce the volume of Si by 3 %", 0.97),
        ("Si with 4 % volumetric strain", 1.04),
        ("Si at 5 % larger volume", 1.05),
        ("Si, volume strain of -5 %", 0.95),
        ("Siの体積を2%膨張", 1.02),
        ("体積を3%縮めたSi", 0.97),
        ("体積が5%大きいSi", 1.05),
        ("体積歪み-5%のSi", 0.95),
    ],
)
def test_a_change_of_the_volume_is_none_of_the_lengths(text, change):
    assert lengths(text, "Si") == pytest.approx([change ** (1 / 3)] * 3)
    assert f"{100 * (change - 1):+.0f}" in notes(text, "volume")


@pytest.mark.parametrize(
    ("text", "ratios", "said"),
    [
        ("compress Si by 3 %", (0.97, 0.97, 0.97), "volume -8.73 %"),
        ("2% compressed Si", (0.98, 0.98, 0.98), "volume -5.88 %"),
        ("Si with 2 % hydrostatic strain", (1.02, 1.02, 1.02), "volume +6.12 %"),
        ("Si with 2 % uniaxial tension", (1, 1, 1.02), "c +2 %"),
        ("Si with compressive strain of -2 %", (0.98, 0.98, 0.98), "a -2 %"),
        ("Si with a 2 % smaller lattice constant", (0.98, 0.98, 0.98), "a -2 %"),
        ("Siを3%圧縮", (0.97, 0.97, 0.97), "体積-8.73 %"),
        ("2%圧縮したSi", (0.98, 0.98, 0.98), "体積-5.88 %"),
        ("Siに2%の静水圧歪み", (1.02, 1.02, 1.02), "体積+6.12 %"),
        ("Siに2%の一軸引張", (1, 1, 1.02), "c +2 %"),
        ("Siに歪み-2%", (0.98, 0.98, 0.98), "a -2 %"),
        ("格子定数が2%小さいSi", (0.98, 0.98, 0.98), "a -2 %"),
    ],
)
def test_strain_without_axes_is_that_of_the_lengths(text, ratios, said):
    assert lengths(text, "Si") == pytest.approx(ratios)
    assert said in notes(text, "strain_axes")


@pytest.mark.parametrize("text", ["graphene stretched by 3 %", "グラフェンを3%引っ張る"])
def test_strain_of_a_sheet_without_axes_is_in_its_plane(text):
    assert lengths(text, "graphene") == pytest.approx([1.03, 1.03, 1])
    assert "+6.09 %" in notes(text, "strain_plane")


@pytest.mark.parametrize("text", ["Si with 2 % strain along c", "Siをc軸方向に2%引っ張る"])
def test_named_axes_need_no_note(text):
    assert lengths(text, "Si") == pytest.approx([1, 1, 1.02]) and not notes(text, "strain_axes")


@pytest.mark.parametrize(
    "text",
    ["MgO, volume expanded to 103 %", "MgOの体積を103%に膨張", "expand the volume of MgO by 6 % along c",
     "MgOの体積をc軸方向に6%膨張"],
)  # fmt: skip
def test_a_volume_that_is_no_change_or_has_axes_is_refused(text):
    assert any(span.text.startswith(("volume", "体積")) for span in read(text).spans)


@pytest.mark.parametrize(
    "text",
    ["Ag(100) film on MgO(100), at most 4 % strain", "MgO(100)上にAg(100)膜、歪み4%以下"],
)
def test_the_largest_strain_of_a_film_is_no_strain(text):
    steps = read(text).recipe.steps
    assert [step.do for step in steps] == ["interface"] and steps[0].max_strain == 0.04


@pytest.mark.parametrize(
    ("text", "formula", "kind"),
    [
        ("Cu:Ni = 70:30 random alloy 4x4x4", {"Cu": 179, "Ni": 77}, "ratio_of_atoms"),
        ("Cu-Ni alloy 70:30 by weight, 4x4x4", {"Cu": 175, "Ni": 81}, "ratio_of_weight"),
        ("Cu-30wt%Ni alloy 4x4x4", {"Cu": 175, "Ni": 81}, "ratio_of_weight"),
        ("Cu-Ni alloy 4x4x4", {"Cu": 128, "Ni": 128}, "alloy_equal"),
        ("Pt:Rh = 1:1 by mass nanoparticle of 55 atoms", {"Pt": 19, "Rh": 36}, "ratio_of_weight"),
        ("Cu:Ni=70:30のランダム合金 4x4x4", {"Cu": 179, "Ni": 77}, "ratio_of_atoms"),
        ("重量比70:30のCu-Ni合金 4x4x4", {"Cu": 175, "Ni": 81}, "ratio_of_weight"),
        ("Cu-30重量%Ni合金 4x4x4", {"Cu": 175, "Ni": 81}, "ratio_of_weight"),
        ("銅ニッケル合金 4x4x4", {"Cu": 128, "Ni": 128}, "alloy_equal"),
        ("Pt:Rh=1:1（重量比）の55原子のナノ粒子", {"Pt": 19, "Rh": 36}, "ratio_of_weight"),
    ],
)
def test_ratios_of_atoms_and_of_weight(text, formula, kind):
    assert built(text).structure.symbols.formula.count() == formula
    assert notes(text, kind)


@pytest.mark.parametrize("text", ["Cu-30at%Ni alloy", "Cu:Ni=70:30（原子比）のランダム合金", "equiatomic CuNi alloy"])
def test_a_ratio_that_names_atoms_needs_no_note(text):
    assert not notes(text, "ratio_of_atoms")


@pytest.mark.parametrize("text", ["O on a Cu-Ni alloy (111) surface 3x3", "Cu-Ni合金(111)面 3x3にOを吸着"])
def test_an_adsorbate_on_an_alloy_is_there(text):
    assert built(text).structure.symbols.formula.count() == {"Cu": 27, "Ni": 27, "O": 1}


@pytest.mark.parametrize("text", ["Cu 3x3x3 alloyed with 25 % Ni", "Cu 3x3x3に25%のNiを固溶させた構造"])
def test_what_a_crystal_is_alloyed_with_is_the_guest(text):
    assert built(text).structure.symbols.formula.count() == {"Cu": 81, "Ni": 27}


@pytest.mark.parametrize(
    ("text", "formula", "said"),
    [
        ("iron oxide", "Fe2O3", "FeO, Fe3O4"),
        ("copper oxide", "CuO", "Cu2O"),
        ("quartz", "SiO2", "beta-quartz"),
        ("酸化鉄", "Fe2O3", "FeO, Fe3O4"),
        ("酸化銅", "CuO", "Cu2O"),
        ("クリストバライト", "SiO2", "alpha-cristobalite"),
        ("alpha-quartz", "SiO2", ""),
        ("iron oxide (magnetite)", "Fe3O4", ""),
        ("copper oxide Cu2O", "Cu2O", ""),
        ("酸化鉄（マグネタイト）", "Fe3O4", ""),
        ("titanium(IV) oxide", "TiO2", ""),
        ("titanium(III) oxide", "Ti2O3", ""),
        ("iron(II) oxide", "FeO", ""),
        ("酸化チタン(IV)", "TiO2", ""),
        ("酸化チタン(III)", "Ti2O3", ""),
        ("酸化銅(I)", "Cu2O", ""),
    ],
)
def test_names_of_several_compounds(text, formula, said):
    assert built(text).structure.symbols.formula.reduce()[0] == Formula(formula).reduce()[0]
    assert said in notes(text, "compound_chosen") and bool(said) == bool(notes(text, "compound_chosen"))


@pytest.mark.parametrize("text", ["Si(111) 7x7, 2 layers", "Au(110)-(1×2)", "Si(001)-2×1表面", "Pt(110) 1x2スラブ"])
def test_a_cell_that_names_a_reconstruction_is_said_not_to_be_one(text):
    assert notes(text, "reconstruction")


@pytest.mark.parametrize("text", ["Cu(111) 7x7, 2 layers", "Si(111) 3x3", "GaAs(001) 2x1", "Cu(111) 7x7 2層"])
def test_other_cells_are_no_reconstructions(text):
    assert not notes(text, "reconstruction")


@pytest.mark.parametrize(
    ("text", "counts", "edge"),
    [
        ("water in a 15 Å box", {"H": 224, "O": 112}, 15),
        ("100 Ar atoms in a 20 Å box", {"Ar": 100}, 20),
        ("64 H2O with 2 Na+ and 2 Cl-", {"H": 128, "O": 64, "Na": 2, "Cl": 2}, None),
        ("64 H2O, 1 Ca2+ and 2 Cl-", {"H": 128, "O": 64, "Ca": 1, "Cl": 2}, None),
        ("KCl solution with 100 water molecules, 2 KCl", {"H": 200, "O": 100, "K": 2, "Cl": 2}, None),
        ("brine with 100 water molecules and 5 NaCl", {"H": 200, "O": 100, "Na": 5, "Cl": 5}, None),
        ("一辺15Åの箱に水", {"H": 224, "O": 112}, 15),
        ("20Åの箱にAr原子100個", {"Ar": 100}, 20),
        ("H2O 64個、Na+ 2個、Cl- 2個", {"H": 128, "O": 64, "Na": 2, "Cl": 2}, None),
        ("水分子100個にCa²⁺を1個", {"H": 200, "O": 100, "Ca": 1}, None),
        ("NaCl水溶液、水100分子、NaCl 5個", {"H": 200, "O": 100, "Na": 5, "Cl": 5}, None),
        ("食塩水、水100分子、NaCl 5個", {"H": 200, "O": 100, "Na": 5, "Cl": 5}, None),
        ("水100分子にCaCl2を2個溶かす", {"H": 200, "O": 100, "Ca": 2, "Cl": 4}, None),
    ],
)
def test_molecules_and_ions_of_a_box(text, counts, edge):
    atoms = built(text).structure
    assert atoms.symbols.formula.count() == counts and atoms.pbc.all()
    if edge is None:
        assert f"{atoms.cell.lengths()[0]:.2f}" in notes(text, "box")
    else:
        assert atoms.cell.lengths() == pytest.approx([edge] * 3)
    assert bool(notes(text, "filled")) == ("Ar" not in counts and edge is not None)


@pytest.mark.parametrize("text", ["Ca2+ doped ZrO2 2x2x2", "ZrO2 2x2x2にCa2+をドープ"])
def test_a_charge_is_no_number(text):
    assert built(text).structure.symbols.formula.count() == {"Zr": 31, "Ca": 1, "O": 64}


@pytest.mark.parametrize(
    ("text", "counts", "phase"),
    [
        ("8YSZ", {"Zr": 92, "Y": 16, "O": 208}, "cubic"),
        ("8 mol% YSZ", {"Zr": 92, "Y": 16, "O": 208}, "cubic"),
        ("yttria-stabilised zirconia with 8 mol% Y2O3, 2x2x2", {"Zr": 28, "Y": 4, "O": 62}, "cubic"),
        ("zirconia with 8 mol% yttria", {"Zr": 92, "Y": 16, "O": 208}, "cubic"),
        ("tetragonal 3YSZ 4x4x2", {"Zr": 60, "Y": 4, "O": 126}, "tetragonal"),
        ("YSZ(111) slab 8 mol%, 3x3, 3 layers", {"Zr": 23, "Y": 4, "O": 52}, "cubic"),
        ("8 mol%イットリア安定化ジルコニア", {"Zr": 92, "Y": 16, "O": 208}, "cubic"),
        ("Y2O3を8 mol%含むYSZ、2x2x2", {"Zr": 28, "Y": 4, "O": 62}, "cubic"),
        ("イットリアを8 mol%添加したジルコニア", {"Zr": 92, "Y": 16, "O": 208}, "cubic"),
        ("正方晶3YSZ 4x4x2", {"Zr": 60, "Y": 4, "O": 126}, "tetragonal"),
        ("8YSZ(111)表面 3x3 3層", {"Zr": 23, "Y": 4, "O": 52}, "cubic"),
    ],
)
def test_yttria_stabilised_zirconia(text, counts, phase):
    result = built(text)
    found = result.structure.symbols.formula.count()
    assert found == counts and found["Y"] == 2 * (2 * (found["Zr"] + found["Y"]) - found["O"])
    assert result.recipe.steps[0].polymorph == phase and phase in notes(text, "yttria")


@pytest.mark.parametrize("text", ["8 % YSZ 2x2x2", "8%YSZ 2×2×2の単位胞"])
def test_percent_of_yttria_without_mol_is_said(text):
    assert notes(text, "yttria_molar")


def test_a_dopant_of_zirconia_is_no_yttria():
    assert built("Y-doped ZrO2 2x2x2").structure.symbols.formula.count() == {"Zr": 31, "Y": 1, "O": 64}
    with pytest.raises(GnnpotError, match="not understood: '10 mol%'"):
        built("8YSZ with 10 mol% Y2O3")


@pytest.mark.parametrize("texts", [["Si", "now reduce the volume by 3 %"], ["シリコン", "体積を3%減らす"]])
def test_a_later_sentence_changes_the_volume(texts):
    assert built(texts).structure.get_volume() == pytest.approx(0.97 * built("Si").structure.get_volume())
