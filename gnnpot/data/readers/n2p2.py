"""Reader of `input.data` of n2p2 and RuNNer.

    begin
    comment <text>
    lattice <x> <y> <z>                                   three times, or absent
    atom <x> <y> <z> <element> <charge> <unused> <fx> <fy> <fz>
    energy <total energy>
    charge <total charge>
    end

The format does not specify units. The default is Bohr and Hartree; use `units="eV/Å"` for eV and Å. It has no stress.
Format: https://compphysvienna.github.io/n2p2/topics/cfg_file.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gnnpot.data.frame import FrameError, atomic_number
from gnnpot.data.readers.base import Reader, open_text
from gnnpot.data.readers.records import Record
from gnnpot.data.stress import StressConvention
from gnnpot.errors import DataError, suggest
from gnnpot.units import BOHR, HARTREE

#: units of energy and length in eV and Å
UNITS: dict[str, tuple[float, float]] = {"Ha/Bohr": (HARTREE, BOHR), "eV/Å": (1.0, 1.0)}
_KEYWORDS = ("atom", "begin", "charge", "comment", "end", "energy", "lattice")


@dataclass(frozen=True)
class N2p2Reader(Reader):
    """`format="n2p2"`."""

    format: ClassVar[str] = "n2p2"
    stress_convention: ClassVar[StressConvention | None] = None

    units: Literal["Ha/Bohr", "eV/Å"] = "Ha/Bohr"  #: units of the file; eV/A is also accepted

    def __post_init__(self) -> None:
        units = {"eV/A": "eV/Å"}.get(self.units, self.units)
        if units not in UNITS:
            raise DataError(f"{self.path}: units '{units}' are not known; {suggest(units, UNITS)}")
        object.__setattr__(self, "units", units)

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith(".data") or name.startswith("input.data")

    def records(self) -> Iterator[Record | FrameError]:
        with open_text(self.path) as file:
            lines: list[tuple[str, str]] | None = None
            number = 0
            for line in file:
                keyword, *rest = line.split(maxsplit=1) or [""]
                if not keyword or keyword.startswith("#"):
                    continue
                if keyword == "begin" and lines is None:
                    lines = []
                elif lines is None or keyword == "begin" or keyword not in _KEYWORDS:
                    raise DataError(
                        f"{self.path}, frame {number} (counted from 0): unexpected line {line.strip()[:40]!r}; "
                        "in n2p2's format a frame stands between 'begin' and 'end'"
                    )
                elif keyword == "end":
                    try:
                        yield self._record(lines)
                    except FrameError as error:
                        yield error
                    lines, number = None, number + 1
                else:
                    lines.append((keyword, "".join(rest).strip()))
            if lines is not None:
                raise DataError(
                    f"{self.path}, frame {number} (counted from 0): the file ends before its 'end'; it is truncated, "
                    "fetch or write it again"
                )

    def _record(self, lines: list[tuple[str, str]]) -> Record:
        atoms = [rest.split() for keyword, rest in lines if keyword == "atom"]
        lattice = [rest.split() for keyword, rest in lines if keyword == "lattice"]
        once = [keyword for keyword, _ in lines if keyword in ("energy", "charge")]
        if len(once) > len(set(once)):
            problem = "says its energy or its charge twice; mend or remove this frame"
            raise FrameError("file", "a label twice", problem)
        words = {keyword: rest for keyword, rest in lines if keyword in ("energy", "charge", "comment")}
        if any(len(a) != 9 for a in atoms) or len(lattice) not in (0, 3) or any(len(v) != 3 for v in lattice):
            problem = "an atom needs 9 columns, a lattice 3 vectors of 3 numbers; mend or remove this frame"
            raise FrameError("file", "wrong number of columns", problem)
        eV, angstrom = UNITS[self.units]
        numbers = np.array([atomic_number(a[3].capitalize(), "atom") for a in atoms], dtype=np.int64)
        positions = _array([a[:3] for a in atoms]) * angstrom
        info: dict[str, object] = {}
        if "energy" in words:
            info["energy"] = float(_array([[words["energy"]]])[0, 0]) * eV
        info["total_charge"] = float(_array([[words.get("charge", "0")]])[0, 0])
        cell = _array(lattice) * angstrom if lattice else np.zeros((3, 3))
        forces = _array([a[6:9] for a in atoms]) * (eV / angstrom)
        return Record(numbers, positions, cell, np.full(3, bool(lattice)), info, {"forces": forces})


def _array(rows: list[list[str]]) -> np.ndarray:
    try:
        return np.array(rows, dtype=float).reshape(-1, len(rows[0]) if rows else 3)
    except ValueError:
        raise FrameError("file", "not a number", "holds words where numbers belong; mend or remove it") from None
