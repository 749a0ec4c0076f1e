"""Data and training: resumable, whole or absent, and they learn."""

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import pytest
import spglib
import torch

from gnnpot.errors import CheckpointError, ConfigError, DataError, SimulationError
from gnnpot.functional import crystals
from gnnpot.functional import data as data_module
from gnnpot.functional.data import CUTOFF, Task, calculate, generate, read_sample, to_sample, write_sample
from gnnpot.functional.evaluate import evaluate
from gnnpot.functional.functionals import kinetic, von_weizsacker
from gnnpot.functional.grid import Grid, resample
from gnnpot.functional.kohn_sham import Settings
from gnnpot.functional.network import NetworkConfig
from gnnpot.functional.plans import DataConfig, plan, structure_tasks
from gnnpot.functional.space import integral
from gnnpot.functional.store import load, open_functional, save
from gnnpot.functional.train import Stage, TrainConfig, train
from gnnpot.functional.training_set import LossWeights, batch_loss, make_batches
from gnnpot.units import BOHR

SETTINGS = Settings(cutoff=7.0, mesh=(2, 2, 2))
SMALL = TrainConfig(NetworkConfig(channels=3, hidden=8, gaussians=4), soap_steps=12, stages=(Stage(6),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("samples")
    tasks = [
        Task("GaAs-scale-1", "GaAs", crystals.zincblende("GaAs"), SETTINGS),
        Task("GaAs-scale-1.03", "GaAs", crystals.zincblende("GaAs", 1.03), SETTINGS),
        Task("GaAs-triple-00", "GaAs", crystals.zincblende("GaAs"), SETTINGS, seed=1),
        Task("GaAs-rattled", "GaAs", crystals.rattled(crystals.zincblende("GaAs"), 0.05, 0), SETTINGS),
    ]
    generate(tasks, path)
    return path


@pytest.fixture(scope="module")
def samples(folder):
    return [read_sample(path) for path in sorted(folder.glob("*.npz"))]


def test_the_plan_of_the_ten():
    tasks = plan(DataConfig())
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names) == 10 * (5 + 2 + 12) + 9 * 2
    assert not any(name.startswith("Si-displaced") for name in names)
    with pytest.raises(DataError, match="GaN: is not one of the crystals"):
        plan(DataConfig(crystals=("GaN",)))


def test_other_samples_keep_the_tests_unseen():
    tasks = plan(DataConfig(triples=0, others=True))
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names) > 150
    others = tasks[len(plan(DataConfig(triples=0))) :]
    for task in others:
        images = task.atoms.repeat(2 if len(task.atoms) > 1 else 3)
        distances = images.get_all_distances(mic=True)
        assert distances[~np.eye(len(images), dtype=bool)].min() > 1.9
        symbols = set(task.atoms.get_chemical_symbols())
        # only the crystal itself is in its name's samples, so that leaving a crystal out leaves all of them out
        assert symbols <= set(crystals.zincblende(task.crystal).get_chemical_symbols())
        if "rattled" in task.name or "large" in task.name:
            assert task.crystal not in ("Si", "GaAs", "InP", "AlSb", "GaSb")
    silicon = [task.name for task in others if task.crystal == "Si"]
    assert sum("vacancy" in name for name in silicon) == 5 and sum("hexagonal" in name for name in silicon) == 3
    assert len(crystals.vacancy("GaAs", "As")) == 7
    by_name = {task.name: task for task in tasks}
    for task in others:
        # a sample on a finer grid is another one's structure
        if "-grid-" in task.name:
            usual = task.name.partition("-grid-")[0].replace("rattled", "rattled-0")
            same = by_name[f"{usual}-scale-1" if usual == task.crystal else usual]
            assert same.atoms == task.atoms and task.cutoff > same.cutoff


def test_sample_on_another_grid_is_the_same_density(gallium_arsenide):
    usual, fine = to_sample(gallium_arsenide, "usual"), to_sample(gallium_arsenide, "fine", cutoff=9.0)
    assert fine.density.size > 2 * usual.density.size and fine.kinetic == usual.kinetic
    grid = Grid(fine.atoms.cell.array / BOHR, usual.density.shape)
    assert np.abs(resample(fine.density, grid) - usual.density).max() < 1e-12
    # the constant of the potential is a mean over the electrons of each grid
    difference = resample(fine.potential, grid) - usual.potential
    assert np.ptp(difference) < 1e-10


