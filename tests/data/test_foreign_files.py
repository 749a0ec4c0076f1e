"""Files that others' programs wrote: each frame is as ASE and pymatgen read it, or refused for its reason."""

import lzma
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pytest
from pymatgen.io.vasp import Vasprun

from gnnpot.data import FrameError, read_frames
from gnnpot.data.readers.base import read_numbered
from gnnpot.units import KBAR, stress_from_voigt

from .test_dft_readers import read, write
from .vasp_files import NELM, outcar, vasprun

SAMPLES = Path(__file__).parent / "samples" / "vasp"
#: the frames that are no labels, by sample
REFUSED = {
    "OUTCAR.nelm-5.4.4": {0: "electrons not converged", 2: "electrons not converged"},
    "OUTCAR.icharg-5.3.5": {0: "not self-consistent"},
}


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.xz")), ids=lambda p: p.name)
def test_each_frame_is_as_others_read_it_or_refused(tmp_path, path):
    plain = tmp_path / path.name.removesuffix(".xz")
    plain.write_bytes(lzma.decompress(path.read_bytes()))
    ours = dict(read_numbered(path))
    format = "vasp-xml" if plain.name.endswith(".xml") else "vasp-out"
    theirs = ase.io.read(plain, ":", format=format)
    assert len(ours) == len(theirs)
    refused = {k: frame.reason for k, frame in ours.items() if isinstance(frame, FrameError)}
    assert refused == REFUSED.get(plain.name, {})
    for k, atoms in enumerate(theirs):
        if k in refused:
            continue
        assert ours[k].energy == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-8)
        assert np.allclose(ours[k].forces, atoms.get_forces(apply_constraint=False), atol=1e-10)
        assert np.allclose(ours[k].stress, atoms.get_stress(), atol=1e-10)
        assert np.allclose(ours[k].positions, atoms.positions, atol=1e-6) and ours[k].symbols == list(atoms.symbols)


@pytest.mark.parametrize("name", ["vasprun.lepsilon-5.4.4.xml", "vasprun.si-relax-6.4.2.xml"])
def test_vasprun_is_as_pymatgen_reads_it(tmp_path, name):
    (tmp_path / name).write_bytes(lzma.decompress((SAMPLES / f"{name}.xz").read_bytes()))
    theirs = Vasprun(tmp_path / name, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    frames = list(read_frames(SAMPLES / f"{name}.xz"))
    for frame, step in zip(frames, theirs.ionic_steps, strict=True):
        assert frame.energy == step["e_fr_energy"] and np.allclose(frame.forces, step["forces"], atol=0)
        assert np.allclose(stress_from_voigt(frame.stress), -np.array(step["stress"]) * KBAR, atol=1e-12)


def test_outcar_and_vasprun_of_one_run_say_the_same():
    for name in ("si-relax-6.4.2", "lepsilon-5.4.4"):
        pairs = zip(
            read_frames(SAMPLES / f"OUTCAR.{name}.xz"), read_frames(SAMPLES / f"vasprun.{name}.xml.xz"), strict=True
        )
        for text, xml in pairs:
            assert text.energy == pytest.approx(xml.energy, abs=1e-7)
            assert np.allclose(text.forces, xml.forces, atol=1e-5) and np.allclose(text.stress, xml.stress, atol=1e-6)
        # The smearing's part of the energy is that of the ground state, not of the response that follows.
        text = next(read_frames(SAMPLES / f"OUTCAR.{name}.xz", energy_key="energy"))
        xml = next(read_frames(SAMPLES / f"vasprun.{name}.xml.xz", energy_key="energy"))
        assert text.energy == pytest.approx(xml.energy, abs=1e-6)


# --- the kinds, in files that are made ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs():
    """Frames of one compound of two elements."""
    return [frame.replace(magmoms=None) for frame in read_frames(SAMPLES / "vasprun.si-relax-6.4.2.xml.xz")]


def with_block(text: str, block: str, name: str, value: str) -> str:
    """A vasprun.xml with a further block of parameters at its end."""
    more = f'   <separator name="{block}" >\n    <i type="int" name="{name}"> {value} </i>\n   </separator>\n'
    return text.replace(" </parameters>", more + " </parameters>")


def test_a_tag_counts_in_the_block_that_means_it(tmp_path, runs):
    block = '   <separator name="electronic convergence" >\n    <i type="int" name="NELM">    60</i>\n   </separator>\n'
    text = vasprun(runs).replace('   <i type="int" name="NELM"> 60 </i>\n', block)
    text = with_block(text, "response functions", "NELM", "1")
    assert len(read(write(tmp_path / "vasprun.xml", text))[0]) == len(runs)
    # INCAR says another limit
    text = text.replace("</incar>", ' <i type="int" name="NELM">     7</i>\n </incar>')
    assert read(write(tmp_path / "vasprun.xml", text))[1] == {"electrons not converged": len(runs)}


@pytest.mark.parametrize(("version", "kept"), [("5.4.4", 1), ("6.3.0", 3)])
def test_the_words_of_vasp_5_are_not_believed_at_nelm(tmp_path, runs, version, kept):
    text = outcar(runs).replace("vasp.6.3.0", f"vasp.{version}")
    for number in (1, 3):
        text = text.replace(f"Iteration {number:4d}({2:4d})", f"Iteration {number:4d}({NELM:4d})")
    frames, skipped = read(write(tmp_path / "OUTCAR", text))
    assert len(frames) == kept and skipped["electrons not converged"] == 3 - kept


def test_lines_that_begin_a_step_twice_make_no_frame(tmp_path, runs):
    text = outcar(runs)
    for number in range(1, 4):
        first = f"----------------------------------------- Iteration {number:4d}({1:4d})"
        text = text.replace(first, f"{'-' * 39} Ionic step {number:8d}  {'-' * 35}\n\n\n\n{first}")
    response = "".join(f"{'-' * 40} Iteration {k:6d}(   1)  {'-' * 30}\n" for k in range(1, 7))
    text = text.replace("\n\n General timing", f"{response}\n\n General timing")
    frames, skipped = read(write(tmp_path / "OUTCAR", text))
    assert len(frames) == 3 and not skipped


def test_forces_with_those_without_dispersion_beside_them(tmp_path, runs):
    lines = []
    for line in outcar(runs).splitlines(keepends=True):
        if "TOTAL-FORCE" in line:
            line = line.rstrip() + ",          FORCE-w/o vdW (eV/Angst)\n"
        elif len(words := line.split()) == 6 and all(len(w.split(".")[-1]) in (5, 6) for w in words):
            line = line.rstrip() + "      1.000000           NaN      3.000000\n"
        lines.append(line)
    frames, skipped = read(write(tmp_path / "OUTCAR", "".join(lines)))
    assert not skipped and all(np.allclose(a.forces, b.forces, atol=1e-6) for a, b in zip(frames, runs, strict=True))


def test_symbols_that_vasp_cuts(tmp_path, runs):
    xenon = [frame.replace(numbers=[54] * len(frame)) for frame in runs]
    text = vasprun(xenon).replace("<c>Xe</c>", "<c>X </c>")
    assert read(write(tmp_path / "vasprun.xml", text))[0][0].symbols == ["Xe"] * len(runs[0])
    text = text.replace("<c>X </c>", "<c>Qq</c>")
    assert read(write(tmp_path / "vasprun.xml", text))[1] == {"unknown element": len(runs)}


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ICHARG": "11"}, "not self-consistent"),
        ({"VCA": "0.9"}, "mixed elements"),
        ({"NELECT": "7.0"}, "charged"),
    ],
)
def test_runs_that_give_no_labels_are_refused(tmp_path, runs, tags, reason):
    assert read(write(tmp_path / "vasprun.xml", vasprun(runs, **tags)))[1] == {reason: len(runs)}
    words = {"VCA": "   VCA    =   0.90\n", "NELECT": "   ZVAL   =   4.00\n   NELECT =       7.0000    total number\n"}
    head = "".join(words.get(name, f"   {name} =     {value}    charge\n") for name, value in tags.items())
    path = write(tmp_path / "OUTCAR", outcar(runs, head=head))
    assert read(path)[1] == {reason: len(runs)}
    if reason == "charged":
        assert len(read(path, total_charge="ignore")[0]) == len(runs)
    else:
        assert read(path, unconverged="keep")[1] == {reason: len(runs)}


