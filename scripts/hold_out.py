"""The held-out frames of a training run by `data.split`, one store for each file that its frames came from.

    python scripts/hold_out.py real.store random.store stress.store --count 1000 --count 1000 --test 0.2

`--count` says how many frames of the store came of each file, in their order. The split is the one that training with
the same fractions and seed has made: by material.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from gnnpot.data import FrameStore, write_store
from gnnpot.data.splits import split_by_material


def main(
    store: Annotated[Path, typer.Argument(help="The store that was trained on.")],
    outputs: Annotated[list[Path], typer.Argument(help="The stores to write, one for each --count.")],
    count: Annotated[list[int], typer.Option(help="Frames of each file.")],
    test: Annotated[float, typer.Option(help="Fraction that was held out.")] = 0.2,
    validation: Annotated[float, typer.Option(help="Fraction that validated.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
) -> None:
    """Write the parts of the test part."""
    frames = FrameStore(store)
    if len(count) != len(outputs) or sum(count) != len(frames):
        raise typer.BadParameter(f"{store} has {len(frames)} frames; give a --count for each output, {len(outputs)}")
    parts = split_by_material(frames, {"train": 1 - test - validation, "validation": validation, "test": test}, seed)
    starts = np.cumsum([0, *count])
    for output, first, last in zip(outputs, starts, starts[1:], strict=False):
        held = parts["test"]
        write_store(frames.select(held[(held >= first) & (held < last)]), output, source=f"held out of {store.name}")


if __name__ == "__main__":
    typer.run(main)
