"""Splits: nothing leaks, nothing moves, and they know their data."""

import json

import numpy as np
import pytest

from gnnpot.data import (
    Split,
    read_frames,
    split_by_count,
    split_by_frame,
    split_by_material,
    split_by_source,
    split_given,
    write_store,
)
from gnnpot.errors import DataError

from .conftest import make_frame

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def many(n_materials: int, first: int = 0) -> list:
    return [
        make_frame(seed=10 * m + k, material=f"mp-{m}", source_id=f"{m}-{k}")
        for k in range(3)
        for m in range(first, first + n_materials)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(many(60), tmp_path_factory.mktemp("s") / "a")


def parts_of_materials(store, split):
    index = store.index()
    return {name: set(index.material_id[indices]) for name, indices in split.parts.items()}


@pytest.mark.parametrize("seed", range(5))
def test_no_material_is_in_two_parts_and_every_frame_in_one(store, seed):
    split = split_by_material(store, FRACTIONS, seed)
    parts = parts_of_materials(store, split)
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 60
    assert np.array_equal(np.sort(np.concatenate(list(split.parts.values()))), np.arange(180))
    assert split.shared_materials == split.shared_structures == 0
    assert len(parts["train"]) == pytest.approx(36, abs=12)


def test_seeds_differ_and_the_same_seed_does_not(store):
    first, again, other = (split_by_material(store, FRACTIONS, seed) for seed in (0, 0, 1))
    assert np.array_equal(first["train"], again["train"]) and not np.array_equal(first["train"], other["train"])


def test_new_data_move_no_material(store, tmp_path):
    larger = write_store(many(30, first=60) + many(60)[::-1], tmp_path / "b")
    old = parts_of_materials(store, split_by_material(store, FRACTIONS))
    new = parts_of_materials(larger, split_by_material(larger, FRACTIONS))
    for name in FRACTIONS:
        assert old[name] == {m for m in new[name] if int(m[3:]) < 60}


def test_files_without_material_ids_do_not_leak_compounds(tmp_path, shared):
    store = write_store(read_frames(shared / "data/acwf/unaries_vasp_pbe_eos.extxyz.gz"), tmp_path / "a")
    split = split_by_material(store, FRACTIONS)
    elements = [{z for i in indices for z in store[i].numbers.tolist()} for indices in split.parts.values()]
    assert not elements[0] & elements[1] and not elements[0] & elements[2] and not elements[1] & elements[2]


def test_one_material_can_not_be_split_by_material(tmp_path):
    frames = [make_frame(seed=k, material="mp-0", source_id=str(k)) for k in range(60)]
    store = write_store(frames, tmp_path / "a")
    with pytest.raises(DataError, match="there is only 1 material; .* .--by frame;"):
        split_by_material(store)
    split = split_by_frame(store, {"train": 0.5, "validation": 0.5})
    assert split.by == "frame" and split.shared_materials == 1 and split.shared_structures == 0


@pytest.mark.parametrize("cut", [split_by_frame, split_by_count])
def test_copies_of_a_structure_stay_in_one_part(cut, tmp_path, caplog):
    frames = [make_frame(seed=k, material="mp-0", source_id=str(k)) for k in range(20)]
    once = cut(write_store(frames, tmp_path / "once"), FRACTIONS)
    assert not caplog.records
    twice = cut(write_store(frames * 2, tmp_path / "twice"), FRACTIONS)
    assert "20 of 40 frames are copies of others" in caplog.text
    assert twice.shared_structures == 0
    for name, indices in once.parts.items():
        np.testing.assert_array_equal(twice[name], np.concatenate([indices, indices + 20]))


def test_copies_are_not_counted_as_frames_to_divide(tmp_path):
    store = write_store([make_frame(seed=0), make_frame(seed=0), make_frame(seed=1)], tmp_path / "a")
    with pytest.raises(DataError, match="2 different structures can't make 3 parts"):
        split_by_count(store, FRACTIONS)


def test_official_files(tmp_path, shared):
    files = [shared / f"data/mlearn/Cu_{part}.extxyz.gz" for part in ("train", "test")]
    store = write_store((f for path in files for f in read_frames(path)), tmp_path / "a")
    split = split_by_source(store, {"train": "Cu_train", "test": "Cu_test"}, validation=0.1)
    assert (len(split["train"]) + len(split["validation"]), len(split["test"])) == (262, 31)
    assert 15 <= len(split["validation"]) <= 40
    # the data set's own: some strained crystals of the test file are training crystals strained along another axis
    assert split.shared_structures == 0 and split.shared_energies > 0
    with pytest.raises(DataError, match="2 sources have names that begin with 'Cu'"):
        split_by_source(store, {"train": "Cu"})
    with pytest.raises(DataError, match="no source is named 'Ni'"):
        split_by_source(store, {"train": "Ni"})


def test_given_parts(store):
    split = split_given(store, {"train": [3, 1], "test": [2]})
    assert split["train"].tolist() == [1, 3] and split.by == "given"
    for parts, problem in [({"a": [1], "b": [1]}, "in two parts"), ({"a": [180]}, "outside")]:
        with pytest.raises(DataError, match=problem):
            split_given(store, parts)
    with pytest.raises(DataError, match="no part 'trian'; did you mean 'train'"):
        split["trian"]


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_fractions_must_sum_to_one(store, fractions):
    with pytest.raises(DataError, match="sum to 1"):
        split_by_material(store, fractions)


def test_a_saved_split_is_the_split_and_knows_its_store(store, tmp_path):
    path = tmp_path / "split.json"
    split = split_by_material(store, FRACTIONS, seed=3)
    split.save(path)
    loaded = Split.load(path, store)
    assert all(np.array_equal(split[name], loaded[name]) for name in FRACTIONS)
    assert (loaded.by, loaded.seed, loaded.fractions) == ("material", 3, FRACTIONS)
    assert [p.name for p in tmp_path.iterdir()] == ["split.json"]
    other = write_store(many(59), tmp_path / "other")
    with pytest.raises(DataError, match="made for other data"):
        Split.load(path, other)


def test_damaged_splits(store, tmp_path):
    path = tmp_path / "split.json"
    with pytest.raises(DataError, match="can't be read"):
        Split.load(path, store)
    split_by_material(store, FRACTIONS).save(path)
    text = path.read_text()
    for damaged in (text[:50], "[]", json.dumps({**json.loads(text), "extra": 1})):
        path.write_text(damaged)
        with pytest.raises(DataError, match="is no split or is damaged"):
            Split.load(path, store)
    path.write_text(json.dumps({**json.loads(text), "version": 2}))
    with pytest.raises(DataError, match="not of format"):
        Split.load(path, store)
