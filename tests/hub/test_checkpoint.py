"""Checkpoints survive a round trip; any change in them is noticed, and nothing is half-written."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

import gnnpot
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError
from gnnpot.hub import checkpoint as module
from gnnpot.hub.checkpoint import CARD, WEIGHTS, Card, load_checkpoint, save_checkpoint
from gnnpot.hub.reference_structures import energy_deviations
from gnnpot.models import ZBL, M3GNet, M3GNetConfig, ZBLConfig
from gnnpot.potential import Potential


def make() -> Potential:
    torch.manual_seed(0)
    model = M3GNet(M3GNetConfig(elements=("Si", "C"), units=8, blocks=1))
    references = ElementReferences.from_mapping({"energies": {"Si": -1.1, "C": -0.7}})
    return Potential(model, references, energy_scale=1.7, terms=[ZBL(ZBLConfig(elements=("Si", "C")))])


@pytest.fixture
def saved(tmp_path):
    return save_checkpoint(tmp_path / "model", make(), Card(description="a test", licence="MIT", metrics={"a": 1.5}))


def test_round_trip(saved):
    potential, card = load_checkpoint(saved)
    graph = potential.graph(bulk("Si"))
    assert torch.equal(potential(graph).energy, make()(graph).energy)
    assert torch.equal(potential(graph).forces, make()(graph).forces)
    assert card.licence == "MIT" and card.metrics == {"a": 1.5}
    assert potential.references == make().references
    assert np.isfinite(gnnpot.load(saved)(graph).energy.item())


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_a_changed_byte_is_noticed(saved, name):
    data = bytearray((saved / name).read_bytes())
    position = data.index(b"units") if name == CARD else len(data) - 3
    data[position] ^= 1
    (saved / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name}: is damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_a_truncated_or_missing_file_is_noticed(saved, name):
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(saved)
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match="can't be read"):
        load_checkpoint(saved)


def rewrite(saved, change) -> None:
    content = json.loads((saved / CARD).read_text())
    change(content)
    content["card_sha256"] = module.card_digest(content)
    (saved / CARD).write_text(json.dumps(content))


def test_a_newer_format_or_an_unknown_option_is_refused(saved):
    rewrite(saved, lambda c: c["model"].update(unitz=3))
    with pytest.raises(CheckpointError, match="did you mean 'units'"):
        load_checkpoint(saved)
    rewrite(saved, lambda c: c.update(format_version=99))
    with pytest.raises(CheckpointError, match="update gnnpot"):
        load_checkpoint(saved)


def test_a_checkpoint_is_not_overwritten_unasked(saved):
    with pytest.raises(CheckpointError, match="exists already"):
        save_checkpoint(saved, make(), Card())
    save_checkpoint(saved, make(), Card(description="second"), overwrite=True)
    assert load_checkpoint(saved)[1].description == "second"


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module, "write_durably", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(tmp_path / "model", make(), Card())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nothing-here", "."])
def test_what_is_no_potential_is_said_to_be_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="checkpoint"):
        gnnpot.load(name)


@pytest.mark.parametrize("version", [1, 2])
def test_a_frozen_checkpoint_still_gives_its_energy(version):
    """The energy is what the version that wrote the file calculated."""
    potential, card = load_checkpoint(Path(__file__).parents[1] / "frozen" / f"format-{version}")
    potential.double()
    energy = potential(potential.graph(bulk("NaCl", "rocksalt", 5.0))).energy.item()
    assert energy == pytest.approx(-3.6237317317503743, abs=1e-9)
    assert len(card.reference_structures) == version - 1
    assert energy_deviations(potential, card.reference_structures) == pytest.approx([0.0] * (version - 1), abs=1e-9)
