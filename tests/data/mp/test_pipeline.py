"""Killed at any moment and resumed, the pipeline makes the same bytes; what it counts adds up."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gnnpot.data import FrameStore, split_by_material
from gnnpot.data.builder import StoreBuilder
from gnnpot.data.mp import Curation, DeltaSource, TrajectoryTable, curate
from gnnpot.data.mp.filters import FarFromFinal, Forces, Labels, NearDuplicates
from gnnpot.errors import ConfigError, DataError
from tests.child_process import environment

from .conftest import row, same_files, write_table

CURATION = Curation(run_types=("GGA", "GGA+U"), filters=(Labels(), FarFromFinal(), Forces(3.0), NearDuplicates()))

#: curates a table, and kills itself at the moment that is named: a chunk, or the n-th call of a function
KILLED = """
import os, signal, sys
import gnnpot.data.builder as builder
import gnnpot.data.mp.delta as delta
from gnnpot.data.mp import Curation, DeltaSource, TrajectoryTable, curate
delta.ROWS = 3
table, store, moment, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
calls = 0
def die_at_count(*_):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
def dying(function):
    def call(*arguments, **options):
        die_at_count()
        return function(*arguments, **options)
    return call
if moment in ("write_text", "write_durably", "move_folder"):
    setattr(builder, moment, dying(getattr(builder, moment)))
if moment == "shard":
    builder.ShardWriter.close = dying(builder.ShardWriter.close)
