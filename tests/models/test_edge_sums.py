"""Forces and stress in one pass agree with PyTorch's sums."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.fast.edge_sums import forces_and_stress
from gnnpot.potential import forces_from_edges, stress_from_edges


def graph_of(atoms: Atoms) -> Graph:
    return build_graph(Frame.from_atoms(atoms), 5.0)


CRYSTAL = bulk("NaCl", "rocksalt", a=5.6)
CRYSTAL.rattle(0.2, seed=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "structures",
    [[CRYSTAL], [molecule("H2O")], [Atoms("O")], [CRYSTAL, molecule("H2O"), CRYSTAL], [molecule("H2O"), CRYSTAL]],
)
@pytest.mark.parametrize("in_order", [True, False])
def test_agrees(structures, in_order, dtype):
    graphs = [graph_of(atoms) for atoms in structures]
    graph = graphs[0] if len(graphs) == 1 else Batch.from_data_list(graphs)
    if not in_order:
        order = torch.randperm(graph.num_edges, generator=torch.Generator().manual_seed(1))
        graph.edge_index, graph.edge_vectors = graph.edge_index[:, order], graph.edge_vectors[order]
    graph.edge_vectors = graph.edge_vectors.to(dtype)
    gradient = torch.randn(graph.edge_vectors.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    forces, stress = forces_and_stress(gradient, graph)
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    close = {"rtol": tolerance, "atol": 10 * tolerance}
    torch.testing.assert_close(forces, forces_from_edges(gradient, graph), **close)
    expected = stress_from_edges(gradient, graph.edge_vectors, graph)
    torch.testing.assert_close(stress, expected, equal_nan=True, **close)
