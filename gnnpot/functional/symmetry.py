"""Symmetry of a crystal on a grid: orbits of points, symmetric fields, irreducible k-points.

    symmetry = Symmetry.of(atoms, grid.shape)
    density = symmetry.symmetrise(density)
    kpoints, weights = irreducible_kpoints(symmetry, (6, 6, 6), (True, True, True))

Operations x -> W x + t (fractional) that don't map the grid onto itself are left out; the others form a group.
`centre` moves a structure such that a centre of inversion lies at the origin, where it is on every grid.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import spglib
from ase import Atoms

from gnnpot.functional.grid import Grid
from gnnpot.units import BOHR

TOLERANCE = 1e-5
#: spglib's time grows with the third power of the number of atoms, some minutes for 4,000
MANY_ATOMS = 400


@dataclass(frozen=True)
class Symmetry:
    """Rotations `[k, 3, 3]` (integers) and translations `[k, 3]` (fractional) that keep structure and grid."""

    rotations: np.ndarray
    translations: np.ndarray
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, atoms: Atoms, shape: tuple[int, int, int]) -> "Symmetry":
        rotations, translations = operations(atoms)
        counts = np.array(shape)
        steps = translations * counts
        scaled = rotations * counts[None, :, None] / counts[None, None, :]
        on_grid = np.abs(steps - steps.round()).max(axis=1) < 1e-3
        on_grid &= np.abs(scaled - scaled.round()).max(axis=(1, 2)) < 1e-9
        return cls(rotations[on_grid], (steps[on_grid].round()) / counts, shape)

    @cached_property
    def maps(self) -> np.ndarray:
        """`[k, size]`: the index of the point that each operation takes a point to."""
        counts = np.array(self.shape)
        index = np.stack(np.unravel_index(np.arange(int(np.prod(counts))), self.shape))
        result = np.empty((len(self.rotations), index.shape[1]), dtype=np.int32)
        for row, rotation, translation in zip(result, self.rotations, self.translations, strict=True):
            matrix = np.rint(rotation * counts[:, None] / counts[None, :]).astype(int)
            image = matrix @ index + np.rint(translation * counts).astype(int)[:, None]
            row[:] = np.ravel_multi_index(image % counts[:, None], self.shape)
        return result

    @cached_property
    def orbits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Irreducible points `[n]`, sizes of their orbits `[n]`, and the orbit of each point `[size]`."""
        points, orbit, sizes = np.unique(self.maps.min(axis=0), return_inverse=True, return_counts=True)
        return points, sizes, orbit

    def symmetrise(self, field: np.ndarray) -> np.ndarray:
        """The mean of a field over its images."""
        flat = field.reshape(-1)
        return np.mean([flat[row] for row in self.maps], axis=0).reshape(field.shape)


def operations(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and translations (fractional) of a crystal; the identity alone if it has no other."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry(cell, symprec=TOLERANCE)
    if found is None:
        return np.eye(3, dtype=int)[None], np.zeros((1, 3))
    return found["rotations"].astype(int), found["translations"]


def centre(atoms: Atoms) -> Atoms:
    """A copy whose centre of inversion, if there is one, lies at the origin."""
    rotations, translations = operations(atoms)
    inversions = [t for r, t in zip(rotations, translations, strict=True) if np.array_equal(r, -np.eye(3))]
    moved = atoms.copy()
    if inversions:
        moved.set_scaled_positions(atoms.get_scaled_positions() - inversions[0] / 2)
    return moved


def irreducible_kpoints(
    symmetry: Symmetry, mesh: tuple[int, int, int], shift: tuple[bool, bool, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Fractional k-points `[n, 3]` and weights (sum 1) of a Monkhorst-Pack mesh.

    Reduced by time reversal and by the rotations that map the mesh onto itself.
    """
    counts, offset = np.array(mesh), np.array(shift, dtype=int)
    index = np.stack(np.unravel_index(np.arange(int(counts.prod())), mesh))
    # 2 n k = 2 i + shift, integers
    double = 2 * index + offset[:, None]
    first = np.arange(index.shape[1])
    for rotation in symmetry.rotations:
        for sign in (1, -1):
            matrix = sign * rotation.T * counts[:, None] / counts[None, :]
            image = matrix @ double
            whole = (image - offset[:, None]) / 2
            if np.abs(whole - whole.round()).max() > 1e-6:
                continue
            rows = np.rint(whole).astype(int) % counts[:, None]
            first = np.minimum(first, np.ravel_multi_index(rows, mesh))
    first = _transitive(first)
    chosen, number = np.unique(first, return_counts=True)
    kpoints = (double[:, chosen] / (2 * counts[:, None])).T
    return kpoints - kpoints.round(), number / number.sum()


def _transitive(first: np.ndarray) -> np.ndarray:
    while True:
        further = first[first]
        if np.array_equal(further, first):
            return first
        first = further


def grid_for(atoms: Atoms, cutoff: float) -> Grid:
    """The grid that holds all |G| <= `cutoff` (1/bohr) and has equal numbers along vectors that a rotation mixes.

    For more than `MANY_ATOMS` the rotations are those of the lattice, among which the crystal's are.
    """
    grid = Grid.for_cutoff(atoms.cell.array / BOHR, cutoff)
    symmetric = atoms if len(atoms) <= MANY_ATOMS else Atoms("H", cell=atoms.cell, pbc=True)
    mixed = np.abs(operations(symmetric)[0]).sum(axis=0) > 0
    mixed = np.linalg.matrix_power((mixed | mixed.T).astype(int), 3) > 0
    a, b, c = (max(n for n, together in zip(grid.shape, row, strict=True) if together) for row in mixed)
    return Grid(grid.cell, (a, b, c))
