"""Formation energy of interstitial atoms, in the inequivalent voids of a crystal.

    result = calc(atoms, calculator, element="H", chemical_potentials={"H": -3.4})
    result.sites[0].energy, result.sites[0].position

With an atom of element X put into a supercell of N atoms,

    E_f = E(N + 1) - E(N) - µ_X,                                                                                (1)

with µ_X as in `gnnpot.properties.vacancy`. Starts are the vertices of the Voronoi cells of the atoms, which are the
points that are farthest from all atoms around, one of each set that the crystal's symmetry maps onto each other. Atoms
then relax; what began in different voids may end in one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import atomic_numbers
from ase.geometry import get_distances
from scipy.spatial import Voronoi

from gnnpot.data.structures import StructureLike
from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.relaxed import crystal_of, energy_of, relaxed, repeats
from gnnpot.properties.vacancy import SYMPREC, draw_energies, found_potentials, required_potentials
from gnnpot.runs.progress import Progress, no_progress

#: Å, vertices nearer to each other are one void
_SAME = 0.3


@dataclass(frozen=True, slots=True)
class Interstitial:
    """An atom in one inequivalent void."""

    start: tuple[float, float, float]  #: fractional coordinates in the crystal
    radius: float  #: Å, from the start to the nearest atom
    multiplicity: int  #: equivalent voids in the crystal
    energy: float  #: eV, formation energy, relaxed
    unrelaxed_energy: float  #: eV, before atoms relax
    position: tuple[float, float, float]  #: Å, of the atom in the supercell, relaxed


@dataclass(frozen=True, eq=False)
class Interstitials:
    """Interstitial atoms of an element in a crystal."""

    formula: str
    element: str
    atoms: int  #: in the supercell without the interstitial
    supercell: tuple[int, int, int]
    chemical_potential: float  #: eV
    sites: tuple[Interstitial, ...]  #: by energy

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
        return {
            "formula": self.formula,
            "element": self.element,
            "formation_energy_eV": self.sites[0].energy,
            "atoms": self.atoms,
            "supercell": list(self.supercell),
            "chemical_potential_eV": self.chemical_potential,
            "sites": [
                {
                    "start": list(s.start),
                    "radius_A": s.radius,
                    "multiplicity": s.multiplicity,
                    "energy_eV": s.energy,
                    "unrelaxed_energy_eV": s.unrelaxed_energy,
                    "position_A": list(s.position),
                }
                for s in self.sites
            ],
        }

    def plot(self, path: Path) -> None:
        """The energies of the voids, as PNG."""
        title = f"{self.element} in {self.formula}, {self.atoms} atoms"
        draw_energies(
            path, title, [f"{', '.join(f'{x:.2f}' for x in s.start)}" for s in self.sites],
            [s.energy for s in self.sites], [s.unrelaxed_energy for s in self.sites],
        )  # fmt: skip


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    *,
    element: str | None = None,
    chemical_potentials: Mapping[str, float] | None = None,
    references: Mapping[str, StructureLike] | None = None,
    most: int = 4,
    supercell: tuple[int, int, int] | None = None,
    length: float = 10.0,
    relax: bool = True,
    fmax: float = 0.01,
    progress: Progress = no_progress,
) -> Interstitials:
    """Formation energies of interstitial atoms by a calculator.

    Args:
        atoms: The crystal.
        calculator: Any ASE calculator.
        element: Of the interstitial; default: the crystal's, if it has one element.
        chemical_potentials: eV, energy of an atom of the element where it comes from.
        references: The structure of the element whose relaxed energy per atom is its chemical potential.
        most: Voids that are tried at most, the largest first.
        supercell: Repeats of the cell; by default as many as `length` needs.
        length: Å, the least height of the supercell.
        relax: Relax the crystal (cell too) first, and the atoms around the interstitial; otherwise nothing moves.
        fmax: eV/Å, the largest force that may be left.
        progress: Takes voids and relaxations.

    Raises:
        ConfigError: The element or its chemical potential is missing.
        DataError: The structure is no crystal.
        SimulationError: A relaxation fails.
    """
    crystal = crystal_of(atoms, "interstitial")
    element = _element(crystal, element)
    given = _potential(crystal, element, chemical_potentials, references)
    if relax:
        crystal = relaxed(crystal, calculator, cell="full", what="interstitial: crystal", progress=progress)
    potential = found_potentials(crystal, calculator, given, [element], progress)[element]
    repeated = supercell or repeats(crystal.cell, length)
    whole = crystal.repeat(repeated)
    perfect = energy_of(whole, calculator)
    found, starts = [], voids(crystal)[:most]
    for k, (place, radius, multiplicity) in enumerate(starts):
        progress("interstitial: voids", k, len(starts))
        defect = whole + Atoms(element, [place @ crystal.cell.array])
        unrelaxed = energy_of(defect, calculator)
        final = relaxed(defect, calculator, fmax=fmax, what="interstitial: atoms around") if relax else defect
        after, before = (e - perfect - potential for e in (energy_of(final, calculator), unrelaxed))
        a, b, c = (float(x) for x in np.round(place, 6))
        x, y, z = (float(x) for x in final.positions[-1])
        found.append(Interstitial((a, b, c), radius, multiplicity, after, before, (x, y, z)))
    progress("interstitial: voids", len(starts), len(starts))
    name = crystal.get_chemical_formula(empirical=True)
    ordered = tuple(sorted(found, key=lambda v: v.energy))
    return Interstitials(name, element, len(whole), repeated, potential, ordered)


def _element(crystal: Atoms, element: str | None) -> str:
    symbols = sorted(set(crystal.symbols))
    if element is None and len(symbols) > 1:
        raise ConfigError(f"element: {crystal.get_chemical_formula()} is a compound; name that of the interstitial")
    if (element or symbols[0]) not in atomic_numbers:
        raise ConfigError(f"element: '{element}' is no element; give a symbol like Li")
    return element or symbols[0]


def _potential(
    crystal: Atoms,
    element: str,
    numbers: Mapping[str, float] | None,
    references: Mapping[str, StructureLike] | None,
) -> dict[str, float | StructureLike | None]:
    if element not in crystal.symbols and element not in {**(references or {}), **(numbers or {})}:
        raise ConfigError(
            f"chemical_potentials: that of {element} is missing, and {crystal.get_chemical_formula()} has none; give "
            "the energy of an atom where it comes from (eV), or the element's structure in references"
        )
    return required_potentials(crystal, [element], numbers, references)


def voids(crystal: Atoms) -> list[tuple[np.ndarray, float, int]]:
    """(fractional coordinates, distance to the nearest atom in Å, number of equivalent ones) of the inequivalent voids,
    the largest first. Raises `DataError` if there are none."""
    # the Voronoi cells of the atoms in the middle are complete
    middle = crystal.repeat((3, 3, 3))
    vertices = Voronoi(middle.positions).vertices @ np.linalg.inv(crystal.cell.array)
    inside = vertices[((vertices > 1 - 1e-6) & (vertices < 2 - 1e-6)).all(axis=1)] % 1.0
    if not len(inside):
        raise DataError(f"{crystal.get_chemical_formula()}: no voids are found between its atoms")
    distances = get_distances(inside @ crystal.cell.array, crystal.positions, cell=crystal.cell, pbc=True)[1]
    radii = distances.min(axis=1)
    cell = crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers
    symmetry = spglib.get_symmetry(cell, symprec=SYMPREC) or {
        "rotations": np.eye(3)[None],
        "translations": np.zeros((1, 3)),
    }
    found: list[tuple[np.ndarray, float, int]] = []
    known = np.zeros((0, 3))
    for k in np.argsort(-radii, kind="stable"):
        if len(known) and _distance(inside[k], known, crystal).min() < _SAME:
            continue
        images = (symmetry["rotations"] @ inside[k] + symmetry["translations"]) % 1.0
        distinct: list[np.ndarray] = []
        for image in images:
            if not distinct or _distance(image, np.array(distinct), crystal).min() > _SAME:
                distinct.append(image)
        known = np.concatenate([known, images])
        found.append((inside[k], float(radii[k]), len(distinct)))
    return found


def _distance(place: np.ndarray, others: np.ndarray, crystal: Atoms) -> np.ndarray:
    """Å, of fractional coordinates and their images."""
    cell = crystal.cell.array
    return get_distances(place[None] @ cell, others @ cell, cell=crystal.cell, pbc=True)[1][0]
