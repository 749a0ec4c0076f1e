"""Write pairs of elements with holes in the energy curve of a model, as structures to be labelled by a teacher.

    python scripts/gnnpot-1/make_holes.py runs/gnnpot-1/train/model holes.extxyz.gz --with He --with Ne --with Ar
    gnnpot label holes.extxyz.gz -m m3gnet-mp-2021.2.8 -o holes.store --config scripts/gnnpot-1/label-holes.yaml

Holes are defined in `gnnpot.properties.dimers`. `--with` adds all pairs of an element whose short-range repulsion was
wrong in an earlier teacher. `--teacher` excludes pairs for which the new teacher has holes too. After another training
that includes these labels, the model must be checked again: removing a hole can create another.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.io import write
from rich.console import Console

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.files import write_atomically
from gnnpot.errors import ConfigError, GnnpotError
from gnnpot.properties.dimers import all_pairs, scan_dimers


def main(
    model: Annotated[str, typer.Argument(help="Name or path of the model.")],
    out: Annotated[Path, typer.Argument(help="Output file of the pairs.")],
    tolerance: Annotated[float, typer.Option(help="Minimum depth of a hole (eV).")] = 0.02,
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="Add all pairs of this element. May be repeated.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Exclude pairs with holes in this model.")] = None,
) -> None:
    """Write the pairs, at typical bond lengths, and print the holes; no file is written if there are no pairs."""
    console = Console(soft_wrap=True)
    try:
        calculator = Calculator(model)
        holes = scan_dimers(all_pairs(calculator.elements), calculator).pairs_with_holes(tolerance)
        pairs = wanted(calculator.elements, holes, with_ or [])
        if teacher is not None and len(pairs):
            taught = scan_dimers(pairs, Calculator(teacher))
            pairs = pairs[taught.holes <= tolerance]
        if len(pairs):
            structures = [apart(pair) for pair in pairs]
            write_atomically(out, lambda path: write(path, structures, format="extxyz"), overwrite=True)
    except GnnpotError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    named = ", ".join(f"{a}-{b} {depth:.2f} eV" for a, b, depth in holes)
    console.print(f"{len(holes)} holes: {named}; {len(pairs)} pairs written", markup=False)


def wanted(known: Sequence[str], holes: list[tuple[str, str, float]], elements: list[str]) -> np.ndarray:
    """Atomic numbers [P, 2] of the pairs with holes and of all pairs with one of `elements`."""
    for symbol in elements:
        if symbol not in known:
            raise ConfigError(f"--with {symbol}: the model does not know this element; leave it out")
    broken = {frozenset((a, b)) for a, b, _ in holes}
    every = all_pairs(known)
    symbols = [frozenset(chemical_symbols[z] for z in pair) for pair in every]
    return every[[s in broken or bool(s & set(elements)) for s in symbols]]


def apart(numbers: np.ndarray) -> Atoms:
    """Two isolated atoms at the sum of their covalent radii."""
    positions = [np.zeros(3), [0.0, 0.0, covalent_radii[numbers].sum()]]
    name = "-".join(chemical_symbols[z] for z in numbers)
    return Atoms(numbers, positions, info={"source": "holes", "source_id": name})


if __name__ == "__main__":
    typer.run(main)