def test_samples_are_exact_triples(samples):
    for sample in samples:
        volume = sample.atoms.get_volume() / 0.529177210903**3 / sample.density.size
        assert sample.density.sum() * volume == pytest.approx(8, abs=1e-6) or "triple" in sample.name
        assert abs((sample.potential * sample.density).sum()) < 1e-8
    batch = make_batches(samples)[0]
    # the von Weizsäcker functional is a lower bound of T
    assert (batch.kinetic > integral(batch.space, von_weizsacker(batch.density.detach(), batch.space))).all()


@pytest.mark.parametrize("moved", [0.0, 0.05])
def test_samples_on_finer_grids_are_compared_on_these(moved):
    """Those of `gnnpot functional data --others`, with symmetry and without."""
    atoms = crystals.rattled(crystals.zincblende("GaAs"), moved, 0)
    found = {}
    for cutoff in (CUTOFF, 7.5):
        sample = calculate(Task(f"GaAs-grid-{cutoff:g}", "GaAs", atoms, SETTINGS, cutoff=cutoff))
        (found[cutoff],) = evaluate(open_functional("wt"), [sample])
    assert sample.density.shape == (20, 20, 20)
    assert found[7.5].density_error == pytest.approx(found[CUTOFF].density_error, rel=0.02)


def test_structures_of_other_samples():
    groups = {
        "I4/mmm": crystals.body_centred_tetragonal(),
        "P6_3/mmc": crystals.nickel_arsenide("GaAs"),
        "P6_3/mmc ": crystals.flat_hexagonal("GaAs"),
    }
    for group, atoms in groups.items():
        found = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers))
        assert found.international == group.strip() and len(atoms) == 4
    stacked = crystals.polytype_4h("AlP")
    distances = np.sort(stacked.repeat((3, 3, 1)).get_all_distances(mic=True), axis=1)[:, 1:5]
    assert np.allclose(distances, 5.46 * 3**0.5 / 4)
    found = spglib.get_symmetry_dataset((stacked.cell.array, stacked.get_scaled_positions(), stacked.numbers))
    assert found.international == "P6_3mc" and len(stacked) == 8
    own = crystals.zincblende("GaAs").get_volume() / 2
    assert crystals.nickel_arsenide("GaAs").get_volume() / 4 == pytest.approx(0.8 * own)
    assert crystals.flat_hexagonal("GaAs", 1.1).get_volume() / 4 == pytest.approx(0.92 * 1.331 * own)


def test_what_is_there_is_not_calculated_again(folder, monkeypatch):
    def fail(task):
        raise AssertionError(task.name)

    monkeypatch.setattr(data_module, "calculate", fail)
    seen = []
    generate([Task("GaAs-scale-1", "GaAs", crystals.zincblende("GaAs"), SETTINGS)], folder, 1, seen.append)
    assert seen == []
    with pytest.raises(DataError, match="two samples have the same name"):
        generate([Task("a", "GaAs", crystals.diamond())] * 2, folder)


def test_any_crystal_of_known_elements():
    tasks = structure_tasks([("bct5", crystals.beta_tin())], triples=2)
    assert [task.name for task in tasks] == ["bct5", "bct5-triple-00", "bct5-triple-01"]
    assert tasks[0].seed is None and min(tasks[0].settings.mesh) >= 6


def test_damaged_samples_are_refused(folder, tmp_path):
    path = tmp_path / "half.npz"
    path.write_bytes((folder / "GaAs-scale-1.npz").read_bytes()[:2000])
    with pytest.raises(DataError, match="half.npz: can't be read as a sample"):
        read_sample(path)


def test_batches_share_matrices_and_weigh_triples(samples, tmp_path):
    batches = make_batches(samples)
    by_name = {name: batch for batch in batches for name in batch.names}
    assert by_name["GaAs-scale-1"] is by_name["GaAs-triple-00"]
    assert by_name["GaAs-rattled"].density.shape[1] > 10 * by_name["GaAs-scale-1"].density.shape[1]
    assert sum(float(batch.weights.sum()) for batch in batches) == pytest.approx(3.3)
    with pytest.raises(DataError, match="no samples to learn from"):
        make_batches([])
    write_sample(samples[0], tmp_path / "again.npz")
    assert np.array_equal(read_sample(tmp_path / "again.npz").density, samples[0].density)


