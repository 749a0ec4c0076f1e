"""Loggers get the numbers of metrics.csv, a resumed run continues its own, a missing package is said first."""

import csv
import json
import sys
from dataclasses import replace

import pytest

from gnnpot.errors import ConfigError
from gnnpot.extras import MissingExtraError
from gnnpot.training import loggers
from gnnpot.training.run import train


@pytest.fixture
def short(config):
    return replace(config, max_steps=4, log_every=2)


def losses(config) -> dict[int, float]:
    """The training loss of metrics.csv by step."""
    with (config.run / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]}


def test_csv_writes_nothing_else(short):
    config = replace(short, logger="csv")
    train(config)
    assert set(losses(config)) == {2, 4}
    assert not any((config.run / name).exists() for name in loggers.NAMES)


def test_tensorboard_has_the_numbers_of_the_csv(short):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(short)
    accumulator = events.EventAccumulator(str(short.run / "tensorboard"))
    accumulator.Reload()
    found = {event.step: event.value for event in accumulator.Scalars("train/loss")}
    assert found == pytest.approx(losses(short), rel=1e-5)
    assert accumulator.Scalars("lr")


@pytest.mark.parametrize(("name", "extra"), [("tensorboard", "train"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_package_is_said_before_anything_is_written(short, monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    sentence = rf'^logger={name}: needs the package {name}, .*: pip install "gnnpot\[{extra}\]"$'
    with pytest.raises(MissingExtraError, match=sentence):
        train(replace(short, logger=name))
    assert not short.run.exists()


def test_wandb_continues_its_run(short, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = replace(short, logger="wandb")
    train(config)
    number = json.loads((config.run / "logger.json").read_text())["wandb"]
    train(replace(config, max_steps=6))
    assert json.loads((config.run / "logger.json").read_text())["wandb"] == number
    begun = list((config.run / "wandb").glob(f"offline-run-*-{number}"))
    assert begun and all(list(folder.glob("run-*.wandb")) for folder in begun)


def test_mlflow_has_the_numbers_of_the_csv(short, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = replace(short, logger="mlflow")
    train(config)
    train(replace(config, max_steps=6))
    number = json.loads((config.run / "logger.json").read_text())["mlflow"]
    client = tracking.MlflowClient(f"sqlite:///{config.run / 'mlflow.db'}")
    found = {m.step: m.value for m in client.get_metric_history(number, "train/loss")}
    assert found == pytest.approx(losses(config), rel=1e-5)
    assert client.get_run(number).data.params["run"] == str(config.run)


def test_a_logger_that_refuses(short, monkeypatch):
    pytest.importorskip("wandb")

    def refuse(*args, **kwargs):
        raise RuntimeError("api_key not configured")

    monkeypatch.setattr("wandb.init", refuse)
    with pytest.raises(ConfigError, match=r"logger=wandb: can't begin a run there \(api_key not configured\); log in"):
        train(replace(short, logger="wandb"))
    assert not (short.run / "logger.json").exists()
