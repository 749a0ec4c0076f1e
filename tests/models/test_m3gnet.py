"""M3GNet: its three-body sum, its bases, and the published weights."""


import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy.integrate import quad
from scipy.special import spherical_jn

from gnnpot.data.frame import Frame
from gnnpot.graphs import build_graph
from gnnpot.models import M3GNet, M3GNetConfig
from gnnpot.models.basis import SmoothBesselBasis, SphericalBesselBasis, bessel_zeros, spherical_bessel


def test_bessel_functions_are_scipys():
    x = torch.linspace(1e-4, 12, 400, dtype=torch.float64)
    ours = spherical_bessel(x[:, None, None].expand(-1, 5, 1), 5).squeeze(-1)
    for l in range(5):
        np.testing.assert_allclose(ours[:, l], spherical_jn(l, x.numpy()), atol=1e-11)
        assert np.abs(spherical_jn(l, bessel_zeros(5, 4)[l])).max() < 1e-12


@pytest.mark.parametrize("basis, weight", [(SphericalBesselBasis(1, 3, 5.0), 2), (SmoothBesselBasis(4, 5.0), 2)])
def test_radial_bases_are_orthonormal(basis, weight):
    def values(r):
        return basis(torch.tensor([r], dtype=torch.float64))[0].numpy()

    n = len(values(1.0))
    def overlap(a, b):
        return quad(lambda r: r**weight * values(r)[a] * values(r)[b], 0, 5)[0]

    np.testing.assert_allclose([[overlap(a, b) for b in range(n)] for a in range(n)], np.eye(n), atol=1e-6)


def test_smooth_basis_ends_smoothly():
    r = torch.tensor([5.0 - 1e-5, 5.0 + 1e-5], dtype=torch.float64, requires_grad=True)
    values = SmoothBesselBasis(3, 5.0)(r)
    (slope,) = torch.autograd.grad(values.sum(), r)
    assert values.abs().max() < 1e-12 and slope.abs().max() < 1e-7


@pytest.mark.parametrize("max_l", [1, 3, 4])
def test_addition_theorem_is_the_sum_over_triplets(max_l):
    torch.manual_seed(0)
    atoms = bulk("NaCl", "rocksalt", 5.2, cubic=True)
    atoms.rattle(0.2, seed=1)
    model = M3GNet(M3GNetConfig(elements=("Na", "Cl"), units=8, max_l=max_l)).double()
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
