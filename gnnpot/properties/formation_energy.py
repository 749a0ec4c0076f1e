"""Formation energy of a crystal, and its energy above the convex hull of all competing phases.

    # competing phases from entries of pymatgen, or calculated from structures
    result = calc(atoms, calculator, FormationEnergyConfig(entries=Path("entries.json")))
    result = calc(atoms, calculator, FormationEnergyConfig(references=(metal, oxygen)))
    result.formation_energy, result.energy_above_hull, result.decomposition

With entries, the energy of the calculator is compared with theirs, so both must have the same reference. For potentials
trained on uncorrected PBE and PBE+U energies with settings of the Materials Project, `corrections="MP2020"` adds the
MP2020 correction to the calculator's energy, by pymatgen. The energies of entries are used unchanged, and should then
include the same correction. With references, all energies are calculated by the calculator without corrections.

Phase diagram and corrections by pymatgen: Ong et al., Chem. Mater. 20, 1798 (2008); Wang et al., Sci. Rep. 11, 15496
(2021).
"""

import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from monty.json import MontyDecoder
from pymatgen.analysis.phase_diagram import PhaseDiagram
from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry

from gnnpot.data.mp.corrections import mp2020
from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.domains import POSITIVE, check_fields
from gnnpot.engines.cell_filters import CellFreedom
from gnnpot.errors import ConfigError, DataError
from gnnpot.extras import needs_extra
from gnnpot.properties.relaxed import check_unconstrained, crystal_of, energy_of, relaxed
from gnnpot.runs.progress import Progress, no_progress

Corrections = Literal["MP2020", "none"]


@dataclass(frozen=True, slots=True)
class DecompositionPhase:
    """A phase into which a crystal decomposes."""

    formula: str
    share: float  #: fraction of the atoms


@dataclass(frozen=True, eq=False)
class FormationEnergy:
    """Energies of a crystal relative to the elements and the competing phases."""

    formula: str
    energy: float  #: eV/atom, including the correction
    correction: float  #: eV/atom, correction added to the calculator's energy
    formation_energy: float  #: eV/atom, relative to the elements
    energy_above_hull: float  #: eV/atom; negative if it is below the hull of the competing phases
    decomposition: tuple[DecompositionPhase, ...]  #: competing phases of lowest energy at the same composition
    phases: tuple[tuple[str, float, float], ...]  #: (formula, formation energy, energy above the hull), eV/atom

    @property
    def stable(self) -> bool:
        """Whether the crystal is on or below the hull of the competing phases."""
        return self.energy_above_hull <= 1e-8

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "formula": self.formula,
            "formation_energy_eV_atom": self.formation_energy,
            "energy_above_hull_eV_atom": self.energy_above_hull,
            "stable": self.stable,
            "energy_eV_atom": self.energy,
            "correction_eV_atom": self.correction,
            "decomposition": [{"formula": p.formula, "share_of_atoms": p.share} for p in self.decomposition],
            "phases": [
                {"formula": f, "formation_energy_eV_atom": e, "energy_above_hull_eV_atom": h} for f, e, h in self.phases
            ],
        }

    def plot(self, path: Path) -> None:
        """Save a plot as PNG: formation energy over composition for two elements, else energies above the hull."""
        from gnnpot.runs.pages import COLORS, GREY, new_figure, tidy

        figure = new_figure(width=5.6)
        axes = figure.add_subplot()
        elements = sorted({e.symbol for f in (self.formula, *(p[0] for p in self.phases)) for e in Composition(f)})
        if len(elements) == 2:
            share = {
                f: Composition(f).get_atomic_fraction(elements[1]) for f in (self.formula, *(p[0] for p in self.phases))
            }
            hull = sorted((share[f], e) for f, e, h in self.phases if h < 1e-8)
            axes.plot(
                [x for x, _ in hull],
                [e for _, e in hull],
                "o-",
                color=COLORS[0],
                markersize=5,
                label="hull of the other phases",
            )
            above = [(share[f], e) for f, e, h in self.phases if 1e-8 <= h < 0.5]
            if above:
                axes.plot([x for x, _ in above], [e for _, e in above], ".", color=GREY, label="above it")
            axes.plot(
                [share[self.formula]], [self.formation_energy], "*", color=COLORS[4], markersize=14, label=self.formula
            )
            for f, energy, height in self.phases:
                if height < 1e-8 and len(Composition(f)) > 1:
                    axes.annotate(
                        Composition(f).reduced_formula, (share[f], energy), xytext=(8, -3), textcoords="offset points",
                        fontsize=8,
                    )  # fmt: skip
            axes.set(xlabel=f"atomic fraction of {elements[1]}", ylabel="formation energy, eV/atom")
        else:
            shown = sorted(self.phases, key=lambda p: p[2])[:12]
            names, heights = [p[0] for p in shown] + [self.formula], [p[2] for p in shown] + [self.energy_above_hull]
            axes.barh(names, [1000 * h for h in heights], color=[GREY] * len(shown) + [COLORS[4]])
            axes.plot([1000 * h for h in heights], names, "o", color=COLORS[0], markersize=4)
            axes.invert_yaxis()
            axes.set(xlabel="energy above the hull, meV/atom")
        side = "above" if self.energy_above_hull >= 0 else "below"
        axes.set_title(
            f"{self.formula}: {abs(1000 * self.energy_above_hull):.0f} meV/atom {side} the hull of the other phases",
            fontsize=10,
        )
        if len(elements) == 2:
            axes.legend(frameon=False, fontsize=8)
        tidy(axes)
        figure.savefig(path)


