"""Training backends agree with PyTorch's derivative of the derivative of the reference implementations."""

import copy
from functools import partial

import pytest
import torch
from torch.nn.utils import parametrize
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.graphs import Graph, build_graph
from gnnpot.models import build_model
from gnnpot.models.base import EnergyModel
from tests.models.test_fast import CONFIGS as FAST_CONFIGS
from tests.models.test_fast import structures

CONFIGS = {name: config for name, config in FAST_CONFIGS.items() if name.startswith(("m3gnet", "chgnet"))}


def batch_for(model: EnergyModel, *names: str, beyond: float = 0.0) -> Graph:
    chosen = [structures()[name] for name in names or structures()]
    cutoffs = model.cutoff + beyond, model.three_body_cutoff
    return Batch.from_data_list([build_graph(Frame.from_atoms(s), *cutoffs) for s in chosen])


def gradients(model: EnergyModel, graph: Graph, predict=None) -> list[torch.Tensor]:
    """Values, and the derivative of a loss of energies, magnetic moments and edge gradients, seeded."""
    generator = torch.Generator().manual_seed(1)
    predict = predict or model.energies_and_gradient
    output, gradient = predict(graph, create_graph=True)
    loss = torch.zeros((), dtype=gradient.dtype)
    for x in (output.energies, gradient, output.magmoms):
        if x is not None:
            loss = loss + (x * torch.randn(x.shape, generator=generator, dtype=torch.float64)).sin().sum()
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    zeros = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return [output.energies.detach(), gradient.detach(), *zeros]


def compare(model: EnergyModel, graph: Graph, tolerance: float) -> None:
    names = ["energies", "gradient", *(n for n, p in model.named_parameters() if p.requires_grad)]
    found = gradients(model, graph)
    expected = gradients(model, graph, partial(EnergyModel.energies_and_gradient, model))
    for name, x, y in zip(names, found, expected, strict=True):
        assert torch.allclose(x, y, rtol=0, atol=tolerance * max(1e-2, float(y.abs().max()))), name


@pytest.mark.parametrize("name", CONFIGS)
def test_agrees_with_the_reference(name):
    torch.manual_seed(0)
    model = build_model(CONFIGS[name]).double()
    graph = batch_for(model, beyond=0.7)
    compare(model, graph, 1e-8)
    graph.edge_vectors = graph.edge_vectors.float()
    compare(model.float(), graph, 2e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_threads_and_copies_change_nothing(name, monkeypatch):
    torch.manual_seed(0)
    model = build_model(CONFIGS[name]).double()
    graph = batch_for(model)
    expected = gradients(model, graph)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    copied = copy.deepcopy(model)
    for x, y in zip(gradients(copied, graph), expected, strict=True):
        assert torch.allclose(x, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CONFIGS)
def test_follows_the_parameters(name):
    torch.manual_seed(0)
    model = build_model(CONFIGS[name]).double()
    graph = batch_for(model, "crystal")
    gradients(model, graph)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    compare(model, graph, 1e-8)


@pytest.mark.parametrize("name", CONFIGS)
def test_low_rank_changes_and_fixed_parameters(name):
    """What fine-tuning strategies do: weights made of others, and parameters that are not trained."""
    pytest.importorskip("pyarrow", reason="needs gnnpot[data]")
    from gnnpot.workflows.finetune.strategies import LowRank

    torch.manual_seed(0)
    model = build_model(CONFIGS[name]).double()
    model.requires_grad_(False)
    for module in [m for m in model.modules() if isinstance(m, torch.nn.Linear)]:
        generator = torch.Generator().manual_seed(0)
        change = LowRank(module.weight.detach(), 2, 1.0, generator).double()
        with torch.no_grad():
            for parameter in change.parameters():
                parameter.normal_(std=0.1, generator=generator)
        parametrize.register_parametrization(module, "weight", change)
    compare(model, batch_for(model, "crystal", "molecule"), 1e-8)
