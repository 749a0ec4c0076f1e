"""Nequix with random weights: symmetries, derivatives, smoothness at the cutoff, training."""

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import nn

from gnnpot.data.references import ElementReferences
from gnnpot.hub.checkpoint import Card, load_checkpoint, save_checkpoint
from gnnpot.models import Nequix, NequixConfig
from gnnpot.models.equivariant import AtomsByElement, RMSNorm
from gnnpot.ops.spherical_harmonics import spherical_harmonics
from gnnpot.ops.tensor_product import coupling_paths
from gnnpot.potential import Potential
from tests.models.checks import (
    assert_batches_are_singles,
    assert_numeric_derivatives,
    assert_training_reaches_every_weight,
    energy,
    salt,
)

ELEMENTS = ("H", "O", "Na", "Cl")


@pytest.fixture
def potential() -> Potential:
    torch.manual_seed(0)
    config = NequixConfig(elements=ELEMENTS, channels=(8, 4, 4, 3), layers=3, radial_hidden=(8,), cutoff=5.0)
    model = Nequix(config).double()
    for layer in model.layers:
        layer.convolution.denominator.fill_(4.0)
        for factors in layer.norm.factors:
            nn.init.uniform_(factors, 0.5, 1.5)
    return Potential(model, ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, -1.0)}), 2.0)


@pytest.mark.parametrize("training", [False, True])
def test_forces_and_stress_are_numeric_derivatives(potential, training):
    """Of the compiled backend and of the reference."""
    atoms = salt()
    graph = potential.graph(atoms)
    prediction = potential(graph, training=training)

    def reference(copy: Atoms) -> float:
        moved = potential.graph(copy)
        return float(2.0 * potential.model._atoms(moved, potential.model).energies.sum().detach())

    assert_numeric_derivatives(prediction, reference, atoms, rel=3e-6)


def test_rotation_mirror_order_and_supercell(potential):
    atoms = salt()
    base = energy(potential, atoms)
    changed = atoms.copy()
    changed.rotate(37, (1, 2, 3), rotate_cell=True)
    changed.translate((0.3, -2.0, 8.0))
    changed.wrap()
    changed = changed[np.random.default_rng(3).permutation(len(atoms))]
    assert energy(potential, changed) == pytest.approx(base, abs=1e-9)
    mirror = atoms.copy()
    mirror.set_cell(atoms.cell.array * [1, 1, -1])
    mirror.positions = atoms.positions * [1, 1, -1]
    assert energy(potential, mirror) == pytest.approx(base, abs=1e-9)
    assert energy(potential, atoms.repeat((2, 1, 1))) == pytest.approx(2 * base, abs=1e-9)


def test_features_of_odd_l_change_sign_under_inversion(potential):
    layer, graph = potential.model.layers[1], potential.graph(salt())
    model = potential.model

    def features(vectors: torch.Tensor) -> list[torch.Tensor]:
        turned = graph.clone_with_edge_vectors(vectors)
        harmonics, distances = spherical_harmonics(vectors, 3), vectors.norm(dim=1)
        first, second, _ = model.convolutions(turned, distances, harmonics)
        atoms = AtomsByElement(model.species(graph.numbers), len(model.elements))
        found = model.layers[0]([model.first_features()[atoms.species][:, None, :]], atoms, first)
        return layer(found, atoms, second)

    plain, inverted = features(graph.edge_vectors), features(-graph.edge_vectors)
    for l, (a, b) in enumerate(zip(plain, inverted, strict=True)):
        assert torch.allclose(a, (-1) ** l * b, atol=1e-12) and float(a.abs().max()) > 1e-3


def test_products_keep_the_parity():
    assert coupling_paths(1, 1, 1, parity=True) == [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]


def test_norm_is_that_of_numpy():
    norm = RMSNorm((5, 3, 2)).double()
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((4, 2 * l + 1, c)) for l, c in enumerate((5, 3, 2))]
    gamma = [rng.standard_normal(c) for c in (5, 3, 2)]
    for factors, given in zip(norm.factors, gamma, strict=True):
        factors.data = torch.from_numpy(given)
    q = sum((a**2).sum((1, 2)) / (3 * (2 * l + 1) ** 2) for l, a in enumerate(x))
    found = norm([torch.from_numpy(a) for a in x])
    for a, g, y in zip(x, gamma, found, strict=True):
        np.testing.assert_allclose(y.detach().numpy(), a * g / np.sqrt(q + 1e-12)[:, None, None], rtol=1e-12)


def test_a_batch_gives_what_each_structure_gives(potential):
    assert_batches_are_singles(potential)


def test_energy_and_force_are_continuous_where_an_atom_leaves(potential):
    def at(distance: float) -> tuple[float, float]:
        atoms = Atoms("NaClO", positions=[[0, 0, 0], [2.4, 0, 0], [-distance, 0, 0]])
        found = potential(potential.graph(atoms), stress=False)
        return float(found.energy), float(found.forces[2, 0])

    (inside, force), (outside, none) = at(5.0 - 1e-4), at(5.0 + 1e-4)
    assert inside == pytest.approx(outside, abs=1e-7) and force == pytest.approx(none, abs=1e-5)


def test_training_reaches_every_weight(potential):
    graphs = [potential.graph(salt(k)) for k in range(2)]
    potential.model.fit_statistics(graphs)
    neighbors = sum(g.edge_index.shape[1] for g in graphs) / sum(len(g.numbers) for g in graphs)
    assert float(potential.model.layers[0].convolution.denominator) == pytest.approx(neighbors**0.5, rel=1e-6)
    assert_training_reaches_every_weight(potential, graphs)


def test_saves_and_opens(potential, tmp_path):
    save_checkpoint(tmp_path / "saved", potential, Card(description="a test"))
    opened, _ = load_checkpoint(tmp_path / "saved")
    assert energy(opened.double(), salt()) == pytest.approx(energy(potential, salt()), abs=1e-5)


@pytest.mark.parametrize(("field", "value"), [("channels", ()), ("layers", 0), ("cutoff", 0.0)])
def test_sizes_are_checked(field, value):
    with pytest.raises(ValueError, match=field):
        NequixConfig(elements=("H",), **{field: value})