@dataclass(frozen=True, slots=True)
class FormationEnergyConfig:
    """Options of `calc`; give one of the three sources of competing phases.

    Args:
        entries: JSON file with a list of pymatgen's ComputedEntry or ComputedStructureEntry, including the elements.
        references: Structures of competing phases, including the elements; the calculator calculates their energies.
        from_materials_project: Download entries by mp-api; requires network access, and the API key in MP_API_KEY.
        corrections: Correction added to the calculator's energy when compared with entries: MP2020, or none.
        relax: Relax cells and positions; otherwise use the given structures.
        fmax: eV/Å, convergence threshold of the largest force.
    """

    entries: Path | None = None
    references: Sequence[StructureLike] = ()
    from_materials_project: bool = False
    corrections: Corrections = "MP2020"
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 0.01

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.entries is not None) + bool(self.references) + self.from_materials_project != 1:
            raise ValueError("give one of entries, references and from_materials_project")


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: FormationEnergyConfig,
    *,
    progress: Progress = no_progress,
) -> FormationEnergy:
    """Calculate the formation energy of a crystal and its energy above the hull.

    Args:
        atoms: Crystal.
        calculator: Any ASE calculator.
        config: Source of competing phases, and options.
        progress: Called with the progress of structures and relaxations.

    Returns:
        Formation energy and energy above the hull (eV/atom), and the phases into which the crystal decomposes.

    Raises:
        ConfigError: The API key of the Materials Project is missing.
        DataError: The file has no entries, an element has no entry, or MP2020 has no correction for the composition.
        SimulationError: A relaxation fails.
    """
    crystal = crystal_of(atoms, "formation energy")
    if config.relax:
        what = "formation energy: crystal"
        crystal = relaxed(crystal, calculator, cell="full", fmax=config.fmax, what=what, progress=progress)
    energy, correction = energy_of(crystal, calculator), 0.0
    if config.references:
        known = _calculated(config, calculator, progress)
    else:
        known = _read(config.entries) if config.entries is not None else _fetched(sorted(set(crystal.symbols)))
        if config.corrections == "MP2020":
            correction = _correction(crystal)
    own = ComputedEntry(crystal.get_chemical_formula(), energy, correction=correction)
    return _result(own, known)


