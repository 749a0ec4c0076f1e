"""From a file's own words to a frame: which key is the energy, what stress means, which material it is.

| field of `Provenance` | keys of the file, first found counts                                        |
|-----------------------|-----------------------------------------------------------------------------|
| `material_id`         | `material_key=` if given, else material_id, mptrj_traj_id, else the reduced formula |
| `source`              | source, else `source=`, else the file's name                                |
| `source_id`           | source_id, mptrj_snapshot_id, snapshot_id, else the number of the frame     |
| others                | see `PROVENANCE_KEYS`, else the option of the same name                     |

The reduced formula as material keeps all frames of one compound on one side of a split: it may hold too much
together, but it never leaks. `material_key="formula"` asks for it always, `material_key="frame"` makes every frame a
material of its own (for files of distinct crystals).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from ase.formula import Formula

from gnnpot.data.frame import Frame, FrameError, Provenance
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.errors import DataError, suggest

PROVENANCE_KEYS: dict[str, tuple[str, ...]] = {
    "source": ("source",),
    "source_id": ("source_id", "mptrj_snapshot_id", "snapshot_id"),
    "material_id": ("material_id", "mptrj_traj_id"),
    "config_type": ("config_type", "group"),
    "functional": ("functional", "xc"),
    "code": ("code",),
    "pseudopotentials": ("pseudopotentials",),
    "hubbard_u": ("hubbard_u",),
}
LABEL_KEYS: dict[str, tuple[str, ...]] = {
    "energy": ("free_energy", "energy"),
    "forces": ("forces",),
    "stress": ("stress", "virial"),
    "magmoms": ("magmoms",),
}
#: what a file may say of its own units; anything else is refused
_OWN_UNITS = {"energy_unit": {"ev"}, "forces_unit": {"ev/a", "ev/å", "ev/ang", "ev/angstrom"}}
_SIMILAR = {
    "energy": re.compile(r"(^|.*[_-])(energy|free_energy)$", re.IGNORECASE),
    "forces": re.compile(r"(^|.*[_-])forces?$", re.IGNORECASE),
    "stress": re.compile(r"(^|.*[_-])(stress|virials?)$", re.IGNORECASE),
}


@dataclass(frozen=True)
class Record:
    """A frame as a file tells it: `info` per frame and `arrays` per atom under the file's own names.

    Values of `info` may be text; numbers are read from it where they are needed.
    """

    numbers: np.ndarray  #: [N]
    positions: np.ndarray  #: [N, 3] Å
    cell: np.ndarray  #: [3, 3] Å
    pbc: np.ndarray  #: [3]
    info: Mapping[str, object] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordOptions:
    """What a user says of a file. Of the keys, `None` means the usual names (`LABEL_KEYS`), "" means: read none."""

    energy_key: str | None = None  #: eV, total energy
    forces_key: str | None = None  #: eV/Å
    stress_key: str | None = None
    magmoms_key: str | None = None  #: µB
    stress: StressConvention | str | None = None  #: the file's convention; `None`: the usual one of the format and key
    material_key: str | None = None  #: or "formula", or "frame"
    source: str = ""  #: this and the following stand in where the file does not say
    code: str = ""
    functional: str = ""
    pseudopotentials: str = ""


class FrameBuilder:
    """Builds the frames of one file, and remembers which labels it has met."""

    def __init__(self, path: Path, options: RecordOptions, stress: StressConvention | None) -> None:
        self.path = path
        self.options = options
        self.stress = StressConvention.parse(options.stress) if options.stress is not None else None
        self.usual_stress = stress or PRESETS["ase"]
        self.keys = {}
        for label, usual in LABEL_KEYS.items():
            given = getattr(options, f"{label}_key")
            self.keys[label] = usual if given is None else (given,) if given else ()
        self.unmet = {label for label in LABEL_KEYS if getattr(options, f"{label}_key")}
        self.met: set[str] = set()

    def build(self, record: Record, number: int) -> Frame:
        """The frame of a record, the `number`-th of its file. Raises `FrameError`, and `DataError` for the file."""
        if number == 0:
            self._check_first(record)
        energy = self._label(record, "energy", record.info, ())
        forces = self._label(record, "forces", record.arrays, (len(record.numbers), 3))
        magmoms = self._label(record, "magmoms", record.arrays, (len(record.numbers),))
        return Frame(
            numbers=record.numbers,
            positions=record.positions,
            cell=record.cell,
            pbc=record.pbc,
            energy=None if energy is None else float(energy),
            forces=forces,
            stress=self._stress(record),
            magmoms=magmoms,
            provenance=self._provenance(record, number),
        )

    def finish(self) -> None:
        """Raise `DataError` if a key that the user named was in no frame."""
        for label in sorted(self.unmet):
            key = getattr(self.options, f"{label}_key")
            raise DataError(f"{self.path}: no frame has the {label} key '{key}'; {suggest(key, self.met)}")

    def _check_first(self, record: Record) -> None:
        """Refuse to read a file as unlabelled when its labels only have other names, or other units."""
        names = set(record.info) | set(record.arrays)
        self.met |= names
        for label, pattern in _SIMILAR.items():
            if getattr(self.options, f"{label}_key") is not None or any(k in names for k in self.keys[label]):
                continue
            similar = sorted(n for n in names if pattern.match(n))
            if similar:
                raise DataError(
                    f"{self.path}: frame 0 has no '{LABEL_KEYS[label][-1]}' but '{', '.join(similar)}'; say which is "
                    f"the {label} with {label}_key='{similar[0]}', or {label}_key='' for none"
                )
        for key, usual in _OWN_UNITS.items():
            unit = str(record.info.get(key, "ev")).lower()
            if key in record.info and unit not in usual:
                raise DataError(f"{self.path}: says {key}={unit}; gnnpot reads eV and Å, convert the file first")
        if "stress_unit" in record.info and self.stress is None:
            unit = StressConvention(str(record.info["stress_unit"])).unit
            if unit != self.usual_stress.unit:
                raise DataError(f"{self.path}: says stress_unit={unit}; name its convention: stress='{unit}:tension'")

    def _label(self, record: Record, label: str, where: Mapping, shape: tuple[int, ...]) -> np.ndarray | None:
        key = next((k for k in self.keys[label] if k in where), None)
        if key is None:
            return None
        self.unmet.discard(label)
        values = floats(where[key], key)
        if values.size != int(np.prod(shape)):
            problem = f"{key} has {values.size} numbers, expected {int(np.prod(shape))}; mend or remove this frame"
            raise FrameError(str(self.path), f"{label} of a wrong shape", problem)
        return values.reshape(shape)

    def _stress(self, record: Record) -> np.ndarray | None:
        key = next((k for k in self.keys["stress"] if k in record.info), None)
        if key is None:
            return None
        self.unmet.discard("stress")
        convention = self.stress or (PRESETS["virial"] if key == "virial" else self.usual_stress)
        try:
            return convention.to_stress(floats(record.info[key], key), float(abs(np.linalg.det(record.cell))))
        except ValueError as error:
            raise FrameError(str(self.path), "stress of a wrong shape", f"{error}; mend or remove this frame") from None

    def _provenance(self, record: Record, number: int) -> Provenance:
        words: dict[str, object] = {}
        for name, keys in PROVENANCE_KEYS.items():
            key = next((k for k in keys if k in record.info), None)
            words[name] = "" if key is None else str(record.info[key])
        for f in fields(RecordOptions):
            if f.name in words and not words[f.name]:
                words[f.name] = getattr(self.options, f.name)
        words["source"] = words["source"] or self.path.name
        words["source_id"] = words["source_id"] or str(number)
        words["material_id"] = self._material(record, str(words["material_id"]), f"{words['source']}:{number}")
        words["hubbard_u"] = self._hubbard_u(words["hubbard_u"])
        return Provenance(**words)

    def _material(self, record: Record, usual: str, frame: str) -> str:
        key = self.options.material_key
        if key == "frame":
            return frame
        if key is None and usual:
            return usual
        if key in (None, "formula"):
            return reduced_formula(record.numbers)
        if key not in record.info:
            problem = f"has no material key '{key}'; {suggest(key, record.info)}"
            raise FrameError(str(self.path), "no material id", problem)
        return str(record.info[key])

    def _hubbard_u(self, text: str) -> dict[str, float] | None:
        if not text:
            return None
        try:
            return {str(k): float(v) for k, v in json.loads(text.removeprefix("_JSON ")).items()}
        except (ValueError, AttributeError, TypeError):
            problem = f"hubbard_u='{text}' is no JSON mapping of elements to eV; mend or remove this frame"
            raise FrameError(str(self.path), "hubbard_u not a mapping", problem) from None


def floats(value: object, key: str) -> np.ndarray:
    """Numbers of a value of `info` or `arrays`: numbers already, or text of them, or extended XYZ's `_JSON` text.

    Raises `FrameError` if it is none of these.
    """
    numbers = value
    try:
        if isinstance(value, str):
            numbers = json.loads(value[5:]) if value.startswith("_JSON") else value.replace(",", " ").split()
        return np.asarray(numbers, dtype=float)
    except (ValueError, TypeError):
        problem = f"{key} {str(value)[:60]!r} is no number; mend or remove this frame"
        raise FrameError("file", f"{key} not a number", problem) from None


def reduced_formula(numbers: np.ndarray) -> str:
    """The formula, in Hill's order, divided by its greatest common divisor: [11, 17, 11, 17] -> "ClNa"."""
    elements, counts = np.unique(np.asarray(numbers), return_counts=True)
    return _formula(tuple(elements.tolist()), tuple((counts // np.gcd.reduce(counts)).tolist()))


@lru_cache(maxsize=65536)
def _formula(elements: tuple[int, ...], counts: tuple[int, ...]) -> str:
    from ase.data import chemical_symbols

    named = {chemical_symbols[z]: n for z, n in zip(elements, counts, strict=True)}
    return Formula.from_dict(named).format("hill")
