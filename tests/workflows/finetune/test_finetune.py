"""Fine-tuning as a whole: references first, then weights, then what was won and lost; and it resumes."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data import FrameStore, bundled_path, read_frames, write_store
from gnnpot.data.references import ElementReferences
from gnnpot.errors import CheckpointError, ConfigError, DataError, GnnpotError, UnknownElementError
from gnnpot.hub.checkpoint import load_checkpoint, read_card
from gnnpot.hub.opening import load, open_potential
from gnnpot.training.config import TrainConfig
from gnnpot.training.datamodule import GraphData
from gnnpot.training.evaluate import evaluate
from gnnpot.training.prepare import open_subsets
from gnnpot.training.run import DIRECTORY, train
from gnnpot.training.subsets import Subset
from gnnpot.workflows.compare import compare
from gnnpot.workflows.finetune.aims import aim_options
from gnnpot.workflows.finetune.config import FineTuneConfig, read_finetune_config
from gnnpot.workflows.finetune.refit import predicted_energies, refit_references
from gnnpot.workflows.finetune.replay import earlier_frames
from gnnpot.workflows.finetune.retention import minimum, retention_rows
from gnnpot.workflows.finetune.run import FineTune, finetune
from gnnpot.workflows.finetune.strategies import AllWeights
from tests.child_process import environment

#: what another code might add, eV per atom
OFFSET = {"Cu": 120.0, "Ni": -310.0}

#: fine-tunes, and kills itself within step argv[2]
CHILD = """
import os, signal, sys, yaml
from gnnpot.config import from_mapping
from gnnpot.training import module
from gnnpot.workflows.finetune import FineTuneConfig, finetune
original = module.TrainModule.training_step
def training_step(self, batch, index):
    if self.global_step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch, index)
module.TrainModule.training_step = training_step
with open(sys.argv[1]) as file:
    finetune(from_mapping(FineTuneConfig, yaml.safe_load(file)))
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory, store, hdnnp):
    """A potential that knows Cu and Ni as EMT has them."""
    run = tmp_path_factory.mktemp("start") / "run"
    mapping = {
        "model": hdnnp,
        "data": {"train": str(store), "split": {"validation": 0.2, "by": "frame"}},
        "run": str(run), "epochs": 25, "batch": {"frames": 4}, "optimizer": {"lr": 0.02}, "validate_every": 50,
        "precision": "float64", "ema": 0.9, "loss": {"delta": 0.1, "stress": 1.0},
    }  # fmt: skip
    train(from_mapping(TrainConfig, mapping))
    return run / "model"


@pytest.fixture(scope="module")
def shifted(tmp_path_factory, frames):
    """The frames as another code would label them: another zero of each element, forces a little larger."""
    path = tmp_path_factory.mktemp("shifted") / "shifted.store"
    other = [
        f.replace(
            energy=1.1 * f.energy + sum(OFFSET[s] for s in f.symbols),
            forces=1.1 * f.forces,
            stress=1.1 * f.stress,
            provenance=replace(f.provenance, functional="PBEsol"),
        )
        for f in frames
    ]
    return write_store(other, path).folder


@pytest.fixture
def config(start, shifted, tmp_path):
    options = ["epochs=3", "precision=float64", "probe_elements=[Ni]", "replay.max_frames=12", "checkpoint_every=4"]
    options += ["validate_every=6", "log_every=1", "data.split.by=count", "ema=0.9", "seed=3"]
    return read_finetune_config(str(start), [shifted], run=tmp_path / "run", overrides=options)


def same(a, b):
    for name, t in a.state_dict().items():
        assert torch.equal(t, b.state_dict()[name]), name


