"""Formation energies of vacancies on the inequivalent sites of a crystal.

    result = calc(atoms, calculator)                                                                 # an element
    result = calc(atoms, calculator, VacancyConfig(references={"Li": metal, "O": oxygen}))           # a compound
    result.sites[0].energy

Formation energies and chemical potentials are defined by equation (1) of `gnnpot.properties.defects`. Formation
energies converge with the size of the supercell; the difference from a smaller supercell is an estimate of the error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import get_distances

from gnnpot.data.structures import StructureLike
from gnnpot.domains import INTEGER_FROM_1, POSITIVE, check_fields
from gnnpot.errors import ConfigError
from gnnpot.properties.defects import SYMPREC, Defects, chemical_potential_sources, host_of
from gnnpot.properties.relaxed import crystal_of
from gnnpot.runs.progress import Progress, no_progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: number of nearest shells of atoms around a vacancy in a result
SHELLS = 10
_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, slots=True)
class Shell:
    """Atoms of an element at the same distance from a vacancy."""

    element: str
    distance: float  #: Å, distance before relaxation
    count: int  #: number of atoms
    outward: float  #: Å, mean displacement away from the vacancy in relaxation; negative if towards it


@dataclass(frozen=True, slots=True)
class VacancySite:
    """Vacancy on one of the inequivalent sites."""

    element: str
    site: int  #: index of the atom in the given structure
    multiplicity: int  #: number of equivalent atoms in the given structure
    energy: float  #: eV, formation energy, relaxed
    unrelaxed_energy: float  #: eV, formation energy before relaxation
    displacement: float  #: Å, the largest displacement of an atom in relaxation
    shells: tuple[Shell, ...] = ()  #: the nearest `SHELLS` shells, sorted by distance

    @property
    def label(self) -> str:
        """Label in plots."""
        return f"{self.element} (atom {self.site})"


@dataclass(frozen=True, eq=False)
class VacancyEnergies(Defects[VacancySite]):
    """Formation energies of the vacancies of a crystal."""

    chemical_potentials: Mapping[str, float]  #: eV/atom

    @property
    def title(self) -> str:
        """Title of the plot."""
        return f"Vacancies of {self.formula}"

    @property
    def xlabel(self) -> str:
        """Label of the horizontal axis of the plot."""
        return "site"

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {**super().to_json(), "chemical_potentials_eV": dict(self.chemical_potentials)}

    def plot(self, path: Path) -> None:
        """Save a plot of the energies, if there are several sites, and displacements around vacancies, as PNG."""
        from gnnpot.runs.pages import new_figure

        moved = any(shell.outward for site in self.sites for shell in site.shells)
        if not moved:
            super().plot(path)
            return
        panels = 2 if len(self.sites) > 1 else 1
        figure = new_figure(width=5.4 if panels == 1 else 5.6 + max(4.6, 1.6 + 0.9 * len(self.sites)))
        if panels == 2:
            self.draw_energies(figure.add_subplot(1, 2, 1))
        self._draw_shells(figure.add_subplot(1, panels, panels))
        figure.savefig(path)

    def _draw_shells(self, axes: "Axes") -> None:
        """Draw displacement over distance, with a color for each site and a marker for each element around it."""
        from gnnpot.runs.pages import COLORS, tidy

        elements = sorted({shell.element for site in self.sites for shell in site.shells})
        for k, site in enumerate(self.sites):
            color = COLORS[k % len(COLORS)]
            for element, marker in zip(elements, _MARKERS * len(elements), strict=False):
                near = [shell for shell in site.shells if shell.element == element]
                axes.plot(
                    [s.distance for s in near], [s.outward for s in near], marker, color=color, markersize=6,
                    markerfacecolor=color if k % 2 == 0 else "white", label=f"{element} around {site.label}",
                )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.7)
        title = "Atoms around the vacancy"
        if len(self.sites) == 1:
            (site,) = self.sites
            title = f"{self.title}, {self.atoms} atoms: {site.energy:.2f} eV ({site.unrelaxed_energy:.2f} unrelaxed)"
        axes.set(xlabel="distance from the vacancy, Å", ylabel="mean displacement outwards, Å")
        axes.set_title(title, fontsize=10 if len(self.sites) == 1 else None)
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)


@dataclass(frozen=True, slots=True)
class VacancyConfig:
    """Options of `calc`.

    Args:
        element: Calculate vacancies of this element only; default: all elements.
        chemical_potentials: eV, chemical potential of each element, i.e. the energy of an atom in its reservoir.
        references: Structure of each element whose relaxed energy per atom is its chemical potential.
        supercell: Repeats of the cell; default: the least for which the supercell reaches `length`.
        length: Å, minimum height of the supercell along each vector.
        relax: Relax the crystal with its cell, and positions around the vacancy; otherwise use the given structure.
        fmax: eV/Å, convergence threshold of the largest force.
    """

    element: str | None = None
    chemical_potentials: Mapping[str, float] | None = None
    references: Mapping[str, StructureLike] | None = None
    supercell: Annotated[tuple[int, int, int] | None, INTEGER_FROM_1] = None
    length: Annotated[float, POSITIVE] = 10.0
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 0.01

    def __post_init__(self) -> None:
        check_fields(self)


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: VacancyConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> VacancyEnergies:
    """Calculate the formation energies of vacancies in a crystal.

    Args:
        atoms: Crystal.
        calculator: Any ASE calculator.
        config: Options; default: `VacancyConfig()`.
        progress: Called with the progress of sites and relaxations.

    Returns:
        Formation energy of a vacancy on each inequivalent site, sorted by energy.

    Raises:
        ConfigError: The crystal does not contain the element, or a chemical potential is missing.
        DataError: The structure is not a crystal.
        SimulationError: A relaxation fails.
    """
    config = config or VacancyConfig()
    crystal = crystal_of(atoms, "vacancy")
    if config.element is not None and config.element not in crystal.symbols:
        raise ConfigError(
            f"element: {crystal.get_chemical_formula()} has no {config.element}; name one of its elements"
        )
    wanted = [config.element] if config.element is not None else sorted(set(crystal.symbols))
    sources = chemical_potential_sources(crystal, wanted, config.chemical_potentials, config.references)
    host = host_of(
        crystal, calculator, sources,
        supercell=config.supercell, length=config.length, relax=config.relax, what="vacancy", progress=progress,
    )  # fmt: skip
    sites = [(s, m) for s, m in inequivalent_sites(host.crystal) if host.crystal.symbols[s] in wanted]
    found = []
    for k, (site, multiplicity) in enumerate(sites):
        progress("vacancy: sites", k, len(sites))
        symbol = host.crystal.symbols[site]
        defect = host.supercell.copy()
        # atoms in the first cell of the supercell have the same indices as in the crystal
        del defect[site]
        final, after, before = host.formation_energies(defect, removed=symbol, relax=config.relax, fmax=config.fmax)
        shift = np.linalg.norm(final.positions - defect.positions, axis=1).max()
        shells = shells_of(defect, host.supercell.positions[site], final.positions - defect.positions)
        found.append(VacancySite(symbol, site, multiplicity, after, before, float(shift), shells))
    progress("vacancy: sites", len(sites), len(sites))
    name = crystal.get_chemical_formula(empirical=True)
    ordered = tuple(sorted(found, key=lambda v: v.energy))
    return VacancyEnergies(name, len(host.supercell), host.repeats, ordered, host.potentials)


def shells_of(around: Atoms, place: np.ndarray, displacements: np.ndarray) -> tuple[Shell, ...]:
    """Find the nearest shells of atoms around a point.

    Args:
        around: Unrelaxed atoms.
        place: Position of the point, [3] Å.
        displacements: Displacements of the atoms in relaxation, [N, 3] Å.

    Returns:
        The `SHELLS` nearest shells, sorted by distance. Consecutive distances within a shell differ by up to `SYMPREC`.
    """
    vectors, distances = get_distances(place[None], around.positions, cell=around.cell, pbc=around.pbc)
    vectors, distances = vectors[0], distances[0]
    outward = (displacements * vectors).sum(axis=1) / distances
    symbols = np.array(around.get_chemical_symbols())
    shells: list[Shell] = []
    for element in sorted(set(symbols)):
        own = np.flatnonzero(symbols == element)
        own = own[np.argsort(distances[own], kind="stable")]
        for members in np.split(own, np.flatnonzero(np.diff(distances[own]) > SYMPREC) + 1):
            middle, mean = float(distances[members].mean()), float(outward[members].mean())
            shells.append(Shell(element, middle, len(members), mean))
    return tuple(sorted(shells, key=lambda shell: shell.distance)[:SHELLS])


def inequivalent_sites(crystal: Atoms) -> list[tuple[int, int]]:
    """Index of the first atom, and number of atoms, in each set of equivalent atoms."""
    cell = crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers
    dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    same = np.arange(len(crystal)) if dataset is None else dataset.equivalent_atoms
    return [(int(k), int((same == k).sum())) for k in np.unique(same)]
