"""Folders of several DeePMD systems, as dpdata writes them."""

import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gnnpot.data import read_frames
from gnnpot.data.readers import is_frame_folder
from gnnpot.errors import DataError
from gnnpot.units import stress_from_voigt
from tests.data.test_dft_readers import deepmd


def labelled(atoms: Atoms, frames: int, seed: int):
    """dpdata's system of some frames with random labels."""
    dpdata = pytest.importorskip("dpdata")
    rng = np.random.default_rng(seed)
    order = np.argsort(atoms.numbers, kind="stable")
    atoms = atoms[order]
    names = list(dict.fromkeys(atoms.get_chemical_symbols()))
    types = np.array([names.index(s) for s in atoms.get_chemical_symbols()])
    n = len(atoms)
    return dpdata.LabeledSystem(
        data={
            "atom_names": names,
            "atom_numbs": [int((types == k).sum()) for k in range(len(names))],
            "atom_types": types,
            "orig": np.zeros(3),
            "cells": np.tile(atoms.cell.array, (frames, 1, 1)) * (1 + 0.01 * rng.random((frames, 1, 1))),
            "coords": atoms.positions + 0.05 * rng.standard_normal((frames, n, 3)),
            "energies": rng.standard_normal(frames),
            "forces": rng.standard_normal((frames, n, 3)),
            "virials": np.array([v + v.T for v in rng.standard_normal((frames, 3, 3))]),
        }
    )


@pytest.fixture
def systems():
    dpdata = pytest.importorskip("dpdata")
    crystals = [bulk("NaCl", "rocksalt", a=5.6), bulk("Cu", cubic=True), bulk("NaCl", "rocksalt", a=5.6, cubic=True)]
    return dpdata.MultiSystems(*(labelled(atoms, 2 + k, k) for k, atoms in enumerate(crystals)))


def by_energy(frames):
    return {round(float(frame.energy), 6): frame for frame in frames}


@pytest.mark.parametrize("form", ["npy", "mixed"])
def test_what_dpdata_writes_is_read(systems, tmp_path, form):
    folder = tmp_path / "set"
    if form == "npy":
        systems.to_deepmd_npy(str(folder), prec=np.float64)
    else:
        systems.to("deepmd/npy/mixed", str(folder), prec=np.float64)
    assert is_frame_folder(folder)
    frames = list(read_frames(folder))
    assert len(frames) == 9 and len({frame.provenance.source for frame in frames}) == len(
        list(folder.glob("*/type.raw"))
    )
    found = by_energy(frames)
    for system in systems:
        data = system.data
        for k in range(len(system)):
            frame = found[round(float(data["energies"][k]), 6)]
            symbols = [data["atom_names"][t] for t in data["atom_types"]]
            assert sorted(frame.symbols) == sorted(symbols)
            # dpdata may sort the atoms
            for symbol in set(symbols):
                ours, theirs = np.array(frame.symbols) == symbol, np.array(symbols) == symbol
                np.testing.assert_allclose(frame.positions[ours], data["coords"][k][theirs], atol=1e-12)
                np.testing.assert_allclose(frame.forces[ours], data["forces"][k][theirs], atol=1e-12)
            np.testing.assert_allclose(frame.cell, data["cells"][k], atol=1e-12)
            virial = -frame.volume * stress_from_voigt(frame.stress)
            np.testing.assert_allclose(virial, data["virials"][k], atol=1e-10)


def frames_of(atoms: Atoms, count: int):
    from gnnpot.data import Frame

    n = len(atoms)
    return [
        Frame(
            atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc,
            energy=float(k), forces=np.full((n, 3), 0.1 * k), stress=np.zeros(6),
        )
        for k in range(count)
    ]  # fmt: skip


def test_systems_in_folders_of_folders_keep_their_order_and_names(tmp_path):
    for name in ("b", "a/2", "a/1"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        deepmd(tmp_path / "all" / name, frames_of(bulk("Cu"), 1 + len(name)))
    frames = list(read_frames(tmp_path / "all"))
    sources = [frame.provenance.source for frame in frames]
    assert sources == ["all/a/1"] * 4 + ["all/a/2"] * 4 + ["all/b"] * 2
    assert next(read_frames(tmp_path / "all" / "b")).provenance.source != "all/b"


def test_one_damaged_system_is_named(tmp_path):
    (tmp_path / "all").mkdir()
    for name in ("a", "b"):
        deepmd(tmp_path / "all" / name, frames_of(bulk("Cu"), 2))
    (tmp_path / "all" / "b" / "set.000" / "force.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"all/b/set.000/force.npy: can't be read"):
        list(read_frames(tmp_path / "all"))
    shutil.rmtree(tmp_path / "all" / "b" / "set.000")
    with pytest.raises(DataError, match=r"all/b: has no folder set.000"):
        list(read_frames(tmp_path / "all"))


def test_a_folder_without_systems_is_none(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    (tmp_path / "folder" / "notes.json").write_text(json.dumps({}))
    assert not is_frame_folder(tmp_path / "folder")
    with pytest.raises(DataError, match="is a folder, and no format is one like it"):
        list(read_frames(tmp_path / "folder"))
