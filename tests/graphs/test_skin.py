"""A remembered neighbour list is the fresh one, for any movement."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from gnnpot.errors import DataError, SimulationError
from gnnpot.graphs import neighbor_list
from gnnpot.graphs.image_pairs import image_pairs
from gnnpot.graphs.skin import SkinList, _edges_within

CUTOFF = 4.0


def _same(atoms: Atoms, kept: SkinList) -> None:
    args = (atoms.positions, atoms.cell.array, atoms.pbc)
    found, fresh = kept.update(*args), neighbor_list(*args, CUTOFF)
    assert np.all(np.diff(found.edge_index[0]) >= 0)

    def rows(n):
        table = np.column_stack([n.edge_index.T, n.edge_shifts])
        order = np.lexsort(table.T)
        return table[order], n.edge_vectors[order]

    for a, b in zip(rows(found), rows(fresh), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_allclose(found.distances, np.linalg.norm(found.edge_vectors, axis=1), atol=1e-12)


def test_kept_through_a_walk():
    atoms, rng = bulk("NaCl", "rocksalt", a=5.6, cubic=True), np.random.default_rng(0)
    kept = SkinList(CUTOFF, 0.6)
    for _ in range(120):
        atoms.positions += 0.03 * rng.standard_normal(atoms.positions.shape) + [0.05, 0, 0]
        _same(atoms, kept)
    assert 2 <= kept.rebuilds < 40, "it should be rebuilt now and then, not always"


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, True, False)])
def test_kept_through_strains(pbc):
    atoms, rng = bulk("NaCl", "rocksalt", a=5.6, cubic=True), np.random.default_rng(1)
    atoms.pbc = pbc
    atoms.set_cell(atoms.cell.array[[1, 0, 2]] @ (np.eye(3) + 0.1 * rng.uniform(-1, 1, (3, 3))))
    kept = SkinList(CUTOFF, 0.8)
    for _ in range(80):
        strain = np.eye(3) + 0.006 * rng.uniform(-1, 1, (3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += 0.01 * rng.standard_normal(atoms.positions.shape)
        _same(atoms, kept)
    assert 1 <= kept.rebuilds < 60


def test_compression_lets_no_pair_slip_in():
    """The whole crystal shrinks: nobody moves relative to the cell, yet pairs come within the cutoff."""
    atoms, kept = bulk("Cu", cubic=True, a=3.6), SkinList(CUTOFF, 0.5)
    for scale in np.linspace(1.0, 0.8, 60):
        other = atoms.copy()
        other.set_cell(scale * atoms.cell.array, scale_atoms=True)
        _same(other, kept)
    assert kept.rebuilds < 20


def test_a_cell_that_jumps_is_rebuilt():
    atoms, kept = bulk("Cu", cubic=True, a=3.6), SkinList(CUTOFF, 0.5)
    _same(atoms, kept)
    for change in (lambda a: a.set_cell(a.cell.array[[1, 0, 2]]), lambda a: a.set_cell(a.cell * 2), lambda a: a.wrap()):
        change(atoms)
        _same(atoms, kept)


def test_other_numbers_of_atoms_and_periodicity():
    kept = SkinList(CUTOFF, 0.5)
    for atoms in (bulk("Cu"), bulk("Cu", cubic=True), molecule("H2O"), Atoms("Cu"), bulk("Cu")):
        _same(atoms, kept)
    slab = bulk("Cu", cubic=True)
    _same(slab, kept)
    slab.pbc = (True, False, True)
    _same(slab, kept)


def test_drift_is_free():
    atoms, kept = bulk("Cu", cubic=True), SkinList(CUTOFF, 0.5)
    for _ in range(20):
        atoms.positions += 0.4
        _same(atoms, kept)
    assert kept.rebuilds == 1


def test_errors():
    kept = SkinList(CUTOFF, 0.5)
    atoms = bulk("Cu", cubic=True)
    kept.update(atoms.positions, atoms.cell.array, atoms.pbc)
    atoms.positions[0] = atoms.positions[1] + 0.01
    with pytest.raises(DataError, match="stand 0.017 Å apart"):
        kept.update(atoms.positions, atoms.cell.array, atoms.pbc)
    atoms.positions[0] = np.nan
    with pytest.raises(SimulationError, match="exploded"):
        kept.update(atoms.positions, atoms.cell.array, atoms.pbc)
    with pytest.raises(DataError, match="no volume"):
        kept.update(atoms.positions[1:], np.diag([3.6, 3.6, 0]), atoms.pbc)


def checks_of(structures: list[Atoms]) -> list[int]:
    """How often `check` had been called after each structure."""
    kept, calls, found = SkinList(CUTOFF, 0.5), [], []
    for atoms in structures:
        kept.update(atoms.positions, atoms.cell.array, atoms.pbc, check=lambda: calls.append(None))
        found.append(len(calls))
    assert kept.rebuilds > 1
    return found


def test_a_walk_is_checked_once():
    atoms, rng = bulk("NaCl", "rocksalt", a=5.6, cubic=True), np.random.default_rng(0)
    walk = [atoms.copy()]
    for _ in range(60):
        atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
        walk.append(atoms.copy())
    assert checks_of(walk) == [1] * len(walk)


def test_other_structures_are_checked_again():
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    dense = crystal.copy()
    dense.set_cell(0.8 * crystal.cell, scale_atoms=True)
    gas = Atoms("Na8", [[50.0 * k, 0, 0] for k in range(8)])
    cluster = Atoms("Na8", [[2.0 * (k % 2), 2.0 * (k // 2 % 2), 2.0 * (k // 4)] for k in range(8)])
    for structures in ([crystal, dense], [gas, cluster], [crystal, crystal * (1, 1, 2)], [cluster, gas, cluster]):
        assert checks_of(structures) == list(range(1, len(structures) + 1))


def test_a_list_that_grows_slowly_is_checked_again():
    """A gas that condenses, in steps of less than the skin."""
    directions = np.random.default_rng(0).standard_normal((40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    gas = [Atoms("Na40", directions * radius) for radius in np.arange(20.0, 5.0, -0.4)]
    assert 2 <= checks_of(gas)[-1] <= 20


def test_a_list_without_a_check_leaves_the_next_one_unchecked():
    atoms, kept, calls = bulk("Cu", cubic=True), SkinList(CUTOFF, 0.5), []
    kept.update(atoms.positions, atoms.cell.array, atoms.pbc)
    atoms.positions[0] += 0.4
    kept.update(atoms.positions, atoms.cell.array, atoms.pbc, check=lambda: calls.append(None))
    assert len(calls) == 1


@pytest.mark.parametrize("parts", [1, 3, 5000])
def test_pairs_are_shared_out_without_a_trace(parts):
    for atoms in (bulk("NaCl", "rocksalt", a=5.6, cubic=True), Atoms("Cu")):
        pairs = image_pairs(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF + 0.8)
        # as there are in a list that 32 bits can't number
        wide = pairs._replace(image=pairs.image.astype(np.int64), near=pairs.near.astype(np.int64))
        one, several, other = (
            _edges_within(atoms.positions, atoms.cell.array, p, CUTOFF, n)
            for p, n in ((pairs, 1), (pairs, parts), (wide, parts))
        )
        for a, b, c in zip(one, several, other, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("shell", [1, 2, 3, 5])
def test_pairs_at_the_cutoff_have_their_reverse(shell):
    atoms = bulk("Cu", cubic=True) * (3, 4, 5)
    # distances of a shell differ by rounding, and so does which of them are below the cutoff
    kept, args = SkinList(3.61 * np.sqrt(shell / 2), 0.8), (atoms.cell.array, atoms.pbc)
    for shift in ([0.0, 0.0, 0.0], [0.1, 0.2, 0.3], [31.7, 0.0, 0.0]):
        found = kept.update(atoms.positions + shift, *args)
        edges = set(map(tuple, np.column_stack([found.edge_index.T, found.edge_shifts]).tolist()))
        assert edges == {(j, i, -a, -b, -c) for i, j, a, b, c in edges}


def test_a_pair_and_its_reverse_are_exactly_opposite():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.1, seed=0)
    args, kept = (atoms.cell.array, atoms.pbc), SkinList(CUTOFF, 0.8)
    kept.update(atoms.positions, *args)
    found = kept.update(atoms.positions + 0.01 * np.random.default_rng(1).standard_normal((8, 3)), *args)
    edges = {
        (i, j, *shift): tuple(v)
        for (i, j), shift, v in zip(found.edge_index.T, found.edge_shifts, found.edge_vectors, strict=True)
    }
    assert kept.rebuilds == 1 and len(edges) > 100
    for (i, j, *shift), vector in edges.items():
        assert edges[(j, i, *(-k for k in shift))] == tuple(-x for x in vector)
