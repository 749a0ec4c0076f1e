"""Bytes are believed only after they were checked: stores, manifests, splits, and YAML with limits."""

import json
import os
import resource

import pyarrow.parquet as pq
import pytest

from gnnpot.config import MAX_YAML_DEPTH, parse_yaml, read_yaml
from gnnpot.data import FrameStore, Split, split_by_frame, store, write_store
from gnnpot.errors import ConfigError, DataError

from .conftest import same


@pytest.fixture
def folder(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROW_GROUP", 2)
    write_store(frames, tmp_path / "a", shard_size=3)
    return tmp_path / "a"


def flip(path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_byte_is_found_when_the_shard_is_first_read(folder, frames, place):
    flip(folder / "shard-00001.parquet", place)
    opened = FrameStore(folder)
    assert same(opened[0], frames[0])
    for use in (lambda: opened[4], lambda: list(opened), opened.index):
        with pytest.raises(DataError, match="shard-00001.parquet: its bytes have changed"):
            use()


def test_a_shard_is_hashed_once(folder, monkeypatch):
    opened = FrameStore(folder)
    hashed = []
    monkeypatch.setattr(store, "_verify", lambda path, shard, how: hashed.append(path.name))
    for _ in range(3):
        list(opened)
        opened.index()
    assert sorted(hashed) == [f"shard-{k:05d}.parquet" for k in range(4)]


def test_few_shards_are_open_at_a_time(folder, frames, monkeypatch):
    monkeypatch.setattr(store, "OPEN_SHARDS", 2)
    opened = FrameStore(folder)
    assert all(same(opened[i], frames[i]) for i in (0, 3, 6, 9, 1, 11)) and len(opened._files) == 2


def test_more_shards_than_files_may_be_open(frames, tmp_path):
    opened = write_store(frames * 8, tmp_path / "b", shard_size=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 45, hard))
    try:
        assert len(list(opened)) == 96 and opened[50] is not None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"frames": 13}, "its shards have 12 of 13 frames"),
        ({"frames": -1}, "a count that can't be"),
        ({"row_group": 0}, "a count that can't be"),
        ({"atoms": 29}, "its elements have 30 of 29 atoms"),
        ({"elements": {"Qq": 30}}, "Qq among the elements"),
        ({"labels": {"energy": 99}}, "more labels than frames"),
        ({"frames": 10**30}, "a count that can't be"),
    ],
)
def test_a_manifest_that_contradicts_itself(folder, change, problem):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=problem):
        FrameStore(folder)


@pytest.mark.parametrize("name", ["../a/shard-00000.parquet", "/etc/passwd", "shard-00001.parquet", ""])
def test_a_manifest_names_files_of_its_folder_once(folder, name):
    path = folder / "manifest.json"
    mapping = json.loads(path.read_text())
    mapping["shards"][0]["name"] = name
    path.write_text(json.dumps(mapping))
    with pytest.raises(DataError, match="names of shards"):
        FrameStore(folder)


def test_a_manifest_that_contradicts_its_shards(folder):
    path = folder / "manifest.json"
    mapping = json.loads(path.read_text())
    swapped = mapping | {"elements": {**mapping["elements"], "Na": mapping["elements"]["Cl"] + 1,
                                      "Cl": mapping["elements"]["Na"] - 1}}  # fmt: skip
    path.write_text(json.dumps(swapped))
    with pytest.raises(DataError, match="the shards hold .* as elements, the manifest says"):
        FrameStore(folder).index()
    path.write_text(json.dumps(mapping | {"labels": {**mapping["labels"], "energy": 5}}))
    with pytest.raises(DataError, match="the shards hold 11 as energies, the manifest says 5"):
        FrameStore(folder).index()
    mapping["shards"][0]["frames"], mapping["shards"][1]["frames"] = 2, 4
    path.write_text(json.dumps(mapping))
    with pytest.raises(DataError, match="holds 3 frames in 2 row groups, the manifest says 2 in 1"):
        FrameStore(folder)[0]


def test_a_shard_of_other_columns(folder):
    shard = folder / "shard-00000.parquet"
    pq.write_table(pq.read_table(shard).drop_columns(["forces"]), shard, row_group_size=2)
    mapping = json.loads((folder / "manifest.json").read_text())
    mapping["shards"][0] |= {"bytes": shard.stat().st_size, "sha256": _sha256(shard)}
    (folder / "manifest.json").write_text(json.dumps(mapping))
    with pytest.raises(DataError, match="lacks the columns forces"):
        FrameStore(folder)[0]


def _sha256(path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_manifest_that_is_a_pipe_or_too_deep(folder):
    (folder / "manifest.json").write_text("[" * 100000)
    with pytest.raises(DataError, match="is damaged"):
        FrameStore(folder)
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    with pytest.raises(DataError, match="is no store"):
        FrameStore(folder)


@pytest.mark.parametrize("parts", [{"train": [0, 1], "test": [1, 2]}, {"train": [0.5]}, {"train": [-1]}, {"train": 3}])
def test_a_split_that_can_not_be(folder, tmp_path, parts):
    opened = FrameStore(folder)
    split_by_frame(opened, {"train": 0.5, "test": 0.5}).save(tmp_path / "s.json")
    mapping = json.loads((tmp_path / "s.json").read_text()) | {"parts": parts}
    (tmp_path / "s.json").write_text(json.dumps(mapping))
    with pytest.raises(DataError, match="make it again"):
        Split.load(tmp_path / "s.json", opened)


# --- YAML -----------------------------------------------------------------------------------------------------------

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "stands for more than 100,000 values"),
        ("a: &a [*a]\n", "an alias names what it is within"),
        ("a: 1\nb: 2\na: 3\n", "option 'a' is there twice, again in line 3"),
        ("a: {b: 1, b: 2}\n", "option 'b' is there twice"),
        (f"a: {'9' * 5000}\n", "holds a value that can't be read"),
        ("[" * (MAX_YAML_DEPTH + 50) + "]" * (MAX_YAML_DEPTH + 50), "more than 100 levels"),
        ("[" * 20000, "levels|not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("a: [\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
    ],
)
def test_yaml_beyond_its_limits(tmp_path, text, problem):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_yaml(tmp_path / "a.yaml")
    assert str(caught.value).startswith(str(tmp_path / "a.yaml")) and len(str(caught.value)) < 600


def test_yaml_that_is_well(tmp_path):
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", "here") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}
    # a date, and one that does not exist, are text
    assert parse_yaml("a: 2024-01-02\nb: 2024-13-45\n", "here") == {"a": "2024-01-02", "b": "2024-13-45"}
    (tmp_path / "a.yaml").write_bytes("a: Å\n".encode())
    assert read_yaml(tmp_path / "a.yaml") == {"a": "Å"}
    (tmp_path / "a.yaml").write_bytes(b"")
    assert read_yaml(tmp_path / "a.yaml") == {}


def test_yaml_files_that_are_none(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="not encoded in UTF-8"):
        read_yaml(tmp_path / "a.yaml")
    os.mkfifo(tmp_path / "b.yaml")
    with pytest.raises(ConfigError, match="no ordinary file"):
        read_yaml(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").write_bytes(b"#" * 10_000_001)
    with pytest.raises(ConfigError, match="larger than 10 MB"):
        read_yaml(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="no ordinary file"):
        read_yaml(tmp_path)