progress = die_at_count if moment == "chunk" else None
source = DeltaSource(TrajectoryTable.open(table))
curate(source, Curation(), store, shard_size=40, progress=progress)
"""


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("gnnpot.data.mp.delta.ROWS", 3)


def source(uri: str) -> DeltaSource:
    return DeltaSource(TrajectoryTable.open(uri))


def killed(table: str, store: Path, moment: str, count: int) -> int:
    command = [sys.executable, "-c", KILLED, table, str(store), moment, str(count)]
    return subprocess.run(command, env=environment(), check=False).returncode


def test_killed_and_resumed_makes_the_same_bytes(table, tmp_path, small_chunks):
    whole = curate(source(table), Curation(), tmp_path / "whole", shard_size=40)
    assert len(whole.manifest.shards) > 3
    resumed = tmp_path / "resumed"
    unfinished = tmp_path / "resumed.unfinished"
    # in a chunk; a shard written but not ended; a shard ended but not noted; all written but not named
    moments = [("chunk", 4), ("shard", 2), ("write_text", 2), ("move_folder", 1)]
    for moment, count in moments:
        assert killed(table, resumed, moment, count) == -signal.SIGKILL, moment
        assert not resumed.exists() and unfinished.exists()
    assert (unfinished / "manifest.json").exists()
    curate(source(table), Curation(), resumed, shard_size=40)
    assert same_files(tmp_path / "whole", resumed) and not unfinished.exists()
    assert FrameStore(resumed, verify="sha256").manifest == whole.manifest


class Stop(Exception):
    pass


def test_stopped_at_every_chunk(table, tmp_path, small_chunks):
    curate(source(table), CURATION, tmp_path / "whole", shard_size=30)
    steps, rng = [], np.random.default_rng(0)

    def stop_now_and_then(progress):
        steps.append(progress)
        if rng.random() < 0.12:
            raise Stop

    stops = 0
    while not (tmp_path / "resumed").exists() and stops < 50:
        try:
            curate(source(table), CURATION, tmp_path / "resumed", shard_size=30, progress=stop_now_and_then)
        except Stop:
            stops += 1
    assert stops > 2 and same_files(tmp_path / "whole", tmp_path / "resumed")
    assert all(0 <= p.done <= 1 + 1e-9 and p.kept <= p.read for p in steps)


def test_what_is_counted_adds_up(table, tmp_path, trajectories):
    store = curate(source(table), CURATION, tmp_path / "s")
    curation = store.manifest.curation
    read = sum(len(group) for k, group in enumerate(trajectories) if k % 3 != 2)
    assert curation["before"]["frames"] == read and curation["after"]["frames"] == len(store)
    counts = {row["reason"]: row["count"] for row in curation["left_out"] if "not frames" not in row["reason"]}
    assert sum(counts.values()) == read - len(store) and counts[Forces(3.0).reason] > 0
    other = [row["count"] for row in curation["left_out"] if "not frames" in row["reason"]]
    assert other == [len(trajectories) // 3]
    for when in ("before", "after"):
        for counted in curation[when]["histograms"].values():
            assert sum(counted) == curation[when]["frames"]
    assert curation["after"]["elements"] == store.manifest.elements
    assert store.manifest.labels == {"energy": len(store), "forces": len(store), "stress": len(store), "magmoms": 0}
    assert curation["source"]["version"] == 0 and "e_fr_energy" in curation["conventions"]["energy"]
    assert len(split_by_material(store, {"train": 0.6, "test": 0.4})["test"]) > 0


def test_a_store_is_read_at_random_across_shards(table, tmp_path, small_chunks):
    store = curate(source(table), CURATION, tmp_path / "s", shard_size=30)
    assert len(store.manifest.shards) > 3 and len({s.frames for s in store.manifest.shards}) > 1
    ids = [f.provenance.source_id for f in store]
    assert len(set(ids)) == len(ids)
    for k in np.random.default_rng(0).permutation(len(store))[:40]:
        assert store[k].provenance.source_id == ids[k]
    groups = pq.ParquetFile(tmp_path / "s" / store.manifest.shards[0].name).metadata
    assert groups.num_rows == store.manifest.shards[0].frames


def test_the_version_of_the_table_is_pinned(rows, tmp_path, small_chunks, trajectories):
    uri = write_table(tmp_path / "t", rows)
    whole = curate(source(uri), CURATION, tmp_path / "whole", shard_size=40)

    def stop(progress):
        if progress.kept > 60:
            raise Stop

    with pytest.raises(Stop):
        curate(source(uri), CURATION, tmp_path / "s", shard_size=40, progress=stop)
    write_table(tmp_path / "t", [row(trajectories[0], 999)], mode="append")
    with pytest.raises(ConfigError, match=r"\(source\.version: was 0, is now 1\)"):
        curate(source(uri), CURATION, tmp_path / "s", shard_size=40)
    curate(DeltaSource(TrajectoryTable.open(uri, 0)), CURATION, tmp_path / "s", shard_size=40)
    assert same_files(tmp_path / "whole", tmp_path / "s") and whole.manifest.curation["source"]["version"] == 0


def test_other_options_are_refused(table, tmp_path, small_chunks):
    def stop(progress):
        if progress.kept > 60:
            raise Stop

    with pytest.raises(Stop):
        curate(source(table), CURATION, tmp_path / "s", shard_size=40, progress=stop)
    with pytest.raises(ConfigError, match=r"other options or inputs \(curation\.energy: was .* is now \"zero\"\)"):
        curate(source(table), replace(CURATION, energy="zero"), tmp_path / "s", shard_size=40)
    with pytest.raises(ConfigError, match="shard_size: was 40, is now 7"):
        curate(source(table), CURATION, tmp_path / "s", shard_size=7)


def test_other_options_are_taken_where_no_shard_is_complete(table, tmp_path, small_chunks):
    def stop(progress):
        raise Stop

    for curation in (CURATION, replace(CURATION, energy="zero")):
        with pytest.raises(Stop):
            curate(source(table), curation, tmp_path / "s", progress=stop)
    assert len(curate(source(table), CURATION, tmp_path / "s"))


def test_two_writers_and_a_damaged_state(table, tmp_path):
    with StoreBuilder(tmp_path / "s", {}) as builder:
        with pytest.raises(DataError, match="another process is writing it"):
            curate(source(table), CURATION, tmp_path / "s")
        state = builder.unfinished / "state.json"
        state.write_text(json.dumps({"format": "gnnpot-unfinished-store", "version": 1})[:-5])
    with pytest.raises(DataError, match="state.json: is damaged .*start again"):
        curate(source(table), CURATION, tmp_path / "s")


def test_a_limit_stops_early(table, tmp_path, small_chunks):
    store = curate(source(table), CURATION, tmp_path / "s", limit=50)
    assert 50 <= len(store) < 100
    whole = curate(source(table), CURATION, tmp_path / "whole")
    assert [f.energy for f in store] == [whole[k].energy for k in range(len(store))]


def test_nothing_left_and_a_store_that_exists(table, tmp_path):
    with pytest.raises(DataError, match="no frame is left to write"):
        curate(source(table), replace(CURATION, filters=(FarFromFinal(-9.0),)), tmp_path / "s")
    curate(source(table), CURATION, tmp_path / "t")
    with pytest.raises(DataError, match="exists already"):
        curate(source(table), CURATION, tmp_path / "t")
    again = curate(source(table), replace(CURATION, energy="zero"), tmp_path / "t", overwrite=True)
    assert again.manifest.curation["options"]["energy"] == "zero"
    with pytest.raises(ConfigError, match="needs material ids"):
        from gnnpot.data.mp.filters import Deprecated

        curate(source(table), replace(CURATION, filters=(Deprecated(),)), tmp_path / "u")


def test_a_full_disk_keeps_the_complete_shards(table, tmp_path, small_chunks, monkeypatch):
    curate(source(table), CURATION, tmp_path / "whole", shard_size=40)
    from gnnpot.data import builder

    original, calls = builder.ShardWriter.close, []

    def full(self):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return original(self)

    monkeypatch.setattr(builder.ShardWriter, "close", full)
    with pytest.raises(DataError, match="No space left .*complete shards are kept, free some space"):
        curate(source(table), CURATION, tmp_path / "s", shard_size=40)
    curate(source(table), CURATION, tmp_path / "s", shard_size=40)
    assert same_files(tmp_path / "whole", tmp_path / "s")
