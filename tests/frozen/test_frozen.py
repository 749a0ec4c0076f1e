"""What earlier versions wrote is read: half-done runs resume, checkpoints give the same numbers, YAML files are read.

`scripts/fixtures/make_frozen_runs.py` made the runs and YAML files with version 0.1, and the checkpoints of each format
with a version that writes it; they never change. The tests use what a user has: commands, `gnnpot.load` and
`gnnpot.Calculator`.
"""

import csv
import hashlib
import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.io import read, write

import gnnpot
from gnnpot.config import from_mapping
from gnnpot.hub.card import FORMAT_VERSION
from gnnpot.models import ZBLConfig, build_model, find_architecture
from gnnpot.models.architectures import OWN
from gnnpot.training.config import TrainConfig

FROZEN = Path(__file__).parent
#: of version 0.1.0
OLD_ARCHITECTURES = ("m3gnet", "chgnet", "sevennet", "hdnnp")
CHECKPOINTS = sorted((FROZEN / "checkpoints").glob("*-format-*"))


def command(arguments, monkeypatch) -> int:
    """`python -m gnnpot ARGUMENTS`, in this process; the exit status."""
    monkeypatch.setattr(sys, "argv", ["gnnpot", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("gnnpot", run_name="__main__", alter_sys=False)
    return ended.value.code or 0


@pytest.fixture
def resumed(tmp_path, monkeypatch):
    """Copies the run of a kind and works in the copy; gives it, and what ends the run."""

    def copy(kind: str):
        folder = tmp_path / kind
        shutil.copytree(FROZEN / "runs" / kind, folder)
        monkeypatch.chdir(folder)

        def end(*more: str) -> None:
            assert command([*json.loads((folder / "command.json").read_text()), *more], monkeypatch) == 0

        return folder, end

    return copy


@pytest.fixture
def calls(monkeypatch) -> list:
    """Grows by one with each energy that a calculator gives."""
    made = []
    calculate = gnnpot.Calculator.calculate

    def counted(self, *arguments, **options):
        made.append(1)
        return calculate(self, *arguments, **options)

    monkeypatch.setattr(gnnpot.Calculator, "calculate", counted)
    return made


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    files = (path for path in sorted(folder.rglob(pattern)) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def saved_step(run: Path) -> int:
    """The step of the state that a run resumes from."""
    return torch.load(run / "last.ckpt", weights_only=True)["global_step"]


def check_training(run: Path, before: list[dict[str, str]], step: int, steps: int) -> None:
    """The log up to the saved step is as it was, its wall times too; it ends at the last step."""
    after = metrics(run)
    kept = [row for row in before if int(row["step"]) <= step]
    assert len(kept) > 10 and after[: len(kept)] == kept
    assert int(after[-1]["step"]) == steps and step < steps
    assert torch.isfinite(torch.cat([w.flatten() for w in gnnpot.load(run / "model").state_dict().values()])).all()
    assert (run / "report" / "report.html").stat().st_size > 1000


def test_a_training_resumes(resumed):
    folder, end = resumed("train")
    run = folder / "run"
    before, step, store = metrics(run), saved_step(run), digests(run / "data")
    end()
    check_training(run, before, step, 150)
    assert digests(run / "data") == store


def test_a_fine_tuning_resumes(resumed):
    folder, end = resumed("finetune")
    run = folder / "run"
    before, step, refit = metrics(run), saved_step(run), json.loads((run / "refit.json").read_text())
    end()
    check_training(run, before, step, 100)
    card = json.loads((run / "model" / "card.json").read_text())
    assert card["references"]["energies"] == pytest.approx(refit["references"]["energies"], abs=1e-12)


def test_a_distillation_resumes(resumed):
    folder, end = resumed("distil")
    run = folder / "run"

    def finished() -> dict[str, str]:
        found = {**digests(run / "round-00"), **digests(run / "round-01" / "student-0")}
        # configurations are written again, with the options that are newer than the run
        return {name: digest for name, digest in found.items() if not name.endswith("config.yaml")}

    before = finished()
    end()
    assert finished() == before
    assert len(before) > 15 and gnnpot.load(run / "model").elements == ("Na", "Cl")
    rounds = json.loads((run / "model" / "card.json").read_text())["card"]["metrics"]["distil"]["rounds"]
    assert len(rounds) == 2


def test_labelling_resumes(resumed, calls):
    folder, end = resumed("label")
    end()
    labelled = json.loads((folder / "pool.store" / "manifest.json").read_text())["frames"]
    # 5 structures as they are, 2 times rattled, strained, and melted: 40 steps of dynamics and 2 more
    whole = 5 * (4 + 42)
    assert labelled >= 20 and 0 < len(calls) < 0.8 * whole and not list(folder.glob("*.labelling"))


def test_curation_resumes(resumed):
    folder, end = resumed("mp")
    begun = folder / "mp.store.unfinished"
    shards = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in begun.glob("*.parquet")}
    end()
    store = folder / "mp.store"
    same = [
        name for name, (time, content) in shards.items()
        if (store / name).stat().st_mtime_ns == time and (store / name).read_bytes() == content
    ]  # fmt: skip
    # the last one may have been cut off
    assert len(same) >= len(shards) - 1 > 0 and not begun.exists()
    assert json.loads((store / "manifest.json").read_text())["frames"] == 25


def test_dynamics_resume(resumed, calls):
    folder, end = resumed("md")
    before = read(folder / "start-md.traj", ":")
    end("--resume")
    after = read(folder / "start-md.traj", ":")
    assert len(after) == 41 and 5 < len(before) < 41
    for old, new in zip(before, after, strict=False):
        assert np.array_equal(old.positions, new.positions) and np.array_equal(old.get_momenta(), new.get_momenta())
    assert len(calls) <= 400 - 10 * (len(before) - 1) + 2
    steps = [int(line.split()[0]) for line in (folder / "start-md.log").read_text().splitlines() if line[:1] != "#"]
    assert steps == list(range(0, 401, 10))


def format_of(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)
def test_a_checkpoint_gives_the_same_energies_and_forces(folder):
    calculator = gnnpot.Calculator(folder, dtype=torch.float64)
    for structure in json.loads((folder / "reference.json").read_text())["structures"]:
        atoms = Atoms(structure["numbers"], positions=structure["positions"], cell=structure["cell"], pbc=True)
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(structure["energy"], abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), structure["forces"], atol=1e-6)


def test_each_architecture_is_frozen_in_the_format_that_is_written():
    """A new architecture, or a new format version: run `scripts/fixtures/make_frozen_runs.py checkpoints`."""
    newest = [folder for folder in CHECKPOINTS if format_of(folder) == FORMAT_VERSION]
    assert {gnnpot.load(folder).model.config.architecture for folder in newest} == set(OWN)


@pytest.mark.parametrize(
    "folder", [f for f in CHECKPOINTS if format_of(f) == FORMAT_VERSION], ids=lambda path: path.name
)
def test_names_and_shapes_of_a_state_change_with_a_new_format_version_only(folder):
    """If this fails: raise `FORMAT_VERSION`, write the step in `gnnpot/hub/upgrades.py`, and freeze the new format."""
    frozen = json.loads((folder / "reference.json").read_text())["state"]
    model = json.loads((folder / "card.json").read_text())["model"]
    terms = json.loads((folder / "card.json").read_text())["terms"]
    built = build_model(from_mapping(find_architecture(model["architecture"]).config, model))
    now = {f"model.{name}": list(t.shape) for name, t in built.state_dict().items()}
    for k, term in enumerate(terms):
        state = build_model(from_mapping(ZBLConfig, term)).state_dict()
        now |= {f"terms.{k}.{name}": list(t.shape) for name, t in state.items()}
    assert now == {name: shape for name, shape in frozen.items() if name.startswith(("model.", "terms."))}
    assert {name: list(t.shape) for name, t in gnnpot.load(folder).state_dict().items()} == frozen


def test_rows_of_matgl_were_an_option():
    """Format 2 and YAML files of then: `layout` is read as the architecture that it is now."""
    for name, version in (("m3gnet-matgl-rows", "2.2"), ("m3gnet-matgl-rows-4.0", "4.0")):
        folder = FROZEN / "checkpoints" / f"{name}-format-2"
        written = json.loads((folder / "card.json").read_text())["model"]
        assert written["architecture"] == "m3gnet" and written["layout"] in ("matgl", "matgl-3")
        config = gnnpot.load(folder).model.config
        assert config.architecture == "m3gnet-matgl-rows" and config.matgl == version
        mapping = {"model": written, "data": {"train": "x"}, "run": "x"}
        assert from_mapping(TrainConfig, mapping).model == config
    with pytest.raises(gnnpot.GnnpotError, match="layout: 'mat' is not a choice"):
        from_mapping(TrainConfig, {**mapping, "model": {**written, "layout": "mat"}})


def test_what_is_written_has_the_newest_frozen_format(resumed):
    folder, end = resumed("train")
    end("--set", "max_steps=60", "--fresh")
    card = json.loads((folder / "run" / "model" / "card.json").read_text())
    assert card["format_version"] == FORMAT_VERSION == max(map(format_of, CHECKPOINTS))


def options(name: str) -> list[Path]:
    """YAML files of version 0.1 that hold each key, and each kind where there are several."""
    return sorted((FROZEN / "options").glob(f"{name}*.yaml"))


@pytest.mark.parametrize("path", options(""), ids=lambda path: path.stem)
def test_old_yaml_files_are_read(path, tmp_path, monkeypatch, capsys):
    """They are read to their end: what is missing is the data, which the message names."""
    structures = tmp_path / "structures.extxyz"
    write(structures, [Atoms("NaCl", positions=[[0, 0, 0], [2.8, 0, 0]], cell=[5.6] * 3, pbc=True)] * 2)
    teacher, run = FROZEN / "checkpoints" / "m3gnet-format-2", tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    arguments = {
        "train": ["train", path],
        "finetune": ["finetune", "missing", structures, "-o", run, "--config", path],
        "distil": ["distil", teacher, "missing", "-o", run, "--config", path],
        "label": ["label", "missing", "-m", teacher, "-o", run, "--config", path],
        "mp": ["data", "mp", "--mptrj", "missing", "-o", run, "-c", path],
    }[path.stem.split("-")[0]]
    assert command(arguments, monkeypatch) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "missing" in said and path.name not in said and "option" not in said, said


def test_each_key_is_in_the_old_yaml_files():
    """The files are not empty, and the kinds of version 0.1 are all there."""
    kinds = {name: [yaml.safe_load(path.read_text()) for path in options(name)] for name in ("label", "mp", "train")}
    assert len({d["kind"] for d in kinds["label"][0]["distortions"]}) == 9
    assert len({f["filter"] for f in kinds["mp"][0]["filters"]}) == 10
    assert {mapping["model"]["architecture"] for mapping in kinds["train"]} == set(OLD_ARCHITECTURES)
