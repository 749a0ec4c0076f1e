"""Write the frames of materials held out of the training of gnnpot-1, for `gnnpot evaluate --suite frames`.

    python scripts/benchmarks/held_out_frames.py mptrj-random-1k.extxyz.gz held-out-random.extxyz

They are a fifth of the materials, by the split used for training gnnpot-1 (`scripts/gnnpot-1/train.yaml`).
"""

from pathlib import Path
from typing import Annotated

import typer
from ase.io import write

from gnnpot.data.readers import read_frames
from gnnpot.data.splits import part_of_material
from gnnpot.runs.files import write_atomically

FRACTIONS = {"train": 0.75, "validation": 0.05, "test": 0.2}


def main(
    frames: Annotated[Path, typer.Argument(help="Labelled frames.")],
    output: Annotated[Path, typer.Argument(help="Output file.")],
    material_key: Annotated[str, typer.Option(help="Key of the material of a frame.")] = "formula",
) -> None:
    """Write the frames of the held-out part."""
    kept = [
        frame.to_atoms()
        for frame in read_frames(frames, material_key=material_key)
        if part_of_material(frame.provenance.material_id, FRACTIONS, 0) == "test"
    ]
    write_atomically(output, lambda path: write(path, kept, format="extxyz"))
    typer.echo(f"{output}: {len(kept)} frames")


if __name__ == "__main__":
    typer.run(main)
