"""Reader of `vasprun.xml` of VASP, plain or gzipped: all ionic steps.

    read_frames("vasprun.xml.gz", bad_frames="skip", skipped=Counter())

Stress: kbar, positive under compression, 3x3; it is converted to eV/Å³, positive under tension. The energy is the free
energy (`e_fr_energy`, TOTEN), of which forces and stress are derivatives; `energy_key="energy"` selects
energy(sigma->0). VASP adds PV to it if PSTRESS is set; this is subtracted. Forces are not modified by selective
dynamics. Magnetic moments are not in this file, but in OUTCAR.

A step with NELM electronic steps has not converged. NELM is in two blocks of the parameters; the value for the ground
state is in "electronic convergence". Calculations of a response (LEPSILON, IBRION = 7, 8) list its iterations after
those of the ground state, which end where the energy changes by less than EDIFF. Steps without electronic steps are
from a machine-learned force field and are rejected, as are steps with a fixed charge density (ICHARG >= 10), mixed
elements (VCA) or a charged cell. Results of a force field outside of an element `calculation` are not read. With
`structures_only`, structures of a force field and of a fixed density are read, too. Format:
https://vasp.at/wiki/Vasprun.xml

The file is read sequentially, with one step in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar
from xml.etree import ElementTree
from xml.parsers.expat import errors

import numpy as np

from gnnpot.data.frame import FrameError, atomic_number
from gnnpot.data.readers import vasp
from gnnpot.data.readers.base import open_binary
from gnnpot.data.readers.dft import DftReader, incomplete_step
from gnnpot.data.readers.records import Record
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError
from gnnpot.units import KBAR

#: errors of expat for a truncated document
_CUT_OFF = {
    errors.codes[message]
    for message in (errors.XML_ERROR_NO_ELEMENTS, errors.XML_ERROR_UNCLOSED_TOKEN, errors.XML_ERROR_PARTIAL_CHAR)
}
#: settings that are in several blocks -> the relevant block
_BLOCKS = {"NELM": "electronic convergence"}
#: eV; rounding error of energy differences; energies have 8 decimals
_ROUNDING = 2e-8
#: least change of the energy between ground state and response, in units of EDIFF
_JUMP = 100.0


@dataclass(frozen=True)
class VasprunReader(DftReader):
    """`format="vasprun"`."""

    format: ClassVar[str] = "vasprun"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["vasp-kbar"]

    @classmethod
    def matches(cls, name: str) -> bool:
        return "vasprun" in name and name.endswith(".xml")

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        return head.lstrip().startswith(b"<") and b"<modeling>" in head

    def records(self) -> Iterator[Record | FrameError]:
        run, steps, within = _VasprunHeader(), 0, False
        with open_binary(self.path) as file:
            try:
                for event, element in _top_elements(file):
                    within = event == "start" and element.tag == "calculation"
                    if event == "end" and element.tag == "calculation":
                        steps += 1
                        yield self._step(run, element)
                    elif event == "end":
                        run.note(element)
            except (LookupError, ValueError) as error:
                raise DataError(f"{self.path}: is no whole XML file ({error}); fetch or write it again") from None
            except ElementTree.ParseError as error:
                if error.code not in _CUT_OFF:
                    raise DataError(f"{self.path}: is no whole XML file ({error}); fetch or write it again") from None
                if within:
                    yield incomplete_step()
                elif not steps:
                    raise DataError(f"{self.path}: ends before its first ionic step; let VASP run") from None

    def _step(self, run: "_VasprunHeader", step: ElementTree.Element) -> Record | FrameError:
        try:
            electronic = step.findall("scstep")
            last, converged = run.ground_state(electronic)
            return self.judged(run.record(step, electronic[: last + 1], self.structures_only), converged)
        except FrameError as error:
            return error


def _top_elements(file: BinaryIO) -> Iterator[tuple[str, ElementTree.Element]]:
    """Yield ("start" or "end", element) for the children of the root element; each is freed after its end."""
    depth = 0
    root: ElementTree.Element | None = None
    for event, element in ElementTree.iterparse(file, events=("start", "end")):  # noqa: S314 - expat limits the expansion of entities
        if event == "start":
            depth += 1
            root = element if depth == 1 else root
        if depth == 2:
            yield event, element
        if event == "end":
            depth -= 1
            if depth == 1 and root is not None:
                root.clear()


@dataclass
class _VasprunHeader:
    """Contents of the file before the first step."""

    version: str = ""
    incar: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    numbers: np.ndarray | None = None
    titles: list[str] = field(default_factory=list)
    #: (number of atoms, valence electrons per atom) of each species
    valences: list[tuple[int, float]] = field(default_factory=list)
    broken: FrameError | None = None

    def note(self, element: ElementTree.Element) -> None:
        """Parse a child of the root element."""
        if element.tag == "generator":
            self.version = _text(element, "i[@name='version']")
        elif element.tag == "incar":
            self.incar |= {name: value for _, name, value in _items(element, "")}
        elif element.tag == "parameters":
            for block, name, value in _items(element, ""):
                if block in ("", _BLOCKS.get(name, block)):
                    self.parameters.setdefault(name, value)
        elif element.tag == "atominfo":
            try:
                self._note_atoms(element)
            except FrameError as error:
                self.broken = error

    def _note_atoms(self, element: ElementTree.Element) -> None:
        atoms = element.findall("array[@name='atoms']/set/rc")
        types = [[(c.text or "").strip() for c in row] for row in element.findall("array[@name='atomtypes']/set/rc")]
        self.numbers = np.array([_element(atom.findtext("c") or "") for atom in atoms], dtype=np.int64)
        self.titles = [row[-1] for row in types if row]
        try:
            self.valences = [(int(row[0]), float(row[3])) for row in types]
        except (ValueError, IndexError):
            self.valences = []

    @property
    def tags(self) -> dict[str, str]:
        """Parameters that VASP used, and tags of INCAR that are not listed among them."""
        return {**self.incar, **self.parameters}

    def ground_state(self, electronic: list[ElementTree.Element]) -> tuple[int, bool]:
        """Return the index of the last electronic step of the ground state, and whether it has converged."""
        limit = int(vasp.number({**self.parameters, **self.incar}, "NELM", 60))
        response = vasp.is_true(self.tags.get("LEPSILON", "")) or self.tags.get("IBRION") in ("7", "8")
        if not response:
            return len(electronic) - 1, len(electronic) < limit
        found = [step.find("energy") for step in electronic]
        energies = [_number(energy, "e_fr_energy") for energy in found if energy is not None]
        changes = np.abs(np.diff(energies))
        threshold = vasp.number(self.tags, "EDIFF", 1e-4) + _ROUNDING
        for k in np.flatnonzero(changes <= threshold):
            if k + 1 == len(changes) or changes[k + 1] > _JUMP * threshold:
                return int(k) + 1, bool(k + 2 < limit)
        return len(electronic) - 1, False

    def record(
        self, step: ElementTree.Element, ground_state: list[ElementTree.Element], structures_only: bool
    ) -> Record:
        """Return the record of an element `calculation`. Raises `FrameError` if it is invalid."""
        if self.broken is not None:
            raise self.broken
        energies = step.find("energy")
        if self.numbers is None or step.find("structure/crystal") is None or energies is None:
            raise FrameError("file", "no structure or energy", "has no structure or no energy; remove this frame")
        electronic = [found for part in ground_state if (found := part.find("energy")) is not None]
        if not electronic and not structures_only:
            raise vasp.force_field_step()
        vasp.check_kind(self.tags, structures_only)
        cell = _array(step.find("structure/crystal/varray[@name='basis']"), "basis")
        fractions = _array(step.find("structure/varray[@name='positions']"), "positions")
        if cell.shape != (3, 3):
            raise FrameError(
                "file", "basis of a wrong shape", "has no three lattice vectors; mend or remove this frame"
            )
        info: dict[str, object] = {**vasp.provenance(self.version, self.tags, self.titles)}
        info |= vasp.total_charge(self.tags, self.valences)
        arrays: dict[str, np.ndarray] = {}
        if not structures_only:
            info |= self._energies(energies, electronic[-1], cell)
            stress, forces = step.find("varray[@name='stress']"), step.find("varray[@name='forces']")
            if stress is not None:
                info["stress"] = _array(stress, "stress")
            arrays = {} if forces is None else {"forces": _array(forces, "forces")}
        return Record(self.numbers, fractions @ cell, cell, np.full(3, True), info, arrays)

    def _energies(self, energies: ElementTree.Element, last: ElementTree.Element, cell: np.ndarray) -> dict[str, float]:
        """Return both energies (eV) of a step, given its energies, those of its last electronic step, and its cell."""
        pressure = vasp.number(self.tags, "PSTRESS", 0.0)
        free = _number(energies, "e_fr_energy") - pressure * KBAR * abs(np.linalg.det(cell))
        # e_0_energy of the step is wrong in several versions; that of the last electronic step lacks dispersion
        smearing = _number(last, "e_0_energy") - _number(last, "e_fr_energy")
        return {"free_energy": free, "energy": free + smearing}


def _items(element: ElementTree.Element, block: str) -> Iterator[tuple[str, str, str]]:
    """Yield (block, name, value) for the settings in an element, in order."""
    for child in element:
        if child.tag == "separator":
            yield from _items(child, child.get("name", ""))
        elif child.tag in ("i", "v"):
            yield block, child.get("name", ""), (child.text or "").strip()


def _element(symbol: str) -> int:
    """Return the atomic number of a symbol; some versions truncate symbols: "r" is zirconium, "X" is xenon."""
    symbol = symbol.strip()
    return atomic_number({"r": "Zr", "X": "Xe"}.get(symbol, symbol[:40].capitalize()), "atominfo")


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(element: ElementTree.Element, name: str) -> float:
    text = _text(element, f"i[@name='{name}']")
    try:
        return float(text)
    except ValueError:
        problem = f"{name} {text!r} is no number; mend or remove this frame"
        raise FrameError("file", f"{name} not a number", problem) from None


def _array(element: ElementTree.Element | None, name: str) -> np.ndarray:
    """Return the [M, 3] numbers of a `varray`. Raises `FrameError` if it is missing, or has asterisks."""
    if element is None:
        raise FrameError("file", f"no {name}", f"has no {name}; mend or remove this frame")
    try:
        return np.array([(v.text or "").split() for v in element.iter("v")], dtype=float).reshape(-1, 3)
    except ValueError:
        problem = f"{name} holds what is no number; mend or remove this frame"
        raise FrameError("file", f"{name} not a number", problem) from None
