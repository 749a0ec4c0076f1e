"""Simple crystals of all elements and pairs of elements, to be labelled by a teacher; databases lack most of them.

    python scripts/gnnpot-1/make_prototypes.py unaries.extxyz.gz binaries.extxyz.gz

Elements are made as fcc, bcc, hcp, simple cubic and diamond; pairs as rock salt and caesium chloride. The distance of
neighbours is the sum of the covalent radii (Cordero et al. 2008, from ASE; at least 0.75 Å, because the radii of
hydrogen and helium are far too small for crystals). It is correct within a third, so frames made from these crystals
should cover a range of volumes. The elements are those of the Materials Project: 1 to 94 without 84 to 88.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols, covalent_radii
from ase.io import write

from gnnpot.engines.files import write_atomically

#: covalent radii by atomic number, Å
RADII = covalent_radii.clip(min=0.75)
ELEMENTS = [z for z in range(1, 95) if not 84 <= z <= 88]
#: lattice constant for a neighbour distance of 1
UNARIES = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "hcp": 1.0, "sc": 1.0, "diamond": 4 / 3**0.5}
BINARIES = {"rocksalt": 2.0, "cesiumchloride": 2 / 3**0.5}


def unaries() -> Iterator[Atoms]:
    """Primitive cells of the elements."""
    for z in ELEMENTS:
        for name, constant in UNARIES.items():
            atoms = bulk(chemical_symbols[z], name, a=constant * 2 * RADII[z])
            yield named(atoms, name)


def binaries() -> Iterator[Atoms]:
    """Primitive cells of pairs of elements."""
    for first, second in combinations(ELEMENTS, 2):
        for name, constant in BINARIES.items():
            symbols = chemical_symbols[first] + chemical_symbols[second]
            atoms = bulk(symbols, name, a=constant * (RADII[first] + RADII[second]))
            yield named(atoms, name)


def named(atoms: Atoms, prototype: str) -> Atoms:
    """Add the name of the prototype to `info`."""
    atoms.info = {"source": "prototypes", "source_id": f"{atoms.get_chemical_formula()} {prototype}"}
    return atoms


def main(
    unary: Annotated[Path, typer.Argument(help="Output file of the elements.")],
    binary: Annotated[Path, typer.Argument(help="Output file of the pairs.")],
) -> None:
    """Write the structures."""
    for path, structures in ((unary, unaries()), (binary, binaries())):
        found = list(structures)
        write_atomically(path, lambda partial, found=found: write(partial, found, format="extxyz"), overwrite=True)


if __name__ == "__main__":
    typer.run(main)
