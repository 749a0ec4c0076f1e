"""A package of its own (`tests/plugin`) adds an architecture, a reader and a property: installed, trained, checked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io.orca import read_orca_engrad
from typer.testing import CliRunner

import gnnpot
from gnnpot.data.readers import formats, read_frames
from gnnpot.errors import CheckpointError, ConfigError, DataError, PluginError
from gnnpot.properties.registry import find_property
from gnnpot.units import BOHR, HARTREE

ROOT = Path(__file__).parents[1]
TRAINING = """
model: {architecture: schnet, features: 8, interactions: 1, gaussians: 8, cutoff: 4.0}
data: {train: DATA, split: {validation: 0.2, by: frame}}
run: RUN
loss: {stress: 0.0}
epochs: 2
batch: {frames: 4}
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """A folder in which pip has installed the package, as it does for users."""
    folder = tmp_path_factory.mktemp("plugin")
    # pip builds beside the sources
    source = shutil.copytree(ROOT / "tests" / "plugin", folder / "source")
    target = folder / "site"
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--no-compile", "--quiet", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options, str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture
def installed(site, monkeypatch) -> Path:
    monkeypatch.syspath_prepend(site)
    return site


def write_engrad(path: Path, atoms: Atoms) -> None:
    """As ORCA writes it; the energy is that of the calculator."""
    gradient = -atoms.get_forces().ravel() / (HARTREE / BOHR)
    places = zip(atoms.numbers, atoms.positions / BOHR, strict=True)
    rows = [f"{z:4d} " + " ".join(f"{x:12.7f}" for x in position) for z, position in places]
    parts = {
        "Number of atoms": [f" {len(atoms)}"],
        "The current total energy in Eh": [f"{atoms.get_potential_energy() / HARTREE:20.12f}"],
        "The current gradient in Eh/bohr": [f"{value:20.12f}" for value in gradient],
        "The atomic numbers and current coordinates in Bohr": rows,
    }
    path.write_text("".join(f"#\n# {title}\n#\n" + "\n".join(lines) + "\n" for title, lines in parts.items()))


@pytest.fixture(scope="session")
def molecules(tmp_path_factory) -> list[Path]:
    """Clusters of Cu and Ni by EMT, a file each."""
    folder, rng = tmp_path_factory.mktemp("orca"), np.random.default_rng(0)
    paths = []
    for k in range(12):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[k % 4] = "Ni"
        atoms.set_pbc(False)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = EMT()
        paths.append(folder / f"cluster-{k:02d}.engrad")
        write_engrad(paths[-1], atoms)
    return paths


def test_the_reader_reads_what_ase_reads(installed, molecules):
    assert "orca-engrad" in formats()
    (frame,) = read_frames(molecules[3])
    with molecules[3].open() as file:
        np.testing.assert_allclose(frame.forces, read_orca_engrad(file), rtol=1e-6, atol=1e-8)
    atoms = frame.to_atoms()
    atoms.calc = EMT()
    assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-4)
    assert frame.stress is None and not frame.pbc.any()


def test_the_command_shows_what_is_added_and_what_is_broken(installed, declare_plugin):
    from gnnpot.cli import app

    declare_plugin("gnnpot-torn", {"gnnpot.models": {"torn": "x", "m3gnet": "x"}}, "raise ImportError('no library')")
    rows = json.loads(CliRunner().invoke(app, ["plugins", "--json"], catch_exceptions=False).stdout)
    states = {(row["package"], row["name"]): row["state"] for row in rows}
    assert {name for (_, name), state in states.items() if state == "works"} >= {"schnet", "orca-engrad", "cohesion"}
    assert "can't be imported (ImportError: no library)" in states["gnnpot-torn 1.2", "torn"]
    assert states["gnnpot-torn 1.2", "m3gnet"] == "is not used, because gnnpot has one of this name"
    assert "schnet" in CliRunner().invoke(app, ["plugins"], catch_exceptions=False).stdout


