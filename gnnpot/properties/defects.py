"""Common parts of point defect calculations: host crystal and supercell, chemical potentials, formation energies.

    host = host_of(crystal, calculator, given, supercell=None, length=10.0, relax=True, what="vacancy")
    final, energy, unrelaxed = host.formation_energies(defect, removed="Al", relax=True, fmax=0.01)

For an atom of element X removed from a supercell of N atoms, or added to it, the formation energy is

    E_f = E(N - 1) - E(N) + µ_X,    E_f = E(N + 1) - E(N) - µ_X.                                                (1)

The chemical potential µ_X is the energy of an atom of X in its reservoir. For an elemental crystal, this is its energy
per atom; for a compound, µ_X must be given, as a number or as a structure of the element (crystal or gas). Defects are
neutral, and the size of the cell is fixed.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.engines.cell_filters import CellFreedom
from gnnpot.errors import ConfigError
from gnnpot.properties.relaxed import check_unconstrained, energy_of, relaxed, repeats
from gnnpot.runs.progress import Progress, no_progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Å, tolerance for the equivalence of positions by symmetry
SYMPREC = 0.01

#: source of the chemical potential of each element: number (eV), structure, or `None` for the crystal itself
Sources = Mapping[str, float | StructureLike | None]

_UNITS = {
    "energy": "_eV", "unrelaxed_energy": "_eV", "displacement": "_A", "radius": "_A", "position": "_A",
    "distance": "_A", "outward": "_A",
}  # fmt: skip


class Defect(Protocol):
    """A defect on one of a set of equivalent sites: a dataclass with at least these fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def energy(self) -> float:
        """Formation energy after relaxation, eV."""

    @property
    def unrelaxed_energy(self) -> float:
        """Formation energy before relaxation, eV."""

    @property
    def label(self) -> str:
        """Label in plots."""


AnyDefect = TypeVar("AnyDefect", bound=Defect)


