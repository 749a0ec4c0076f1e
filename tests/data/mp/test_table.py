"""The table: read as emmet reads it, no more than is asked for, from any place on, and never silently wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from emmet.core.trajectory import RelaxTrajectory

from gnnpot.data.mp import Curation, DeltaSource, TrajectoryTable, curate
from gnnpot.data.mp.batch import FrameBatch
from gnnpot.data.mp.delta import needed_columns
from gnnpot.data.mp.filters import Labels
from gnnpot.data.mp.trajectories import STRESS, to_batch
from gnnpot.data.schema import to_frames, to_table
from gnnpot.errors import DataError
from tests.data.conftest import same

from .conftest import SCHEMA, SMEARING, identifier, row, write_table

ALL = ("GGA", "GGA+U")
#: no filter that looks at numbers
LOOSE = Curation(filters=(Labels(),))


def batches(uri: str, curation: Curation = LOOSE, energy: str = "free", start=None) -> list[FrameBatch]:
    curation = replace(curation, energy=energy)
    chunks = TrajectoryTable.open(uri).rows(curation, needed_columns(curation, True), start)
    return [to_batch(s.columns, energy, {})[0] for s in chunks if s.columns]


def ids(found: list[FrameBatch]) -> list[str]:
    return [name for batch in found for name in batch.source_ids()]


def test_a_row_is_read_as_emmet_reads_it(table):
    rows = DeltaTable(table).to_pyarrow_table()
    batch, *_ = batches(table, energy="zero")
    for run in (0, 2):
        name = batch.words["task"][run].split("-")[0]
        emmet = RelaxTrajectory.from_arrow(rows, identifier=name)
        chosen = batch.select(batch.run == run)
        assert np.array_equal(chosen.positions, np.concatenate(emmet.cart_coords))
        assert np.array_equal(chosen.cell, emmet.lattice) and np.array_equal(chosen.energy, emmet.energy)
        assert np.array_equal(chosen.forces, np.concatenate(emmet.forces))
        assert np.array_equal(chosen.numbers, emmet.elements * len(emmet))
        expected = [STRESS.to_stress(tensor) for tensor in emmet.stress]
        assert np.allclose(chosen.stress, expected, rtol=1e-14, atol=0)


def test_the_frames_come_back(table, trajectories):
    frames = [f for k, group in enumerate(trajectories) if k % 3 != 2 for f in group]
    read = [f for batch in batches(table) for f in to_frames(batch.to_table())]
    assert len(read) == len(frames)
    for a, b in zip(frames, read, strict=True):
        assert np.array_equal(a.positions, b.positions) and np.array_equal(a.cell, b.cell)
        assert a.energy == b.energy and np.array_equal(a.forces, b.forces)
        assert np.allclose(a.stress, b.stress, rtol=1e-13, atol=1e-18)


def test_free_energy_and_that_without_smearing(table):
    free, zero = (np.concatenate([b.energy for b in batches(table, energy=e)]) for e in ("free", "zero"))
    assert np.allclose(zero - free, SMEARING, atol=1e-9)


def test_rows_of_a_store_are_those_of_the_slow_way(table, trajectories, rows, tmp_path):
    rows[0]["forces"] = rows[1]["stress"] = rows[3]["e_fr_energy"] = None
    for batch in [*batches(table), *batches(write_table(tmp_path / "nulls", rows))]:
        fast = batch.to_table()
        assert fast.equals(to_table(to_frames(fast))) and fast.schema == to_table([]).schema


@pytest.mark.parametrize("partition", [None, ["run_type"], ["task_type", "run_type"]])
def test_run_and_task_types(rows, tmp_path, partition):
    rows[0]["task_type"] = "Static"
    uri = write_table(tmp_path / "t", rows, partition_by=partition)
    tasks = {identifier(100 + k): k for k in range(len(rows))}

    def chosen(curation: Curation) -> set[int]:
        return {tasks[name.split("-")[0]] for name in ids(batches(uri, curation))}

    every = range(len(rows))
    assert chosen(LOOSE) == {k for k in every if k % 3 != 2}
    assert chosen(Curation(run_types=("r2SCAN",))) == {k for k in every if k % 3 == 2}
    assert chosen(Curation(run_types=("GGA",), task_types=("Static",))) == {0}
    words = {w for b in batches(uri) for w in b.words["functional"]}
    assert words == {"PBE", "PBE+U"}


def test_files_that_can_not_hold_what_is_wanted_are_not_read(rows, tmp_path):
    uri = write_table(tmp_path / "t", rows, partition_by=["run_type"])
    for path in Path(uri).rglob("run_type=r2SCAN/*.parquet"):
        path.unlink()
    assert len(ids(batches(uri))) > 0
    with pytest.raises(DataError, match="run the same command again"):
        batches(uri, Curation(run_types=("r2SCAN",)))


def test_row_groups_and_columns_that_are_not_wanted_are_not_read(rows, tmp_path, monkeypatch):
    rows.sort(key=lambda r: r["run_type"])
    uri = write_table(tmp_path / "t", rows, group=4)
    read = []
    original = pq.ParquetFile.iter_batches

    def watching(self, *arguments, **options):
        read.append((options["row_groups"], options["columns"]))
        return original(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watching)
    wanted = Curation(run_types=("r2SCAN",))
    for _ in TrajectoryTable.open(uri).rows(wanted, needed_columns(wanted, False)):
        pass
    groups = [g for chosen, _ in read for g in chosen]
    total = -(-len(rows) // 4)
    assert 0 < len(groups) < total and max(groups) == total - 1
    names = {path.split(".")[0] for _, columns in read for path in columns}
    assert names == set(needed_columns(wanted, False)) and "electronic_steps" not in names


def test_elements(table):
    found = batches(table, Curation(elements=("Si", "C", "Mg", "O")))
    assert {int(z) for b in found for z in b.numbers} <= {6, 8, 12, 14} and ids(found)


def test_reading_from_any_place_on_gives_the_rest(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("gnnpot.data.mp.delta.ROWS", 3)
    uri = write_table(tmp_path / "t", rows[:20], group=8)
    write_table(tmp_path / "t", rows[20:], group=8, mode="append")
    columns = needed_columns(LOOSE, False)
    chunks = list(TrajectoryTable.open(uri).rows(LOOSE, columns))
    assert len(chunks) > 8 and chunks[-1].done == pytest.approx(1)
    assert sum(s.read for s in chunks) == len(rows)
    whole = [s.columns["identifier"].to_pylist() if s.columns else [] for s in chunks]
    for k, chunk in enumerate(chunks):
        rest = TrajectoryTable.open(uri).rows(LOOSE, columns, chunk.after)
        assert [s.columns["identifier"].to_pylist() if s.columns else [] for s in rest] == whole[k + 1 :]


def test_a_lattice_that_is_held_constant(trajectories, tmp_path):
    frames = [f.replace(cell=trajectories[0][0].cell) for f in trajectories[0]]
    uri = write_table(tmp_path / "t", [row(frames, 1, lattice=[frames[0].cell.tolist()]), row(trajectories[1], 2)])
    (batch,) = batches(uri)
    assert np.array_equal(batch.cell[: len(frames)], [frames[0].cell] * len(frames))
    assert np.array_equal(batch.cell[-1], trajectories[1][-1].cell)


def test_what_does_not_fit_is_left_out_and_counted(trajectories, tmp_path):
    frames = trajectories[0]
    n = len(frames)
    coordinates = row(frames, 1)["cart_coords"]
    bad = [
        row(frames, 1, cart_coords=[None, *coordinates[1:]]),
        row(frames, 2, lattice=None),
        row(frames, 3, forces=row(frames, 3)["forces"][:-1]),
        row(frames, 4, stress=[None, *row(frames, 4)["stress"][1:]]),
        row(frames, 5, cart_coords=[[], *coordinates[1:]]),
    ]
    uri = write_table(tmp_path / "t", bad)
    (chunk,) = TrajectoryTable.open(uri).rows(LOOSE, needed_columns(LOOSE, False))
    batch, counts = to_batch(chunk.columns, "free", {})
    assert counts == {
        "no coordinates of all atoms": 2,
        "no lattice of its step": n,
        "labels of another number of steps": n,
    }
    assert len(batch) == 3 * n - 2
    read = to_frames(batch.to_table())
    assert sum(f.stress is None for f in read) == 1 and all(f.forces is not None for f in read)
    assert [f.energy for f in read[: n - 1]] == [f.energy for f in frames[1:]]
    assert np.array_equal(read[0].positions, frames[1].positions)


def test_a_trajectory_without_atoms(trajectories, tmp_path):
    none = row(trajectories[1], 1, elements=[], cart_coords=[[]], lattice=[np.eye(3).tolist()], energy=[0.0])
    none |= {"e_fr_energy": [0.0], "forces": [[]], "stress": None, "num_electronic_steps": [1]}
    uri = write_table(tmp_path / "t", [none, row(trajectories[0], 2)])
    store = curate(DeltaSource(TrajectoryTable.open(uri)), LOOSE, tmp_path / "s", check_stress=False)
    assert len(store) == len(trajectories[0]) and store.manifest.filters["no atoms"] == 1


def test_other_variants_of_lists_and_missing_columns(rows, tmp_path):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    reduced = table.drop_columns(["num_electronic_steps", "stress"])
    large = pa.list_(pa.int32())
    reduced = reduced.set_column(0, "elements", reduced["elements"].cast(large))
    write_deltalake(str(tmp_path / "t"), reduced)
    batch, *_ = batches(str(tmp_path / "t"))
    assert (batch.electronic_steps == -1).all() and not batch.has("stress").any() and batch.has_forces.all()


def test_what_is_no_table(tmp_path, rows):
    with pytest.raises(DataError, match="can't be opened as a Delta table"):
        TrajectoryTable.open(str(tmp_path / "nothing"))
    write_deltalake(str(tmp_path / "t"), pa.table({"identifier": ["a"], "elements": [[1]]}))
    with pytest.raises(DataError, match="has no column 'cart_coords'"):
        TrajectoryTable.open(str(tmp_path / "t"))


def test_the_energies_find_a_stress_of_the_wrong_sign(rows, tmp_path):
    store = curate(DeltaSource(TrajectoryTable.open(write_table(tmp_path / "t", rows))), LOOSE, tmp_path / "right")
    assert store.manifest.stress_check["verdict"] == "agrees"
    for one in rows:
        one["stress"] = (-np.array(one["stress"])).tolist()
    source = DeltaSource(TrajectoryTable.open(write_table(tmp_path / "wrong", rows)))
    with pytest.raises(DataError, match="wrong sign"):
        curate(source, LOOSE, tmp_path / "wrong.store")
    assert not (tmp_path / "wrong.store").exists()


def test_the_published_frames_survive(shared, tmp_path):
    from gnnpot.data import read_frames

    frames = list(read_frames(shared / "data/mptrj/mptrj-random-1k.extxyz.gz"))[:200]
    uri = write_table(tmp_path / "t", [row([f], k + 1) for k, f in enumerate(frames)])
    store = curate(DeltaSource(TrajectoryTable.open(uri)), LOOSE, tmp_path / "s")
    assert len(store) == len(frames)
    for a, b in zip(frames, store, strict=True):
        b = b.replace(provenance=a.provenance, stress=a.stress)
        assert same(a, b)
