"""What in a file could mean another quantity, unit or structure is refused; damaged bytes are sentences."""

import gzip
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as ase_write

from gnnpot.data import read_frames
from gnnpot.data.readers.base import read_numbered
from gnnpot.data.readers.names import may_be
from gnnpot.errors import DataError, GnnpotError

from .conftest import make_frame
from .test_dft_readers import deepmd

SAMPLES = Path(__file__).parent / "samples"
LATTICE = 'Lattice="4 0 0 0 4 0 0 0 4" '
ATOM = "1\nProperties=species:S:1:pos:R:3 energy=-1\nNa 0 0 0\n"


def xyz(path, comment="", forces="forces", atoms="Na 0 0 0 0.1 0 0\nCl 2 2 2 -0.1 0 0\n", before="", lattice=LATTICE):
    path.write_text(f"{before}2\n{lattice}Properties=species:S:1:pos:R:3:{forces}:R:3 {comment}\n{atoms}")
    return path


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "yes", "no"),
    [
        ("energy", "REF_energy Energy TotEnergy energy-dft dft_energy total.energy potentialEnergy energy: TOTEN Etot",
         "energy_per_atom formation_energy e_above_hull kinetic_energy energy_std fermi_energy energies energy_unit"),
        ("forces", "force forces_dft REF_Forces for frc DFT-force", "force_constants forces_std fmax force_mask"),
        ("stress", "REF_stress virial_dft Stress virials", "stress_unit strain stress_error distress"),
        ("magmoms", "dft_magmoms REF_magmom", "initial_magmoms magnet"),
    ],
)  # fmt: skip
def test_names_that_could_be_a_label(label, yes, no):
    assert [name for name in yes.split() if not may_be(label, name)] == []
    assert [name for name in no.split() if may_be(label, name)] == []


@pytest.mark.parametrize("before", ["", ATOM])
@pytest.mark.parametrize("name", ["REF_forces", "force", "for", "forces_dft"])
def test_names_of_forces_are_asked_for_in_the_frame_where_they_appear(tmp_path, name, before):
    path = xyz(tmp_path / "a.xyz", "energy=-1", forces=name, before=before)
    number = 1 if before else 0
    with pytest.raises(DataError, match=f"frame {number} has no 'forces' but '{name}'; .*forces_key='{name}'"):
        list(read_frames(path))
    assert list(read_frames(path, forces_key=name))[-1].forces[0, 0] == 0.1
    assert list(read_frames(path, forces_key=""))[-1].forces is None


@pytest.mark.parametrize("name", ["REF_energy", "TotEnergy", "energy-dft", "ENERGY"])
def test_two_names_of_one_label_are_not_chosen_between(tmp_path, name):
    path = xyz(tmp_path / "a.xyz", f"energy=-1 {name}=-2")
    with pytest.raises(DataError, match=f"has 'energy' and '{name}'; .*energy_key='{name}', or energy_key='energy'"):
        list(read_frames(path))
    assert [next(read_frames(path, energy_key=key)).energy for key in ("energy", name)] == [-1, -2]


def test_names_of_something_else_beside_a_label_do_not_matter(tmp_path):
    comment = (
        "energy=-1 energy_per_atom=-0.5 formation_energy=0.1 energy_unit=eV time_unit=fs fmax=0.3 energy_model=PBE"
    )
    assert next(read_frames(xyz(tmp_path / "a.xyz", comment))).energy == -1
    # words of a title
    assert next(read_frames(xyz(tmp_path / "b.xyz", "lowest energy structure"))).energy is None


def test_results_of_a_calculator_are_no_question_of_names(tmp_path):
    atoms = Atoms("Cu", cell=[3, 3, 3], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)))
    atoms.info["dft_energy"] = -2.0
    ase_write(tmp_path / "a.traj", atoms)
    assert next(read_frames(tmp_path / "a.traj")).energy == -1


# --- units and charges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "energy-unit=hartree", "energy_units=Ha", "energyUnit=kcal/mol", "energy_unit=eV/atom", "force_unit=Ha/Bohr",
        "forces-units=Ry/au", "length_unit=bohr", "pos_unit=nm", "units=atomic", "unit=Hartree", 'units="Ha, Bohr"',
    ],
)  # fmt: skip
def test_other_units_under_any_spelling(tmp_path, header):
    for before in ("", ATOM):
        with pytest.raises(DataError, match="says .*; gnnpot reads eV and Å, convert the file first"):
            list(read_frames(xyz(tmp_path / "a.xyz", f"energy=-1 {header}", before=before)))


