"""Trainings in this process and in others, and what they have written."""

import csv
import subprocess
import sys

import pytest
import torch
import yaml

from gnnpot.config import to_mapping
from gnnpot.training.module import TrainModule
from gnnpot.training.run import train
from tests.child_process import environment

#: trains what the file in argv[1] says
SCRIPT = """
import sys
from gnnpot.runs.lock import RunLock
from gnnpot.training.config import read_config
from gnnpot.training.run import train
train(read_config(sys.argv[1]))
"""


def run_apart(arguments):
    """Python in a process of its own, to its end."""
    result = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=environment(OMP_NUM_THREADS="1"),
    )
    assert result.returncode == 0, result.stderr[-2000:]


def torchrun(config, folder):
    """A run in two processes that are started together, as a scheduler does it."""
    path, script = folder / "torchrun.yaml", folder / "torchrun.py"
    path.write_text(yaml.safe_dump(to_mapping(config)))
    script.write_text(SCRIPT)
    run_apart(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script), str(path)])


def weights(potential):
    return dict(potential.state_dict().items())


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def rows(config):
    with (config.run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "minutes"} for row in csv.DictReader(file)]


def train_until(step, config, monkeypatch, hook="training_step"):
    """Train until an error ends a run in this step."""
    original = getattr(TrainModule, hook)

    def stop(self, batch, index):
        if self.global_step == step:
            raise RuntimeError("power cut")
        return original(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainModule, hook, stop)
        with pytest.raises(RuntimeError, match="power cut"):
            train(config)
