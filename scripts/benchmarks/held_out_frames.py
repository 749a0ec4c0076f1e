"""Write the frames of a file whose materials gnnpot-1 has not seen, for `gnnpot evaluate --suite frames`.

    python scripts/benchmarks/held_out_frames.py mptrj-random-1k.extxyz.gz held-out-random.extxyz

A fifth of the materials, by the split that gnnpot-1 was trained with (`scripts/gnnpot-1/train.yaml`).
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
    output: Annotated[Path, typer.Argument(help="File to write.")],
    material_key: Annotated[str, typer.Option(help="What names the material of a frame.")] = "formula",
) -> None:
    """Keep the held-out part."""
    kept = [
        frame.to_atoms()
        for frame in read_frames(frames, material_key=material_key)
        if part_of_material(frame.provenance.material_id, FRACTIONS, 0) == "test"
    ]
    write_atomically(output, lambda path: write(path, kept, format="extxyz"))
    typer.echo(f"{output}: {len(kept)} frames")


if __name__ == "__main__":
    typer.run(main)
