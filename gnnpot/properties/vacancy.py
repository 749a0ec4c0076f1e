"""Formation energy of vacancies, of each inequivalent site of a crystal.

    result = calc(atoms, calculator)                                              # an element
    result = calc(atoms, calculator, references={"Li": metal, "O": oxygen})       # a compound
    result.sites[0].energy

With an atom of element X taken out of a supercell of N atoms,

    E_f = E(N - 1) - E(N) + µ_X.                                                                                (1)

µ_X is the energy of an atom of X where it goes: that of the crystal for an element; for a compound it must be given, as
a number or by the crystal (or gas) of the element, and E_f depends on it. Neutral vacancies; the cell keeps its size.
The energy of a supercell converges with its size; the difference to a smaller one is an estimate of what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.engines.cell_filters import CellFreedom
from gnnpot.errors import ConfigError
from gnnpot.properties.relaxed import crystal_of, energy_of, relaxed, repeats
from gnnpot.runs.progress import Progress, no_progress

#: Å, within which positions are equivalent by symmetry
SYMPREC = 0.01


@dataclass(frozen=True, slots=True)
class Vacancy:
    """A vacancy on one inequivalent site."""

    element: str
    site: int  #: index of the atom in the given structure
    multiplicity: int  #: equivalent atoms in the given structure
    energy: float  #: eV, formation energy, relaxed
    unrelaxed_energy: float  #: eV, before atoms relax
    displacement: float  #: Å, the largest of an atom


@dataclass(frozen=True, eq=False)
class Vacancies:
    """Vacancies of a crystal."""

    formula: str
    atoms: int  #: in the supercell without a vacancy
    supercell: tuple[int, int, int]
    chemical_potentials: Mapping[str, float]  #: eV/atom
    sites: tuple[Vacancy, ...]  #: by energy

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
        return {
            "formula": self.formula,
            "formation_energy_eV": self.sites[0].energy,
            "atoms": self.atoms,
            "supercell": list(self.supercell),
            "chemical_potentials_eV": dict(self.chemical_potentials),
            "sites": [
                {
                    "element": s.element,
                    "site": s.site,
                    "multiplicity": s.multiplicity,
                    "energy_eV": s.energy,
                    "unrelaxed_energy_eV": s.unrelaxed_energy,
                    "displacement_A": s.displacement,
                }
                for s in self.sites
            ],
        }

    def plot(self, path: Path) -> None:
        """The energies of the sites, as PNG."""
        title = f"Vacancies of {self.formula}, {self.atoms} atoms"
        draw_energies(
            path, title, [f"{s.element} {s.site}" for s in self.sites],
            [s.energy for s in self.sites], [s.unrelaxed_energy for s in self.sites],
        )  # fmt: skip


def draw_energies(path: Path, title: str, names: list[str], energies: list[float], unrelaxed: list[float]) -> None:
    """Formation energies of defects, relaxed and not, as PNG."""
    from gnnpot.runs.pages import COLORS, GREY, new_figure, tidy

    figure = new_figure(width=max(4.6, 1.6 + 0.7 * len(names)))
    axes = figure.add_subplot()
    place = np.arange(len(names))
    axes.bar(place - 0.2, unrelaxed, 0.38, color=GREY, label="unrelaxed")
    axes.bar(place + 0.2, energies, 0.38, color=COLORS[0], label="relaxed")
    for x, value in zip(place, energies, strict=True):
        axes.text(x + 0.2, value, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(place, names)
    axes.set(ylabel="formation energy, eV", title=title, xlim=(-0.8, len(names) - 0.2))
    axes.margins(y=0.12)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    figure.savefig(path)


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    *,
    element: str | None = None,
    chemical_potentials: Mapping[str, float] | None = None,
    references: Mapping[str, StructureLike] | None = None,
    supercell: tuple[int, int, int] | None = None,
    length: float = 10.0,
    relax: bool = True,
    fmax: float = 0.01,
    progress: Progress = no_progress,
) -> Vacancies:
    """Formation energies of the vacancies of a crystal by a calculator.

    Args:
        atoms: The crystal.
        calculator: Any ASE calculator.
        element: Only vacancies of this element; default: of all.
        chemical_potentials: eV, energy of an atom of each element where it goes.
        references: Of each element, the structure whose relaxed energy per atom is its chemical potential.
        supercell: Repeats of the cell; by default as many as `length` needs.
        length: Å, the least height of the supercell.
        relax: Relax the crystal (cell too) first, and the atoms around the vacancy; otherwise nothing moves.
        fmax: eV/Å, the largest force that may be left.
        progress: Takes sites and relaxations.

    Raises:
        ConfigError: An element that the crystal lacks, or a compound's chemical potentials are missing.
        DataError: The structure is no crystal.
        SimulationError: A relaxation fails.
    """
    crystal = crystal_of(atoms, "vacancy")
    if element is not None and element not in crystal.symbols:
        raise ConfigError(f"element: {crystal.get_chemical_formula()} has no {element}; name one of its elements")
    wanted = [element] if element is not None else sorted(set(crystal.symbols))
    given = required_potentials(crystal, wanted, chemical_potentials, references)
    if relax:
        crystal = relaxed(crystal, calculator, cell="full", what="vacancy: crystal", progress=progress)
    potentials = found_potentials(crystal, calculator, given, wanted, progress)
    repeated = supercell or repeats(crystal.cell, length)
    whole = crystal.repeat(repeated)
    perfect = energy_of(whole, calculator)
    sites = [(s, m) for s, m in inequivalent_sites(crystal) if crystal.symbols[s] in wanted]
    found = []
    for k, (site, multiplicity) in enumerate(sites):
        progress("vacancy: sites", k, len(sites))
        symbol = crystal.symbols[site]
        defect = whole.copy()
        # the first cell of the supercell has the indices of the crystal
        del defect[site]
        unrelaxed = energy_of(defect, calculator)
        final = relaxed(defect, calculator, fmax=fmax, what="vacancy: atoms around") if relax else defect
        shift = np.linalg.norm(final.positions - defect.positions, axis=1).max()
        after, before = (e - perfect + potentials[symbol] for e in (energy_of(final, calculator), unrelaxed))
        found.append(Vacancy(symbol, site, multiplicity, after, before, float(shift)))
    progress("vacancy: sites", len(sites), len(sites))
    name = crystal.get_chemical_formula(empirical=True)
    ordered = tuple(sorted(found, key=lambda v: v.energy))
    return Vacancies(name, len(whole), repeated, potentials, ordered)


def inequivalent_sites(crystal: Atoms) -> list[tuple[int, int]]:
    """(index, number of equivalent atoms) of the first atom of each set of equivalent ones."""
    cell = crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers
    dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    same = np.arange(len(crystal)) if dataset is None else dataset.equivalent_atoms
    return [(int(k), int((same == k).sum())) for k in np.unique(same)]


def required_potentials(
    crystal: Atoms,
    elements: list[str],
    numbers: Mapping[str, float] | None,
    references: Mapping[str, StructureLike] | None,
) -> dict[str, float | StructureLike | None]:
    """What gives each element's chemical potential; `None`: the crystal itself. Raises `ConfigError` for a compound's
    element with neither a number nor a reference."""
    given: dict[str, float | StructureLike | None] = {**(references or {}), **(numbers or {})}
    missing = [e for e in elements if e not in given]
    if missing and len(set(crystal.symbols)) > 1:
        raise ConfigError(
            f"chemical_potentials: that of {missing[0]} is missing; {crystal.get_chemical_formula()} is a compound, so "
            "give the energy of an atom where it goes (eV), or the element's structure in references"
        )
    return {e: given.get(e) for e in elements}


def found_potentials(
    crystal: Atoms,
    calculator: BaseCalculator,
    given: Mapping[str, float | StructureLike | None],
    elements: list[str],
    progress: Progress,
) -> dict[str, float]:
    """Chemical potentials, eV/atom; structures of elements are relaxed."""
    found = {}
    for element in elements:
        source = given[element]
        if isinstance(source, (int, float)):
            found[element] = float(source)
            continue
        reference = crystal
        if source is not None:
            start = as_atoms(source)
            cell: CellFreedom = "full" if start.pbc.all() else "none"
            reference = relaxed(start, calculator, cell=cell, what=f"reference of {element}", progress=progress)
        found[element] = energy_of(reference, calculator) / len(reference)
    return found
