"""Stores: exact, whole or absent, and aware of damage."""

import json
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gnnpot.data import FrameStore, read_frames, store, write_store
from gnnpot.errors import DataError
from tests.child_process import environment

from .conftest import make_frame, same


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(store, "ROW_GROUP", 2)
    monkeypatch.setattr(store, "CACHED_GROUPS", 2)


def test_frames_survive_exactly(frames, tmp_path, small_groups):
    opened = write_store(frames, tmp_path / "a", shard_size=5)
    assert len(opened) == 12 and [s.frames for s in opened.manifest.shards] == [5, 5, 2]
    assert all(same(a, b) for a, b in zip(frames, opened, strict=True))
    for i in (11, 0, 4, 5, -1, 9, np.int64(7)):
        assert same(opened[i], frames[i])
    with pytest.raises(IndexError):
        opened[12]
    selection = opened.select([7, 3, 3])
    assert [f.provenance.source_id for f in selection] == ["7", "3", "3"] and len(selection) == 3
    with pytest.raises(DataError, match="outside"):
        opened.select([12])


def test_a_store_does_not_depend_on_the_writers_settings(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROW_GROUP", 3)
    write_store(frames, tmp_path / "a")
    monkeypatch.undo()
    assert all(same(a, FrameStore(tmp_path / "a")[i]) for i, a in enumerate(frames))


def test_published_frames_survive_exactly(shared, tmp_path):
    path = shared / "data/mptrj/mptrj-random-1k.extxyz.gz"
    opened = write_store(read_frames(path), tmp_path / "a")
    assert all(same(a, b) for a, b in zip(read_frames(path), opened, strict=True))


def test_the_manifest_says_what_is_in_the_store(frames, tmp_path):
    check = {"verdict": "agrees", "votes": 3, "factor": 1.0, "meaning": "well", "materials": 1, "agreeing": 3}
    opened = write_store(frames, tmp_path / "a", source="my runs", filters={"bad": 2}, stress_check=lambda: check)
    m = opened.manifest
    assert (m.frames, m.atoms, m.source, m.filters, m.stress_check) == (12, 30, "my runs", {"bad": 2}, check)
    assert m.labels == {"energy": 11, "forces": 11, "stress": 10, "magmoms": 11}
    assert m.elements["O"] == 6 and sum(m.elements.values()) == m.atoms
    assert m.sources == {"": 1, "made": 11} and m.codes == {"VASP 5.4, PBE": 11, "unknown": 1}


def test_the_same_frames_make_the_same_store(frames, tmp_path):
    assert write_store(frames, tmp_path / "a").sha256 == write_store(frames, tmp_path / "b").sha256


def test_index(frames, tmp_path):
    index = write_store(frames, tmp_path / "a", shard_size=5).index()
    assert index.n_atoms.tolist() == [len(f) for f in frames]
    assert index.material_id.tolist() == [f.provenance.material_id for f in frames]
    assert np.isnan(index.energy[1]) and index.energy[0] == frames[0].energy
    counts, elements = index.composition()
    assert all(
        counts[k, list(elements).index(z)] == np.sum(frames[k].numbers == z) for k in range(12) for z in elements
    )
    assert counts.sum() == index.n_atoms.sum()
    part, _ = index.composition(elements, slice(3, 7))
    assert np.array_equal(part, counts[3:7])
    with pytest.raises(DataError, match=r"\[11, 14, 17, 26\]"):
        index.composition([3, 8, 9])
    assert len(set(index.fingerprint.tolist())) == 12


def test_an_interrupted_write_leaves_nothing(frames, tmp_path):
    def interrupted():
        yield from frames
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(interrupted(), tmp_path / "a", shard_size=5)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="no frames to write"):
        write_store([], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from gnnpot.data import write_store
from tests_frames import make_frame
def endless():
    k = 0
    while True:
        k += 1
        if k == 300:
            print("writing", flush=True)
        yield make_frame(seed=k % 7)
write_store(endless(), sys.argv[1], shard_size=128)
"""


def test_a_killed_writer_leaves_no_store_and_the_next_one_cleans_up(frames, tmp_path):
    helper = tmp_path / "tests_frames.py"
    helper.write_text((Path(__file__).parent / "conftest.py").read_text())
    folder = tmp_path / "stores" / "a"
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, env=environment(tmp_path)
    )
    assert writer.stdout.readline() == b"writing\n"
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert not folder.exists() and len(list(folder.parent.iterdir())) == 1
    write_store(frames, folder)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        with pytest.raises(DataError, match="can't be written .*nothing was kept, free some space") as caught:
            write_store((make_frame(seed=k) for k in range(2000)), tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_space_for_the_manifest(frames, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    write_store(frames[:3], tmp_path / "a")
    monkeypatch.setattr(store, "write_durably", full)
    with pytest.raises(DataError, match="No space left"):
        write_store(frames, tmp_path / "a", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and len(FrameStore(tmp_path / "a", verify="sha256")) == 3


def test_a_store_is_replaced_only_on_request(frames, tmp_path):
    write_store(frames, tmp_path / "a")
    with pytest.raises(DataError, match="exists already; .*overwrite"):
        write_store(frames[:3], tmp_path / "a")
    assert len(FrameStore(tmp_path / "a")) == 12
    assert len(write_store(frames[:3], tmp_path / "a", overwrite=True)) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_damage_is_named(frames, tmp_path):
    folder = tmp_path / "a"
    write_store(frames, folder, shard_size=5)
    shard = folder / "shard-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="shard-00001.parquet: is truncated"):
        FrameStore(folder)
    with pytest.raises(DataError, match="shard-00001.parquet: is damaged"):
        FrameStore(folder, verify="none")[7]
    changed = bytearray(whole)
    changed[len(whole) // 3] ^= 1
    shard.write_bytes(changed)
    assert len(FrameStore(folder)) == 12
    with pytest.raises(DataError, match="shard-00001.parquet: its bytes have changed"):
        FrameStore(folder, verify="sha256")
    shard.unlink()
    with pytest.raises(DataError, match="shard-00001.parquet: can't be read"):
        FrameStore(folder)
    with pytest.raises(DataError, match="verify='all' is not a choice"):
        FrameStore(folder, verify="all")


def test_a_damaged_or_missing_manifest(frames, tmp_path):
    write_store(frames, tmp_path / "a")
    manifest = tmp_path / "a" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text[:100])
    with pytest.raises(DataError, match="manifest.json: is damaged"):
        FrameStore(tmp_path / "a")
    manifest.write_text(json.dumps({**json.loads(text), "version": 99}))
    with pytest.raises(DataError, match="this gnnpot reads gnnpot-store 1"):
        FrameStore(tmp_path / "a")
    with pytest.raises(DataError, match="is no store"):
        FrameStore(tmp_path / "b")


class Energies(torch.utils.data.Dataset):
    def __init__(self, opened):
        self.store = opened

    def __len__(self):
        return len(self.store)

    def __getitem__(self, i):
        return self.store[i].positions[1, 0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_the_store_anew(frames, tmp_path, small_groups, method):
    opened = write_store(frames, tmp_path / "a", shard_size=5)
    expected = [f.positions[1, 0] for f in frames]
    assert opened[3].positions[1, 0] == expected[3]
    if method == "spawn":
        opened = pickle.loads(pickle.dumps(opened))
        assert opened._files == {} and [f.positions[1, 0] for f in opened] == expected
        return
    loader = DataLoader(Energies(opened), num_workers=2, batch_size=1, multiprocessing_context=method)
    assert [float(x) for x in loader] == expected