def test_modes_add_up_to_the_integral(samples):
    for batch in make_batches(samples):
        square = integral(batch.space, batch.potential**2)
        assert torch.allclose(batch.space.power(batch.potential).sum(dim=-1), square)


def test_single_precision_in_the_network_changes_little(samples):
    functional = open_functional("gnnpot-kedf-1").requires_grad_(True)
    parameters = list(functional.parameters())
    pairs = zip(make_batches(samples), make_batches(samples, inner=torch.float32), strict=True)
    for double, single in pairs:
        gradients = []
        losses = [batch_loss(functional, batch, LossWeights())[0] for batch in (double, single)]
        for loss in losses:
            gradients.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)]))
        assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-3)
        assert (gradients[1] - gradients[0]).norm() < 0.02 * gradients[0].norm()
        assert losses[1].dtype == gradients[1].dtype == torch.float64


def test_training_learns_resumes_and_refuses_another_run(samples, tmp_path):
    losses = []
    whole = train(samples, SMALL, tmp_path / "whole", lambda stage, step, steps, loss: losses.append(loss))
    assert min(losses[-6:]) < 0.7 * losses[0]

    class Killed(Exception):
        pass

    def kill(stage, step, steps, loss):
        if stage == "SOAP" and step == 12:
            raise Killed

    with pytest.raises(Killed):
        train(samples, SMALL, tmp_path / "killed", kill)
    stages = []
    resumed = train(samples, SMALL, tmp_path / "killed", lambda stage, *_: stages.append(stage))
    assert "SOAP" not in stages
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(a, b)
    with pytest.raises(ConfigError, match=r"whole: contains a training with another samples: was .*; name another"):
        train(samples[:2], SMALL, tmp_path / "whole")
    with pytest.raises(ConfigError, match=r"another config.soap_steps: was 12, is now 13; name another"):
        train(samples, replace(SMALL, soap_steps=13), tmp_path / "whole")


def test_one_process_trains_in_a_folder(samples, tmp_path):
    with pytest.raises(DataError, match="another process is writing it"):
        train(samples, SMALL, tmp_path / "run", lambda *_: train(samples, SMALL, tmp_path / "run"))
    # the state of the first is whole, and the lock is free again
    train(samples, SMALL, tmp_path / "run")


def test_a_training_that_was_killed_before_its_first_state_resumes(samples, tmp_path):
    def kill(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(samples, SMALL, tmp_path / "run", kill)
    stages = []
    train(samples, SMALL, tmp_path / "run", lambda stage, step, *_: stages.append((stage, step)))
    assert stages[0] == ("SOAP", 1)


def test_the_loss_of_the_shipped_functional_is_small(samples):
    functional = open_functional("gnnpot-kedf-1")
    chosen = [batch for batch in make_batches(samples) if "GaAs-scale-1" in batch.names]
    parts = batch_loss(functional, chosen[0], LossWeights())[1]
    assert parts["potential"].max().sqrt() < 0.25 and parts["energy"].max().sqrt() < 5e-3


def test_files_of_functionals(tmp_path, samples):
    functional = open_functional("gnnpot-kedf-1")
    save(functional, tmp_path / "mine", {"note": "copy"})
    again = load(tmp_path / "mine")
    batch = make_batches(samples)[0]
    assert torch.equal(
        kinetic(functional, batch.density, batch.space)[0], kinetic(again, batch.density, batch.space)[0]
    )
    weights = tmp_path / "mine/functional.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    with pytest.raises(CheckpointError, match="functional.safetensors: is damaged"):
        load(tmp_path / "mine")
    (tmp_path / "mine/card.json").write_text("{")
    with pytest.raises(CheckpointError, match="card.json: is damaged"):
        load(tmp_path / "mine")
    with pytest.raises(ConfigError, match="lky: is no functional and no folder of one; did you mean 'lkt'"):
        open_functional("lky")


def test_a_process_that_dies_gives_a_sentence(tmp_path, monkeypatch):
    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments):
            future = Future()
            future.set_exception(BrokenProcessPool("terminated abruptly"))
            return future

    monkeypatch.setattr("gnnpot.functional.data.ProcessPoolExecutor", Pool)
    tasks = [Task(name, "GaAs", crystals.zincblende("GaAs"), SETTINGS) for name in "ab"]
    with pytest.raises(SimulationError, match="a process has died.*finished samples are kept"):
        generate(tasks, tmp_path / "samples", processes=2)
