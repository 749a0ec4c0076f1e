"""The pairs of a skin list are those of the neighbour list."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from gnnpot.graphs import neighbor_list
from gnnpot.graphs.image_pairs import ImagePairs, image_pairs

CUTOFF = 4.6


def far_apart() -> Atoms:
    """Two molecules so far apart that neighbours are searched in a tree."""
    atoms = molecule("C6H6")
    other = atoms.copy()
    other.positions += 1e5
    return atoms + other


def scattered() -> Atoms:
    """Atoms in many different cells, as after long diffusion."""
    atoms, rng = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 2, 3), np.random.default_rng(0)
    atoms.rattle(0.1, seed=0)
    atoms.positions += rng.integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    return atoms


STRUCTURES = {
    "one atom": bulk("Cu"),
    "alone": Atoms("Cu"),
    "cubic": bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (3, 3, 3),
    "slab": fcc111("Al", (2, 2, 3), vacuum=8.0),
    "molecule": molecule("CH3CH2OH"),
    "skewed": Atoms("Na", cell=[[4, 0, 0], [400, 4, 0], [0, 0, 4]], pbc=True),
    "far apart": far_apart(),
    "scattered": scattered(),
}


def as_rows(pairs: ImagePairs) -> list[tuple[int, ...]]:
    """(i, j, shift) of each pair, in order."""
    centres = np.repeat(np.arange(len(pairs.first) - 1), np.diff(pairs.first))
    return [tuple(row) for row in np.column_stack([centres, pairs.owner[pairs.image], pairs.shift[pairs.image]])]


@pytest.mark.parametrize("name", STRUCTURES)
def test_pairs_are_those_of_the_neighbor_list_in_its_order(name):
    atoms = STRUCTURES[name]
    arguments = atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF
    pairs, found = image_pairs(*arguments), neighbor_list(*arguments)
    assert as_rows(pairs) == [tuple(row) for row in np.column_stack([found.edge_index.T, found.edge_shifts])]
    assert pairs.image.dtype == pairs.near.dtype == np.uint32


@pytest.mark.parametrize("name", ["cubic", "scattered"])
def test_threads_change_neither_the_pairs_nor_their_order(name, monkeypatch):
    atoms = STRUCTURES[name]
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            monkeypatch.setattr("gnnpot.graphs.image_pairs.ATOMS_PER_THREAD", 5)
            found.append(image_pairs(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF))
    finally:
        torch.set_num_threads(before)
    one, two = (pairs._replace(near=None) for pairs in found)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_order_does_not_depend_on_the_cells_of_the_atoms():
    """A simulation that is resumed builds its list at another step, and must add up forces in the same order."""
    atoms = STRUCTURES["cubic"].copy()
    atoms.rattle(0.1, seed=1)
    moved = atoms.copy()
    cells = np.random.default_rng(0).integers(-1, 2, (len(atoms), 3))
    moved.positions += cells @ atoms.cell.array

    def rows(structure: Atoms, cells: np.ndarray) -> list[tuple[int, ...]]:
        found = as_rows(image_pairs(structure.positions, structure.cell.array, structure.pbc, CUTOFF))
        return [(i, j, *(np.array(shift) + cells[j] - cells[i])) for i, j, *shift in found]

    assert rows(moved, cells) == rows(atoms, 0 * cells)
