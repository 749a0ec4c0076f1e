"""Several sources: energies on one scale, nothing of what is held out, the same run however it is cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gnnpot.config import from_mapping
from gnnpot.data import write_store
from gnnpot.errors import ConfigError, DataError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.training.config import DataConfig, TrainConfig
from gnnpot.training.prepare import prepare
from gnnpot.training.run import train
from gnnpot.training.subsets import Subset
from tests.training.runs import rows, same, torchrun, train_until, weights

#: eV per atom that another code's energies of Cu, Ni and Au differ by
OFFSETS = {29: -7.0, 28: 11.0, 79: 0.0}


def moved(frames):
    return [f.replace(energy=f.energy + sum(OFFSETS[z] for z in f.numbers)) for f in frames]


def with_gold(frames):
    """Cu replaced by Au in the labelled frames: another element, made-up labels."""
    return [f.replace(numbers=np.where(f.numbers == 29, 79, f.numbers)) for f in frames]


@pytest.fixture(scope="session")
def other_store(tmp_path_factory, frames):
    """Frames of other structures, whose energies are another code's."""
    from tests.training.conftest import emt_frames

    named = [
        f.replace(provenance=replace(f.provenance, material_id=f"other {k}"))
        for k, f in enumerate(moved(emt_frames(12, seed=5)))
    ]
    return write_store(named, tmp_path_factory.mktemp("other") / "other.store").folder


@pytest.fixture
def two(mapping, other_store) -> dict:
    source = {"train": str(other_store), "references": "own", "weight": 0.5}
    return {**mapping, "data": {**mapping["data"], "sources": {"other": source}}}


def with_source(mapping, **changes) -> TrainConfig:
    mapping = {**mapping, "data": {**mapping["data"]}}
    mapping["data"]["sources"] = {"other": {**mapping["data"]["sources"]["other"], **changes}}
    return from_mapping(TrainConfig, mapping)


def test_energies_of_another_code_are_moved_to_the_main_sources_scale(two, frames):
    """Two codes that differ by an energy per atom of each element are the same after the fit."""
    from tests.training.conftest import emt_frames

    prepared = prepare(with_source(two))
    main, other = prepared.datasets
    assert (main.name, other.name, other.weight) == ("train", "other", 0.5)
    assert prepared.references == main.references
    for k, frame in enumerate(emt_frames(12, seed=5)):
        # the two sets' mean excess energies differ a little, which goes with the fit
        assert other.frame(k).energy == pytest.approx(frame.energy, abs=0.4)
        assert np.array_equal(other.frame(k).forces, frame.forces)
    exact = prepare(with_source(two, references={"Cu": -7.0, "Ni": 11.0}))
    zero = exact.references.energies_by_number()
    frame, moved_frame = emt_frames(12, seed=5)[1], exact.datasets[1].frame(1)
    expected = frame.energy + zero[frame.numbers].sum()
    assert moved_frame.energy == pytest.approx(expected, abs=1e-9)


def test_another_scale_is_no_matter_where_energies_are_not_used(two):
    main = prepare(
        from_mapping(TrainConfig, {**two, "run": f"{two['run']}-main", "data": {**two["data"], "sources": {}}})
    )
    prepared = prepare(with_source(two, labels=["forces", "stress"]))
    assert prepared.references == main.references and not prepared.datasets[1].shift.any()
    assert set(prepared.datasets[1].frame(0).labels) == {"forces", "stress"}


def test_shared_references_are_fitted_to_both_and_move_nothing(two, frames, tmp_path):
    store = write_store(with_gold(frames[:9]), tmp_path / "gold.store").folder
    config = with_source(two, references="shared", train=str(store), labels=["energy", "forces"])
    prepared = prepare(replace(config, data=replace(config.data, check_stress=False)))
    assert prepared.elements == ("Ni", "Cu", "Au")
    other = prepared.datasets[1]
    assert not other.shift.any()
    for k in range(len(other.subset)):
        stored = other.subset.store[int(other.subset.indices[k])]
        assert other.frame(k).energy == stored.energy
        assert other.frame(k).stress is None and other.frame(k).forces is not None


def test_an_element_that_only_another_code_has_keeps_its_energy_there(two, frames, tmp_path):
    store = write_store(moved(with_gold(frames)), tmp_path / "gold.store").folder
    prepared = prepare(with_source(two, train=str(store), references={"Ni": 3.0, "Cu": 1.0, "Au": -5.0}))
    energies, shift = prepared.references.energies_by_number(), prepared.datasets[1].shift
    assert energies[79] == -5.0 and shift[79] == 0.0
    assert shift[28] == pytest.approx(energies[28] - 3.0)


