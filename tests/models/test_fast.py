"""Compiled backends agree with the reference implementations that PyTorch differentiates."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.graphs import Graph, build_graph, undirected
from gnnpot.models import CHGNetConfig, M3GNetConfig, M3GNetMatglRowsConfig, NequixConfig, SevenNetConfig, build_model
from gnnpot.models.base import EnergyModel
from gnnpot.models.fast import equivariant
from gnnpot.ops.activations import silu
from gnnpot.ops.radial_table import Table

CONFIGS = {
    "m3gnet": M3GNetConfig(elements=("H", "O", "Si", "Cu"), units=16, radial_basis="spherical_bessel"),
    "m3gnet, smooth": M3GNetConfig(elements=("H", "O", "Si", "Cu"), units=80, max_l=4, max_n=2, blocks=2),
    "m3gnet, MatPES": M3GNetMatglRowsConfig(
        elements=("H", "O", "Si", "Cu"), units=16, hidden=48, blocks=2, three_body_basis="smooth", matgl="2.2"
    ),
    "chgnet": CHGNetConfig(elements=("H", "O", "Si", "Cu"), units=16, radial=9, angular=7, convolutions=3),
    "chgnet, no norm": CHGNetConfig(
        elements=("H", "O", "Si", "Cu"), units=64, radial=5, angular=5, norm=False, message_bias=True, cutoff=5.0
    ),
    # more functions than the columns of a row
    "chgnet, narrow": CHGNetConfig(elements=("H", "O", "Si", "Cu"), units=16, radial=9, angular=35, convolutions=3),
    "sevennet": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(20, 16, 3), layers=3, radial_hidden=(8,), element_scales=True
    ),
    "sevennet, l = 3": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(16, 7, 5, 2), layers=3, radial_hidden=(8,), bias=True,
        cutoff_function="polynomial",
    ),
    "sevennet, l = 4": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(5, 4, 3, 2, 2), layers=3, radial_hidden=(8,)
    ),
    "sevennet, l = 1": SevenNetConfig(elements=("H", "O", "Si", "Cu"), channels=(32, 16), layers=2, radial_hidden=(8,)),
    "sevennet, products": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(20, 16, 3), layers=3, radial_hidden=(8,), element_scales=True,
        products=True,
    ),
    "sevennet, products of several vectors": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(40, 40, 24), layers=2, radial_hidden=(8,), products=True
    ),
    "sevennet, products, l = 3": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(16, 7, 5, 2), layers=2, radial_hidden=(8,), products=True
    ),
    "sevennet, products, l = 1": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(8, 40), layers=2, radial_hidden=(8,), products=True
    ),
    # beyond the triples that have code of their own
    "sevennet, products, l = 4": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(8, 5, 4, 3, 2), layers=2, radial_hidden=(8,), products=True
    ),
    "sevennet, matrices of elements": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(40, 16, 24), layers=2, radial_hidden=(8,), element_linear=True,
        bias=True, products=True,
    ),
    "sevennet, scalars": SevenNetConfig(
        elements=("H", "O", "Si", "Cu"), channels=(4,), layers=2, radial=3, radial_hidden=(), cutoff_on=4.37
    ),
    "nequix": NequixConfig(
        elements=("H", "O", "Si", "Cu"), channels=(20, 16, 3), layers=3, radial_hidden=(8,), cutoff=5.0
    ),
    "nequix, l = 3": NequixConfig(
        elements=("H", "O", "Si", "Cu"), channels=(16, 7, 5, 2), layers=2, radial_hidden=(8, 8), cutoff=4.5
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def fine_tables(monkeypatch):
    """In double precision, the tables of weights leave less than the tolerances below."""
    monkeypatch.setitem(equivariant.INTERVALS, torch.float64, 10_000)


def make(name: str) -> EnergyModel:
    torch.manual_seed(0)
    model = build_model(CONFIGS[name]).double()
    for path, parameter in model.named_parameters():
        if "deviations" in path:
            # fresh ones do nothing
            torch.nn.init.normal_(parameter)
    return model


def structures() -> dict[str, Atoms]:
    crystal = bulk("Si", cubic=True).repeat((2, 1, 1))
    crystal.rattle(0.1, seed=1)
    water = molecule("H2O", vacuum=4.0)
    small = bulk("Cu")
    small.set_cell(small.cell.array @ (np.eye(3) + 0.03 * np.random.default_rng(0).standard_normal((3, 3))), True)
    return {"crystal": crystal, "molecule": water, "many images": small, "atom": Atoms("O")}


@pytest.mark.parametrize("structure", structures())
@pytest.mark.parametrize("name", CONFIGS)
def test_agrees_with_the_reference(name, structure):
    model = make(name)
    # a graph that reaches further than the model
    graph = build_graph(Frame.from_atoms(structures()[structure]), model.cutoff + 0.7, model.three_body_cutoff)
    compare(model, graph, 3e-9)
    graph.edge_vectors = graph.edge_vectors.float()
    compare(model.float(), graph, 2e-5)


def compare(model: EnergyModel, graph, tolerance: float) -> None:
    output, gradient = model.energies_and_gradient(graph)
    reference, expected = EnergyModel.energies_and_gradient(model, graph)
    scale = max(1e-3, float(expected.abs().max())) if expected.numel() else 1.0
    assert torch.allclose(output.energies, reference.energies, rtol=tolerance, atol=tolerance)
    assert torch.allclose(by_bond(gradient, graph), by_bond(expected, graph), rtol=0, atol=2 * tolerance * scale)
    if reference.magmoms is not None:
        assert torch.allclose(output.magmoms, reference.magmoms, rtol=tolerance, atol=tolerance)


def by_bond(gradient: torch.Tensor, graph: Graph) -> torch.Tensor:
    """dE of the vector from one atom of a bond to the other: what its edge and the reverse say together."""
    bond, edge = undirected(graph)
    sign = torch.where(edge[bond] == torch.arange(len(bond)), 1, -1)
    return gradient.new_zeros(len(edge), 3).index_add(0, bond, sign[:, None] * gradient)


@pytest.mark.parametrize("name", CONFIGS)
def test_batches_threads_and_copies_change_nothing(name, monkeypatch):
    model = make(name)
    graphs = [build_graph(Frame.from_atoms(s), model.cutoff, model.three_body_cutoff) for s in structures().values()]
    batch = Batch.from_data_list(graphs)
    whole, gradient = model.energies_and_gradient(batch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    copied, copied_gradient = copy.deepcopy(model).energies_and_gradient(batch)
    assert torch.allclose(whole.energies, copied.energies, rtol=0, atol=1e-12)
    assert torch.allclose(gradient, copied_gradient, rtol=0, atol=1e-12)
    compare(model, batch, 3e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_threads_that_share_a_model_get_their_own_answers(name):
    model, interval = make(name), sys.getswitchinterval()
    graphs = [
        build_graph(Frame.from_atoms(bulk("Si").repeat(n)), model.cutoff, model.three_body_cutoff) for n in (3, 2, 3, 2)
    ]
    for graph in graphs:
        graph.edge_vectors += 0.1 * torch.randn_like(graph.edge_vectors)
    expected = [model.energies_and_gradient(graph)[1] for graph in graphs]

    def ask(k: int) -> list[torch.Tensor]:
        return [model.energies_and_gradient(graphs[k])[1] for _ in range(10)]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(graphs)) as threads:
            found = list(threads.map(ask, range(len(graphs))))
    finally:
        sys.setswitchinterval(interval)
    for answers, gradient in zip(found, expected, strict=True):
        assert all(torch.allclose(answer, gradient, rtol=0, atol=1e-12) for answer in answers)


@pytest.mark.parametrize("name", CONFIGS)
def test_follows_the_parameters(name):
    model = make(name)
    graph = build_graph(Frame.from_atoms(structures()["crystal"]), model.cutoff, model.three_body_cutoff)
    model.energies_and_gradient(graph)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    compare(model, graph, 3e-9)
    model.load_state_dict({k: 0.9 * v for k, v in model.state_dict().items()}, assign=True)
    compare(model, graph, 3e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 1e-15)])
def test_silu_and_its_derivative(dtype, tolerance):
    x = torch.cat([torch.linspace(-800, 800, 40001, dtype=dtype), torch.linspace(-20, 20, 4001, dtype=dtype)])
    results = []
    for function, at in ((silu, x.clone().requires_grad_()), (torch.nn.functional.silu, x.double().requires_grad_())):
        y = function(at)
        results.append((y.detach().double(), torch.autograd.grad(y.sum(), at)[0].double()))
    (value, slope), (expected, expected_slope) = results
    assert torch.allclose(value, expected, rtol=tolerance, atol=tolerance)
    assert torch.allclose(slope, expected_slope, rtol=tolerance, atol=8 * tolerance)


def test_a_table_keeps_the_slope_up_to_a_kink():
    table = Table(lambda r: torch.where(r < 5, 5 - r, 0.0)[:, None], 5.0)
    value, slope = table.with_pullback(torch.tensor([4.9999], dtype=torch.float64))
    assert float(value) == pytest.approx(1e-4, abs=1e-9)
    assert float(slope(torch.ones_like(value))) == pytest.approx(-1, abs=1e-6)


def test_a_table_is_its_functions():
    functions = lambda r: torch.stack([torch.sin(3 * r), torch.exp(-r)], 1)  # noqa: E731
    table = Table(functions, 5.0)
    r = torch.linspace(0.01, 5.0, 777, dtype=torch.float64).requires_grad_()
    values, slope = table.with_pullback(r)
    assert torch.allclose(values, functions(r), rtol=0, atol=1e-11)
    weights = torch.tensor([1.0, -2.0], dtype=torch.float64)
    (expected,) = torch.autograd.grad((functions(r) @ weights).sum(), r)
    assert torch.allclose(slope(weights.expand_as(values)), expected, rtol=0, atol=3e-9)
