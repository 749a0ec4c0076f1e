"""Equations of state of the elements to learn from, and those that are kept to measure by.

    python scripts/gnnpot-1/make_equations_of_state.py unaries_vasp_pbe_eos.extxyz.gz states.extxyz.gz

Reads frames of the elements' cubic crystals at several volumes (PBE by VASP, as verified by Bosoni et al., Nat. Rev.
Phys. 6, 45 (2024); `info["acwf"]` names the crystal), and writes those that a universal potential can learn from. Left
out are:

- crystals in the part `test` of a split by material, which are held out of the training;
- elements that the Materials Project does not have;
- elements for which these calculations and the Materials Project's mean different things: these are without spin, so
  magnetic elements are left out, and have all f electrons in the valence, so lanthanides and actinides are, but for
  those without occupied f states.

Their energies have other zeros than the Materials Project's: learn from their stresses.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import read, write
from make_prototypes import ELEMENTS

from gnnpot.data.splits import part_of_material
from gnnpot.engines.files import write_atomically

#: as in scripts/gnnpot-1/train*.yaml, with the same seed, 0
FRACTIONS = {"train": 0.75, "validation": 0.05, "test": 0.2}
MAGNETIC = "Cr Mn Fe Co Ni O"
WITH_F = "Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Pa U Np Pu"
LEARNT = set(ELEMENTS) - {atomic_numbers[symbol] for symbol in f"{MAGNETIC} {WITH_F}".split()}


def to_learn(frames: Iterable[Atoms]) -> Iterator[Atoms]:
    """The frames that are neither kept for measuring nor of elements that mean something else."""
    for atoms in frames:
        if LEARNT.issuperset(atoms.numbers) and part_of_material(atoms.info["acwf"], FRACTIONS) != "test":
            yield atoms


def main(
    frames: Annotated[Path, typer.Argument(help="Labelled frames, each crystal named by `acwf`.")],
    output: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write the frames to learn from."""
    chosen = list(to_learn(read(frames, ":")))
    write_atomically(output, lambda path: write(path, chosen, format="extxyz"), overwrite=True)


if __name__ == "__main__":
    typer.run(main)
