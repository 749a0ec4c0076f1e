"""The HDNNP's compiled backend agrees with the reference implementation that PyTorch differentiates."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.errors import UnknownElementError
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.base import EnergyModel
from gnnpot.models.fast.hdnnp import FastHDNNP
from gnnpot.models.fast.hdnnp_network import ACTIVATIONS
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.symmetry_functions import (
    CUTOFF_FUNCTIONS,
    BehlerNarrow,
    BehlerRadial,
    BehlerWide,
    WeightedAngular,
    WeightedRadial,
)
from gnnpot.models.symmetry_sets import BehlerSet, ChebyshevSet, WeightedSet

ELEMENTS = ("H", "O", "Si", "Cu")
#: few functions for few pairs, of many cutoffs, ζ that are not whole, shifts, inner cutoffs
UNEVEN = (
    *(BehlerRadial(centre=e, neighbor="O", eta=0.5, shift=1.5, cutoff=4.5, inner_cutoff=0.3) for e in ELEMENTS),
    BehlerRadial(centre="Si", neighbor="Si", eta=0.1, shift=2.0, cutoff=5.5),
    BehlerRadial(centre="Si", neighbor="Si", eta=0.1, cutoff=5.5),
    BehlerNarrow(centre="Si", neighbors=("Si", "Si"), eta=0.02, shift=0.5, zeta=2.5, lambda_=-1.0, cutoff=4.0),
    BehlerNarrow(centre="Si", neighbors=("Si", "Si"), eta=0.3, zeta=16.0, lambda_=1.0, cutoff=4.0),
    BehlerNarrow(centre="O", neighbors=("H", "H"), eta=0.02, zeta=1.0, lambda_=-1.0, cutoff=4.0),
    BehlerWide(centre="O", neighbors=("Si", "H"), eta=0.02, zeta=4.0, lambda_=0.5, cutoff=3.5),
    BehlerWide(centre="Cu", neighbors=("Cu", "Cu"), eta=0.02, zeta=3.0, lambda_=1.0, cutoff=4.5),
)
CUTOFFS = tuple(
    f
    for kind in CUTOFF_FUNCTIONS
    for f in (
        WeightedRadial(eta=0.1, cutoff=4.0, cutoff_function=kind),
        WeightedAngular(eta=0.05, zeta=2.0, lambda_=1.0, cutoff=3.5, cutoff_function=kind),
    )
)
CONFIGS = {
    "weighted": {"symmetry_set": WeightedSet(radial_cutoff=5.0, angular_cutoff=4.0, radial=5)},
    "chebyshev": {"symmetry_set": ChebyshevSet(radial_cutoff=5.0, angular_cutoff=4.0)},
    "behler": {"symmetry_set": BehlerSet(radial_cutoff=5.0, angular_cutoff=4.0, radial=3, zeta=(1.0, 3.0))},
    # more than sixteen radial functions of a class
    "many": {"symmetry_set": BehlerSet(radial_cutoff=5.0, angular_cutoff=4.0, radial=20, zeta=(1.0,))},
    "wide": {"symmetry_set": BehlerSet(radial_cutoff=5.0, angular_cutoff=4.0, radial=3, wide=True)},
    "uneven": {"symmetry_functions": UNEVEN, "hidden": (17, 5, 3)},
    "cutoffs": {"symmetry_functions": CUTOFFS},
}


def structures() -> dict[str, Atoms]:
    crystal = bulk("Si", cubic=True).repeat((2, 1, 1))
    crystal.rattle(0.1, seed=1)
    crystal.symbols[::3] = "O"
    dense = bulk("Cu")
    dense.set_cell(dense.cell.array @ (0.8 * np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(3, 3))), True)
    straight = Atoms("SiOSiOSi", [[1.9 * k, 0, 0] for k in range(5)])
    return {
        "crystal": crystal, "molecule": molecule("H2O", vacuum=4.0), "dense": dense, "straight": straight,
        "atom": Atoms("O"),
    }  # fmt: skip


def make(name: str, **options) -> HDNNP:
    torch.manual_seed(0)
    config = {"elements": ELEMENTS, "hidden": (20, 9), **CONFIGS[name], **options}
    model = HDNNP(HDNNPConfig(**config)).double()
    model.fit_statistics([graph_of(structures()[name], model) for name in ("crystal", "molecule", "dense")])
    return model


def graph_of(atoms: Atoms, model: HDNNP) -> Graph:
    """A graph that reaches further than the model."""
    return build_graph(Frame.from_atoms(atoms), model.cutoff + 0.7)


def compare(model: HDNNP, graph: Graph, tolerance: float) -> None:
    output, gradient = model.energies_and_gradient(graph)
    expected_output, expected = EnergyModel.energies_and_gradient(model, graph)
    assert gradient.dtype == graph.edge_vectors.dtype
    torch.testing.assert_close(output.energies, expected_output.energies.double(), rtol=tolerance, atol=tolerance)
    size = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(gradient, expected, rtol=0, atol=tolerance * max(size, 1e-3))


@pytest.mark.parametrize("structure", structures())
@pytest.mark.parametrize("name", CONFIGS)
def test_agrees_with_the_reference(name, structure):
    model = make(name)
    graph = graph_of(structures()[structure], model)
    # the angle of a straight triplet is known to 1e-9 only
    compare(model, graph, 1e-8 if name == "chebyshev" else 1e-11)
    graph.edge_vectors = graph.edge_vectors.float()
    compare(model.float(), graph, 1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    model = make("uneven", activation=activation)
    graph = graph_of(structures()["crystal"], model)
    compare(model, graph, 1e-11)
    graph.edge_vectors = graph.edge_vectors.float()
    compare(model.float(), graph, 1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_precision_is_that_of_the_model_but_for_polynomials_of_angles(name):
    model = make(name).float()
    expected = torch.float64 if name == "chebyshev" else None
    assert model.fast_dtype == expected
    graph = graph_of(structures()["crystal"], model)
    graph.edge_vectors = graph.edge_vectors.to(expected or torch.float32)
    model.energies_and_gradient(graph)
    assert FastHDNNP(model).dtype == (np.float64 if expected else np.float32)


def test_distances_that_are_rounded_to_the_cutoff():
    for kind in CUTOFF_FUNCTIONS:
        cutoff = 4.5
        functions = (
            WeightedRadial(eta=0.1, cutoff=cutoff, cutoff_function=kind),
            WeightedAngular(eta=0.05, zeta=2.0, lambda_=1.0, cutoff=cutoff, cutoff_function=kind),
        )
        model = HDNNP(HDNNPConfig(elements=ELEMENTS, symmetry_functions=functions, hidden=(5,)))
        rng = np.random.default_rng(0)
        directions = rng.normal(size=(400, 3))
        vectors = cutoff * directions / np.linalg.norm(directions, axis=1)[:, None] * (1 - 1e-7 * rng.random((400, 1)))
        atoms = Atoms("Si401", np.concatenate([np.zeros((1, 3)), vectors]))
        frame = Frame.from_atoms(Atoms("Si2", [[0, 0, 0], [0, 0, 2]]))
        graph = build_graph(frame, cutoff)
        graph = graph.clone_with_edge_vectors(torch.as_tensor(atoms.positions[1:]).float())
        graph.edge_index = torch.stack([torch.zeros(400, dtype=torch.int64), torch.ones(400, dtype=torch.int64)])
        output, gradient = model.energies_and_gradient(graph)
        assert torch.isfinite(output.energies).all() and torch.isfinite(gradient).all(), kind


@pytest.mark.parametrize("name", ["behler", "weighted", "many"])
def test_training_structures_are_not_out_of_range_in_single_precision(name):
    model = make(name).float()
    for structure in ("crystal", "molecule", "dense"):
        graph = graph_of(structures()[structure], model)
        graph.edge_vectors = graph.edge_vectors.float()
        output, _ = model.energies_and_gradient(graph)
        assert not output.extrapolation_count.any()


def test_batches_threads_and_copies_change_nothing(monkeypatch):
    model = make("behler")
    batch = Batch.from_data_list([graph_of(atoms, model) for atoms in structures().values()])
    whole, gradient = model.energies_and_gradient(batch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    copied, copied_gradient = copy.deepcopy(model).energies_and_gradient(batch)
    assert torch.equal(whole.energies, copied.energies)
    assert torch.equal(gradient, copied_gradient)
    compare(model, batch, 1e-11)


def test_follows_parameters_and_scaling():
    model = make("weighted")
    graph = graph_of(structures()["crystal"], model)
    model.energies_and_gradient(graph)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    compare(model, graph, 1e-11)
    model.fit_statistics([graph])
    compare(model, graph, 1e-11)


def test_an_unknown_element_is_refused():
    """Also in a graph that was built without the potential."""
    model = make("weighted")
    graph = build_graph(Frame.from_atoms(bulk("Au")), model.cutoff)
    with pytest.raises(UnknownElementError, match="has not seen Au"):
        model.energies_and_gradient(graph)


def test_backend_reference_is_the_reference():
    model = make("weighted")
    graph = graph_of(structures()["crystal"], model)
    model.backend = "reference"
    compare(model, graph, 0.0)


@pytest.mark.parametrize("name", ["behler", "uneven"])
def test_counts_what_is_out_of_range(name):
    model = make(name)
    outside = {}
    for structure in ("crystal", "straight", "atom"):
        graph = graph_of(structures()[structure], model)
        output, _ = model.energies_and_gradient(graph)
        assert torch.equal(output.extrapolation_count, model.extrapolation(graph))
        outside[structure] = int(output.extrapolation_count.sum())
        model.backend = "reference"
        assert torch.equal(model.energies_and_gradient(graph)[0].extrapolation_count, output.extrapolation_count)
        model.backend = "fast"
    assert outside["crystal"] == 0 < outside["straight"]
