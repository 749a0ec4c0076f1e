"""Nuclear repulsion: the formula's value, its derivatives, and how it ends."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import covalent_radii

from gnnpot.data.frame import Frame
from gnnpot.graphs import build_graph
from gnnpot.models.zbl import ZBL, ZBLConfig

ELEMENTS = ("H", "O", "Si", "W")


@pytest.fixture
def model() -> ZBL:
    return ZBL(ZBLConfig(elements=ELEMENTS))


def _energy(model: ZBL, symbols: str, distance: float) -> float:
    frame = Frame.from_atoms(Atoms(symbols, [[0, 0, 0], [0, 0, distance]]))
    return float(model(build_graph(frame, 6.0)).energies.sum())


@pytest.mark.parametrize(("symbols", "z"), [("Si2", (14, 14)), ("WO", (74, 8)), ("H2", (1, 1)), ("OSi", (8, 14))])
@pytest.mark.parametrize("distance", [0.1, 0.2, 0.3])
def test_value(model, symbols, z, distance):
    """Against the formula with the constants as first published (four digits, screening length from Bohr's radius)."""
    x = distance * (z[0] ** 0.23 + z[1] ** 0.23) / (0.8854 * 0.529177)
    phi = sum(c * math.exp(-b * x) for c, b in ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016)))
    bare = 14.399645 * z[0] * z[1] / distance * phi
    reach = covalent_radii[z[0]] + covalent_radii[z[1]]
    u = distance / reach
    envelope = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8
    assert _energy(model, symbols, distance) == pytest.approx(bare * envelope, rel=2e-3)


def test_two_silicon_nuclei_an_angstrom_apart():
    """Three of the four screening terms, the first being 1e-11 of the whole; a steep end leaves the value alone."""
    x = 2 * 14**0.23 / 0.46850
    phi = 0.50986 * math.exp(-0.94229 * x) + 0.28022 * math.exp(-0.4029 * x) + 0.02817 * math.exp(-0.20162 * x)
    wide = ZBL(ZBLConfig(elements=("Si",), power=60))
    assert _energy(wide, "Si2", 1.0) == pytest.approx(14.399645 * 196 * phi, rel=1e-5)


def test_half_to_each_atom(model):
    energies = model(build_graph(Frame.from_atoms(Atoms("WO", [[0, 0, 0], [0, 0, 1.0]])), 6.0)).energies
    assert energies[0] == pytest.approx(float(energies[1]))


def test_derivatives_of_first_and_second_order(model):
    atoms = Atoms("WOSiH", [[0, 0, 0], [1.1, 0.1, 0], [0.2, 1.0, 0.3], [0.5, 0.4, 0.9]])
    graph = build_graph(Frame.from_atoms(atoms), 6.0)

    def energies(vectors):
        return model(graph.clone_with_edge_vectors(vectors)).energies

    vectors = graph.edge_vectors.clone().requires_grad_()
    assert torch.autograd.gradcheck(energies, vectors)
    assert torch.autograd.gradgradcheck(energies, vectors)


def test_smooth_at_its_end(model):
    reach = 2 * covalent_radii[14]
    r = reach + np.array([-1e-3, 0.0, 1e-3])
    values = [_energy(model, "Si2", x) for x in r]
    assert 0 < values[0] < 1e-6
    assert values[1:] == [0.0, 0.0]
    assert model.cutoff == pytest.approx(2 * covalent_radii[74])


def test_cutoff_is_the_most_it_reaches():
    short = ZBL(ZBLConfig(elements=("W",), cutoff=2.0))
    assert short.cutoff == 2.0
    assert _energy(short, "W2", 1.99) > 0
    assert _energy(short, "W2", 2.0) == 0


def test_single_precision_and_atoms_alone(model):
    graph = build_graph(Frame.from_atoms(Atoms("WO", [[0, 0, 0], [0, 0, 1.0]])), 6.0)
    single = model(graph.clone_with_edge_vectors(graph.edge_vectors.float())).energies
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), model(graph).energies, rtol=1e-5, atol=1e-5)
    alone = build_graph(Frame.from_atoms(Atoms("W")), 6.0)
    assert model(alone).energies.tolist() == [0.0]


def test_configuration():
    with pytest.raises(ValueError, match="cutoff"):
        ZBLConfig(elements=("W",), cutoff=0)
    with pytest.raises(ValueError, match="power"):
        ZBLConfig(elements=("W",), power=2)
