"""ASE's databases, n2p2's files, and that a reader is a file."""

from collections import Counter

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data import formats, read_frames
from gnnpot.data.readers import ase_db
from gnnpot.data.readers.base import own_readers
from gnnpot.errors import DataError
from gnnpot.units import BOHR, HARTREE

N2P2 = """begin
comment a b
lattice 10 0 0
lattice 0 10 0
lattice 0 0 10
atom 0 0 0 Cu 0.0 0.0 0.1 0.2 0.3
atom 2 3 4 S 0.0 0.0 -0.1 -0.2 -0.3
energy -1.5
charge 0
end
"""


def test_every_format_states_its_stress_convention():
    assert formats() == (
        "ase-db",
        "ase-lmdb",
        "ase-traj",
        "deepmd",
        "espresso",
        "extxyz",
        "gpaw",
        "n2p2",
        "outcar",
        "vasprun",
    )
    for cls in own_readers().values():
        assert "stress" in (__import__(cls.__module__, fromlist=["_"]).__doc__).lower()
        assert hasattr(cls, "stress_convention")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "a.db"
    with ase.db.connect(path, append=False) as db:
        for k in range(5):
            atoms = bulk("Cu", a=3.6 + 0.01 * k)
            atoms.calc = SinglePointCalculator(
                atoms, energy=-k, forces=np.full((1, 3), 0.1 * k), stress=np.arange(6.0), magmoms=np.ones(1)
            )
            db.write(atoms, material_id=f"mp-{k}", dft_energy=2.0 * k, data={"dft_forces": np.zeros((1, 3))})
    return path


def test_ase_database(database, monkeypatch):
    monkeypatch.setattr(ase_db, "BLOCK", 2)
    frames = list(read_frames(database))
    assert [f.energy for f in frames] == [0, -1, -2, -3, -4]
    assert frames[2].forces.tolist() == [[0.2] * 3] and frames[2].stress.tolist() == [0, 1, 2, 3, 4, 5]
    assert frames[2].magmoms.tolist() == [1.0]
    assert (frames[2].provenance.material_id, frames[2].provenance.source_id) == ("mp-2", "3")
    other = list(read_frames(database, energy_key="dft_energy", forces_key="dft_forces", select="id>3"))
    assert [f.energy for f in other] == [6, 8] and not other[0].forces.any()


def test_a_damaged_or_empty_database(database, tmp_path):
    data = database.read_bytes()
    (tmp_path / "cut.db").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 10)
    for name in ("cut.db", "text.db"):
        with pytest.raises(DataError, match=f"{name}: can't be read as an ASE database"):
            list(read_frames(tmp_path / name))
    (tmp_path / "none.db").write_bytes(b"")
    with pytest.raises(DataError, match="none.db"):
        list(read_frames(tmp_path / "none.db"))
    with pytest.raises(DataError):
        list(read_frames(tmp_path / "absent.db"))
    assert not (tmp_path / "absent.db").exists()


def test_n2p2_in_bohr_and_hartree_or_electronvolt(tmp_path):
    path = tmp_path / "input.data"
    path.write_text(N2P2 * 2)
    frame, _ = read_frames(path)
    assert frame.symbols == ["Cu", "S"] and frame.pbc.all() and frame.stress is None
    assert np.allclose(frame.positions[1], np.array([2, 3, 4]) * BOHR)
    assert frame.energy == pytest.approx(-1.5 * HARTREE)
    assert np.allclose(frame.forces[0], np.array([0.1, 0.2, 0.3]) * HARTREE / BOHR)
    frame, _ = read_frames(path, units="eV/Å")
    assert frame.energy == -1.5 and frame.forces[0].tolist() == [0.1, 0.2, 0.3] and frame.cell[0, 0] == 10
    with pytest.raises(DataError, match="units 'kcal' are not known"):
        read_frames(path, units="kcal")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("end\n", "", "ends before its 'end'"),
        ("begin\n", "", "unexpected line"),
        ("lattice 0 0 10\n", "", "a lattice 3 vectors"),
        ("Cu", "Qq", "frame 0 .*'Qq' is no chemical element"),
        ("energy -1.5", "energy nan", "frame 0 .*energy has NaN"),
        ("energy -1.5", "energy low", "frame 0 .*words where numbers belong"),
        ("charge 0", "charge 1", "frame 0 .*total charge of 1.0"),
        ("2 3 4", "0 0 10", "frame 0 .*at one place"),
        ("0 0 10", "0 10 0", "frame 0 .*no volume"),
    ],
)
def test_bad_n2p2_files(tmp_path, old, new, problem):
    path = tmp_path / "a.data"
    path.write_text(N2P2.replace(old, new))
    with pytest.raises(DataError, match=problem):
        list(read_frames(path))


def test_n2p2_molecules_charges_and_skipping(tmp_path):
    path = tmp_path / "a.data"
    molecule = "".join(line + "\n" for line in N2P2.splitlines() if not line.startswith("lattice"))
    path.write_text(molecule + N2P2.replace("charge 0", "charge 1"))
    skipped = Counter()
    (frame,) = read_frames(path, bad_frames="skip", skipped=skipped)
    assert not frame.pbc.any() and skipped == {"charged": 1}
    assert len(list(read_frames(path, total_charge="ignore"))) == 2


def test_n2p2_agrees_with_ases_writer(tmp_path):
    atoms = Atoms("CuS", [[0, 0, 0], [1, 2, 3]], cell=np.diag([5.0, 6, 7]) + 0.1, pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.25, forces=np.arange(6.0).reshape(2, 3))
    lines = ["begin", *(f"lattice {' '.join(map(str, v))}" for v in atoms.cell.array / BOHR)]
    for p, s, f in zip(atoms.positions / BOHR, atoms.symbols, atoms.get_forces() / HARTREE * BOHR, strict=True):
        lines.append(f"atom {' '.join(map(str, p))} {s} 0 0 {' '.join(map(str, f))}")
    path = tmp_path / "input.data.gz"
    path.write_text("\n".join([*lines, f"energy {-1.25 / HARTREE}", "charge 0.0", "end"]))
    (frame,) = read_frames(path)
    assert np.allclose(frame.positions, atoms.positions, atol=1e-12) and np.allclose(frame.cell, atoms.cell.array)
    assert frame.energy == pytest.approx(-1.25, abs=1e-12) and np.allclose(frame.forces, atoms.get_forces())
