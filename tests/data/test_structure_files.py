"""Structures of any file that ASE reads: whole atoms, neutral, or a sentence."""

import os
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from gnnpot.data.structure_files import iterate_structures, read_all_structures, read_structure
from gnnpot.data.unlabelled import read_structures
from gnnpot.errors import DataError
from tests.data.cif import cif_text

ORIGIN, CENTRE = (0, 0, 0), (0.5, 0.5, 0.5)


def fcc_cif(*sites) -> str:
    return cif_text(3.6, sites, "F m -3 m")


@pytest.mark.parametrize(
    ("sites", "problem"),
    [
        ([("Fe", ORIGIN, 0.6), ("Ni", ORIGIN, 0.4)], "site 0 is occupied by 0.6 Fe and 0.4 Ni"),
        ([("Li", ORIGIN, 0.5)], "site 0 is occupied by 0.5 Li"),
        ([("Li", ORIGIN, 1.0), ("Li", CENTRE, 0.33)], "site 1 is occupied by 0.33 Li"),
    ],
)
def test_partial_occupancies_are_refused(tmp_path, sites, problem):
    (tmp_path / "a.cif").write_text(fcc_cif(*sites))
    for reader in (read_structure, read_all_structures):
        with pytest.raises(DataError, match=f"a.cif: {problem}.*order the structure first"):
            reader(tmp_path / "a.cif")


def test_whole_occupancies_are_read(tmp_path):
    (tmp_path / "a.cif").write_text(fcc_cif(("Fe", ORIGIN, 1.0)))
    assert read_structure(tmp_path / "a.cif").get_chemical_formula() == "Fe4"
    (frame,) = read_all_structures(tmp_path / "a.cif")
    assert frame.provenance.source == "a.cif" and frame.energy is None


def test_occupancies_of_pdb(tmp_path):
    line = "ATOM      1  CA  ALA A   1       0.000   0.000   {x:5.3f}{share:6.2f}  0.00           C  \n"
    for shares, well in (((1.0, 1.0), True), ((0.0, 0.0), True), ((1.0, 0.5), False)):
        text = "".join(line.format(x=1.5 * k, share=share) for k, share in enumerate(shares))
        (tmp_path / "a.pdb").write_text(text)
        if well:
            assert len(read_structure(tmp_path / "a.pdb")) == 2
        else:
            with pytest.raises(DataError, match="site 1 is occupied by 0.5 C"):
                read_structure(tmp_path / "a.pdb")


def test_charged_structures_and_what_is_no_file(tmp_path):
    atoms = bulk("Cu")
    atoms.info["charge"] = 1
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    with pytest.raises(DataError, match="total charge of 1"):
        read_structure(tmp_path / "a.xyz")
    os.mkfifo(tmp_path / "b.cif")
    for path, problem in ((tmp_path / "b.cif", "no ordinary file"), (tmp_path / "c.cif", "no such file")):
        with pytest.raises(DataError, match=problem):
            read_structure(path)
    (tmp_path / "d.cif").write_text("nothing")
    with pytest.raises(DataError, match="can't be read as a structure"):
        read_structure(tmp_path / "d.cif")


def test_every_frame_of_a_stream_is_checked(tmp_path):
    good, charged = bulk("Cu"), bulk("Cu")
    charged.info["charge"] = 1
    write(tmp_path / "two.extxyz", [good, charged])
    stream = iterate_structures(tmp_path / "two.extxyz")
    assert len(next(stream)) == 1
    with pytest.raises(DataError, match="charge"):
        next(stream)
    (tmp_path / "empty.extxyz").touch()
    with pytest.raises(DataError, match="is empty"):
        iterate_structures(tmp_path / "empty.extxyz")


def test_bundled_frames_are_structures():
    assert len(read_structure("bundled:gpaw-pbe")) > 0
    with pytest.raises(DataError, match="bundled:gpaw-pbe"):
        read_structure("bundled:nothing")


