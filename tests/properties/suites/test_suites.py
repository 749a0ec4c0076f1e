"""Suites on a few items, by calculators that take no time: what is compared, and what becomes of an interruption."""

import gzip
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.phonons import with_force_constants
from gnnpot.properties.suites import Subject, evaluate_suite, open_suite, write_report
from gnnpot.properties.suites.base import median
from gnnpot.properties.suites.diatomics import compare
from gnnpot.properties.suites.harmonic import commensurate_frequencies
from gnnpot.properties.suites.report import tables
from gnnpot.properties.suites.speed import measure_speed

EMT_SUBJECT = Subject("emt", EMT)


@pytest.fixture
def acwf(tmp_path) -> Path:
    """Copper and aluminium, and silicon, which EMT does not know."""
    frames, expected = [], {}
    for name, a, volume in (("Cu-X/FCC", 3.6, 11.565), ("Al-X/FCC", 4.0, 15.93), ("Si-X/Diamond", 5.4, 40.0)):
        symbol, structure = name.partition("-")[0], "diamond" if "Diamond" in name else "fcc"
        for x in np.linspace(0.98, 1.02, 7):
            atoms = bulk(symbol, structure, a=a * x)
            atoms.info["acwf"] = name
            frames.append(atoms)
        expected[name] = {"min_volume": volume, "bulk_modulus_ev_ang3": 134 * units.GPa}
    with gzip.open(tmp_path / "unaries_vasp_pbe_eos.extxyz.gz", "wt") as file:
        write(file, frames, format="extxyz")
    reference = tmp_path / "results-unaries-verification-PBE-v1-AE-average.json"
    reference.write_text(json.dumps({"BM_fit_data": expected}))
    return tmp_path


def test_equations_of_state_are_compared_and_failures_counted(acwf, tmp_path):
    path = evaluate_suite(open_suite("equations-of-state", acwf), EMT_SUBJECT, tmp_path / "out")
    results = json.loads(path.read_text())["results"]
    copper = results["Cu-X/FCC"]
    # EMT's own: Jacobsen, Stoltze & Norskov, Surf. Sci. 366, 394 (1996)
    assert copper["volume"] == pytest.approx(11.565, rel=2e-3) and copper["modulus"] == pytest.approx(134, rel=0.02)
    assert "EMT" in results["Si-X/Diamond"]["failed"]
    merits = tables(tmp_path / "out")["equations-of-state"]["emt"]
    assert merits["with a minimum"].value == 2 and merits["with a minimum"].note == "of 3"
    errors = sorted(100 * abs(results[k]["volume"] / results[k]["volume_expected"] - 1) for k in list(results)[:2])
    # the failed one is an error without bound, so the median is the larger of the two
    assert merits["volume, median relative error"].value == pytest.approx(errors[1])


def test_where_half_failed_there_is_no_median():
    assert median([1.0, 3.0, np.inf]).value == 3.0
    half = median([1.0, np.inf], "GPa")
    assert (half.value, half.text(), half.note) == (None, "", "(half or more failed)")
    assert median([]).value is None and median([]).note == ""


def test_an_interrupted_run_resumes_with_what_is_missing(acwf, tmp_path):
    suite, asked = open_suite("equations-of-state", acwf), []

    class Counting(EMT):
        def get_potential_energy(self, *arguments, **options):
            asked.append(1)
            return super().get_potential_energy(*arguments, **options)

    def stop(what, done, total, note=""):
        if done == 1:
            raise KeyboardInterrupt

    subject = Subject("emt", Counting)
    with pytest.raises(KeyboardInterrupt):
        evaluate_suite(suite, subject, tmp_path / "out", progress=stop)
    first = len(asked)
    path = evaluate_suite(suite, subject, tmp_path / "out")
    resumed, asked[:] = len(asked) - first, []
    whole = evaluate_suite(suite, subject, tmp_path / "whole")
    assert first > 0 and first + resumed == len(asked)
    assert json.loads(path.read_text()) == json.loads(whole.read_text())
    assert sorted(p.name for p in path.parent.iterdir()) == ["emt.json"]
    asked.clear()
    evaluate_suite(suite, subject, tmp_path / "out")
    assert asked == []


def test_other_options_or_weights_are_refused(acwf, tmp_path):
    evaluate_suite(open_suite("equations-of-state", acwf), EMT_SUBJECT, tmp_path)
    with pytest.raises(ConfigError, match="items.*--fresh"):
        evaluate_suite(open_suite("equations-of-state", acwf, count=1), EMT_SUBJECT, tmp_path)
    with pytest.raises(ConfigError, match="sha256: was"):
        evaluate_suite(open_suite("equations-of-state", acwf), Subject("emt", EMT, "other"), tmp_path)
    path = evaluate_suite(open_suite("equations-of-state", acwf, count=1), EMT_SUBJECT, tmp_path, fresh=True)
    assert len(json.loads(path.read_text())["results"]) == 1


