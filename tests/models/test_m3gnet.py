"""M3GNet: its three-body sum, its bases, and the published weights."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.special import spherical_jn

from gnnpot.data.frame import Frame
from gnnpot.graphs import build_graph
from gnnpot.models import M3GNet, M3GNetConfig, M3GNetMatglRowsConfig, build_model
from gnnpot.models.basis import SmoothBesselBasis, SphericalBesselBasis, bessel_zeros, spherical_bessel


def test_bessel_functions_are_scipys():
    x = torch.linspace(1e-4, 12, 400, dtype=torch.float64)
    ours = spherical_bessel(x[:, None, None].expand(-1, 5, 1), 5).squeeze(-1)
    for l in range(5):
        np.testing.assert_allclose(ours[:, l], spherical_jn(l, x.numpy()), atol=1e-11)
        assert np.abs(spherical_jn(l, bessel_zeros(5, 4)[l])).max() < 1e-12


@pytest.mark.parametrize("basis", [SphericalBesselBasis(1, 3, 5.0), SmoothBesselBasis(9, 5.0)])
def test_radial_bases_are_orthonormal(basis):
    """∫ h_m h_n r² dr = δ_mn."""
    points, weights = np.polynomial.legendre.leggauss(100)
    r = 2.5 * (points + 1)
    values = basis(torch.tensor(r)).numpy()
    overlap = values.T @ (values * (2.5 * weights * r**2)[:, None])
    np.testing.assert_allclose(overlap, np.eye(len(overlap)), atol=1e-9)


def test_smooth_basis_ends_smoothly():
    r = torch.tensor([5.0 - 1e-5, 5.0 + 1e-5], dtype=torch.float64, requires_grad=True)
    values = SmoothBesselBasis(9, 5.0)(r)
    for column in values.T:
        (slope,) = torch.autograd.grad(column.sum(), r, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), r, retain_graph=True)
        assert column.abs().max() < 1e-10 and slope.abs().max() < 1e-5 and curvature.abs().max() < 0.1


def model_of(kind, **options):
    """The model as in the paper, or as matgl of a version has it; as MatPES's but small."""
    common = {"elements": ("Na", "Cl"), "units": 8, "hidden": 16, "three_body_basis": "smooth", **options}
    config = M3GNetConfig(**common) if kind == "paper" else M3GNetMatglRowsConfig(**common, matgl=kind)
    torch.manual_seed(0)
    return build_model(config).double()


@pytest.mark.parametrize("kind", ["paper", "2.2", "4.0"])
def test_slopes_are_those_of_the_energy(kind):
    """Smooth functions in both places and wider perceptrons, by central differences."""
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    model = model_of(kind, blocks=2)
    graph = build_graph(Frame.from_atoms(atoms), 5.0)
    _, gradient = model.energies_and_gradient(graph)
    step, vectors = 1e-5, graph.edge_vectors
    for edge, axis in ((0, 0), (17, 1), (101, 2)):
        energies = []
        for sign in (1, -1):
            moved = vectors.clone()
            moved[edge, axis] += sign * step
            energies.append(float(model(graph.clone_with_edge_vectors(moved)).energies.sum().detach()))
        assert (energies[0] - energies[1]) / (2 * step) == pytest.approx(float(gradient[edge, axis]), abs=1e-8)


def test_numbers_of_close_edges_are_right_if_all_edges_are_close():
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    graph = build_graph(Frame.from_atoms(atoms), 5.0)

    def energy(kind, three_body_cutoff):
        return float(model_of(kind, three_body_cutoff=three_body_cutoff)(graph).energies.sum().detach())

    assert energy("4.0", 5.0) == pytest.approx(energy("paper", 5.0), abs=1e-13)
    assert abs(energy("4.0", 4.0) - energy("paper", 4.0)) > 1e-10


@pytest.mark.parametrize("three_body_basis", ["spherical_bessel", "smooth"])
def test_edges_leave_without_a_jump(three_body_basis):
    """The slope of the energy goes to zero where an edge leaves the cutoff, also that of triplets."""
    torch.manual_seed(0)
    config = M3GNetConfig(elements=("Na", "Cl"), units=8, hidden=16, three_body_basis=three_body_basis)
    model = M3GNet(config).double()
    for distance in (config.three_body_cutoff, config.cutoff):
        slopes = []
        for x in (distance - 1e-5, distance + 1e-5):
            trimer = Atoms("NaClNa", positions=[[0, 0, 0], [2.5, 0, 0], [0, x, 0]])
            graph = build_graph(Frame.from_atoms(trimer), 6.0)
            slopes.append(model.energies_and_gradient(graph)[1].norm(dim=-1).sum())
        assert float(slopes[0]) == pytest.approx(float(slopes[1]), abs=1e-6)


@pytest.mark.parametrize("max_l", [1, 3, 4])
@pytest.mark.parametrize("basis", ["spherical_bessel", "smooth"])
def test_addition_theorem_is_the_sum_over_triplets(max_l, basis):
    torch.manual_seed(0)
    atoms = bulk("NaCl", "rocksalt", 5.2, cubic=True)
    atoms.rattle(0.2, seed=1)
    model = M3GNet(M3GNetConfig(elements=("Na", "Cl"), units=8, max_l=max_l, three_body_basis=basis)).double()
    graph = build_graph(Frame.from_atoms(atoms), 5.0, 4.0)
    distances = graph.edge_vectors.norm(dim=-1)
    close = model.close_edges(graph, distances)
    position = torch.full((len(distances),), -1)
    position[close.edges] = torch.arange(len(close.edges))
    nodes = torch.randn(len(atoms), 8, dtype=torch.float64)
    edges = torch.randn(len(distances), 8, dtype=torch.float64)
    fast = model.three_body[0](nodes, edges, close)
    printed = model.three_body[0].by_triplets(nodes, edges, close, position[graph.triplet_index])
    torch.testing.assert_close(fast, printed, atol=1e-12, rtol=1e-10)
    assert (fast - edges).abs().max() > 1e-4
