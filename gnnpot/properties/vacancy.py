"""Formation energy of vacancies, of each inequivalent site of a crystal.

    result = calc(atoms, calculator)                                                                 # an element
    result = calc(atoms, calculator, VacancyConfig(references={"Li": metal, "O": oxygen}))           # a compound
    result.sites[0].energy

By equation (1) of `gnnpot.properties.defects`, which says what the chemical potentials are. The energy of a supercell
converges with its size; the difference to a smaller one is an estimate of what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.structures import StructureLike
from gnnpot.domains import POSITIVE, WHOLE_FROM_1, check_fields
from gnnpot.errors import ConfigError
from gnnpot.properties.defects import SYMPREC, Defects, chemical_potential_sources, host_of
from gnnpot.properties.relaxed import crystal_of
from gnnpot.runs.progress import Progress, no_progress


@dataclass(frozen=True, slots=True)
class VacancySite:
    """A vacancy on one inequivalent site."""

    element: str
    site: int  #: index of the atom in the given structure
    multiplicity: int  #: equivalent atoms in the given structure
    energy: float  #: eV, formation energy, relaxed
    unrelaxed_energy: float  #: eV, before atoms relax
    displacement: float  #: Å, the largest of an atom

    @property
    def label(self) -> str:
        """Its name in the picture."""
        return f"{self.element} {self.site}"


@dataclass(frozen=True, eq=False)
class VacancyEnergies(Defects[VacancySite]):
    """Formation energies of the vacancies of a crystal."""

    chemical_potentials: Mapping[str, float]  #: eV/atom

    @property
    def title(self) -> str:
        """Of the picture."""
        return f"Vacancies of {self.formula}"

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
        return {**super().to_json(), "chemical_potentials_eV": dict(self.chemical_potentials)}


@dataclass(frozen=True, slots=True)
class VacancyConfig:
    """Which vacancies are calculated, and in which supercell.

    Args:
        element: Only vacancies of this element; default: of all.
        chemical_potentials: eV, energy of an atom of each element where it goes.
        references: Of each element, the structure whose relaxed energy per atom is its chemical potential.
        supercell: Repeats of the cell; by default as many as `length` needs.
        length: Å, the least height of the supercell.
        relax: Relax the crystal (cell too) first, and the atoms around the vacancy; otherwise nothing moves.
        fmax: eV/Å, the largest force that may be left.
    """

    element: str | None = None
    chemical_potentials: Mapping[str, float] | None = None
    references: Mapping[str, StructureLike] | None = None
    supercell: Annotated[tuple[int, int, int] | None, WHOLE_FROM_1] = None
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
    """Formation energies of the vacancies of a crystal by a calculator.

    Args:
        atoms: The crystal.
        calculator: Any ASE calculator.
        config: Options; by default `VacancyConfig()`.
        progress: Takes sites and relaxations.

    Returns:
        The formation energy of a vacancy on each inequivalent site; the sites by energy.

    Raises:
        ConfigError: An element that the crystal lacks, or a compound's chemical potentials are missing.
        DataError: The structure is no crystal.
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
        # the first cell of the supercell has the indices of the crystal
        del defect[site]
        final, after, before = host.formation_energies(defect, removed=symbol, relax=config.relax, fmax=config.fmax)
        shift = np.linalg.norm(final.positions - defect.positions, axis=1).max()
        found.append(VacancySite(symbol, site, multiplicity, after, before, float(shift)))
    progress("vacancy: sites", len(sites), len(sites))
    name = crystal.get_chemical_formula(empirical=True)
    ordered = tuple(sorted(found, key=lambda v: v.energy))
    return VacancyEnergies(name, len(host.supercell), host.repeats, ordered, host.potentials)


def inequivalent_sites(crystal: Atoms) -> list[tuple[int, int]]:
    """(index, number of equivalent atoms) of the first atom of each set of equivalent ones."""
    cell = crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers
    dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    same = np.arange(len(crystal)) if dataset is None else dataset.equivalent_atoms
    return [(int(k), int((same == k).sum())) for k in np.unique(same)]
