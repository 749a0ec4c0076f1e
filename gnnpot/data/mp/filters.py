"""Which frames are left out, and why: filters with a name, limits and a reason, applied in their order.

    curation = from_mapping(Curation, read_yaml("curation.yaml"))
    kept, counts = apply_filters(batch, curation.filters)          # {reason: frames}

    # curation.yaml
    run_types: [GGA, GGA+U]
    filters:
      - {filter: forces, limit: 30.0}
      - {filter: isolated-atoms, cutoff: 6.0}

A frame counts under the first filter that leaves it out. What can't be a frame at all (no volume, atoms at one place,
numbers that are not finite) is left out before, under the reason that `gnnpot.data.frame` gives.
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

#: number of electronic steps at which the Materials Project's relaxations give up (NELM of its input sets)
MP_ELECTRONIC_STEPS = 100
_PBE = "PBE"


@dataclass(frozen=True)
class Labels:
    """Frames without an energy or without forces."""

    filter: Literal["labels"] = field(default="labels", kw_only=True)

    @property
    def reason(self) -> str:
        return "no energy or no forces"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return ~(batch.has_energy & batch.has_forces)


@dataclass(frozen=True)
class Deprecated:
    """Frames of tasks or materials that the Materials Project has marked as deprecated."""

    filter: Literal["deprecated"] = field(default="deprecated", kw_only=True)

    @property
    def reason(self) -> str:
        return "task or material deprecated"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return batch.deprecated


@dataclass(frozen=True)
class ElectronicConvergence:
    """Frames whose electronic steps did not converge, where the source tells."""

    filter: Literal["electronic-convergence"] = field(default="electronic-convergence", kw_only=True)
    max_steps: int = MP_ELECTRONIC_STEPS  #: a frame that took so many ran into the limit
    max_change: float | None = None  #: eV per atom, of the energy in the last step; `None`: not looked at (not read)

    @property
    def reason(self) -> str:
        change = "" if self.max_change is None else f" or a last change above {self.max_change:g} eV/atom"
        return f"electronic steps not converged ({self.max_steps} or more{change})"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        out = batch.electronic_steps >= self.max_steps
        return out if self.max_change is None else out | (batch.electronic_change > self.max_change)


@dataclass(frozen=True)
class FarFromFinal:
    """Frames whose energy per atom is far from that of the last frame of their material's relaxation.

    Without material ids each task stands for a material.
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
    """Tasks that end far from the lowest last energy of their material's tasks of the same run type."""

    filter: Literal["task-jumps"] = field(default="task-jumps", kw_only=True)
    limit: float = 0.05  #: eV per atom

    @property
    def reason(self) -> str:
        return f"task ends more than {self.limit:g} eV/atom from the material's lowest"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return np.abs(batch.task_offset) > self.limit


@dataclass(frozen=True)
class Forces:
    """Frames with a force vector longer than a limit."""

    filter: Literal["forces"] = field(default="forces", kw_only=True)
    limit: float = 50.0  #: eV/Å

    @property
    def reason(self) -> str:
        return f"a force above {self.limit:g} eV/Å"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return batch.largest_force > self.limit


@dataclass(frozen=True)
class Stress:
    """Frames with a stress component beyond a limit."""

    filter: Literal["stress"] = field(default="stress", kw_only=True)
    limit: float = 150.0  #: GPa

    @property
    def reason(self) -> str:
        return f"a stress component beyond {self.limit:g} GPa"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return np.abs(batch.stress).max(axis=1) > self.limit * GPA


@dataclass(frozen=True)
class CloseAtoms:
    """Frames with two atoms closer than a limit."""

    filter: Literal["close-atoms"] = field(default="close-atoms", kw_only=True)
    limit: float = 0.5  #: Å

    @property
    def reason(self) -> str:
        return f"atoms closer than {self.limit:g} Å"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return have_close_pair(batch.positions, batch.cell, batch.offsets, self.limit)