def test_processes_give_the_same(acwf, tmp_path):
    one = evaluate_suite(open_suite("equations-of-state", acwf), EMT_SUBJECT, tmp_path / "one")
    two = evaluate_suite(open_suite("equations-of-state", acwf), EMT_SUBJECT, tmp_path / "two", processes=2)
    assert json.loads(one.read_text()) == json.loads(two.read_text())


def test_frequencies_where_nothing_is_interpolated_are_those_of_the_supercell():
    crystal = bulk("Cu", cubic=True)
    supercell = crystal.repeat((2, 2, 1))
    found = commensurate_frequencies(with_force_constants(crystal, EMT(), (2, 2, 1)))
    hessian = np.empty((3 * len(supercell), 3 * len(supercell)))
    for k in range(hessian.shape[0]):
        forces = []
        for sign in (1, -1):
            moved = supercell.copy()
            moved.positions[k // 3, k % 3] += 0.01 * sign
            moved.calc = EMT()
            forces.append(moved.get_forces().ravel())
        hessian[k] = (forces[1] - forces[0]) / 0.02
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2) / supercell.get_masses()[0]
    # eV/Å²/u to THz
    expected = np.sign(values) * np.sqrt(np.abs(values)) * units.s / 1e12 / (2 * np.pi)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 0.03
    assert found.max() == pytest.approx(7.6, abs=0.6)


def test_the_ten_crystals_are_asked_with_the_supercell_of_dft():
    suite = open_suite("phonons")
    items = suite.items()
    assert len(items) == 10
    for item in items:
        atoms, row = item.content
        modes = 3 * len(atoms) * np.prod(row["supercell"])
        # commensurate wave vectors of the primitive cell, times its modes
        assert sum(row["counts"]) == modes
    silicon = items[0].content[1]
    # the zone-centre optical mode of silicon in PBE: 15.1 THz
    assert max(silicon["frequencies"]) == pytest.approx(15.1, abs=0.2)


def test_heat_capacity_is_that_of_the_given_cell(tmp_path):
    structure = AseAtomsAdaptor.get_structure(bulk("Cu", cubic=True)).as_dict()
    row = {"mp_id": "cu", "formula": "Cu", "structure": structure, "heat_capacity": 97.0}
    with gzip.open(tmp_path / "alexandria-binary-pbe-phonon-half.json.gz", "wt") as file:
        json.dump([row], file)
    suite = open_suite("phonons", tmp_path)
    item = suite.items()[-1]
    with warnings.catch_warnings():
        # phonopy warns if the sums contain acoustic modes at Γ
        warnings.simplefilter("error", UserWarning)
        found = suite.measure(item, EMT(), tmp_path)
    # four atoms, not far below Dulong and Petit's 3 k each
    assert 0.93 * 12 * 8.314 < found["capacity"] < 12 * 8.314 and found["min"] > -0.1


def test_moduli_of_copper(tmp_path):
    structure = AseAtomsAdaptor.get_structure(bulk("Cu")).as_dict()
    row = {"mp_id": "mp-30", "structure": structure, "bulk_modulus_vrh": 130.0, "shear_modulus_vrh": 40.0}
    bad = {"mp_id": "bad", "structure": structure, "bulk_modulus_vrh": -3.0, "shear_modulus_vrh": 40.0}
    with gzip.open(tmp_path / "mp-binary-pbe-elasticity-half.json.gz", "wt") as file:
        json.dump([row, bad], file)
    path = evaluate_suite(open_suite("elasticity", tmp_path), EMT_SUBJECT, tmp_path / "out")
    results = json.loads(path.read_text())["results"]
    assert list(results) == ["mp-30"]
    # EMT's bulk modulus, from its equation of state
    assert results["mp-30"]["bulk"] == pytest.approx(134, rel=0.02)
    assert tables(tmp_path / "out")["elasticity"]["emt"]["bulk modulus, median error"].value == pytest.approx(4, abs=3)


def frames_file(folder: Path) -> Path:
    frames = []
    for k in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=k)
        atoms.calc = EMT()
        labels = {
            "energy": atoms.get_potential_energy() + 4 * (0.1 + 0.05 * k),
            "forces": atoms.get_forces() + np.array([0.3, 0, 0]),
            "stress": atoms.get_stress() + 0.1 * units.GPa,
        }
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    write(folder / "hot.extxyz", frames)
    return folder / "hot.extxyz"