@pytest.mark.parametrize(
    "header",
    ["energy_unit=eV", "energy-unit=EV", "force_unit=eV/A", "forces_units=eV/Ang", "units=metal",
     'units="eV, Angstrom"', "length_unit=Angstrom", "pos-unit=Å", "stress-unit=eV/A^3", "virial_unit=eV"],
)  # fmt: skip
def test_own_units_under_any_spelling(tmp_path, header):
    assert next(read_frames(xyz(tmp_path / "a.xyz", f"energy=-1 {header}"))).energy == -1


@pytest.mark.parametrize("name", ["stress_unit", "stress-unit", "stressUnits"])
def test_the_unit_of_stress_asks_for_its_convention(tmp_path, name):
    path = xyz(tmp_path / "a.xyz", f'stress="1 2 3 4 5 6" {name}=GPa')
    with pytest.raises(DataError, match="name its convention: stress='GPa:tension'"):
        list(read_frames(path))
    assert next(read_frames(path, stress="gpa")).stress[0] == pytest.approx(1 / 160.21766)


@pytest.mark.parametrize("name", ["charge", "total_charge", "Charge", "system-charge"])
def test_charged_frames(tmp_path, name):
    path = xyz(tmp_path / "a.xyz", f"energy=-1 {name}=1.0")
    skipped = Counter()
    assert not list(read_frames(path, bad_frames="skip", skipped=skipped)) and skipped == {"charged": 1}
    assert len(list(read_frames(path, total_charge="ignore"))) == 1
    assert len(list(read_frames(xyz(tmp_path / "b.xyz", f"energy=-1 {name}=0")))) == 1


def test_a_charged_run_of_espresso(tmp_path):
    with gzip.open(SAMPLES / "fe_u.pwo.gz", "rt") as file:
        text = file.read()
    for old, new, reason in (
        ("number of electrons       =        16.00", "number of electrons       =        15.00", "charged"),
        ("Fe( 1.00)", "Fe( 0.50) Ni( 0.50)", "mixed elements"),
    ):
        assert old in text
        (tmp_path / "a.pwo").write_text(text.replace(old, new))
        skipped = Counter()
        assert not list(read_frames(tmp_path / "a.pwo", bad_frames="skip", skipped=skipped)) and skipped == {reason: 1}


# --- what a file can't mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "forces", "atoms", "problem"),
    [
        ("energy=1e308", "forces", None, "implausibly large"),
        ("energy=(1+2j)", "forces", None, "is no number"),
        ("energy=1 energy=2", "forces", None, "energy= twice"),
        ("energy=1", "pos", None, "each once"),
        ("energy=1", "forces", "119 0 0 0 0 0 0\nCl 2 2 2 0 0 0\n", "no elements"),
        ("energy=1", "forces", "²2 0 0 0 0 0 0\nCl 2 2 2 0 0 0\n", "no chemical element"),
        ("energy=1", "forces", f"{'9' * 5000} 0 0 0 0 0 0\nCl 2 2 2 0 0 0\n", "no chemical element"),
        ("energy=1", "forces", "Na 0 0 0 1e30 0 0\nCl 2 2 2 0 0 0\n", "implausibly large"),
        ("energy=1", "forces", "Na 0 0 0 1e30 0 0\nCl 1e18 2 2 0 0 0\n", "positions has a value of 1e.18"),
    ],
)
def test_labels_and_structures_that_can_not_be_meant(tmp_path, comment, forces, atoms, problem):
    path = xyz(tmp_path / "a.xyz", comment, forces, **({} if atoms is None else {"atoms": atoms}))
    with pytest.raises(DataError, match=problem):
        list(read_frames(path))


def test_a_stress_that_is_no_symmetric_tensor(tmp_path):
    with pytest.raises(DataError, match="not a symmetric tensor"):
        list(read_frames(xyz(tmp_path / "a.xyz", 'stress="1 2 3 4 5 6 7 8 9"')))


def test_an_archive_is_not_read_as_one_of_its_files(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "OUTCAR.tar.gz", "w:gz") as archive:
        archive.add(SAMPLES / "small_gpaw.traj", "small_gpaw.traj")
    with pytest.raises(DataError, match="is an archive of files; unpack it"):
        read_frames(tmp_path / "OUTCAR.tar.gz")