def test_more_atoms_announced_than_a_file_can_hold(tmp_path):
    path = tmp_path / "huge.extxyz"
    path.write_text("999999999999\ncomment\nCu 0 0 0\n")
    with pytest.raises(DataError, match="too small for them"):
        read_structure(path)


@pytest.mark.parametrize("ending", ["gz", "xz", "bz2"])
def test_a_compressed_file_of_frames_is_read_as_the_plain_one(tmp_path, ending):
    frames = [bulk(symbol) for symbol in ("Cu", "Al", "Ag")]
    write(tmp_path / "a.extxyz", frames)
    write(tmp_path / f"a.extxyz.{ending}", frames)
    plain, packed = (list(iterate_structures(tmp_path / name)) for name in ("a.extxyz", f"a.extxyz.{ending}"))
    assert plain == packed and read_structure(tmp_path / f"a.extxyz.{ending}", -2) == plain[1]
    whole = (tmp_path / f"a.extxyz.{ending}").read_bytes()
    (tmp_path / f"cut.extxyz.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated or damaged|can't be read"):
        list(iterate_structures(tmp_path / f"cut.extxyz.{ending}"))


def test_comment_lines_that_say_two_things_are_refused(tmp_path):
    path = tmp_path / "odd.extxyz"
    second = "1\n{}\nCu 0 0 0\n"
    cell = 'Lattice="5 0 0 0 5 0 0 0 5"'
    for comment, words in (
        (f"{cell} {cell.lower()}", "line 5 has Lattice= twice"),
        (f'{cell} pbc="T T maybe"', "pbc in line 5 is not three flags"),
        (f"{cell} pbc=5", "pbc in line 5 is not three flags"),
    ):
        path.write_text(second.format(cell) + second.format(comment))
        with pytest.raises(DataError, match=words):
            read_structure(path)
    for flags in ('"T F T"', "[T,F,T]", "(true false true)", "T", '"1 0 1"', "{T F T}"):
        path.write_text(second.format(f"{cell} pbc={flags}"))
        try:
            read_structure(path)
        except DataError as error:
            # of ASE's reader, which knows fewer spellings
            assert "pbc in line" not in str(error)
    path.write_text(second.format(f"{cell} charge=plus"))
    with pytest.raises(DataError, match="a total charge that is no number"):
        read_structure(path)
    path.write_text(second.format(f"{cell} charge=none"))
    assert len(read_structure(path)) == 1


def test_an_at_sign_belongs_to_the_name(tmp_path):
    """For ASE, "POSCAR@2" is structure 2 of the file "POSCAR"."""
    write(tmp_path / "POSCAR", bulk("Al"), format="vasp")
    for name in ("POSCAR@2", "Cu@mp-30.cif", "hot@300K.extxyz"):
        write(tmp_path / name, bulk("Cu"), format="vasp" if name.startswith("POSCAR") else None)
        found = [
            read_structure(tmp_path / name),
            read_structure(tmp_path / name, -1),
            *iterate_structures(tmp_path / name),
        ]
        found += [frame.to_atoms() for frame in read_all_structures(tmp_path / name)]
        assert [str(atoms.symbols) for atoms in found] == ["Cu"] * 4
        with pytest.raises(DataError, match="no structure of index 7"):
            read_structure(tmp_path / name, 7)


def test_a_file_without_structures_is_not_passed_over(tmp_path):
    (tmp_path / "README.md").write_text("# About these files\n\nThey are crystals.\n")
    for reader in (read_all_structures, lambda path: list(iterate_structures(path))):
        with pytest.raises(DataError, match="README.md: (holds no structures|can't be read)"):
            reader(tmp_path / "README.md")


@pytest.mark.parametrize("name", ["al_unconverged.pwo.gz", "unconverged_gpaw.txt.gz", "vasp/OUTCAR.nelm-5.4.4.xz"])
def test_structures_need_no_labels_that_converged(name):
    """Commands that read no labels have no option that lets such steps pass."""
    path = Path(__file__).parent / "samples" / name
    frames = read_structures([path])
    assert frames and all(not frame.labels for frame in frames)
