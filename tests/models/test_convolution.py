"""The equivariant convolution by bonds, which training uses on the processor, is that of the reference."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch import Tensor
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.data.references import ElementReferences
from gnnpot.graphs import Graph, build_graph
from gnnpot.models import NequixConfig, SevenNetConfig, build_model
from gnnpot.models.equivariant import EquivariantModel
from gnnpot.models.fast.convolution import BondConvolutions, bonds
from gnnpot.ops.spherical_harmonics import spherical_harmonics
from gnnpot.potential import Potential

ELEMENTS = ("H", "O", "Na", "Cl", "Cu")
SIZES = {
    "whole SIMD vectors": {"channels": (32, 16), "layers": 3},
    "padded": {"channels": (20, 3, 5), "layers": 3, "bias": True},
    "l = 3": {"channels": (16, 4, 3, 2), "layers": 3, "cutoff_function": "polynomial"},
    "products": {"channels": (20, 3, 5), "layers": 2, "products": True},
    "scalars": {"channels": (5,), "layers": 2, "radial_hidden": ()},
    "nequix": {"channels": (16, 4, 3, 2), "layers": 3, "cutoff": 5.0},
}


def make(name: str = "", **sizes) -> EquivariantModel:
    torch.manual_seed(0)
    config = NequixConfig if name == "nequix" else SevenNetConfig
    model = build_model(config(elements=ELEMENTS, **({"radial_hidden": (8,)} | SIZES.get(name, {}) | sizes))).double()
    for k, layer in enumerate(model.layers):
        layer.convolution.denominator.fill_(4.0 + k)
    return model


def batch(reach: float = 5.7) -> Graph:
    """Graphs that reach further than the model: a crystal, a molecule, a cell with many images, an atom alone."""
    salt = bulk("NaCl", "rocksalt", a=5.2, cubic=True)
    salt.rattle(0.15, seed=0)
    small = bulk("Cu")
    small.set_cell(small.cell.array @ (np.eye(3) + 0.03 * np.random.default_rng(0).standard_normal((3, 3))), True)
    structures = salt, molecule("H2O", vacuum=5.0), small, Atoms("O")
    return Batch.from_data_list([build_graph(Frame.from_atoms(atoms), reach) for atoms in structures])


def trained(model: EquivariantModel, graph: Graph) -> list[Tensor]:
    """Energies, forces and stress, and the derivatives of a loss on them with respect to all parameters."""
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, 0.0)})
    prediction = Potential(model, references)(graph, training=True)
    values = [prediction.energies, prediction.forces, prediction.stress.nan_to_num()]
    loss = sum((k + 1) * v.square().sum() + v.sum() for k, v in enumerate(values))
    return [*(v.detach() for v in values), *torch.autograd.grad(loss, list(model.parameters()))]


def close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=0, atol=tolerance * (1e-3 + float(b.abs().max())))


@pytest.mark.parametrize("name", SIZES)
def test_trains_as_the_reference_form(name, monkeypatch):
    model, graph = make(**SIZES[name]), batch()
    found = trained(model, graph)
    single = trained(make(**SIZES[name]).float(), graph)
    monkeypatch.setattr(EquivariantModel, "forward", lambda self, graph: self._atoms(graph, self))
    expected = trained(model, graph)
    close(found, expected, 1e-11)
    close(single, expected, 3e-4)


@pytest.mark.parametrize("name", SIZES)
def test_two_threads_train_as_one(name, monkeypatch):
    model, graph = make(**SIZES[name]), batch()
    single = trained(model, graph)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    close(trained(model, graph), single, 1e-12)


@pytest.mark.parametrize("channels", [(2, 1), (2, 2, 1), (2, 1, 1, 1)])
def test_derivatives_are_numeric_derivatives(channels):
    """With respect to features, vectors and parameters; one bond joins an atom with itself, one atom has none."""
    model = make(channels=channels, layers=3, radial_hidden=())
    layer = model.layers[1].convolution
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(3, 2 * l + 1, c, generator=generator, dtype=torch.float64).requires_grad_()
        for l, c in enumerate(channels)
    ]
    vectors = torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    graph = Graph(edge_index=torch.tensor([[0, 0, 1], [1, 0, 0]]))
    parameters = list(layer.radial_network.parameters())

    def messages(vectors: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        harmonics = spherical_harmonics(vectors, len(channels) - 1)
        _, convolve, _ = BondConvolutions(model).convolutions(graph, vectors.norm(dim=1), harmonics)
        return tuple(convolve(list(rest[: len(channels)])))

    inputs = (vectors, *features, *parameters)
    assert torch.autograd.gradcheck(messages, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(messages, inputs, fast_mode=True)


def test_each_bond_is_there_once():
    graph = batch()
    half = bonds(graph, 5.0)
    lengths = graph.edge_vectors.norm(dim=1)
    assert 2 * len(half.edge_vectors) == int((lengths < 5.0).sum())
    assert float(half.edge_vectors.norm(dim=1).max()) < 5.0
    graph.edge_index, graph.edge_shifts = graph.edge_index[:, 1:], graph.edge_shifts[1:]
    with pytest.raises(ValueError, match="reverse"):
        bonds(graph, 5.0)
