"""Strategies move what they should, on every architecture."""

import copy

import pytest
import torch
from ase.build import bulk

from gnnpot.config import from_mapping
from gnnpot.data.references import ElementReferences
from gnnpot.errors import ConfigError
from gnnpot.hub.checkpoint import Card, load_checkpoint, save_checkpoint
from gnnpot.models import CHGNetConfig, HDNNPConfig, M3GNetConfig, NequixConfig, SevenNetConfig, build_model
from gnnpot.models.symmetry_sets import BehlerSet
from gnnpot.potential import Potential
from gnnpot.workflows.finetune.strategies import AllWeights, FrozenBlocks, Head, LoRA

ELEMENTS = ("Cu", "Ni")
MODELS = {
    "m3gnet": M3GNetConfig(elements=ELEMENTS, units=6, blocks=3, cutoff=3.5, three_body_cutoff=3.0),
    "chgnet": CHGNetConfig(elements=ELEMENTS, units=6, radial=5, angular=5, cutoff=3.5),
    "sevennet": SevenNetConfig(elements=ELEMENTS, channels=(8, 4), layers=3, cutoff=3.5, cutoff_on=3.0),
    "nequix": NequixConfig(elements=ELEMENTS, channels=(8, 4), layers=3, cutoff=3.5),
    "hdnnp": HDNNPConfig(elements=ELEMENTS, symmetry_set=BehlerSet(), hidden=(6, 5)),
}


@pytest.fixture(params=MODELS)
def potential(request):
    torch.manual_seed(1)
    references = ElementReferences((28, 29), (-1.0, -2.0))
    return Potential(build_model(MODELS[request.param]), references, energy_scale=2.0).double().eval()


@pytest.fixture(scope="module")
def atoms():
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "Ni"
    atoms.rattle(0.1, seed=3)
    return atoms


def energy_and_forces(potential, atoms):
    prediction = potential(potential.graph(atoms), stress=False)
    return prediction.energy.detach(), prediction.forces.detach()


def step(potential, atoms):
    """One large step of plain gradient descent."""
    prediction = potential(potential.graph(atoms), stress=False, training=True)
    (prediction.energy.sum() + prediction.forces.square().sum()).backward()
    with torch.no_grad():
        for parameter in potential.parameters():
            if parameter.requires_grad and parameter.grad is not None:
                parameter -= 0.05 * torch.sign(parameter.grad)


def test_stages_hold_each_parameter_once(potential):
    stages = potential.model.stages()
    names = [name for stage in stages for name in stage]
    assert sorted(names) == sorted(name for name, _ in potential.model.named_parameters())
    assert len(stages) >= 3
    head = "weights.2" if potential.model.config.architecture == "hdnnp" else "readout"
    assert any(name.startswith(head) for name in stages[-1])


@pytest.mark.parametrize("strategy", [Head(), FrozenBlocks(), FrozenBlocks(blocks=1), AllWeights()], ids=repr)
def test_what_is_frozen_stays_to_the_last_bit(potential, atoms, strategy):
    before = {name: t.clone() for name, t in potential.state_dict().items()}
    stages = potential.model.stages()
    blocks = {"head": len(stages) - 1, "frozen": 1 + (getattr(strategy, "blocks", 1) or (len(stages) - 2) // 2)}
    frozen = {f"model.{name}" for stage in stages[: blocks.get(strategy.kind, 0)] for name in stage}
    strategy.begin(potential)
    step(potential, atoms)
    strategy.end(potential)
    changed = {name for name, t in potential.state_dict().items() if not torch.equal(t, before[name])}
    assert changed and not changed & frozen
    assert all(p.requires_grad for p in potential.parameters())
    if strategy.kind == "all":
        assert any(f"model.{name}" in changed for name in stages[0])


def test_rates_fall_from_the_head_to_the_graph(potential):
    rates = AllWeights(decay=0.5).begin(potential)
    stages = potential.model.stages()
    assert {rates[f"model.{name}"] for name in stages[-1]} == {1.0}
    assert {rates[f"model.{name}"] for name in stages[0]} == {0.5 ** (len(stages) - 1)}
    assert set(rates) == {name for name, _ in potential.named_parameters()}


def test_lora_begins_where_the_model_is_and_ends_as_plain_weights(potential, atoms, tmp_path):
    keys = set(potential.state_dict())
    before = {name: t.clone() for name, t in potential.state_dict().items()}
    start = energy_and_forces(potential, atoms)
    lora = LoRA(rank=2, alpha=4.0)
    assert lora.begin(potential) == {}
    for now, then in zip(energy_and_forces(potential, atoms), start, strict=True):
        assert torch.equal(now, then)
    trained = [name for name, p in potential.named_parameters() if p.requires_grad]
    assert trained and all(name.endswith((".a", ".b")) for name in trained)
    # B is 0, so the first step moves B alone, the second both
    step(potential, atoms)
    step(potential, atoms)
    moved = energy_and_forces(potential, atoms)
    assert (moved[0] - start[0]).abs() > 1e-6
    lora.end(potential)
    assert set(potential.state_dict()) == keys
    for now, then in zip(energy_and_forces(potential, atoms), moved, strict=True):
        torch.testing.assert_close(now, then, rtol=1e-10, atol=1e-10)
    for name, weight in potential.state_dict().items():
        if not torch.equal(weight, before[name]) and weight.ndim == 2:
            assert torch.linalg.matrix_rank(weight - before[name], rtol=1e-8) <= 2, name
    save_checkpoint(tmp_path / "merged", potential, Card())
    loaded = load_checkpoint(tmp_path / "merged")[0]
    assert torch.equal(energy_and_forces(loaded, atoms)[1], energy_and_forces(potential, atoms)[1])


@pytest.mark.parametrize(("option", "fixed"), [("element_scales", "factors"), ("element_linear", "deviations")])
def test_lora_leaves_factors_and_deviations_alone(option, fixed):
    config = SevenNetConfig(elements=ELEMENTS, channels=(8, 8), layers=2, products=True, **{option: True})
    potential = Potential(build_model(config), ElementReferences((28, 29), (-1.0, -2.0)))
    assert any(fixed in name for name, _ in potential.named_parameters())
    LoRA(rank=2).begin(potential)
    trained = [name for name, p in potential.named_parameters() if p.requires_grad]
    assert any("products.linear" in name for name in trained) and not any(fixed in name for name in trained)


def test_lora_is_the_same_each_time(potential):
    other = copy.deepcopy(potential)
    LoRA(rank=2).begin(potential)
    LoRA(rank=2).begin(other)
    for (name, a), (_, b) in zip(potential.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_bad_options_are_told():
    with pytest.raises(ConfigError, match="rank: 0 is below 1"):
        from_mapping(LoRA, {"kind": "lora", "rank": 0})
    with pytest.raises(ConfigError, match="decay: 0"):
        from_mapping(AllWeights, {"decay": 0.0})
    potential = Potential(build_model(MODELS["m3gnet"]), ElementReferences((28, 29), (0.0, 0.0)))
    with pytest.raises(ConfigError, match=r"7 can't be frozen, the model has 3 between"):
        FrozenBlocks(blocks=7).begin(potential)
