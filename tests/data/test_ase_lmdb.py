"""ASE-LMDB: what ase-db-backends writes is read, in order, with labels and provenance; damage is said."""

import sys
from collections import Counter

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data import read_frames
from gnnpot.data.readers.base import reader_of
from gnnpot.errors import DataError
from gnnpot.extras import MissingExtraError


@pytest.fixture
def written(tmp_path):
    """Two crystals and a molecule with the labels of OMat24 and OMol25; the row of a third crystal is deleted."""
    backend = pytest.importorskip("ase_db_backends.aselmdb")
    path = tmp_path / "data.0000.aselmdb"
    rng = np.random.default_rng(0)
    structures = [bulk("NaCl", "rocksalt", a=5.6), bulk("Cu", cubic=True), bulk("Fe", cubic=True), molecule("H2O")]
    with backend.LMDBDatabase(path) as database:
        for k, atoms in enumerate(structures):
            labels = {"energy": -1.5 * k, "forces": rng.standard_normal((len(atoms), 3))}
            if atoms.pbc.all():
                labels["stress"] = rng.standard_normal(6)
            atoms.calc = SinglePointCalculator(atoms, **labels)
            data = {"source_id": f"agm{k}"} if k < 3 else {"charge": -1, "spin": 2}
            database.write(atoms, data=data, functional="PBE")
    database = backend.LMDBDatabase(path)
    database.delete([3])
    database.close()
    path.with_name(f"{path.name}-lock").unlink()
    return path, [structures[k] for k in (0, 1, 3)]


def test_rows_are_frames(written):
    path, structures = written
    frames = list(read_frames(path, total_charge="ignore"))
    assert len(frames) == 3
    for frame, atoms in zip(frames, structures, strict=True):
        np.testing.assert_array_equal(frame.numbers, atoms.numbers)
        np.testing.assert_array_equal(frame.positions, atoms.positions)
        np.testing.assert_array_equal(frame.cell, atoms.cell.array)
        assert frame.energy == atoms.get_potential_energy()
        np.testing.assert_array_equal(frame.forces, atoms.get_forces())
    np.testing.assert_array_equal(frames[1].stress, structures[1].get_stress())
    assert frames[2].stress is None and not frames[2].pbc.any()
    assert [f.provenance.source_id for f in frames] == ["agm0", "agm1", "4"]
    assert frames[0].provenance.functional == "PBE"
    assert not list(path.parent.glob("*lock*"))
    (copper,) = read_frames(path, select="Cu")
    assert copper.symbols == ["Cu"] * 4


def test_ions_are_refused_unless_asked_for(written):
    skipped = Counter()
    assert len(list(read_frames(written[0], bad_frames="skip", skipped=skipped))) == 2 and skipped == {"charged": 1}
    with pytest.raises(DataError, match=r"frame 2 .*total charge of -1"):
        list(read_frames(written[0]))


def test_a_file_that_ends_early_or_is_something_else(written, tmp_path):
    path, _ = written
    data = path.read_bytes()
    (tmp_path / "cut.aselmdb").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cut.aselmdb: can't be read as an ASE-LMDB database \(it ends after"):
        list(read_frames(tmp_path / "cut.aselmdb"))
    (tmp_path / "text.aselmdb").write_text("no database at all" * 1000)
    (tmp_path / "none.aselmdb").write_bytes(b"")
    for name in ("text.aselmdb", "none.aselmdb"):
        with pytest.raises(DataError, match=f"{name}: can't be read as an ASE-LMDB"):
            list(read_frames(tmp_path / name))
    import lmdb

    with lmdb.open(str(tmp_path / "other.aselmdb"), subdir=False) as environment, environment.begin(write=True) as txn:
        txn.put(b"nextid", b"no JSON")
    with pytest.raises(DataError, match="other.aselmdb: can't be read as an ASE-LMDB"):
        list(read_frames(tmp_path / "other.aselmdb"))


def test_without_the_package(tmp_path, monkeypatch):
    path = tmp_path / "a.aselmdb"
    path.write_bytes(b"anything")
    assert reader_of(path).format == "ase-lmdb"
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingExtraError, match=r'a.aselmdb: .*needs the package lmdb, .*pip install "gnnpot\[data\]"'):
        list(read_frames(path))
