"""VASP, Quantum ESPRESSO, GPAW and DeepMD: what they wrote is what is read, and what is not whole is said."""

import gzip
import re
from collections import Counter
from io import StringIO
from pathlib import Path

import ase.io
import ase.test
import numpy as np
import pytest
from ase.io import write as ase_write
from pymatgen.io.vasp import Outcar, Vasprun

from gnnpot.data import Frame, bundled_path, read_frames
from gnnpot.data.stress import PRESETS
from gnnpot.data.stress_check import check_stress
from gnnpot.errors import DataError
from gnnpot.units import KBAR, stress_from_voigt

from .vasp_files import NELM, SIGMA_0, outcar, vasprun

SAMPLES = Path(__file__).parent / "samples"
ASE_FILES = Path(ase.test.__file__).parent / "testdata" / "vasp"


@pytest.fixture(scope="module")
def relaxation() -> list[Frame]:
    """Four real frames of one compound of two elements, its cell and atoms changing, atoms of an element together."""
    groups: dict[str, list[Frame]] = {}
    for frame in read_frames(bundled_path()):
        order = np.argsort(frame.numbers, kind="stable")
        if len(set(frame.symbols)) == 2 and frame.stress is not None and np.abs(frame.forces).max() > 0.1:
            sorted_ = frame.replace(
                numbers=frame.numbers[order], positions=frame.positions[order], forces=frame.forces[order]
            )
            groups.setdefault(frame.provenance.material_id, []).append(sorted_)
    return next(frames[:4] for frames in groups.values() if len(frames) >= 4)


def read(path, **options) -> tuple[list[Frame], Counter]:
    skipped: Counter[str] = Counter()
    return list(read_frames(path, bad_frames="skip", skipped=skipped, **options)), skipped


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def assert_same(found: Frame, frame: Frame, places: float, forces: float, stress: float) -> None:
    assert np.array_equal(found.numbers, frame.numbers) and found.pbc.all()
    assert np.allclose(found.cell, frame.cell, atol=1e-7) and np.allclose(found.positions, frame.positions, atol=places)
    assert found.energy == pytest.approx(frame.energy, abs=1e-7)
    assert np.allclose(found.forces, frame.forces, atol=forces) and np.allclose(found.stress, frame.stress, atol=stress)


# --- VASP -----------------------------------------------------------------------------------------------------------


def test_real_vasp_files_as_ase_reads_them():
    for name in ("vasprun_pstress.xml", "vasprun_dfpt.xml", "OUTCAR_example_1"):
        (frame,), skipped = read(ASE_FILES / name)
        atoms = ase.io.read(ASE_FILES / name)
        # ASE's constants of the unit of PSTRESS differ in the 9th digit.
        assert frame.energy == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-7)
        assert np.allclose(frame.forces, atoms.get_forces(apply_constraint=False), atol=1e-12)
        assert np.allclose(frame.stress, atoms.get_stress(), atol=1e-12) and not skipped
        assert np.allclose(frame.positions, atoms.positions) and frame.symbols == list(atoms.symbols)
    p = frame.provenance
    assert (p.code, p.functional, p.pseudopotentials) == ("VASP 5.3.3", "PBE", "PAW_PBE Ni 02Aug2007")
    assert p.hubbard_u == {}


@pytest.mark.parametrize("name", ["vasprun.xml", "vasprun.relax1.xml.gz", "renamed"])
def test_vasprun_gives_back_what_vasp_was_told(tmp_path, relaxation, name):
    path = write(tmp_path / name, vasprun(relaxation))
    frames = list(read_frames(path))
    assert len(frames) == 4
    for found, frame in zip(frames, relaxation, strict=True):
        assert_same(found, frame, 1e-6, 1e-8, 1e-8)
    assert frames[0].provenance.code == "VASP 6.3.0" and frames[0].provenance.functional == "PBE"
    sigma_0 = next(read_frames(path, energy_key="energy"))
    assert sigma_0.energy == pytest.approx(relaxation[0].energy + SIGMA_0, abs=1e-7)