def test_defaults_follow_the_number_of_frames(start, shifted, tmp_path):
    few = read_finetune_config(str(start), [shifted], run=tmp_path)
    many = read_finetune_config(str(start), ["bundled:gpaw-pbe"], run=tmp_path)
    assert few.epochs > many.epochs and few.batch.frames < many.batch.frames
    assert few.data.split.test > many.data.split.test > 0
    mine = tmp_path / "mine.yaml"
    mine.write_text("strategy: {kind: lora, rank: 3}\nbatch: {max_atoms: 40}\nepochs: 7\n")
    read = read_finetune_config(str(start), [shifted], run=tmp_path, path=mine, overrides=["strategy.rank=5"])
    assert read.strategy.kind == "lora" and read.strategy.rank == 5 and read.batch.frames is None and read.epochs == 7
    assert from_mapping(FineTuneConfig, to_mapping(read)) == read
    by_time = read_finetune_config(str(start), [shifted], run=tmp_path, overrides=["max_minutes=2"], short="replay")
    assert by_time.schedule.horizon == "time" and by_time.replay.share == 0.25 and by_time.epochs is None
    by_steps = read_finetune_config(str(start), [shifted], run=tmp_path, overrides=["max_steps=50"])
    assert by_steps.schedule.warmup_steps == 5 and by_steps.epochs is None
    more = read_finetune_config(str(start), [shifted], run=tmp_path, overrides=["replay.share=0.5"], short="replay")
    again = read_finetune_config(str(start), [shifted], run=tmp_path, short="replay")
    assert more.replay.share == 0.5 and again.replay.share == 0.25
    tested = read_finetune_config(str(start), [shifted], run=tmp_path, overrides=[f"data.test={shifted}"])
    assert tested.data.split.test == 0
    assert (few.keep, many.keep) == ("last", "best") and few.data.split.by == "count"
    plain = read_finetune_config(str(start), [shifted], run=tmp_path, overrides=["strategy.decay=0.9"])
    assert plain.strategy == AllWeights(decay=0.9)


def test_the_aim_decides_the_optimiser(start, shifted, tmp_path):
    def read(model, aim=None, short=None, overrides=()):
        return read_finetune_config(model, [shifted], run=tmp_path, aim=aim, short=short, overrides=overrides)

    # rates that were measured, by the architecture that a name or a card tells
    for name, rate in (("7net-0", 5e-3), ("nequix-oam-1", 2e-3), ("accurate", 2e-3), ("gnnpot-1", 5e-3)):
        this = read(name)
        assert (this.optimizer.name, this.optimizer.lr, this.strategy.decay) == ("soap", rate, 1.0), name
        assert this.replay.share == 0
    # of a SevenNet with many frames: larger steps
    many = aim_options("this-system", "sevennet", 60, {})
    assert many["optimizer"] == {"name": "soap", "lr": 0.015, "weight_decay": 1e-5} and many["loss"]["forces"] == 4
    assert "loss" not in aim_options("this-system", "sevennet", 59, {})
    assert "loss" not in aim_options("general", "sevennet", 60, {})
    assert aim_options("this-system", "nequix", 60, {})["optimizer"]["lr"] == 2e-3
    general = read("7net-0", "general")
    assert (general.optimizer.name, general.optimizer.lr, general.replay.share) == ("adamw", 1e-3, 0.25)
    assert general.strategy.decay < 1
    # an option of the same strategy takes nothing away; another strategy does
    slower = read("7net-0", "general", overrides=["strategy.decay=0.9"])
    assert slower.replay.share == 0.25 and slower.strategy == AllWeights(decay=0.9)
    assert read("7net-0", "general", "all").replay.share == read("7net-0", "general", "lora").replay.share == 0
    # no rate was measured for an M3GNet
    assert read(str(start)).optimizer.name == "adamw"
    for short in ("lora", "head", "replay"):
        assert read("7net-0", short=short).optimizer.name == "adamw", short
    careful = read("7net-0", overrides=["optimizer.name=adamw"])
    assert careful.optimizer.lr == 1e-3 and careful.strategy.decay < 1
    assert read("7net-0", overrides=["optimizer.lr=0.015"]).optimizer.lr == 0.015
    with pytest.raises(ConfigError, match="--for this-system: trains all weights.*'lora'"):
        read("7net-0", "this-system", "lora")
    with pytest.raises(ConfigError, match="is no aim; did you mean 'general'"):
        read("7net-0", "generel")


def test_two_frames_are_enough(frames, start, tmp_path):
    """They are what the message about one frame asks for."""
    for count in (1, 2):
        store = write_store([frames[2], frames[5]][:count], tmp_path / f"{count}.store").folder
        if count == 1:
            with pytest.raises(DataError, match="1 frame can't be trained on and held out; give at least 2"):
                read_finetune_config(str(start), [store], run=tmp_path / "run")
    read = read_finetune_config(str(start), [store], run=tmp_path / "run", overrides=["probe_elements=[Ni]"])
    finetune(replace(read, max_steps=1))
    card = load_checkpoint(tmp_path / "run" / "model")[1]
    assert card.metrics["finetune"]["new"]["finetuned"]["energy_count"] == 1