def test_neutral_runs_are_not_taken_for_charged(tmp_path, runs):
    electrons = f"{4.0 * len(runs[0]):.4f}"
    assert not read(write(tmp_path / "vasprun.xml", vasprun(runs, NELECT=electrons)))[1]
    head = f"   ZVAL   =   4.00\n   NELECT =   {electrons}    total number of electrons\n"
    assert not read(write(tmp_path / "OUTCAR", outcar(runs, head=head)))[1]


def test_numbers_that_became_asterisks_are_bad_frames(tmp_path, runs):
    for name, value, broken in (("NELM", "60", "***"), ("PSTRESS", "0.0", "******"), ("LDAUU", "1.5", "***")):
        tags = {"LDAU": "T", "LDAUL": "2", "LDAUJ": "0.0", name: value}
        text = vasprun(runs, **tags).replace(f'name="{name}"> {value} ', f'name="{name}"> {broken} ')
        frames, skipped = read(write(tmp_path / "vasprun.xml", text))
        assert not frames and skipped == {f"{name} not a number": len(runs)}


def test_bytes_that_are_no_utf8_in_a_title(tmp_path, runs):
    data = outcar(runs).replace(" INCAR:\n", " INCAR:\n   SYSTEM = Z\u00fcrich\n").encode("latin-1")
    (tmp_path / "OUTCAR").write_bytes(data)
    assert len(read(tmp_path / "OUTCAR")[0]) == len(runs)


def test_a_file_that_can_not_be_read_does_not_stop_the_others(tmp_path, runs, caplog):
    from gnnpot.data.readers import read_files
    from gnnpot.errors import DataError

    paths = [tmp_path / f"run{k}" / "vasprun.xml" for k in range(3)]
    for path in paths:
        path.parent.mkdir()
        write(path, vasprun(runs[:1]))
    write(paths[1], "<modeling>")
    skipped = Counter()
    frames = list(read_files(paths, bad_frames="skip", skipped=skipped))
    assert len(frames) == 2 and skipped == {"file that can't be read": 1}
    assert str(paths[1]) in caplog.text
    with pytest.raises(DataError, match="run1/vasprun.xml"):
        list(read_files(paths))
    with pytest.raises(DataError, match="no.xml: does not exist"):
        read_files([*paths, tmp_path / "no.xml"], bad_frames="skip", skipped=Counter())
    with pytest.raises(DataError, match="run1/vasprun.xml"):
        list(read_files(paths[1:2], bad_frames="skip", skipped=Counter()))
