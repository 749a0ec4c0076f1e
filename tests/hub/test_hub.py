"""Published potentials by name: imported once, offline from then on, refused when they disagree."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import gnnpot
from gnnpot.errors import CheckpointError, DownloadError, UnknownElementError
from gnnpot.hub import importers, importing, locating, registry
from gnnpot.hub.cache import checkpoint_folder, source_path
from gnnpot.hub.checkpoint import WEIGHTS, Card, load_checkpoint, save_checkpoint
from gnnpot.hub.reference_structures import TOLERANCE, energy_deviations
from tests.hub.conftest import convert, energies

PUBLISHED = Path(__file__).parent / "importers" / "published.json"


def test_the_second_time_nothing_is_asked(entries, server):
    first = gnnpot.load("web")
    asked = len(server.asked)
    assert asked == 1
    server.files.clear()
    source_path("web", "web.pt").unlink()
    potential = gnnpot.load("web@LOW")
    salt = bulk("NaCl", "rocksalt", 5.6)
    assert float(potential(potential.graph(salt)).energy) == float(first(first.graph(salt)).energy)
    assert np.isfinite(gnnpot.Calculator("web").get_potential_energy(salt)) and len(server.asked) == asked


def test_the_card_holds_what_must_come_out(entries):
    card = load_checkpoint(locating.locate("web@HIGH"))[1]
    assert card.name == "web@HIGH" and card.functional == "HIGH" and card.reference_energies_from == "made-up 1.0"
    assert tuple(s.energy for s in card.reference_structures) == energies("HIGH") != energies("LOW")
    assert [len(s.to_atoms()) for s in card.reference_structures] == [2, 5]
    deviations = energy_deviations(gnnpot.load("web@HIGH"), card.reference_structures)
    assert max(map(abs, deviations)) < TOLERANCE


@pytest.mark.parametrize("shift", [3 * TOLERANCE, float("nan")])
def test_weights_that_give_other_energies_are_refused(entries, monkeypatch, shift):
    wrong = {"web@LOW": (energies("LOW")[0] + shift, energies("LOW")[1])}
    table = replace(registry._table(), potentials=(replace(entries["web"], reference_energies=wrong),))
    monkeypatch.setattr(registry, "_table", lambda: table)
    with pytest.raises(CheckpointError, match="web@LOW: its weights give .* eV/atom more than made-up 1.0 for NaCl"):
        gnnpot.load("web")
    assert not checkpoint_folder("web@LOW").exists()


def test_an_import_that_is_interrupted_leaves_nothing(entries, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setitem(importers.CONVERTERS, "made-up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gnnpot.load("web")
    assert not checkpoint_folder("web@LOW").parent.exists()
    monkeypatch.setitem(importers.CONVERTERS, "made-up", convert)
    gnnpot.load("web")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wheel_a", "did you mean 'wheel-a'"),
        ("fasst", "did you mean 'fast'"),
        (3, "^3: is neither the name of a potential nor a path"),
        ("web@high", "no fidelity 'high'; .*HIGH"),
        ("wheel-a@PBE", "one fidelity only; leave '@PBE' out"),
        ("web@", "no fidelity ''"),
        ("runs/web", "neither the folder of a checkpoint"),
    ],
)
def test_names_that_are_not_known(entries, cache, name, words):
    with pytest.raises(CheckpointError, match=words):
        gnnpot.load(name)
    assert not cache.exists()


def test_a_checkpoint_wins_over_a_name_and_another_folder_does_not(entries, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").mkdir()
    assert locating.locate("web") == checkpoint_folder("web@LOW")
    save_checkpoint(tmp_path / "web", convert("", {})[0], Card(name="mine"), overwrite=True)
    assert locating.locate("web") == Path("web")


@pytest.mark.parametrize("name", ["mine", "web@LOW"])
def test_another_folder_under_a_published_name(entries, name):
    """It is not opened as that potential, also if its card has the name."""
    save_checkpoint(checkpoint_folder("web@LOW"), convert("", {})[0], Card(name=name))
    with pytest.raises(CheckpointError, match="under the name of a published potential.*gnnpot import web@LOW --force"):
        gnnpot.load("web@LOW")


def test_damage_in_the_cache_is_said_and_mended(entries):
    weights = importing.import_published("web") / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="is damaged.*gnnpot import web@LOW --force"):
        gnnpot.load("web")
    importing.import_published("web", overwrite=True)
    gnnpot.load("web")


def test_an_element_that_it_has_not_seen(entries):
    with pytest.raises(UnknownElementError, match="has not seen Cs; it knows Na Cl Sr Ti O"):
        gnnpot.Calculator("web").get_potential_energy(bulk("Cs"))


def test_the_registry_holds_what_the_packages_gave():
    published = json.loads(PUBLISHED.read_text())
    for atoms, (name, theirs) in zip(registry.reference_structures(), published["structures"].items(), strict=False):
        expected = Atoms(**theirs, pbc=True)
        assert (atoms.numbers == expected.numbers).all(), name
        np.testing.assert_allclose(atoms.positions, expected.positions, atol=1e-12)
        np.testing.assert_allclose(atoms.cell.array, expected.cell.array, atol=1e-12)
    for entry in registry.published():
        names = [entry.full_name(f) for f in entry.fidelities or (None,)]
        assert sorted(entry.reference_energies) == sorted(names)
        for name in set(names) & set(published["results"]):
            theirs = [published["results"][name][s]["energy"] for s in ("NaCl", "SrTiO3")]
            assert list(entry.reference_energies[name]) == theirs


def test_published_m3gnet_out_of_a_mirror(shared, cache, monkeypatch):
    monkeypatch.setenv("GNNPOT_MIRROR", str(shared / "weights"))
    potential, card = load_checkpoint(importing.import_published("m3gnet-mp-2021.2.8"))
    assert len(potential.elements) == 89 and potential.dtype == torch.float32
    monkeypatch.setenv("GNNPOT_MIRROR", str(cache / "nowhere"))
    with pytest.raises(DownloadError, match="has no chgnet-0.3.0/"):
        gnnpot.load("chgnet-0.3.0")
    assert max(map(abs, energy_deviations(gnnpot.load("m3gnet-mp-2021.2.8"), card.reference_structures))) < TOLERANCE


@pytest.mark.parametrize("name", [e.full_name(f) for e in registry.published() for f in e.fidelities or (None,)])
def test_every_card_says_what_a_user_must_know(name, published):
    published(name)
    potential, card = load_checkpoint(locating.locate(name))
    entry, _ = registry.resolve(name)
    assert len(potential.elements) == entry.elements and entry.licence in card.licence
    for word in (card.description, card.training_data, card.functional, card.energy_reference, card.metrics):
        assert word, name
    assert card.name == name and card.references and len(card.reference_structures) == 2