def test_what_became_worse_is_marked():
    def state(volume, modulus):
        return {"volume_start": 16.0, "bulk_modulus_start": 100.0, "volume_finetuned": volume,
                "bulk_modulus_finetuned": modulus, "curve_change": 0.1}  # fmt: skip

    errors = {"energy_mae": 0.01, "forces_mae": 0.1}
    metrics = {
        "new": {"start": errors, "refitted": errors, "finetuned": {"energy_mae": 0.001, "forces_mae": 0.2}},
        "equations_of_state": {"Al": state(16.1, 105.0), "Cu": state(17.0, 70.0), "W": state(None, None)},
        "dimers": {"Al": {"curve_change": 0.1, "hole_start": 0.0, "hole_finetuned": 0.01},
                   "Cu": {"curve_change": 0.9, "hole_start": 0.0, "hole_finetuned": 1.2}},
    }  # fmt: skip
    marks = {row[0]: row[-1] for row in retention_rows(metrics)}
    assert marks["new frames: force MAE"] == "WORSE, 2 times"
    assert marks["new frames: energy MAE, references refitted"] == "0.1 times"
    assert marks["Al crystal: volume"] == "+0.6 %" and marks["Al crystal: bulk modulus"] == "+5.0 %"
    assert marks["Cu crystal: volume"] == "WORSE, +6.2 %" and marks["Cu crystal: bulk modulus"] == "WORSE, -30.0 %"
    assert marks["W crystal: volume"] == "WORSE, no minimum"
    assert marks["Al dimer: curve moved by"] == "" and marks["Cu dimer: curve moved by"].startswith("WORSE, a hole")


def test_the_test_part_does_not_depend_on_the_number_of_frames(config):
    parts = {}
    for count in (6, 12, None):
        run = config.run / str(count)
        few = replace(config, run=run, data=replace(config.data, frames=count))
        task = FineTune(few, open_potential(config.start))
        parts[count] = task.prepare(write=True)
    assert np.array_equal(parts[6].test.indices, parts[None].test.indices)
    assert len(parts[6].train) + len(parts[6].validation) == 6
    assert set(parts[6].train.indices) < set(parts[12].train.indices) < set(parts[None].train.indices)


def test_nor_does_it_where_there_are_many_materials(frames, start, tmp_path):
    """A comparison's numbers of frames may lie on both sides of what counts as few."""
    many = [f.replace(provenance=replace(f.provenance, material_id=f"m{k % 30}")) for k, f in enumerate(frames * 3)]
    store = write_store(many, tmp_path / "many.store").folder
    parts = {}
    for count in (20, 80, None):
        options = [] if count is None else [f"data.frames={count}"]
        read = read_finetune_config(str(start), [store], run=tmp_path / str(count), overrides=options)
        _, parts[count] = open_subsets(read)
    for count in (20, 80):
        assert np.array_equal(parts[count]["test"].indices, parts[None]["test"].indices)
        assert len(parts[count]["train"]) + len(parts[count]["validation"]) == count


def test_representative_frames_are_a_part_of_more_and_stay_when_a_run_goes_on(config, monkeypatch):
    parts = {}
    for count in (6, 12):
        data = replace(config.data, frames=count, choose="representative")
        task = FineTune(replace(config, run=config.run / str(count), data=data), open_potential(config.start))
        with DIRECTORY.open(task.config, resume=True, inputs=task.inputs()):
            parts[count] = task.prepare(write=True)
        assert len(parts[count].train) + len(parts[count].validation) == count
    assert set(parts[6].train.indices) < set(parts[12].train.indices)
    monkeypatch.setattr("gnnpot.training.subsets.choose_frames", None)
    again = task.prepare(write=True)
    assert np.array_equal(again.train.indices, parts[12].train.indices)
    # begun again, the run chooses again
    fresh = replace(config, run=config.run / "12", data=replace(config.data, frames=6, choose="representative"))
    monkeypatch.undo()
    finetune(replace(fresh, max_steps=2, epochs=1), resume=False)
    counts = json.loads((fresh.run / "data.json").read_text())["frames"]
    assert counts["train"] + counts["validation"] == 6


