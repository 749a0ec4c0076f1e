"""Filters that remove frames, with a name, limits and a reason; they are applied in order.

    curation = from_mapping(Curation, read_yaml("curation.yaml"))
    kept, counts = apply_filters(batch, curation.filters)          # {reason: frames}

    # curation.yaml
    run_types: [GGA, GGA+U]
    filters:
      - {filter: forces, limit: 30.0}
      - {filter: isolated-atoms, cutoff: 6.0}

A frame is counted for the first filter that removes it. Invalid frames (no volume, atoms at the same position, values
that are not finite) are removed first, with the reasons of `gnnpot.data.frame`.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase.data import atomic_numbers

from gnnpot.data.frame import MIN_CELL_DETERMINANT, MIN_DISTANCE
from gnnpot.data.mp.batch import FrameBatch
from gnnpot.data.mp.kernels import have_close_pair, have_isolated_atom, near_duplicates
from gnnpot.domains import check_fields
from gnnpot.errors import ConfigError
from gnnpot.units import GPA

#: limit of electronic steps in the relaxations of the Materials Project (NELM of its input sets)
MP_ELECTRONIC_STEPS = 100
_PBE = "PBE"


@dataclass(frozen=True)
class Labels:
    """Remove frames without an energy or without forces."""

    filter: Literal["labels"] = field(default="labels", kw_only=True)

    @property
    def reason(self) -> str:
        return "no energy or no forces"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return ~(batch.has_energy & batch.has_forces)


@dataclass(frozen=True)
class Deprecated:
    """Remove frames of tasks or materials that the Materials Project has marked as deprecated."""

    filter: Literal["deprecated"] = field(default="deprecated", kw_only=True)

    @property
    def reason(self) -> str:
        return "task or material deprecated"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return batch.deprecated


@dataclass(frozen=True)
class ElectronicConvergence:
    """Remove frames whose electronic steps did not converge, if the source has this information."""

    filter: Literal["electronic-convergence"] = field(default="electronic-convergence", kw_only=True)
    max_steps: int = MP_ELECTRONIC_STEPS  #: frames with this number of steps have not converged
    max_change: float | None = None  #: largest energy change in the last step, eV per atom; `None`: not checked or read

    @property
    def reason(self) -> str:
        change = "" if self.max_change is None else f" or a last change above {self.max_change:g} eV/atom"
        return f"electronic steps not converged ({self.max_steps} or more{change})"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        out = batch.electronic_steps >= self.max_steps
        return out if self.max_change is None else out | (batch.electronic_change > self.max_change)


@dataclass(frozen=True)
class FarFromFinal:
    """Remove frames whose energy per atom is far from that of the last frame of their material's relaxation.

    Without material ids, each task is treated as a material.
    """

    filter: Literal["far-from-final"] = field(default="far-from-final", kw_only=True)
    above: float = 1.0  #: eV per atom
    below: float = 0.05  #: eV per atom

    @property
    def reason(self) -> str:
        return f"energy more than {self.above:g} above or {self.below:g} below the final one (eV/atom)"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        difference = batch.energy_per_atom - batch.final_energy
        return (difference > self.above) | (difference < -self.below)


@dataclass(frozen=True)
class TaskJumps:
    """Remove tasks whose last energy is far from the lowest one of the material's tasks with the same run type."""

    filter: Literal["task-jumps"] = field(default="task-jumps", kw_only=True)
    limit: float = 0.05  #: eV per atom

    @property
    def reason(self) -> str:
        return f"task ends more than {self.limit:g} eV/atom from the material's lowest"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return np.abs(batch.task_offset) > self.limit


@dataclass(frozen=True)
class Forces:
    """Remove frames with a force vector longer than a limit."""

    filter: Literal["forces"] = field(default="forces", kw_only=True)
    limit: float = 50.0  #: eV/Å

    @property
    def reason(self) -> str:
        return f"a force above {self.limit:g} eV/Å"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return batch.largest_force > self.limit


@dataclass(frozen=True)
class Stress:
    """Remove frames with a stress component larger than a limit."""

    filter: Literal["stress"] = field(default="stress", kw_only=True)
    limit: float = 150.0  #: GPa

    @property
    def reason(self) -> str:
        return f"a stress component beyond {self.limit:g} GPa"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return np.abs(batch.stress).max(axis=1) > self.limit * GPA


@dataclass(frozen=True)
class CloseAtoms:
    """Remove frames with two atoms closer than a limit."""

    filter: Literal["close-atoms"] = field(default="close-atoms", kw_only=True)
    limit: float = 0.5  #: Å

    @property
    def reason(self) -> str:
        return f"atoms closer than {self.limit:g} Å"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return have_close_pair(batch.positions, batch.cell, batch.offsets, self.limit)


@dataclass(frozen=True)
class IsolatedAtoms:
    """Remove frames with an atom that has no neighbours, including its own images, within a cutoff."""

    filter: Literal["isolated-atoms"] = field(default="isolated-atoms", kw_only=True)
    cutoff: float = 6.0  #: Å

    @property
    def reason(self) -> str:
        return f"an atom without a neighbour within {self.cutoff:g} Å"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return have_isolated_atom(batch.positions, batch.cell, batch.offsets, self.cutoff)


