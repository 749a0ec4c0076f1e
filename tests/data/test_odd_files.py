"""Files with contents that can't be meant: frames or one sentence, never another exception."""

import lzma
import random
import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write

from gnnpot.config import from_mapping, parse_yaml
from gnnpot.data import read_files
from gnnpot.errors import ConfigError, DataError, GnnpotError
from gnnpot.models import M3GNetConfig

CELL = 'Lattice="5 0 0 0 5 0 0 0 5" '
FORCES = "Properties=species:S:1:pos:R:3:forces:R:3 "
ATOMS = "Na 0 0 0 0 0 0\nCl 2.5 2.5 2.5 0 0 0\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"2\n{CELL}{FORCES}energy=1e308\n{ATOMS}", "energy has a value of 1e.308, which is implausibly large"),
        (f"2\n{CELL}{FORCES}energy=1+2j\n{ATOMS}", "is no number"),
        (f"2\n{CELL}{FORCES}energy=1\n{ATOMS.replace('0 0 0 0 0 0', '0 0 0 1e300 0 0')}", "forces has a value"),
        (f"2\n{CELL}Properties=species:S:1:pos:R:3:pos:R:3 energy=1\n{ATOMS}", "each once"),
        (f"2\n{CELL}{FORCES}{FORCES}energy=1\n{ATOMS}", "Properties= twice"),
        (f"2\n{CELL}{FORCES}energy=1\n{ATOMS.replace('Na', 'Uue')}", "'Uue' is no chemical element"),
        (
            "2\n" + CELL + "Properties=Z:I:1:pos:R:3:forces:R:3 energy=1\n119 0 0 0 0 0 0\n17 1 1 1 0 0 0\n",
            "no elements",
        ),
        (f"{'9' * 5000}\n{CELL}{FORCES}energy=1\n{ATOMS}", "expected a number of atoms"),
        (f"-3\n{CELL}{FORCES}energy=1\n{ATOMS}", "expected a number of atoms"),
    ],
)
def test_labels_that_can_not_be_meant(tmp_path, text, words):
    path = tmp_path / "a.extxyz"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        list(read_files([path]))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("type.raw", "-3\n1\n", "types are numbers from 0"),
        ("type.raw", "9" * 5000, "no list of type numbers"),
        ("type_map.raw", "Uue\nCl\n", "'Uue' is no chemical element"),
        ("set.000/energy.npy", np.array([1e308]), "which is implausibly large"),
        ("set.000/energy.npy", np.array([1 + 2j]), "no real numbers"),
        ("set.000/force.npy", np.zeros((1, 6), complex), "no real numbers"),
        ("set.000/energy.npy", np.array([{}], dtype=object), "can't be read"),
        ("set.000/energy.npy", np.array(["x"]), "no real numbers"),
    ],
)
def test_odd_systems_of_deepmd(tmp_path, name, value, words):
    folder = tmp_path / "system"
    (folder / "set.000").mkdir(parents=True)
    content = {
        "type.raw": "0\n1\n", "type_map.raw": "Na\nCl\n", "set.000/box.npy": 5.0 * np.eye(3).reshape(1, 9),
        "set.000/coord.npy": np.array([[0, 0, 0, 2.5, 2.5, 2.5]]), "set.000/energy.npy": np.array([1.0]),
        "set.000/force.npy": np.zeros((1, 6)),
    }  # fmt: skip
    for file, data in {**content, name: value}.items():
        if isinstance(data, str):
            (folder / file).write_text(data)
        else:
            np.save(folder / file, data)
    with pytest.raises(DataError, match=words):
        list(read_files([folder]))


@pytest.mark.parametrize(
    "value",
    ["!!timestamp 2024-13-45", "!!timestamp x", "!!bool 3", "!!int x", "!!set [1]", "9" * 5000, "0x" + "f" * 5000],
)
def test_values_of_yaml_that_are_none(value):
    with pytest.raises(ConfigError, match=r"^a\.yaml"):
        from_mapping(M3GNetConfig, {"units": parse_yaml(f"a: {value}", "a.yaml")["a"]}, "a.yaml")
    assert parse_yaml("a: 2024-13-45", "a.yaml") == {"a": "2024-13-45"}


def broken(lines: list[str], rng: random.Random) -> str:
    """Some lines removed, cut, doubled or with other numbers."""
    lines = list(lines)
    odd = ("*****", "NaN", "1e400", "9" * 5000, "-3", "", "1e308", "x")
    for _ in range(rng.choice((1, 2, 5, 30))):
        i = rng.randrange(len(lines))
        change = rng.randrange(5)
        if change == 0:
            lines[i : i + rng.randrange(1, 200)] = ["\n"]
        elif change == 1:
            lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)] + "\n"
        elif change == 2:
            lines[i] = re.sub(
                r"-?\d+(\.\d+)?", lambda m: rng.choice(odd) if rng.random() < 0.4 else m.group(), lines[i]
            )
        elif change == 3:
            lines[i] *= 3
        else:
            lines[i] = "".join(chr(rng.randrange(1, 300)) for _ in range(40)) + "\n"
    return "".join(lines)