def test_pymatgen_and_ase_read_the_same_from_our_vasp_files(tmp_path, relaxation):
    xml = write(tmp_path / "vasprun.xml", vasprun(relaxation, selective=True))
    theirs = Vasprun(xml, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    frames = list(read_frames(xml))
    for frame, step in zip(frames, theirs.ionic_steps, strict=True):
        assert frame.energy == step["e_fr_energy"] and np.allclose(frame.forces, step["forces"], atol=0)
        assert np.allclose(stress_from_voigt(frame.stress), -np.array(step["stress"]) * KBAR, atol=1e-12)
        assert np.allclose(frame.cell, step["structure"].lattice.matrix)
    for frame, atoms in zip(frames, ase.io.read(xml, ":"), strict=True):
        # The forces on atoms that selective dynamics holds are labels as the others.
        assert np.allclose(frame.forces, atoms.get_forces(apply_constraint=False)) and len(atoms.constraints) > 0
        assert np.allclose(frame.stress, atoms.get_stress(), atol=1e-12)
    moments = np.linspace(-2, 3, len(relaxation[0])).round(3)
    text = write(tmp_path / "OUTCAR", outcar(relaxation, moments=moments))
    frames = list(read_frames(text))
    for frame, atoms in zip(frames, ase.io.read(text, ":"), strict=True):
        assert np.allclose(frame.forces, atoms.get_forces(), atol=0)
        assert np.allclose(frame.stress, atoms.get_stress(), atol=1e-12)
        assert frame.energy == atoms.get_potential_energy(force_consistent=True)
        assert np.array_equal(frame.magmoms, atoms.get_magnetic_moments()) and np.allclose(frame.cell, atoms.cell.array)
    assert [m["tot"] for m in Outcar(text).magnetization] == pytest.approx(frames[-1].magmoms)


@pytest.mark.parametrize("name", ["OUTCAR", "OUTCAR.relax2.gz", "log.txt"])
def test_outcar_gives_back_what_vasp_was_told(tmp_path, relaxation, name):
    path = write(tmp_path / name, outcar(relaxation))
    frames = list(read_frames(path))
    for found, frame in zip(frames, relaxation, strict=True):
        assert_same(found, frame, 1e-5, 1e-6, 1e-8)
    assert frames[0].magmoms is None
    assert next(read_frames(path, energy_key="energy")).energy == pytest.approx(relaxation[0].energy + SIGMA_0)


def test_the_energies_agree_with_the_stress_as_it_is_read(tmp_path):
    groups: dict[tuple, list[Frame]] = {}
    for frame in read_frames(bundled_path()):
        groups.setdefault((frame.provenance.material_id, tuple(frame.numbers)), []).append(frame)
    runs = [group for (_, numbers), group in groups.items() if len(group) > 6 and len(set(numbers)) == 1]
    paths = [write(tmp_path / f"OUTCAR.{k}", outcar(run)) for k, run in enumerate(runs)]
    assert check_stress(frame for path in paths for frame in read_frames(path)).verdict == "agrees"


def test_vasp_steps_that_did_not_converge(tmp_path, relaxation):
    xml = write(tmp_path / "vasprun.xml", vasprun(relaxation, steps=[7, NELM, 9, NELM]))
    text = write(tmp_path / "OUTCAR", outcar(relaxation, converged=[True, False, True, False]))
    for path in (xml, text):
        frames, skipped = read(path)
        assert len(frames) == 2 and skipped == {"electrons not converged": 2}
        frames, skipped = read(path, unconverged="keep")
        assert [f.provenance.config_type for f in frames] == ["", "unconverged", "", "unconverged"] and not skipped
        with pytest.raises(DataError, match=r"frame 1 \(counted from 0\): its electronic steps did not converge"):
            list(read_frames(path))
        with pytest.raises(DataError, match="unconverged='drop' is not a choice"):
            read_frames(path, unconverged="drop")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_killed_vasp_run_is_read_up_to_its_last_whole_step(tmp_path, relaxation, share):
    for name, text in (("vasprun.xml", vasprun(relaxation)), ("OUTCAR", outcar(relaxation))):
        begins = [text.index("<calculation>" if name != "OUTCAR" else "Iteration    1(   1)"), 0]
        mark = " </calculation>" if name != "OUTCAR" else "     LOOP+:"
        cut = begins[0] + int(share * (len(text) - begins[0]) * (0.8 if name != "OUTCAR" else 1))
        whole = text[:cut].count(mark)
        if text[:cut].rstrip().endswith(mark.strip()):
            cut += 60
        path = write(tmp_path / name, text[:cut])
        frames, skipped = read(path)
        assert len(frames) in (whole, whole + 1) and len(frames) + skipped["incomplete step"] == whole + 1
        for found, frame in zip(frames, relaxation, strict=False):
            assert_same(found, frame, 1e-5, 1e-6, 1e-7)
        if skipped:
            with pytest.raises(DataError, match="the file ends within this step: the run was killed"):
                list(read_frames(path))


def test_vasp_files_that_say_nothing_or_nonsense(tmp_path, relaxation):
    text = vasprun(relaxation)
    path = write(tmp_path / "vasprun.xml", text[: text.index("<calculation>")])
    with pytest.raises(DataError, match="ends before its first ionic step"):
        list(read_frames(path))
    with pytest.raises(DataError, match="is no whole XML file"):
        list(read_frames(write(path, text.replace("</calculation>", "</calculatoin>", 1))))
    force = f"{relaxation[1].forces[0, 0]:16.8f}"
    frames, skipped = read(write(path, text.replace(force, "*" * 16)))
    assert len(frames) == 3 and skipped == {"forces not a number": 1}
    learned = text[: text.index("  <scstep>")] + text[text.index("  <structure>\n   <crystal>") :]
    assert read(write(path, learned))[1] == {"no electronic steps": 1}
    data = gzip.compress(text.encode())
    (tmp_path / "vasprun.xml.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="gzip file is truncated"):
        list(read_frames(tmp_path / "vasprun.xml.gz"))
    text = outcar(relaxation)
    with pytest.raises(DataError, match="ends before its first ionic step"):
        list(read_frames(write(tmp_path / "OUTCAR", text[: text.index("------- Iteration")])))
    force = f"{relaxation[1].forces[0, 0]:14.6f}"
    frames, skipped = read(write(tmp_path / "OUTCAR", text.replace(force, "*" * 14)))
    assert len(frames) == 3 and skipped == {"positions and forces not a number": 1}
    with pytest.raises(DataError, match="magmoms has"):
        list(read_frames(write(tmp_path / "OUTCAR", outcar(relaxation, moments=np.ones((len(relaxation[0]), 3))))))
    assert len(list(read_frames(tmp_path / "OUTCAR", magmoms_key=""))) == 4


def test_what_a_force_field_of_vasp_says_is_no_label(tmp_path, relaxation):
    text = outcar(relaxation)
    force = f"{relaxation[1].forces[0, 0]:14.6f}"
    said = [line for line in text.splitlines(keepends=True) if line.startswith("  in kB ")][1]
    learned = (
        "  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)\n" + said.replace(said.split()[2], "9.00000")
        + " POSITION                                       TOTAL-FORCE (eV/Angst) (ML)\n -----\n"
        + "      0.00000      0.00000      0.00000         9.000000      9.000000      9.000000\n" * len(relaxation[1])
        + "  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  free  energy ML TOTEN  =        -9.00000000 eV\n"
    )  # fmt: skip
    steps = text.split("     LOOP+:")
    beside = "     LOOP+:".join([steps[0], steps[1] + learned, *steps[2:]])
    assert force in beside
    for found, frame in zip(read_frames(write(tmp_path / "OUTCAR", beside)), relaxation, strict=True):
        assert_same(found, frame, 1e-5, 1e-6, 1e-8)
    alone = steps[0] + "     LOOP+:\n" + f"{'-' * 30} Ionic step        2  {'-' * 30}\n" + learned + steps[-1]
    frames, skipped = read(write(tmp_path / "OUTCAR", alone))
    assert len(frames) == 1 and skipped == {"no electronic steps": 1}


@pytest.mark.parametrize(
    ("tags", "functional"),
    [
        ({}, "PBE"),
        ({"GGA": "PS"}, "PBEsol"),
        ({"METAGGA": "R2SCAN"}, "r2SCAN"),
        ({"LHFCALC": "T", "HFSCREEN": "0.2"}, "HSE06"),
        ({"IVDW": "12"}, "PBE+D3(BJ)"),
    ],
)
def test_vasp_says_its_functional(tmp_path, relaxation, tags, functional):
    frame = next(read_frames(write(tmp_path / "vasprun.xml", vasprun(relaxation[:1], **tags))))
    assert frame.provenance.functional == functional
    head = "".join(f"   {name} = {value}\n" for name, value in tags.items())
    text = outcar(relaxation[:1], head=head)
    assert next(read_frames(write(tmp_path / "OUTCAR", text))).provenance.functional == functional


def test_vasp_says_its_u_and_its_pressure(tmp_path, relaxation):
    first, second = dict.fromkeys(relaxation[0].symbols)
    tags = {"LDAU": "T", "LDAUTYPE": "2", "LDAUL": "2 -1", "LDAUU": "5.3 0.0", "LDAUJ": "1.0 0.0"}
    frame = next(read_frames(write(tmp_path / "vasprun.xml", vasprun(relaxation[:1], **tags))))
    assert frame.provenance.hubbard_u == {first: 4.3}
    head = (
        " LDA+U is selected, type is set to LDAUTYPE =  2\n"
        "   angular momentum for each species LDAUL =     2   -1\n"
        "   U (eV)           for each species LDAUU =   5.3  0.0\n"
        "   J (eV)           for each species LDAUJ =   1.0  0.0\n"
    )
    frame = next(read_frames(write(tmp_path / "OUTCAR", outcar(relaxation[:1], head=head))))
    assert frame.provenance.hubbard_u == {first: 4.3}
    assert frame.provenance.pseudopotentials == f"PAW_PBE {first} 05Jan2001, PAW_PBE {second} 05Jan2001"
    pressed = next(read_frames(write(tmp_path / "vasprun.xml", vasprun(relaxation[:1], PSTRESS="100.0"))))
    assert pressed.energy == pytest.approx(relaxation[0].energy, abs=1e-7)


# --- Quantum ESPRESSO and GPAW --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "tolerance"), [("si.pwo.gz", 6e-4), ("si_gpaw.txt.gz", 1e-4)])
def test_stress_and_forces_are_derivatives_of_the_file_s_own_energies(name, tolerance):
    """σ_k V = dE/dε_k in each of the six directions, F = -dE/dr; strains of 0.004 and moves of 0.02 Å either way."""
    base, *others = read_frames(SAMPLES / name)
    assert len(others) == 14
    for k in range(6):
        plus, minus = others[2 * k : 2 * k + 2]
        strain = np.linalg.solve(base.cell, plus.cell - minus.cell) / 2
        assert np.count_nonzero(np.abs(strain) > 1e-4) == (1 if k < 3 else 2)
        # Shear counts twice in the work, and is spread on two elements of the strain.
        slope = (plus.energy - minus.energy) / (2 * 0.004 * base.volume)
        assert slope == pytest.approx(base.stress[k], abs=tolerance)
    plus, minus = others[12:]
    move = plus.positions[1, 1] - minus.positions[1, 1]
    assert -(plus.energy - minus.energy) / move == pytest.approx(base.forces[1, 1], rel=1e-3)
    assert base.stress[0] < -0.08  # a compressed crystal pushes outwards


def test_a_relaxation_of_espresso_as_ase_reads_it():
    frames = list(read_frames(SAMPLES / "al_vcrelax.pwo.gz"))
    with gzip.open(SAMPLES / "al_vcrelax.pwo.gz", "rt") as file:
        theirs = ase.io.read(StringIO(file.read()), ":", format="espresso-out")
    # The last is the final scf calculation, in the cell of the last step.
    assert len(frames) == len(theirs) == 4
    for frame, atoms in zip(frames, theirs, strict=True):
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        assert np.allclose(frame.forces, atoms.get_forces(), atol=1e-6)
        assert np.allclose(frame.stress, atoms.get_stress(), atol=1e-8)
        assert np.allclose(frame.cell, atoms.cell.array, atol=1e-5)
        assert np.allclose(frame.positions, atoms.positions, atol=1e-5)
    assert not np.allclose(frames[0].cell, frames[1].cell)
    p = frames[0].provenance
    assert (p.code, p.functional, p.pseudopotentials) == ("Quantum ESPRESSO 6.7MaX", "LDA", "Al.pz-vbc.UPF")


def test_espresso_with_spin_and_u():
    (frame,) = read_frames(SAMPLES / "fe_u.pwo.gz")
    assert frame.magmoms == pytest.approx([3.3066, 3.3065])
    assert frame.provenance.hubbard_u == {"Fe": 2.5} and frame.provenance.functional == "PBE"


def test_espresso_7_says_u_and_moments_in_other_words(tmp_path):
    with gzip.open(SAMPLES / "fe_u.pwo.gz", "rt") as file:
        text = file.read()
    table = text[text.index("     Simplified LDA+U") : text.index("\n\n", text.index("     Simplified LDA+U"))]
    said = "     Hubbard parameters of DFT+U (Dudarev formulation) in eV:\n     U(Fe-3d) =  2.5000\n"
    text = re.sub(r"atom: +(\d) +charge: +(\S+) +magn: +(\S+) .*", r"atom  \1 (R=0.357)  charge= \2  magn=  \3", text)
    frame = next(read_frames(write(tmp_path / "output", text.replace(table, said))))
    assert frame.provenance.hubbard_u == {"Fe": 2.5} and frame.magmoms == pytest.approx([3.3066, 3.3065])


@pytest.mark.parametrize("name", ["al_unconverged.pwo.gz", "unconverged_gpaw.txt.gz", "unconverged_gpaw_legacy.txt.gz"])
def test_electrons_that_did_not_converge(name):
    assert read(SAMPLES / name) == ([], {"electrons not converged": 1})
    with pytest.raises(DataError, match="its electronic steps did not converge"):
        list(read_frames(SAMPLES / name))


def test_an_unconverged_run_of_espresso_can_be_kept():
    (frame,) = read_frames(SAMPLES / "al_unconverged.pwo.gz", unconverged="keep")
    assert frame.provenance.config_type == "unconverged" and frame.energy < 0 and frame.forces is None


@pytest.mark.parametrize(
    ("name", "mark"), [("al_vcrelax.pwo.gz", "!    total energy"), ("si_gpaw.txt.gz", "Stress te")]
)
@pytest.mark.parametrize("after", [0, 300])
def test_a_killed_run_of_espresso_or_gpaw(tmp_path, name, mark, after):
    with gzip.open(SAMPLES / name, "rt") as file:
        text = file.read()
    whole = list(read_frames(SAMPLES / name))
    third = text.index(mark, text.index(mark, text.index(mark) + 1) + 1)
    path = write(tmp_path / "output", text[: third + after - (200 if after == 0 else 290)])
    frames, skipped = read(path)
    assert len(frames) == 2 and skipped == {"incomplete step": 1}
    for found, frame in zip(frames, whole, strict=False):
        assert found.energy == frame.energy and np.array_equal(found.stress, frame.stress)
    with pytest.raises(DataError, match=r"frame 2 \(counted from 0\): the file ends within this step"):
        list(read_frames(path))


def test_gpaw_says_the_same_in_all_its_files():
    text, binary, trajectory = (next(read_frames(SAMPLES / f"small_gpaw.{end}")) for end in ("txt.gz", "gpw", "traj"))
    for other in (binary, trajectory):
        assert text.energy == pytest.approx(other.energy, abs=1e-6)
        assert np.allclose(text.forces, other.forces, atol=1e-5) and np.allclose(text.stress, other.stress, atol=1e-6)
        assert np.allclose(text.positions, other.positions, atol=1e-6) and np.allclose(text.cell, other.cell, atol=1e-6)
    assert text.provenance.functional == binary.provenance.functional == trajectory.provenance.functional == "PBE"
    assert text.provenance.code == binary.provenance.code == "GPAW 26.7.0"
    new, legacy = (next(read_frames(SAMPLES / f"si_gpaw{end}.txt.gz")) for end in ("", "_legacy"))
    assert new.energy == pytest.approx(legacy.energy, abs=1e-5)
    assert np.allclose(new.stress, legacy.stress, atol=1e-4) and np.allclose(new.forces, legacy.forces, atol=1e-3)
    assert new.provenance == legacy.provenance.__class__(**{
        **{f: getattr(legacy.provenance, f) for f in legacy.provenance.__slots__}, "source": "si_gpaw.txt.gz",
    })  # fmt: skip
    extrapolated = next(read_frames(SAMPLES / "small_gpaw.txt.gz", energy_key="energy"))
    assert extrapolated.energy - text.energy == pytest.approx(0.016623, abs=2e-6)


@pytest.mark.parametrize("name", ["h_gpaw.txt.gz", "h_gpaw_legacy.txt.gz"])
def test_gpaw_with_spin_along_one_periodic_axis(name):
    (frame,) = read_frames(SAMPLES / name)
    assert frame.pbc.tolist() == [True, False, False] and frame.stress is None
    assert frame.magmoms == pytest.approx([0.316713, 0.304919]) and frame.provenance.functional == "LDA"
    assert frame.energy == pytest.approx(2.587433) and np.abs(frame.forces).max() == pytest.approx(3.597, abs=1e-3)


# --- DeepMD, and all together ---------------------------------------------------------------------------------------


def deepmd(folder: Path, frames: list[Frame], sets: int = 1, nopbc: bool = False) -> Path:
    """A system's folder, in double precision."""
    folder.mkdir()
    symbols = list(dict.fromkeys(frames[0].symbols))
    (folder / "type_map.raw").write_text("\n".join(symbols))
    (folder / "type.raw").write_text("\n".join(str(symbols.index(s)) for s in frames[0].symbols))
    if nopbc:
        (folder / "nopbc").write_text("")
    for k, part in enumerate(np.array_split(np.arange(len(frames)), sets)):
        chosen = [frames[i] for i in part]
        where = folder / f"set.{k:03d}"
        where.mkdir()
        np.save(where / "coord.npy", [f.positions.ravel() for f in chosen])
        np.save(where / "energy.npy", [f.energy for f in chosen])
        np.save(where / "force.npy", [f.forces.ravel() for f in chosen])
        if not nopbc:
            np.save(where / "box.npy", [f.cell.ravel() for f in chosen])
            np.save(where / "virial.npy", [-f.volume * stress_from_voigt(f.stress).ravel() for f in chosen])
    return folder


def test_deepmd_folders(tmp_path, relaxation):
    frames = list(read_frames(deepmd(tmp_path / "a", relaxation, sets=2)))
    for found, frame in zip(frames, relaxation, strict=True):
        assert_same(found, frame, 1e-12, 1e-12, 1e-12)
    (tmp_path / "a" / "type_map.raw").unlink()
    with pytest.raises(DataError, match="type_map.raw: is missing"):
        list(read_frames(tmp_path / "a"))
    symbols = ",".join(dict.fromkeys(relaxation[0].symbols))
    assert next(read_frames(tmp_path / "a", type_map=symbols)).symbols == relaxation[0].symbols
    molecule = next(read_frames(deepmd(tmp_path / "b", relaxation, nopbc=True)))
    assert not molecule.pbc.any() and molecule.stress is None and not molecule.cell.any()
    (tmp_path / "b" / "set.000" / "force.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"force.npy: can't be read"):
        list(read_frames(tmp_path / "b"))
    np.save(tmp_path / "b" / "set.000" / "force.npy", np.zeros((4, 5)))
    with pytest.raises(DataError, match=r"force.npy: has 20 numbers, expected"):
        list(read_frames(tmp_path / "b"))


def test_deepmd_mixed_format(tmp_path, relaxation):
    folder = deepmd(tmp_path / "a", relaxation)
    types = np.array((folder / "type.raw").read_text().split(), dtype=int)
    real = np.tile(types, (4, 1))
    real[1, -1] = -1
    np.save(folder / "set.000" / "real_atom_types.npy", real)
    (folder / "type.raw").write_text("0\n" * len(types))
    frames = list(read_frames(folder))
    assert frames[0].symbols == relaxation[0].symbols and frames[1].symbols == relaxation[1].symbols[:-1]
    assert np.array_equal(frames[1].forces, relaxation[1].forces[:-1])


@pytest.mark.parametrize("source", ["si.pwo.gz", "si_gpaw.txt.gz"])
def test_one_frame_has_one_stress_through_every_format(tmp_path, source):
    frame = next(read_frames(SAMPLES / source))
    atoms = frame.to_atoms()
    ase_write(tmp_path / "a.extxyz", atoms)
    ase_write(tmp_path / "a.traj", atoms)
    ase_write(tmp_path / "a.db", atoms)
    paths = [tmp_path / f"a.{end}" for end in ("extxyz", "traj", "db")]
    paths += [write(tmp_path / "vasprun.xml", vasprun([frame])), write(tmp_path / "OUTCAR", outcar([frame]))]
    paths += [deepmd(tmp_path / "system", [frame])]
    for path in paths:
        (found,) = read_frames(path)
        assert np.allclose(found.stress, frame.stress, atol=2e-8), path.name
        assert np.allclose(found.forces, frame.forces, atol=1e-6) and found.energy == pytest.approx(frame.energy)
    assert np.abs(np.diff(np.abs(frame.stress[3:]))).min() > 0.01, "shears must differ, or an order can't be told"
    assert PRESETS["espresso"].to_stress(np.eye(3))[0] == pytest.approx(-91.8157665)
