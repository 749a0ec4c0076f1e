"""Symmetry functions: formulas against hand-written ones, derivatives, and compiled against the reference."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.errors import ConfigError
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.hdnnp import HDNNPConfig
from gnnpot.models.symmetry import SymmetryDescriptor
from gnnpot.models.symmetry_functions import (
    CUTOFF_FUNCTIONS,
    BehlerNarrow,
    BehlerRadial,
    BehlerWide,
    ChebyshevAngular,
    ChebyshevRadial,
    WeightedAngular,
    WeightedRadial,
)
from gnnpot.models.symmetry_jacobian import edge_gradient_of, plain_edge_gradient
from gnnpot.models.symmetry_sets import BehlerSet, ChebyshevSet, WeightedSet
from tests.child_process import environment

ELEMENTS = ("Si", "O")


def _every_cutoff():
    """Each cutoff function with a pair distance, an inner radius, a shift, and a ζ that is not whole."""
    functions = [BehlerRadial(centre="O", neighbor="Si", eta=0.1, cutoff=5.0)]
    for kind in CUTOFF_FUNCTIONS:
        common = {"cutoff": 4.5, "cutoff_function": kind, "inner_cutoff": 0.3}
        functions.append(BehlerRadial(centre="Si", neighbor="O", eta=0.1, shift=2.0, **common))
        pair = {"centre": "Si", "neighbors": ("O", "Si"), "lambda_": 0.5, "shift": 1.0}
        functions.append(BehlerNarrow(eta=0.05, zeta=3.0, **pair, **common))
        functions.append(BehlerWide(eta=0.05, zeta=2.5, **pair, **common))
    return tuple(functions)


RANGE = {"radial_cutoff": 5.0, "angular_cutoff": 4.0}
FAMILIES = {
    "weighted": WeightedSet(**RANGE, radial=4, angular=2, zeta=(1.0, 4.0)).functions(ELEMENTS),
    "chebyshev": ChebyshevSet(**RANGE, radial_order=4, angular_order=5).functions(ELEMENTS),
    "narrow": BehlerSet(**RANGE, radial=4, angular=2, zeta=(1.0, 3.0)).functions(ELEMENTS),
    "wide": BehlerSet(**RANGE, radial=2, angular=1, zeta=(2.0, 16.0), wide=True).functions(ELEMENTS),
    "cutoffs": _every_cutoff(),
}


def graph_of(atoms: Atoms, cutoff: float = 5.0) -> tuple[Graph, torch.Tensor]:
    """Graph and index of each atom's element."""
    graph = build_graph(Frame.from_atoms(atoms), cutoff)
    return graph, torch.tensor([ELEMENTS.index(s) for s in atoms.get_chemical_symbols()])


def crystal(amplitude: float = 0.15) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(amplitude, seed=3)
    atoms.set_chemical_symbols(["Si", "O", "Si", "Si", "O", "Si", "Si", "O"])
    return atoms


def evaluate(descriptor, graph, species, vectors=None):
    vectors = graph.edge_vectors if vectors is None else vectors
    return descriptor(graph.clone_with_edge_vectors(vectors), species)


