"""A training that was killed half-way, whose folder and whose data were moved before it is resumed."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from ase.io import write

from gnnpot.config import to_mapping
from gnnpot.errors import ConfigError
from gnnpot.training.config import DataConfig
from gnnpot.training.run import train
from tests.child_process import environment

#: trains what argv[1] says, and is killed within step 10; the last state is that of step 8
CHILD = """
import os, signal, sys
from gnnpot.training import module, run
from gnnpot.training.config import read_config
original = module.TrainModule.training_step
def training_step(self, batch, index):
    if self.global_step == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch, index)
module.TrainModule.training_step = training_step
run.train(read_config(sys.argv[1]))
"""


def killed(config, path):
    path.write_text(yaml.safe_dump(to_mapping(config)))
    result = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, timeout=900, check=False,
        env=environment(OMP_NUM_THREADS="1"),
    )  # fmt: skip
    assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
    assert (config.run / "last.ckpt").exists() and not (config.run / "model").exists()


def log(config):
    """Without the column of the time."""
    lines = (config.run / "metrics.csv").read_text().splitlines()
    minutes = lines[0].split(",").index("minutes")
    return [[value for k, value in enumerate(line.split(",")) if k != minutes] for line in lines]


@pytest.fixture(params=["a store", "files"])
def project(request, config, store, frames, tmp_path):
    """A run and its data in a folder, as configuration of that folder."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    if request.param == "a store":
        shutil.copytree(store, folder / "data" / "emt.store")
        train_on, test_on = "emt.store", "emt.store"
    else:
        write(folder / "data" / "one.extxyz", [f.to_atoms() for f in frames[:20]])
        write(folder / "data" / "two.extxyz", [f.to_atoms() for f in frames[20:]])
        train_on, test_on = ("one.extxyz", "two.extxyz"), "two.extxyz"

    def at(place, run="run", data="data"):
        def path(names):
            return place / data / names if isinstance(names, str) else tuple(map(path, names))

        moved = replace(config.data, train=path(train_on), test=path(test_on))
        assert isinstance(moved, DataConfig)
        return replace(config, run=place / run, data=moved)

    return folder, at


def test_a_killed_training_that_was_moved_ends_at_the_same_weights(project, tmp_path):
    folder, at = project
    expected = train(replace(at(folder), run=tmp_path / "uninterrupted")).state_dict()
    killed(at(folder), tmp_path / "config.yaml")
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "run").rename(moved / "renamed")
    (moved / "data").rename(moved / "inputs")
    config = at(moved, "renamed", "inputs")

    # other bytes at the new place are other data
    train_on = config.data.train
    changed = train_on[0] if isinstance(train_on, tuple) else train_on / "manifest.json"
    content, status = changed.read_bytes(), changed.stat()
    changed.write_bytes(content + b"\n")
    with pytest.raises(ConfigError, match="train: was"):
        train(config)
    changed.write_bytes(content)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))

    found = train(config).state_dict()
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
    # it resumed from its last state, and the log has no step twice
    assert log(config) == log(replace(config, run=tmp_path / "uninterrupted"))
    assert str(folder) not in (config.run / "config.yaml").read_text()
