"""Labelled frames: a crystal or molecule, the results of a calculation, and their provenance.

    frame = Frame.from_atoms(atoms, provenance=Provenance(source="my.extxyz", material_id="NaCl"))
    frame.energy, frame.forces, frame.stress      # eV, eV/Å, eV/Å³ (Voigt); None where there is no label

A frame is validated on construction: shapes are correct, numbers are finite, atoms are at distinct positions, and the
periodic lattice vectors are linearly independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.data.quantities import ATTRIBUTES, QUANTITIES, Quantity, fields_of, values_of
from gnnpot.data.structure import (
    MIN_CELL_DETERMINANT,
    MIN_DISTANCE,
    FrameError,
    check_cell,
    check_distances,
    check_structure,
)
from gnnpot.errors import suggest
from gnnpot.units import stress_to_voigt

__all__ = [
    "MIN_CELL_DETERMINANT",
    "MIN_DISTANCE",
    "Frame",
    "FrameError",
    "Provenance",
    "atomic_number",
    "check_cell",
    "check_distances",
    "check_structure",
]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of a frame's labels. Empty strings and `None` mean that the source does not specify it."""

    source: str = ""  #: data set or file
    source_id: str = ""  #: id of the frame in the source
    material_id: str = ""  #: shared by all frames of a material, which splits keep together
    code: str = ""  #: program and version
    functional: str = ""  #: exchange-correlation functional
    hubbard_u: Mapping[str, float] | None = None  #: Hubbard U of each element, eV; `{}` if calculated without U
    pseudopotentials: str = ""  #: family and version
    config_type: str = ""  #: how the structure was generated, as given by the source


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A structure with its labels, in the units of `gnnpot.units`.

    Raises `FrameError`, a `DataError` that names `provenance.source` and `source_id`, if the structure or a label is
    invalid.
    """

    numbers: np.ndarray  #: [N] atomic numbers, 1..118
    positions: np.ndarray  #: [N, 3] Å
    cell: np.ndarray  #: [3, 3] rows are lattice vectors, Å; zeros without periodicity
    pbc: np.ndarray  #: [3] bool
    energy: float | None = None  #: total energy of the cell, eV
    forces: np.ndarray | None = None  #: [N, 3] eV/Å
    stress: np.ndarray | None = None  #: [6] eV/Å³, Voigt xx yy zz yz xz xy, positive under tension
    magmoms: np.ndarray | None = None  #: [N] µB
    provenance: Provenance = field(default_factory=Provenance)
    others: Mapping[str, float | np.ndarray] = field(default_factory=dict)  #: other labels of `data.quantities`

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "numbers", self._real("numbers").astype(np.int64).reshape(-1))
        set_(self, "pbc", np.broadcast_to(np.asarray(self.pbc, dtype=bool), (3,)).copy())
        for name, shape in {"positions": (len(self.numbers), 3), "cell": (3, 3)}.items():
            set_(self, name, self._shaped(name, self._real(name), shape))
        for name in self.others:
            if name not in QUANTITIES or name in ATTRIBUTES:
                raise FrameError(self.where, "unknown label", f"label '{name}' is unknown; {suggest(name, QUANTITIES)}")
        checked = {name: self._label(QUANTITIES[name], value) for name, value in self.labels.items()}
        for name, value in fields_of(checked).items():
            set_(self, name, value)
        self._check()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def where(self) -> str:
        """`source` and `source_id` of the frame, for messages."""
        p = self.provenance
        return f"{p.source or 'frame'}{f' [{p.source_id}]' if p.source_id else ''}"

    @property
    def labels(self) -> dict[str, float | np.ndarray]:
        """Labels that are not `None`, by name, in the order of `data.quantities`."""
        return values_of(self)

    @property
    def symbols(self) -> list[str]:
        return [chemical_symbols[z] for z in self.numbers]

    @property
    def volume(self) -> float:
        """Cell volume, Å³; 0 for a molecule without a cell."""
        return float(abs(np.linalg.det(self.cell)))

    def _label(self, quantity: Quantity, value: float | np.ndarray) -> float | np.ndarray:
        """Return a label as a float, or as an array of the quantity's shape. Raises `FrameError` for other shapes."""
        array = self._real(quantity.name, value)
        if quantity.shape_of(len(self)):
            return self._shaped(quantity.name, array, quantity.shape_of(len(self)))
        if array.size != 1:
            problem = f"{quantity.name} has shape {array.shape}, expected one number; mend or remove this frame"
            raise FrameError(self.where, f"{quantity.name} of a wrong shape", problem)
        return float(array.reshape(()))

    def _shaped(self, name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        # a copy: what it was made from, as the atoms of a simulation, may change
        value = value.astype(np.float64)
        if value.shape != shape:
            problem = f"{name} has shape {value.shape}, expected {shape}; mend or remove this frame"
            raise FrameError(self.where, f"{name} of a wrong shape", problem)
        return value

    def _real(self, name: str, given: object = None) -> np.ndarray:
        """Return `given`, or the field `name`, as an array. Raises `FrameError` if it is not of real numbers."""
        value = np.asarray(getattr(self, name) if given is None else given)
        whole = value.dtype.kind in "iu" or value.size == 0
        if name == "numbers" and not whole and value.dtype.kind == "f":
            whole = bool(np.isfinite(value).all() and (value == np.rint(value)).all())
        if value.dtype.kind not in "fiu" or (name == "numbers" and not whole):
            kind = "whole numbers" if name == "numbers" else "real numbers"
            problem = f"{name} holds no {kind} but {value.dtype}; mend or remove this frame"
            raise FrameError(self.where, f"{name} not {kind}", problem)
        return value

    def _check(self) -> None:
        check_structure(self.numbers, self.positions, self.cell, self.pbc, self.where)
        for name, value in self.labels.items():
            if not np.all(np.isfinite(value)):
                problem = f"{name} has NaN or infinite values; mend or remove this frame"
                raise FrameError(self.where, f"{name} not finite", problem)
            quantity = QUANTITIES[name]
            bound = quantity.largest * len(self) if quantity.extensive else quantity.largest
            found = float(np.abs(value).max())
            if found > bound:
                problem = f"{name} has a value of {found:.3g}, which is implausibly large; mend or remove this frame"
                raise FrameError(self.where, f"{name} too large", problem)

    @classmethod
    def from_atoms(cls, atoms: Atoms, provenance: Provenance | None = None, labels: bool = True) -> "Frame":
        """Create a frame from ASE `atoms`, with the stored results of the calculator as labels; nothing is calculated.

        The energy is the force-consistent (free) energy if the results have one.
        """
        results = dict(atoms.calc.results) if labels and atoms.calc is not None else {}
        known = {name: results[name] for name in QUANTITIES if results.get(name) is not None}
        if results.get("free_energy") is not None:
            known["energy"] = results["free_energy"]
        if "stress" in known and np.shape(known["stress"]) != (6,):
            known["stress"] = stress_to_voigt(np.reshape(known["stress"], (3, 3)))
        return cls(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
            provenance=provenance or Provenance(),
            **fields_of(known),
        )

    @classmethod
    def trusted(cls, **fields: object) -> "Frame":
        """Create a frame without checks, from fields that were checked before; for stores, which verify checksums."""
        frame = object.__new__(cls)
        for name in cls.__slots__:
            object.__setattr__(frame, name, fields.get(name))
        if frame.others is None:
            object.__setattr__(frame, "others", {})
        return frame

    def to_atoms(self) -> Atoms:
        """Return ASE atoms, with the labels in a `SinglePointCalculator`."""
        atoms = Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)
        labels = self.labels
        if labels:
            if "energy" in labels:
                labels["free_energy"] = labels["energy"]
            atoms.calc = SinglePointCalculator(atoms)
            atoms.calc.results.update(
                {name: value if np.ndim(value) == 0 else np.array(value, float) for name, value in labels.items()}
            )
        return atoms

    def with_labels(self, labels: Mapping[str, float | np.ndarray | None]) -> "Frame":
        """Return a copy with these labels and no others; it is checked again."""
        return replace(self, **fields_of(labels))

    def replace(self, **changes: Any) -> "Frame":
        """Return a copy with some fields replaced; it is checked again."""
        return replace(self, **changes)


def atomic_number(symbol: str, where: str = "element") -> int:
    """Return the atomic number of a chemical symbol. Raises `DataError` for an unknown symbol."""
    z = atomic_numbers.get(symbol, 0)
    if z == 0:
        raise FrameError(where, "unknown element", f"'{symbol[:20]}' is no chemical element; mend or remove it")
    return z
