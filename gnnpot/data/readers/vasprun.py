"""VASP's `vasprun.xml`, plain or gzipped, every ionic step of it.

    read_frames("vasprun.xml.gz", bad_frames="skip", skipped=Counter())

Stress: kbar, positive under compression, 3x3; it is turned into eV/Å³, positive under tension. The energy is the free
energy (`e_fr_energy`, TOTEN), the one that forces and stress are derivatives of; `energy_key="energy"` takes
energy(sigma->0) instead. Under PSTRESS VASP adds PV to it; that is taken off again. Forces on atoms that selective
dynamics holds are as VASP calculated them. Magnetic moments are not in this file; OUTCAR has them.

A step has not converged if it took all NELM electronic steps. NELM stands in two blocks of the parameters, and means
the ground state in "electronic convergence" only. Runs that calculate a response (LEPSILON, IBRION = 7, 8) list its
iterations after those of the ground state, which end where the energy changes by less than EDIFF. Steps without
electronic steps are those of a machine-learned force field, no labels; they are refused, and so are steps of a fixed
charge density (ICHARG >= 10), of mixed elements (VCA) and of charged cells. https://vasp.at/wiki/Vasprun.xml

The file is read once, step after step; no more than one step is held.
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

#: expat's errors for a document that ends too early
_CUT_OFF = {
    errors.codes[message]
    for message in (errors.XML_ERROR_NO_ELEMENTS, errors.XML_ERROR_UNCLOSED_TOKEN, errors.XML_ERROR_PARTIAL_CHAR)
}
#: settings that stand in several blocks -> the block that means them
_BLOCKS = {"NELM": "electronic convergence"}
#: eV; energies have 8 decimals
_ROUNDING = 2e-8
#: between ground state and response the energy changes by more than so many times EDIFF
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
            return self.judged(run.record(step, electronic[: last + 1]), converged)
        except FrameError as error:
            return error


def _top_elements(file: BinaryIO) -> Iterator[tuple[str, ElementTree.Element]]:
    """("start" or "end", element) of the children of the document, which are forgotten when the next one comes."""
    depth = 0
    root: ElementTree.Element | None = None
    for event, element in ElementTree.iterparse(file, events=("start", "end")):  # noqa: S314 - Expat bounds the expansion of entities
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
    """What stands before the first step."""

    version: str = ""
    incar: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    numbers: np.ndarray | None = None
    titles: list[str] = field(default_factory=list)
    valences: list[tuple[int, float]] = field(default_factory=list)  #: atoms of each species, and their electrons
    broken: FrameError | None = None

    def note(self, element: ElementTree.Element) -> None:
        """Keep what is of use of a child of the document."""
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
        """What VASP used, and from INCAR what it does not list."""
        return {**self.incar, **self.parameters}

    def ground_state(self, electronic: list[ElementTree.Element]) -> tuple[int, bool]:
        """The last of the electronic steps that is of the ground state, and whether that is converged."""
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

    def record(self, step: ElementTree.Element, ground_state: list[ElementTree.Element]) -> Record:
        """The record of a `calculation`. Raises `FrameError`."""
        if self.broken is not None:
            raise self.broken
        energies = step.find("energy")
        if self.numbers is None or step.find("structure/crystal") is None or energies is None:
            raise FrameError("file", "no structure or energy", "has no structure or no energy; remove this frame")
        electronic = [found for part in ground_state if (found := part.find("energy")) is not None]
        if not electronic:
            problem = "has no electronic steps, so it comes from a machine-learned force field; leave it out"
            raise FrameError("file", "no electronic steps", problem)
        vasp.check_kind(self.tags)
        cell = _array(step.find("structure/crystal/varray[@name='basis']"), "basis")
        fractions = _array(step.find("structure/varray[@name='positions']"), "positions")
        if cell.shape != (3, 3):
            raise FrameError(
                "file", "basis of a wrong shape", "has no three lattice vectors; mend or remove this frame"
            )
        pressure = vasp.number(self.tags, "PSTRESS", 0.0)
        free = _number(energies, "e_fr_energy") - pressure * KBAR * abs(np.linalg.det(cell))
        # The step's own e_0_energy is wrong in several versions; that of its last electronic step lacks dispersion.
        smearing = _number(electronic[-1], "e_0_energy") - _number(electronic[-1], "e_fr_energy")
        info = {"free_energy": free, "energy": free + smearing}
        info |= vasp.provenance(self.version, self.tags, self.titles)
        info |= vasp.total_charge(self.tags, self.valences)
        stress, forces = step.find("varray[@name='stress']"), step.find("varray[@name='forces']")
        if stress is not None:
            info["stress"] = _array(stress, "stress")
        arrays = {} if forces is None else {"forces": _array(forces, "forces")}
        return Record(self.numbers, fractions @ cell, cell, np.full(3, True), info, arrays)


def _items(element: ElementTree.Element, block: str) -> Iterator[tuple[str, str, str]]:
    """(block, name, value) of the settings in an element, in order."""
    for child in element:
        if child.tag == "separator":
            yield from _items(child, child.get("name", ""))
        elif child.tag in ("i", "v"):
            yield block, child.get("name", ""), (child.text or "").strip()


def _element(symbol: str) -> int:
    """Of a symbol, also of those that some versions cut: "r" is zirconium, "X" is xenon."""
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
    """The [M, 3] numbers of a `varray`. Raises `FrameError` where there are none, or asterisks."""
    if element is None:
        raise FrameError("file", f"no {name}", f"has no {name}; mend or remove this frame")
    try:
        return np.array([(v.text or "").split() for v in element.iter("v")], dtype=float).reshape(-1, 3)
    except ValueError:
        problem = f"{name} holds what is no number; mend or remove this frame"
        raise FrameError("file", f"{name} not a number", problem) from None