def test_what_the_main_source_holds_out_is_in_no_other(two, frames, store):
    """The same frames as a second source: those of the validation part are left out, by material or by structure."""
    for by, kind in (("frame", "fingerprint"), ("material", "material_id")):
        config = with_source(two, train=str(store), references="shared")
        config = replace(config, data=replace(config.data, split=replace(config.data.split, by=by)))
        prepared = prepare(replace(config, run=config.run / by))
        held = getattr(prepared.validation.store.index(), kind)[prepared.validation.indices]
        part = prepared.datasets[1].subset
        used = getattr(part.store.index(), kind)[part.indices]
        assert len(used) and not set(held) & set(used)
        assert set(used) == set(getattr(part.store.index(), kind)) - set(held)
    everything = Subset(part.store, np.arange(len(part.store)))
    assert len(everything.without([everything], "frame")) == 0


def test_a_source_of_held_out_materials_alone_is_refused(two, frames, tmp_path):
    config = with_source(two)
    prepared = prepare(config)
    held = [prepared.validation.frames[k] for k in range(len(prepared.validation))]
    store = write_store(held, tmp_path / "held.store").folder
    with pytest.raises(DataError, match="all its frames are of materials that validate or test"):
        prepare(with_source({**two, "run": str(tmp_path / "r")}, train=str(store)))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("validation", {}, "'validation' can't name a source"),
        ("a/b", {}, "can't name a source"),
        ("other", {"weight": 0.0}, r"data\.sources\.other: weight: 0\.0 is not a number above 0"),
        ("other", {"references": "mine"}, "'mine' is not a choice"),
        ("other", {"labels": []}, "labels: none is used"),
        ("other", {"labels": ["energie"]}, "did you mean 'energy'"),
        ("other", {"wheight": 2}, "did you mean 'weight'"),
    ],
)
def test_mistakes_are_named(two, name, change, message):
    source = {"train": "a.store", "references": "shared", **change}
    with pytest.raises(ConfigError, match=message):
        from_mapping(TrainConfig, {**two, "data": {**two["data"], "sources": {name: source}}})


def test_references_must_be_named(two):
    with pytest.raises(ConfigError, match="option 'references' is missing"):
        from_mapping(DataConfig, {"train": "a", "sources": {"b": {"train": "c"}}})
    with pytest.raises(ConfigError, match=r"data\.sources\.other\.references: there is no energy for Ni"):
        prepare(with_source(two, references={"Cu": 1.0}))


def test_stress_of_the_wrong_sign_is_refused_in_every_source(two, frames, tmp_path):
    from gnnpot.data.stress_check import StressSample

    sample = StressSample()
    wrong = [f.replace(stress=-f.stress) for f in sample_of_strained()]
    store = write_store(
        sample.watch(iter(wrong)), tmp_path / "w.store", stress_check=lambda: sample.result().to_mapping()
    )
    with pytest.raises(DataError, match=r"wrong sign.*data\.sources\.other\.reader\.stress"):
        prepare(with_source(two, train=str(store.folder)))
    prepare(with_source(two, train=str(store.folder), labels=["energy", "forces"]))


def sample_of_strained():
    from ase.build import bulk
    from ase.calculators.emt import EMT

    from gnnpot.data import Frame, Provenance

    frames = []
    for k in range(9):
        atoms = bulk("Cu", "fcc", a=3.5 + 0.03 * k)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        frames.append(Frame.from_atoms(atoms, Provenance(source="eos", source_id=str(k), material_id="eos Cu")))
    return frames


def test_a_mixed_run_resumes_in_an_epoch_and_its_card_says_what_it_learnt_from(two, tmp_path, monkeypatch):
    config = with_source(two)
    whole = train(config)
    other = replace(config, run=tmp_path / "other")
    train_until(14, other, monkeypatch)
    same(weights(whole), weights(train(other)))
    assert rows(config) == rows(other)
    card = load_checkpoint(config.run / "model")[1]
    sources = card.training["sources"]
    assert sources["train"]["weight"] == 1.0 and sources["other"]["weight"] == 0.5
    assert set(sources["other"]["references"]["energies"]) == {"Cu", "Ni"}
    assert str(config.data.sources["other"].train) in card.training_data


def test_two_processes_with_two_sources_are_as_good_as_one(two, tmp_path, frames):
    """Started at once, from files that one of them converts; batches by atoms, read by a worker."""
    from ase.io import write

    files = {"train": tmp_path / "emt.extxyz", "other": tmp_path / "other.extxyz"}
    write(files["train"], [f.to_atoms() for f in frames])
    write(files["other"], [f.to_atoms() for f in moved(with_gold(frames[:8]))])
    data = {**two["data"], "train": str(files["train"]), "cache_graphs": False, "workers": 1}
    data["sources"] = {"other": {"train": str(files["other"]), "references": "own", "weight": 2.0}}
    one = from_mapping(TrainConfig, {**two, "data": data, "batch": {"max_atoms": 16}, "epochs": 2})
    single = weights(train(one))
    pair = replace(
        one,
        run=tmp_path / "pair",
        batch=replace(one.batch, max_atoms=8),
        lightning=replace(one.lightning, accelerator="cpu", devices=2, strategy="ddp"),
    )
    torchrun(pair, tmp_path)
    for name, value in weights(load_checkpoint(pair.run / "model")[0]).items():
        torch.testing.assert_close(value, single[name], rtol=1e-7, atol=1e-9)
