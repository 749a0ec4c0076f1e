"""What every suite is: items, a measurement of each, and figures of merit of all.

    for item in suite.items():
        results[item.key] = suite.measure(item, calculator)
    suite.summary(results)                    # {"max frequency: MAE": Figure(0.31, "THz"), ...}

An item is one thing that is asked: a crystal, a pair of atoms, a frame. A measurement is JSON, so that it can be kept
in a results log and compared by programs later.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.errors import ConfigError, DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

#: of an item that could not be measured: {"failed": reason}
FAILED = "failed"

Result = dict[str, Any]
Results = Mapping[str, Result]


@dataclass(frozen=True, eq=False)
class Item:
    """One thing that a suite asks about."""

    key: str  #: its name, unique in the suite
    numbers: tuple[int, ...]  #: atomic numbers that a potential must know
    content: Any  #: what the measurement needs


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of merit."""

    value: float | None  #: None: nothing to take it from
    unit: str = ""
    note: str = ""  #: "of 332 crystals"

    def text(self) -> str:
        """Three digits; whole numbers unchanged."""
        if self.value is None:
            return ""
        return f"{int(self.value)}" if float(self.value).is_integer() else f"{self.value:.3g}"


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training set that shares structures or labels with a suite."""

    words: str  #: what a card's training data has in it
    note: str  #: what is shared


@dataclass(frozen=True)
class SuiteOptions:
    """Options of a run that its results depend on."""

    #: file or folder of the suite's data; none: what is shipped
    data: Path | None = None
    #: at most so many items, evenly spread; none: all
    count: int | None = None
    #: of what a suite chooses at random
    seed: int = 0
    #: of molecular dynamics, in ps
    picoseconds: float = 10.0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count: {self.count} is not positive")
        if not self.picoseconds >= 0.01:
            raise ConfigError(f"picoseconds: {self.picoseconds} is too short; give at least 0.01")


class Suite(ABC):
    """A benchmark; subclasses say what is asked and how answers are judged."""

    #: as `gnnpot evaluate --suite` takes it
    name: ClassVar[str]
    #: one line: what is compared with what
    title: ClassVar[str]
    #: what its data are and where they come from
    source: ClassVar[str]
    overlaps: ClassVar[tuple[Overlap, ...]] = ()

    def __init__(self, options: SuiteOptions) -> None:
        self.options = options

    @property
    def label(self) -> str:
        """The name of its results: of suites that take the user's data, with the name of these after a dot."""
        return self.name

    @abstractmethod
    def all_items(self) -> Sequence[Item]:
        """Everything that may be asked, in a fixed order. Raises `DataError` for data that can't be read."""

    @abstractmethod
    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Ask a calculator; `folder` is for files of work that takes long."""

    @abstractmethod
    def summary(self, results: Results) -> dict[str, Figure]:
        """Figures of merit by name, of the items that were measured."""

    @abstractmethod
    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """The results of several potentials, by their names."""

    def identity(self) -> dict[str, Any]:
        """What results depend on besides the potential and the items, as JSON."""
        return {}

    def items(self) -> list[Item]:
        """Those of `options.count`, evenly spread."""
        every, count = self.all_items(), self.options.count
        if not every:
            raise DataError(f"{self.name}: there is nothing to ask about in the data")
        if count is None or count >= len(every):
            return list(every)
        return [every[k] for k in np.unique(np.linspace(0, len(every) - 1, count).round().astype(int))]

    def overlap(self, training: str) -> str:
        """What a potential with these training data shares with the suite; empty: nothing that is known."""
        return "; ".join(dict.fromkeys(o.note for o in self.overlaps if o.words.lower() in training.lower()))


def measured(results: Results) -> dict[str, Result]:
    """Those that did not fail."""
    return {key: result for key, result in results.items() if FAILED not in result}


def numbers_of(atoms: Atoms) -> tuple[int, ...]:
    """The atomic numbers in a structure, each once."""
    return tuple(int(z) for z in np.unique(atoms.numbers))


def counted(results: Results) -> Figure:
    """How many items were measured, of how many."""
    return Figure(len(measured(results)), note=f"of {len(results)}")


def mean(values: Sequence[float], unit: str = "") -> Figure:
    """The mean, or nothing of nothing."""
    return Figure(float(np.mean(values)) if len(values) else None, unit)


def median(values: Sequence[float], unit: str = "") -> Figure:
    """The median; no value of nothing, nor where half of the values or more are infinite, as failures are."""
    if not len(values):
        return Figure(None, unit)
    value = float(np.median(values))
    return Figure(value, unit) if np.isfinite(value) else Figure(None, unit, "(half or more failed)")