def test_atomic_numbers_that_are_no_whole_numbers(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\nProperties=Z:R:1:pos:R:3\n11.5 0 0 0\n")
    with pytest.raises(DataError, match="aren't whole"):
        list(read_frames(path))


def test_the_formats_own_keys_in_any_case_and_with_brackets_and_tabs(tmp_path):
    plain = next(read_frames(xyz(tmp_path / "a.xyz", 'energy=1 stress="1 2 3 2 5 6 3 6 9"')))
    spellings = (
        'lattice="4 0 0 0 4 0 0 0 4" PBC="1 1 1" ',
        'LATTICE="4, 0, 0, 0, 4, 0, 0, 0, 4"\tpbc=T ',
        'Lattice="[[4, 0, 0], [0, 4, 0], [0, 0, 4]]" pbc=[T,T,T] ',
    )
    for k, lattice in enumerate(spellings):
        comment = "energy=1\tstress=[[1, 2, 3], [2, 5, 6], [3, 6, 9]]"
        frame = next(read_frames(xyz(tmp_path / f"b{k}.xyz", comment, lattice=lattice)))
        assert np.array_equal(frame.cell, plain.cell) and frame.pbc.all() and np.array_equal(frame.stress, plain.stress)


def test_n2p2_with_tabs_and_labels_twice(tmp_path):
    text = (
        "begin\nlattice\t10 0 0\nlattice 0 10 0\nlattice 0 0 10\natom\t0 0 0 Cu 0 0 0 0 0\nenergy\t-1\ncharge 0\nend\n"
    )
    (tmp_path / "input.data").write_text(text)
    assert len(list(read_frames(tmp_path / "input.data"))) == 1
    (tmp_path / "input.data").write_text(text.replace("charge 0", "energy -2"))
    with pytest.raises(DataError, match="twice"):
        list(read_frames(tmp_path / "input.data"))


def test_deepmd_types_and_numbers_that_can_not_be(tmp_path):
    frames = [make_frame(seed=k, magmoms=None) for k in range(2)]
    folder = deepmd(tmp_path / "a", frames)
    np.save(folder / "set.000" / "real_atom_types.npy", np.array([[0, 1], [0, -3]]))
    skipped = Counter()
    assert len(list(read_frames(folder, bad_frames="skip", skipped=skipped))) == 1 and skipped == {"unknown type": 1}
    np.save(folder / "set.000" / "real_atom_types.npy", np.array([[0, 1], [0, 0.5]]))
    with pytest.raises(DataError, match="aren't whole"):
        list(read_frames(folder))
    (folder / "set.000" / "real_atom_types.npy").unlink()
    (folder / "type.raw").write_text("0 -3")
    with pytest.raises(DataError, match="types are numbers from 0"):
        list(read_frames(folder))
    (folder / "type.raw").write_text("0 1")
    for values in (np.array([1 + 2j, 2]), np.array([True, False]), np.array(["a", "b"])):
        np.save(folder / "set.000" / "energy.npy", values)
        with pytest.raises(DataError, match="holds no real numbers"):
            list(read_frames(folder))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.xyz")
    for options in ({}, {"format": "extxyz"}):
        with pytest.raises(DataError, match="no ordinary file"):
            read_frames(tmp_path / "a.xyz", **options)


# --- damage ---------------------------------------------------------------------------------------------------------


def damaged(data: bytes, seed: int) -> bytes:
    """The same with a few bytes cut out, doubled, flipped, or replaced by what programs write for what they can't."""
    chance = random.Random(seed)
    result = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 10])):
        i = chance.randrange(len(result))
        match chance.randrange(6):
            case 0:
                result[i] ^= 1 << chance.randrange(8)
            case 1:
                del result[i : i + chance.randrange(1, 200)]
            case 2:
                result[i:i] = result[i : i + chance.randrange(1, 200)]
            case 3:
                result[i : i + 8] = b"*" * 8
            case 4:
                result[i : i + 5] = chance.choice([b"nan", b"1e308", b"9" * 5000, b"-3", b"", b"1+2j", b"\xff"])
            case 5:
                end = result.find(b" ", i)
                result[i : max(end, i)] = chance.choice([b"0", b"-1", b"1e300", b"99999999999999999999", b"x"])
        result = result or bytearray(b" ")
    return bytes(result)


@pytest.mark.parametrize(
    "path",
    [*sorted((SAMPLES / "vasp").glob("*6.4.2*")), *sorted(SAMPLES.glob("*_vcrelax.pwo.gz")), SAMPLES / "h_gpaw.txt.gz",
     SAMPLES / "small_gpaw.gpw", SAMPLES / "small_gpaw.traj"],
    ids=lambda path: path.name,
)  # fmt: skip
def test_damaged_files_end_in_sentences(tmp_path, path):
    import lzma

    data = path.read_bytes()
    data = {"gz": gzip.decompress, "xz": lzma.decompress}.get(path.suffix[1:], bytes)(data)
    target = tmp_path / path.name.removesuffix(".gz").removesuffix(".xz")
    for seed in range(25):
        target.write_bytes(damaged(data, seed))
        try:
            list(read_numbered(target))
        except GnnpotError as error:
            assert "\n" not in str(error), seed
