"""The HDNNP as a model: symmetries, batches, derivatives, scaling and its edges."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch_geometric.data import Batch

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.symmetry_functions import BehlerRadial
from gnnpot.models.symmetry_sets import BehlerSet, ChebyshevSet, WeightedSet

ELEMENTS = ("Si", "O")
SETS = {
    "weighted": WeightedSet(radial_cutoff=5.0, angular_cutoff=4.0, radial=4, angular=2, zeta=(1.0, 4.0)),
    "chebyshev": ChebyshevSet(radial_cutoff=5.0, angular_cutoff=4.0, radial_order=4, angular_order=5),
    "behler": BehlerSet(radial_cutoff=5.0, angular_cutoff=4.5, radial=4, angular=2, zeta=(1.0, 3.0)),
}


def make(kind: str = "weighted", **options) -> HDNNP:
    torch.manual_seed(0)
    config = HDNNPConfig(elements=ELEMENTS, symmetry_set=SETS[kind], **{"hidden": (8, 6), **options})
    model = HDNNP(config).double()
    model.fit_statistics([graph_of(crystal(seed)) for seed in range(3)])
    return model


def crystal(seed: int = 0) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.15, seed=seed)
    atoms.set_chemical_symbols(["Si", "O", "Si", "Si", "O", "Si", "Si", "O"])
    return atoms


def graph_of(atoms: Atoms, cutoff: float = 5.0) -> Graph:
    return build_graph(Frame.from_atoms(atoms), cutoff)


def energy_and_forces(model: HDNNP, graph: Graph, create_graph: bool = False):
    vectors = graph.edge_vectors.to(model.weights[0].dtype).clone().requires_grad_()
    energies = model(graph.clone_with_edge_vectors(vectors)).energies
    (g,) = torch.autograd.grad(energies.sum(), vectors, create_graph=create_graph)
    zeros = g.new_zeros(len(graph.numbers), 3)
    return energies, zeros.index_add(0, graph.edge_index[0], g).index_add(0, graph.edge_index[1], -g)


@pytest.mark.parametrize("kind", SETS)
def test_forces_are_the_gradient(kind):
    model, atoms = make(kind), crystal(7)
    _, forces = energy_and_forces(model, graph_of(atoms))
    for atom, axis in ((0, 0), (4, 2)):
        ends = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[atom, axis] += step
            ends.append(model(graph_of(moved)).energies.sum().item())
        assert -(ends[0] - ends[1]) / 2e-4 == pytest.approx(float(forces[atom, axis]), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("kind", SETS)
def test_invariances(kind):
    model, atoms = make(kind), crystal(7)
    energies, forces = energy_and_forces(model, graph_of(atoms))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Atoms(atoms.numbers, atoms.positions @ rotation.T, cell=atoms.cell.array @ rotation.T, pbc=True)
    turned.translate([0.3, 5.0, -2.0])
    other, turned_forces = energy_and_forces(model, graph_of(turned))
    torch.testing.assert_close(other, energies, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(turned_forces, forces @ torch.tensor(rotation).T, rtol=1e-9, atol=1e-9)
    order = np.random.default_rng(1).permutation(len(atoms))
    other, permuted = energy_and_forces(model, graph_of(atoms[order]))
    torch.testing.assert_close(other, energies[order], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(permuted, forces[order], rtol=1e-9, atol=1e-9)


def test_batch_is_single():
    model = make("behler")
    graphs = [graph_of(crystal(5)), graph_of(Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]])), graph_of(crystal(6))]
    energies, forces = energy_and_forces(model, Batch.from_data_list(graphs))
    singles = [energy_and_forces(model, g) for g in graphs]
    torch.testing.assert_close(energies, torch.cat([e for e, _ in singles]), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(forces, torch.cat([f for _, f in singles]), rtol=1e-11, atol=1e-12)


def test_longer_edges_change_nothing():
    model, atoms = make(), crystal(5)
    short, long = (model(graph_of(atoms, cutoff)).energies for cutoff in (5.0, 6.5))
    torch.testing.assert_close(short, long, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", SETS)
def test_isolated_atoms(kind):
    model = make(kind)
    graph = graph_of(Atoms("SiO", [[0, 0, 0], [0, 0, 8.0]]))
    energies, forces = energy_and_forces(model, graph)
    assert torch.isfinite(energies).all()
    assert torch.equal(forces, torch.zeros(2, 3, dtype=torch.float64))


def test_training_gradients_are_those_of_the_reference():
    """A loss on energies and forces: second derivatives through the compiled functions."""
    gradients = []
    for backend in ("fast", "reference"):
        model = make("behler")
        model.backend = backend
        energies, forces = energy_and_forces(model, graph_of(crystal(9)), create_graph=True)
        (energies.sum() ** 2 + (forces - 0.1).square().sum()).backward()
        gradients.append([p.grad for p in model.parameters()])
    for fast, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, reference, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", SETS)
def test_training_with_kept_derivatives_is_training(kind):
    """A batch whose symmetry functions and their derivatives were calculated before gives the same gradients."""
    results = []
    for prepared in (True, False):
        model = make(kind)
        graphs = [graph_of(crystal(seed)) for seed in (7, 8)] + [graph_of(Atoms("SiO", [[0, 0, 0], [0, 0, 8.0]]))]
        sizes = [(len(g.numbers), len(g.edge_vectors)) for g in graphs]
        if prepared:
            graphs = [model.precompute(g) for g in graphs]
            added = sum(t.nbytes for g in graphs for t in (g.descriptors, g.jacobian))
            assert added == sum(model.precomputed_bytes(*size) for size in sizes)
        output, gradient = model.energies_and_gradient(Batch.from_data_list(graphs), create_graph=True)
        (output.energies.sum() ** 2 + (gradient - 0.1).square().sum()).backward()
        results.append([output.energies, gradient, *(p.grad for p in model.parameters())])
    for kept, anew in zip(*results, strict=True):
        torch.testing.assert_close(kept, anew, rtol=1e-9, atol=1e-11)


def test_single_precision():
    model, graph = make(), graph_of(crystal(9))
    energies, forces = energy_and_forces(model, graph)
    single = energy_and_forces(copy.deepcopy(model).float(), graph)
    assert single[0].dtype == torch.float32
    torch.testing.assert_close(single[0].double(), energies, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single[1].double(), forces, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scaling", ["minmax", "center", "minmax_center", "sigma", "none"])
def test_scaling(scaling):
    model = make(scaling=scaling, scale_min=-1.0, scale_max=2.0)
    graphs = [graph_of(crystal(seed)) for seed in range(3)]
    g = torch.cat([model.descriptors(graph) for graph in graphs])
    species = torch.cat([model.species(graph.numbers) for graph in graphs])
    x = g * model.factor[species] + model.constant[species]
    for s in range(2):
        rows, plain = x[species == s], g[species == s]
        if scaling == "minmax":
            torch.testing.assert_close(rows.amin(0), torch.full_like(rows[0], -1.0))
            torch.testing.assert_close(rows.amax(0), torch.full_like(rows[0], 2.0))
        elif scaling == "center":
            torch.testing.assert_close(rows, plain - plain.mean(0))
        elif scaling == "none":
            assert torch.equal(rows, plain)
        else:
            torch.testing.assert_close(rows.mean(0), torch.full_like(rows[0], -1.0))
            spread = rows.std(0, correction=0) if scaling == "sigma" else rows.amax(0) - rows.amin(0)
            torch.testing.assert_close(spread, torch.full_like(rows[0], 3.0))


def test_extrapolation():
    model = make()
    assert int(model.extrapolation(graph_of(crystal(0))).sum()) == 0
    squeezed = crystal(0)
    squeezed.set_cell(squeezed.cell * 0.8, scale_atoms=True)
    assert (model.extrapolation(graph_of(squeezed)) > 0).all()


def test_unseen_functions_are_switched_off():
    """Without O in the data, functions of O and the scaling of O's atoms have nothing to go by."""
    model = HDNNP(HDNNPConfig(elements=ELEMENTS, symmetry_set=SETS["behler"])).double()
    atoms = crystal(0)
    atoms.set_chemical_symbols(["Si"] * 8)
    model.fit_statistics([graph_of(atoms)])
    assert (model.factor[0] == 0).sum() > 0
    assert torch.isfinite(model(graph_of(crystal(1))).energies).all()