@dataclass(frozen=True)
class IsolatedAtoms:
    """Frames with an atom that has no neighbour, not even its own image, within a cutoff."""

    filter: Literal["isolated-atoms"] = field(default="isolated-atoms", kw_only=True)
    cutoff: float = 6.0  #: Å

    @property
    def reason(self) -> str:
        return f"an atom without a neighbour within {self.cutoff:g} Å"

    def outliers(self, batch: FrameBatch) -> np.ndarray:
        return have_isolated_atom(batch.positions, batch.cell, batch.offsets, self.cutoff)


@dataclass(frozen=True)
class NearDuplicates:
    """Frames that differ little from the last one kept before them in their run; all three limits must hold."""

    filter: Literal["near-duplicates"] = field(default="near-duplicates", kw_only=True)
    displacement: float = 0.005  #: Å, of any atom
    strain: float = 0.0005  #: of the cell, its largest component
    energy: float = 0.001  #: eV per atom

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
#: filters that only material ids make possible
NEED_IDS = (Deprecated, TaskJumps)
#: near duplicates come last: a frame is compared with those that are kept
DEFAULT_FILTERS: tuple[Filter, ...] = (
    Labels(), ElectronicConvergence(), FarFromFinal(), Forces(), Stress(), CloseAtoms(), IsolatedAtoms(),
    NearDuplicates(),
)  # fmt: skip


def default_filters(ids: bool) -> tuple[Filter, ...]:
    """The filters that are applied if none are named; with material `ids` those that need them as well."""
    return (Labels(), Deprecated(), TaskJumps(), *DEFAULT_FILTERS[1:]) if ids else DEFAULT_FILTERS


@dataclass(frozen=True)
class Curation:
    """What becomes of the frames of a source.

    Raises `ValueError` for run types of several functionals, and for elements that there are none of.
    """

    run_types: tuple[str, ...] = ("GGA", "GGA+U")  #: of one functional, with and without U
    #: the Materials Project's names of calculations whose frames are taken
    task_types: tuple[str, ...] = ("Structure Optimization", "Static")
    elements: tuple[str, ...] = ()  #: only frames of no other elements; () for all
    #: e_fr_energy, which the forces belong to, or VASP's for sigma -> 0; `None`: free if the source has it
    energy: Literal["free", "zero"] | None = None
    corrections: Literal["none", "mp2020"] = "none"  #: MaterialsProject2020Compatibility, added to the energies
    filters: tuple[Filter, ...] | None = None  #: in the order of their application; `None`: `default_filters`
    source: str = field(default="", kw_only=True)  #: where the data come from, in your words

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
        """The filters to apply. Raises `ConfigError` for filters that need material ids where there are none."""
        if self.filters is None:
            return default_filters(ids)
        for one in self.filters:
            if isinstance(one, NEED_IDS) and not ids:
                raise ConfigError(f"filter '{one.filter}' needs material ids; get them (--with-ids) or leave it out")
        return self.filters


def functional(run_type: str) -> str:
    """The functional of a run type: the Materials Project's GGA is PBE."""
    base, plus, u = run_type.partition("+U")
    return (_PBE if base == "GGA" else base) + plus + u


def apply_filters(batch: FrameBatch, filters: tuple[Filter, ...]) -> tuple[FrameBatch, dict[str, int]]:
    """The frames that no filter leaves out, and how many each of them has left out, by reason."""
    counts: dict[str, int] = {}
    for one in filters:
        out = one.outliers(batch) if len(batch) else np.empty(0, dtype=bool)
        counts[one.reason] = counts.get(one.reason, 0) + int(out.sum())
        batch = batch.select(~out)
    return batch, counts


def drop_unusable(batch: FrameBatch) -> tuple[FrameBatch, dict[str, int]]:
    """The frames that a `Frame` could hold, and how many can't be one, by reason."""
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
