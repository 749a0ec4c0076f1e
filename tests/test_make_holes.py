"""scripts/make_holes.py writes the pairs that a model has holes for, and `gnnpot label` knows what to do with them."""

import sys
from pathlib import Path

import pytest
import torch
from ase.io import read

from gnnpot.analysis.dimers import scan_dimers
from gnnpot.checkpoint import Card, save_checkpoint
from gnnpot.data.references import ElementReferences
from gnnpot.data.store import FrameStore
from gnnpot.engines.calculator import Calculator
from gnnpot.labelling import Labeller, label, read_label_config, read_structures
from gnnpot.models import M3GNet, M3GNetConfig, ZBLConfig, build_model
from gnnpot.potential import Potential

ROOT = Path(__file__).parents[1]
ELEMENTS = ("Na", "Cl", "Cs")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import make_holes

    yield make_holes
    sys.modules.pop("make_holes", None)


@pytest.fixture
def potential():
    """Untrained, on a large scale, without repulsion: the energies of pairs fall towards short distances."""
    torch.manual_seed(0)
    model = M3GNet(M3GNetConfig(elements=ELEMENTS, units=8, blocks=1, max_n=2, max_l=2))
    return Potential(model, ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, 0.0)}), 3000.0).eval()


def test_pairs_with_holes_are_written_and_can_be_labelled(script, potential, tmp_path):
    expected = [set(pair[:2]) for pair in scan_dimers(potential).pairs_with_holes(0.02)]
    assert expected
    model = save_checkpoint(tmp_path / "model", potential, Card())
    script.main(str(model), tmp_path / "holes.extxyz.gz", 0.02)
    written = read(tmp_path / "holes.extxyz.gz", ":")
    assert [set(atoms.symbols) for atoms in written] == expected and all(len(atoms) == 2 for atoms in written)
    config = read_label_config(ROOT / "configs" / "gnnpot-1" / "label-holes.yaml")
    teacher = Potential(potential.model, potential.references, 0.1, [build_model(ZBLConfig(elements=ELEMENTS))])
    structures = read_structures([tmp_path / "holes.extxyz.gz"])
    label(structures, Labeller(lambda: Calculator(teacher), "a teacher"), tmp_path / "holes.store", config)
    frames = FrameStore(tmp_path / "holes.store")
    assert len(frames) > 10 * len(written)
    assert {frozenset(frame.to_atoms().symbols) for frame in frames} == set(map(frozenset, expected))


def test_where_there_is_no_hole_nothing_is_written(script, potential, tmp_path):
    flat = Potential(potential.model, potential.references, 0.0, [build_model(ZBLConfig(elements=ELEMENTS))])
    script.main(str(save_checkpoint(tmp_path / "model", flat, Card())), tmp_path / "holes.extxyz.gz", 0.02)
    assert not (tmp_path / "holes.extxyz.gz").exists()
