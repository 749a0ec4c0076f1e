"""Energy, forces and stress of point charges in a uniform neutralising background (Ewald sum).

    ewald(cell, positions, charges) -> EwaldResult

In atomic units, with a (1/bohr²) the inverse square of the Gaussian width and u(r) = erfc(sqrt(a) r)/r:

    E = 1/2 Σ_ij q_i q_j u(r_ij) + 2 pi/V Σ_{G != 0} |S(G)|² exp(-G²/4a)/G² - sqrt(a/pi) Σ_i q_i² - pi Q²/(2 a V)
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import erfc
from vesin import NeighborList

from gnnpot.functional.grid import Grid
from gnnpot.functional.lattice import StructureFactor

#: terms below exp(-28) of the largest are neglected
EXPONENT = 28.0
#: lower limit of a, 1/bohr²; in large cells, the sum over wave vectors is faster than that over pairs
LEAST_WIDTH = 0.1


@dataclass(frozen=True)
class EwaldResult:
    """Energy (Ha), forces `[n, 3]` (Ha/bohr), stress `[3, 3]` (Ha/bohr³, +1/V dE/dstrain)."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray


def ewald(cell: np.ndarray, positions: np.ndarray, charges: np.ndarray, width: float | None = None) -> EwaldResult:
    """Ewald sum.

    Args:
        cell: `[3, 3]` cell vectors in rows, bohr.
        positions: `[n, 3]` positions, bohr.
        charges: `[n]` charges, e.
        width: The parameter a, 1/bohr². It affects the time of the two sums, not the result.
    """
    volume = abs(np.linalg.det(cell))
    charges = np.asarray(charges, dtype=float)
    if width is None:
        width = max(LEAST_WIDTH, np.pi * (len(charges) / volume**2) ** (1 / 3))
    grid = Grid.for_cutoff(cell, np.sqrt(4 * width * EXPONENT))
    energy, forces, strain = _reciprocal(grid, positions, charges, width)
    real = _real(cell, positions, charges, width)
    total = charges.sum()
    background = -np.pi * total**2 / (2 * width * volume)
    energy += real[0] - np.sqrt(width / np.pi) * (charges**2).sum() + background
    strain += real[2] - background * np.eye(3)
    return EwaldResult(float(energy), forces + real[1], strain / volume)


def _reciprocal(grid: Grid, positions: np.ndarray, charges: np.ndarray, width: float) -> tuple:
    factor = StructureFactor(positions @ np.linalg.inv(grid.cell), grid.shape)
    sums = factor.sum(charges)
    squares = grid.squares
    safe = np.where(squares > 0, squares, 1.0)
    kernel = np.where(squares > 0, 4 * np.pi / grid.volume * np.exp(-squares / (4 * width)) / safe, 0.0)
    terms = 0.5 * grid.multiplicity * np.abs(sums) ** 2 * kernel
    energy = terms.sum()
    factors = 2 * terms * (1 / safe + 1 / (4 * width))
    vectors = grid.wave_vectors
    strain = np.einsum("ixyz,jxyz,xyz->ij", vectors, vectors, factors, optimize=True) - energy * np.eye(3)
    slopes = factor.gradients(sums * kernel)
    return energy, -charges[:, None] * slopes @ np.linalg.inv(grid.cell).T, strain


def _real(cell: np.ndarray, positions: np.ndarray, charges: np.ndarray, width: float) -> tuple:
    cutoff = np.sqrt(EXPONENT / width)
    neighbors = NeighborList(cutoff=float(cutoff), full_list=True)
    i, j, vectors = neighbors.compute(points=positions, box=cell, periodic=True, quantities="ijD")
    distance = np.linalg.norm(vectors, axis=1)
    root = np.sqrt(width)
    value = erfc(root * distance) / distance
    pair = 0.5 * charges[i] * charges[j]
    slope = pair * (-value / distance - 2 * root / np.sqrt(np.pi) * np.exp(-width * distance**2) / distance)
    pulls = (slope / distance)[:, None] * vectors
    forces = np.zeros_like(positions)
    np.add.at(forces, i, pulls)
    np.add.at(forces, j, -pulls)
    return (pair * value).sum(), forces, vectors.T @ pulls
