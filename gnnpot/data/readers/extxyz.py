"""Reader of extended XYZ files, plain or compressed.

Lengths are in Å, energies in eV, forces in eV/Å. Stress: `stress` in eV/Å³, positive under tension, 3x3 or six numbers
in the order xx yy zz yz xz xy (the convention of ASE); `virial` in eV, -dE/dε. Use `stress=` for other conventions.

The reader of ASE locates all frames before it returns the first one, holds compressed files in memory, and guesses the
types of values (a material "T" becomes `True`). This reader yields one frame at a time and keeps values as text. The
grammar is that of ASE: https://wiki.fysik.dtu.dk/ase/ase/io/formatoptions.html#extxyz
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np

from gnnpot.data.frame import FrameError, atomic_number
from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.readers.base import Reader, open_text
from gnnpot.data.readers.records import Record, floats, whole_numbers
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError

_PAIR = re.compile(
    r"""\s*(?P<key>"(?:[^"\\]|\\.)*"|[^\s="]+)"""
    r"""(?:\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[(?:[^\[\]]|\[[^\]]*\])*\]|[^\s]*))?"""
)
#: keys defined by the format, in lower case -> usual case
_OWN_KEYS = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
#: largest number of columns of a property
MAX_WIDTH = 10**6
#: largest number of atoms of a frame
MAX_ATOMS = 10**9
_CLOSING = {'"': '"', "'": "'", "{": "}", "[": "]"}
_BETWEEN_FLAGS = str.maketrans("[]{}(),", " " * 7)
_FLAGS = {"T": True, "TRUE": True, "1": True, "F": False, "FALSE": False, "0": False}


@dataclass(frozen=True)
class ExtxyzReader(Reader):
    """`format="extxyz"`."""

    format: ClassVar[str] = "extxyz"
    stress_convention: ClassVar[StressConvention | None] = PRESETS["ase"]
    free_names: ClassVar[bool] = True

    @classmethod
    def matches(cls, name: str) -> bool:
        return name.endswith((".extxyz", ".xyz"))

    def records(self) -> Iterator[Record | FrameError]:
        with open_text(self.path) as file:
            number = 0
            while header := file.readline():
                if not header.strip():
                    if file.read(4096).strip():
                        where = f"{self.path}, frame {number} (counted from 0)"
                        raise DataError(f"{where}: a blank line stands before it; remove it")
                    continue
                n_atoms = self._count(header, number)
                comment = file.readline()
                lines = list(islice(file, n_atoms))
                if len(lines) < n_atoms:
                    raise DataError(
                        f"{self.path}, frame {number} (counted from 0): the file ends after {len(lines)} of {n_atoms} "
                        "atoms; it is truncated, fetch or write it again"
                    )
                try:
                    yield _record(comment, lines)
                except FrameError as error:
                    yield error
                number += 1

    def _count(self, header: str, number: int) -> int:
        try:
            count = int(header)
            if 0 <= count <= MAX_ATOMS:
                return count
        except ValueError:
            pass
        raise DataError(
            f"{self.path}, frame {number} (counted from 0): expected a number of atoms, found {header.strip()[:40]!r}; "
            "this is no XYZ file or the count of the frame before is wrong"
        )


def parse_comment(line: str) -> dict[str, str]:
    """Parse an extended XYZ comment line into keys and values, as text; the value of a key without value is "T".

    Keys defined by the format are converted to their usual case (`PBC` to `pbc`). Raises `FrameError` for a duplicate
    key.
    """
    info: dict[str, str] = {}
    for key, value in _pairs(line):
        if value is not None and key in info:
            problem = f"the comment line has {key}= twice; mend or remove this frame"
            raise FrameError("file", "a key twice", problem)
        info.setdefault(key, "T" if value is None else value)
    return info


def _pairs(line: str) -> Iterator[tuple[str, str | None]]:
    for match in _PAIR.finditer(line.strip()):
        key, value = _unquote(match["key"]), match["value"]
        if value and value[0] in _CLOSING and (len(value) == 1 or value[-1] != _CLOSING[value[0]]):
            problem = f"the comment line has {key}= with a {value[0]} that is not closed; mend or remove this frame"
            raise FrameError("file", "a value that is not closed", problem)
        yield _OWN_KEYS.get(key.lower(), key), None if value is None else _unquote(value)


def _unquote(text: str) -> str:
    if len(text) > 1 and _CLOSING.get(text[0]) == text[-1]:
        return text[1:-1].replace('\\"', '"')
    return text


def _record(comment: str, lines: list[str]) -> Record:
    info = parse_comment(comment)
    # words of a title, such as "lowest energy found", are not labels
    labels = {key for quantity in QUANTITIES.values() for key in quantity.keys}
    info = {key: info[key] for key, value in _pairs(comment) if value is not None or key not in labels}
    columns = AtomColumns(info.pop("Properties", "species:S:1:pos:R:3"), lines)
    cell, periodic = np.zeros((3, 3)), "F F F"
    if "Lattice" in info:
        lattice = floats(info.pop("Lattice"), "Lattice")
        if lattice.size != 9:
            problem = f"Lattice has {lattice.size} numbers, expected 9; mend or remove this frame"
            raise FrameError("file", "Lattice of a wrong shape", problem)
        cell, periodic = lattice.reshape(3, 3), "T T T"
    flags = [_FLAGS.get(word.upper()) for word in info.pop("pbc", periodic).translate(_BETWEEN_FLAGS).split()]
    flags = flags * 3 if len(flags) == 1 else flags
    if len(flags) != 3 or None in flags:
        raise FrameError("file", "pbc not three flags", 'pbc is not three flags; write it as pbc="T T F"')
    if "pos" not in columns:
        raise FrameError("file", "no positions", "Properties names no pos:R:3; mend or remove this frame")
    return Record(_numbers(columns), columns["pos"], cell, np.array(flags), info, columns, _fixed(columns))


def _fixed(columns: "AtomColumns") -> np.ndarray | None:
    """Return the atoms that ASE's column `move_mask` holds in all directions; `None` without it."""
    if "move_mask" not in columns:
        return None
    return np.array([all(_FLAGS.get(word.upper()) is False for word in row) for row in columns.texts("move_mask")])


