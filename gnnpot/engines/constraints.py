"""Fix atoms chosen by a selection: `Cu`, `0-15`, `z<5`, or several of these separated by commas.

Example::

    fix_atoms(atoms, "Pt, z<4.5")
"""

import copy
import re

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixConstraint
from ase.constraints.constraint import IndexedConstraint
from ase.data import atomic_numbers

from gnnpot.errors import DataError

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_HEIGHT = re.compile(r"([xyz])\s*([<>])\s*(-?\d+(?:\.\d*)?)")


def fix_atoms(atoms: Atoms, selection: str) -> int:
    """Fix the atoms of `selection`, in addition to those that are already fixed, and return the number selected.

    Each part of the selection is an element, an index or range of indices (from 0, end included), or a coordinate (Å)
    below or above a value. Raises `DataError` for a part that is none of these, or that selects no atom.
    """
    chosen = np.zeros(len(atoms), dtype=bool)
    for part in (part.strip() for part in selection.split(",")):
        found = _atoms_of(atoms, part)
        if not found.any():
            raise DataError(f"fixed atoms: '{part}' names none of the {len(atoms)} atoms; give an element, 0-15 or z<5")
        chosen |= found
    before = [rest for constraint in atoms.constraints if (rest := _without(constraint, chosen)) is not None]
    atoms.set_constraint([*before, FixAtoms(np.flatnonzero(chosen))])
    return int(chosen.sum())


def _without(constraint: FixConstraint, chosen: np.ndarray) -> FixConstraint | None:
    """Remove the chosen atoms ([N], bool) from a constraint; `None` if no atoms are left in it.

    ASE subtracts the degrees of freedom of an atom once for each constraint that it is in.
    """
    if not isinstance(constraint, IndexedConstraint) or not chosen[constraint.index].any():
        return constraint
    rest = copy.deepcopy(constraint)
    rest.index = constraint.index[~chosen[constraint.index]]
    return rest if len(rest.index) else None


def _atoms_of(atoms: Atoms, part: str) -> np.ndarray:
    if match := _RANGE.fullmatch(part):
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= len(atoms) or first > last:
            raise DataError(
                f"fixed atoms: '{part}' is no range of the {len(atoms)} atoms; give indices from 0 to {len(atoms) - 1}"
            )
        index = np.arange(len(atoms))
        return (index >= first) & (index <= last)
    if match := _HEIGHT.fullmatch(part):
        values = atoms.positions[:, "xyz".index(match[1])]
        return values < float(match[3]) if match[2] == "<" else values > float(match[3])
    if part in atomic_numbers:
        return atoms.numbers == atomic_numbers[part]
    raise DataError(f"fixed atoms: '{part}' is no selection; give an element as Cu, indices as 0-15, or z<5 (Å)")
