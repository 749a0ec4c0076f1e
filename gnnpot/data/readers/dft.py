"""Common parts of the readers of DFT output: unconverged steps, incomplete steps, parsing of numbers and labels.

The output of a run has one frame per ionic step. Steps whose electronic steps did not converge are invalid frames with
a reason of their own (`bad_frames="skip"` skips and counts them), or are kept with `unconverged="keep"`; then their
`config_type` is "unconverged". The output of a run that was killed is read up to its last complete step; the rest is an
invalid frame with the reason "incomplete step".
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gnnpot.data.frame import FrameError, atomic_number
from gnnpot.data.readers.base import Reader
from gnnpot.data.readers.records import Record
from gnnpot.errors import DataError, suggest

UNCONVERGED = "unconverged"
_NUMBER = re.compile(r"[-+]?\d+\.\d*(?:[EeDd][-+]?\d+)?")


@dataclass(frozen=True)
class DftReader(Reader):
    """Base class of the readers of DFT output."""

    unconverged: Literal["raise", "keep"] = "raise"  #: treatment of ionic steps whose electronic steps did not converge
    #: read structures without labels, of VASP also those of steps whose labels are not results of DFT
    structures_only: bool = False

    def __post_init__(self) -> None:
        if self.unconverged not in ("raise", "keep"):
            choices = suggest(self.unconverged, ["raise", "keep"])
            raise DataError(f"{self.path}: unconverged='{self.unconverged}' is not a choice; {choices}")
        if not isinstance(self.structures_only, bool):
            raise DataError(
                f"{self.path}: structures_only='{self.structures_only}' can't be given as text; read the file with "
                "gnnpot.data.read_structures"
            )

    def judged(self, record: Record, converged: bool) -> Record | FrameError:
        """Return the record of a step, or a `FrameError` if its electronic steps did not converge."""
        if converged:
            return record
        if self.unconverged == "raise":
            problem = "its electronic steps did not converge; leave it out or give unconverged=keep"
            return FrameError("file", "electrons not converged", problem)
        return Record(
            record.numbers, record.positions, record.cell, record.pbc,
            {**record.info, "config_type": UNCONVERGED}, record.arrays,
        )  # fmt: skip


def incomplete_step() -> FrameError:
    """Return the error for a last step that may be incomplete, because the output lacks the code's final lines."""
    problem = (
        "the file ends within this step: the run was killed or is still under way; the steps before it are read with "
        "bad_frames=skip (--bad-frames skip)"
    )
    return FrameError("file", "incomplete step", problem)


def numbers_in(line: str, count: int, what: str) -> list[float]:
    """Parse the `count` decimal numbers of a line, which may lack separators, as in `1.00000-12.00000`.

    Raises `FrameError` for a different number of them, for example if an overflowing field has asterisks.
    """
    found = _NUMBER.findall(line)
    if len(found) != count:
        problem = f"{what}: expected {count} numbers in {line.strip()[:60]!r}; mend or remove this frame"
        raise FrameError("file", f"{what} not a number", problem)
    return [float(x.replace("D", "E").replace("d", "e")) for x in found]


def number_in(text: str, what: str) -> float:
    """Parse a number. Raises `FrameError` if it is invalid, for example asterisks of an overflowing field."""
    try:
        return float(text)
    except ValueError:
        problem = f"{what} {text.strip()[:40]!r} is no number; mend or remove this frame"
        raise FrameError("file", f"{what} not a number", problem) from None


def count_in(text: str, what: str) -> int:
    """Parse a count. Raises `FrameError` if it is not a number of at most nine digits."""
    word = text.strip()
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        problem = f"{what} {word[:40]!r} is no count; mend or remove this frame"
        raise FrameError("file", f"{what} not a number", problem)
    return int(word)


def rows_of_numbers(lines: list[str], count: int, what: str) -> np.ndarray:
    """Parse lines with `numbers_in`; return an array [lines, count]."""
    return np.array([numbers_in(line, count, what) for line in lines]).reshape(-1, count)


def element_of_label(label: str) -> int:
    """Return the atomic number of a label that begins with a chemical symbol: Fe, Fe1, Fe_pv, H1.25, FE-up.

    Raises `FrameError` if it does not begin with one.
    """
    letters = re.findall(r"^[A-Za-z]{0,2}", label.strip())[0]
    for symbol in (letters.capitalize(), letters[:1].upper()):
        try:
            return atomic_number(symbol)
        except FrameError:
            continue
    raise FrameError("file", "unknown element", f"'{label.strip()}' begins with no element's symbol; mend or remove it")
