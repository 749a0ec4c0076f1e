"""Reader of the NumPy folders of DeePMD-kit: systems, each with frames of the same atoms.

    read_frames("systems/Li20")          # one system
    read_frames("systems")               # all systems in a folder, as written by MultiSystems of dpdata

    type.raw                    type number of each atom, from 0; `type_map.raw` has the elements of the types
    set.000/coord.npy           [F, 3N] Å
    set.000/box.npy             [F, 9] Å, absent with an empty file `nopbc`
    set.000/energy.npy          [F] eV
    set.000/force.npy           [F, 3N] eV/Å
    set.000/virial.npy          [F, 9] eV
    set.000/real_atom_types.npy [F, N] in the mixed format, in place of type.raw; -1 marks empty entries

Stress: `virial`, eV, -dE/dε = -V σ, positive under compression; it is divided by the volume. All arrays but the
coordinates are optional. Without `type_map.raw`, the option `type_map="Li,Ge,P,S"` is required. The files are usually
in single precision, with a relative error of 1e-7. For a folder of systems, the systems one or two levels below it are
read, in the order of their names; frames are numbered across systems, and their `source` is the name of the system.
Format: https://docs.deepmodeling.com/projects/deepmd/en/stable/data/system.html

Arrays are memory-mapped; only the frame that is being read is loaded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from gnnpot.data.frame import FrameError, atomic_number
from gnnpot.data.readers.base import Reader, open_text
from gnnpot.data.readers.records import Record, whole_numbers
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError

#: file -> name of the label, and number of values per frame (`None`: three per atom)
_LABELS = {"energy": ("energy", 1), "force": ("forces", None), "virial": ("virial", 9)}


@dataclass(frozen=True)
class DeepmdReader(Reader):
    """`format="deepmd"`."""

    format: ClassVar[str] = "deepmd"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["virial"]

    type_map: str = ""  #: elements of the types, such as "Li,Ge,P,S"; default: those of type_map.raw

    @classmethod
    def matches(cls, name: str) -> bool:
        return False

    @classmethod
    def holds(cls, folder: Path) -> bool:
        return any(any(system.glob("set.*")) for system in _systems(folder))

    def records(self) -> Iterator[Record | FrameError]:
        for system in _systems(self.path) or [self.path]:
            if system == self.path:
                yield from self._system()
                continue
            source = f"{self.path.name}/{system.relative_to(self.path)}"
            for record in replace(self, path=system)._system():
                if isinstance(record, Record):
                    record = replace(record, info={"source": source, **record.info})
                yield record

    def _system(self) -> Iterator[Record | FrameError]:
        """Yield the frames of one system."""
        types = self._types()
        elements = self._elements(int(types.max(initial=-1)))
        periodic = not (self.path / "nopbc").exists()
        sets = sorted(p for p in self.path.glob("set.*") if p.is_dir())
        if not sets:
            raise DataError(f"{self.path}: has no folder set.000 with coord.npy; give a system's folder")
        for part in sets:
            yield from self._set(part, types, elements, periodic)

    def _types(self) -> np.ndarray:
        path = self.path / "type.raw"
        try:
            types = np.array(_text(path).split(), dtype=np.int64)
        except (ValueError, OverflowError):
            raise DataError(f"{path}: is no list of type numbers; write it again") from None
        if len(types) == 0 or types.min() < 0:
            raise DataError(f"{path}: types are numbers from 0, one for each atom; write it again")
        return types

    def _elements(self, last: int) -> np.ndarray:
        path = self.path / "type_map.raw"
        if self.type_map:
            names = self.type_map.replace(",", " ").split()
        elif path.is_file():
            names = _text(path).split()
        else:
            raise DataError(f"{path}: is missing, so the elements are not known; give type_map='Li,Ge,P,S' or the like")
        if last >= len(names):
            raise DataError(f"{self.path}: type.raw counts to {last}, but type_map has {len(names)} names; mend either")
        return np.array([atomic_number(name, str(path)) for name in names])

    def _set(
        self, folder: Path, types: np.ndarray, elements: np.ndarray, periodic: bool
    ) -> Iterator[Record | FrameError]:
        n = len(types)
        positions = _load(folder / "coord.npy", 3 * n)
        frames = len(positions)
        boxes = _load(folder / "box.npy", 9, frames) if periodic else None
        mixed = folder / "real_atom_types.npy"
        real = _load(mixed, n, frames) if mixed.is_file() else None
        labels = {
            name: _load(folder / f"{file}.npy", width or 3 * n, frames)
            for file, (name, width) in _LABELS.items()
            if (folder / f"{file}.npy").is_file()
        }
        for k in range(frames):
            try:
                kinds = types if real is None else whole_numbers(real[k], mixed.name)
            except FrameError as error:
                yield error
                continue
            if kinds.max(initial=-1) >= len(elements):
                named = len(elements)
                raise DataError(f"{mixed}: counts to {kinds.max()}, but type_map has {named} names; mend either")
            if kinds.min(initial=0) < -1:
                problem = f"{mixed.name} has the type {kinds.min()}; types count from 0, and -1 is no atom: mend it"
                yield FrameError("file", "unknown type", problem)
                continue
            atoms = kinds >= 0
            cell = np.zeros((3, 3)) if boxes is None else np.array(boxes[k], dtype=float).reshape(3, 3)
            values = {name: array[k] for name, array in labels.items()}
            if "forces" in values:
                values["forces"] = values["forces"].reshape(-1, 3)[atoms]
            points = np.array(positions[k], dtype=float).reshape(-1, 3)[atoms]
            yield Record(elements[kinds[atoms]], points, cell, np.full(3, periodic), values, values)


def _systems(folder: Path) -> list[Path]:
    """Return the folder itself if it is a system, or else the systems one or two levels below it."""
    if (folder / "type.raw").is_file():
        return [folder]
    return sorted(path.parent for pattern in ("*/type.raw", "*/*/type.raw") for path in folder.glob(pattern))


def _load(path: Path, width: int, frames: int | None = None) -> np.ndarray:
    """Memory-map a NumPy file as [F, width]. Raises `DataError` if it is damaged or has another shape."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: is missing, or no ordinary file; write it again")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        problem = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: can't be read ({problem}); copy or write it again") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        kind = array.dtype if isinstance(array, np.ndarray) else "an archive"
        raise DataError(f"{path}: holds no real numbers but {kind}; write it again")
    if width < 1 or array.size % width or (frames is not None and array.size != frames * width):
        expected = f"{width} numbers per frame" + ("" if frames is None else f" and {frames} frames")
        raise DataError(f"{path}: has {array.size} numbers, expected {expected}; write it again")
    return array.reshape(-1, width)


def _text(path: Path) -> str:
    """Read a text file. Raises `DataError` if it is not text."""
    with open_text(path) as file:
        return file.read()