def test_elements_with_different_functions():
    """Padding has no part in energies, nor in training."""
    functions = SETS["behler"].functions(ELEMENTS)
    more = (*functions, BehlerRadial(centre="O", neighbor="O", eta=0.7, cutoff=5.0))
    model = HDNNP(HDNNPConfig(elements=ELEMENTS, symmetry_functions=more)).double()
    graph = graph_of(crystal(2))
    model.fit_statistics([graph_of(crystal(seed)) for seed in range(3)])
    energies, forces = energy_and_forces(model, graph, create_graph=True)
    (energies.sum() + forces.square().sum()).backward()
    assert torch.equal(model.weights[0].grad[0, -1], torch.zeros(30, dtype=torch.float64))
    assert model.weights[0].grad[1, -1].abs().max() > 0


def test_state_and_configuration_restore_the_model():
    model, graph = make("chebyshev", activation=("softplus", "tanh")), graph_of(crystal(2))
    other = HDNNP(from_mapping(HDNNPConfig, to_mapping(model.config))).double()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(graph).energies, model(graph).energies)
    assert torch.equal(other.extrapolation(graph), model.extrapolation(graph))


def test_energies_begin_small():
    energies = make("behler")(graph_of(crystal(11))).energies
    assert energies.abs().max() < 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": ()}, "hidden"),
        ({"activation": ("tanh",)}, "activation"),
        ({"scale_min": 1.0}, "scale_max"),
    ],
)
def test_wrong_configurations(options, words):
    with pytest.raises(ValueError, match=words):
        HDNNPConfig(elements=ELEMENTS, **options)


def test_backends_have_names():
    with pytest.raises(ValueError, match="neither"):
        make().backend = "quick"
