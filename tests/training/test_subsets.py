"""Configuration, average of weights, schedule, evaluation, report, command line."""

import csv
import io
import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from rich.console import Console
from typer.testing import CliRunner

from gnnpot.cli.progress import Bars
from gnnpot.config import from_mapping, read_yaml
from gnnpot.data import ElementReferences, Frame, FrameStore, write_store
from gnnpot.errors import ConfigError, DataError
from gnnpot.models import HDNNPConfig, build_model
from gnnpot.potential import Potential
from gnnpot.training.callbacks import ReportProgress, metrics_columns
from gnnpot.training.config import ScheduleConfig, TrainConfig, read_config
from gnnpot.training.ema import EMA
from gnnpot.training.evaluate import evaluate, evaluate_calculator
from gnnpot.training.module import learning_rate
from gnnpot.training.report import write_report
from gnnpot.training.soap import MaskedSOAP
from gnnpot.training.subsets import _counts, split_stores


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser": {}}, "unknown option 'optimiser'; did you mean 'optimizer'"),
        ({"optimizer": {"lrr": 1}}, "optimizer: unknown option 'lrr'; did you mean 'lr'"),
        ({"optimizer": {"lr": -1}}, "lr: -1.0 is not a number above 0"),
        ({"optimizer": {"name": "soap", "amsgrad": True}}, "amsgrad: is not a part of SOAP"),
        ({"model": {"architecture": "m4gnet"}}, "'m4gnet' is not known; did you mean 'm3gnet'"),
        ({"loss": {"kind": "hubert"}}, "'hubert' is not a choice; did you mean 'huber'"),
        ({"loss": {"energy": 0, "forces": 0, "stress": 0}}, "not all 0"),
        ({"batch": {"frames": 4, "max_atoms": 100}}, "exactly one of frames, max_atoms and max_edges"),
        ({"epochs": 1.5}, "epochs: expected int, got 1.5"),
        ({"data": {"split": {}}}, "option 'train' is missing"),
        ({"schedule": {"horizon": "time"}}, "'time' needs max_minutes"),
        ({"ema": 1.0}, "ema: 1.0"),
        ({"data": {"train": "a", "reader": {"stres": "gpa"}}}, "unknown option 'stres'"),
    ],
)
def test_mistakes_are_named(mapping, change, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(TrainConfig, {**mapping, **change})


def test_overrides(mapping, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(mapping))
    config = read_config(path, ["optimizer.lr=1e-4", "data.split.by=material", "zbl=false"])
    assert (config.optimizer.lr, config.data.split.by, config.zbl) == (1e-4, "material", False)
    for bad, message in (
        ("optimizer.lr", "not of the form key=value"),
        ("epochs.more=1", "'epochs' holds no further options"),
        ("optimizer.momentum=1", "unknown option 'momentum'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_config(path, [bad])
    with pytest.raises(ConfigError, match="can't be read"):
        read_config(tmp_path / "missing.yaml")
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_config(path)


def test_all_configs_in_the_repository_are_valid():
    from pathlib import Path

    found = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    assert len(found) >= 8
    for path in found:
        if "model" in read_yaml(path):
            read_config(path)


def test_average_of_weights():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 1.0)
    ema = EMA(layer, decay=0.5)
    expected = 1.0
    for n, value in enumerate((2.0, 4.0, 8.0), start=1):
        torch.nn.init.constant_(layer.weight, value)
        ema.update(layer)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    with ema.applied(layer):
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 8.0
    copy = EMA(layer, decay=0.5)
    copy.load_state_dict(ema.state_dict())
    assert copy.updates == 3 and torch.equal(copy.weights["weight"], ema.weights["weight"])
    none = EMA(layer, decay=0.0)
    torch.nn.init.constant_(layer.weight, 3.0)
    none.update(layer)
    assert none.weights["weight"].item() == 3.0


def test_learning_rate():
    schedule = ScheduleConfig(warmup_steps=10, lr_min=1e-5)
    assert learning_rate(0, 0.0, 1e-2, schedule) == pytest.approx(1e-3)
    assert learning_rate(9, 0.0, 1e-2, schedule) == pytest.approx(1e-2)
    assert learning_rate(100, 0.5, 1e-2, schedule) == pytest.approx((1e-2 + 1e-5) / 2)
    assert learning_rate(100, 1.0, 1e-2, schedule) == pytest.approx(1e-5)
    assert learning_rate(100, 7.0, 1e-2, schedule) == pytest.approx(1e-5)
    by_time = ScheduleConfig(warmup_steps=1000, lr_min=0.0, horizon="time")
    assert learning_rate(4, 0.5, 1e-2, by_time) == pytest.approx(5e-3)
    assert learning_rate(4, 0.05, 1e-2, by_time) == pytest.approx(0.5e-2 * (1 + np.cos(0.05 * np.pi)) / 2)


def test_a_calculator_against_its_own_labels(frames):
    metrics = evaluate_calculator(EMT(), frames).metrics()
    assert metrics["energy_count"] == len(frames) and metrics["stress_count"] == 6 * len(frames)
    assert max(metrics[f"{q}_mae"] for q in ("energy", "forces", "stress")) < 1e-10
    wrong = evaluate_calculator(LennardJones(), frames[:2]).metrics()
    assert wrong["forces_mae"] > 1e-3
    with pytest.raises(DataError, match="no frames"):
        evaluate_calculator(EMT(), [])


def test_a_calculator_with_smearing_agrees_with_its_own_labels(frames):
    class Smeared(EMT):
        def calculate(self, *arguments, **options):
            super().calculate(*arguments, **options)
            self.results["free_energy"] -= 0.4

    labelled = []
    for frame in frames[:2]:
        atoms = frame.to_atoms()
        atoms.calc = Smeared()
        atoms.get_forces()
        labelled.append(Frame.from_atoms(atoms))
    assert evaluate_calculator(Smeared(), labelled).metrics()["energy_mae"] == pytest.approx(0, abs=1e-9)


def test_evaluation_by_hand_and_in_batches(frames, hdnnp):
    torch.manual_seed(0)
    model = build_model(from_mapping(HDNNPConfig, {**hdnnp, "elements": ["Cu", "Ni"]}))
    potential = Potential(model, ElementReferences.fit(frames)).double()
    chosen = [frames[0].replace(stress=None), frames[1].replace(forces=None), *frames[2:7]]
    evaluation = evaluate(potential, chosen)
    single = evaluate(potential, chosen, max_atoms=1)
    assert evaluation.metrics() == pytest.approx(single.metrics(), rel=1e-9)
    assert (evaluation.metrics()["forces_count"], evaluation.metrics()["stress_count"]) == (6 * 12, 6 * 6)
    predictions = [potential(potential.graph(f)) for f in chosen]
    energy = [abs(p.energy.item() - f.energy) / 4 for p, f in zip(predictions, chosen, strict=True)]
    assert evaluation.metrics()["energy_mae"] == pytest.approx(np.mean(energy))
    by_element = evaluation.by_element()
    atoms = sum(row["atoms"] for row in by_element.values())
    total = sum(row["forces_mae"] * row["atoms"] for row in by_element.values()) / atoms
    assert total == pytest.approx(evaluation.metrics()["forces_mae"])
    kinds = evaluation.by_config_type()
    assert {k: row["frames"] for k, row in kinds.items()} == {"kind 0": 4, "kind 1": 3}
    assert "stress_mae" not in evaluate(potential, chosen, stress=False).metrics()


def test_report(frames, tmp_path):
    log = tmp_path / "metrics.csv"
    with log.open("w", newline="") as file:
        writer = csv.DictWriter(file, metrics_columns())
        writer.writeheader()
        writer.writerows({"step": k, "train_loss": 1 / k, "validation_loss": 2 / k} for k in range(1, 9))
    evaluation = evaluate_calculator(LennardJones(), frames[:3])
    path = write_report(tmp_path / "report", "<LJ> & co", {"test": evaluation}, log, {"epochs": 3})
    text = path.read_text()
    assert "&lt;LJ&gt; &amp; co" in text and "epochs: 3" in text and "http" not in text
    names = {p.name for p in path.parent.iterdir()}
    assert names == {"report.html", "parity-test.png", "elements.png", "learning.png"}
    assert text.count("data:image/png;base64,") == 3
    bare = write_report(tmp_path / "bare", "nothing", {"test": evaluate_calculator(EMT(), [frames[0].replace(
        energy=None, forces=None, stress=None)])})  # fmt: skip
    assert "data:image" not in bare.read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not a folder"):
        write_report(tmp_path / "file" / "x", "t", {})


def test_command_line(mapping, store, tmp_path):
    from gnnpot.cli import app

    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(mapping))
    runner = CliRunner()
    result = runner.invoke(app, ["train", str(path), "--set", "epochs=1", "--set", f"run={tmp_path / 'r'}", "--quiet"])
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output
    result = runner.invoke(
        app, ["evaluate", str(tmp_path / "r" / "model"), str(store), "--report", str(tmp_path / "e")]
    )
    assert result.exit_code == 0, result.output
    assert "meV/atom" in result.output and (tmp_path / "e" / "report.html").exists()
    for command in ("train", "evaluate"):
        assert "Example" in runner.invoke(app, [command, "--help"]).output


def test_progress_is_reported_and_fits_into_80_columns(config, monkeypatch):
    shown = io.StringIO()
    bars = Bars()
    bars._console = Console(file=shown, width=80, force_terminal=True, color_system=None)
    report, trainer = ReportProgress(config, bars), SimpleNamespace(is_global_zero=True, global_step=12345)
    found = {"energy_mae": 0.0234, "forces_mae": 0.01234}
    module = SimpleNamespace(total_steps=20000, seconds=5.0, validation=found)
    report.on_train_batch_end(trainer, module)
    report.on_validation_end(trainer, module)
    report.teardown(trainer, module, "fit")
    assert re.search(r"training \S+ +62% 0:00:00 left \S+ MAE 23.4 meV/atom, 0.0123 eV/Å", shown.getvalue())
    reported = []
    ReportProgress(config, lambda *news: reported.append(news)).on_train_batch_end(trainer, module)
    assert reported == [("training", 12345 / 20000, 1.0, "step 12345")]


def test_soap_leaves_alone_what_has_no_gradient():
    """Embeddings of elements that are not in the data."""
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(20, 16)
    before = embedding.weight.detach().clone()
    optimizer = MaskedSOAP(embedding.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        embedding(torch.tensor([3, 7])).square().sum().backward()
        optimizer.step()
    moved = (embedding.weight != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3, 7]
    assert (embedding.weight[[3, 7]].norm(dim=1) < before[[3, 7]].norm(dim=1)).all()


def test_a_small_number_of_frames_leaves_some_for_each_subset():
    for train, validation in itertools.product(range(1, 6), repeat=2):
        subsets = {"train": range(train), "validation": range(validation)}
        with pytest.raises(ConfigError, match="1 can't be divided among train, validation"):
            _counts(subsets, 1)
        for count in range(2, train + validation + 1):
            counts = _counts(subsets, count)
            assert sum(counts.values()) == count
            assert 1 <= counts["train"] <= train and 1 <= counts["validation"] <= validation


def test_test_frames_that_are_also_training_frames_are_counted(store, frames, mapping, tmp_path, caplog):
    data = from_mapping(TrainConfig, mapping).data
    stores = {"train": FrameStore(store), "test": write_store(frames[:5], tmp_path / "copies.store")}
    train = split_stores(stores, data, tmp_path / "chosen.json", write=True)["train"]
    copies = int((train.indices < 5).sum())
    assert f"{copies} of 5 test frames are also training frames, so their errors are too low" in caplog.text
