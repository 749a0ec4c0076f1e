"""`gnnpot data choose`: select representative structures to be labelled."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import count_bar
from gnnpot.cli.console import Console
from gnnpot.cli.results import JsonOption
from gnnpot.domains import INTEGER_FROM_1
from gnnpot.errors import DataError
from gnnpot.runs.json_text import to_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(choose)


def choose(
    structures: Annotated[list[Path], typer.Argument(help="Files of structures, or stores.")],
    count: Annotated[int, INTEGER_FROM_1, typer.Option("--count", "-n", help="Number of structures to choose.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Output file: .extxyz, .traj or another multi-structure format of ASE."),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose representative structures, to be labelled if labels are affordable for only a few.

    Example: gnnpot data choose md.traj -n 20 -o to-label.extxyz

    The most representative structure comes first; its index in the input is stored as 'chosen'. The column 'distance'
    is the mean distance, in descriptor space, of the atoms of all structures from the nearest atom of the same element
    in the structures chosen so far. Once it hardly decreases, further structures add little. Labels are neither used
    nor written. To train on a few of many labelled frames, add '--set data.frames=20 --set data.choose=representative'
    to gnnpot finetune or gnnpot train.
    """
    from ase.io import write

    from gnnpot.data import read_structures
    from gnnpot.engines.files import refuse_overwrite, refuse_same, write_atomically
    from gnnpot.sampling.representative import choose_frames

    refuse_same({"output": output}, inputs=structures)
    refuse_overwrite(output, overwrite)
    format = _format(output)
    frames = read_structures(structures)
    with count_bar(quiet) as bar:
        task = bar.add_task("describing atoms", total=None)
        choice = choose_frames(
            frames, count, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    images = [frames[k].to_atoms() for k in choice.indices]
    for k, atoms in zip(choice.indices, images, strict=True):
        atoms.calc = None
        atoms.info["chosen"] = k
    write_atomically(output, lambda path: write(path, images, format=format), overwrite=overwrite)
    if as_json:
        chosen = [{"frame": k, "distance": d} for k, d in zip(choice.indices, choice.distances, strict=True)]
        typer.echo(to_json({"output": output, "of": len(frames), "chosen": chosen}))
        return
    table = Table("", "chosen", "from", "formula", "distance", box=SIMPLE_HEAD, title=f"{output}, of {len(frames)}")
    for place, (k, distance, atoms) in enumerate(zip(choice.indices, choice.distances, images, strict=True), 1):
        origin = frames[k].provenance
        where = " ".join(filter(None, (origin.source, origin.source_id)))
        table.add_row(str(place), str(k), where, atoms.get_chemical_formula(), f"{distance:.3g}")
    Console().print(table)


def _format(output: Path) -> str:
    """ASE's name of the output format; raises `DataError` if it can't hold several structures."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        kind = ioformats.get(filetype(str(output), read=False))
    except UnknownFileTypeError:
        kind = None
    if kind is None or not kind.can_write or kind.single:
        raise DataError(f"{output}: ASE writes no file of many structures with this ending; take .extxyz or .traj")
    return kind.name
