"""SevenNet with random weights: symmetries, derivatives, continuity, training."""

from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from e3nn import o3
from torch import nn

from gnnpot.data.frame import Frame
from gnnpot.data.references import ElementReferences
from gnnpot.errors import UnknownElementError
from gnnpot.graphs import build_graph
from gnnpot.models import SevenNet, SevenNetConfig
from gnnpot.models.equivariant import ChannelLinear
from gnnpot.ops.gate import gated_features
from gnnpot.ops.spherical_harmonics import spherical_harmonics
from gnnpot.ops.tensor_product import coupling
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
    sizes = {"channels": (8, 4, 4), "layers": 3, "radial_hidden": (8,)} | sizes
    model = SevenNet(SevenNetConfig(elements=ELEMENTS, **sizes)).double()
    for layer in model.layers:
        layer.convolution.denominator.fill_(4.0)
        if layer.scales is not None:
            # fresh ones do nothing
            for factors in layer.scales.factors:
                nn.init.uniform_(factors, 0.5, 1.5)
    for name, parameter in model.named_parameters():
        if "deviations" in name:
            nn.init.normal_(parameter, std=0.3)
    references = ElementReferences.from_mapping({"energies": dict.fromkeys(ELEMENTS, -1.0)})
    return Potential(model, references, energy_scale=2.0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cutoff_function": "polynomial", "bias": True, "channels": (6, 5, 3, 2)},
        {"element_scales": True},
        {"products": True},
        {"element_linear": True, "products": True},
        {"products": True, "channels": (6, 5, 3, 2)},
    ],
)
def test_forces_and_stress_are_numeric_derivatives(options):
    potential, atoms = make(**options), salt()
    prediction = potential(potential.graph(atoms))
    # the curvature of the XPLOR function jumps at `cutoff_on`
    assert_numeric_derivatives(prediction, partial(energy, potential), atoms, rel=3e-5)


@pytest.mark.parametrize(
    "options", [{}, {"element_scales": True}, {"products": True}, {"element_linear": True, "products": True}]
)
def test_rotation_translation_order_and_supercell(options):
    potential, atoms = make(**options), salt()
    base = potential(potential.graph(atoms))
    changed = atoms.copy()
    changed.rotate(37, (1, 2, 3), rotate_cell=True)
    changed.translate((0.3, -2.0, 8.0))
    changed.wrap()
    changed = changed[np.random.default_rng(3).permutation(len(atoms))]
    assert energy(potential, changed) == pytest.approx(float(base.energy), abs=1e-9)
    double = potential(potential.graph(atoms.repeat((2, 1, 1))))
    assert float(double.energy) == pytest.approx(2 * float(base.energy), abs=1e-9)


@pytest.mark.parametrize("sizes", [{"channels": (8,)}, {"layers": 1}])
def test_products_need_features_of_higher_l_between_layers(sizes):
    with pytest.raises(ValueError, match="products"):
        SevenNetConfig(elements=ELEMENTS, products=True, **sizes)


def test_features_turn_with_the_structure():
    """All paths, with harmonics rotated by e3nn's own matrices."""
    potential = make(channels=(4, 3, 2, 2))
    convolution = potential.model.layers[1].convolution
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(2, 2 * l + 1, c, generator=generator, dtype=torch.float64) for l, c in enumerate((4, 3, 2, 2))
    ]
    radial = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    vectors = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    index = torch.tensor([[0, 1], [1, 0]])
    rotation = o3.rand_matrix().double()
    wigner = [o3.Irrep(l, 1).D_from_matrix(rotation) for l in range(4)]
    turned = [d @ x for d, x in zip(wigner, features, strict=True)]
    plain = convolution(spherical_harmonics(vectors, 3), radial, index, features)
    found = convolution(spherical_harmonics(vectors @ rotation.T, 3), radial, index, turned)
    for d, a, b in zip(wigner, plain, found, strict=True):
        assert torch.allclose(d @ a, b, atol=1e-6)


def test_harmonics_are_those_of_e3nn():
    vectors = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for lmax in range(5):
        expected = o3.spherical_harmonics(list(range(lmax + 1)), vectors, normalize=True, normalization="component")
        assert torch.allclose(torch.cat(spherical_harmonics(vectors, lmax), 1), expected, atol=1e-12)


def test_coupling_constants_are_orthogonal():
    for l1, l2, l3 in ((1, 1, 2), (2, 1, 2), (3, 2, 1), (2, 2, 0)):
        c = coupling(l1, l2, l3)
        assert torch.allclose(torch.einsum("ijk,ijm->km", c, c), torch.eye(2 * l3 + 1).double(), atol=1e-6)
        assert c.flatten()[c.flatten().abs() > 1e-10][0] > 0


