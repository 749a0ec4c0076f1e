"""Formation energies of interstitial atoms in the inequivalent voids of a crystal.

    result = calc(atoms, calculator, InterstitialConfig(element="H", chemical_potentials={"H": -3.4}))
    result.sites[0].energy, result.sites[0].position

Formation energies and chemical potentials are defined by equation (1) of `gnnpot.properties.defects`. Initial positions
(voids) are vertices of the Voronoi cells of the atoms, i.e. the points farthest from all atoms around them, one for
each set of equivalent vertices. After relaxation, atoms from different voids may be at the same site.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import atomic_numbers
from ase.geometry import get_distances, is_minkowski_reduced, minkowski_reduce
from scipy.spatial import Voronoi

from gnnpot.data.structures import StructureLike
from gnnpot.domains import INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.defects import SYMPREC, Defects, chemical_potential_sources, host_of
from gnnpot.properties.relaxed import crystal_of
from gnnpot.runs.progress import Progress, no_progress

#: Å, distance below which vertices belong to the same void
_SAME = 0.3


@dataclass(frozen=True, slots=True)
class InterstitialSite:
    """Interstitial atom in one of the inequivalent voids."""

    start: tuple[float, float, float]  #: initial fractional coordinates in the crystal
    radius: float  #: Å, distance from the initial position to the nearest atom
    multiplicity: int  #: number of equivalent voids in the crystal
    energy: float  #: eV, formation energy, relaxed
    unrelaxed_energy: float  #: eV, formation energy before relaxation
    position: tuple[float, float, float]  #: Å, relaxed position of the atom in the supercell

    @property
    def label(self) -> str:
        """Label in plots."""
        return ", ".join(f"{x:.2f}" for x in self.start)


@dataclass(frozen=True, eq=False)
class InterstitialEnergies(Defects[InterstitialSite]):
    """Formation energies of interstitial atoms of an element in a crystal."""

    element: str
    chemical_potential: float  #: eV

    @property
    def title(self) -> str:
        """Title of the plot."""
        return f"{self.element} in {self.formula}"

    @property
    def xlabel(self) -> str:
        """Label of the horizontal axis of the plot."""
        return "start, in fractional coordinates"

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {**super().to_json(), "element": self.element, "chemical_potential_eV": self.chemical_potential}


@dataclass(frozen=True, slots=True)
class InterstitialConfig:
    """Options of `calc`.

    Args:
        element: Element of the interstitial atom; default: the element of an elemental crystal.
        chemical_potentials: eV, chemical potential of the element, i.e. the energy of an atom in its reservoir.
        references: Structure of the element whose relaxed energy per atom is its chemical potential.
        most: Maximum number of voids that are tried, the largest first.
        supercell: Repeats of the cell; default: the least for which the supercell reaches `length`.
        length: Å, minimum height of the supercell along each vector.
        relax: Relax the crystal with its cell, and positions with the interstitial; otherwise use the given structure.
        fmax: eV/Å, convergence threshold of the largest force.
    """

    element: str | None = None
    chemical_potentials: Mapping[str, float] | None = None
    references: Mapping[str, StructureLike] | None = None
    most: Annotated[int, INTEGER_FROM_1] = 4
    supercell: Annotated[tuple[int, int, int] | None, INTEGER_FROM_1] = None
    length: Annotated[float, POSITIVE] = 10.0
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 0.01

    def __post_init__(self) -> None:
        check_fields(self)


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: InterstitialConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> InterstitialEnergies:
    """Calculate the formation energies of interstitial atoms.

    Args:
        atoms: Crystal.
        calculator: Any ASE calculator.
        config: Options; default: `InterstitialConfig()`.
        progress: Called with the progress of voids and relaxations.

    Returns:
        Formation energy of an atom in each inequivalent void, sorted by energy.

    Raises:
        ConfigError: The element or its chemical potential is missing.
        DataError: The structure is not a crystal, or has no voids.
        SimulationError: A relaxation fails.
    """
    config = config or InterstitialConfig()
    crystal = crystal_of(atoms, "interstitial")
    element = _element(crystal, config.element)
    sources = chemical_potential_sources(crystal, [element], config.chemical_potentials, config.references)
    host = host_of(
        crystal, calculator, sources,
        supercell=config.supercell, length=config.length, relax=config.relax, what="interstitial", progress=progress,
    )  # fmt: skip
    found, starts = [], voids(host.crystal)[: config.most]
    for k, (place, radius, multiplicity) in enumerate(starts):
        progress("interstitial: voids", k, len(starts))
        defect = host.supercell + Atoms(element, [place @ host.crystal.cell.array])
        final, after, before = host.formation_energies(defect, added=element, relax=config.relax, fmax=config.fmax)
        a, b, c = (float(x) for x in np.round(place, 6))
        x, y, z = (float(x) for x in final.positions[-1])
        found.append(InterstitialSite((a, b, c), radius, multiplicity, after, before, (x, y, z)))
    progress("interstitial: voids", len(starts), len(starts))
    name = crystal.get_chemical_formula(empirical=True)
    ordered = tuple(sorted(found, key=lambda v: v.energy))
    potential = host.potentials[element]
    return InterstitialEnergies(name, len(host.supercell), host.repeats, ordered, element, potential)


def _element(crystal: Atoms, element: str | None) -> str:
    symbols = sorted(set(crystal.symbols))
    if element is None and len(symbols) > 1:
        raise ConfigError(f"element: {crystal.get_chemical_formula()} is a compound; name that of the interstitial")
    if (element or symbols[0]) not in atomic_numbers:
        raise ConfigError(f"element: '{element}' is no element; give a symbol like Li")
    return element or symbols[0]


def voids(crystal: Atoms) -> list[tuple[np.ndarray, float, int]]:
    """Find the inequivalent voids, sorted by size from the largest. Raises `DataError` if there are none.

    Returns:
        Fractional coordinates, distance to the nearest atom (Å), and number of equivalent voids, for each.
    """
    inside = _vertices(crystal)
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


def _vertices(crystal: Atoms) -> np.ndarray:
    """Fractional coordinates of the vertices of the atoms' Voronoi cells within the crystal's cell, [K, 3]."""
    block = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
    if not is_minkowski_reduced(block.cell):
        # a skewed cell may be so thin that the outer cells of the block below do not surround the middle one
        block.set_cell(minkowski_reduce(block.cell)[0])
    block.wrap()
    cell = block.cell.array
    # the Voronoi cells of the atoms in the middle cell are complete
    vertices = Voronoi(block.repeat((3, 3, 3)).positions).vertices @ np.linalg.inv(cell)
    inside = vertices[((vertices > 1 - 1e-6) & (vertices < 2 - 1e-6)).all(axis=1)]
    return (inside @ cell @ np.linalg.inv(crystal.cell.array)) % 1.0


def _distance(place: np.ndarray, others: np.ndarray, crystal: Atoms) -> np.ndarray:
    """Minimum image distances between fractional coordinates, Å."""
    cell = crystal.cell.array
    return get_distances(place[None] @ cell, others @ cell, cell=crystal.cell, pbc=True)[1][0]
