"""Reader of OUTCAR of VASP, plain or gzipped: all ionic steps.

    read_frames("OUTCAR", bad_frames="skip", skipped=Counter())

Stress: the line `in kB`, kbar, positive under compression, order XX YY ZZ XY YZ ZX; it is converted to eV/Å³, positive
under tension, order xx yy zz yz xz xy. In molecular dynamics it excludes the kinetic contribution, as for a potential.
The energy is the free energy (TOTEN), of which forces and stress are derivatives; `energy_key="energy"` selects
energy(sigma->0). Magnetic moments are the last column of `magnetization (x)`, which requires LORBIT >= 10.
Non-collinear moments are vectors, which gnnpot does not support: read such files with `magmoms_key=""`.

With VASP 6, a step has converged if it has the line "EDIFF is reached". VASP 5 also writes this line after NELM
electronic steps, so the step must have fewer. A step begins at "Ionic step n" or "Iteration n(1)". A beginning that is
followed by another one before an energy or positions is not a step: VASP 6.4 writes both lines, and calculations of a
response start again for each of their parts. Steps with a fixed charge density (ICHARG >= 10), mixed elements (VCA) or
a charged cell are rejected.

Positions in OUTCAR are rounded to 1e-5 Å; `vasprun.xml` of the same run is more precise. Steps of a machine-learned
force field are rejected, because their labels are not results of DFT; a step that was also computed ab initio is read.
With `structures_only`, structures of a force field and of a fixed density are read, too.

The file is read line by line, with one step in memory at a time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, TextIO

import numpy as np

from gnnpot.data.frame import FrameError
from gnnpot.data.readers import vasp
from gnnpot.data.readers.base import open_text
from gnnpot.data.readers.dft import DftReader, incomplete_step, numbers_in, rows_of_numbers
from gnnpot.data.readers.records import Record
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError

_ITERATION = re.compile(r"-+ (Iteration|Ionic step)\s+(\d+)(?:\(\s*(\d+)\))?")
_NELM = re.compile(r"NELM\s*=\s*(\d+);")
_TAG = re.compile(r"\b(LHFCALC|METAGGA|IVDW|LUSE_VDW|LDAUTYPE|ICHARG|NELECT)\s*=\s*([^\s;]+)")
#: tags with one number for each species
_SPECIES_TAG = re.compile(r"^\s*(VCA|ZVAL)\s*=((?:\s*\d+\.\d\d)+)\s*$")
_SCREENING = re.compile(r"\b(HFSCREEN|AEXX|GGA)\s*=\s*(\S+)")
_LDAU = re.compile(r"for each species (LDAU[LUJ])\s*=(.*)")
_ENERGY = re.compile(r"TOTEN\s*=\s*(\S+)\s*eV")
_SIGMA_0 = re.compile(r"energy\(sigma->0\)\s*=\s*(\S+)")


@dataclass(frozen=True)
class OutcarReader(DftReader):
    """`format="outcar"`."""

    format: ClassVar[str] = "outcar"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["vasp-kbar"]

    @classmethod
    def matches(cls, name: str) -> bool:
        return "outcar" in name

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        return head.lstrip().startswith(b"vasp.")

    def records(self) -> Iterator[Record | FrameError]:
        header, step, begun, ended = _Header(), _OutcarStep(), False, False
        whole = 0
        with open_text(self.path, errors="replace") as file:
            for line in file:
                iteration = _ITERATION.search(line) if line.startswith("---") else None
                if iteration and iteration[3] in (None, "1"):
                    if not step.is_empty:
                        whole += 1
                        yield self._finished(step, header)
                    # steps of a force field have no electronic iterations; a DFT step may follow with the same number
                    step, begun = _OutcarStep(cell=step.cell), True
                if iteration:
                    step.iterations = int(iteration[3] or 0)
                    continue
                if not begun:
                    header.note(line)
                elif "General timing and accounting" in line:
                    ended = True
                if "direct lattice vectors" in line and "reciprocal" in line:
                    step.cell, step.has_own_cell = list(islice(file, 3)), begun
                elif begun:
                    step.note(line, file, header.n_atoms)
        if not begun:
            raise DataError(f"{self.path}: ends before its first ionic step; let VASP run")
        if step.is_empty and ended and whole:
            return
        yield self._finished(step, header) if ended or step.is_whole else incomplete_step()

    def _finished(self, step: "_OutcarStep", header: "_Header") -> Record | FrameError:
        try:
            record = step.record(header, self.structures_only)
        except FrameError as error:
            return error
        trusted = step.iterations < header.max_electronic_steps or header.says_when_unconverged
        return self.judged(record, step.converged and trusted)


@dataclass
class _Header:
    """Contents of the file before the first step."""

    version: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)  #: number of atoms of each species
    potcars: list[str] = field(default_factory=list)
    max_electronic_steps: int = 60

    def note(self, line: str) -> None:
        """Parse a line."""
        if not self.version and line.lstrip().startswith("vasp."):
            self.version = line.split(maxsplit=1)[0]
        elif (limit := _NELM.search(line)) is not None:
            self.max_electronic_steps = int(limit[1][:9])
        elif line.startswith(" POTCAR:"):
            self.potcars.append(line.split(":", 1)[1].strip())
        elif "ions per type" in line:
            self.counts = [
                int(word) for word in line.rsplit("=", maxsplit=1)[-1].split() if word.isdigit() and len(word) < 8
            ]
        elif (found := _SPECIES_TAG.match(line)) is not None:
            self.tags[found[1]] = " ".join(re.findall(r"\d+\.\d\d", found[2]))
        elif (ldau := _LDAU.search(line)) is not None:
            self.tags[ldau[1]] = ldau[2].strip()
            self.tags["LDAU"] = "T"
        elif "=" in line:
            for pattern in (_TAG, _SCREENING):
                self.tags.update(pattern.findall(line))

    @property
    def says_when_unconverged(self) -> bool:
        """Whether this version writes "EDIFF is reached" only for converged steps."""
        major = re.match(r"vasp\.(\d+)", self.version)
        return major is not None and int(major[1][:4]) >= 6

    @property
    def valences(self) -> list[tuple[int, float]]:
        """(number of atoms, valence electrons per atom) of each species; empty if OUTCAR does not specify them."""
        electrons = [float(word) for word in self.tags.get("ZVAL", "").split()]
        return list(zip(self.counts, electrons, strict=True)) if len(electrons) == len(self.counts) else []

    @property
    def titles(self) -> list[str]:
        """Titles of the POTCARs, which VASP lists two or three times."""
        return self.potcars[: len(self.counts)]

    @property
    def n_atoms(self) -> int:
        return sum(self.counts)

    @property
    def numbers(self) -> np.ndarray:
        elements = [vasp.element_of_title(title) for title in self.titles]
        if not elements or len(elements) != len(self.counts):
            problem = "says no POTCAR for each species before its first step; take vasprun.xml of this run"
            raise FrameError("file", "unknown elements", problem)
        return np.repeat(elements, self.counts)


@dataclass
class _OutcarStep:
    """An ionic step."""

    cell: list[str] = field(default_factory=list)  #: three lines
    has_own_cell: bool = False  #: whether these lines are of this step, not of an earlier one
    iterations: int = 0  #: number of electronic steps
    converged: bool = False
    has_ml_results: bool = False  #: whether the step has results of a machine-learned force field
    learned_stress: bool = False  #: whether the next stress is from the force field
    in_energies: bool = False  #: whether the current lines are the block of energies
    energy: str = ""  #: free energy
    sigma_0: str = ""  #: energy(sigma->0)
    stress: str = ""  #: line with the stress
    atoms: list[str] = field(default_factory=list)  #: lines with positions and forces
    learned_atoms: list[str] = field(default_factory=list)  #: the same with forces of the force field
    columns: int = 6  #: number of columns of these lines; 9 if there are also forces without dispersion
    moments: list[list[str]] = field(default_factory=list)  #: lines for each Cartesian axis

    def note(self, line: str, file: TextIO, n_atoms: int) -> None:
        """Parse a line, and the lines of `file` that belong to it."""
        if "EDIFF is reached" in line:
            self.converged = True
        elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
            self.in_energies = " ML " not in line
            self.has_ml_results = self.has_ml_results or " ML " in line
        elif self.in_energies and (found := _ENERGY.search(line)):
            self.energy = found[1]
        elif self.in_energies and (found := _SIGMA_0.search(line)):
            self.sigma_0, self.in_energies = found[1], False
        elif "FORCE on cell =-STRESS" in line:
            self.learned_stress = "ML FORCE" in line
        elif line.startswith("  in kB ") and not self.learned_stress:
            self.stress = line
        elif "TOTAL-FORCE" in line and "POSITION" in line:
            lines = list(islice(file, n_atoms + 1))[1:]
            if "(ML)" in line:
                self.learned_atoms = lines
            else:
                self.atoms, self.columns = lines, 3 * (1 + line.count("FORCE"))
        elif line.startswith(" magnetization ("):
            lines = list(islice(file, n_atoms + 3))[3:]
            self.moments = [lines] if "(x)" in line else [*self.moments, lines]

    @property
    def is_empty(self) -> bool:
        """Whether the step has no energy, no positions, and no results of a force field."""
        return not (self.energy or self.atoms or self.has_ml_results)

    @property
    def is_whole(self) -> bool:
        """Whether the step is complete, for files that lack the final lines."""
        return bool(self.sigma_0 and self.stress and self.atoms and self.cell)

    def record(self, header: _Header, structures_only: bool) -> Record:
        """Return the record of the step. Raises `FrameError` if it is invalid."""
        lines, columns = self.atoms, self.columns
        if self.has_ml_results and not lines:
            if not structures_only:
                raise vasp.force_field_step()
            # the cell of an earlier step could be another one
            lines, columns = self.learned_atoms if self.has_own_cell else [], 6
        if not lines or not (self.energy or structures_only):
            raise FrameError("file", "no structure or energy", "has no positions or no energy; remove this frame")
        vasp.check_kind(header.tags, structures_only)
        numbers, n = header.numbers, header.n_atoms
        cell = rows_of_numbers(self.cell, 6, "lattice vectors")[:, :3]
        if columns > 6:
            # the last three columns are forces without dispersion, which may be NaN
            lines = [" ".join(words[:6]) for line in lines if len(words := line.split()) == columns]
        table = rows_of_numbers(lines, 6, "positions and forces")
        if len(table) != n:
            raise FrameError("file", "incomplete step", f"lists {len(table)} of {n} atoms; remove this frame")
        info: dict[str, object] = {**vasp.provenance(header.version, header.tags, header.titles)}
        info |= vasp.total_charge(header.tags, header.valences)
        if structures_only:
            return Record(numbers, table[:, :3], cell, np.full(3, True), info, {})
        return Record(numbers, table[:, :3], cell, np.full(3, True), info | self._labels(), self._arrays(table))

    def _labels(self) -> dict[str, object]:
        """Return energies and stress, as in the file."""
        stress = {"stress": numbers_in(self.stress, 6, "stress")} if self.stress else {}
        return {"free_energy": self.energy, "energy": self.sigma_0, **stress}

    def _arrays(self, table: np.ndarray) -> dict[str, np.ndarray]:
        """Return forces and magnetic moments; `table` [N, 6] has positions and forces."""
        if not self.moments:
            return {"forces": table[:, 3:]}
        columns = [_last_numbers(lines, len(table)) for lines in self.moments]
        return {"forces": table[:, 3:], "magmoms": columns[0] if len(columns) == 1 else np.array(columns).T}


def _last_numbers(lines: list[str], count: int) -> np.ndarray:
    """Return the last number of each line. Raises `FrameError` if one is invalid, or if there are not `count` lines."""
    try:
        values = np.array([float(line.split()[-1]) for line in lines])
    except (ValueError, IndexError):
        values = np.zeros(0)
    if len(values) != count:
        problem = "its table of magnetic moments is not whole; mend or remove this frame"
        raise FrameError("file", "magmoms not a number", problem)
    return values