@dataclass(frozen=True)
class NearDuplicates:
    """Remove frames that differ from the previous kept frame of their run by less than all three limits."""

    filter: Literal["near-duplicates"] = field(default="near-duplicates", kw_only=True)
    displacement: float = 0.005  #: largest displacement of an atom, Å
    strain: float = 0.0005  #: largest component of the strain of the cell
    energy: float = 0.001  #: energy difference, eV per atom

    @property
    def reason(self) -> str:
        return f"near duplicate ({self.displacement:g} Å, strain {self.strain:g}, {self.energy:g} eV/atom)"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return near_duplicates(
            batch.positions, batch.cell, batch.energy, batch.offsets, batch.run,
            self.displacement, self.strain, self.energy,
        )  # fmt: skip


Filter = (
    Labels | Deprecated | ElectronicConvergence | FarFromFinal | TaskJumps
    | Forces | Stress | CloseAtoms | IsolatedAtoms | NearDuplicates
)  # fmt: skip
#: filters that require material ids
NEED_IDS = (Deprecated, TaskJumps)
#: near duplicates are last, because frames are compared with those that are kept
DEFAULT_FILTERS: tuple[Filter, ...] = (
    Labels(), ElectronicConvergence(), FarFromFinal(), Forces(), Stress(), CloseAtoms(), IsolatedAtoms(),
    NearDuplicates(),
)  # fmt: skip


def default_filters(ids: bool) -> tuple[Filter, ...]:
    """Return the default filters; with material `ids`, including those that require them."""
    return (Labels(), Deprecated(), TaskJumps(), *DEFAULT_FILTERS[1:]) if ids else DEFAULT_FILTERS


@dataclass(frozen=True)
class Curation:
    """Options of the curation of a source.

    Raises `ValueError` for run types of different functionals, and for unknown elements.
    """

    run_types: tuple[str, ...] = ("GGA", "GGA+U")  #: run types of one functional, with and without U
    #: calculations whose frames are used, by their names in the Materials Project
    task_types: tuple[str, ...] = ("Structure Optimization", "Static")
    elements: tuple[str, ...] = ()  #: frames with other elements are excluded; () for no restriction
    #: free energy (e_fr_energy), consistent with the forces, or VASP's energy for sigma -> 0; `None`: free if available
    energy: Literal["free", "zero"] | None = None
    corrections: Literal["none", "mp2020"] = "none"  #: corrections added to the energies, see `data.mp.corrections`
    filters: tuple[Filter, ...] | None = None  #: filters in order of application; `None`: `default_filters`
    source: str = field(default="", kw_only=True)  #: origin of the data, free text

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.run_types or not self.task_types:
            raise ValueError("run_types and task_types each need at least one name")
        for symbol in self.elements:
            if atomic_numbers.get(symbol, 0) == 0:
                raise ValueError(f"'{symbol}' is no chemical element; give symbols, as Li,Fe,P,O")
        families = sorted({functional(name).removesuffix("+U") for name in self.run_types})
        if len(families) > 1:
            raise ValueError(
                f"run_types are of several functionals ({', '.join(families)}), whose energies can't be compared; make "
                "a store of each"
            )
        if self.corrections == "mp2020" and families != [_PBE]:
            raise ValueError(f"corrections: mp2020 are for GGA and GGA+U, not for {families[0]}; use none")

    def resolved(self, ids: bool) -> tuple[Filter, ...]:
        """Return the filters to apply. Raises `ConfigError` for filters that require material ids if `ids` is false."""
        if self.filters is None:
            return default_filters(ids)
        for one in self.filters:
            if isinstance(one, NEED_IDS) and not ids:
                raise ConfigError(f"filter '{one.filter}' needs material ids; get them (--with-ids) or leave it out")
        return self.filters


def functional(run_type: str) -> str:
    """Return the functional of a run type; GGA of the Materials Project is PBE."""
    base, plus, u = run_type.partition("+U")
    return (_PBE if base == "GGA" else base) + plus + u


def apply_filters(batch: FrameBatch, filters: tuple[Filter, ...]) -> tuple[FrameBatch, dict[str, int]]:
    """Return the frames that pass all filters, and the number of removed frames by reason."""
    counts: dict[str, int] = {}
    for one in filters:
        out = one.outliers(batch) if len(batch) else np.empty(0, dtype=bool)
        counts[one.reason] = counts.get(one.reason, 0) + int(out.sum())
        batch = batch.select(~out)
    return batch, counts


def drop_unusable(batch: FrameBatch) -> tuple[FrameBatch, dict[str, int]]:
    """Return the frames that would be valid as a `Frame`, and the number of invalid ones by reason."""
    counts: dict[str, int] = {}

    def drop(reason: str, out: np.ndarray) -> FrameBatch:
        if out.any():
            counts[reason] = counts.get(reason, 0) + int(out.sum())
        return batch.select(~out)

    batch = drop("no atoms", batch.sizes == 0)
    batch = drop("unknown element", batch.any_atom((batch.numbers < 1) | (batch.numbers > 118)))
    batch = drop("positions not finite", batch.any_atom(~np.isfinite(batch.positions).all(axis=1)))
    batch = drop("cell not finite", ~np.isfinite(batch.cell).all(axis=(1, 2)))
    batch = drop("energy not finite", np.isinf(batch.energy))
    batch = drop("forces not finite", batch.any_atom(np.isinf(batch.forces).any(axis=1)))
    batch = drop("stress not finite", np.isinf(batch.stress).any(axis=1))
    lengths = np.linalg.norm(batch.cell, axis=2)
    batch = drop("cell without volume", batch.volume <= MIN_CELL_DETERMINANT * lengths.prod(axis=1))
    if len(batch):
        batch = drop("atoms at one place", have_close_pair(batch.positions, batch.cell, batch.offsets, MIN_DISTANCE))
    return batch, counts