def test_refit_repairs_another_zero_of_energies(start, shifted):
    potential = load(start)
    store = FrameStore(shifted)
    refit, references = refit_references(potential, Subset(store, np.arange(len(store))), ridge=1e-9)
    assert refit.mae_before > 50 and refit.mae_after < 0.2
    for element, offset in OFFSET.items():
        sigma = refit.uncertainty[element]
        assert 0 < sigma < 0.5 and abs(refit.shift[element] - offset) < 2
    errors = evaluate(potential.with_references(references), store, stress=False).metrics()
    assert errors["energy_mae"] == pytest.approx(refit.mae_after, rel=1e-4)
    assert refit.undetermined == () and len(refit.rows()) == 3


def test_refit_changes_nothing_that_the_frames_leave_open():
    before = ElementReferences((11, 17, 29), (-1.3, -3.1, -4.0))
    salt = [f for f in read_frames(bundled_path()) if set(f.symbols) == {"Na", "Cl"}]
    residuals = np.array([5.0 * len(f) for f in salt])
    after = before.refit(salt, residuals)
    shift = after.energies_by_number() - before.energies_by_number()
    assert shift[11] + shift[17] == pytest.approx(10.0) and shift[11] == pytest.approx(shift[17])
    assert shift[29] == 0
    assert len(after.undetermined) == 1 and {"Na", "Cl"} <= set(after.undetermined[0].split())
    # nearly undetermined: a ridge holds the difference back, against any single frame
    odd = [*salt, *[f for f in read_frames(bundled_path()) if set(f.symbols) == {"Na"}][:1]]
    noisy = np.array([5.0 * len(f) for f in salt] + [9.0 * len(odd[-1])])
    free, held = (before.refit(odd, noisy, ridge=r).energies_by_number()[11] + 1.3 for r in (0.0, 1.0))
    assert abs(free - 9.0) < 1e-6 and abs(held - 5.0) < abs(free - 5.0)


@pytest.mark.parametrize("name", ["chgnet-0.3.0", "m3gnet-mp-2021.2.8"])
def test_published_weights_meet_another_code(published, tmp_path, name):
    """VASP-trained weights on GPAW's frames: energies of another zero, repaired by the refit alone."""
    frames = [f for f in read_frames(bundled_path()) if len(f) <= 2][::4]
    store = write_store(frames, tmp_path / "gpaw.store")
    refit, references = refit_references(published(name), Subset(store, np.arange(len(store))), ridge=1e-6)
    assert refit.mae_before > 0.05 and refit.mae_after < refit.mae_before / 5
    predicted = predicted_energies(published(name).with_references(references), frames)
    labels = np.array([f.energy for f in frames])
    sizes = np.array([len(f) for f in frames])
    assert np.abs((predicted - labels) / sizes).mean() == pytest.approx(refit.mae_after, rel=1e-3)


def test_it_learns_and_says_what_it_cost(config, start):
    shown = []
    tuned = finetune(replace(config, epochs=15), on_event=shown.append)
    refit = shown[1]
    assert refit.mae_before > 50 and refit.mae_after < 1
    assert [text[:6] for k, text in enumerate(shown) if k != 1] == ["1 of 3", "2 of 3", "3 of 3"]
    loaded, card = load_checkpoint(config.run / "model")
    same(tuned, loaded)
    measured = card.metrics["finetune"]
    new = measured["new"]
    assert new["start"]["energy_mae"] > 50 > new["refitted"]["energy_mae"]
    assert new["finetuned"]["forces_mae"] < new["start"]["forces_mae"]
    # of the bundled frames only copper is known, labelled by the starting model itself
    assert measured["earlier"]["start"]["forces_mae"] < 1e-6 < measured["earlier"]["finetuned"]["forces_mae"]
    assert set(measured["equations_of_state"]) == {"Ni"} and measured["dimers"]["Ni"]["curve_change"] > 0
    assert card.training["start"] == str(start) and card.functional == "PBEsol"
    assert card.training["start_sha256"] == read_card(start)["weights_sha256"]
    table = retention_rows(measured)
    assert any("Ni crystal: bulk modulus" in row[0] for row in table) and {len(row) for row in table} == {5}
    changes = {row[0]: row[-1] for row in table}
    assert changes["earlier frames: force MAE"] == "WORSE, from none"
    assert "WORSE" not in changes["new frames: force MAE"] and changes["new frames: force MAE"].endswith(" times")
    text = (config.run / "report" / "report.html").read_text()
    assert "What was won, what was lost" in text and "Element references" in text and "retention" in text