def test_a_damaged_file_is_one_sentence(installed, molecules, tmp_path):
    text = molecules[0].read_text()
    cut, other = tmp_path / "cut.engrad", tmp_path / "other.engrad"
    cut.write_text(text[:-40])
    other.write_text(text.replace("in Bohr", "in Angstroem"))
    for path, words in ((cut, "get it again"), (other, "does not state Eh")):
        with pytest.raises(DataError, match=words):
            list(read_frames(path))


def test_it_is_trained_saved_loaded_checked_and_measured(installed, molecules, tmp_path, monkeypatch):
    from gnnpot.cli import app

    run = tmp_path / "run"
    text = TRAINING.replace("DATA", json.dumps([str(path) for path in molecules])).replace("RUN", str(run))
    (tmp_path / "train.yaml").write_text(text)
    result = CliRunner().invoke(app, ["train", str(tmp_path / "train.yaml"), "--quiet"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    potential = gnnpot.load(run)
    assert type(potential.model).__name__ == "SchNet" and set(potential.elements) == {"Cu", "Ni"}
    card = json.loads((run / "model" / "card.json").read_text())
    assert card["plugin"] == {"package": "gnnpot-example", "version": "1.0", "architecture_version": 1}
    # by its own author's tests, in a process of their own
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)])}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(installed.parent / "source" / "tests"),
    ]
    tested = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert tested.returncode == 0 and "failed" not in tested.stdout, tested.stdout
    small = bulk("Cu", cubic=True)
    small.write(tmp_path / "copper.extxyz")
    checked = CliRunner().invoke(app, ["check", str(run), str(tmp_path / "copper.extxyz")])
    assert checked.exit_code == 0 and "all checks hold" in checked.output

    # the same checkpoint where the package is missing
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(installed)])
    with pytest.raises(CheckpointError, match="of the package gnnpot-example .* pip install gnnpot-example"):
        gnnpot.load(run)


