"""Neighbours and triplets against a list made by brute force."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.data.neighbor_grid import grid_of, pairs_by_grid
from gnnpot.data.neighbor_search import find_by_tree
from gnnpot.graphs import build_graph, neighbor_list, triplets


def brute_force(atoms: Atoms, cutoff: float) -> list[tuple]:
    """Every pair of every atom with every image in a generous box of cells, by distance."""
    reach = [6 if p else 0 for p in atoms.pbc]
    found = []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        offset = np.array(shift) @ atoms.cell.array
        for i, j in itertools.product(range(len(atoms)), repeat=2):
            if (i, shift) == (j, (0, 0, 0)):
                continue
            if np.linalg.norm(atoms.positions[j] + offset - atoms.positions[i]) <= cutoff:
                found.append((i, j, *shift))
    return sorted(found)


def structures() -> dict[str, Atoms]:
    rng = np.random.default_rng(3)
    triclinic = Atoms("NaClO", scaled_positions=rng.random((3, 3)), cell=[[4, 0, 0], [1.5, 3.7, 0], [-0.8, 1.1, 4.4]])
    triclinic.pbc = True
    left = triclinic.copy()
    left.set_cell(left.cell.array[[1, 0, 2]], scale_atoms=False)
    assert np.linalg.det(left.cell.array) < 0
    slab = fcc111("Al", (1, 1, 3), vacuum=None)
    slab.pbc = [True, True, False]
    outside = bulk("NaCl", "rocksalt", 5.64)
    outside.positions += 17.3
    wire = Atoms("CC", [[0, 0, 0], [1.2, 0.3, 0]], cell=[2.45, 0, 0], pbc=[True, False, False])
    return {
        "one-atom cell": bulk("Cu"),
        "triclinic": triclinic,
        "left-handed": left,
        "slab without a third vector": slab,
        "molecule without a cell": molecule("CH3CH2OH"),
        "atoms outside the cell": outside,
        "wire": wire,
    }


@pytest.mark.parametrize("name", structures())
@pytest.mark.parametrize("cutoff", [2.6, 5.0])
def test_neighbors_are_those_of_brute_force(name, cutoff):
    atoms = structures()[name]
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    edges = sorted(tuple(row) for row in np.column_stack([found.edge_index.T, found.edge_shifts]).tolist())
    assert edges == brute_force(atoms, cutoff)
    vectors = atoms.positions[found.edge_index[1]] + found.edge_shifts @ atoms.cell.array
    vectors = vectors - atoms.positions[found.edge_index[0]]
    np.testing.assert_allclose(found.edge_vectors, vectors, atol=1e-12)
    np.testing.assert_allclose(found.distances, np.linalg.norm(vectors, axis=1), atol=1e-12)
    assert np.all(np.diff(found.edge_index[0]) >= 0)


@pytest.mark.parametrize("shell", [1, 2, 3, 5])
def test_pairs_at_the_cutoff_have_their_reverse(shell):
    atoms = bulk("Cu", cubic=True) * (3, 4, 5)
    atoms.positions += 31.7
    # distances of a shell differ by rounding, and so does which of them are below the cutoff
    cutoff = 3.61 * np.sqrt(shell / 2)
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    edges = set(map(tuple, np.column_stack([found.edge_index.T, found.edge_shifts]).tolist()))
    assert edges == {(j, i, -a, -b, -c) for i, j, a, b, c in edges}


@pytest.mark.parametrize("noise", [1e-18, 5e-324])
def test_molecules_that_are_flat_but_for_rounding(noise):
    atoms = molecule("C6H6")
    atoms.positions[:, 2] = 0.0
    expected = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.0)
    atoms.positions[3, 2] = noise
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.0)
    assert np.array_equal(found.edge_index, expected.edge_index) and len(expected.distances)


def test_threads_change_nothing():
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True) * (3, 3, 3)
    atoms.rattle(0.2, seed=1)
    grid = grid_of(atoms.positions, atoms.cell.array, atoms.pbc, 5.0)
    one, five = (pairs_by_grid(grid, parts) for parts in (1, 5))
    for a, b in zip(one, five, strict=True):
        assert np.array_equal(a, b)


def test_triplets_are_all_pairs_of_edges_at_an_atom():
    atoms = structures()["triclinic"]
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)
    pairs = triplets(found.edge_index[0], found.distances, 3.2)
    close = np.flatnonzero(found.distances <= 3.2)
    expected = [(a, b) for a in close for b in close if a != b and found.edge_index[0, a] == found.edge_index[0, b]]
    assert [tuple(p) for p in pairs.T] == expected


def test_a_batch_keeps_structures_apart():
    frames = [Frame.from_atoms(a) for a in (bulk("Cu"), bulk("NaCl", "rocksalt", 5.6), Atoms("H"))]
    graphs = [build_graph(f, 4.0, 3.0) for f in frames]
    batch = Batch.from_data_list(graphs)
    assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])
    assert torch.equal(batch.edge_index[0][batch.triplet_index[0]], batch.edge_index[0][batch.triplet_index[1]])
    assert batch.triplet_index.shape[1] == sum(g.triplet_index.shape[1] for g in graphs)
    assert torch.isnan(batch.energy).all() and batch.cell.shape == (3, 3, 3)


def test_the_tree_finds_pairs_at_the_cutoff_with_their_reverse():
    """The wrapped positions of the search differ by rounding from those of the final test."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        cell, pbc = np.eye(3) * rng.uniform(5, 9), np.ones(3, dtype=bool)
        positions = (3 * rng.random((6, 3)) - 1) @ cell
        for distance in rng.choice(find_by_tree(positions, cell, pbc, 4.5).distances, 5):
            pairs = find_by_tree(positions, cell, pbc, np.nextafter(distance, np.inf))
            found = {(i, j, *s) for (i, j), s in zip(pairs.edge_index.T, pairs.edge_shifts, strict=True)}
            assert found == {(j, i, -a, -b, -c) for i, j, a, b, c in found}
