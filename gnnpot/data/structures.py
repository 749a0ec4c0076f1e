"""Conversion of structures of other packages to ASE atoms, and batches of structures.

    atoms = as_atoms(structure)          # ASE Atoms, pymatgen Structure or Molecule, Frame

All functions of gnnpot that take a structure convert it with `as_atoms`.
"""

from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

from ase import Atoms

from gnnpot.data.frame import Frame
from gnnpot.data.structure import check_structure
from gnnpot.errors import DataError

if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure

#: types of structures that functions accept
StructureLike: TypeAlias = Union[Atoms, Frame, "Structure", "Molecule"]

Counted = TypeVar("Counted", bound=Sized)


def as_checked_atoms(structure: StructureLike) -> Atoms:
    """As `as_atoms`, and check that the structure is valid, see `data.structure`.

    Raises:
        DataError: As `as_atoms`, or the structure is rejected by `check_structure`.
    """
    atoms = as_atoms(structure)
    where = str(atoms.symbols) or "structure"
    check_structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, where)
    return atoms


def as_atoms(structure: StructureLike) -> Atoms:
    """Convert a structure of any supported package to ASE atoms.

    Args:
        structure: ASE `Atoms`, which are returned unchanged; a `Frame`; a pymatgen `Structure` or `Molecule`, whose
            site properties are kept (initial magnetic moments, selective dynamics as constraints).

    Returns:
        The structure as ASE `Atoms`; `Atoms` are not copied.

    Raises:
        DataError: The object is not a structure, or has partially occupied sites.
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
    # the subclass that pymatgen returns may have a calculator, which is not part of the structure
    atoms = Atoms(converted)
    atoms.calc = None
    return atoms


def _is_pymatgen(structure: Any) -> bool:
    """Return whether an object is a pymatgen structure, without importing pymatgen."""
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(structure).__mro__}
    return not names.isdisjoint({"pymatgen.core.structure.SiteCollection"})


def batches_of(structures: Iterable[Counted], max_atoms: int) -> Iterator[list[Counted]]:
    """Yield lists of consecutive structures of at most `max_atoms` atoms; a larger structure is yielded alone."""
    waiting: list[Counted] = []
    for structure in structures:
        if waiting and sum(map(len, waiting)) + len(structure) > max_atoms:
            yield waiting
            waiting = []
        waiting.append(structure)
    if waiting:
        yield waiting
