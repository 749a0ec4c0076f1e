"""`gnnpot label`: distort structures and label them with a potential."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import MakeCalculator, Precision
from gnnpot.cli.many import ExecutorOption, ProcessesOption
from gnnpot.cli.progress import Bars
from gnnpot.cli.results import JsonOption, show
from gnnpot.domains import INTEGER_FROM_0
from gnnpot.errors import ConfigError, counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from gnnpot.data.store import FrameStore
    from gnnpot.sampling import LabelConfig, Labeller

_DISTORT = (
    "Kind of distortion and its options, as 'rattled rattle=0.1 count=4'. May be repeated. Kinds: original, rattled, "
    "strained, scaled, vacancies, swapped, substituted, pairs, melted. Default: from --config, else a few small ones."
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("label", rich_help_panel="Data")(label_command)


def label_command(
    structures: Annotated[
        list[Path], typer.Argument(help="Files of structures, or stores; existing labels are ignored.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the store.")],
    config: Annotated[Path | None, typer.Option(help="YAML file of distortions, seed and limits.")] = None,
    distort: Annotated[list[str] | None, typer.Option(help=_DISTORT)] = None,
    seed: Annotated[int | None, INTEGER_FROM_0, typer.Option(help="Seed of the random distortions.")] = None,
    melt_model: Annotated[
        str | None, typer.Option(help="Model for the dynamics of 'melted'; default: --model.")
    ] = None,
    processes: ProcessesOption = None,
    executor: ExecutorOption = "processes",
    device: Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:1, …; default: the model's own.")] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard the work of an earlier call.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing store.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Label structures, original or distorted, with a potential or any ASE calculator.

    Example: gnnpot label pool.extxyz.gz -m runs/teacher/model -o pool.store -p 2 --distort "rattled rattle=0.1 count=4"

    Example: gnnpot label *.cif -m ase.calculators.emt:EMT -o emt.store --config configs/label.yaml

    Interrupted labelling is resumed by the same command. The store is identical, byte for byte, to that of an
    uninterrupted run.
    """
    with _executor(executor, processes) as opened:
        from gnnpot.config import to_mapping
        from gnnpot.data import read_structures
        from gnnpot.runs.guard import check_not_input
        from gnnpot.runs.progress import progress_of
        from gnnpot.sampling import label, read_label_config

        check_not_input({"output": output}, structures)
        options = read_label_config(config, distort or (), seed)
        _refuse_unused(melt_model, options)
        labeller = _labeller(model, melt_model, device, dtype)
        with Bars(quiet) as bars:
            store = label(
                read_structures(structures),
                labeller,
                output,
                options,
                processes=opened,
                fresh=fresh,
                overwrite=overwrite,
                progress=progress_of(bars, "labelling"),
            )
    show(as_json, to_mapping(store.manifest), lambda: _table(store))


@contextlib.contextmanager
def _executor(name: str, processes: int | None) -> "Iterator[Executor | int]":
    """Yield the executor that labels, or 1 to label in this process.

    It is entered first, because MPI ranks other than the first work and exit inside it.
    """
    if name == "processes" and (processes or 1) == 1:
        yield 1
        return
    from gnnpot.runs.executors import open_executor

    with open_executor(name, processes) as executor:
        yield executor


def _refuse_unused(melt_model: str | None, options: "LabelConfig") -> None:
    """Raise `ConfigError` if a model for dynamics is given, and no distortion runs dynamics."""
    if melt_model is not None and not any(distortion.needs_calculator for distortion in options.distortions):
        raise ConfigError(
            "--melt-model: moves atoms for the distortion 'melted', which is not among the distortions; add it with "
            "--distort, or leave --melt-model out"
        )


def _labeller(model: str, melt_model: str | None, device: str | None, dtype: Precision | None) -> "Labeller":
    """Return the labeller; the models are opened once here, so that errors are raised before any work."""
    from gnnpot.sampling import Labeller
    from gnnpot.sampling.labeller_names import describe

    make = MakeCalculator(model, device, dtype)
    name, functional = describe(model, make())
    if melt_model is None:
        return Labeller(make, name, functional)
    make_mover = MakeCalculator(melt_model, device, dtype)
    return Labeller(make, name, functional, make_mover, describe(melt_model, make_mover())[0])


def _table(store: "FrameStore") -> Table:
    manifest = store.manifest
    table = Table("", str(store.folder), box=SIMPLE_HEAD)
    contents = f"{counted(manifest.atoms, 'atom')}, {counted(len(manifest.elements), 'element')}"
    table.add_row("frames", f"{manifest.frames} ({contents})")
    for label, count in manifest.labels.items():
        table.add_row(label, f"{count} of {counted(manifest.frames, 'frame')}")
    for word, count in manifest.codes.items():
        table.add_row("labelled by", f"{word}: {count}")
    for reason, count in manifest.filters.items():
        table.add_row("left out", f"{reason}: {count}")
    if manifest.stress_check is not None:
        table.add_row("stress check", str(manifest.stress_check["meaning"]))
    return table