def _numbers(columns: "AtomColumns") -> np.ndarray:
    if "species" in columns:
        words = columns.words("species")
        known = {w: _element(w) for w in set(words)}
        return np.array([known[w] for w in words], dtype=np.int64)
    if "Z" in columns:
        return whole_numbers(columns["Z"], "Z")
    raise FrameError("file", "no species", "Properties names neither species:S:1 nor Z:I:1; mend or remove this frame")


def _element(word: str) -> int:
    """Return the atomic number of a chemical symbol, or of a number of up to three digits."""
    if word.isascii() and word.isdigit() and len(word) <= 3:
        return int(word)
    return atomic_number(word[:40].capitalize(), "species")


class AtomColumns(Mapping):
    """Per-atom columns of a frame, by their names in `Properties`; numbers are parsed on access."""

    def __init__(self, properties: str, lines: list[str]) -> None:
        words = properties.split(":")
        self._slices: dict[str, slice] = {}
        start = 0
        try:
            for name, _, width in zip(words[::3], words[1::3], words[2::3], strict=True):
                if name in self._slices or not 1 <= int(width) <= MAX_WIDTH:
                    raise ValueError
                self._slices[name] = slice(start, start + int(width))
                start += int(width)
        except ValueError:
            problem = f"Properties={properties!r} is no list of name:type:columns, each once; mend or remove this frame"
            raise FrameError("file", "broken Properties", problem) from None
        self._rows = [line.split() for line in lines]
        for k, row in enumerate(self._rows):
            if len(row) != start:
                problem = f"atom {k} has {len(row)} columns, Properties names {start}; mend or remove this frame"
                raise FrameError("file", "wrong number of columns", problem)

    def __getitem__(self, name: str) -> np.ndarray:
        part = self._slices[name]
        values = floats([row[part] for row in self._rows], name)
        width = part.stop - part.start
        return values.reshape(-1, width) if width > 1 else values.reshape(-1)

    def words(self, name: str) -> list[str]:
        """Return the text of the first column of a property."""
        first = self._slices[name].start
        return [row[first] for row in self._rows]

    def texts(self, name: str) -> list[list[str]]:
        """Return the text of all columns of a property."""
        part = self._slices[name]
        return [row[part] for row in self._rows]

    def __contains__(self, name: object) -> bool:
        return name in self._slices

    def __iter__(self) -> Iterator[str]:
        return iter(self._slices)

    def __len__(self) -> int:
        return len(self._slices)
