"""Pairs of elements that a model has holes for, as structures for a teacher to label: what it still has to learn.

    python scripts/make_holes.py runs/gnnpot-1/train/model holes.extxyz.gz
    gnnpot label holes.extxyz.gz -m mattersim.forcefield:MatterSimCalculator -o holes.store \
        --config configs/gnnpot-1/label-holes.yaml

A hole is what `gnnpot.analysis.dimers` says. Trained on once more with these labels among the others, a model is to be
looked at again: a hole that is filled can open another.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.io import write
from rich.console import Console

from gnnpot import load
from gnnpot.analysis.dimers import scan_dimers
from gnnpot.engines.files import write_atomically
from gnnpot.errors import GnnpotError


def main(
    model: Annotated[str, typer.Argument(help="Name or path of the model.")],
    out: Annotated[Path, typer.Argument(help="The file of pairs to write.")],
    tolerance: Annotated[float, typer.Option(help="Depth from which a hole counts, eV.")] = 0.02,
) -> None:
    """Write the pairs, at the distance where bonds would be, and name them; no file where there is no hole."""
    console = Console(soft_wrap=True)
    try:
        pairs = scan_dimers(load(model)).pairs_with_holes(tolerance)
        structures = [apart(a, b) for a, b, _ in pairs]
        if structures:
            write_atomically(out, lambda path: write(path, structures, format="extxyz"), overwrite=True)
    except GnnpotError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    console.print(f"{len(pairs)}: " + ", ".join(f"{a}-{b} {depth:.2f} eV" for a, b, depth in pairs), markup=False)


def apart(a: str, b: str) -> Atoms:
    """The two atoms alone, at the sum of their covalent radii."""
    numbers = [chemical_symbols.index(symbol) for symbol in (a, b)]
    positions = [np.zeros(3), [0.0, 0.0, covalent_radii[numbers].sum()]]
    return Atoms(numbers, positions, info={"source": "holes", "source_id": f"{a}-{b}"})


if __name__ == "__main__":
    typer.run(main)
