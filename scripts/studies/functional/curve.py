"""Crystals of the learning curve: those of a file that have pseudopotentials, few atoms, and are not tested."""

from pathlib import Path

import ase.io
import numpy as np
import spglib
from ase import Atoms

from gnnpot.functional.data import Task
from gnnpot.functional.plans import structure_tasks
from gnnpot.functional.pseudopotentials import ELEMENTS

COUNTS = (3, 10, 30)
LARGEST = 8


def crystal_tasks(structures: Path) -> list[list[Task]]:
    """Tasks of each crystal, the crystals in an order that is random but always the same."""
    chosen = [atoms for atoms in ase.io.read(structures, ":") if _is_chosen(atoms)]
    order = np.random.default_rng(0).permutation(len(chosen))
    return [
        structure_tasks([(f"{rank:03d}-{chosen[n].get_chemical_formula()}", chosen[n])]) for rank, n in enumerate(order)
    ]


def counts(available: int) -> list[int]:
    """How many crystals each functional of the curve is trained on."""
    return [count for count in COUNTS if count < available] + [available]


def _is_chosen(atoms: Atoms) -> bool:
    return len(atoms) <= LARGEST and set(atoms.get_chemical_symbols()) <= set(ELEMENTS) and not _is_tested(atoms)


def _is_tested(atoms: Atoms) -> bool:
    """Wurtzite (186, of two elements), and hexagonal, β-tin, fcc and simple cubic silicon."""
    group = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)).number
    kinds = len(set(atoms.numbers.tolist()))
    if kinds == 2 and group == 186:
        return True
    silicon = kinds == 1 and atoms.numbers[0] == 14
    return silicon and (group in (141, 221, 225) or (group == 194 and len(atoms) == 4))
