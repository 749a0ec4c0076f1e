"""`gnnpot warm`: compile kernels before their first use."""

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import Precision, count_bar, open_model
from gnnpot.cli.console import Console
from gnnpot.cli.results import JsonOption
from gnnpot.domains import INTEGER_FROM_1
from gnnpot.hub.shipped import DEFAULT
from gnnpot.runs.json_text import to_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("warm", rich_help_panel="Published potentials")(warm_command)


def warm_command(
    models: Annotated[
        list[str] | None, typer.Argument(help=f"Names or paths of gnnpot models; default: {DEFAULT}.")
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="Also compile the kernels for training.")] = False,
    dtype: Annotated[
        list[Precision] | None,
        typer.Option(help="Floating-point precision; default: the model's own. May be repeated."),
    ] = None,
    processes: Annotated[
        int | None,
        INTEGER_FROM_1,
        typer.Option("--processes", "-p", help="Number of parallel compilations; default: number of cores."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compile the kernels of models ahead of their first use.

    Example: gnnpot warm gnnpot-1 7net-0 --training

    Example: GNNPOT_KERNELS=/opt/gnnpot-kernels gnnpot warm

    Kernels are cached per user and processor type. The environment variable GNNPOT_KERNELS sets another folder, for
    example in a container image.
    """
    import torch

    from gnnpot.compiler.folder import kernel_folder
    from gnnpot.engines.warm import warm

    names = models or [DEFAULT]
    for name in names:
        open_model(name)
    dtypes = [getattr(torch, precision.value) for precision in dtype or ()]
    rows = []
    table = Table("model", "for", "kernels compiled", "s", box=SIMPLE_HEAD)
    with count_bar(quiet) as bar:
        task = bar.add_task("compiling", total=len(names) * (2 if training else 1) * max(len(dtypes), 1))
        for done in warm(names, training=training, dtypes=dtypes, processes=processes):
            bar.advance(task)
            rows.append(done)
            table.add_row(done.name, done.what, str(done.kernels), f"{done.seconds:.1f}")
    if as_json:
        typer.echo(to_json({"kernels": kernel_folder(), "compiled": rows}))
        return
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"kernels: {kernel_folder()}", highlight=False)