def test_channel_linear_and_gate_keep_the_directions():
    torch.manual_seed(0)
    linear = ChannelLinear((3, 2), (4, 2), bias=True).double()
    x = [torch.randn(5, 1, 3).double(), torch.randn(5, 3, 2).double()]
    mixed = linear(x)
    assert [m.shape for m in mixed] == [(5, 1, 4), (5, 3, 2)]
    gated = gated_features(mixed, (2, 2))
    ratio = gated[1] / mixed[1]
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio))


def test_a_batch_gives_what_each_structure_gives():
    assert_batches_are_singles(make())


@pytest.mark.parametrize("options", [{}, {"cutoff_function": "polynomial"}])
def test_energy_and_force_are_continuous_where_an_atom_leaves(options):
    potential = make(**options)

    def at(distance):
        atoms = Atoms("OHH", positions=[[0, 0, 0], [0.9, 0.1, 0], [0, distance, 0]])
        prediction = potential(potential.graph(atoms), stress=False)
        return float(prediction.energy), prediction.forces

    (e0, f0), (e1, f1) = at(5 - 1e-6), at(5 + 1e-6)
    assert e0 == pytest.approx(e1, abs=1e-9)
    assert torch.allclose(f0, f1, atol=1e-5)


def test_edges_beyond_the_cutoff_count_for_nothing():
    potential, atoms = make(), salt()
    near, far = (build_graph(Frame.from_atoms(atoms), cutoff) for cutoff in (5.0, 6.0))
    assert float(potential(near).energy) == pytest.approx(float(potential(far).energy), abs=1e-10)


def test_atoms_alone_have_energies_and_no_force():
    potential = make()
    alone = potential(potential.graph(Atoms("O")), stress=False)
    assert torch.isfinite(alone.energy).all()
    assert torch.equal(alone.forces, torch.zeros(1, 3, dtype=torch.float64))
    far = Atoms("OO", positions=[[0, 0, 0], [0, 0, 9.0]])
    assert energy(potential, far) == pytest.approx(2 * float(alone.energy), abs=1e-12)


def test_element_scales_are_of_the_atom_that_receives():
    """Those of an element that is not there change nothing, those of one that is do."""
    potential, atoms = make(element_scales=True), salt()
    before = energy(potential, atoms)
    for species, same in ((ELEMENTS.index("H"), True), (ELEMENTS.index("Cl"), False)):
        with torch.no_grad():
            potential.model.layers[0].scales.factors[0][species] += 0.5
        assert (energy(potential, atoms) == before) is same


def test_matrices_are_those_of_an_atoms_element():
    """Of one element, they are those of all with its deviations added; those of one that is not there do nothing."""
    atoms = bulk("Cl", "fcc", a=4.4, cubic=True)
    atoms.rattle(0.1, seed=0)
    own, plain = make(element_linear=True, products=True), make(products=True)
    with torch.no_grad():
        for name, linear in own.model.named_modules():
            if isinstance(linear, ChannelLinear) and linear.deviations is not None:
                of_all = plain.model.get_submodule(name).weights
                for weights, deviations in zip(of_all, linear.deviations, strict=True):
                    weights += deviations[ELEMENTS.index("Cl")]
    assert energy(own, atoms) == pytest.approx(energy(plain, atoms), abs=1e-12)


@pytest.mark.parametrize("options", [{}, {"element_scales": True}, {"element_linear": True, "products": True}])
def test_training_reaches_every_weight(options):
    potential = make(**options)
    graphs = [potential.graph(salt(k)) for k in range(2)]
    potential.model.fit_statistics(graphs)
    neighbors = sum(g.edge_index.shape[1] for g in graphs) / sum(len(g.numbers) for g in graphs)
    assert float(potential.model.layers[0].convolution.denominator) == pytest.approx(neighbors, rel=1e-6)
    assert_training_reaches_every_weight(potential, graphs)


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", ()), ("layers", 0), ("cutoff_on", 6.0), ("channels", (1, 4)), ("cutoff_function", "xplr")],
)
def test_sizes_are_checked(field, value):
    with pytest.raises(ValueError, match=field):
        SevenNetConfig(elements=("H",), **{field: value})


def test_an_element_has_factors_or_matrices():
    with pytest.raises(ValueError, match="choose one"):
        SevenNetConfig(elements=("H",), element_scales=True, element_linear=True)


def test_an_unknown_element_is_refused_in_a_graph_of_ones_own():
    model = SevenNet(SevenNetConfig(elements=("Si",), channels=(8, 8), layers=2))
    graph = build_graph(Frame.from_atoms(bulk("Au")), model.cutoff, labels=False)
    with pytest.raises(UnknownElementError, match="has not seen Au"):
        model.energies_and_gradient(graph)
