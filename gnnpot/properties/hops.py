"""Inequivalent hops of an ion to a vacancy in a crystal.

    for hop in find_hops(crystal, "Li", longest=4.0):
        start, end = end_structures(crystal, (3, 3, 3), hop)

A hop is a pair of ion sites i and j, with j translated by s cells. Two hops are equivalent if a symmetry operation of
the crystal's space group, or exchange of the two ends, maps one onto the other.
"""

from dataclasses import dataclass

import numpy as np
import spglib
from ase import Atoms

from gnnpot.errors import ConfigError
from gnnpot.graphs.neighbors import neighbor_list
from gnnpot.properties.defects import SYMPREC


@dataclass(frozen=True, slots=True)
class Hop:
    """Hop of an ion from site `start` to the vacant site `end`, translated by `shift` cells."""

    start: int  #: index of the initial site in the crystal
    end: int  #: index of the final site in the crystal
    shift: tuple[int, int, int]  #: translation of the final site along each vector, in cells
    length: float  #: Å
    multiplicity: int  #: number of equivalent hops in the crystal; both directions count as one


def find_hops(crystal: Atoms, ion: str, longest: float) -> list[Hop]:
    """Find the inequivalent hops of an ion, sorted by length.

    Args:
        crystal: Periodic crystal.
        ion: Element of the ion.
        longest: Maximum length of a hop, Å.

    Raises:
        ConfigError: There is no such ion, or no hop up to this length.
    """
    sites = np.flatnonzero(crystal.symbols == ion)
    if not len(sites):
        raise ConfigError(f"ion: {crystal.get_chemical_formula()} has no {ion}; name one of its elements")
    part = crystal[sites]
    pairs = neighbor_list(part.positions, part.cell.array, part.pbc, longest)
    if not len(pairs.distances):
        raise ConfigError(f"longest: no two sites of {ion} are nearer than {longest} Å; give more")
    operations = _operations(crystal, sites)
    orbits: dict[tuple[int, ...], Hop] = {}
    counts: dict[tuple[int, ...], int] = {}
    for (i, j), shift, length in zip(pairs.edge_index.T, pairs.edge_shifts, pairs.distances, strict=True):
        name = min(_images(int(i), int(j), shift, operations))
        counts[name] = counts.get(name, 0) + 1
        if name not in orbits:
            a, b, c = (int(x) for x in shift)
            orbits[name] = Hop(int(sites[i]), int(sites[j]), (a, b, c), float(length), 0)
    # every pair was counted in both directions
    found = [Hop(h.start, h.end, h.shift, h.length, counts[name] // 2) for name, h in orbits.items()]
    return sorted(found, key=lambda hop: round(hop.length, 6))


def _operations(crystal: Atoms, sites: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each operation: rotation [3, 3], image site of each site [S], and its translation in cells [S, 3]."""
    scaled = crystal.get_scaled_positions(wrap=False)
    symmetry = spglib.get_symmetry((crystal.cell.array, scaled, crystal.numbers), symprec=SYMPREC)
    if symmetry is None:
        symmetry = {"rotations": np.eye(3, dtype=int)[None], "translations": np.zeros((1, 3))}
    places = scaled[sites]
    found = []
    for rotation, translation in zip(symmetry["rotations"], symmetry["translations"], strict=True):
        images = places @ rotation.T + translation
        difference = images[:, None] - places[None]
        cells = np.round(difference)
        far = np.linalg.norm((difference - cells) @ crystal.cell.array, axis=2)
        onto = far.argmin(axis=1)
        rows = np.arange(len(sites))
        found.append((rotation, onto, cells[rows, onto].astype(int)))
    return found


def _images(
    i: int, j: int, shift: np.ndarray, operations: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> list[tuple[int, ...]]:
    """All hops equivalent to (i, j, shift) by symmetry operations and exchange of the ends, in the same form."""
    images = []
    for rotation, onto, cells in operations:
        moved = rotation @ shift + cells[j] - cells[i]
        a, b = int(onto[i]), int(onto[j])
        images += [(a, b, *map(int, moved)), (b, a, *map(int, -moved))]
    return images


def end_structures(crystal: Atoms, supercell: tuple[int, int, int], hop: Hop) -> tuple[Atoms, Atoms]:
    """Supercells with the ion on site `start` and on site `end` of a hop; the respective other site is vacant.

    Raises `ConfigError` if the supercell is so small that the hop ends at an image of its start.
    """
    whole, count = crystal.repeat(supercell), len(crystal)
    cell = np.mod(hop.shift, supercell)
    end = int((cell[0] * supercell[1] + cell[1]) * supercell[2] + cell[2]) * count + hop.end
    if end == hop.start:
        raise ConfigError(f"supercell: {supercell} is so small that the ion meets its own image; give more repeats")
    start_atoms = whole.copy()
    end_atoms = whole.copy()
    # the same atom moves, not wrapped to a periodic image, so that images can be interpolated
    end_atoms.positions[hop.start] = crystal.positions[hop.end] + np.asarray(hop.shift) @ crystal.cell.array
    del start_atoms[end]
    del end_atoms[end]
    return start_atoms, end_atoms
