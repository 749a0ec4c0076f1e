"""What a structure may be: what can't be meant or afforded is refused quickly, fragments far apart are computed."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from gnnpot.data.frame import Frame, FrameError
from gnnpot.data.neighbor_search import compact_cell, complete_cell, find_by_tree, fits_grid
from gnnpot.graphs import neighbor_list

from .conftest import make_frame


def far(*places) -> Atoms:
    return Atoms("O" * len(places), places)


def cell_of(vectors, symbols="C", pbc=True) -> Atoms:
    return Atoms(symbols, cell=vectors, pbc=pbc)


#: structures that spread over space -> edges within 5 Å
COMPUTED = {
    "two atoms 3,000 Å apart in a plane": (far([0, 0, 0], [3000, 3000, 0]), 0),
    "a molecule that flew away": (molecule("H2O") + far([3e5, 2e4, 0]), 6),
    "two atoms on a line of 1e5 Å": (far([0, 0, 0], [1e5, 0, 0]), 0),
    "a line of 1e5 Å": (Atoms("C50000", [[2.0 * k, 0, 0] for k in range(50000)]), 199994),
    "a diagonal line": (Atoms("C5000", [[1.2 * k] * 3 for k in range(5000)]), 19994),
    "a wire of 3,000 Å": (Atoms("C2", [[0, 0, 0], [1500, 0, 0]], cell=[3000, 0, 0], pbc=[1, 0, 0]), 0),
    "a full wire of 3,000 Å": (
        Atoms("C2400", [[1.25 * k, 0, 0] for k in range(2400)], cell=[3000, 0, 0], pbc=[1, 0, 0]), 14400,
    ),
    "a lattice of 1e7 Å": (Atoms("C2", [[0, 0, 0], [1.4, 0, 0]], cell=[1e7] * 3, pbc=True), 2),
    "a slab with 1e5 Å of vacuum": (cell_of([[4.05, 0, 0], [0, 4.05, 0], [0, 0, 1e5]], "Al"), 4),
    "atoms 1e7 Å outside of their cell": (Atoms("C2", [[0, 0, 0], [1e7 + 1.4, 0, 0]], cell=[5] * 3, pbc=True), 4),
}  # fmt: skip

#: structures that are refused -> reason
REFUSED = {
    "a lattice of 1e300 Å": (cell_of(np.eye(3) * 1e300), "cell too large"),
    "coordinates of 1e18 Å": (far([0, 0, 0], [1e18, 0, 0]), "positions too large"),
    "coordinates of 1e300 Å": (Atoms("C2", [[0, 0, 0], [1e300, 0, 0]], cell=[5] * 3, pbc=True), "positions too large"),
    "a cell of 0.01 Å": (cell_of(np.eye(3) * 0.01), "cell too small"),
    "a cell of 1e-3 Å": (cell_of(np.eye(3) * 1e-3), "cell too small"),
    "a nearly flat cell": (cell_of([[4, 0, 0], [0, 4, 0], [2, 2, 1e-4]]), "cell too small"),
    "a flat plane": (cell_of([[4, 0, 0], [4, 1e-3, 0], [0, 0, 0]], pbc=[1, 1, 0]), "cell too small"),
    "a wide and flat cell": (cell_of([[40, 0, 0], [0, 40, 0], [20, 20, 1e-2]]), "atoms at one place"),
    "a very wide and flat cell": (cell_of([[1e3, 0, 0], [0, 1e3, 0], [500, 500, 2e-3]]), "atoms at one place"),
    "100,000 atoms at one place": (Atoms("C100000", np.zeros((100000, 3))), "atoms at one place"),
    "the same in a cell": (Atoms("C100000", np.zeros((100000, 3)), cell=[100] * 3, pbc=True), "atoms at one place"),
    "fractional coordinates taken for Å": (
        Atoms("C20000", np.random.default_rng(0).random((20000, 3))), "atoms at one place",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_what_spreads_over_space_is_computed(name):
    atoms, edges = COMPUTED[name]
    frame = Frame.from_atoms(atoms)
    found = neighbor_list(frame.positions, frame.cell, frame.pbc, 5.0)
    assert len(found.distances) == edges and (edges == 0 or found.distances.max() <= 5.0)
    vectors = (
        frame.positions[found.edge_index[1]] - frame.positions[found.edge_index[0]] + found.edge_shifts @ frame.cell
    )
    assert np.allclose(vectors, found.edge_vectors, atol=1e-7)


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_meant_or_afforded_is_refused_before_any_work(name):
    atoms, reason = REFUSED[name]
    with pytest.raises(FrameError) as caught:
        Frame.from_atoms(atoms)
    assert caught.value.reason == reason and "\n" not in str(caught.value)


def test_the_tree_finds_what_the_grid_finds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pbc = rng.integers(0, 2, 3).astype(bool)
        cell = rng.normal(size=(3, 3)) * rng.uniform(1, 8) + 4 * np.eye(3)
        if abs(np.linalg.det(cell)) < 5:
            continue
        positions = rng.normal(size=(rng.integers(1, 12), 3)) * rng.uniform(1, 30)
        cutoff = rng.uniform(2, 6)
        complete = complete_cell(cell, pbc)
        sets = []
        for found in (
            neighbor_list(positions, cell, pbc, cutoff),
            find_by_tree(positions, complete, pbc, cutoff),
        ):
            sets.append(sorted(tuple(row) for row in np.column_stack([*found.edge_index, found.edge_shifts]).tolist()))
            i, j = found.edge_index
            assert (np.lexsort((j, i)) == np.arange(len(i))).all()
        assert sets[0] == sets[1]


def test_skewed_cells_are_reduced_and_their_shifts_are_those_of_the_cell():
    rng = np.random.default_rng(1)
    base = bulk("C").cell.array
    cell = np.array([[1, 0, 0], [37, 1, 0], [51, -83, 1]]) @ base
    pbc = np.full(3, True)
    assert compact_cell(cell, pbc, 5.0)[1] is not None and compact_cell(base, pbc, 5.0)[1] is None
    positions = rng.normal(size=(3, 3)) * 5
    skewed, plain = (neighbor_list(positions, vectors, pbc, 5.0) for vectors in (cell, base))
    assert np.allclose(np.sort(skewed.distances), np.sort(plain.distances))
    i, j = skewed.edge_index
    assert np.allclose(positions[j] - positions[i] + skewed.edge_shifts @ cell, skewed.edge_vectors, atol=1e-9)


def test_usual_structures_go_the_fast_way():
    for atoms in (bulk("Cu", cubic=True) * (10, 10, 10), molecule("C60"), bulk("NaCl", "rocksalt", 5.6)):
        assert fits_grid(atoms.positions, complete_cell(atoms.cell.array, atoms.pbc), atoms.pbc, 5.0, 100_000)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"energy": 1e308}, "implausibly large"),
        ({"energy": 1 + 2j}, "no real numbers"),
        ({"energy": [1.0, 2.0]}, "expected one number"),
        ({"energy": True}, "no real numbers"),
        ({"forces": np.full((2, 3), 1 + 1j)}, "no real numbers"),
        ({"forces": np.full((2, 3), 1e12)}, "implausibly large"),
        ({"stress": np.full(6, 1e9)}, "implausibly large"),
        ({"magmoms": np.full(2, 1e4)}, "implausibly large"),
        ({"positions": np.array([["a", "b", "c"]] * 2)}, "no real numbers"),
        ({"numbers": [11, 119]}, "no elements"),
        ({"numbers": [11.5, 17]}, "no whole numbers"),
        ({"numbers": [11, -3]}, "no elements"),
    ],
)
def test_labels_and_elements_that_can_not_be_meant(changes, problem):
    with pytest.raises(FrameError, match=problem):
        make_frame(**changes)