def test_errors_of_frames(tmp_path):
    suite = open_suite("frames", frames_file(tmp_path))
    evaluate_suite(suite, EMT_SUBJECT, tmp_path / "out")
    merits = tables(tmp_path / "out")["frames.hot"]["emt"]
    expected = {
        "energy, MAE": 150, "energy after one shift, MAE": 100 / 3, "force components, MAE": 0.1,
        "force, mean length of the error": 0.3, "stress, MAE": 0.1,
    }  # fmt: skip
    for name, value in expected.items():
        assert merits[name].value == pytest.approx(value, rel=1e-4), name


class WithoutStress(EMT):
    implemented_properties = tuple(name for name in EMT.implemented_properties if name != "stress")


def test_folders_of_others_among_the_results_are_left_alone(tmp_path):
    path = evaluate_suite(open_suite("frames", frames_file(tmp_path)), EMT_SUBJECT, tmp_path / "out")
    shutil.copytree(path.parent, path.parent.with_name("hot-before"))
    assert list(json.loads(write_report(tmp_path / "out").with_suffix(".json").read_text())) == ["frames.hot"]


def test_frames_by_a_calculator_without_stress(tmp_path):
    evaluate_suite(open_suite("frames", frames_file(tmp_path)), Subject("emt", WithoutStress), tmp_path / "out")
    merits = tables(tmp_path / "out")["frames.hot"]["emt"]
    assert merits["energy, MAE"].value == pytest.approx(150) and merits["stress, MAE"].value is None


def test_the_bundled_data_may_be_asked_about():
    suite = open_suite("frames", Path("bundled:gpaw-pbe"))
    assert suite.label == "frames.gpaw-pbe" and len(suite.items()) == 325 and suite.identity()["data"]
    assert open_suite("relaxations", Path("bundled:gpaw-pbe"), count=2).items()


def test_crystals_that_hold_together(tmp_path):
    with gzip.open(tmp_path / "pool.extxyz.gz", "wt") as file:
        write(file, [bulk("Cu", a=3.7), bulk("Al", a=4.0)], format="extxyz")
    for name in ("relaxations", "dynamics"):
        suite = open_suite(name, tmp_path / "pool.extxyz.gz", picoseconds=0.04)
        evaluate_suite(suite, EMT_SUBJECT, tmp_path / "out")
    merits = tables(tmp_path / "out")
    assert merits["relaxations"]["emt"]["converged"].value == 2
    assert merits["dynamics"]["emt"]["exploded"].value == 0
    assert 0.5 < merits["dynamics"]["emt"]["closest approach, of the sum of radii"].value < 1.2


def test_a_curve_beside_dft():
    r = np.linspace(0.5, 4, 60)

    def morse(depth, bond):
        return depth * (1 - np.exp(-1.5 * (r - bond))) ** 2 - depth

    same = compare(r, morse(4.0, 1.2), morse(4.0, 1.2) + 7)
    assert same["bond"] == pytest.approx(1.2, abs=5e-3) and same["well_error"] == pytest.approx(0, abs=1e-9)
    longer = compare(r, morse(4.0, 1.3), morse(4.0, 1.2))
    assert longer["bond"] - longer["bond_dft"] == pytest.approx(0.1, abs=5e-3)
    assert longer["well_error"] > 0.1 and longer["wall_error"] > 0.1


def test_pairs_with_holes_are_counted(tmp_path):
    suite = open_suite("diatomics", count=29)
    assert suite.items()[28].key == "Cu-Cu"
    found = suite.measure(suite.items()[28], EMT(), tmp_path)
    assert found["pairs"] == [["Cu", "Cu"]] and found["walls"][0] > 1


def test_curves_are_read_as_they_are_published_or_of_pbe_alone(tmp_path):
    curves = {"H-H": {"distances": [0.7, 1.0], "energies": [0.2, 0.0]}}
    path = tmp_path / "curves.json.gz"
    for content in ({"PBE": curves, "r2SCAN": {}}, curves):
        path.write_bytes(gzip.compress(json.dumps(content).encode()))
        assert open_suite("diatomics", path).items()[0].content["curve"] == curves["H-H"]
    path.write_bytes(gzip.compress(b"{}"))
    with pytest.raises(DataError, match="has no curve of a pair of one element"):
        open_suite("diatomics", path).items()


def test_overlap_with_training_data_is_marked(acwf, tmp_path):
    suite = open_suite("equations-of-state", acwf, count=1)
    evaluate_suite(suite, EMT_SUBJECT, tmp_path)
    evaluate_suite(suite, Subject("seen", EMT, training="VASP's equations of state of 65 elements"), tmp_path)
    text = write_report(tmp_path, ["seen"]).read_text()
    assert text.index("| seen † |") < text.index("| emt |") and "† seen: VASP's energies" in text
    assert (tmp_path / "equations-of-state.png").stat().st_size > 1000
    plain = json.loads((tmp_path / "table.json").read_text())["equations-of-state"]
    assert plain["emt"]["overlap"] == "" and "with a minimum" in plain["emt"]


