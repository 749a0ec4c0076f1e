"""MPtrj and MatPES: small files made as their authors make them, of the bundled frames."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from gnnpot.data import Frame, reduced_formula
from gnnpot.data.mp import Curation, MatPESFile, MPtrjFile, curate
from gnnpot.data.mp.filters import FarFromFinal, Labels, TaskJumps
from gnnpot.errors import ConfigError, DataError
from gnnpot.units import KBAR, stress_from_voigt

from .conftest import same_files

LOOSE = Curation(filters=(Labels(),))
CORRECTION = -0.25  # eV per atom, stands for MP2020


def structure(frame: Frame, **properties) -> dict:
    made = Structure(frame.cell, frame.symbols, frame.positions, coords_are_cartesian=True, site_properties=properties)
    return made.as_dict()


def kbar(frame: Frame) -> np.ndarray:
    """VASP's stress: kbar, positive under compression."""
    return -stress_from_voigt(frame.stress) / KBAR


def mptrj(trajectories: list[list[Frame]]) -> dict:
    """Materials mp-0, mp-1 …, each with calculations 0 and 1 of the task of that name."""
    materials: dict[str, dict] = {}
    for k, frames in enumerate(trajectories):
        name = f"mp-{k // 2}"
        final = (frames[-1].energy / len(frames[-1])) + CORRECTION
        for step, frame in enumerate(frames):
            corrected = frame.energy / len(frame) + CORRECTION
            materials.setdefault(name, {})[f"{name}-{k % 2}-{step}"] = {
                "structure": structure(frame),
                "uncorrected_total_energy": frame.energy,
                "corrected_total_energy": corrected * len(frame),
                "energy_per_atom": corrected,
                "ef_per_atom": -1.0,
                "e_per_atom_relaxed": final,
                "ef_per_atom_relaxed": -1.0,
                "force": frame.forces.tolist(),
                "stress": kbar(frame).tolist(),
                "magmom": [0.5] * len(frame) if step % 2 else None,
                "bandgap": 0.0,
                "mp_id": name,
            }
    return materials


def matpes(trajectories: list[list[Frame]]) -> list[dict]:
    made = []
    for k, frame in enumerate(f for frames in trajectories for f in frames):
        tensor = kbar(frame)
        made.append(
            {
                "matpes_id": f"matpes-2025-{k}",
                "structure": structure(frame, magmom=[1.25] * len(frame)),
                "energy": frame.energy,
                "forces": frame.forces.tolist(),
                "stress": [tensor[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))],
                "functional": "PBE",
                "stress_matrix": None,
                "provenance": {"original_mp_id": "mp-30"} if k == 0 else None,
            }
        )
    made[1]["stress"], made[1]["stress_matrix"] = None, kbar(trajectories[0][1]).tolist()
    return made


def write(path: Path, content) -> Path:
    text = json.dumps(content).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def close(a: Frame, b: Frame) -> bool:
    """The same frame; pymatgen's round trip costs the last digits of the positions."""
    pairs = [(getattr(a, name), getattr(b, name)) for name in ("positions", "cell", "energy", "forces", "stress")]
    return np.array_equal(a.numbers, b.numbers) and all(np.allclose(x, y, rtol=0, atol=1e-10) for x, y in pairs)


@pytest.mark.parametrize("name", ["MPtrj_2022.9_full.json", "part.json.gz"])
def test_mptrj(trajectories, tmp_path, name):
    path = write(tmp_path / name, mptrj(trajectories))
    store = curate(MPtrjFile(path), LOOSE, tmp_path / "s")
    frames = [f for group in trajectories for f in group]
    assert len(store) == len(frames) and all(close(a, b) for a, b in zip(frames, store, strict=True))
    assert store.manifest.stress_check["verdict"] == "agrees"
    first, second = store[0], store[1]
    assert first.magmoms is None and second.magmoms.tolist() == [0.5] * len(second)
    p = second.provenance
    assert (p.source, p.source_id, p.material_id, p.hubbard_u) == ("MPtrj", "mp-0-0-1", "mp-0", None)


def test_mptrj_corrections_and_final_energies(trajectories, tmp_path):
    path = write(tmp_path / "a.json", mptrj(trajectories))
    plain = curate(MPtrjFile(path), LOOSE, tmp_path / "plain")
    corrected = curate(MPtrjFile(path), Curation(filters=(Labels(),), corrections="mp2020"), tmp_path / "c")
    assert all(b.energy - a.energy == pytest.approx(CORRECTION * len(a)) for a, b in zip(plain, corrected, strict=True))
    assert "as the file holds them" in corrected.manifest.curation["conventions"]["corrections"]
    expected = sum(-0.05 <= (f.energy - frames[-1].energy) / len(f) <= 0.2 for frames in trajectories for f in frames)
    for corrections in ("none", "mp2020"):
        chosen = Curation(filters=(FarFromFinal(above=0.2, below=0.05),), corrections=corrections)
        assert len(curate(MPtrjFile(path), chosen, tmp_path / corrections)) == expected
    jumps = curate(MPtrjFile(path), Curation(filters=(TaskJumps(limit=1e-6),)), tmp_path / "jumps")
    last = [[g[-1].energy / len(g[-1]) for g in trajectories[k : k + 2]] for k in range(0, len(trajectories), 2)]
    kept = sum(
        len(trajectories[2 * k + j]) for k, pair in enumerate(last) for j, e in enumerate(pair) if e - min(pair) < 1e-6
    )
    assert len(jumps) == kept < len(plain)


