"""ZBL's compiled backend agrees with PyTorch's derivatives of the reference, and with differences of energies."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.base import EnergyModel
from gnnpot.models.zbl import ZBL, ZBLConfig

#: not in the order of their numbers
ELEMENTS = ("Si", "H", "W", "O")


def structures() -> dict[str, Atoms]:
    dense = bulk("Si", cubic=True)
    dense.set_cell(dense.cell.array * 0.75, scale_atoms=True)
    dense.rattle(0.2, seed=1)
    dense.symbols[::3] = "O"
    dense.symbols[1] = "H"
    return {
        "dense": dense,
        "collision": Atoms("WOSiH", [[0, 0, 0], [0.3, 0.1, 0], [0.2, 1.0, 0.3], [0.5, 0.4, 0.9]]),
        "far": Atoms("WO", [[0, 0, 0], [0, 0, 4.0]]),
        "atom": Atoms("W"),
        "cell of one": bulk("W", a=2.6),
    }


def graph_of(atoms: Atoms) -> Graph:
    return build_graph(Frame.from_atoms(atoms), 6.0)


def compare(model: ZBL, graph: Graph, tolerance: float) -> None:
    for output, gradient in (model.energies_and_gradient(graph), model.energies_and_gradient(graph, create_graph=True)):
        expected_output, expected = EnergyModel.energies_and_gradient(model, graph)
        assert gradient.dtype == graph.edge_vectors.dtype
        size = max(float(expected_output.energies.max()), 1.0)
        torch.testing.assert_close(
            output.energies, expected_output.energies.double(), rtol=tolerance, atol=tolerance * size
        )
        size = max(float(expected.abs().max()), 1.0) if len(expected) else 1.0
        torch.testing.assert_close(gradient, expected, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("structure", structures())
@pytest.mark.parametrize("options", [{}, {"cutoff": 1.5, "power": 3}], ids=["usual", "short"])
def test_agrees_with_the_reference(structure, options):
    model = ZBL(ZBLConfig(elements=ELEMENTS, **options))
    graph = graph_of(structures()[structure])
    compare(model, graph, 1e-13)
    graph.edge_vectors = graph.edge_vectors.float()
    compare(model.float(), graph, 2e-6)


def test_gradient_is_that_of_the_energy():
    model, graph = ZBL(ZBLConfig(elements=ELEMENTS)), graph_of(structures()["collision"])
    _, gradient = model.energies_and_gradient(graph)
    for edge in range(graph.num_edges):
        for axis in range(3):
            energies = []
            for step in (-1e-6, 1e-6):
                vectors = graph.edge_vectors.clone()
                vectors[edge, axis] += step
                output, _ = model.energies_and_gradient(graph.clone_with_edge_vectors(vectors))
                energies.append(float(output.energies.sum()))
            assert np.diff(energies)[0] / 2e-6 == pytest.approx(float(gradient[edge, axis]), rel=1e-6, abs=1e-5)


def test_batches_and_graphs_without_edges():
    model = ZBL(ZBLConfig(elements=ELEMENTS))
    batch = Batch.from_data_list([graph_of(atoms) for atoms in structures().values()])
    compare(model, batch, 1e-13)
    output, gradient = model.energies_and_gradient(graph_of(Atoms("O")))
    assert output.energies.tolist() == [0.0]
    assert gradient.shape == (0, 3)


def test_the_caller_keeps_vectors_that_want_a_gradient():
    graph = graph_of(structures()["collision"])
    graph.edge_vectors.requires_grad_()
    output, gradient = ZBL(ZBLConfig(elements=ELEMENTS)).energies_and_gradient(graph)
    assert not output.energies.requires_grad and not gradient.requires_grad
