"""Every architecture trains by the one module, and resumes; magnetic moments are learnt and measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gnnpot.config import from_mapping
from gnnpot.data import write_store
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.training.config import TrainConfig, read_config
from gnnpot.training.evaluate import evaluate
from gnnpot.training.run import train
from tests.training.runs import rows, same, train_until, weights

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = {
    "m3gnet": {"units": 8, "blocks": 1, "cutoff": 4.0, "three_body_cutoff": 3.0},
    "chgnet": {"units": 8, "convolutions": 2, "cutoff": 4.0, "radial": 5, "angular": 3, "readout_layers": 1},
    "sevennet": {"channels": [4, 4], "layers": 2, "cutoff": 4.0, "cutoff_on": 3.5, "radial_hidden": [8]},
    "nequix": {"channels": [4, 4], "layers": 2, "cutoff": 4.0, "radial_hidden": [8]},
}
#: µB of Cu and Ni
MOMENTS = {29: 0.02, 28: -0.6}


@pytest.fixture(scope="session")
def magnetic(tmp_path_factory, frames):
    """Frames with made-up moments, one by element; two have none."""
    labelled = [
        f.replace(magmoms=None if k < 2 else np.array([MOMENTS[z] for z in f.numbers])) for k, f in enumerate(frames)
    ]
    return write_store(labelled, tmp_path_factory.mktemp("magnetic") / "m.store").folder


def tiny(architecture, mapping, magnetic, **changes):
    model = {"architecture": architecture, **TINY[architecture]}
    loss = {**mapping["loss"], "magmoms": 1.0 if architecture == "chgnet" else 0.0}
    data = {**mapping["data"], "train": str(magnetic)}
    return from_mapping(
        TrainConfig,
        {**mapping, "model": model, "loss": loss, "data": data, "precision": "float32", "zbl": False, "epochs": 2}
        | changes,
    )


@pytest.mark.parametrize("architecture", TINY)
def test_trains_and_resumes_to_the_same_weights(architecture, mapping, magnetic, tmp_path, monkeypatch):
    config = tiny(architecture, mapping, magnetic)
    whole = train(config)
    assert whole.dtype == torch.float32 and set(whole.elements) == {"Cu", "Ni"}
    other = replace(config, run=tmp_path / "other")
    train_until(10, other, monkeypatch)
    same(weights(whole), weights(train(other)))
    assert rows(config) == rows(other)


def test_magnetic_moments_are_learnt_and_measured(mapping, magnetic, frames, tmp_path):
    from gnnpot.cli import app

    config = tiny("chgnet", mapping, magnetic, epochs=12, optimizer={"lr": 0.02})
    potential = train(config)
    errors = [float(row["validation_magmoms_mae"]) for row in rows(config) if row["validation_loss"]]
    assert errors[-1] < 0.5 * errors[0]
    metrics = load_checkpoint(config.run / "model")[1].metrics["validation"]
    assert metrics["magmoms_mae"] == pytest.approx(min(errors), rel=0.5)
    assert "Magnetic moments" in (config.run / "report" / "report.html").read_text()
    # by hand: magnitudes, of the frames that have a label
    chosen = [frames[0], frames[4].replace(magmoms=np.array([MOMENTS[z] for z in frames[4].numbers]))]
    found = evaluate(potential, chosen)
    predicted = potential(potential.graph(chosen[1])).magmoms.detach().double().numpy()
    expected = np.abs(np.abs(predicted) - np.abs(chosen[1].magmoms)).mean()
    assert found.metrics()["magmoms_count"] == 4
    assert found.metrics()["magmoms_mae"] == pytest.approx(expected, rel=1e-4)
    result = CliRunner().invoke(app, ["evaluate", str(config.run / "model"), str(magnetic)])
    assert result.exit_code == 0 and "Magnetic moments" in result.output and "µB" in result.output


@pytest.mark.parametrize("architecture", TINY)
def test_the_configuration_for_pretraining_trains(architecture, magnetic, tmp_path):
    """As it stands in `configs/`, but for the model's sizes and the machine's."""
    sizes = [f"model.{name}={value}" for name, value in TINY[architecture].items()]
    settings = [
        f"data.train={magnetic}", f"run={tmp_path / 'run'}", "data.split.by=frame", "data.split.validation=0.2",
        "data.split.test=0.1", "data.workers=0", "batch.max_atoms=16", "epochs=1", "lightning.accelerator=cpu",
        "lightning.devices=1", "lightning.strategy=auto",
    ]  # fmt: skip
    config = read_config(CONFIGS / f"pretrain-{architecture}.yaml", [*sizes, *settings])
    train(config)
    metrics = load_checkpoint(config.run / "model")[1].metrics["test"]
    assert all(metrics[f"{label}_mae"] > 0 for label in ("energy", "forces", "stress"))
    assert ("magmoms_mae" in metrics) == (architecture == "chgnet")