def test_matpes(trajectories, tmp_path):
    path = write(tmp_path / "MatPES-PBE-2025.1.json.gz", matpes(trajectories))
    store = curate(MatPESFile(path), LOOSE, tmp_path / "s")
    frames = [f for group in trajectories for f in group]
    assert len(store) == len(frames) and all(close(a, b) for a, b in zip(frames, store, strict=True))
    assert store.manifest.stress_check["verdict"] == "agrees"
    p = store[0].provenance
    assert (p.source, p.source_id, p.material_id, p.functional) == ("MatPES", "matpes-2025-0-0", "mp-30", "PBE")
    assert store[1].provenance.material_id == reduced_formula(frames[1].numbers)
    assert store[0].magmoms.tolist() == [1.25] * len(frames[0])


def test_matpes_functionals(trajectories, tmp_path):
    content = matpes(trajectories[:4])
    for k, frame in enumerate(content):
        frame["functional"] = "r2SCAN" if k % 2 else "PBE"
    path = write(tmp_path / "a.json", content)
    store = curate(MatPESFile(path), Curation(run_types=("r2SCAN",), filters=()), tmp_path / "s", check_stress=False)
    assert {f.provenance.functional for f in store} == {"r2SCAN"}
    assert store.manifest.filters["another functional"] == (len(content) + 1) // 2
    for frame in content:
        del frame["functional"]
    path = write(tmp_path / "MatPES-R2SCAN-2025.1.json", content)
    with pytest.raises(DataError, match="no frame is left"):
        curate(MatPESFile(path), LOOSE, tmp_path / "t")


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", ["mptrj", "matpes"])
def test_interrupted_and_resumed_makes_the_same_bytes(trajectories, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("gnnpot.data.mp.files.FRAMES", 20)
    if kind == "mptrj":
        source = MPtrjFile(write(tmp_path / "a.json", mptrj(trajectories)))
    else:
        source = MatPESFile(write(tmp_path / "a.json", matpes(trajectories)))
    curate(source, LOOSE, tmp_path / "whole", shard_size=50)
    calls = []

    def stop(progress):
        calls.append(progress.done)
        if len(calls) == 6:
            raise Stop

    with pytest.raises(Stop):
        curate(source, LOOSE, tmp_path / "s", shard_size=50, progress=stop)
    curate(source, LOOSE, tmp_path / "s", shard_size=50)
    assert same_files(tmp_path / "whole", tmp_path / "s")


def test_the_file_is_a_stream(trajectories, tmp_path, monkeypatch):
    """Of a file that breaks off, what stands before the break is read and written."""
    monkeypatch.setattr("gnnpot.data.mp.files.FRAMES", 20)
    text = json.dumps(mptrj(trajectories))
    path = tmp_path / "a.json"
    path.write_text(text[: int(0.7 * len(text))])
    seen = []
    with pytest.raises(DataError, match="is no JSON file or is truncated"):
        curate(MPtrjFile(path), LOOSE, tmp_path / "s", progress=lambda p: seen.append(p.read))
    assert len(seen) > 4
    zipped = tmp_path / "b.json.gz"
    zipped.write_bytes(gzip.compress(text.encode())[:-2000])
    with pytest.raises(DataError, match="truncated"):
        curate(MPtrjFile(zipped), LOOSE, tmp_path / "t")


def test_frames_that_make_no_sense_are_counted(trajectories, tmp_path):
    content = mptrj(trajectories[:4])
    frames = content["mp-0"]
    a, b, c, *_ = frames
    del frames[a]["structure"]
    frames[b]["force"] = frames[b]["force"][:-1] or [[0, 0]]
    frames[c]["stress"] = [1, 2]
    store = curate(MPtrjFile(write(tmp_path / "a.json", content)), LOOSE, tmp_path / "s")
    assert store.manifest.filters["not of the file's format"] == 3


def test_what_the_files_can_not_tell_is_refused(trajectories, tmp_path):
    path = write(tmp_path / "a.json", mptrj(trajectories[:2]))
    with pytest.raises(DataError, match="zero.*leave energy out"):
        curate(MPtrjFile(path), Curation(energy="free"), tmp_path / "s")
    with pytest.raises(DataError, match="does not tell which"):
        curate(MPtrjFile(path), Curation(run_types=("GGA",)), tmp_path / "t")
    path = write(tmp_path / "b.json", matpes(trajectories[:2]))
    with pytest.raises(DataError, match="no entries of the Materials Project"):
        curate(MatPESFile(path), Curation(corrections="mp2020"), tmp_path / "u")
    with pytest.raises(ConfigError, match="needs material ids"):
        curate(MatPESFile(path), Curation(filters=(TaskJumps(),)), tmp_path / "v")
    with pytest.raises(DataError, match="there is no such file"):
        curate(MatPESFile(tmp_path / "c.json"), LOOSE, tmp_path / "w")
    with pytest.raises(DataError, match="holds no frames"):
        curate(MatPESFile(write(tmp_path / "d.json", {"a": 1})), LOOSE, tmp_path / "x")
