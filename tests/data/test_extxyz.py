"""Extended XYZ: what is read, what is refused, and that it streams."""

import gzip
import tracemalloc
from collections import Counter

import ase.io
import numpy as np
import pytest

from gnnpot.data import read_frames
from gnnpot.data.readers.extxyz import parse_comment
from gnnpot.errors import DataError
from gnnpot.units import KBAR

LATTICE = 'Lattice="4 0 0 0 4 0 0 0 4" '
PROPERTIES = "Properties=species:S:1:pos:R:3:forces:R:3 "
ATOMS = "Na 0 0 0 0.1 0 0\nCl 2 2 2 -0.1 0 0\n"


def write(path, *comments, atoms=ATOMS):
    count = atoms.count("\n")
    path.write_text("".join(f"{count}\n{LATTICE}{PROPERTIES}{c}\n{atoms}" for c in comments))
    return path


def read(path, **options):
    return list(read_frames(path, **options))


def test_a_frame_is_read_with_all_that_the_file_says(tmp_path):
    comment = (
        'energy=-3.5 stress="1 6 5 6 2 4 5 4 3" material_id=12 source_id=T config_type="bulk \\"a\\"" '
        'hubbard_u="_JSON {\\"Fe\\": 5.3}" functional=PBE code="VASP 6"'
    )
    (frame,) = read(write(tmp_path / "a.extxyz", comment))
    assert frame.numbers.tolist() == [11, 17] and frame.pbc.all() and frame.volume == pytest.approx(64)
    assert frame.energy == -3.5 and frame.forces[1, 0] == -0.1
    assert frame.stress.tolist() == [1, 2, 3, 4, 5, 6]
    p = frame.provenance
    assert (p.source, p.source_id, p.material_id, p.config_type) == ("a.extxyz", "T", "12", 'bulk "a"')
    assert (p.hubbard_u, p.functional, p.code) == ({"Fe": 5.3}, "PBE", "VASP 6")


def test_the_reader_agrees_with_ases_on_real_files(shared):
    path = shared / "data/mlearn/Si_test.extxyz.gz"
    ours, theirs = read(path), ase.io.read(path, ":")
    assert len(ours) == len(theirs) == 25
    for frame, atoms in zip(ours, theirs, strict=True):
        assert np.array_equal(frame.numbers, atoms.numbers) and np.array_equal(frame.positions, atoms.positions)
        assert np.array_equal(frame.cell, atoms.cell.array) and np.array_equal(frame.pbc, atoms.pbc)
        assert frame.energy == atoms.get_potential_energy() and np.array_equal(frame.forces, atoms.get_forces())
        assert np.allclose(frame.stress, atoms.get_stress(), rtol=0, atol=1e-15)
        assert frame.provenance.config_type == atoms.info.get("group", "")


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("a=1 b", {"a": "1", "b": "T"}),
        ('a="1 2" b={3 4} c=[5, 6]', {"a": "1 2", "b": "3 4", "c": "5, 6"}),
        ("a = 1 b='x y'", {"a": "1", "b": "x y"}),
        ('"a key"=1 b="say \\"no\\""', {"a key": "1", "b": 'say "no"'}),
        ("", {}),
    ],
)
def test_comment_lines(comment, expected):
    assert parse_comment(comment) == expected


def test_a_material_without_an_id_is_its_reduced_formula(tmp_path):
    path = write(tmp_path / "a.xyz", "energy=1 spg=A", "energy=2 spg=B")
    assert {f.provenance.material_id for f in read(path)} == {"ClNa"}
    assert [f.provenance.material_id for f in read(path, material_key="spg")] == ["A", "B"]
    assert [f.provenance.material_id for f in read(path, material_key="frame")] == ["a.xyz:0", "a.xyz:1"]
    with pytest.raises(DataError, match="frame 0 .*no material key 'spq'; did you mean 'spg'"):
        read(path, material_key="spq")


def test_keys_of_other_names_must_be_named(tmp_path):
    path = write(tmp_path / "a.xyz", "REF_energy=-1", 'REF_energy=-2 REF_stress="1 2 3 4 5 6"')
    with pytest.raises(DataError, match="energy_key='REF_energy'"):
        read(path)
    with pytest.raises(DataError, match="frame 1 has no 'stress' but 'REF_stress'; .* stress_key='REF_stress'"):
        read(path, energy_key="REF_energy")
    assert [f.energy for f in read(path, energy_key="REF_energy", stress_key="")] == [-1, -2]
    assert [f.energy for f in read(path, energy_key="", stress_key="")] == [None, None]
    with pytest.raises(DataError, match="no frame has the energy key 'REF_enrgy'; did you mean 'REF_energy'"):
        read(path, energy_key="REF_enrgy", stress_key="")
    second = read(path, energy_key="REF_energy", stress_key="REF_stress")[1]
    assert second.stress.tolist() == [1, 2, 3, 4, 5, 6]


def test_the_force_consistent_energy_is_taken(tmp_path):
    assert read(write(tmp_path / "a.xyz", "energy=1 free_energy=2"))[0].energy == 2


def test_stress_conventions_of_files(tmp_path):
    six = write(tmp_path / "six.xyz", 'stress="10 20 30 1 2 3"')
    frame = read(six, stress="vasp-kbar")[0]
    assert np.allclose(frame.stress, -KBAR * np.array([10, 20, 30, 2, 3, 1]))
    virial = read(write(tmp_path / "virial.xyz", 'virial="64 0 0 0 64 0 0 0 64"'))[0]
    assert np.allclose(virial.stress, [-1, -1, -1, 0, 0, 0])
    with pytest.raises(DataError, match="stress='GPa:tension'"):
        read(write(tmp_path / "b.xyz", 'stress="1 2 3 4 5 6" stress_unit=GPa'))
    with pytest.raises(DataError, match="energy_unit=ry"):
        read(write(tmp_path / "c.xyz", "energy=1 energy_unit=Ry"))


