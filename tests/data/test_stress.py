"""Stress conventions, and the check of stress against energy."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data import Frame, Provenance, StressConvention, StressSample, check_stress, read_frames
from gnnpot.data.stress import PRESETS
from gnnpot.errors import DataError
from gnnpot.units import BOHR, GPA, HARTREE, KBAR

TRUE = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6])  # xx yy zz yz xz xy, eV/Å³, tension positive


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ase", TRUE),
        ("vasp-kbar", -np.array([1.0, 2, 3, 0.6, 0.4, 0.5]) / KBAR),
        ("gpa", TRUE / GPA),
        ("lammps", -np.array([1.0, 2, 3, 0.6, 0.5, 0.4]) / KBAR * 1000),
        ("virial", -TRUE * 20.0),
        ("Ha/Bohr^3:tension", TRUE / HARTREE * BOHR**3),
        ("eV/A^3:compression:zz,yy,xx,xy,zx,zy", -np.array([3.0, 2, 1, 0.6, 0.5, 0.4])),
    ],
)
def test_every_convention_becomes_ours(name, values):
    convention = StressConvention.parse(name)
    assert np.allclose(convention.to_stress(values, volume=20.0), TRUE, rtol=1e-12)
    assert StressConvention.parse(str(convention)) == convention


def test_nine_numbers_are_a_tensor_whatever_the_order():
    full = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])
    for convention in (PRESETS["ase"], StressConvention(order="xx yy zz xy yz zx")):
        assert np.allclose(convention.to_stress(full), TRUE)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("vasp", "stress convention 'vasp' is not known"),
        ("kbr:tension", "did you mean 'kbar'"),
        ("kbar:up", "say which is positive"),
        ("kbar:tension:xx yy zz xy yz xy", "order"),
        ("kbar:tension:xx yy zz xy yz", "order"),
        ("kbar:tension:xx yy zz xy yz ab", "order"),
    ],
)
def test_conventions_that_do_not_exist(text, problem):
    with pytest.raises(DataError, match=problem):
        StressConvention.parse(text)


def test_wrong_numbers_of_numbers():
    with pytest.raises(ValueError, match="7 numbers"):
        PRESETS["ase"].to_stress(np.zeros(7))
    with pytest.raises(ValueError, match="volume"):
        PRESETS["virial"].to_stress(np.zeros(9), volume=0.0)


@pytest.fixture(scope="module")
def emt_frames() -> list[Frame]:
    """Strained and rattled copper and gold of EMT, whose stress is its energy's derivative."""
    frames, rng = [], np.random.default_rng(0)
    for element in ("Cu", "Au"):
        for k in range(8):
            atoms = bulk(element, cubic=True)
            strain = np.diag(rng.normal(0, 0.01, 3)) + (k - 4) * 0.012 * np.eye(3)
            atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
            atoms.rattle(0.02, seed=k)
            atoms.calc = EMT()
            labels = {
                "energy": atoms.get_potential_energy(),
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(),
            }
            atoms.calc = SinglePointCalculator(atoms, **labels)
            frames.append(Frame.from_atoms(atoms, Provenance(material_id=element)))
    return frames


def scaled(frames, factor):
    return [f if f.stress is None else f.replace(stress=factor * f.stress) for f in frames]


def test_right_stress_agrees(emt_frames):
    check = check_stress(emt_frames)
    assert check.verdict == "agrees" and check.materials == 2
    assert check.agreeing == check.votes >= 8 and check.factor == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1, "the wrong sign"),
        (1 / KBAR, "the unit kbar"),
        (-1 / KBAR, "the wrong sign .* and the unit kbar"),
        (1 / GPA, "the unit GPa"),
        (1e7, "a wrong unit"),
    ],
)
def test_wrong_stress_is_caught(emt_frames, factor, words):
    with pytest.raises(DataError, match=words + ".*name the file's convention with stress="):
        check_stress(scaled(emt_frames, factor))


def test_without_evidence_it_is_undecided(emt_frames):
    assert check_stress([]).verdict == "undecided"
    assert check_stress(emt_frames[:2]).verdict == "undecided"
    alone = [f.replace(provenance=Provenance(material_id=str(k))) for k, f in enumerate(emt_frames)]
    check = check_stress(alone)
    assert (check.verdict, check.votes, check.factor) == ("undecided", 0, None)
    mixed = [f.replace(stress=f.stress * (-1) ** (k // 8)) for k, f in enumerate(emt_frames)]
    assert check_stress(mixed).verdict == "undecided"


def test_the_sample_is_bounded(emt_frames, monkeypatch):
    monkeypatch.setattr("gnnpot.data.stress_check.GROUP_FRAMES", 6)
    monkeypatch.setattr("gnnpot.data.stress_check.HELD_ATOMS", 40)
    sample = StressSample()
    passed = list(sample.watch(emt_frames * 20))
    assert len(passed) == 320 and sum(len(g) for g in sample._groups.values()) == 10


@pytest.mark.parametrize(
    "name", ["acwf/unaries_vasp_pbe_eos", "mptrj/mptrj-highest-stress-1k", "mlearn/Si_train", "mlearn/Mo_train"]
)
def test_published_data(shared, name):
    frames = list(read_frames(shared / f"data/{name}.extxyz.gz"))
    check = check_stress(frames)
    assert check.verdict == "agrees" and check.factor == pytest.approx(1, abs=0.02)
    with pytest.raises(DataError, match="the wrong sign"):
        check_stress(scaled(frames, -1))


@pytest.mark.parametrize("name", ["Cu_train", "Ni_train"])
def test_published_data_with_a_stress_of_less_accuracy(shared, name):
    frames = list(read_frames(shared / f"data/mlearn/{name}.extxyz.gz"))
    assert check_stress(frames).verdict == "agrees"
    with pytest.raises(DataError, match="the wrong sign .* kbar"):
        check_stress(scaled(frames, -1 / KBAR))
