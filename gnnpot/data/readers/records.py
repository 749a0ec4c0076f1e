"""Conversion of records of a file to frames: keys of the labels, stress convention, material and provenance.

| field of `Provenance` | keys of the file, in order of precedence                                    |
|-----------------------|-----------------------------------------------------------------------------|
| `material_id`         | `material_key=` if given, else material_id, mptrj_traj_id, else the reduced formula |
| `source`              | source, else `source=`, else the file's name                                |
| `source_id`           | source_id, mptrj_snapshot_id, snapshot_id, else the number of the frame     |
| others                | see `PROVENANCE_KEYS`, else the option of the same name                     |

With the reduced formula as material, all frames of a compound are in the same part of a split. This may group more
frames than necessary, but avoids leakage between parts. `material_key="formula"` always uses the formula,
`material_key="frame"` makes each frame a material (for files of distinct crystals).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.formula import Formula

from gnnpot.data.frame import Frame, FrameError, Provenance
from gnnpot.data.quantities import ATTRIBUTES, QUANTITIES, Quantity, fields_of
from gnnpot.data.readers.names import charge_words, key_problem, may_be, naming_problem, total_charge, unit_problem
from gnnpot.data.stress import PRESETS, StressConvention
from gnnpot.data.structure import check_elements
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
#: largest asymmetry of a stress tensor, relative to its largest element; codes print it symmetric up to rounding
MAX_ASYMMETRY = 0.05
#: eV per atom; smaller differences of free energy and energy are rounding errors
SMEARING = 1e-4
#: eV/Å; largest net force of a calculation, which is zero up to the errors of its grid
NET_FORCE = 0.01
#: replaces the separators of numbers in text by blanks
_BRACKETS = str.maketrans("[]{}(),;", " " * 8)


@dataclass(frozen=True)
class Record:
    """A frame as stored in a file: `info` per frame and `arrays` per atom, under the names of the file.

    Values of `info` may be text, which is parsed when numbers are needed.
    """

    numbers: np.ndarray  #: [N] atomic numbers
    positions: np.ndarray  #: [N, 3] Å
    cell: np.ndarray  #: [3, 3] Å
    pbc: np.ndarray  #: [3] bool
    info: Mapping[str, object] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    fixed: np.ndarray | None = None  #: [N] bool, atoms that a constraint holds; `None` if the file does not say


@dataclass(frozen=True)
class RecordOptions:
    """Options of all readers. A key of `None` means the usual names (`data.quantities`), "" that there is no label."""

    energy_key: str | None = None  #: key of the total energy, eV
    forces_key: str | None = None  #: key of the forces, eV/Å
    stress_key: str | None = None  #: key of the stress, in the convention `stress`
    magmoms_key: str | None = None  #: key of the magnetic moments, µB
    label_keys: dict[str, str] = field(default_factory=dict)  #: keys of other labels of `data.quantities`, by name
    stress: StressConvention | str | None = None  #: stress convention; `None` for that of the format and key
    material_key: str | None = None  #: key of the material, "formula" or "frame"
    source: str = ""  #: this and the following options are used if the file does not specify them
    code: str = ""  #: program that calculated the labels
    functional: str = ""  #: exchange-correlation functional, such as PBE
    pseudopotentials: str = ""  #: pseudopotentials or PAW data sets of the calculation
    total_charge: Literal["raise", "ignore"] = "raise"  #: treatment of charged frames; models do not support charges

    def __post_init__(self) -> None:
        for name in self.label_keys:
            if name not in QUANTITIES or name in ATTRIBUTES:
                others = [other for other in QUANTITIES if other not in ATTRIBUTES]
                raise ValueError(f"label_keys: '{name}' is no further label; {suggest(name, others)}")

    def key(self, label: str) -> str | None:
        """Return the key that the user set for a label."""
        return getattr(self, f"{label}_key") if label in ATTRIBUTES else self.label_keys.get(label)

    @staticmethod
    def without_labels() -> dict[str, Any]:
        """Return options with which no labels are read."""
        further = {name: "" for name in QUANTITIES if name not in ATTRIBUTES}
        return {f"{name}_key": "" for name in ATTRIBUTES} | ({"label_keys": further} if further else {})


class FrameBuilder:
    """Converts the records of a file to frames, and keeps track of the names and labels found.

    `free_names` is true for formats that leave the names of labels to the writer of a file. A usual name next to a
    similar one (`energy` and `REF_energy`) is then ambiguous.
    """

    def __init__(
        self, path: Path, options: RecordOptions, stress: StressConvention | None, free_names: bool = False
    ) -> None:
        if options.total_charge not in ("raise", "ignore"):
            raise DataError(f"{path}: total_charge='{options.total_charge}' is not a choice; give raise or ignore")
        self.path = path
        self.options = options
        self.free_names = free_names
        self.stress = StressConvention.parse(options.stress) if options.stress is not None else None
        self.usual_stress = stress or PRESETS["ase"]
        self.keys: dict[str, tuple[str, ...]] = {}
        for label, quantity in QUANTITIES.items():
            given = options.key(label)
            self.keys[label] = quantity.keys if given is None else (given,) if given else ()
        self.unmet = {label for label in QUANTITIES if options.key(label)}
        self.named = {label for label in QUANTITIES if options.key(label) is not None}
        self._check_keys()
        self.met: set[str] = set()
        self._similar: dict[str, set[str]] = {label: set() for label in QUANTITIES}
        self._stated_units: dict[str, str] = {}
        self._energies_used: dict[str, int] = {}
        self._energies_differ = False

    def build(self, record: Record, number: int) -> Frame:
        """Convert record `number` to a frame. Raises `FrameError` if it is invalid, `DataError` for ambiguous names."""
        check_elements(np.asarray(record.numbers), str(self.path))
        self._check_names(record, number)
        self._check_charge(record)
        self._check_energies(record, number)
        labels = {
            label: self._stress(record) if label == "stress" else self._label(record, quantity)
            for label, quantity in QUANTITIES.items()
        }
        self._check_fixed(record, labels["forces"], number)
        return Frame(
            numbers=record.numbers,
            positions=record.positions,
            cell=record.cell,
            pbc=record.pbc,
            provenance=self._provenance(record, number),
            **fields_of(labels),
        )

    def _check_keys(self) -> None:
        """Raise `DataError` for a key set by the user whose name states another unit or sign."""
        for label in sorted(self.unmet):
            key = self.options.key(label) or ""
            problem = key_problem(label, key, self._usual(key) if self.stress is None else None)
            if problem:
                raise DataError(f"{self.path}: {label}_key='{key}' {problem}")

    def finish(self) -> None:
        """Raise `DataError` if a key that the user set was in no frame."""
        for label in sorted(self.unmet):
            key = self.options.key(label) or ""
            raise DataError(f"{self.path}: no frame has the {label} key '{key}'; {suggest(key, self.met)}")

    def _check_names(self, record: Record, number: int) -> None:
        """Raise `DataError` for names that could be labels, and for unsupported units, unless an option is set."""
        for name in {*record.info, *record.arrays} - self.met:
            for label, names in self._similar.items():
                if name not in self.keys[label] and may_be(label, name):
                    names.add(name)
            self.met.add(name)
        candidates = {
            label: [
                name for name in names
                if (usual not in where or self.free_names) and _has_size(where.get(name), len(record.numbers), label)
            ]
            for label, names in self._similar.items()
            if names
            for where in (_place(record, label),)
            for usual in (next((key for key in self.keys[label] if key in where), ""),)
        }  # fmt: skip
        problem = naming_problem(candidates, {*record.info, *record.arrays}, self.keys, self.named)
        if problem:
            raise DataError(f"{self.path}: frame {number} {problem}")
        for name, value in record.info.items():
            if "unit" in name.lower() and self._stated_units.get(name) != str(value):
                problem = unit_problem(name, value, self.stress or self.usual_stress, self.stress is not None)
                if problem:
                    raise DataError(f"{self.path}: frame {number} {problem}")
                self._stated_units[name] = str(value)

    def _check_charge(self, record: Record) -> None:
        charge = total_charge(record.info) if self.options.total_charge == "raise" else None
        if charge:
            problem = f"{charge_words(charge)}; gnnpot knows no charges: remove it or give total_charge=ignore"
            raise FrameError(str(self.path), "charged", problem)

    def _check_energies(self, record: Record, number: int) -> None:
        """Raise `DataError` if some frames have a free energy, which differs from their energy, and others have none.

        The difference is that of the smearing, not of the structures, so no model can learn it.
        """
        used = [key for key in self.keys["energy"] if key in record.info]
        if "energy" in self.named or not used:
            return
        self._energies_used.setdefault(used[0], number)
        if len(used) > 1 and all(_has_size(record.info[key], len(record.numbers), "energy") for key in used):
            free, plain = (float(floats(record.info[key], key).reshape(())) for key in used)
            self._energies_differ = self._energies_differ or abs(free - plain) > SMEARING * len(record.numbers)
        if len(self._energies_used) > 1 and self._energies_differ:
            first, second = (self._energies_used[key] for key in self.keys["energy"])
            raise DataError(
                f"{self.path}: frame {first} (counted from 0) has a free_energy and frame {second} only an energy, and "
                "the two differ where a frame has both; say which is the label with energy_key="
            )

    def _check_fixed(self, record: Record, forces: np.ndarray | None, number: int) -> None:
        """Raise `DataError` for forces that a constraint has set to zero, which are not derivatives of the energy.

        They are zero on all fixed atoms, and do not add up to zero with those of the others.
        """
        if forces is None or record.fixed is None or not record.fixed.any():
            return
        if not forces[record.fixed].any() and np.linalg.norm(forces.sum(axis=0)) > NET_FORCE:
            raise DataError(
                f"{self.path}: frame {number} (counted from 0) has forces of zero on its fixed atoms, as a constraint "
                "sets them; write the file with get_forces(apply_constraint=False), or give forces_key='' for none"
            )

    def _label(self, record: Record, quantity: Quantity) -> np.ndarray | None:
        label, where, shape = quantity.name, _place(record, quantity.name), quantity.shape_of(len(record.numbers))
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
        found = self._converted(record, key, self.stress or self._usual(key))
        other = next((k for k in self.keys["stress"] if k in record.info and k != key), None)
        if other is not None and "stress" not in self.named:
            # the conventions of both keys, "stress" and "virial", follow from their names
            second = self._converted(record, other, self._usual(other))
            if np.abs(found - second).max() > MAX_ASYMMETRY * max(np.abs(found).max(), np.abs(second).max()):
                problem = f"has '{key}' and '{other}', which differ; say which is right with stress_key='{key}'"
                raise FrameError(str(self.path), "two stresses that differ", problem)
        return found

    def _usual(self, key: str) -> StressConvention:
        return PRESETS["virial"] if key == "virial" else self.usual_stress

    def _converted(self, record: Record, key: str, convention: StressConvention) -> np.ndarray:
        values = floats(record.info[key], key)
        if values.size == 9:
            tensor = values.reshape(3, 3)
            largest = np.abs(tensor).max()
            if np.isfinite(largest) and np.abs(tensor - tensor.T).max() > MAX_ASYMMETRY * largest:
                problem = f"{key} is not a symmetric tensor; mend or remove this frame"
                raise FrameError(str(self.path), "stress not symmetric", problem)
        try:
            return convention.to_stress(values, float(abs(np.linalg.det(record.cell))))
        except ValueError as error:
            raise FrameError(str(self.path), "stress of a wrong shape", f"{error}; mend or remove this frame") from None

    def _provenance(self, record: Record, number: int) -> Provenance:
        words: dict[str, Any] = {}
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


def fixed_atoms(atoms: Atoms) -> np.ndarray:
    """Return which atoms a `FixAtoms` of ASE holds, [N] bool."""
    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.index] = True
    return fixed


def _place(record: Record, label: str) -> Mapping[str, Any]:
    """Return the mapping that may hold a label: `arrays` for labels per atom, else `info`."""
    return record.arrays if QUANTITIES[label].per == "atom" else record.info


def _has_size(value: object, n_atoms: int, label: str) -> bool:
    """Return whether a value has as many numbers as the label."""
    if value is None:
        return False
    try:
        numbers = floats(value, label)
    except FrameError:
        return False
    shape = QUANTITIES[label].shape_of(n_atoms)
    # a tensor may have all nine components
    sizes = (6, 9) if shape == (6,) else (int(np.prod(shape)),)
    return numbers.size in sizes and (not shape or numbers.ndim > 0)


def floats(value: object, key: str) -> np.ndarray:
    """Convert a value of `info` or `arrays` to floats: numbers, text with numbers, or `_JSON` text of extended XYZ.

    Raises `FrameError` for anything else, including complex numbers and booleans.
    """
    numbers = value
    try:
        if isinstance(value, str):
            numbers = json.loads(value[5:]) if value.startswith("_JSON") else value.translate(_BRACKETS).split()
        array = np.asarray(numbers)
        if array.dtype.kind in "cb":
            raise TypeError
        return array.astype(float)
    except (ValueError, TypeError, OverflowError, RecursionError):
        problem = f"{key} {str(value)[:60]!r} is no number; mend or remove this frame"
        raise FrameError("file", f"{key} not a number", problem) from None


def whole_numbers(values: np.ndarray, key: str) -> np.ndarray:
    """Convert to int64. Raises `FrameError` for values that are not integers, NaN, and magnitudes of 2^53 or more."""
    values = np.asarray(values, dtype=float)
    if not (np.isfinite(values).all() and (np.abs(values) < 2**53).all() and (values == np.rint(values)).all()):
        problem = f"{key} has numbers that aren't whole; mend or remove this frame"
        raise FrameError("file", f"{key} not whole numbers", problem)
    return values.astype(np.int64)


def reduced_formula(numbers: np.ndarray) -> str:
    """Return the reduced formula in Hill order: [11, 17, 11, 17] -> "ClNa"."""
    elements, counts = np.unique(np.asarray(numbers), return_counts=True)
    return _formula(tuple(elements.tolist()), tuple((counts // np.gcd.reduce(counts)).tolist()))


@lru_cache(maxsize=65536)
def _formula(elements: tuple[int, ...], counts: tuple[int, ...]) -> str:
    from ase.data import chemical_symbols

    named = {chemical_symbols[z]: n for z, n in zip(elements, counts, strict=True)}
    return Formula.from_dict(named).format("hill")
