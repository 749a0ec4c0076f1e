"""ORCA's `.engrad`: energy and gradient of a molecule, in Hartree and Bohr.

Numbers follow one another, with comments (`#`) between the parts: number of atoms; total energy; gradient, x y z of the
first atom, then of the second; atomic number and position of each atom. There is no cell, and no stress.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gnnpot.data.frame import FrameError
from gnnpot.data.readers import Reader, Record
from gnnpot.data.readers.base import open_text
from gnnpot.data.stress import StressConvention
from gnnpot.units import BOHR, HARTREE


@dataclass(frozen=True)
class EngradReader(Reader):
    """`format="orca-engrad"`."""

    format: ClassVar[str] = "orca-engrad"
    stress_convention: ClassVar[StressConvention | None] = None

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith(".engrad")

    def records(self) -> Iterator[Record | FrameError]:
        with open_text(self.path) as file:
            lines = [line.strip() for line in file]
        stated = " ".join(line.lower() for line in lines if line.startswith("#"))
        if not all(words in stated for words in ("energy in eh", "gradient in eh/bohr", "coordinates in bohr")):
            yield FrameError(str(self.path), "other units", "does not state Eh, Eh/bohr and Bohr; write it by ORCA")
            return
        try:
            values = np.array(" ".join(line for line in lines if not line.startswith("#")).split(), dtype=float)
            n = int(values[0])
            atoms = values[2 + 3 * n :].reshape(n, 4)
        except (ValueError, IndexError):
            yield FrameError(str(self.path), "cut off", "has not as many numbers as its atoms need; get it again")
            return
        yield Record(
            numbers=atoms[:, 0].astype(np.int64),
            positions=atoms[:, 1:] * BOHR,
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=bool),
            info={"energy": values[1] * HARTREE},
            arrays={"forces": -values[2 : 2 + 3 * n].reshape(n, 3) * (HARTREE / BOHR)},
        )
