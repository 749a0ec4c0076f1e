"""What is left of holes where no teacher knows better: a model's own curves of pairs, filled, as labels to learn from.

    python scripts/gnnpot-1/fill_holes.py runs/gnnpot-1/train-last/model filled.store

The curve of two atoms is to have one well and to rise from it on both sides. On each side of its lowest point beyond
the wall, any part below what it has risen to already is lifted to that, and to a slope of `SLOPE` at least:

    W(r_j) = max(V(r_j), W(r_j+1) + s (r_j+1 - r_j))  towards short distances,  and with s = 0 towards long ones.

The labels are the forces -dW/dr. This makes a potential of crystals behave; it says nothing of the molecule: Cr2, which
several teachers give two wells, is bound by 1.5 eV at 1.68 Å (Casey & Leopold, J. Phys. Chem. 97, 816 (1993)).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase.data import chemical_symbols, covalent_radii
from rich.console import Console

from gnnpot.data.frame import Frame, Provenance
from gnnpot.data.store import write_store
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import GnnpotError
from gnnpot.properties.dimers import RATIOS, WALL, Dimers, all_pairs, scan_dimers

#: distances over the sum of the covalent radii, as close as a derivative needs
FINE = np.linspace(RATIOS[0], RATIOS[-1], 361)
#: eV/Å
SLOPE = 0.2


def main(
    model: Annotated[str, typer.Argument(help="Name or path of the model.")],
    out: Annotated[Path, typer.Argument(help="The store to write.")],
    tolerance: Annotated[float, typer.Option(help="Depth from which a hole counts, eV.")] = 0.02,
    count: Annotated[int, typer.Option(help="Frames of each pair.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the distances, which are drawn at random.")] = 0,
) -> None:
    """Write the frames and name the holes; no store where there is no hole."""
    console = Console(soft_wrap=True)
    try:
        calculator = Calculator(model)
        scan = scan_dimers(all_pairs(calculator.elements), calculator)
        holes, pairs = scan.pairs_with_holes(tolerance), scan.pairs[scan.holes > tolerance]
        if len(pairs):
            curves = scan_dimers(pairs, calculator, FINE)
            write_store(labelled(curves, count, seed), out, source=f"{model}, holes filled")
    except GnnpotError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    named = ", ".join(f"{a}-{b} {depth:.2f} eV" for a, b, depth in holes)
    console.print(f"{len(holes)} holes: {named}; {count * len(pairs)} frames written", markup=False)


def labelled(curves: Dimers, count: int, seed: int) -> Iterator[Frame]:
    """`count` frames of each pair, at distances that are drawn evenly."""
    rng = np.random.default_rng(seed)
    for pair, energies in zip(curves.pairs, curves.energies, strict=True):
        distances = curves.ratios * covalent_radii[pair].sum()
        forces = -np.gradient(filled(energies, distances, curves.ratios), distances)
        name = "-".join(chemical_symbols[z] for z in pair)
        for k, r in enumerate(rng.uniform(distances[0], distances[-1], count)):
            force = np.interp(r, distances, forces)
            yield Frame(
                numbers=pair,
                positions=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, r]]),
                cell=np.zeros((3, 3)),
                pbc=False,
                forces=np.array([[0.0, 0.0, -force], [0.0, 0.0, force]]),
                provenance=Provenance(source="filled holes", source_id=f"{name}-{k}", material_id=name),
            )


def filled(energies: np.ndarray, distances: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """W of the head of this file, for a curve V at ascending distances and ratios; all [D]."""
    curve = energies.copy()
    lowest = int(np.argmin(np.where(ratios > WALL, energies, np.inf)))
    for j in range(lowest - 1, -1, -1):
        curve[j] = max(curve[j], curve[j + 1] + SLOPE * (distances[j + 1] - distances[j]))
    curve[lowest:] = np.maximum.accumulate(curve[lowest:])
    return curve


if __name__ == "__main__":
    typer.run(main)