def test_only_the_head_moves(config, start):
    before, tuned = load(start), finetune(replace(config, strategy=from_short("head")))
    moved = {n for n, t in tuned.model.state_dict().items() if not torch.equal(t, before.model.state_dict()[n])}
    assert moved <= set(before.model.stages()[-1]) and moved


def from_short(kind):
    from gnnpot.workflows.finetune.config import STRATEGIES, FineTuneConfig

    options = {"start": "x", "run": "y", "data": {"train": "z"}, **STRATEGIES[kind]}
    return from_mapping(FineTuneConfig, options).strategy


def test_replay_has_its_share_and_references_of_its_own(config, start):
    config = replace(
        config, replay=replace(config.replay, share=0.25), batch=replace(config.batch, frames=4), refit=config.refit
    )
    task = FineTune(config, open_potential(config.start))
    prepared = task.prepare(write=True)
    data = GraphData(config, prepared, task.build(prepared))
    batches = list(data.stream())
    replayed = [sum(i >= len(prepared.train) for i in batch) for batch in batches]
    whole = [n for n, batch in zip(replayed, batches, strict=True) if len(batch) == 4]
    assert set(whole) <= {0, 1, 2} and abs(np.mean(whole) - 1) < 0.2
    assert sum(replayed) / sum(map(len, batches)) == pytest.approx(0.25, abs=0.02)
    assert list(data.stream(start=5)) == batches[5:]
    # relative to the references, replayed labels are what the starting model says
    frame = prepared.concatenation[len(prepared.train)]
    before = load(start)
    own = before(before.graph(frame), stress=False).energy.item() - before.references.apply(frame.numbers)
    assert frame.energy - prepared.references.apply(frame.numbers) == pytest.approx(own, abs=1e-6)


def test_labelled_earlier_frames_get_references_of_their_own(config, start, shifted):
    config = replace(config, replay=replace(config.replay, frames=shifted, max_frames=30))
    earlier = earlier_frames(config, load(start), write=True)
    shift = earlier.references.energies_by_number() - load(start).references.energies_by_number()
    assert abs(shift[29] - OFFSET["Cu"]) < 3 and not earlier.labelled_by_start
    assert len(earlier.held_out) == 6 and len(earlier.rest) == 24


def test_a_killed_run_ends_at_the_same_weights(config, tmp_path):
    """With what is hardest to find again: adapters, replayed frames, references fitted before the first step."""
    config = replace(config, strategy=from_short("lora"), replay=replace(config.replay, share=0.5))
    whole = finetune(config)
    other = replace(config, run=tmp_path / "killed")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_mapping(other)))
    result = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), "15"], capture_output=True, text=True, timeout=900, check=False,
        env=environment(OMP_NUM_THREADS="1"),
    )  # fmt: skip
    assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
    assert (other.run / "last.ckpt").exists() and not (other.run / "model").exists()
    same(whole, finetune(other))


def test_bad_input_is_one_sentence(config, start, shifted, frames, tmp_path):
    with pytest.raises(ConfigError, match="strategy: 'lorra' is not known; did you mean 'lora'"):
        read_finetune_config(str(start), [shifted], run=tmp_path, short="lorra")
    with pytest.raises(ConfigError, match=r"strategy: kind 'x' is not known"):
        read_finetune_config(str(start), [shifted], run=tmp_path, overrides=["strategy.kind=x"])
    empty = tmp_path / "empty.extxyz"
    empty.write_text("")
    with pytest.raises(DataError, match=r"empty\.extxyz"):
        read_finetune_config(str(start), [empty], run=tmp_path)
    gold = tmp_path / "salt.store"
    write_store([f for f in read_frames(bundled_path()) if "Na" in f.symbols], gold)
    salt = read_finetune_config(str(start), [gold], run=tmp_path / "salt")
    with pytest.raises(UnknownElementError, match=r"have Cl, Na, which .* does not know"):
        finetune(salt)
    for name in ("ase.calculators.emt:EMT", str(tmp_path)):
        with pytest.raises(CheckpointError):
            finetune(replace(config, start=name, run=tmp_path / "other"))
    bare = write_store([f.replace(energy=None) for f in frames], tmp_path / "bare.store").folder
    with pytest.raises(DataError, match="no training frame has an energy"):
        finetune(replace(config, run=tmp_path / "b", data=replace(config.data, train=bare)))
    with pytest.raises(ConfigError, match="99 are asked for, there are"):
        finetune(replace(config, run=tmp_path / "c", data=replace(config.data, frames=99)))
    # not when the training has ended
    with pytest.raises(ConfigError, match="probe_elements: .* does not know Xx, Na; name elements"):
        finetune(replace(config, run=tmp_path / "d", probe_elements=("Ni", "Xx", "Na")))
    assert not (tmp_path / "d").exists()


