"""Labels for pairs with holes for which no teacher is better: the model's own energy curves without the holes.

    python scripts/gnnpot-1/fill_holes.py runs/gnnpot-1/train-last/model filled.store

The energy curve of two atoms should have one minimum and increase on both sides. On each side of the lowest point
outside the repulsive wall, every part that is lower than a part closer to the minimum is raised to its value, and to a
slope s of at least `SLOPE`:

    W(r_j) = max(V(r_j), W(r_j+1) + s (r_j+1 - r_j))  towards short distances,  and with s = 0 towards long ones.

The labels are the forces -dW/dr. They remove unphysical behaviour of a potential for crystals, but do not describe the
molecule: Cr2, for which several teachers give two minima, is bound by 1.5 eV at 1.68 Å (Casey & Leopold, J. Phys. Chem.
97, 816 (1993)).
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

#: distances over the sum of the covalent radii, dense enough for derivatives
FINE = np.linspace(RATIOS[0], RATIOS[-1], 361)
#: eV/Å
SLOPE = 0.2


def main(
    model: Annotated[str, typer.Argument(help="Name or path of the model.")],
    out: Annotated[Path, typer.Argument(help="Output store.")],
    tolerance: Annotated[float, typer.Option(help="Minimum depth of a hole (eV).")] = 0.02,
    count: Annotated[int, typer.Option(help="Number of frames per pair.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of the random distances.")] = 0,
) -> None:
    """Write the frames and print the holes; no store is written if there are no holes."""
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
    """`count` frames of each pair, at uniformly distributed random distances."""
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
    """W of the module's docstring for a curve V at ascending distances and ratios; all [D]."""
    curve = energies.copy()
    lowest = int(np.argmin(np.where(ratios > WALL, energies, np.inf)))
    for j in range(lowest - 1, -1, -1):
        curve[j] = max(curve[j], curve[j + 1] + SLOPE * (distances[j + 1] - distances[j]))
    curve[lowest:] = np.maximum.accumulate(curve[lowest:])
    return curve


if __name__ == "__main__":
    typer.run(main)
