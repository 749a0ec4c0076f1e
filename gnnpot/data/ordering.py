"""Ordered supercells of structures with partially occupied or mixed sites.

    ordered = order_structure("LiFePO4-disordered.cif")
    ordered.atoms, ordered.cells, ordered.words

The supercell is the smallest in which the number of atoms of each element on each kind of site is an integer. The atoms
are placed by pymatgen's `OrderDisorderedStructureTransformation`, which minimises the Ewald energy of guessed charges.
The result is one of many orderings; it does not describe a random mixture.
"""

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from gnnpot.data.structure_files import check_full_occupancy, check_readable
from gnnpot.errors import DataError

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: number of cells of the largest supercell that is tried automatically
MAX_CELLS = 12
#: number of sites of the largest supercell
MAX_SITES = 400
#: largest deviation from an integer of the number of atoms of an element on one kind of site
TOLERANCE = 0.05


@dataclass(frozen=True)
class Ordered:
    """An ordered structure, and how it was chosen."""

    atoms: Atoms
    cells: tuple[int, int, int]  #: repetitions of the cell along the lattice vectors of the file
    charges: dict[str, float]  #: guessed charge of each element; empty if all are zero: all orderings were equivalent
    words: tuple[str, ...]  #: occupation of each kind of mixed site, such as "4 sites with 0.5 Li: 2 Li, 2 empty"


def order_structure(path: Path | str, cells: tuple[int, int, int] | None = None) -> Ordered:
    """Read a structure with partial occupancies, and order it in a supercell.

    Args:
        path: A CIF file.
        cells: Repetitions of the cell along each lattice vector; `None` for the smallest supercell in which all numbers
            of atoms are integers.

    Returns:
        The ordered structure.

    Raises:
        DataError: The file can't be read, it has no partial occupancies, or the numbers of atoms are not integers in
            the supercell `cells`, or in any supercell of up to `MAX_CELLS` cells.
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
    check_full_occupancy(atoms, str(path))
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
    """Return the mixed or partially occupied sites by their occupants: number of sites, and share of each element."""
    kinds: dict[str, tuple[int, dict[str, float]]] = {}
    for site in structure:
        if not site.is_ordered:
            shares = {str(element): float(share) for element, share in site.species.items()}
            name = " ".join(f"{share:.4g} {element}" for element, share in sorted(shares.items()))
            kinds[name] = (kinds.get(name, (0, {}))[0] + 1, shares)
    return kinds


def _misfit(kinds: dict[str, tuple[int, dict[str, float]]], cells: int) -> float:
    """Return the largest deviation of a number of atoms in a supercell of `cells` cells from an integer."""
    numbers = np.array([count * share * cells for count, shares in kinds.values() for share in shares.values()])
    return float(np.abs(numbers - np.round(numbers)).max())


def _smallest_supercell(
    structure: "Structure", kinds: dict[str, tuple[int, dict[str, float]]], path: Path
) -> tuple[int, int, int]:
    """Return the repetitions of the smallest supercell that fits `kinds`; of several, the most compact one."""
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
    """Guess the mean charge of each element in `cells` cells with pymatgen; empty if no neutral combination exists."""
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
