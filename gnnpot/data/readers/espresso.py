"""Reader of the output of `pw.x` of Quantum ESPRESSO, plain or gzipped: all ionic steps, of one or more runs per file.

    read_frames("relax.pwo", bad_frames="skip", skipped=Counter())

Stress: `total stress`, Ry/Bohr³, positive under compression, 3x3 (the adjacent values in kbar are rounded); it is
converted to eV/Å³, positive under tension. The energy is from the line with "!": with smearing it is the free energy,
of which forces and stress are derivatives. Magnetic moments are those per site. Stress and forces require the options
`tstress` and `tprnfor` of `pw.x`.

The initial structure has 6 decimals in units of the lattice parameter; later structures are more precise. A run whose
output lacks "JOB DONE" was killed.

The file is read line by line, with one step in memory at a time.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, TextIO

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.frame import FrameError
from gnnpot.data.readers.base import open_text
from gnnpot.data.readers.dft import (
    DftReader,
    count_in,
    element_of_label,
    incomplete_step,
    number_in,
    numbers_in,
    rows_of_numbers,
)
from gnnpot.data.readers.records import Record
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError
from gnnpot.units import BOHR, RYDBERG

#: e; largest charge of a neutral cell; numbers of electrons are printed with two decimals
NEUTRAL = 0.01
_VERSION = re.compile(r"Program PWSCF v\.(\S+)")
_ENERGY = re.compile(r"^(!*)\s+total energy\s+=\s+(\S+) Ry")
_MOMENT = re.compile(r"magn[:=]\s*(\S+)")
_PSEUDOPOTENTIAL = re.compile(r"PseudoPot\. #\s*\d+ for (\S+)\s+read from file")
#: Hubbard U since version 7.1; earlier versions print a table
_HUBBARD_U = re.compile(r"^\s+U\((\w+)-\d[spdf]\)\s*=\s*([\d.]+)")
#: row of the table of species: label, electrons, mass, pseudopotentials with their weights
_SPECIES = re.compile(r"^\s+(\S+)\s+(\d+\.\d+)\s+\d+\.\d+((?:\s+\S+\(\s*\d+\.\d+\))+)\s*$")
_UNIT = re.compile(r"[({]\s*(\w+)\s*(?:=\s*([\d.]+))?\s*[)}]")
#: name of the functional in `pw.x` -> common name
_FUNCTIONALS = {
    "SLA PZ NOGX NOGC": "LDA", "SLA PZ": "LDA", "PZ": "LDA", "LDA": "LDA", "PBE": "PBE", "SLA PW PBE PBE": "PBE",
    "SLA PW PBX PBC": "PBE", "PBESOL": "PBEsol", "SLA PW PSX PSC": "PBEsol", "REVPBE": "revPBE",
}  # fmt: skip


@dataclass(frozen=True)
class EspressoReader(DftReader):
    """`format="espresso"`."""

    format: ClassVar[str] = "espresso"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["espresso"]

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith(".pwo")

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        return b"Program PWSCF v." in head

    def records(self) -> Iterator[Record | FrameError]:
        run, step, done = None, _PwStep(), True
        labels: frozenset[str] = frozenset()
        with open_text(self.path, errors="replace") as file:
            for line in file:
                if (version := _VERSION.search(line)) is not None:
                    if run is not None and step.begun:
                        yield self._finished(run, step) if done else incomplete_step()
                    run, step, labels, done = _PwRun(version[1]), _PwStep(), frozenset(), False
                if run is None:
                    continue
                # a new cell or new positions end the previous step
                if run.structure_follows(line) and step.begun:
                    labels = step.labels
                    yield self._finished(run, step)
                    step = _PwStep()
                try:
                    if not run.note(line, file):
                        step.note(line, file, len(run.labels))
                except FrameError as error:
                    step.broken = error
                done = done or "JOB DONE" in line
        if run is None:
            raise DataError(f"{self.path}: is no output of pw.x; name its format with format=")
        if step.begun:
            whole = done or (step.labels and step.labels == labels) or step.stopped
            yield self._finished(run, step) if whole else incomplete_step()

    def _finished(self, run: "_PwRun", step: "_PwStep") -> Record | FrameError:
        try:
            record = step.record(run)
        except FrameError as error:
            return error
        return self.judged(record, not step.stopped)


@dataclass
class _PwRun:
    """Settings and current structure of a run of `pw.x`."""

    version: str
    alat: float = 0.0  #: Å
    n_atoms: int = 0
    labels: list[str] = field(default_factory=list)  #: label of each atom
    electrons: float = 0.0  #: number of electrons in the cell
    valences: dict[str, float] = field(default_factory=dict)  #: number of valence electrons of each label
    mixed: bool = False  #: whether a site has several elements
    cell: np.ndarray | None = None  #: [3, 3] Å
    positions: np.ndarray | None = None  #: [N, 3] Å
    functional: str = ""
    pseudopotentials: list[str] = field(default_factory=list)
    hubbard_u: dict[str, float] = field(default_factory=dict)

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers. Raises `FrameError` for a label that does not begin with a chemical symbol."""
        return [element_of_label(label) for label in self.labels]

    @property
    def total_charge(self) -> dict[str, float]:
        """{"total_charge": charge in e}, or {} if the output does not specify it."""
        if not self.electrons or any(label not in self.valences for label in self.labels):
            return {}
        charge = sum(self.valences[label] for label in self.labels) - self.electrons
        return {"total_charge": round(charge, 4) if abs(charge) > NEUTRAL else 0.0}

    @staticmethod
    def structure_follows(line: str) -> bool:
        """Return whether this line is followed by a new cell or new positions."""
        return line.startswith(("CELL_PARAMETERS", "ATOMIC_POSITIONS")) or "crystal axes:" in line

    def note(self, line: str, file: TextIO) -> bool:
        """Parse a line, and the lines of `file` that belong to it; return whether the line was recognised."""
        if "celldm(1)=" in line:
            self.alat = number_in(line.split("celldm(1)=")[1].split(maxsplit=1)[0], "celldm(1)") * BOHR
        elif "number of atoms/cell" in line:
            self.n_atoms = count_in(line.rsplit("=", maxsplit=1)[-1], "number of atoms")
        elif "number of electrons" in line and "=" in line:
            self.electrons = number_in((line.split("=")[1].split() or [""])[0], "number of electrons")
        elif "atomic species" in line and "valence" in line:
            self._note_species(file)
        elif "Exchange-correlation" in line and "=" in line:
            name = " ".join(line.split("=", 1)[1].split("(", maxsplit=1)[0].split())
            self.functional = _FUNCTIONALS.get(name.upper(), name)
        elif _PSEUDOPOTENTIAL.search(line):
            self.pseudopotentials.append(file.readline().strip().rsplit("/", 1)[-1])
        elif "Simplified LDA+U calculation" in line:
            self._note_u(file)
        elif (found := _HUBBARD_U.match(line)) is not None:
            self.hubbard_u[chemical_symbols[element_of_label(found[1])]] = number_in(found[2], "U")
        elif "crystal axes:" in line:
            rows = [row.split("=")[-1] for row in islice(file, 3)]
            self.cell = rows_of_numbers(rows, 3, "crystal axes") * self.alat
        elif "site n." in line and "(alat units)" in line:
            rows = list(islice(file, self.n_atoms))
            self.labels = [([*row.split(), "", ""])[1] for row in rows]
            self.positions = rows_of_numbers([row.split("=")[-1] for row in rows], 3, "positions") * self.alat
        elif line.startswith("CELL_PARAMETERS"):
            self.cell = rows_of_numbers(list(islice(file, 3)), 3, "CELL_PARAMETERS") * self._unit(line)
        elif line.startswith("ATOMIC_POSITIONS"):
            self._note_positions(line, list(islice(file, self.n_atoms)))
        else:
            return False
        return True

    def _note_species(self, file: TextIO) -> None:
        while (found := _SPECIES.match(file.readline())) is not None:
            self.valences[found[1]] = float(found[2])
            self.mixed = self.mixed or found[3].count("(") > 1

    def _note_u(self, file: TextIO) -> None:
        file.readline()
        while len(words := file.readline().split()) >= 3:
            if value := number_in(words[2], "U"):
                self.hubbard_u[chemical_symbols[element_of_label(words[0])]] = value

    def _note_positions(self, line: str, rows: list[str]) -> None:
        self.labels = [row.split()[0] for row in rows if row.split()]
        values = np.array([numbers_in(row, 3, "positions") for row in rows]).reshape(-1, 3)
        unit = _UNIT.search(line)
        if self.cell is None:
            raise FrameError("file", "no structure or energy", "has positions without a cell; remove this frame")
        self.positions = values @ self.cell if unit and unit[1] == "crystal" else values * self._unit(line)

    def _unit(self, line: str) -> float:
        unit = _UNIT.search(line)
        name = unit[1] if unit else "alat"
        if name == "alat" and unit and unit[2]:
            self.alat = number_in(unit[2], "alat") * BOHR
        known = {"alat": self.alat, "bohr": BOHR, "angstrom": 1.0}
        if name not in known:
            problem = f"{line.strip()[:60]!r}: the unit is not known; mend or remove this frame"
            raise FrameError("file", "unknown unit", problem)
        return known[name]


