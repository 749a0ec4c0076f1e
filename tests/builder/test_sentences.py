"""The sentences that were at hand when the grammar was written, and what must hold of the whole set."""

import pytest
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
