"""Grids, symmetry, Ewald's sum."""

import numpy as np
import pytest

from gnnpot.functional import crystals
from gnnpot.functional.ewald import ewald
from gnnpot.functional.grid import Grid, resample
from gnnpot.functional.lattice import StructureFactor
from gnnpot.functional.symmetry import Symmetry, centre, grid_for, irreducible_kpoints


def test_madelung_constant_of_rock_salt():
    cell = np.eye(3) * 2.0
    anions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=float)
    cations = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=float)
    result = ewald(cell, np.concatenate([cations, anions]), np.repeat([1.0, -1.0], 4))
    assert result.energy / 4 == pytest.approx(-1.7475645946, abs=1e-9)
    assert np.abs(result.forces).max() < 1e-10
    # E is proportional to 1/length, so the trace of the strain's derivative is -E
    assert np.trace(result.stress) * 8 == pytest.approx(-result.energy, abs=1e-9)


def test_ewald_does_not_depend_on_its_width_and_its_forces_are_derivatives():
    random = np.random.default_rng(1)
    cell = np.eye(3) * 7 + random.normal(size=(3, 3))
    positions, charges = random.uniform(0, 7, (4, 3)), np.array([4.0, 3, 5, 1])
    first, second = (ewald(cell, positions, charges, width) for width in (0.15, 0.4))
    assert first.energy == pytest.approx(second.energy, abs=1e-9)
    assert np.abs(first.forces - second.forces).max() < 1e-9
    assert np.abs(first.stress - second.stress).max() < 1e-10
    step = np.zeros((4, 3))
    step[1, 2] = 1e-4
    slope = (ewald(cell, positions + step, charges).energy - ewald(cell, positions - step, charges).energy) / 2e-4
    assert first.forces[1, 2] == pytest.approx(-slope, abs=1e-6)
    strain = np.zeros((3, 3))
    strain[0, 1] = strain[1, 0] = 5e-5
    high, low = (ewald(cell @ (np.eye(3) + s), positions @ (np.eye(3) + s), charges) for s in (strain, -strain))
    assert first.stress[0, 1] == pytest.approx((high.energy - low.energy) / 2e-4 / abs(np.linalg.det(cell)), abs=1e-7)


def test_structure_factor_is_the_sum_of_phases():
    random = np.random.default_rng(0)
    places, weights = random.uniform(size=(5, 3)), random.normal(size=5)
    factor = StructureFactor(places, (6, 4, 8))
    m = np.array([-2, 1, 3])
    assert factor.sum(weights)[-2, 1, 3] == pytest.approx((weights * np.exp(-2j * np.pi * places @ m)).sum())


@pytest.mark.parametrize("atoms", [crystals.zincblende("GaAs"), crystals.hexagonal_diamond(), crystals.beta_tin()])
def test_operators_keep_the_symmetry(atoms):
    grid = grid_for(atoms, 5.0)
    symmetry = Symmetry.of(atoms, grid.shape)
    assert len(symmetry.rotations) >= 16
    field = symmetry.symmetrise(np.random.default_rng(0).normal(size=grid.shape))
    bent = grid.to_real(grid.to_fourier(field) * grid.squares)
    assert np.abs(symmetry.symmetrise(bent) - bent).max() < 1e-11
    coarse = Grid(grid.cell, tuple(n - 2 for n in grid.shape))
    smaller = resample(field, coarse)
    assert np.abs(Symmetry.of(atoms, coarse.shape).symmetrise(smaller) - smaller).max() < 1e-11
    points, sizes, orbit = symmetry.orbits
    assert sizes.sum() == grid.size and np.array_equal(np.bincount(orbit), sizes)
    assert np.abs(field.reshape(-1)[points][orbit] - field.reshape(-1)).max() < 1e-12


def test_resampling_and_back_changes_nothing():
    grid = Grid(crystals.diamond().cell.array, (8, 8, 8))
    fine = Grid(grid.cell, (12, 12, 12))
    smooth = grid.to_real(grid.to_fourier(np.random.default_rng(0).normal(size=grid.shape)) * (grid.squares < 20))
    assert np.abs(resample(resample(smooth, fine), grid) - smooth).max() < 1e-12


def test_irreducible_points_of_a_mesh():
    atoms = centre(crystals.diamond())
    symmetry = Symmetry.of(atoms, (8, 8, 8))
    kpoints, weights = irreducible_kpoints(symmetry, (4, 4, 4), (False, False, False))
    assert len(kpoints) == 8 and weights.sum() == pytest.approx(1)
    # the shifted mesh of a face-centred lattice has less symmetry than the crystal
    assert len(irreducible_kpoints(symmetry, (4, 4, 4), (True, True, True))[0]) == 10
