"""Read and write densities as Gaussian cube files, in bohr and 1/bohr³.

Example::

    write_cube(path, atoms, density)
    atoms, density = read_cube(path)
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.cube import read_cube as ase_read
from ase.io.cube import write_cube as ase_write

from gnnpot.engines.files import write_atomically
from gnnpot.errors import DataError


def write_cube(path: Path, atoms: Atoms, density: np.ndarray) -> None:
    """Write a density (1/bohr³) on a grid of the cell, atomically."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8") as file:
            ase_write(file, atoms, data=density, comment="electron density, 1/bohr^3; gnnpot functional")

    write_atomically(path, write, overwrite=True)


def read_cube(path: Path) -> tuple[Atoms, np.ndarray]:
    """Read atoms and density (1/bohr³) of a cube file. Raises `DataError`."""
    try:
        with path.open(encoding="utf-8") as file:
            content = ase_read(file)
        atoms, density = content["atoms"], content["data"]
    except (OSError, ValueError, KeyError, IndexError, StopIteration) as error:
        raise DataError(
            f"{path}: can't be read as a cube file ({error}); give one that gnnpot or ASE has written"
        ) from None
    atoms.pbc = True
    return atoms, density
