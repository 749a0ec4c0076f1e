"""Structures of any package: as ASE atoms, and in batches.

    atoms = as_atoms(structure)          # ASE Atoms, pymatgen Structure or Molecule, Frame

Each function of gnnpot that takes a structure calls it first.
"""

from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

from ase import Atoms

from gnnpot.data.frame import Frame
from gnnpot.data.structure import check_structure
from gnnpot.errors import DataError

if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure

#: what functions that take a structure take
StructureLike: TypeAlias = Union[Atoms, Frame, "Structure", "Molecule"]

Counted = TypeVar("Counted", bound=Sized)


def as_checked_atoms(structure: StructureLike) -> Atoms:
    """As `as_atoms`, of a structure that can be computed by any calculator; see `data.structure`.

    Raises:
        DataError: As `as_atoms`, and for what `check_structure` refuses.
    """
    atoms = as_atoms(structure)
    where = str(atoms.symbols) or "structure"
    check_structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, where)
    return atoms


def as_atoms(structure: StructureLike) -> Atoms:
    """A structure of any supported package as ASE atoms.

    Args:
        structure: ASE `Atoms`, which are returned unchanged; a `Frame`; a pymatgen `Structure` or `Molecule`, whose
            site properties are kept (initial magnetic moments, selective dynamics as constraints).

    Returns:
        The same structure as ASE `Atoms`, without a copy if it is one already.

    Raises:
        DataError: The object is no structure, or has sites that are occupied in part.
    """
    if isinstance(structure, Atoms):
        return structure
    if isinstance(structure, Frame):
        return structure.to_atoms()
    if not _is_pymatgen(structure):
        raise DataError(
            f"{type(structure).__name__}: is no structure; give ASE Atoms, a pymatgen Structure or Molecule, or a Frame"
        )
    from pymatgen.io.ase import AseAtomsAdaptor

    if not structure.is_ordered:
        raise DataError(
            f"{structure.composition.formula}: has sites that are occupied in part; order them first, for example by "
            "pymatgen's OrderDisorderedStructureTransformation"
        )
    converted = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    # pymatgen's own class of atoms may carry its calculator; only the structure is wanted
    atoms = Atoms(converted)
    atoms.calc = None
    return atoms


def _is_pymatgen(structure: Any) -> bool:
    """Whether it is a structure of pymatgen, found without importing pymatgen."""
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(structure).__mro__}
    return not names.isdisjoint({"pymatgen.core.structure.SiteCollection"})


def batches_of(structures: Iterable[Counted], max_atoms: int) -> Iterator[list[Counted]]:
    """Structures in order, in lists of at most `max_atoms` atoms, or of one structure that has more."""
    waiting: list[Counted] = []
    for structure in structures:
        if waiting and sum(map(len, waiting)) + len(structure) > max_atoms:
            yield waiting
            waiting = []
        waiting.append(structure)
    if waiting:
        yield waiting