def test_held_out_frames_are_not_marked(tmp_path):
    held_out, other = (open_suite("frames", tmp_path / f"{name}.extxyz") for name in ("held-out-random", "random"))
    card = "frames of MPtrj. A fifth of MPtrj's materials was held out"
    assert held_out.overlap(card) == "" and "may be in its training set" in other.overlap(card)
    assert "may be in its training set" in held_out.overlap("MPtrj")


def test_one_note_for_two_words_of_a_card(tmp_path):
    note = open_suite("relaxations", tmp_path).overlap("MPtrj, of the Materials Project")
    assert note.count("may be in its training set") == 1
    assert open_suite("dynamics", tmp_path).overlap("OMat24") == ""


def test_another_functional_than_the_references_is_named(acwf, tmp_path):
    suite = open_suite("equations-of-state", acwf, count=1)
    for name, functional in (("a", "r2SCAN"), ("b", "PBE and PBE+U"), ("c", ""), ("d", "PBEsol")):
        evaluate_suite(suite, Subject(name, EMT, functional=functional), tmp_path)
    assert write_report(tmp_path).read_text().count("The functional of") == 2
    assert "The functional of a is r2SCAN." in write_report(tmp_path).read_text()
    assert "The functional of d is PBEsol." in write_report(tmp_path).read_text()


def test_speed_of_two_in_turns(tmp_path):
    measure_speed(
        {"a": EMT(), "b": EMT()}, tmp_path, sizes=(4,), seconds=0.01, structure=lambda _: bulk("Cu", cubic=True)
    )
    text = write_report(tmp_path).read_text()
    assert "times a's" in text and (tmp_path / "speed.png").exists()


def test_data_that_are_not_there_are_named(tmp_path):
    with pytest.raises(DataError, match="--data"):
        open_suite("frames")
    with pytest.raises(DataError, match="does not exist; give the all-electron average"):
        open_suite("equations-of-state", tmp_path).items()
    with pytest.raises(ConfigError, match="did you mean 'phonons'"):
        open_suite("phonon")
    with pytest.raises(DataError, match="is not shipped; give the file or its folder with --data"):
        open_suite("elasticity").items()


def test_data_may_be_unpacked_and_other_files_are_refused(tmp_path):
    """Some browsers unpack what they fetch."""
    row = {"mp_id": "mp-1", "structure": Structure(np.eye(3) * 3, ["Cu"], [[0, 0, 0]]).as_dict()}
    row |= {"bulk_modulus_vrh": 140.0, "shear_modulus_vrh": 50.0}
    (tmp_path / "moduli.json").write_text(json.dumps([row]))
    assert len(open_suite("elasticity", tmp_path / "moduli.json").items()) == 1
    (tmp_path / "curves.json").write_text(json.dumps({"H-H": {"distances": [1, 2], "energies": [1, 2]}}))
    assert open_suite("diatomics", tmp_path / "curves.json").items()[0].content["curve"]["energies"] == [1, 2]
    write(tmp_path / "frames.xyz", bulk("Cu"), format="extxyz")
    for suite, file in (
        ("elasticity", "curves.json"), ("elasticity", "frames.xyz"), ("diatomics", "moduli.json"),
        ("phonons", "curves.json"), ("phonons", "frames.xyz"),
        ("equations-of-state", "curves.json"), ("equations-of-state", "frames.xyz"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"{file}: (does not have the content of|has no curve)"):
            open_suite(suite, tmp_path / file).items()


def test_unknown_elements_are_left_out_beforehand(acwf, tmp_path):
    class OfCopper(EMT):
        elements = ("Cu",)

    path = evaluate_suite(open_suite("equations-of-state", acwf), Subject("cu", OfCopper), tmp_path)
    content = json.loads(path.read_text())
    assert list(content["results"]) == ["Cu-X/FCC"]
    assert content["about"]["left_out"] == {"Al-X/FCC": "does not know Al", "Si-X/Diamond": "does not know Si"}


def test_no_atoms_are_changed_by_a_measurement(acwf):
    item = open_suite("equations-of-state", acwf).items()[0]
    before = [atoms.positions.copy() for atoms in item.content[0]]
    open_suite("equations-of-state", acwf).measure(item, EMT(), acwf)
    assert all((a.positions == b).all() for a, b in zip(item.content[0], before, strict=True))
    assert isinstance(item.content[0][0], Atoms)
