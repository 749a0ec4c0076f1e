"""Symmetry of a crystal on a grid: orbits of points, symmetrisation of fields, irreducible k-points.

    symmetry = Symmetry.of(atoms, grid.shape)
    density = symmetry.symmetrise(density)
    kpoints, weights = irreducible_kpoints(symmetry, (6, 6, 6), (True, True, True))

Only the operations x -> W x + t (fractional) that map the grid onto itself are used; they form a group. `centre` moves
a structure so that a centre of inversion is at the origin, where inversion maps every grid onto itself.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import spglib
from ase import Atoms

from gnnpot.errors import DataError
from gnnpot.functional.grid import Grid
from gnnpot.units import BOHR

TOLERANCE = 1e-5
#: number of atoms above which only the lattice is analysed: spglib's time is cubic, some minutes for 4,000 atoms
MANY_ATOMS = 400


@dataclass(frozen=True)
class Symmetry:
    """Symmetry operations that map the structure and the grid onto themselves."""

    rotations: np.ndarray  #: `[k, 3, 3]` W, integers
    translations: np.ndarray  #: `[k, 3]` t, fractional
    shape: tuple[int, int, int]  #: shape of the grid

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
        """`[k, size]` index of the image of each point under each operation."""
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
        """Average a field over its images under all operations."""
        flat = field.reshape(-1)
        return np.mean([flat[row] for row in self.maps], axis=0).reshape(field.shape)


def operations(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and translations (fractional) of a crystal; the identity if spglib finds none."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry(cell, symprec=TOLERANCE)
    if found is None:
        return np.eye(3, dtype=int)[None], np.zeros((1, 3))
    return found["rotations"].astype(int), found["translations"]


def centre(atoms: Atoms) -> Atoms:
    """Copy of a structure, moved so that its centre of inversion, if there is one, is at the origin."""
    rotations, translations = operations(atoms)
    inversions = [t for r, t in zip(rotations, translations, strict=True) if np.array_equal(r, -np.eye(3))]
    moved = atoms.copy()
    if inversions:
        moved.set_scaled_positions(atoms.get_scaled_positions() - inversions[0] / 2)
    return moved


def irreducible_kpoints(
    symmetry: Symmetry, mesh: tuple[int, int, int], shift: tuple[bool, bool, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Irreducible k-points `[n, 3]` (fractional) and weights `[n]` (sum 1) of a Monkhorst-Pack mesh.

    The mesh is reduced by time reversal and by the rotations that map it onto itself. `shift` says along which
    reciprocal vectors it is shifted by half a step.
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


def check_periodic(atoms: Atoms, where: str) -> None:
    """Raise `DataError` if a structure is not periodic in three directions; `where` is its name in the message."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise DataError(f"{where}: is not periodic in three directions; give it a cell with vacuum, pbc=True")


def grid_for(atoms: Atoms, cutoff: float) -> Grid:
    """Grid with all |G| <= `cutoff` (1/bohr), and equal numbers of points along cell vectors that a rotation mixes.

    For more than `MANY_ATOMS` atoms, the rotations are those of the lattice, which include those of the crystal.
    """
    grid = Grid.for_cutoff(atoms.cell.array / BOHR, cutoff)
    symmetric = atoms if len(atoms) <= MANY_ATOMS else Atoms("H", cell=atoms.cell, pbc=True)
    mixed = np.abs(operations(symmetric)[0]).sum(axis=0) > 0
    mixed = np.linalg.matrix_power((mixed | mixed.T).astype(int), 3) > 0
    a, b, c = (max(n for n, together in zip(grid.shape, row, strict=True) if together) for row in mixed)
    return Grid(grid.cell, (a, b, c))
