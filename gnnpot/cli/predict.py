"""`gnnpot predict`: predict energies, forces and stresses of many structures."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnnpot.cli.common import Precision, chosen_device, count_bar, open_model
from gnnpot.cli.console import Console
from gnnpot.cli.many import ExecutorOption, ManyOption, ProcessesOption, check_many_options, compute_many
from gnnpot.cli.results import JsonOption
from gnnpot.domains import INTEGER_FROM_1
from gnnpot.errors import DataError, UnknownElementError, counted
from gnnpot.hub.shipped import DEFAULT
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from ase import Atoms

    from gnnpot.workflows.many import Predicting

#: number of structures between two writes, the most that an interrupted run loses
CHUNK = 200


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("predict", rich_help_panel="Simulate")(predict_command)


def predict_command(
    structures: Annotated[Path, typer.Argument(help="File of structures in any format that ASE reads.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output file in extended XYZ (.extxyz, .xyz). With --many, a folder.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Name or path of a gnnpot model. With --many, also an ASE calculator as module:Class."
        ),
    ] = DEFAULT,
    stress: Annotated[bool, typer.Option("--stress/--no-stress", help="Also predict stresses.")] = True,
    max_atoms: Annotated[int, INTEGER_FROM_1, typer.Option(help="Maximum number of atoms in a batch.")] = 512,
    many: ManyOption = False,
    processes: ProcessesOption = None,
    executor: ExecutorOption = "processes",
    device: Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:1, …; default: the model's own.")] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Predict energies (eV), forces (eV/Å) and stresses (eV/Å³) of all structures of a file, in batches.

    Example: gnnpot predict trajectory.traj -o predicted.extxyz --model 7net-0

    Example: gnnpot predict pool.store --many -o predicted --processes 4

    An interrupted command is resumed by the same command: finished structures are kept in OUTPUT.partial, which is
    renamed to OUTPUT at the end.
    """
    given = locals()
    check_many_options(many, {}, executor, processes)
    if many:
        chosen, flags = (model, device, dtype), (overwrite, quiet, as_json)
        compute_many(structures, lambda: _predicting(given), output, chosen, (executor, processes), flags)
    else:
        _predict_file(given)


def _predicting(given: dict[str, Any]) -> "Predicting":
    from gnnpot.workflows.many import Predicting

    return Predicting(given["stress"], given["max_atoms"])


def _predict_file(given: dict[str, Any]) -> None:
    from gnnpot.data.structure_files import iterate_structures
    from gnnpot.runs.lock import file_lock

    structures, output = given["structures"], given["output"]
    found = iterate_structures(structures)
    _check_output(output, structures, given["overwrite"])
    with file_lock(output, "a prediction"):
        total, done = _predict_all(found, given)
    if given["as_json"]:
        typer.echo(to_json({"output": output, "structures": total, "resumed_from": done, "model": given["model"]}))
    else:
        text = f"{counted(total, 'structure')}: {output}"
        Console(soft_wrap=True).print(text, highlight=False)


def _predict_all(found_structures: "Iterator[Atoms]", given: dict[str, Any]) -> tuple[int, int]:
    """Write the predictions; return the number of structures, and of those predicted by an earlier call."""
    import torch
    from ase.io import write

    from gnnpot.data.bundled import resolve_bundled
    from gnnpot.engines.predict import predict
    from gnnpot.hub.checkpoint import weights_sha256

    structures, output, dtype = (given[name] for name in ("structures", "output", "dtype"))
    stress = given["stress"]
    opened = open_model(given["model"])
    where = chosen_device(given["device"])
    partial, note = output.with_name(f"{output.name}.partial"), output.with_name(f"{output.name}.partial.json")
    structures = resolve_bundled(structures)
    file, name = structures.stat(), None if dtype is None else dtype.value
    origin = str(structures.resolve()), file.st_size, file.st_mtime_ns
    done = _resumed(partial, note, json.dumps([*origin, weights_sha256(opened.potential), stress, name]))
    precision = None if dtype is None else getattr(torch, dtype.value)
    total = done
    with count_bar(given["quiet"]) as bar:
        task = bar.add_task("predicting", total=None, completed=done)
        source = itertools.islice(found_structures, done, None)
        options: Any = {"stress": stress, "max_atoms": given["max_atoms"], "device": where, "dtype": precision}
        found = predict(source, opened.potential, **options)
        try:
            while chunk := list(itertools.islice(found, CHUNK)):
                write(str(partial), chunk, format="extxyz", append=True)
                total += len(chunk)
                bar.update(task, completed=total)
        except (DataError, UnknownElementError):
            # the input has to be corrected, so the partial output will not match it
            partial.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
            raise
    partial.replace(output)
    note.unlink(missing_ok=True)
    return total, done


def _check_output(output: Path, structures: Path, overwrite: bool) -> None:
    from gnnpot.engines.files import refuse_overwrite, refuse_same

    if output.suffix not in (".extxyz", ".xyz"):
        raise DataError(f"{output}: predictions are written as extended XYZ; give a name that ends in .extxyz or .xyz")
    refuse_same({"output": output}, inputs=[structures])
    refuse_overwrite(output, overwrite)


def _resumed(partial: Path, note: Path, identity: str) -> int:
    """Number of structures written by an earlier call with the same `identity`; other partial files are removed."""
    from gnnpot.runs.files import write_text

    if partial.exists() and note.exists() and note.read_text(encoding="utf-8") == identity:
        return _keep_whole(partial)
    partial.unlink(missing_ok=True)
    write_text(note, identity)
    return 0


def _keep_whole(path: Path) -> int:
    """Count the complete frames at the start of an extended XYZ file, and truncate the file after them."""
    count = 0
    with path.open("rb+") as file:
        while True:
            place, head = file.tell(), file.readline()
            lines = [file.readline() for _ in range(int(head) + 1)] if head.strip().isdigit() else []
            if not lines or not all(line.endswith(b"\n") for line in lines):
                file.truncate(place)
                return count
            count += 1
