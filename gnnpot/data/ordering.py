"""Structures with sites that are occupied in part or by several elements, as whole atoms.

    ordered = order_structure("LiFePO4-disordered.cif")
    ordered.atoms, ordered.cells, ordered.words

The smallest supercell is taken in which the number of each element on the sites of one kind is whole; its atoms are
put where Ewald's sum of guessed charges is lowest, by pymatgen's `OrderDisorderedStructureTransformation`. That is one
ordering of many: a material whose atoms are mixed at random is not described by it.
"""

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from gnnpot.data.structure_files import check_readable, check_whole
from gnnpot.errors import DataError

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: cells of the largest supercell that is looked at without being asked for
MAX_CELLS = 12
#: atoms of the largest supercell
MAX_SITES = 400
#: atoms that the number of an element on sites of one kind may be off a whole one
TOLERANCE = 0.05


@dataclass(frozen=True)
class Ordered:
    """An ordered structure, and what was chosen for it."""

    atoms: Atoms
    cells: tuple[int, int, int]  #: of the supercell, along the lattice vectors of the file
    charges: dict[str, float]  #: guessed for each element; empty: all are zero, and any ordering was as good
    words: tuple[str, ...]  #: what became of each kind of mixed site: "4 sites with 0.5 Li: 2 Li, 2 empty"


def order_structure(path: Path | str, cells: tuple[int, int, int] | None = None) -> Ordered:
    """The structure of a file in which partial occupancies are ordered.

    Args:
        path: a CIF.
        cells: the supercell along each lattice vector; `None`: the smallest in which all numbers of atoms are whole.

    Raises:
        DataError: for a file that can't be read, that has no partial occupancies, or whose numbers of atoms are not
            whole in the supercell, or in any of at most `MAX_CELLS` cells.
    """
    path = Path(path)
    check_readable(path)
    structure = _read(path)
    kinds = _kinds(structure)
    if not kinds:
        raise DataError(f"{path}: has whole atoms only; there is nothing to order, use it as it is")
    chosen = _smallest_supercell(structure, kinds, path) if cells is None else cells
    _check_supercell(structure, kinds, chosen, path)
    charges = _guess_charges(structure, int(np.prod(chosen)))
    structure.add_oxidation_state_by_element({str(e): charges.get(str(e), 0.0) for e in structure.composition.elements})
    structure.make_supercell(chosen)
    atoms = _lowest(structure, path)
    check_whole(atoms, str(path))
    return Ordered(atoms, chosen, charges, tuple(_words(kinds, int(np.prod(chosen)))))


def _read(path: Path) -> "Structure":
    from pymatgen.core import Structure

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = Structure.from_file(path)
    except Exception as error:  # noqa: BLE001 - pymatgen's readers raise anything that a broken file leads them to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: can't be read as a structure with occupancies ({reason}); give a CIF") from None
    structure.remove_oxidation_states()
    return structure


def _kinds(structure: "Structure") -> dict[str, tuple[int, dict[str, float]]]:
    """Of the sites that are no whole atoms, by their occupants: how many there are, and the share of each element."""
    kinds: dict[str, tuple[int, dict[str, float]]] = {}
    for site in structure:
        if not site.is_ordered:
            shares = {str(element): float(share) for element, share in site.species.items()}
            name = " ".join(f"{share:.4g} {element}" for element, share in sorted(shares.items()))
            kinds[name] = (kinds.get(name, (0, {}))[0] + 1, shares)
    return kinds


def _misfit(kinds: dict[str, tuple[int, dict[str, float]]], cells: int) -> float:
    """How far the numbers of atoms in so many cells are from whole ones, at most."""
    numbers = np.array([count * share * cells for count, shares in kinds.values() for share in shares.values()])
    return float(np.abs(numbers - np.round(numbers)).max())


def _smallest_supercell(
    structure: "Structure", kinds: dict[str, tuple[int, dict[str, float]]], path: Path
) -> tuple[int, int, int]:
    """As many cells as are needed, stacked so that the supercell is as compact as it can be."""
    most = min(MAX_CELLS, max(1, MAX_SITES // len(structure)))
    count = next((n for n in range(1, most + 1) if _misfit(kinds, n) <= TOLERANCE), None)
    if count is None:
        raise DataError(
            f"{path}: the numbers of atoms of its mixed sites ({'; '.join(kinds)}) are whole in no supercell of up to "
            f"{most} cells; give one with --cells, or occupancies that are simple fractions"
        )
    every = range(1, count + 1)
    ways = [c for c in itertools.product(every, every, every) if np.prod(c) == count]
    lengths = np.array(structure.lattice.abc)
    return min(ways, key=lambda c: (float((lengths * c).max()), c))


def _check_supercell(
    structure: "Structure", kinds: dict[str, tuple[int, dict[str, float]]], cells: tuple[int, int, int], path: Path
) -> None:
    if len(cells) != 3 or min(cells) < 1:
        raise DataError(f"cells: {' '.join(map(str, cells))} are not three whole numbers from 1 on")
    count = int(np.prod(cells))
    if len(structure) * count > MAX_SITES:
        raise DataError(f"{path}: {len(structure) * count} sites are more than the {MAX_SITES} that can be ordered")
    misfit = _misfit(kinds, count)
    if misfit > TOLERANCE:
        raise DataError(
            f"{path}: in {count} cells, the number of an element on its mixed sites is {misfit:.2f} off a whole one; "
            "take other cells, or leave them out"
        )


def _guess_charges(structure: "Structure", cells: int) -> dict[str, float]:
    """Mean charges in so many cells by pymatgen's statistics of known compounds; empty if none balance."""
    from pymatgen.core import Composition

    amounts = {str(element): round(amount * cells) for element, amount in structure.composition.items()}
    guesses: Any = Composition(amounts).oxi_state_guesses(max_sites=-1) or [{}]
    charges = {element: float(charge) for element, charge in guesses[0].items()}
    return charges if any(charges.values()) else {}


def _lowest(structure: "Structure", path: Path) -> Atoms:
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.transformations.standard_transformations import OrderDisorderedStructureTransformation

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ordering = OrderDisorderedStructureTransformation(occ_tol=2 * TOLERANCE)
            found: Any = ordering.apply_transformation(structure)
    except ValueError as error:
        raise DataError(f"{path}: pymatgen can't order it ({error}); take other cells") from None
    found.remove_oxidation_states()
    atoms = AseAtomsAdaptor.get_atoms(found.get_sorted_structure())
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def _words(kinds: dict[str, tuple[int, dict[str, float]]], cells: int) -> list[str]:
    words = []
    for name, (count, shares) in kinds.items():
        atoms = {element: round(count * cells * share) for element, share in shares.items()}
        empty = count * cells - sum(atoms.values())
        parts = [f"{number} {element}" for element, number in atoms.items()] + ([f"{empty} empty"] if empty else [])
        words.append(f"{count * cells} sites with {name}: {', '.join(parts)}")
    return words