def _calculated(config: FormationEnergyConfig, calculator: BaseCalculator, progress: Progress) -> list[ComputedEntry]:
    """Calculate entries of competing phases that are given as structures."""
    found, references = [], config.references
    for k, structure in enumerate(references):
        progress("formation energy: references", k, len(references))
        reference = as_atoms(structure).copy()
        check_unconstrained(reference, "formation energy: reference")
        if config.relax:
            cell: CellFreedom = "full" if reference.pbc.all() else "none"
            what = f"formation energy: {reference.symbols}"
            reference = relaxed(reference, calculator, cell=cell, fmax=config.fmax, what=what)
        found.append(ComputedEntry(reference.get_chemical_formula(), energy_of(reference, calculator)))
    progress("formation energy: references", len(references), len(references))
    return found


def _read(path: Path) -> list[ComputedEntry]:
    try:
        text = path.read_text("utf-8")
        # only classes of pymatgen's entries are decoded, for safety
        found = [_entry(content) for content in json.loads(text)]
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give a JSON file of entries") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: is no list of pymatgen's entries ({error}); write one by monty's dumpfn") from None
    if not found:
        raise DataError(f"{path}: has no entries; give those of the elements and of competing phases")
    return found


def _entry(content: dict[str, Any]) -> ComputedEntry:
    name, module = content["@class"], content["@module"]
    if name not in ("ComputedEntry", "ComputedStructureEntry") or not module.startswith("pymatgen."):
        raise ValueError(f"{module}.{name} is no ComputedEntry")
    return MontyDecoder().process_decoded(content)


def _fetched(elements: list[str]) -> list[ComputedEntry]:
    """Download the entries of a chemical system, with corrections, from the Materials Project."""
    with needs_extra("formation energy"):
        from mp_api.client import MPRester
    if not os.environ.get("MP_API_KEY"):
        raise ConfigError("from_materials_project: the key is missing; set MP_API_KEY, or give a file of entries")
    with MPRester() as client:
        return list(client.get_entries_in_chemsys(elements, additional_criteria={"thermo_types": ["GGA_GGA+U"]}))


def _correction(crystal: Atoms) -> float:
    """MP2020 correction of the cell, eV; for GGA+U if the Materials Project uses U for the composition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for run_type in ("GGA+U", "GGA"):
            value = mp2020(crystal.numbers, crystal.positions, crystal.cell.array, run_type)
            if value is not None:
                return value
    raise DataError(
        f"{crystal.get_chemical_formula()}: MP2020 has no correction for this composition; set corrections=none"
    )


def _above_hull(diagram: PhaseDiagram, entry: Any) -> float:
    """Energy above the hull of an entry in the diagram, eV/atom."""
    above = diagram.get_e_above_hull(entry)
    return math.nan if above is None else float(above)


def _result(own: ComputedEntry, known: list[ComputedEntry]) -> FormationEnergy:
    elements = set(own.composition.elements)
    relevant = [e for e in known if set(e.composition.elements) <= elements]
    missing = sorted(e.symbol for e in elements if not any(r.composition.elements == [e] for r in relevant))
    if missing:
        raise DataError(f"formation energy: there is no entry of the element {missing[0]}; add one")
    diagram = PhaseDiagram(relevant)
    decomposition, above = diagram.get_decomp_and_e_above_hull(own, allow_negative=True)
    phases = [
        (e.composition.reduced_formula, float(diagram.get_form_energy_per_atom(e)), _above_hull(diagram, e))
        for e in diagram.all_entries
    ]
    parts = [
        DecompositionPhase(e.composition.reduced_formula, float(share)) for e, share in (decomposition or {}).items()
    ]
    return FormationEnergy(
        formula=own.composition.reduced_formula,
        energy=float(own.energy_per_atom),
        correction=float(own.correction_per_atom),
        formation_energy=float(diagram.get_form_energy_per_atom(own)),
        energy_above_hull=math.nan if above is None else float(above),
        decomposition=tuple(sorted(parts, key=lambda p: -p.share)),
        phases=tuple(sorted(phases, key=lambda p: p[1])),
    )
