"""`gnnpot data`, as a user types it."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gnnpot.cli.data import app
from gnnpot.data import FrameStore, Split, bundled_path
from gnnpot.errors import ConfigError, DataError

ROWS = "H 0 0 0 0 0 0\nH 0 0 0.74 0 0 0\n"


def run(*arguments) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.output


def write(path, *comments):
    header = "Properties=species:S:1:pos:R:3:forces:R:3"
    path.write_text("".join(f"2\n{header} {c}\n{ROWS}" for c in comments))
    return path


@pytest.mark.parametrize("command", ["convert", "info", "split"])
def test_help_shows_an_example(command):
    assert f"Example: gnnpot data {command}" in run(command, "--help")


def test_convert_inspect_split(tmp_path):
    store, split = tmp_path / "a.store", tmp_path / "split.json"
    out = run("convert", bundled_path(), "-o", store, "--source", "bundled")
    assert "stress agrees with the energies" in out
    opened = FrameStore(store, verify="sha256")
    assert opened.manifest.source == "bundled" and opened.manifest.stress_check["verdict"] == "agrees"
    out = run("info", store)
    assert f"{len(opened)} of {len(opened)} frames (100%)" in out and "pressure, GPa" in out
    out = run("split", store, "-o", split, "--fractions", "train=0.6,test=0.4")
    assert "in several parts: 0 materials, 0 structures, 0 energies" in out
    assert len(Split.load(split, opened)["test"]) > 0


def test_info_of_a_file_counts_what_it_can_not_use(tmp_path):
    path = write(tmp_path / "a.xyz", "energy=1", "energy=nan", "energy=2")
    out = run("info", path)
    assert "energy not finite: 1" in out and "2 of 2 frames" in out and "energy, eV per atom" in out


def test_bad_frames_stop_or_are_counted(tmp_path):
    path = write(tmp_path / "a.xyz", "energy=1", "energy=nan")
    with pytest.raises(DataError, match=r"frame 1 \(counted from 0\): energy has NaN"):
        run("convert", path, "-o", tmp_path / "a.store")
    assert not (tmp_path / "a.store").exists()
    assert "energy not finite: 1" in run("convert", path, "-o", tmp_path / "a.store", "--bad-frames", "skip")
    assert FrameStore(tmp_path / "a.store").manifest.filters == {"energy not finite": 1}
    with pytest.raises(DataError, match="overwrite"):
        run("convert", path, "-o", tmp_path / "a.store", "--bad-frames", "skip")


def test_stress_of_the_wrong_sign_makes_no_store(tmp_path):
    wrong = ("--stress", "eV/A^3:compression")
    with pytest.raises(DataError, match="the wrong sign .*gpaw-pbe|gpaw-pbe.*the wrong sign"):
        run("convert", bundled_path(), "-o", tmp_path / "a", *wrong)
    assert list(tmp_path.iterdir()) == []
    run("convert", bundled_path(), "-o", tmp_path / "a", *wrong, "--no-check-stress")
    assert FrameStore(tmp_path / "a").manifest.stress_check is None


def test_keys_and_reader_options(tmp_path):
    path = write(tmp_path / "a.xyz", "REF_energy=3 spg=A")
    options = ("--energy-key", "REF_energy", "--material-key", "spg", "--functional", "PBE", "--code", "VASP 6")
    run("convert", path, "-o", tmp_path / "a", *options)
    frame = FrameStore(tmp_path / "a")[0]
    p = frame.provenance
    assert (frame.energy, p.material_id, p.functional, p.code) == (3.0, "A", "PBE", "VASP 6")
    run("convert", path, "-o", tmp_path / "b", "--energy-key", "")
    assert FrameStore(tmp_path / "b")[0].energy is None
    n2p2 = tmp_path / "input.data"
    n2p2.write_text("begin\natom 0 0 0 H 0 0 0 0 0\nenergy -1\ncharge 0\nend\n")
    run("convert", n2p2, "-o", tmp_path / "c", "--option", "units=eV/Å")
    assert FrameStore(tmp_path / "c")[0].energy == -1
    with pytest.raises(DataError, match="unknown option 'unit'"):
        run("convert", n2p2, "-o", tmp_path / "d", "--option", "unit=eV/Å")


def test_official_parts(tmp_path):
    files = [write(tmp_path / f"{name}.xyz", "energy=1", "energy=2") for name in ("train", "test")]
    run("convert", *files, "-o", tmp_path / "a")
    out = run(
        "split",
        tmp_path / "a",
        "-o",
        tmp_path / "s.json",
        "--by",
        "source",
        "--part",
        "train=train",
        "--part",
        "test=test",
    )
    assert "in several parts: 1 materials, 1 structures, 2 energies" in out
    assert Split.load(tmp_path / "s.json", FrameStore(tmp_path / "a"))["test"].tolist() == [2, 3]
    for arguments, problem in [
        (("--by", "source"), "needs --part"),
        (("--part", "train=a"), "belong to --by source"),
        (("--fractions", "train"), "expected name=value"),
        (("--fractions", "train=much"), "is no number"),
        (("--fractions", "train=0.5,test=0.3,train=0.2"), "'train' is given twice"),
        (("--by", "source", "--part", "train=train", "--part", "train=test"), "'train' is given twice"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            run("split", tmp_path / "a", "-o", tmp_path / "other.json", *arguments)


def test_what_users_bring_of_their_own(tmp_path):
    samples = Path(__file__).parent / "samples"
    assert "Quantum ESPRESSO 6.7MaX, LDA: 15" in run("info", samples / "si.pwo.gz")
    assert "electrons not converged: 1" in run("info", samples / "al_unconverged.pwo.gz")
    run("convert", samples / "si_gpaw.txt.gz", samples / "small_gpaw.gpw", "-o", tmp_path / "a")
    assert FrameStore(tmp_path / "a").manifest.codes == {"GPAW 26.7.0, PBE": 16}
    kept = ("--format", "espresso", "--option", "unconverged=keep")
    run("convert", samples / "al_unconverged.pwo.gz", "-o", tmp_path / "b", *kept)
    assert FrameStore(tmp_path / "b")[0].provenance.config_type == "unconverged"
    folder = tmp_path / "system"
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("0 1")
    (folder / "type_map.raw").write_text("Na Cl")
    np.save(folder / "set.000" / "coord.npy", [[0.0, 0, 0, 2.8, 0, 0]])
    np.save(folder / "set.000" / "box.npy", [5.6 * np.eye(3).ravel()])
    np.save(folder / "set.000" / "energy.npy", [-7.0])
    assert "Cl:1 Na:1" in run("info", folder) or "Na:1 Cl:1" in run("info", folder)
    run("convert", folder, "-o", tmp_path / "c", "--format", "deepmd")
    assert FrameStore(tmp_path / "c")[0].energy == -7.0


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        run("info", tmp_path / "none")
    with pytest.raises(DataError, match="is no store"):
        run("info", tmp_path)


def test_options_of_files_are_refused_for_a_store(tmp_path):
    run("convert", write(tmp_path / "a.xyz", "energy=1"), "-o", tmp_path / "a.store")
    for option, value in (("--energy-key", "e"), ("--format", "extxyz"), ("--option", "total_charge=ignore")):
        with pytest.raises(ConfigError, match="is a store, whose labels are known; leave out --format"):
            run("info", tmp_path / "a.store", option, value)