@dataclass
class _PwStep:
    """Labels of one ionic step."""

    begun: bool = False  #: whether electronic iterations have started
    energy: float | None = None  #: eV
    last_energy: float | None = None  #: energy of the last electronic iteration, eV
    forces: np.ndarray | None = None  #: eV/Å
    stress: np.ndarray | None = None  #: Ry/Bohr³
    magmoms: np.ndarray | None = None
    stopped: bool = False  #: whether the electronic iterations did not converge
    broken: FrameError | None = None

    @property
    def labels(self) -> frozenset[str]:
        """Names of the labels found so far."""
        return frozenset(n for n in ("energy", "forces", "stress", "magmoms") if getattr(self, n) is not None)

    def note(self, line: str, file: TextIO, n_atoms: int) -> None:
        """Parse a line, and the lines of `file` that belong to it."""
        if "iteration #" in line:
            self.begun = True
        elif (found := _ENERGY.match(line)) is not None:
            self.last_energy = number_in(found[2], "total energy") * RYDBERG
            if found[1]:
                self.energy, self.begun = self.last_energy, True
        elif "convergence NOT achieved" in line:
            self.stopped = True
        elif "Forces acting on atoms" in line:
            file.readline()
            rows = [row.split("=")[-1] for row in islice(file, n_atoms)]
            self.forces = rows_of_numbers(rows, 3, "forces") * (RYDBERG / BOHR)
        elif "total   stress" in line:
            self.stress = rows_of_numbers(list(islice(file, 3)), 6, "stress")[:, :3]
        elif "Magnetic moment per site" in line:
            rows = list(islice(file, n_atoms))
            moments = [found[1] for row in rows if (found := _MOMENT.search(row)) is not None]
            if len(moments) == len(rows):
                self.magmoms = np.array([number_in(moment.rstrip(","), "magn") for moment in moments])

    def record(self, run: _PwRun) -> Record:
        """Return the record of the step. Raises `FrameError` if it is invalid."""
        if self.broken is not None:
            raise self.broken
        energy = self.last_energy if self.stopped and self.energy is None else self.energy
        if run.cell is None or run.positions is None or energy is None:
            raise FrameError("file", "no structure or energy", "has no structure or no energy; remove this frame")
        if run.mixed:
            problem = "has elements mixed on one site, which gnnpot's structures can't hold; leave it out"
            raise FrameError("file", "mixed elements", problem)
        info: dict[str, object] = {
            **run.total_charge,
            "energy": energy,
            "code": f"Quantum ESPRESSO {run.version}",
            "functional": run.functional,
            "pseudopotentials": ", ".join(run.pseudopotentials),
            "hubbard_u": json.dumps(run.hubbard_u),
        }
        if self.stress is not None:
            info["stress"] = self.stress
        labels = {"forces": self.forces, "magmoms": self.magmoms}
        arrays = {name: value for name, value in labels.items() if value is not None}
        return Record(np.array(run.numbers), run.positions, run.cell, np.full(3, True), info, arrays)