SAMPLES = sorted((Path(__file__).parent / "samples" / "vasp").glob("OUTCAR*.xz"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.name)
def test_broken_files_of_vasp(sample, tmp_path):
    rng = random.Random(sample.name)
    lines = lzma.decompress(sample.read_bytes()).decode(errors="replace").splitlines(keepends=True)
    refused = 0
    for _ in range(12):
        (tmp_path / "OUTCAR").write_text(broken(lines, rng), encoding="utf-8")
        try:
            list(read_files([tmp_path / "OUTCAR"]))
        except GnnpotError as error:
            refused += 1
            assert "OUTCAR" in str(error)
    assert refused


@pytest.mark.parametrize(
    ("header", "column", "words"),
    [
        ("energy=-1", ":gradient:R:3", "opposite sign by its name"),
        ("energy=-1 charge=plus", ":forces:R:3", "a total charge that is no number"),
        ('energy=-1 stress="1 0 0 0 1 0 0 0 1" virial="1 0 0 0 1 0 0 0 1"', ":forces:R:3", "which differ"),
    ],
)
def test_labels_that_contradict_themselves_are_refused(tmp_path, header, column, words):
    path = tmp_path / "odd.extxyz"
    path.write_text(f'1\nLattice="5 0 0 0 5 0 0 0 5" {header} Properties=species:S:1:pos:R:3{column}\nCu 0 0 0 0 0 0\n')
    with pytest.raises(DataError, match=words):
        list(read_files([path]))


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        (("energy=-1 free_energy=-1.1", "energy=-1"), "frame 0 (counted from 0) has a free_energy and frame 1 only an"),
        (("energy=-1", "energy=-1 free_energy=-1.1"), "frame 1 (counted from 0) has a free_energy and frame 0 only an"),
        (("energy=-1 free_energy=-1.00001", "energy=-1"), ""),
        (("energy=-1 free_energy=-1.1", "energy=-1 free_energy=-1.1"), ""),
        (("free_energy=-1.1", "energy=-1"), ""),
    ],
)
def test_free_energies_and_energies_are_not_mixed(tmp_path, headers, refused):
    path = tmp_path / "odd.extxyz"
    path.write_text("".join(f"1\n{header} {FORCES}\nCu 0 0 0 0 0 0\n" for header in headers))
    if refused:
        with pytest.raises(DataError, match=re.escape(refused)):
            list(read_files([path]))
    else:
        assert len(list(read_files([path]))) == 2
    assert [frame.energy for frame in read_files([path], energy_key="energy")][-1] == -1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stress_key": "REF_virial"}, "stress_key='REF_virial' is a virial by its name"),
        ({"stress_key": "stress_GPa"}, "is in GPa by its name; give its convention too with stress="),
        ({"stress_key": "stress_GPa", "stress": "gpa"}, ""),
        ({"stress_key": "dft_stress"}, ""),
        ({"energy_key": "energy_Ha"}, "energy_key='energy_Ha' is in ha by its name; convert it to eV"),
        ({"energy_key": "energy_meV"}, "is in mev by its name; convert it to eV"),
        ({"energy_key": "energy_Au"}, ""),
        ({"forces_key": "gradient"}, "of the opposite sign by its name"),
    ],
)
def test_keys_that_name_another_unit_are_refused(tmp_path, options, words):
    path = tmp_path / "odd.extxyz"
    key = next(value for name, value in options.items() if name.endswith("_key"))
    value = '"1 1 1 0 0 0"' if "stress" in key or "virial" in key else "-1"
    path.write_text(f"1\n{CELL}{FORCES}{key}={value}\nCu 0 0 0 0 0 0\n")
    if words:
        with pytest.raises(DataError, match=words):
            list(read_files([path], **options))
    else:
        assert len(list(read_files([path], **options))) == 1


@pytest.mark.parametrize("name", ["slab.extxyz", "slab.traj", "slab.db"])
def test_forces_that_a_constraint_set_to_zero_are_refused(tmp_path, name):
    atoms = fcc111("Cu", (1, 1, 3), vacuum=5)
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    atoms.get_forces()
    for fixed in ([], [0], [0, 1]):
        atoms.set_constraint(FixAtoms(fixed))
        whole, cut = (SinglePointCalculator(atoms, forces=atoms.get_forces(apply_constraint=c)) for c in (False, True))
        for calculator in (whole, cut):
            labelled, path = atoms.copy(), tmp_path / f"{len(fixed)}-{calculator is cut}-{name}"
            labelled.calc = calculator
            write(path, labelled)
            if calculator is cut and fixed:
                with pytest.raises(DataError, match="has forces of zero on its fixed atoms"):
                    list(read_files([path]))
                assert next(iter(read_files([path], forces_key=""))).forces is None
            else:
                np.testing.assert_allclose(next(iter(read_files([path]))).forces, whole.results["forces"], atol=1e-7)


def test_a_stress_and_a_virial_that_agree_are_one(tmp_path):
    path = tmp_path / "both.extxyz"
    # -V σ, with V = 125 Å³
    both = 'energy=-1 stress="0.01 0 0 0 0.02 0 0 0 0.03" virial="-1.25 0 0 0 -2.5 0 0 0 -3.75"'
    path.write_text(f'1\nLattice="5 0 0 0 5 0 0 0 5" {both} Properties=species:S:1:pos:R:3\nCu 0 0 0\n')
    (frame,) = read_files([path])
    assert frame.stress == pytest.approx([0.01, 0.02, 0.03, 0, 0, 0])
