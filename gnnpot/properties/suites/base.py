"""Base class of suites: items, a measurement for each item, and figures of merit.

    for item in suite.items():
        results[item.key] = suite.measure(item, calculator)
    suite.summary(results)                    # {"max frequency: MAE": Figure(0.31, "THz"), ...}

An item is a single test case, such as a crystal, a pair of elements or a frame. A measurement consists of JSON values,
which can be stored in a results log and compared later.
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

#: key in the result of an item that could not be measured: {"failed": reason}
FAILED = "failed"

Result = dict[str, Any]
Results = Mapping[str, Result]


@dataclass(frozen=True, eq=False)
class Item:
    """Test case of a suite."""

    key: str  #: name, unique in the suite
    numbers: tuple[int, ...]  #: atomic numbers of its elements, which a potential must support
    content: Any  #: input of the measurement


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of merit."""

    value: float | None  #: None if there are no data
    unit: str = ""
    note: str = ""  #: text after the value, such as "of 332 crystals"

    def text(self) -> str:
        """Format the value with three significant digits, or as an integer if it is one."""
        if self.value is None:
            return ""
        return f"{int(self.value)}" if float(self.value).is_integer() else f"{self.value:.3g}"


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training set that shares structures or labels with a suite."""

    words: str  #: text by which the training data in a model card are recognised
    note: str  #: what is shared, for reports


@dataclass(frozen=True)
class SuiteOptions:
    """Options of a suite, on which its results depend."""

    #: file or folder of the suite's data; none: data shipped with gnnpot
    data: Path | None = None
    #: maximum number of items, evenly spaced; none: all
    count: int | None = None
    #: seed of random choices
    seed: int = 0
    #: ps, length of molecular dynamics
    picoseconds: float = 10.0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count: {self.count} is not positive")
        if not self.picoseconds >= 0.01:
            raise ConfigError(f"picoseconds: {self.picoseconds} is too short; give at least 0.01")


class Suite(ABC):
    """Base class of benchmarks; subclasses define items, measurements and figures of merit."""

    #: name for `gnnpot evaluate --suite`
    name: ClassVar[str]
    #: description in one line
    title: ClassVar[str]
    #: source of the reference data
    source: ClassVar[str]
    overlaps: ClassVar[tuple[Overlap, ...]] = ()

    def __init__(self, options: SuiteOptions) -> None:
        self.options = options

    @property
    def label(self) -> str:
        """Name of the results: the name of the suite, followed by a dot and the name of the user's data, if any."""
        return self.name

    @abstractmethod
    def all_items(self) -> Sequence[Item]:
        """All items, in a fixed order. Raises `DataError` if the data can't be read."""

    @abstractmethod
    def measure(self, item: Item, calculator: BaseCalculator, folder: Path) -> Result:
        """Measure an item with a calculator; `folder` is for files from which long calculations resume."""

    @abstractmethod
    def summary(self, results: Results) -> dict[str, Figure]:
        """Figures of merit of the measured items, by name."""

    @abstractmethod
    def picture(self, results: Mapping[str, Results]) -> "Picture":
        """Plot the results of several potentials, given by name."""

    def identity(self) -> dict[str, Any]:
        """Settings and data on which the results depend besides the potential and the items, as JSON values."""
        return {}

    def items(self) -> list[Item]:
        """The items to measure: at most `options.count`, evenly spaced."""
        every, count = self.all_items(), self.options.count
        if not every:
            raise DataError(f"{self.name}: the data have no items for this suite")
        if count is None or count >= len(every):
            return list(every)
        return [every[k] for k in np.unique(np.linspace(0, len(every) - 1, count).round().astype(int))]

    def overlap(self, training: str) -> str:
        """Data shared by the suite and a potential with these training data; empty if none are known."""
        return "; ".join(dict.fromkeys(o.note for o in self.overlaps if o.words.lower() in training.lower()))


def measured(results: Results) -> dict[str, Result]:
    """Results of the items that did not fail."""
    return {key: result for key, result in results.items() if FAILED not in result}


def numbers_of(atoms: Atoms) -> tuple[int, ...]:
    """Unique atomic numbers in a structure."""
    return tuple(int(z) for z in np.unique(atoms.numbers))


def counted(results: Results) -> Figure:
    """Number of measured items, with the number of all items as a note."""
    return Figure(len(measured(results)), note=f"of {len(results)}")


def mean(values: Sequence[float], unit: str = "") -> Figure:
    """Mean of values; None if there are no values."""
    return Figure(float(np.mean(values)) if len(values) else None, unit)


def median(values: Sequence[float], unit: str = "") -> Figure:
    """Median of values; None if there are no values, or if half of them or more are infinite (failed items)."""
    if not len(values):
        return Figure(None, unit)
    value = float(np.median(values))
    return Figure(value, unit) if np.isfinite(value) else Figure(None, unit, "(half or more failed)")
