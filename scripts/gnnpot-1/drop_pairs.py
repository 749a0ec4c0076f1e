"""Copy a store without pairs of atoms that are labelled by another teacher.

    python scripts/gnnpot-1/drop_pairs.py dimers.store holes.extxyz.gz dimers-kept.store

Frames of two atoms are removed if their elements are those of a structure in the output file of make_holes.py.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gnnpot.data import read_structures
from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore, write_store
from gnnpot.errors import GnnpotError


def main(
    store: Annotated[Path, typer.Argument(help="The labelled frames.")],
    pairs: Annotated[Path, typer.Argument(help="File or store with the pairs.")],
    out: Annotated[Path, typer.Argument(help="Output store.")],
) -> None:
    """Write the remaining frames."""
    console = Console(soft_wrap=True)
    try:
        dropped = {_elements(frame) for frame in read_structures([pairs])}
        frames, left_out = FrameStore(store), Counter[str]()
        kept = write_store(_others(frames, dropped, left_out), out, source=store.name, filters=left_out)
    except GnnpotError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    console.print(f"{len(kept)} of {len(frames)} frames", highlight=False)


def _others(frames: Iterable[Frame], dropped: set[tuple[int, ...]], left_out: Counter[str]) -> Iterator[Frame]:
    for frame in frames:
        if len(frame) == 2 and _elements(frame) in dropped:
            left_out["pair that is labelled elsewhere"] += 1
        else:
            yield frame


def _elements(frame: Frame) -> tuple[int, ...]:
    return tuple(sorted(frame.numbers.tolist()))


if __name__ == "__main__":
    typer.run(main)
