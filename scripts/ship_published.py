"""Put a published potential into `checkpoints/`, so that it comes with gnnpot.

    python scripts/ship_published.py nequix-oam-1-pft path/to/its/LICENSE

The authors' file is fetched, checked, converted and compared with their package's energies (`gnnpot import`); what is
written is the checkpoint that comes of it, and their licence.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from gnnpot.hub.checkpoint import load_checkpoint, save_checkpoint
from gnnpot.hub.importing import import_published

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def main(
    name: Annotated[str, typer.Argument(help="Name of a published potential.")],
    licence: Annotated[Path, typer.Argument(help="The authors' licence, with their copyright notice.")],
) -> None:
    """Write the folder."""
    potential, card = load_checkpoint(import_published(name, overwrite=True))
    folder = save_checkpoint(CHECKPOINTS / name, potential, card, overwrite=True)
    shutil.copyfile(licence, folder / "LICENSE")
    typer.echo(folder)


if __name__ == "__main__":
    typer.run(main)
