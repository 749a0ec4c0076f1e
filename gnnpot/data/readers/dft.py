"""What the readers of DFT codes' output share: electrons that did not converge, steps that were cut off, names.

A run's output holds one frame per ionic step. Steps whose electrons did not converge are refused, one by one and with
that reason (`bad_frames="skip"` leaves them out and counts them), or kept with `unconverged="keep"`; then the word
stands in their `config_type`. Output of a run that was killed is read up to its last whole step; what follows is a
bad frame of reason "incomplete step".
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
    """A reader of a DFT code's output."""

    unconverged: Literal["raise", "keep"] = "raise"  #: ionic steps whose electronic steps did not converge

    def __post_init__(self) -> None:
        if self.unconverged not in ("raise", "keep"):
            choices = suggest(self.unconverged, ["raise", "keep"])
            raise DataError(f"{self.path}: unconverged='{self.unconverged}' is not a choice; {choices}")

    def judged(self, record: Record, converged: bool) -> Record | FrameError:
        """The record of a step, or a `FrameError` in its place if its electrons did not converge."""
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
    """In place of a step after which, or within which, the output ends without the code's last words."""
    problem = (
        "the file ends within this step: the run was killed or is still under way; the steps before it are read with "
        "bad_frames=skip (--bad-frames skip)"
    )
    return FrameError("file", "incomplete step", problem)


def numbers_in(line: str, count: int, what: str) -> list[float]:
    """The `count` decimal numbers of a line, also where they run together as in `1.00000-12.00000`.

    Raises `FrameError` if there are others, as where a field was too narrow and holds asterisks.
    """
    found = _NUMBER.findall(line)
    if len(found) != count:
        problem = f"{what}: expected {count} numbers in {line.strip()[:60]!r}; mend or remove this frame"
        raise FrameError("file", f"{what} not a number", problem)
    return [float(x.replace("D", "E").replace("d", "e")) for x in found]


def number_in(text: str, what: str) -> float:
    """The number that a word is. Raises `FrameError` if it is none, as where a field was too narrow."""
    try:
        return float(text)
    except ValueError:
        problem = f"{what} {text.strip()[:40]!r} is no number; mend or remove this frame"
        raise FrameError("file", f"{what} not a number", problem) from None


def count_in(text: str, what: str) -> int:
    """The count that a word is. Raises `FrameError` if it is none, or cannot be meant."""
    word = text.strip()
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        problem = f"{what} {word[:40]!r} is no count; mend or remove this frame"
        raise FrameError("file", f"{what} not a number", problem)
    return int(word)


def rows_of_numbers(lines: list[str], count: int, what: str) -> np.ndarray:
    """`numbers_in` of each line."""
    return np.array([numbers_in(line, count, what) for line in lines]).reshape(-1, count)


def element_of_label(label: str) -> int:
    """The atomic number of a label that begins with an element's symbol: Fe, Fe1, Fe_pv, H1.25, FE-up.

    Raises `FrameError` if it begins with none.
    """
    letters = re.findall(r"^[A-Za-z]{0,2}", label.strip())[0]
    for symbol in (letters.capitalize(), letters[:1].upper()):
        try:
            return atomic_number(symbol)
        except FrameError:
            continue
    raise FrameError("file", "unknown element", f"'{label.strip()}' begins with no element's symbol; mend or remove it")
