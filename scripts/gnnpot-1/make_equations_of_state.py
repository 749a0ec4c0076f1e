"""Select equations of state of the elements for training; the others are kept for evaluation.

    python scripts/gnnpot-1/make_equations_of_state.py unaries_vasp_pbe_eos.extxyz.gz states.extxyz.gz

Reads frames of the elements' cubic crystals at several volumes (PBE by VASP, as verified by Bosoni et al., Nat. Rev.
Phys. 6, 45 (2024); `info["acwf"]` names the crystal), and writes those that are suitable for training a universal
potential. Excluded are:

- crystals in the part `test` of a split by material, which are held out of the training;
- elements that are not in the Materials Project;
- elements for which these calculations are not comparable to the Materials Project: magnetic elements, because the
  calculations are without spin, and lanthanides and actinides with occupied f states, because all f electrons are
  treated as valence electrons.

Their energies have another zero than those of the Materials Project, so only their stresses should be used.
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

#: split as in scripts/gnnpot-1/train*.yaml, with the same seed, 0
FRACTIONS = {"train": 0.75, "validation": 0.05, "test": 0.2}
MAGNETIC = "Cr Mn Fe Co Ni O"
WITH_F = "Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Pa U Np Pu"
LEARNT = set(ELEMENTS) - {atomic_numbers[symbol] for symbol in f"{MAGNETIC} {WITH_F}".split()}


def to_learn(frames: Iterable[Atoms]) -> Iterator[Atoms]:
    """Frames that are neither kept for evaluation nor of excluded elements."""
    for atoms in frames:
        if LEARNT.issuperset(atoms.numbers) and part_of_material(atoms.info["acwf"], FRACTIONS) != "test":
            yield atoms


def main(
    frames: Annotated[Path, typer.Argument(help="Labelled frames, each crystal named by `acwf`.")],
    output: Annotated[Path, typer.Argument(help="Output file.")],
) -> None:
    """Write the frames for training."""
    chosen = list(to_learn(read(frames, ":")))
    write_atomically(output, lambda path: write(path, chosen, format="extxyz"), overwrite=True)


if __name__ == "__main__":
    typer.run(main)
