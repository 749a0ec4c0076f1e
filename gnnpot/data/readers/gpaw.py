"""Reader of all structures of GPAW text output, plain or gzipped (current format, and up to 2025), and of `.gpw`.

    read_frames("relax.txt.gz"), read_frames("final.gpw")

Stress: eV/Å³, positive under tension, 3x3 in the text, xx yy zz yz xz xy in `.gpw`, as in gnnpot. The energy is the
free energy, of which forces and stress are derivatives; `energy_key="energy"` selects the energy extrapolated to zero
smearing. GPAW energies are relative to its reference atoms (spherical, not spin-polarised); they are not all-electron
energies. Magnetic moments are the local moments. Non-collinear moments are vectors, which gnnpot does not support: read
such files with `magmoms_key=""`.

The text is read line by line, with one structure in memory at a time. `.gpw` has one structure, in full precision.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, TextIO

import numpy as np

from gnnpot.data.frame import FrameError
from gnnpot.data.readers.base import DAMAGE, open_binary, open_text
from gnnpot.data.readers.dft import DftReader, count_in, element_of_label, incomplete_step, number_in
from gnnpot.data.readers.records import Record
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError

_ULM = b"- of Ulm"
_NUMBER = re.compile(r"[-+]?\d+\.\d+(?:[Ee][-+]?\d+)?|nan|inf")
_ATOM = re.compile(r"^[\s|]*\d+[\s|]+([A-Z][A-Za-z.]*)")
_PERIODIC = re.compile(r"\b(yes|no)\b")
_ITERATION = re.compile(r"^\|?iter:\s*(\d+)")
_CHARGE = re.compile(r"^\s*(?:Total )?Charge:\s*(-?\d+\.\d*)")
_FUNCTIONAL = re.compile(r"^\s*xc\s*[:=]\s*(?:XC\()?(?:\{?name\s*[=:])?\s*['\"]?([\w+:-]+)")
#: version number next to the logo
_VERSION = re.compile(r"(?:\|__ \|  _\|___\|_____\| |\|__\|\|  \| \|\|/\\\| -)\s+(\d+(?:\.\w+)+)")


@dataclass(frozen=True)
class GpawReader(DftReader):
    """`format="gpaw"`."""

    format: ClassVar[str] = "gpaw"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["ase"]

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith(".gpw")

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        return head.startswith(_ULM + b"GPAW") or b"|___|_|" in head or b"| _ |_)|_||  |" in head

    def records(self) -> Iterator[Record | FrameError]:
        with open_binary(self.path) as file:
            binary = file.read(len(_ULM)) == _ULM
        yield from self._binary() if binary else self._text()

    def _binary(self) -> Iterator[Record]:
        from ase.io import ulm
        from ase.io.trajectory import read_atoms

        try:
            with ulm.open(self.path) as file:
                atoms = read_atoms(file.atoms, _try_except=False)
                results = dict(file.results.asdict())
                parameters = file.parameters.asdict()
                version = file.get("gpaw_version", "")
        except (ulm.InvalidULMFileError, OSError, *DAMAGE) as error:
            problem = " ".join(str(error).split())
            raise DataError(f"{self.path}: can't be read as GPAW's file ({problem}); write it again") from None
        xc = parameters.get("xc", "LDA")
        info = results | _words(version, xc.get("name", "") if isinstance(xc, dict) else str(xc))
        info["total_charge"] = parameters.get("charge", 0.0)
        yield Record(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, info, results)

    def _text(self) -> Iterator[Record | FrameError]:
        step, words, limit = None, _words("", "LDA"), 0
        labels: frozenset[str] = frozenset()
        with open_text(self.path, errors="replace") as file:
            for line in file:
                if line.startswith(("Positions:", "Atoms  #")):
                    if step is not None:
                        labels = step.labels
                        yield self._finished(step, words)
                    step = _GpawStep(limit)
                    step.note_atoms(file)
                elif (found := _VERSION.search(line)) is not None and "code" not in words:
                    words |= {"code": f"GPAW {found[1]}"}
                elif (found := _FUNCTIONAL.match(line)) is not None:
                    words |= {"functional": found[1]}
                elif (found := _CHARGE.match(line)) is not None:
                    words |= {"total_charge": found[1]}
                elif step is None and line.startswith("maximum number of iterations:"):
                    limit = _limit(line)
                elif step is not None:
                    step.note(line, file)
        if step is None:
            raise DataError(f"{self.path}: ends before its first structure; let GPAW run")
        yield self._finished(step, words) if step.is_over and labels <= step.labels else incomplete_step()

    def _finished(self, step: "_GpawStep", words: dict[str, str]) -> Record | FrameError:
        if not step.is_over:
            return incomplete_step()
        try:
            converged = self.judged(step.record(words), step.converged)
        except FrameError as error:
            return error
        return converged


def _limit(line: str) -> int:
    """Return the largest number of electronic steps that a line specifies; 0 if it does not."""
    try:
        return count_in(line.split(":")[1], "maximum number of iterations")
    except FrameError:
        return 0


def _words(version: str, functional: str) -> dict[str, str]:
    words = {"functional": functional, "hubbard_u": "{}", "pseudopotentials": "GPAW's PAW setups"}
    return words | {"code": f"GPAW {version}"} if version else words


@dataclass
class _GpawStep:
    """A structure of the text output, and its labels."""

    max_iterations: int = 0
    iterations: int = 0
    converged: bool = False
    failed: bool = False  #: whether GPAW reports that it did not converge
    symbols: list[str] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    cell: list[list[float]] = field(default_factory=list)
    pbc: list[bool] = field(default_factory=list)
    energies: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[list[float]]] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether the electronic iterations have ended, converged or not."""
        return self.failed or bool(self.energies) or 0 < self.max_iterations <= self.iterations

    @property
    def labels(self) -> frozenset[str]:
        """Names of the labels found so far."""
        return frozenset((*self.energies, *self.tables))

    def note_atoms(self, file: TextIO) -> None:
        """Parse the table of atoms."""
        for line in file:
            found = _ATOM.match(line)
            if found is not None:
                self.symbols.append(found[1].split(".")[0])
                self.positions.append([float(x) for x in _NUMBER.findall(line)[:3]])
            elif self.symbols:
                return

    def note(self, line: str, file: TextIO) -> None:
        """Parse a line, and the lines of `file` that belong to it."""
        n = len(self.symbols)
        iteration = _ITERATION.match(line)
        if iteration:
            self.iterations = int(iteration[1][:9])
        elif line.startswith("maximum number of iterations:"):
            self.max_iterations = _limit(line)
        elif line.startswith("Converged "):
            self.converged = True
        elif line.startswith("Did not converge"):
            self.failed = True
        elif line.startswith("Unit cell"):
            rows = [row for row in islice(file, 6) if _PERIODIC.search(row)][:3]
            self.pbc = ["yes" in row for row in rows]
            self.cell = [[float(x) for x in _NUMBER.findall(_PERIODIC.split(row)[-1])[:3]] for row in rows]
        elif "Free energy:" in line:
            self.energies["free_energy"] = line.split(":")[1]
        elif "Extrapolated:" in line:
            self.energies["energy"] = line.split(":")[1]
        elif line.startswith("Forces ") and "eV/Ang" in line:
            self.tables["forces"] = _table(file, n)
        elif line.startswith("Stress tensor"):
            self.tables["stress"] = _table(file, 3)
        elif line.startswith("Local magnetic moments"):
            self.tables["magmoms"] = _table(file, n)

    def record(self, words: dict[str, str]) -> Record:
        """Return the record of the structure. Raises `FrameError` if it is invalid."""
        if len(self.cell) != 3 or not self.positions or (self.converged and not self.energies):
            raise FrameError("file", "no structure or energy", "has no structure or no energy; remove this frame")
        if {len(row) for row in (*self.positions, *self.cell)} != {3}:
            raise FrameError(
                "file", "positions not a number", "has a place that is not three numbers; remove this frame"
            )
        info: dict[str, object] = {name: number_in(text, name) for name, text in self.energies.items()}
        info |= words
        arrays = {name: np.array(rows) for name, rows in self.tables.items()}
        if "stress" in arrays:
            info["stress"] = arrays.pop("stress")
        moments = arrays.get("magmoms")
        if moments is not None and moments.ndim == 2 and not moments[:, :2].any():
            arrays["magmoms"] = moments[:, 2]
        numbers = np.array([element_of_label(symbol) for symbol in self.symbols])
        return Record(numbers, np.array(self.positions), np.array(self.cell), np.array(self.pbc), info, arrays)


def _table(file: TextIO, n: int) -> list[list[float]]:
    """Return the next `n` rows of three numbers; fewer if the file or the table ends."""
    rows: list[list[float]] = []
    for line in file:
        found = _NUMBER.findall(line.split("#")[0])
        if len(found) == 3:
            rows.append([float(x) for x in found])
        if len(rows) == n or (rows and len(found) != 3):
            break
    return rows