def test_molecules_and_plain_xyz(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("2\nhydrogen\nH 0 0 0\nh 0 0 0.74\n\n")
    (frame,) = read(path)
    assert not frame.pbc.any() and frame.volume == 0 and frame.energy is None
    path.write_text('1\nLattice="4 0 0 0 4 0 0 0 0" pbc="T T F" Properties=Z:I:1:pos:R:3\n14 0 0 0\n')
    (frame,) = read(path)
    assert frame.pbc.tolist() == [True, True, False] and frame.numbers.tolist() == [14]


BAD_FRAMES = {
    "NaN energy": (f"2\n{LATTICE}{PROPERTIES}energy=nan\n{ATOMS}", "energy has NaN"),
    "NaN force": (f"2\n{LATTICE}{PROPERTIES}\n{ATOMS.replace('0.1', 'NaN')}", "forces has NaN"),
    "unknown element": (f"2\n{LATTICE}{PROPERTIES}\n{ATOMS.replace('Na', 'Qq')}", "'Qq' is no chemical element"),
    "one place": (f"2\n{LATTICE}{PROPERTIES}\n{ATOMS.replace('2 2 2', '4 4 0')}", "at one place"),
    "flat cell": (f'2\nLattice="4 0 0 0 4 0 4 4 0" {PROPERTIES}\n{ATOMS}', "no volume"),
    "lattice": (f'2\nLattice="4 0 0 0 4 0" {PROPERTIES}\n{ATOMS}', "Lattice has 6 numbers"),
    "columns": (f"2\n{LATTICE}{PROPERTIES}\n{ATOMS.replace('0.1 0 0', '0.1 0')}", "has 6 columns"),
    "word": (f"2\n{LATTICE}{PROPERTIES}energy=low\n{ATOMS}", "'low' is no number"),
    "stress": (f'2\n{LATTICE}{PROPERTIES}stress="1 2 3"\n{ATOMS}', "stress has 3 numbers"),
    "no atoms": (f"0\n{LATTICE}{PROPERTIES}\n", "no atoms"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_is_named_with_its_file_and_number_or_counted(tmp_path, name):
    text, problem = BAD_FRAMES[name]
    good = f"2\n{LATTICE}{PROPERTIES}energy=1\n{ATOMS}"
    path = tmp_path / "a.xyz"
    path.write_text(good + text + good)
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, frame 1 (counted from 0): ") and problem in message and "\n" not in message
    skipped = Counter()
    assert len(read(path, bad_frames="skip", skipped=skipped)) == 2
    assert sum(skipped.values()) == 1


BAD_FILES = {
    "empty": ("", "holds no frames"),
    "no XYZ": ("begin\nend\n", "expected a number of atoms"),
    "truncated": (f"2\n{LATTICE}{PROPERTIES}\nNa 0 0 0 0 0 0\n", "ends after 1 of 2 atoms"),
    "wrong count": (f"1\n{LATTICE}{PROPERTIES}\n{ATOMS}", "frame 1 .*count of the frame before is wrong"),
    "blank line": (f"\n2\n{LATTICE}{PROPERTIES}\n{ATOMS}", "a blank line"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("bad_frames", ["raise", "skip"])
def test_a_damaged_file_is_always_refused(tmp_path, name, bad_frames):
    text, problem = BAD_FILES[name]
    path = tmp_path / "a.xyz"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        read(path, bad_frames=bad_frames, skipped=Counter())


def test_gzip_that_is_cut_or_is_no_text(tmp_path, shared):
    whole = (shared / "data/mlearn/Si_test.extxyz.gz").read_bytes()
    path = tmp_path / "cut.extxyz.gz"
    for damaged in (whole[: len(whole) // 2], whole[:2000] + b"\0" * 50 + whole[2050:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="truncated or damaged|is not a text file|columns|number"):
            read(path)
    path.write_bytes(gzip.compress(b"\xff\xfe\x00"))
    with pytest.raises(DataError, match="is not a text file"):
        read(path)


def test_what_can_not_be_opened(tmp_path):
    for path, problem in [(tmp_path / "no.xyz", "does not exist"), (tmp_path, "is a folder")]:
        with pytest.raises(DataError, match=problem):
            read_frames(path)
    path = tmp_path / "a.cif"
    path.write_text("")
    with pytest.raises(DataError, match="known are: .*extxyz"):
        read_frames(path)
    with pytest.raises(DataError, match="format 'xyz' is not known; did you mean 'extxyz'"):
        read_frames(path, "xyz")
    with pytest.raises(DataError, match="unknown option 'enrgy_key' .*did you mean 'energy_key'"):
        read_frames(path, "extxyz", enrgy_key="a")
    with pytest.raises(DataError, match="needs skipped"):
        read_frames(path, "extxyz", bad_frames="skip")


def test_a_long_file_is_streamed(tmp_path):
    path = tmp_path / "long.extxyz.gz"
    block = f"2\n{LATTICE}{PROPERTIES}energy=1\n{ATOMS}" * 1000
    with gzip.open(path, "wt", compresslevel=1) as file:
        for _ in range(2):
            file.write(block)
    stream = read_frames(path)
    next(stream)
    tracemalloc.start()
    assert sum(1 for _ in stream) == 1999
    assert tracemalloc.get_traced_memory()[1] < 5e5
    tracemalloc.stop()
