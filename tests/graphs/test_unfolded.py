"""Images written out as atoms: energies and derivatives of the cell's atoms stay what they were."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from gnnpot.data.frame import Frame
from gnnpot.graphs import build_graph
from gnnpot.graphs.unfolded import unfold


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_images_are_where_the_edges_lead(hops):
    atoms = bulk("Si", a=5.4)
    atoms.rattle(0.1, seed=1)
    atoms.positions += 20.0
    graph = build_graph(Frame.from_atoms(atoms, labels=False), 3.0, 2.8, labels=False)
    unfolded = unfold(graph, hops, 2.8)
    cluster, owner = unfolded.graph, unfolded.owner
    np.testing.assert_array_equal(owner[:2], [0, 1])
    np.testing.assert_array_equal(cluster.numbers, graph.numbers[torch.from_numpy(owner)])
    centre, neighbor = cluster.edge_index
    torch.testing.assert_close(cluster.positions[neighbor] - cluster.positions[centre], cluster.edge_vectors)
    cells = (cluster.positions.numpy() - atoms.positions[owner]) @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(cells, cells.round(), atol=1e-10)
    assert len(np.unique(np.column_stack([owner, cells.round()]), axis=0)) == len(owner)
    assert (centre.diff() >= 0).all() and cluster.triplet_index.shape[1] > 0
    # every edge within the cluster is there: its own list of neighbours is this one
    positions = cluster.positions.numpy()
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    assert (distances < 3.0).sum() - len(positions) == cluster.num_edges
    # all atoms but those of the last hop have all of their neighbours
    degrees = np.bincount(centre.numpy(), minlength=len(owner))
    own = np.bincount(graph.edge_index[0].numpy(), minlength=2)
    inner = len(unfold(graph, hops - 1).owner) if hops > 1 else 2
    np.testing.assert_array_equal(degrees[:inner], own[owner[:inner]])


def test_a_molecule_is_its_own_cluster():
    graph = build_graph(Frame.from_atoms(molecule("CH3CH2OH"), labels=False), 4.0, labels=False)
    unfolded = unfold(graph, 4)
    np.testing.assert_array_equal(unfolded.owner, np.arange(9))
    torch.testing.assert_close(unfolded.graph.edge_index, graph.edge_index)
    torch.testing.assert_close(unfolded.graph.edge_vectors, graph.edge_vectors)


def test_atoms_without_neighbours():
    atoms = bulk("Cu", a=20.0)
    graph = build_graph(Frame.from_atoms(atoms, labels=False), 4.0, labels=False)
    assert unfold(graph, 3).graph.num_edges == 0 and len(unfold(graph, 3).owner) == 1
