"""Prepare a trained potential for shipping: add texts to its card, and structures with reference energies.

    python scripts/gnnpot-1/ship_checkpoint.py runs/gnnpot-1/train/model scripts/gnnpot-1/card.yaml checkpoints/gnnpot-1

Folders are removed from paths in the card, because they mean nothing on other machines. The reference energies are
computed in float64. The structures are those of published potentials; if the potential lacks their elements, crystals
of its own elements are used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from ase import Atoms

from gnnpot.config import from_mapping, read_yaml
from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.hub.reference_structures import ReferenceStructure
from gnnpot.hub.registry import reference_structures
from gnnpot.properties.contract.structures import default_structures


@dataclass(frozen=True)
class Words:
    """Hand-written texts of a card."""

    name: str
    description: str
    licence: str
    functional: str
    energy_reference: str
    training_data: str
    references: list[str]


def without_folders(value: Any) -> Any:
    """Replace absolute paths by their names, at all levels of the value."""
    if isinstance(value, dict):
        return {key: without_folders(v) for key, v in value.items()}
    if isinstance(value, list):
        return [without_folders(v) for v in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def crystals(elements: Sequence[str]) -> list[Atoms]:
    """The structures of published potentials if they are of `elements` only, or else crystals of the first two."""
    known = [atoms for atoms in reference_structures() if set(atoms.symbols) <= set(elements)]
    return known or [atoms for atoms in default_structures(elements).values() if atoms.pbc.all()]


def main(
    trained: Annotated[Path, typer.Argument(help="The trained checkpoint.")],
    words: Annotated[Path, typer.Argument(help="YAML file with the texts of the card.")],
    output: Annotated[Path, typer.Argument(help="Output folder.")],
) -> None:
    """Write the checkpoint."""
    potential, card = load_checkpoint(trained)
    said = from_mapping(Words, read_yaml(words), where=str(words))
    exact = load_checkpoint(trained)[0].double()
    atoms = crystals(exact.elements)
    structures = [ReferenceStructure.from_atoms(a, float(exact(exact.graph(a)).energy)) for a in atoms]
    card = replace(
        card,
        **vars(said),
        training=without_folders(card.training),
        reference_structures=tuple(structures),
        reference_energies_from="this potential in float64",
    )
    save_checkpoint(output, potential, card, overwrite=True)


if __name__ == "__main__":
    typer.run(main)
