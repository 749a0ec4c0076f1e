"""Frames of any trajectory that gnnpot or ASE can read.

    for atoms in read_trajectory(Path("run.zarr")): ...
    for atoms in read_trajectory(Path("dump.lammpstrj"), types=("Li", "P", "S")): ...

LAMMPS dumps without the column `element` contain only types, which ASE would read as atomic numbers. They are refused
unless the elements of the types are given.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import iread
from ase.io.formats import UnknownFileTypeError

from gnnpot.data.structure_files import check_dump_elements
from gnnpot.errors import DataError


def read_trajectory(path: Path, types: Sequence[str] = ()) -> Iterator[Atoms]:
    """Yield the frames of any trajectory that gnnpot or ASE can read.

    Args:
        path: Path of the trajectory.
        types: Elements of the types 1, 2, ... of a LAMMPS dump, which replace those that ASE reads.

    Raises:
        DataError: The trajectory can't be read, or is a LAMMPS dump without elements and `types` are not given.
    """
    for number, atoms in enumerate(_read_frames(path)):
        if types:
            _set_elements(atoms, types, f"{path}, frame {number}")
        else:
            check_dump_elements(atoms, path)
        yield atoms


def _set_elements(atoms: Atoms, types: Sequence[str], where: str) -> None:
    """Set the elements of a frame of a LAMMPS dump from its types."""
    if unknown := [name for name in types if name not in atomic_numbers]:
        raise DataError(f"types: '{unknown[0]}' is no element; give symbols like Li")
    found = atoms.arrays.get("type")
    if found is None:
        raise DataError(f"{where}: has no types of a LAMMPS dump; leave out types=() (--types)")
    if not 1 <= found.min() <= found.max() <= len(types):
        raise DataError(
            f"{where}: has types {found.min()} to {found.max()}, and {len(types)} are named; name all of them"
        )
    atoms.numbers[:] = np.array([atomic_numbers[name] for name in types])[found - 1]


def _read_frames(path: Path) -> Iterator[Atoms]:
    if not path.exists():
        raise DataError(f"{path}: there is no such file; give the path of a trajectory")
    if path.suffix == ".zarr":
        from gnnpot.engines.zarr_trajectory import read_zarr

        yield from read_zarr(path)
        return
    frames, count = iread(path, index=":", do_not_split_by_at_sign=True), 0
    while True:
        try:
            atoms = next(frames, None)
        except Exception as error:  # noqa: BLE001 - ASE's readers raise many kinds for a broken file
            raise _unreadable(path, error, count) from None
        if atoms is None:
            return
        yield atoms
        count += 1


def _unreadable(path: Path, error: Exception, count: int) -> DataError:
    """Error of ASE's reader after `count` frames."""
    words = " ".join(str(error).split()) or type(error).__name__
    if count:
        return DataError(
            f"{path}: frame {count} can't be read ({words[:200]}); the file may be cut off, keep only what is before"
        )
    reason = "it is of an unknown format" if isinstance(error, UnknownFileTypeError) else words[:200]
    return DataError(f"{path}: can't be read as a trajectory ({reason}); give a file that ASE knows and that is whole")