def test_another_start_is_refused(config):
    finetune(replace(config, epochs=1, max_steps=2))
    path = config.run / "refit.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "start_sha256": "0" * 64}))
    (config.run / "model").rename(config.run / "gone")
    with pytest.raises(DataError, match="is not what it was when the run began"):
        finetune(replace(config, epochs=1, max_steps=2))


def test_comparison_is_resumable_run_by_run(config, monkeypatch):
    names = ["head", "hdnnp-scratch"]
    base = replace(config, max_steps=4, epochs=2)

    def configure(frames):
        return replace(base, data=replace(base.data, frames=frames))

    compare(configure, [6], names[:1])
    runs = []
    found = compare(configure, [6], names, show=lambda name, k, n: runs.append((name, k, n)))
    assert runs == [("head-6", 1, 2), ("hdnnp-scratch-6", 2, 2)]
    assert [(r.name, r.frames) for r in found.results] == [("zero-shot", 0), ("head", 6), ("hdnnp-scratch", 6)]
    assert all(r.milliseconds > 0 and r.forces_mae > 0 for r in found.results)
    assert (config.run / "comparison.png").stat().st_size > 1000
    assert (config.run / "table.md").read_text().count("\n") == 5
    from gnnpot.training import module

    def never(*_):
        raise AssertionError("a run that has ended is trained again")

    monkeypatch.setattr(module.TrainModule, "training_step", never)
    again = compare(configure, [6], names)
    assert [r.forces_mae for r in again.results] == [r.forces_mae for r in found.results]
    with pytest.raises(ConfigError, match="--only hed: .* did you mean 'head'"):
        compare(configure, [None], ["hed"])


def test_a_minimum_is_one_within_the_volumes():
    volumes = np.linspace(9, 14, 11)
    q = (11.0 / volumes) ** (2 / 3)
    energies = 9 / 16 * 11.0 * 0.5 * ((q - 1) ** 3 * 4.5 + (q - 1) ** 2 * (6 - 4 * q))
    assert minimum(volumes, energies) == pytest.approx((11.0, 0.5 * 160.21766), rel=1e-6)
    assert minimum(volumes[:4], energies[:4]) == (None, None) == minimum(volumes, volumes)


def test_command_line(start, shifted, tmp_path):
    from gnnpot.cli import app

    runner = CliRunner()
    run = tmp_path / "run"
    options = ["finetune", str(start), str(shifted), "-o", str(run), "--quiet", "--strategy", "head"]
    options += ["--set", "max_steps=4", "--set", "precision=float64", "--set", "replay.max_frames=6"]
    result = runner.invoke(app, options)
    assert result.exit_code == 0, result.output
    for text in ("Element references", "meV/atom before", "What was won, what was lost", "Cu dimer", "report.html"):
        assert text in result.output
    assert "has ended before" not in result.output
    # again: nothing to train, the same table
    again = runner.invoke(app, options).output
    assert "What was won, what was lost" in again and "has ended before" in again
    # the folder of a run is opened as its potential
    same(load(run), load(run / "model"))
    result = runner.invoke(app, [*options[:4], str(tmp_path / "cmp"), *options[5:6], *options[8:], "--compare",
                                 "--only", "head", "--frames", "8"])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "run 1 of 1: head-8" in result.output and "table.md" in result.output
    failed = runner.invoke(app, ["finetune", "no-such-model", str(shifted), "-o", str(tmp_path / "x"), "--quiet"])
    assert isinstance(failed.exception, GnnpotError)
    assert "Example" in runner.invoke(app, ["finetune", "--help"]).output