def test_the_property_is_calculated_by_the_command(installed, tmp_path):
    from gnnpot.cli import app

    copper = bulk("Cu", cubic=True)
    copper.write(tmp_path / "copper.extxyz")
    command = ["property", "cohesion", str(tmp_path / "copper.extxyz"), "-m", "ase.calculators.emt:EMT", "--json", "-q"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    copper.calc, free = EMT(), Atoms("Cu", calculator=EMT())
    expected = free.get_potential_energy() - copper.get_potential_energy() / 4
    assert json.loads(result.stdout)["result"]["cohesive_energy_eV_atom"] == pytest.approx(expected)
    assert (tmp_path / "copper-cohesion" / "cohesion.png").stat().st_size > 1000
    assert find_property("cohesion").calc(copper, EMT()).energy == pytest.approx(expected)


ARCHITECTURE = """
from dataclasses import dataclass
from typing import Literal
from torch import nn
from gnnpot.models import Architecture, AtomicOutput, EnergyModel

@dataclass(frozen=True)
class Config:
    architecture: Literal["constant"] = "constant"
    elements: tuple[str, ...] = ()
    NAME: float = 1.0

class Constant(EnergyModel):
    def __init__(self, config):
        super().__init__(config.elements, 3.0)
        self.config = config
        self.NAME = nn.Embedding(len(config.elements), 1)

    def forward(self, graph):
        return AtomicOutput(self.NAME(self.species(graph.numbers))[:, 0])

def upgrade(version, options, tensors):
    options = {"NAME" if name == "first" else name: value for name, value in options.items()}
    return options, {name.replace("first", "NAME"): tensor for name, tensor in tensors.items()}

ARCHITECTURE = Architecture(Config, Constant, VERSION, upgrade)
WITHOUT_CONFIG = Architecture(Config, lambda config: nn.Linear(1, 1))
OTHER = Architecture(int, Constant)
"""


def package(declare_plugin, name: str, version: int, **names: str):
    source = ARCHITECTURE.replace("NAME", name).replace("VERSION", str(version))
    return declare_plugin("gnnpot-constant", {"gnnpot.models": names or {"constant": "ARCHITECTURE"}}, source)


def test_a_new_version_of_the_package_upgrades_its_checkpoints(declare_plugin, tmp_path, monkeypatch):
    from gnnpot.data.references import ElementReferences
    from gnnpot.models import build_model, find_architecture

    before = list(sys.path)
    folder = package(declare_plugin, "first", 1)
    config = find_architecture("constant").config(elements=("Cu",), first=2.0)
    references = ElementReferences.from_mapping({"energies": {"Cu": 0.0}})
    potential = gnnpot.Potential(build_model(config), references)
    gnnpot.save_checkpoint(tmp_path / "saved", potential, gnnpot.Card())
    shutil.rmtree(folder)
    monkeypatch.setattr(sys, "path", before)
    other = package(declare_plugin, "second", 2)
    loaded = gnnpot.load(tmp_path / "saved")
    assert loaded.model.config.second == 2.0
    assert torch.equal(loaded.model.second.weight, potential.model.first.weight)
    gnnpot.save_checkpoint(tmp_path / "newer", loaded, gnnpot.Card())
    shutil.rmtree(other)
    monkeypatch.setattr(sys, "path", before)
    package(declare_plugin, "first", 1)
    with pytest.raises(CheckpointError, match="the installed version is older"):
        gnnpot.load(tmp_path / "newer")


def test_what_is_no_architecture_is_refused_by_name(declare_plugin):
    from gnnpot.config import from_mapping
    from gnnpot.training.config import TrainConfig

    names = {"constant": "WITHOUT_CONFIG", "other": "OTHER", "function": "upgrade", "chgnet": "ARCHITECTURE"}
    package(declare_plugin, "width", 1, **names)
    messages = {
        "other": "gnnpot-constant 1.2: its 'other' .* has a config that is no dataclass",
        "function": "is no gnnpot.models.Architecture",
    }
    for name, message in messages.items():
        mapping = {"model": {"architecture": name}, "data": {"train": "x"}, "run": "x"}
        with pytest.raises(PluginError, match=message):
            from_mapping(TrainConfig, mapping)
    with pytest.raises(ConfigError, match="did you mean 'function'"):
        from_mapping(TrainConfig, {"model": {"architecture": "functon"}, "data": {"train": "x"}, "run": "x"})
    # gnnpot's own keeps its name
    assert from_mapping(
        TrainConfig, {"model": {"architecture": "chgnet"}, "data": {"train": "x"}, "run": "x"}
    ).model.convolutions


READER = """
from dataclasses import dataclass
from gnnpot.data.readers import Reader

@dataclass(frozen=True)
class Mine(Reader):
    format = "mine"
    stress_convention = None
    @classmethod
    def matches(cls, name):
        return name.endswith(".mine")
    def records(self):
        return iter(())

class Yours(Mine):
    format = "yours"

class Failing(Mine):
    format = "failing"
    @classmethod
    def matches(cls, name):
        return name[1000] == "x"

class NoReader:
    format = "none"
"""


def test_readers_that_are_broken_or_match_the_same_files(declare_plugin, tmp_path, caplog):
    path = tmp_path / "x.mine"
    path.write_text("frames")
    declare_plugin("gnnpot-torn", {"gnnpot.readers": {"torn": "Torn"}}, "raise ImportError('no such library')")
    declare_plugin(
        "gnnpot-mine", {"gnnpot.readers": {"mine": "Mine", "failing": "Failing", "none": "NoReader"}}, READER
    )
    with pytest.raises(DataError, match="holds no frames"):
        list(read_frames(path))
    assert "the reader of 'failing' (gnnpot_mine) fails: string index out of range" in caplog.text
    assert "left out: gnnpot-torn 1.2: its 'torn'" in caplog.text and "its 'none'" in caplog.text
    with pytest.raises(PluginError, match="no such library"):
        read_frames(path, format="torn")
    declare_plugin("gnnpot-yours", {"gnnpot.readers": {"yours": "Yours"}}, READER)
    with pytest.raises(DataError, match=r"could be of several formats \(mine, yours\); name one with format="):
        read_frames(path)
    with pytest.raises(DataError, match="holds no frames"):
        list(read_frames(path, format="yours"))
