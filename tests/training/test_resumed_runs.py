"""Runs that are stopped, killed, extended or begun from others: they resume to the same numbers."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml

from gnnpot.config import to_mapping
from gnnpot.errors import CheckpointError, ConfigError, DataError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.runs.lock import RunLock
from gnnpot.training.module import TrainingStopped
from gnnpot.training.run import train
from tests.child_process import environment
from tests.training.runs import SCRIPT, rows, run_apart, same, train_until, weights

#: trains a run, and kills itself with the signal of argv[3] within step argv[2]
CHILD = """
import os, signal, sys
from gnnpot.training import module, run
from gnnpot.runs.lock import RunLock
from gnnpot.training.config import read_config
step, number = int(sys.argv[2]), int(sys.argv[3])
original = module.TrainModule.training_step
def training_step(self, batch, index):
    if self.global_step == step:
        os.kill(os.getpid(), number)
    return original(self, batch, index)
module.TrainModule.training_step = training_step
run.train(read_config(sys.argv[1]))
"""


def child(config, tmp_path, step, number):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_mapping(config)))
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(step), str(int(number))],
        capture_output=True, text=True, timeout=900, check=False,
        env=environment(OMP_NUM_THREADS="1"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "number"),
    [
        # the state is saved every 4 steps and at each validation, every 6; an epoch has 7
        (10, signal.SIGKILL),
        (15, signal.SIGTERM),
    ],
)
def test_a_killed_run_ends_at_the_same_weights(config, uninterrupted, tmp_path, step, number):
    other = replace(config, run=tmp_path / "killed")
    result = child(other, tmp_path, step, number)
    if number == signal.SIGKILL:
        assert result.returncode == -signal.SIGKILL
    else:
        assert "TrainingStopped" in result.stderr and "stopped after step 16" in result.stderr
    assert (other.run / "last.ckpt").exists() and not (other.run / "model").exists()
    same(weights(uninterrupted), weights(train(other)))
    assert rows(config) == rows(other)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize(("place", "optimizer"), [("validation", "adamw"), ("training", "adamw"), ("training", "soap")])
def test_every_state_resumes_to_the_same_weights(config, tmp_path, monkeypatch, every, place, optimizer):
    """Stopped in a validation, and in a step, at any interval of validations."""
    config = replace(config, validate_every=every, epochs=2, checkpoint_every=3, ema=0.0)
    # 14 steps: the bases of SOAP turn at the tenth
    config = replace(config, optimizer=replace(config.optimizer, name=optimizer))
    whole = train(config)
    other = replace(config, run=tmp_path / "other")
    train_until(10, other, monkeypatch, hook=f"{place}_step")
    same(weights(whole), weights(train(other)))
    assert rows(config) == rows(other)


def test_a_finished_run_is_not_trained_again_but_fresh_is(config, uninterrupted):
    before = (config.run / "last.ckpt").stat().st_mtime_ns
    same(weights(uninterrupted), weights(train(config)))
    assert (config.run / "last.ckpt").stat().st_mtime_ns == before
    train(replace(config, seed=1), resume=False)
    assert (config.run / "last.ckpt").stat().st_mtime_ns > before


def test_a_run_whose_end_was_cut_off_only_ends_again(config, uninterrupted):
    (config.run / "model").rename(config.run / "lost")
    same(weights(uninterrupted), weights(train(config)))


def test_an_ended_run_is_extended(config, tmp_path):
    """The schedule is that of the longer run from the step that was reached; frames are not repeated."""
    short = replace(config, max_steps=9)
    train(short)
    (config.run / "marker").touch()
    log_before = rows(short)
    train(replace(short, max_steps=21))
    # an epoch has 7 steps, however many of the epochs are left out
    assert all(float(row["epoch"]) == pytest.approx(int(row["step"]) / 7, abs=1e-3) for row in rows(config))
    after = rows(short)
    assert after[: len(log_before)] == log_before and int(after[-1]["step"]) == 21
    card = load_checkpoint(config.run / "model")[1]
    assert card.training["max_steps"] == 21 and (config.run / "marker").exists()
    rates = {int(row["step"]): float(row["lr"]) for row in after if row["train_loss"]}
    assert rates[max(rates)] < 0.1 * config.optimizer.lr
    with pytest.raises(ConfigError, match=r"has done 21 steps, 5 are asked for"):
        train(replace(short, max_steps=5))


def test_changed_labels_are_refused_and_two_trainings_too(config, frames, tmp_path):
    from ase.io import write

    path = tmp_path / "emt.extxyz"
    write(path, [f.to_atoms() for f in frames])
    config = replace(config, epochs=1, data=replace(config.data, train=path))
    train(config)
    shutil.rmtree(config.run / "model")
    write(path, [f.replace(energy=f.energy + 0.1).to_atoms() for f in frames])
    with pytest.raises(ConfigError, match=r"emt\.extxyz: the content has changed since"):
        train(config)
    with RunLock(config.run, "a test"), pytest.raises(DataError, match="another process is writing it"):
        train(config)
    train(config, resume=False)


def test_another_configuration_is_refused(config, uninterrupted):
    with pytest.raises(ConfigError, match=r"other options or inputs \(ema: was .*; seed: was 0, is now 1\)"):
        train(replace(config, seed=1, ema=0.5))


def test_a_run_that_never_took_a_step_is_replaced(config, tmp_path):
    with pytest.raises(DataError, match="no such file or store"):
        train(replace(config, data=replace(config.data, train=tmp_path / "misspelt")))
    train(replace(config, epochs=1))


def test_a_damaged_state_is_one_sentence(config):
    train(config)
    shutil.rmtree(config.run / "model")
    (config.run / "last.ckpt").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(CheckpointError, match=r"last\.ckpt: can't be read"):
        train(config)


def test_ctrl_c_saves_and_says_how_to_go_on(config, monkeypatch, uninterrupted, tmp_path):
    from gnnpot.training import module

    other = replace(config, run=tmp_path / "interrupted")
    original = module.TrainModule.training_step

    def press(self, batch, index):
        if self.global_step == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, index)

    # a shell that starts the tests in the background lets them ignore it
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(module.TrainModule, "training_step", press)
        with pytest.raises(TrainingStopped, match="run the same command again"):
            train(other)
    assert signal.getsignal(signal.SIGINT) is before
    same(weights(uninterrupted), weights(train(other)))


def test_two_processes_are_as_good_as_one(config, tmp_path, uninterrupted):
    """Two ranks with 2 frames each take the steps of one process with 4 frames."""
    run = tmp_path / "two"
    two = replace(
        config,
        run=run,
        batch=replace(config.batch, frames=2),
        lightning=replace(config.lightning, accelerator="cpu", devices=2, strategy="ddp"),
    )
    path, script = tmp_path / "two.yaml", tmp_path / "two.py"
    path.write_text(yaml.safe_dump(to_mapping(two)))
    script.write_text(SCRIPT)
    run_apart([str(script), str(path)])
    single, double = weights(uninterrupted), weights(load_checkpoint(run / "model")[0])
    for name, value in single.items():
        torch.testing.assert_close(double[name], value, rtol=1e-7, atol=1e-9)


def test_a_second_run_begins_where_the_first_potential_ended(config, uninterrupted, tmp_path):
    still = replace(config.optimizer, lr=1e-12)
    second = replace(config, start=str(config.run / "model"), run=tmp_path / "second", optimizer=still)
    potential = train(second)
    for name, value in weights(uninterrupted).items():
        torch.testing.assert_close(weights(potential)[name], value, msg=name)
    assert potential.references.to_mapping()["energies"] == uninterrupted.references.to_mapping()["energies"]
    # taken up again it is the same run, though the file says nothing of references
    same(weights(train(second)), weights(potential))


def test_a_second_run_of_another_model_is_refused(config, uninterrupted, tmp_path):
    model = replace(config.model, hidden=(9,))
    wider = replace(config, start=str(config.run / "model"), run=tmp_path / "b", model=model)
    with pytest.raises(ConfigError, match="differs from the model that is asked for in hidden"):
        train(wider)