@pytest.mark.parametrize("family", FAMILIES)
def test_fast_is_reference(family):
    """Values, J^T v, and J u, which is what the second backward pass of training takes."""
    graph, species = graph_of(crystal())
    descriptor = SymmetryDescriptor(FAMILIES[family], ELEMENTS)
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(len(species), descriptor.width, generator=generator, dtype=torch.float64, requires_grad=True)
    u = torch.randn(graph.edge_vectors.shape, generator=generator, dtype=torch.float64)
    results = []
    for backend in ("fast", "reference"):
        descriptor.backend = backend
        vectors = graph.edge_vectors.clone().requires_grad_()
        g = evaluate(descriptor, graph, species, vectors)
        (gradient,) = torch.autograd.grad((g * v).sum(), vectors, create_graph=True)
        (change,) = torch.autograd.grad((gradient * u).sum(), v)
        results.append((g.detach(), gradient.detach(), change))
    for fast, reference in zip(*results, strict=True):
        torch.testing.assert_close(fast, reference, rtol=1e-11, atol=1e-11 * float(reference.abs().max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_derivatives_are_those_of_the_formulas(family):
    """J v and J^T u with J kept in memory, as training takes them."""
    graph, species = graph_of(crystal())
    descriptor = SymmetryDescriptor(FAMILIES[family], ELEMENTS)
    descriptor.backend = "reference"
    generator = torch.Generator().manual_seed(4)
    v = torch.randn(len(species), descriptor.width, generator=generator, dtype=torch.float64, requires_grad=True)
    u = torch.randn(graph.edge_vectors.shape, generator=generator, dtype=torch.float64)
    vectors = graph.edge_vectors.clone().requires_grad_()
    expected = evaluate(descriptor, graph, species, vectors)
    (gradient,) = torch.autograd.grad((expected * v).sum(), vectors, create_graph=True)
    (change,) = torch.autograd.grad((gradient * u).sum(), v)
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        g, jacobian = descriptor.with_jacobian(graph, species, dtype)
        torch.testing.assert_close(g, expected.detach(), rtol=1e-11, atol=1e-11)
        assert jacobian.dtype == dtype
        for form in (edge_gradient_of, plain_edge_gradient):
            rows = v.detach().to(dtype).requires_grad_()
            kept = form(rows, jacobian, graph.edge_index[0])
            (kept_change,) = torch.autograd.grad((kept * u.to(dtype)).sum(), rows)
            for found, wanted in ((kept, gradient), (kept_change, change)):
                wanted = wanted.detach()
                scale = float(wanted.abs().max())
                torch.testing.assert_close(found.detach().double(), wanted, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_numeric_derivatives(family):
    graph, species = graph_of(crystal())
    descriptor = SymmetryDescriptor(FAMILIES[family], ELEMENTS)
    generator = torch.Generator().manual_seed(2)
    u = torch.randn(graph.edge_vectors.shape, generator=generator, dtype=torch.float64)
    v = torch.randn(len(species), descriptor.width, generator=generator, dtype=torch.float64)
    vectors = graph.edge_vectors.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((evaluate(descriptor, graph, species, vectors) * v).sum(), vectors)
    # no edge may cross the cutoff of "hard" on the way
    step = 1e-6
    ends = [(evaluate(descriptor, graph, species, graph.edge_vectors + s * step * u) * v).sum() for s in (1, -1)]
    numeric = float(ends[0] - ends[1]) / (2 * step)
    assert numeric == pytest.approx(float((gradient * u).sum()), rel=1e-7, abs=1e-7)


def test_formulas_of_three_atoms():
    """Each weighted and polynomial function on one bent triplet, from numbers; test_n2p2 does it for Behler's."""
    a, b, angle = 2.0, 2.5, 1.1
    atoms = Atoms("SiOSi", [[0, 0, 0], [a, 0, 0], [b * math.cos(angle), b * math.sin(angle), 0]])
    c = math.sqrt(a * a + b * b - 2 * a * b * math.cos(angle))

    def fc(r, rc=4.0):
        return 0.5 * (math.cos(math.pi * r / rc) + 1)

    functions = (
        WeightedRadial(eta=0.3, shift=1.0, cutoff=4.0),
        WeightedAngular(eta=0.2, shift=0.5, zeta=3.0, lambda_=-1.0, cutoff=4.0),
        ChebyshevRadial(order=3, cutoff=4.0),
        ChebyshevAngular(order=4, cutoff=4.0),
        ChebyshevAngular(order=4, cutoff=4.0, weighted=False),
    )
    gauss = math.exp(-0.2 * sum((r - 0.5) ** 2 for r in (a, b, c)))
    angular = math.cos(4 * math.acos(2 * angle / math.pi - 1)) * fc(a) * fc(b)
    expected = [
        8 * math.exp(-0.3 * (a - 1) ** 2) * fc(a) + 14 * math.exp(-0.3 * (b - 1) ** 2) * fc(b),
        math.sqrt(8 * 14) * 2**-2 * (1 - math.cos(angle)) ** 3 * gauss * fc(a) * fc(b) * fc(c),
        8 * math.cos(3 * math.acos(a / 2 - 1)) * fc(a) + 14 * math.cos(3 * math.acos(b / 2 - 1)) * fc(b),
        math.sqrt(8 * 14) * angular,
        angular,
    ]
    graph, species = graph_of(atoms)
    for backend in ("fast", "reference"):
        descriptor = SymmetryDescriptor(functions, ELEMENTS)
        descriptor.backend = backend
        np.testing.assert_allclose(descriptor(graph, species)[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("backend", ["fast", "reference"])
@pytest.mark.parametrize("family", ["chebyshev", "weighted", "cutoffs"])
def test_straight_triplets(family, backend):
    """On the line, the force across it vanishes, along it it is that of central differences."""
    graph, species = graph_of(Atoms("SiOSiOSi", [[1.9 * k, 0, 0] for k in range(5)]))
    descriptor = SymmetryDescriptor(FAMILIES[family], ELEMENTS)
    descriptor.backend = backend
    vectors = graph.edge_vectors.clone().requires_grad_()
    weights = torch.linspace(-1, 1, 5 * descriptor.width, dtype=torch.float64).reshape(5, -1)
    (gradient,) = torch.autograd.grad((evaluate(descriptor, graph, species, vectors) * weights).sum(), vectors)
    assert torch.isfinite(gradient).all()
    assert gradient[:, 1:].abs().max() < 1e-6
    for edge, axis in ((0, 0), (3, 1), (5, 0)):
        ends = []
        for step in (1e-4, -1e-4):
            moved = graph.edge_vectors.clone()
            moved[edge, axis] += step
            ends.append(float((evaluate(descriptor, graph, species, moved) * weights).sum()))
        # the angle of a straight triplet is known to 1e-9 only
        assert (ends[0] - ends[1]) / 2e-4 == pytest.approx(float(gradient[edge, axis]), rel=1e-4, abs=1e-5)


def test_straight_triplets_of_fcc():
    """A perfect crystal has no forces; a rattled one has those of central differences."""
    functions = ChebyshevSet(radial_cutoff=4.5, angular_cutoff=4.5, radial_order=3, angular_order=6).functions(("Si",))
    descriptor = SymmetryDescriptor(functions, ("Si",))
    weights = torch.linspace(-1, 2, descriptor.width, dtype=torch.float64)
    for amplitude in (0.0, 1e-3):
        atoms = bulk("Si", "fcc", a=4.0, cubic=True)
        atoms.rattle(amplitude, seed=5)

        def energy(positions, atoms=atoms):
            moved = atoms.copy()
            moved.positions = positions
            graph, species = graph_of(moved)
            vectors = graph.edge_vectors.requires_grad_()
            total = (evaluate(descriptor, graph, species, vectors) * weights).sum()
            (g,) = torch.autograd.grad(total, vectors)
            force = torch.zeros(len(atoms), 3, dtype=torch.float64)
            force.index_add_(0, graph.edge_index[0], g).index_add_(0, graph.edge_index[1], -g)
            return float(total.detach()), force.numpy()

        forces = energy(atoms.positions)[1]
        assert np.isfinite(forces).all()
        if amplitude == 0:
            assert np.abs(forces).max() < 1e-6
            continue
        step = np.zeros((len(atoms), 3))
        step[1, 2] = 1e-6
        numeric = -(energy(atoms.positions + step)[0] - energy(atoms.positions - step)[0]) / 2e-6
        assert numeric == pytest.approx(forces[1, 2], rel=1e-5, abs=1e-5)


def test_more_pairs_than_a_batch():
    """Hundreds of neighbours, and pairs that fill many batches."""
    atoms = bulk("Si", "fcc", a=3.2)
    atoms.rattle(0.01, seed=0)
    graph, species = graph_of(atoms, 7.0)
    functions = (
        WeightedRadial(eta=0.1, cutoff=7.0),
        BehlerRadial(centre="Si", neighbor="Si", eta=0.1, cutoff=7.0),
        BehlerWide(centre="Si", neighbors=("Si", "Si"), eta=0.01, zeta=2.0, lambda_=1.0, cutoff=7.0),
        BehlerNarrow(centre="Si", neighbors=("Si", "Si"), eta=0.01, zeta=2.0, lambda_=1.0, cutoff=7.0),
    )
    assert len(graph.edge_vectors) > 150
    descriptor = SymmetryDescriptor(functions, ("Si",))
    fast = descriptor(graph, species)
    descriptor.backend = "reference"
    torch.testing.assert_close(fast, descriptor(graph, species), rtol=1e-11, atol=0)


def test_threads_give_the_same():
    atoms = crystal() * (4, 2, 2)
    graph, species = graph_of(atoms)
    descriptor = SymmetryDescriptor(FAMILIES["weighted"], ELEMENTS)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            vectors = graph.edge_vectors.clone().requires_grad_()
            g = evaluate(descriptor, graph, species, vectors)
            results.append((g.detach(), torch.autograd.grad(g.sum(), vectors)[0]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_hessian_is_right_or_nan():
    graph, species = graph_of(crystal())
    descriptor = SymmetryDescriptor(FAMILIES["weighted"], ELEMENTS)
    seconds = {}
    for backend in ("fast", "reference"):
        descriptor.backend = backend
        vectors = graph.edge_vectors.clone().requires_grad_()
        g = evaluate(descriptor, graph, species, vectors).square().sum()
        (gradient,) = torch.autograd.grad(g, vectors, create_graph=True)
        (seconds[backend],) = torch.autograd.grad(gradient[0, 0], vectors)
    assert seconds["fast"].isnan().all()
    assert seconds["reference"].isfinite().all()
    assert seconds["reference"].abs().max() > 0


def test_atoms_without_neighbours():
    graph, species = graph_of(Atoms("SiO", [[0, 0, 0], [0, 0, 9.0]]))
    for backend in ("fast", "reference"):
        descriptor = SymmetryDescriptor(FAMILIES["narrow"], ELEMENTS)
        descriptor.backend = backend
        assert torch.equal(descriptor(graph, species), torch.zeros(2, descriptor.width, dtype=torch.float64))


def test_smooth_at_the_cutoff():
    functions = tuple(
        WeightedRadial(eta=0.01, cutoff=4.0, cutoff_function=kind) for kind in CUTOFF_FUNCTIONS if kind != "hard"
    )
    descriptor = SymmetryDescriptor(functions, ELEMENTS)
    for distance in (4.0 - 1e-6, 4.0 + 1e-6):
        graph, species = graph_of(Atoms("SiO", [[0, 0, 0], [0, 0, distance]]))
        assert descriptor(graph, species).abs().max() < 1e-9


def test_configuration_reads_back():
    for functions in (FAMILIES["cutoffs"], FAMILIES["chebyshev"], FAMILIES["weighted"]):
        config = HDNNPConfig(elements=ELEMENTS, symmetry_functions=functions, symmetry_set=WeightedSet())
        assert from_mapping(HDNNPConfig, to_mapping(config)) == config


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ({"kind": "weighted_radiol", "eta": 0.1, "cutoff": 5}, "weighted_radial"),
        ({"kind": "weighted_radial", "eta": 0.1, "cutoff": -5}, "cutoff: must lie between"),
        ({"kind": "weighted_radial", "eta": 0.1, "cutoff": 5, "inner_cutoff": 1.0}, "fraction of the cutoff"),
        ({"kind": "weighted_angular", "eta": 0.1, "cutoff": 5, "zeta": 0.5, "lambda_": 1}, "zeta"),
        ({"kind": "weighted_angular", "eta": 0.1, "cutoff": 5, "zeta": 1, "lambda_": 2}, "lambda_"),
        ({"kind": "chebyshev_radial", "order": -1, "cutoff": 5}, "order: must lie between"),
        ({"kind": "chebyshev_radial", "ordre": 1, "cutoff": 5}, "did you mean 'order'"),
    ],
)
def test_configuration_errors(function, words):
    with pytest.raises(ConfigError, match=words):
        from_mapping(HDNNPConfig, {"elements": ["Si"], "symmetry_functions": [function]})


def test_functions_must_fit_the_elements():
    radial = WeightedRadial(eta=0.1, cutoff=5.0)
    with pytest.raises(ValueError, match="'Cu', which is not among the elements"):
        SymmetryDescriptor((BehlerRadial(centre="Si", neighbor="Cu", eta=0.1, cutoff=5.0),), ELEMENTS)
    with pytest.raises(ValueError, match="listed twice"):
        SymmetryDescriptor((radial, radial), ELEMENTS)
    with pytest.raises(ValueError, match="none describes O"):
        SymmetryDescriptor((BehlerRadial(centre="Si", neighbor="O", eta=0.1, cutoff=5.0),), ELEMENTS)


#: prints the bits of G, J^T v and J u, the kernels being compiled in the process or found in NUMBA_CACHE_DIR
BITS = """
import hashlib
import torch
from ase import Atoms
from gnnpot.data import Frame
from gnnpot.graphs import build_graph
from gnnpot.models.symmetry import SymmetryDescriptor, _Kernels
from gnnpot.models.symmetry_functions import WeightedRadial
functions = tuple(WeightedRadial(cutoff=4.5, eta=eta, shift=0.5) for eta in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0))
torch.manual_seed(0)
descriptor = SymmetryDescriptor(functions, ("Cu", "Ni"))
atoms = Atoms("Cu8Ni8", positions=6 * torch.rand(16, 3).numpy(), cell=[6, 6, 6], pbc=True)
graph = build_graph(Frame.from_atoms(atoms), 4.5, labels=False)
kernels = _Kernels(descriptor.groups, graph.edge_index, (graph.numbers == 28).long(), descriptor.width)
vectors = graph.edge_vectors
rows, direction = torch.randn(16, descriptor.width, dtype=torch.float64), torch.randn_like(vectors)
found = [kernels.value(vectors), kernels.vjp(vectors, rows), kernels.jvp(vectors, direction)]
print(*[hashlib.sha256(x.numpy().tobytes()).hexdigest() for x in found])
"""


def test_a_first_run_after_installing_gives_the_same_bits(tmp_path):
    """A kernel is the same code whether compiled in the process or loaded: resumed runs end at the same bits."""
    variables = environment(NUMBA_CACHE_DIR=str(tmp_path))

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-c", BITS], capture_output=True, text=True, check=True, env=variables
        ).stdout

    first = run()
    assert len(first.split()) == 3 and run() == first
