"""A run as a whole: it learns, it resumes to the same numbers, what it writes can be used."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from lightning.pytorch.accelerators import MPSAccelerator

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data import Frame, FrameStore, Provenance, write_store
from gnnpot.errors import ConfigError, DataError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.training.callbacks import MetricsLog
from gnnpot.training.config import BatchConfig, TrainConfig, read_config
from gnnpot.training.datamodule import GraphData
from gnnpot.training.evaluate import evaluate
from gnnpot.training.module import TrainingError, TrainModule
from gnnpot.training.prepare import build_potential, prepare
from gnnpot.training.run import train
from tests.training.runs import rows, same, weights


@pytest.mark.parametrize(("optimizer", "lr", "factor"), [("adamw", 0.05, 4), ("soap", 0.01, 2)])
def test_a_run_learns(config, optimizer, lr, factor):
    loss = replace(config.loss, kind="mse")
    optimizer = replace(config.optimizer, name=optimizer, lr=lr)
    train(replace(config, epochs=50, validate_every=7, loss=loss, optimizer=optimizer))
    losses = [float(row["validation_loss"]) for row in rows(config) if row["validation_loss"]]
    assert min(losses) < losses[0] / factor


def test_what_is_written(config, frames, uninterrupted):
    loaded, card = load_checkpoint(config.run / "model")
    same(weights(uninterrupted), weights(loaded))
    graph = loaded.graph(frames[0])
    assert torch.equal(loaded(graph).forces, uninterrupted(graph).forces)
    assert card.metrics["validation"]["forces_count"] > 0
    assert card.data_manifest_sha256 == FrameStore(config.data.paths("train")[0]).sha256
    options = {k: v for k, v in card.training.items() if k not in ("best_step", "sources")}
    assert from_mapping(TrainConfig, options) == config
    text = (config.run / "report" / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 3 and "Learning curve" in text
    assert [p.name for p in (config.run / "report").glob("*.partial")] == []
    counts = {row["train_energy_labels"] for row in rows(config) if row["train_loss"]}
    assert counts <= {"1", "2", "3", "4"} and "4" in counts
    # tensors and plain values only
    torch.load(config.run / "last.ckpt", weights_only=True)


def test_the_best_weights_are_kept(config, uninterrupted, store):
    losses = {int(r["step"]): float(r["validation_loss"]) for r in rows(config) if r["validation_loss"]}
    card = load_checkpoint(config.run / "model")[1]
    assert losses[card.training["best_step"]] == min(losses.values())
    logged = [r for r in rows(config) if r["validation_loss"] and int(r["step"]) == card.training["best_step"]][0]
    assert float(logged["validation_forces_mae"]) == pytest.approx(card.metrics["validation"]["forces_mae"], rel=1e-5)
    assert float(logged["validation_stress_mae"]) == pytest.approx(card.metrics["validation"]["stress_mae"], rel=1e-5)
    assert float(logged["validation_energy_mae"]) == pytest.approx(card.metrics["validation"]["energy_mae"], rel=1e-5)


def test_the_last_weights_are_kept_if_asked_for(config, uninterrupted, tmp_path):
    last = replace(config, run=tmp_path / "last", keep="last")
    potential = train(last)
    steps = [int(r["step"]) for r in rows(last) if r["validation_loss"]]
    card = load_checkpoint(last.run / "model")[1]
    assert card.training["best_step"] == steps[-1]
    logged = [r for r in rows(last) if r["validation_loss"]][-1]
    assert float(logged["validation_forces_mae"]) == pytest.approx(card.metrics["validation"]["forces_mae"], rel=1e-5)
    state = torch.load(config.run / "last.ckpt", weights_only=True)["gnnpot"]["ema"]["weights"]
    for name, value in state.items():
        assert torch.equal(potential.state_dict()[name], value), name
    with pytest.raises(ValueError, match="patience: has no effect with keep=last"):
        replace(last, patience=3)


def test_steps_can_be_the_only_limit(config):
    train(replace(config, epochs=None, max_steps=9))
    assert rows(config)[-1]["step"] == "9"
    # the default warm-up may change with the number of steps
    train(replace(config, epochs=None, max_steps=11, schedule=replace(config.schedule, warmup_steps=5)))
    assert rows(config)[-1]["step"] == "11"
    with pytest.raises(ValueError, match="give max_steps, or max_minutes"):
        replace(config, epochs=None, max_minutes=3.0)


def test_stops_by_time_and_ends_well(config):
    config = replace(config, epochs=None, max_minutes=0.03, schedule=replace(config.schedule, horizon="time"))
    train(config)
    last = [row for row in rows(config) if row["train_loss"]][-1]
    assert float(last["lr"]) < 0.1 * config.optimizer.lr
    assert (config.run / "model").exists()


def test_patience(config):
    config = replace(config, epochs=200, patience=2, validate_every=3, optimizer=replace(config.optimizer, lr=1e-30))
    train(replace(config, ema=0.0, schedule=replace(config.schedule, lr_min=0.0)))
    assert len([row for row in rows(config) if row["validation_loss"]]) < 20


def test_a_loss_that_is_not_finite_is_one_sentence(config):
    with pytest.raises(TrainingError, match="not finite at step"):
        train(replace(config, clip=0.0, epochs=50, zbl=False, optimizer=replace(config.optimizer, lr=1e160)))


def test_data_that_cant_be_used(config, mapping, frames, tmp_path):
    with pytest.raises(DataError, match="no such file or store"):
        train(replace(config, data=replace(config.data, train=tmp_path / "missing")))
    bare = write_store([f.replace(energy=None) for f in frames], tmp_path / "bare.store").folder
    with pytest.raises(DataError, match="no training frame has an energy"):
        train(replace(config, run=tmp_path / "bare", data=replace(config.data, train=bare)))
    with pytest.raises(ConfigError, match="nothing to validate on"):
        split = replace(config.data.split, validation=0.0)
        train(replace(config, run=tmp_path / "none", data=replace(config.data, split=split)))
    with pytest.raises(ConfigError, match="Ni is missing"):
        train(replace(config, run=tmp_path / "cu", model=replace(config.model, elements=("Cu",))))


def test_frames_with_some_labels_train(config, frames, tmp_path):
    labelled = [
        f.replace(
            stress=None if k % 2 else f.stress, forces=None if k % 3 else f.forces, energy=None if k == 5 else f.energy
        )
        for k, f in enumerate(frames)
    ]
    partly = write_store(labelled, tmp_path / "partly.store").folder
    train(replace(config, epochs=1, data=replace(config.data, train=partly)))
    counts = [
        (int(r["train_energy_labels"]), int(r["train_forces_labels"] or 0)) for r in rows(config) if r["train_loss"]
    ]
    assert sum(forces for _, forces in counts) < 12 * sum(energy for energy, _ in counts)


def test_frames_that_cant_choose_the_best_weights_are_refused(config, frames, tmp_path):
    """With validation frames that have no label of the loss, the weights of the first validation were kept."""
    moments = [frame.with_labels({"magmoms": [1.0] * len(frame)}) for frame in frames[:6]]
    store = write_store(moments, tmp_path / "moments.store").folder
    blind = replace(config, data=replace(config.data, validation=store))
    with pytest.raises(DataError, match="no validation frame has energy or forces or stress"):
        train(blind)
    train(replace(blind, keep="last"))
    assert load_checkpoint(config.run / "model")[1].training["best_step"] == int(rows(config)[-1]["step"]) > 6


def test_a_first_validation_that_is_not_finite_is_not_the_best_for_good(config, monkeypatch):
    original = TrainModule.on_validation_epoch_end

    def overflowing(self):
        original(self)
        if self.global_step == 6:
            self.validation["loss"] = math.nan

    monkeypatch.setattr(TrainModule, "on_validation_epoch_end", overflowing)
    train(config)
    scores = {int(row["step"]): float(row["validation_loss"]) for row in rows(config) if row["validation_loss"]}
    best = load_checkpoint(config.run / "model")[1].training["best_step"]
    assert math.isnan(scores.pop(6)) and scores[best] == min(scores.values())


def test_stress_of_the_wrong_sign_is_refused(config, tmp_path):
    right = []
    for k in range(9):
        atoms = bulk("Cu", "fcc", a=3.5 + 0.03 * k)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        right.append(Frame.from_atoms(atoms, Provenance(source="eos", source_id=str(k), material_id="Cu")))
    paths = {
        name: write_store(some, tmp_path / name).folder
        for name, some in (("right", right), ("wrong", [f.replace(stress=-f.stress) for f in right]))
    }
    config = replace(config, epochs=1)
    train(replace(config, run=tmp_path / "r", data=replace(config.data, train=paths["right"])))
    with pytest.raises(DataError, match="wrong sign"):
        train(replace(config, run=tmp_path / "w", data=replace(config.data, train=paths["wrong"])))
    unused = replace(config.loss, stress=0.0)
    train(replace(config, run=tmp_path / "u", loss=unused, data=replace(config.data, train=paths["wrong"])))


@pytest.mark.parametrize("cached", [True, False])
def test_batches_by_edges(config, cached):
    config = replace(config, epochs=1, batch=BatchConfig(max_edges=600), data=replace(config.data, cache_graphs=cached))
    prepared = prepare(config)
    data = GraphData(config, prepared, build_potential(config, prepared))
    for indices in data.stream():
        edges = sum(data.train[i].edge_index.shape[1] for i in indices)
        assert edges <= 600 or len(indices) == 1
    assert bool(list((config.run / "data").glob("edges-*.npy"))) is not cached
    assert (
        data.stream().total_steps()
        == GraphData(config, prepared, build_potential(config, prepared)).stream().total_steps()
    )


def test_files_become_a_store_once(config, frames, tmp_path):
    from ase.io import write

    path = tmp_path / "emt.extxyz"
    write(path, [f.to_atoms() for f in frames])
    config = replace(config, epochs=1, data=replace(config.data, train=path, test=path))
    potential = train(config)
    assert len(FrameStore(config.run / "data" / "train.store")) == len(frames)
    metrics = load_checkpoint(config.run / "model")[1].metrics
    again = evaluate(potential, frames).metrics()
    assert metrics["test"]["forces_mae"] == pytest.approx(again["forces_mae"], rel=1e-6)


def test_graphs_streamed_by_workers_are_the_same(config, tmp_path):
    found = []
    for workers in (0, 1):
        data = replace(config.data, cache_graphs=False, workers=workers)
        found.append(weights(train(replace(config, run=tmp_path / str(workers), data=data))))
    # up to rounding: matrix products depend on the alignment of arrays in memory, which workers do not keep
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-7, atol=1e-9, msg=name)


def test_kept_derivatives_change_rounding_only(config, tmp_path, uninterrupted):
    """With graphs in memory, the derivatives of the symmetry functions are kept too, unless they are too large."""
    data = replace(config.data, derivatives_gib=1e-6)
    streamed = weights(train(replace(config, run=tmp_path / "anew", data=data)))
    with pytest.raises(AssertionError):
        same(weights(uninterrupted), streamed)
    for name, kept in weights(uninterrupted).items():
        torch.testing.assert_close(streamed[name], kept, rtol=1e-7, atol=1e-9, msg=name)


def test_config_is_read_back(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_mapping(config)))
    assert read_config(path) == config


def test_symmetry_functions_are_chosen_once_and_kept(mapping, tmp_path):
    """The trained potential holds them, and a resumed run takes those that it began with."""
    functions = {"kind": "chosen", "radial_cutoff": 4.5, "angular_cutoff": 3.5, "count": 9}
    config = from_mapping(TrainConfig, {**mapping, "model": {**mapping["model"], "symmetry_set": functions}})
    potential = train(config)
    chosen = potential.model.config.symmetry_functions
    assert {f.centre for f in chosen} == {"Cu", "Ni"} and len(chosen) == 18
    loaded = load_checkpoint(config.run / "model")[0]
    assert loaded.model.config.symmetry_functions == chosen
    second = replace(config, start=str(config.run / "model"), run=tmp_path / "second", epochs=1)
    assert train(second).model.config.symmetry_functions == chosen
    # what was chosen stays, also where a choice now would be another
    path = config.run / "functions.json"
    shorter = json.loads(path.read_text())
    del shorter["symmetry_functions"][0]
    path.write_text(json.dumps(shorter))
    prepared = prepare(config)
    assert prepared.model.symmetry_functions == chosen[1:]
    path.write_text("{")
    with pytest.raises(DataError, match="begin the run afresh"):
        prepare(config)
    assert len(train(config, resume=False).model.config.symmetry_functions) == 18


def test_apples_gpu_is_not_used(config, monkeypatch):
    """It has no float64. By default, Lightning would choose it."""
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))
    for name in ("mps", "gpu"):
        with pytest.raises(ConfigError, match=f"lightning.accelerator: {name}: Apple's MPS has no float64.*set cpu"):
            train(replace(config, lightning=replace(config.lightning, accelerator=name)))
    assert config.lightning.accelerator == "auto"
    assert train(replace(config, max_steps=1)).device.type == "cpu"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_metrics_on_a_full_disk_are_one_sentence(config):
    log, trainer = (
        MetricsLog(Path("/dev/full"), config),
        SimpleNamespace(is_global_zero=True, global_step=1, loggers=[]),
    )
    module = SimpleNamespace(steps_per_epoch=1.0, seconds=1.0, rate=0.1)
    with pytest.raises(DataError, match="/dev/full: can't be written .* free some space and resume the run"):
        log._write(trainer, module, "train", {})
