"""Formation energy of a crystal, and its energy above the convex hull of all competing phases.

    # ComputedEntry of pymatgen, or everything by the calculator
    result = calc(atoms, calculator, FormationEnergyConfig(entries=Path("entries.json")))
    result = calc(atoms, calculator, FormationEnergyConfig(references=(metal, oxygen)))
    result.formation_energy, result.energy_above_hull, result.decomposition

With entries, the energy of the calculator is compared with theirs, so that it must mean the same: a potential of raw
PBE and PBE+U energies of the Materials Project's settings is given the same corrections (`corrections="MP2020"`), by
pymatgen. Entries are corrected by the same scheme, or used unchanged. With references, all energies are the
calculator's, and no correction is made.

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
from gnnpot.properties.relaxed import crystal_of, energy_of, relaxed
from gnnpot.runs.progress import Progress, no_progress

Corrections = Literal["MP2020", "none"]


@dataclass(frozen=True, slots=True)
class DecompositionPhase:
    """A phase that a crystal decomposes into."""

    formula: str
    share: float  #: of the atoms


@dataclass(frozen=True, eq=False)
class FormationEnergy:
    """Energies of a crystal relative to its elements and to the competing phases."""

    formula: str
    energy: float  #: eV/atom, with the correction
    correction: float  #: eV/atom, that was added to the calculator's energy
    formation_energy: float  #: eV/atom, from the elements
    energy_above_hull: float  #: eV/atom; negative if it is below the hull of the competing phases
    decomposition: tuple[DecompositionPhase, ...]  #: the competing phases of lowest energy at its composition
    phases: tuple[tuple[str, float, float], ...]  #: (formula, eV/atom from the elements, eV/atom above the hull)

    @property
    def stable(self) -> bool:
        """Whether no competing phase is lower."""
        return self.energy_above_hull <= 1e-8

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
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
        """Formation energies of the phases near the hull: against composition for two elements, as PNG."""
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
    """What a crystal is compared with; give one of the three sources of competing phases.

    Args:
        entries: A JSON file with a list of pymatgen's ComputedEntry or ComputedStructureEntry, of the elements too.
        references: Competing phases, of the elements too, whose energies the calculator gives.
        from_materials_project: Entries by mp-api; needs the network, and the key in MP_API_KEY.
        corrections: With entries: that of MP2020 is added to the calculator's energy, or nothing.
        relax: Relax cells and atoms; otherwise nothing moves.
        fmax: eV/Å, the largest force that may be left.
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
    """Formation energy and energy above the hull by a calculator. Give one of the three sources of competing phases.

    Args:
        atoms: The crystal.
        calculator: Any ASE calculator.
        config: The source of competing phases, and options.
        progress: Takes structures and relaxations.

    Returns:
        Formation energy and energy above the hull (eV/atom), and the phases that the crystal decomposes into.

    Raises:
        ConfigError: The key of the Materials Project is missing.
        DataError: The file has no entries, an element has no entry, or MP2020 does not know the composition.
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
    """Entries of the competing phases that are given as structures."""
    found, references = [], config.references
    for k, structure in enumerate(references):
        progress("formation energy: references", k, len(references))
        reference = as_atoms(structure).copy()
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
        # by name of class, of pymatgen's entries alone: nothing else in the file is made
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
    """The Materials Project's entries of a chemical system, with its corrections."""
    with needs_extra("formation energy"):
        from mp_api.client import MPRester
    if not os.environ.get("MP_API_KEY"):
        raise ConfigError("from_materials_project: the key is missing; set MP_API_KEY, or give a file of entries")
    with MPRester() as client:
        return list(client.get_entries_in_chemsys(elements, additional_criteria={"thermo_types": ["GGA_GGA+U"]}))


def _correction(crystal: Atoms) -> float:
    """eV, of the cell: GGA+U where the Materials Project calculates with U."""
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
    """eV/atom; every entry of the diagram has one."""
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