@dataclass(frozen=True, eq=False)
class Defects(Generic[AnyDefect]):
    """Defects of one kind in a crystal."""

    formula: str
    atoms: int  #: number of atoms in the supercell without a defect
    supercell: tuple[int, int, int]
    sites: tuple[AnyDefect, ...]  #: sorted by energy

    @property
    def title(self) -> str:
        """Title of the plot."""
        raise NotImplementedError

    @property
    def xlabel(self) -> str:
        """Label of the horizontal axis of the plot."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "formula": self.formula,
            "formation_energy_eV": self.sites[0].energy,
            "atoms": self.atoms,
            "supercell": list(self.supercell),
            "sites": [_plain(site) for site in self.sites],
        }

    def plot(self, path: Path) -> None:
        """Save a bar chart of the energies of the sites, relaxed and unrelaxed, as PNG."""
        from gnnpot.runs.pages import new_figure

        figure = new_figure(width=max(4.6, 1.6 + 0.7 * len(self.sites)))
        self.draw_energies(figure.add_subplot())
        figure.savefig(path)

    def draw_energies(self, axes: "Axes") -> None:
        """Draw the energies of the sites, relaxed and unrelaxed, as bars."""
        from gnnpot.runs.pages import COLORS, GREY, tidy

        names = [site.label for site in self.sites]
        place = np.arange(len(names))
        axes.bar(place - 0.2, [site.unrelaxed_energy for site in self.sites], 0.38, color=GREY, label="unrelaxed")
        axes.bar(place + 0.2, [site.energy for site in self.sites], 0.38, color=COLORS[0], label="relaxed")
        for x, site in zip(place, self.sites, strict=True):
            for side, energy in ((-0.2, site.unrelaxed_energy), (0.2, site.energy)):
                axes.annotate(
                    f"{energy:.2f}", (x + side, energy), xytext=(0, 2 if energy >= 0 else -2),
                    textcoords="offset points", ha="center", va="bottom" if energy >= 0 else "top", fontsize=8,
                )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.7)
        axes.set_xticks(place, names)
        axes.set(
            xlabel=self.xlabel, ylabel="formation energy, eV", title=f"{self.title}, {self.atoms} atoms",
            xlim=(-0.8, len(names) - 0.2),
        )  # fmt: skip
        axes.margins(y=0.14)
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
        axes.grid(False, axis="x")


def _plain(site: Any) -> dict[str, Any]:
    """Convert a dataclass, and dataclasses in its fields, to a dictionary with units in the keys."""
    values = {field.name: getattr(site, field.name) for field in dataclasses.fields(site)}
    for name, value in values.items():
        if isinstance(value, tuple):
            values[name] = [_plain(v) if dataclasses.is_dataclass(v) else v for v in value]
    return {f"{name}{_UNITS.get(name, '')}": value for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class Host:
    """A crystal without a defect."""

    crystal: Atoms
    supercell: Atoms  #: supercell, whose first atoms are those of `crystal`
    repeats: tuple[int, int, int]
    energy: float  #: eV, energy of the supercell
    potentials: Mapping[str, float]  #: chemical potentials, eV/atom
    calculator: BaseCalculator
    what: str  #: name of the defect, for messages

    def formation_energies(
        self, defect: Atoms, *, relax: bool, fmax: float, removed: str | None = None, added: str | None = None
    ) -> tuple[Atoms, float, float]:
        """Calculate formation energies by equation (1).

        Args:
            defect: Supercell with the defect.
            relax: Relax the positions of atoms.
            fmax: eV/Å, convergence threshold of the largest force.
            removed: Element of the removed atom.
            added: Element of the added atom.

        Returns:
            The relaxed supercell, and the formation energies after and before relaxation, eV.
        """
        exchanged = 0.0 if removed is None else self.potentials[removed]
        exchanged -= 0.0 if added is None else self.potentials[added]
        unrelaxed = energy_of(defect, self.calculator)
        final = relaxed(defect, self.calculator, fmax=fmax, what=f"{self.what}: atoms around") if relax else defect
        after = energy_of(final, self.calculator)
        return final, after - self.energy + exchanged, unrelaxed - self.energy + exchanged


def host_of(
    crystal: Atoms,
    calculator: BaseCalculator,
    sources: Sources,
    *,
    supercell: tuple[int, int, int] | None,
    length: float,
    relax: bool,
    what: str,
    progress: Progress = no_progress,
) -> Host:
    """Relax the crystal, create its supercell, and calculate chemical potentials.

    Args:
        crystal: Crystal.
        calculator: Any ASE calculator.
        sources: Result of `chemical_potential_sources`; structures of elements are relaxed.
        supercell: Repeats of the cell; default: the least for which the supercell reaches `length`.
        length: Å, minimum height of the supercell along each vector.
        relax: Relax positions and cell of the crystal.
        what: Name of the defect, for messages.
        progress: Called with the progress of relaxations.

    Raises:
        DataError: A structure of `sources` has constraints.
        SimulationError: A relaxation fails.
    """
    if relax:
        crystal = relaxed(crystal, calculator, cell="full", what=f"{what}: crystal", progress=progress)
    potentials = {}
    for element, source in sources.items():
        if isinstance(source, (int, float)):
            potentials[element] = float(source)
            continue
        reference = crystal
        if source is not None:
            start = as_atoms(source)
            check_unconstrained(start, f"{what}: reference of {element}")
            cell: CellFreedom = "full" if start.pbc.all() else "none"
            reference = relaxed(start, calculator, cell=cell, what=f"reference of {element}", progress=progress)
        potentials[element] = energy_of(reference, calculator) / len(reference)
    repeated = supercell or repeats(crystal.cell, length)
    whole = crystal.repeat(repeated)
    return Host(crystal, whole, repeated, energy_of(whole, calculator), potentials, calculator, what)


def chemical_potential_sources(
    crystal: Atoms,
    elements: Sequence[str],
    numbers: Mapping[str, float] | None,
    references: Mapping[str, StructureLike] | None,
) -> dict[str, float | StructureLike | None]:
    """Return the source of the chemical potential of each element; `None`: the crystal itself.

    Raises:
        ConfigError: An element has neither a number nor a reference, and the crystal is not the pure element.
    """
    given: dict[str, float | StructureLike | None] = {**(references or {}), **(numbers or {})}
    missing = [e for e in elements if e not in given and set(crystal.symbols) != {e}]
    if missing:
        raise ConfigError(
            f"chemical_potentials: that of {missing[0]} is missing, and {crystal.get_chemical_formula()} is not of it "
            "alone; give the energy of an atom where it goes or comes from (eV), or its structure in references"
        )
    return {e: given.get(e) for e in elements}
