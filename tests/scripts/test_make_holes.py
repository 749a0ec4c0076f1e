"""Pairs that a model has holes for: written, labelled by a teacher, and left out of what another teacher said."""

from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from ase.data import covalent_radii
from ase.io import read, write

from gnnpot.data import read_structures
from gnnpot.data.references import ElementReferences
from gnnpot.data.store import FrameStore
from gnnpot.engines.calculator import Calculator
from gnnpot.hub.checkpoint import Card, load_checkpoint, save_checkpoint
from gnnpot.models import M3GNet, M3GNetConfig, ZBLConfig, build_model
from gnnpot.potential import Potential
from gnnpot.properties.dimers import all_pairs, hole_depths, scan_dimers
from gnnpot.sampling import Labeller, label, read_label_config

ROOT = Path(__file__).parents[2]
ELEMENTS = ("Na", "Cl", "Cs")


@pytest.fixture
def scripts(load_script):
    return [load_script(f"gnnpot-1/{name}.py") for name in ("make_holes", "drop_pairs", "fill_holes")]


@pytest.fixture
def potential():
    """Untrained, on a large scale, without repulsion: the energies of pairs fall towards short distances."""
    torch.manual_seed(0)
    model = M3GNet(M3GNetConfig(elements=ELEMENTS, units=8, blocks=1, max_n=2, max_l=2))
    return Potential(model, ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, 0.0)}), 3000.0).eval()


def saved(folder, potential, scale):
    """With a wall that rises: the model counts little beside the repulsion of nuclei."""
    terms = [build_model(ZBLConfig(elements=ELEMENTS))]
    return save_checkpoint(folder, Potential(potential.model, potential.references, scale, terms), Card())


def pairs_of(path):
    return [frozenset(atoms.symbols) for atoms in read(path, ":")]


def test_pairs_with_holes_are_written_and_can_be_labelled(scripts, potential, tmp_path):
    make_holes, drop_pairs, _ = scripts
    expected = [
        frozenset(pair[:2]) for pair in scan_dimers(all_pairs(ELEMENTS), Calculator(potential)).pairs_with_holes(0.02)
    ]
    assert len(expected) == 6
    holes, model = tmp_path / "holes.extxyz.gz", save_checkpoint(tmp_path / "model", potential, Card())
    make_holes.main(str(model), holes, 0.02, [], None)
    assert sorted(map(sorted, pairs_of(holes))) == sorted(map(sorted, expected))
    teacher = saved(tmp_path / "teacher", potential, 0.1)
    config = read_label_config(ROOT / "scripts" / "gnnpot-1" / "label-holes.yaml")
    labeller = Labeller(lambda: Calculator(load_checkpoint(teacher)[0]), "a teacher")
    frames = label(read_structures([holes]), labeller, tmp_path / "holes.store", config)
    assert len(frames) > 30 and {frozenset(frame.to_atoms().symbols) for frame in frames} == set(expected)
    # what another teacher is to say of some pairs leaves room for it
    some = read(holes, ":2")
    write(tmp_path / "some.extxyz.gz", some, format="extxyz")
    drop_pairs.main(tmp_path / "holes.store", tmp_path / "some.extxyz.gz", tmp_path / "kept.store")
    kept = {frozenset(frame.to_atoms().symbols) for frame in FrameStore(tmp_path / "kept.store")}
    assert kept == set(expected) - {frozenset(atoms.symbols) for atoms in some}


def test_pairs_of_an_element_unless_the_teacher_has_holes_for_them(scripts, potential, tmp_path, capsys):
    make_holes, *_ = scripts
    model, out = saved(tmp_path / "model", potential, 0.0), tmp_path / "pairs.extxyz.gz"
    make_holes.main(str(model), out, 0.02, [], None)
    assert not out.exists()
    make_holes.main(str(model), out, 0.02, ["Na"], None)
    assert set(pairs_of(out)) == {frozenset(("Na", other)) for other in ELEMENTS}
    out.unlink()
    make_holes.main(str(model), out, 0.02, ["Na"], str(save_checkpoint(tmp_path / "teacher", potential, Card())))
    assert not out.exists()
    with pytest.raises(typer.Exit):
        make_holes.main(str(model), out, 0.02, ["Xx"], None)
    assert "--with Xx: the model does not know this element" in capsys.readouterr().out


def test_filled_curves_have_one_well(scripts):
    fill_holes = scripts[-1]
    r = np.linspace(1.0, 4.0, 301)
    curve = 40 * np.exp(-10 * (r - 1)) - np.exp(-8 * (r - 1.8) ** 2) - 2 * np.exp(-8 * (r - 3.2) ** 2)
    ratios = r / 2.5
    filled = fill_holes.filled(curve, r, ratios)
    assert hole_depths(curve[None], ratios)[0] > 0.5 and hole_depths(filled[None], ratios)[0] < 1e-6
    assert filled.argmin() == curve.argmin() and (filled >= curve).all()
    assert np.array_equal(filled[curve.argmin() :], curve[curve.argmin() :])
    # the wall stays as it was
    assert np.array_equal(filled[:20], curve[:20])
    # where the hole is the lowest of all, what is bound is the lowest beyond the wall
    bottomless = curve - 90 * np.exp(-40 * (r - 1.1) ** 2)
    assert bottomless.argmin() < 30 and hole_depths(bottomless[None], ratios)[0] > 1
    filled = fill_holes.filled(bottomless, r, ratios)
    assert hole_depths(filled[None], ratios)[0] < 1e-6
    assert np.allclose(filled[220:], curve[220:], rtol=0, atol=1e-12)


def test_labels_push_where_the_model_pulled(scripts, potential, tmp_path):
    fill_holes = scripts[-1]
    model, out = save_checkpoint(tmp_path / "model", potential, Card()), tmp_path / "filled.store"
    fill_holes.main(str(model), out, 0.02, 10, 0)
    frames = FrameStore(out)
    assert len(frames) == 60 and {len(frame) for frame in frames} == {2}
    scan, pulled = scan_dimers(all_pairs(ELEMENTS), Calculator(potential)), 0
    for frame in frames:
        pair = np.flatnonzero((scan.pairs == np.sort(frame.numbers)).all(axis=1))[0]
        distance = np.linalg.norm(frame.positions[1] - frame.positions[0])
        force = frame.forces[1] @ (frame.positions[1] - frame.positions[0]) / distance
        assert np.allclose(frame.forces.sum(axis=0), 0)
        x = distance / covalent_radii[frame.numbers].sum()
        slope = np.interp(x, scan.ratios, np.gradient(scan.energies[pair], scan.ratios))
        if x < 0.55:
            assert force >= 0.99 * fill_holes.SLOPE
            pulled += slope > 0
    assert pulled > 10
    fill_holes.main(str(saved(tmp_path / "wall", potential, 0.0)), tmp_path / "none.store", 0.02, 10, 0)
    assert not (tmp_path / "none.store").exists()
