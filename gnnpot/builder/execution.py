"""From a recipe to a structure: execute the steps in order, then check the result.

Example::

    result = execute(recipe)
    result.structure, result.notes, result.warnings
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from gnnpot.builder.recipe import MAX_ATOMS, Recipe
from gnnpot.builder.state import Message, State
from gnnpot.builder.steps import (
    adsorb,
    crystal,
    defects,
    interface,
    low_dimensional,
    molecule,
    particle,
    slab,
    solvent,
    support,
)

EXECUTORS: dict[str, Callable[[Any, State], None]] = {
    "bulk": crystal.bulk, "supercell": crystal.supercell, "alloy": crystal.alloy, "strain": crystal.strain,
    "rattle": crystal.rattle, "slab": slab.slab, "vacuum": slab.vacuum, "fix": slab.fix, "molecule": molecule.molecule,
    "rotate": molecule.rotate, "sheet": low_dimensional.sheet, "nanotube": low_dimensional.nanotube,
    "substitute": defects.substitute, "vacancy": defects.vacancy, "interstitial": defects.interstitial,
    "adsorb": adsorb.adsorb, "nanoparticle": particle.nanoparticle, "place": support.place,
    "interface": interface.interface, "solvent": solvent.solvent,
}  # fmt: skip
#: two atoms are reported if they are closer than this fraction of the sum of their covalent radii
CLOSE = 0.65
#: arrays that only the executors use, and that are removed from results
INTERNAL = ("layer", "part")


@dataclass(frozen=True)
class BuildResult:
    """A structure with its recipe, notes on values that were chosen, and warnings."""

    structure: Atoms
    recipe: Recipe
    notes: list[Message] = field(default_factory=list)
    warnings: list[Message] = field(default_factory=list)

    def _repr_html_(self) -> str:
        """HTML that shows the structure in a notebook (3Dmol.js)."""
        from gnnpot.builder.view import html

        return html(self.structure)

    def edit(self, text: str, language: str | None = None) -> "BuildResult":
        """Change the structure with a further sentence, such as `now replace 10 % of the Ti by V`.

        Args:
            text: The sentence.
            language: Language of notes and errors, `en` or `ja`; `None`: the language of the text.

        Returns:
            A new result.
        """
        from gnnpot.builder.api import build

        return build(text, language, base=self.recipe)


def execute(recipe: Recipe, *, folder: Path | str | None = None, max_atoms: int = MAX_ATOMS) -> BuildResult:
    """Execute the steps of a recipe.

    Args:
        recipe: The recipe.
        folder: Folder from which `bulk` may read files; `None`: no files may be read.
        max_atoms: Largest number of atoms; larger structures are refused before they are built.

    Returns:
        The structure (Å; fixed atoms as ASE's `FixAtoms`; adsorbates with tag 0, layers of a slab with tags 1, 2, …
        from the top) with notes and warnings in the recipe's language.

    Raises:
        BuilderError: A step can't be executed.
    """
    state = State(recipe.language, Path(folder) if folder is not None else None, max_atoms=min(max_atoms, MAX_ATOMS))
    for step in recipe.steps:
        EXECUTORS[step.do](step, state)
        state.check_size(len(state.atoms))
    _check_distances(state)
    for name in INTERNAL:
        state.atoms.arrays.pop(name, None)
    return BuildResult(state.atoms, recipe, state.notes, state.warnings)


def _check_distances(state: State) -> None:
    """Add a warning if two atoms, or an atom and a periodic image, are too close."""
    atoms = state.atoms
    first, second, length = neighbor_list("ijd", atoms, 2.0)
    if len(length):
        radii = covalent_radii[atoms.numbers]
        ratio = length / (radii[first] + radii[second])
        worst = int(np.argmin(ratio))
        if ratio[worst] < CLOSE:
            names = atoms.get_chemical_symbols()
            pair = names[first[worst]], names[second[worst]]
            state.warn("close_atoms", first=pair[0], second=pair[1], distance=f"{length[worst]:.2f}")


def summary(result: BuildResult) -> dict[str, Any]:
    """Summarise a result.

    Args:
        result: Result of `build` or `execute`.

    Returns:
        Formula, number of atoms, cell (Å and degrees), closest distance (Å), number of fixed atoms, notes and warnings,
        as plain data.
    """
    atoms = result.structure
    lengths = neighbor_list("d", atoms, 4.0) if len(atoms) > 1 else np.zeros(0)
    return {
        "formula": atoms.get_chemical_formula(),
        "atoms": len(atoms),
        "cell": [round(float(x), 4) for x in atoms.cell.cellpar()] if atoms.cell.rank == 3 else None,
        "closest": round(float(lengths.min()), 3) if len(lengths) else None,
        "fixed": sum(len(c.index) for c in atoms.constraints),
        "notes": [note.text for note in result.notes],
        "warnings": [warning.text for warning in result.warnings],
    }
