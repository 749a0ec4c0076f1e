"""scripts/benchmarks/evaluate_checkpoint.py from end to end, on a small potential and a few structures."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gnnpot.data.readers import read_frames
from gnnpot.data.references import ElementReferences
from gnnpot.data.splits import part_of_material
from gnnpot.hub.checkpoint import Card, save_checkpoint
from gnnpot.models import M3GNet, M3GNetConfig, ZBLConfig, build_model
from gnnpot.potential import Potential
from gnnpot.training.evaluate import evaluate

FRACTIONS = {"train": 0.5, "test": 0.5}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "benchmarks"))
    import evaluate_checkpoint

    yield evaluate_checkpoint
    for name in [name for name in sys.modules if name.startswith(("evaluat", "peer"))]:
        del sys.modules[name]


def checkpoint(folder, name, energy_reference):
    torch.manual_seed(0)
    elements = ("Na", "Cl")
    model = M3GNet(M3GNetConfig(elements=elements, units=4, blocks=1, max_n=2, max_l=2))
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(elements, -1.0)})
    potential = Potential(model, references, terms=[build_model(ZBLConfig(elements=elements))])
    return save_checkpoint(folder / name, potential, Card(name=name, energy_reference=energy_reference))


@pytest.fixture
def data(tmp_path):
    """Frames, equations of state and a pool, of NaCl and Na; copper is of no use to the potential."""
    rng = np.random.default_rng(0)
    frames, pool = [], []
    for k in range(6):
        atoms = bulk("NaCl", "rocksalt", a=5.6 + 0.02 * k)
        atoms.rattle(0.05, seed=k)
        pool.append(atoms.copy())
        atoms.info["mptrj_traj_id"] = f"mp-{k}"
        forces, stress = rng.normal(size=(2, 3)), 0.01 * rng.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, energy=-6.0 + 0.1 * k, forces=forces, stress=stress)
        frames.append(atoms)
    pool.append(bulk("Cu"))
    for name, structures in (("frames", frames), ("pool", pool)):
        with gzip.open(tmp_path / f"{name}.extxyz.gz", "wt") as file:
            write(file, structures, format="extxyz")
    (tmp_path / "acwf").mkdir()
    crystals = [bulk("Na", "bcc", a=4.2 * x) for x in np.linspace(0.98, 1.02, 7)]
    for atoms in crystals:
        atoms.info["acwf"] = "Na-X/BCC"
    with gzip.open(tmp_path / "acwf" / "unaries_vasp_pbe_eos.extxyz.gz", "wt") as file:
        write(file, crystals, format="extxyz")
    expected = {"BM_fit_data": {"Na-X/BCC": {"min_volume": 37.0, "bulk_modulus_ev_ang3": 0.05}}}
    (tmp_path / "acwf" / "results-unaries-verification-PBE-v1-AE-average.json").write_text(json.dumps(expected))
    return tmp_path


def test_from_end_to_end(script, data, tmp_path, capsys):
    raw, corrected = (str(checkpoint(tmp_path, name, words)) for name, words in (("raw", "raw PBE"), ("mp", "MP2020")))
    frames = data / "frames.extxyz.gz"
    line = [
        raw, corrected, "--output", str(tmp_path / "out"), "--work", str(tmp_path / "work"),
        "--frames", f"few={frames}",
        "--part", "test", "--fractions", "train=0.5,test=0.5", "--acwf", str(data / "acwf"),
        "--pool", str(data / "pool.extxyz.gz"), "--crystals", "2", "--hot", "1", "--picoseconds", "0.04",
        "--seconds", "0.01",
    ]  # fmt: skip
    parts = ["frames", "dimers", "equations-of-state", "relaxations", "dynamics"]
    script.main([*line, *(word for part in parts for word in ("--only", part))])
    results = tmp_path / "out" / "results"
    found = json.loads((results / "raw" / "frames-few.json").read_text())["result"]
    held_out = [f for f in read_frames(frames) if part_of_material(f.provenance.material_id, FRACTIONS) == "test"]
    assert 0 < found["frames"] == len(held_out) < 6
    evaluation = evaluate(script.open_model(raw).potential, held_out)
    assert found["energy_mae"] == pytest.approx(evaluation.metrics()["energy_mae"])
    forces = np.concatenate(evaluation.values["forces"])
    norm = np.linalg.norm(forces[..., 1] - forces[..., 0], axis=1).mean()
    assert found["forces_norm"] == pytest.approx(norm) and norm > found["forces_mae"]
    # MP2020 gives NaCl -0.614 eV
    other = json.loads((results / "mp" / "frames-few.json").read_text())["result"]
    assert other["energies"] == "MP2020-corrected" and other["energy_mae"] != found["energy_mae"]
    assert abs(other["energy_mae"] - found["energy_mae"]) == pytest.approx(0.614 / 2, abs=1e-6)
    assert other["forces_mae"] == pytest.approx(found["forces_mae"])
    relaxed = json.loads((results / "raw" / "relaxations.json").read_text())["result"]["outcomes"]
    assert [outcome["formula"] for outcome in relaxed] == ["ClNa", "ClNa"]
    table = (tmp_path / "out" / "table.md").read_text()
    assert "1000 K for 0.04 ps: exploded" in table and "equations of state held out: volume" in table
    for words in ("| | unit | raw | mp |", "few: energy, MAE", "dimers with a hole"):
        assert words in table
    assert (tmp_path / "out" / "dimers.png").exists() and (tmp_path / "out" / "errors.png").exists()
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.json")}
    script.main([*line, "--only", "dimers", "--only", "relaxations"])
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*.json")} == before
    assert capsys.readouterr().out.count("is there") == 4


def test_crystals_from_under_pressure_are_named(script, data, tmp_path):
    line = [str(checkpoint(tmp_path, "raw", "raw PBE")), "--output", str(tmp_path), "--work", str(tmp_path / "work")]
    line += ["--pool", str(data / "pool.extxyz.gz"), "--crystals", "2", "--only", "relaxations"]
    script.main(line)
    assert "finds to be pressure" not in (tmp_path / "table.md").read_text()
    path = tmp_path / "results" / "raw" / "relaxations.json"
    found = json.loads(path.read_text())
    found["result"]["outcomes"][0] |= {"exploded": False, "volume_ratio": 2.1, "free_volume_ratio": 1.95}
    path.write_text(json.dumps(found))
    script.main(line)
    assert (
        "ClNa (2.10 times its volume; scaled uniformly, it has no pressure at 1.95"
        in (tmp_path / "table.md").read_text()
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--only", "dimer"], "did you mean 'dimers'"),
        (["--frames", "nowhere"], "give NAME=FILE"),
        (["--part", "tset"], "did you mean 'test'"),
        (["--pool", "nowhere"], "--pool nowhere: does not exist"),
    ],
)
def test_errors_are_sentences(script, tmp_path, capsys, more, words):
    with pytest.raises(SystemExit):
        script.main(["no-model", "--output", str(tmp_path), *more])
    assert words in capsys.readouterr().err
