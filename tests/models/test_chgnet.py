"""CHGNet with random weights: symmetries, derivatives, continuity, training."""

from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms

from gnnpot.data.references import ElementReferences
from gnnpot.graphs import undirected
from gnnpot.models import CHGNet, CHGNetConfig
from gnnpot.potential import Potential
from tests.models.checks import (
    assert_batches_are_singles,
    assert_numeric_derivatives,
    assert_training_reaches_every_weight,
    energy,
    salt,
)

ELEMENTS = ("H", "O", "Na", "Cl")


def make(seed: int = 0, **sizes) -> Potential:
    torch.manual_seed(seed)
    sizes = {"units": 8, "radial": 7, "angular": 5, "convolutions": 3} | sizes
    model = CHGNet(CHGNetConfig(elements=ELEMENTS, **sizes)).double()
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, -1.0)})
    return Potential(model, references, energy_scale=2.0)


@pytest.mark.parametrize("options", [{}, {"norm": False, "message_bias": True}])
def test_forces_and_stress_are_numeric_derivatives(options):
    potential, atoms = make(**options), salt()
    prediction = potential(potential.graph(atoms))
    assert_numeric_derivatives(prediction, partial(energy, potential), atoms, rel=1e-6)


def test_rotation_translation_order_and_supercell():
    potential, atoms = make(), salt()
    base = potential(potential.graph(atoms))
    changed = atoms.copy()
    changed.rotate(37, (1, 2, 3), rotate_cell=True)
    changed.translate((0.3, -2.0, 8.0))
    changed.wrap()
    order = np.random.default_rng(3).permutation(len(atoms))
    changed = changed[order]
    found = potential(potential.graph(changed))
    assert float(found.energy) == pytest.approx(float(base.energy), abs=1e-9)
    assert torch.allclose(found.magmoms, base.magmoms[torch.as_tensor(order)], atol=1e-10)
    double = potential(potential.graph(atoms.repeat((2, 1, 1))))
    assert float(double.energy) == pytest.approx(2 * float(base.energy), abs=1e-9)


def test_a_batch_gives_what_each_structure_gives():
    assert_batches_are_singles(make())


def test_one_bond_for_both_directions():
    potential = make()
    # a cell so small that an atom is its own neighbour several times
    cell = [[3, 0, 0], [0.4, 3.1, 0], [0, 0.7, 3.3]]
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [1.6, 1.2, 0.9]], cell=cell, pbc=True)
    graph = potential.graph(atoms)
    bond, edge = undirected(graph)
    assert torch.equal(torch.bincount(bond), torch.full((len(edge),), 2))
    assert torch.equal(bond[edge], torch.arange(len(edge)))
    for b in range(len(edge)):
        a, c = graph.edge_vectors[bond == b]
        assert torch.allclose(a, -c, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"norm": False, "message_bias": True}])
@pytest.mark.parametrize("cutoff", [3.0, 6.0])
def test_energy_and_force_are_continuous_where_an_atom_leaves(cutoff, options):
    potential = make(**options)

    def at(distance):
        atoms = Atoms("OHH", positions=[[0, 0, 0], [0.9, 0.1, 0], [0, distance, 0]])
        prediction = potential(potential.graph(atoms), stress=False)
        return float(prediction.energy), prediction.forces

    (e0, f0), (e1, f1) = at(cutoff - 1e-6), at(cutoff + 1e-6)
    assert e0 == pytest.approx(e1, abs=1e-7)
    assert torch.allclose(f0, f1, atol=1e-5)


def test_atoms_apart_without_angles_and_alone():
    potential = make()
    alone = potential(potential.graph(Atoms("O")), stress=False)
    assert torch.isfinite(alone.energy).all()
    assert torch.equal(alone.forces, torch.zeros(1, 3, dtype=torch.float64))
    far = Atoms("OO", positions=[[0, 0, 0], [0, 0, 9.0]])
    assert energy(potential, far) == pytest.approx(2 * float(alone.energy), abs=1e-12)
    pair = potential(potential.graph(Atoms("OO", positions=[[0, 0, 0], [0, 0, 4.0]])), stress=False)
    assert torch.isfinite(pair.forces).all()
    assert float(pair.forces.abs().max()) > 0


def test_atoms_in_line_have_finite_forces():
    potential = make()
    line = Atoms("OHO", positions=[[0, 0, 0], [0, 0, 1.2], [0, 0, 2.4]])
    assert torch.isfinite(potential(potential.graph(line), stress=False).forces).all()


def test_training_reaches_every_weight():
    potential = make()
    graphs = [potential.graph(salt(k)) for k in range(2)]
    assert_training_reaches_every_weight(potential, graphs, lr=3e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("angular", 4),
        ("units", 0),
        ("bond_cutoff", 7.0),
        ("convolutions", 0),
        ("units", 64.5),
        ("cutoff", float("nan")),
    ],
)
def test_sizes_are_checked(field, value):
    with pytest.raises(ValueError, match=field):
        CHGNetConfig(elements=("H",), **{field: value})
