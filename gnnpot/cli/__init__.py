"""The command line: `gnnpot …`. A `GnnpotError` becomes one sentence and exit status 1."""

import logging
import sys

import typer
from rich.console import Console
from rich.logging import RichHandler

from gnnpot.cli import (
    build,
    choose,
    conductivity,
    data,
    distil,
    finetune,
    functional,
    inspect,
    label,
    models,
    mp,
    simulate,
    train,
    warm,
)
from gnnpot.cli.common import compilation_progress
from gnnpot.errors import GnnpotError

app = typer.Typer(
    name="gnnpot",
    help="Interatomic potentials: data, training, evaluation, relaxation and molecular dynamics.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
choose.register(data.app)
mp.register(data.app)
app.add_typer(data.app, name="data")
for room in (label, train, finetune, distil, functional, simulate, conductivity, inspect, models, build, warm):
    room.register(app)


@app.callback()
def _options(verbose: bool = typer.Option(False, "--verbose", "-v", help="Say more of what is done.")) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False)],
    )


def main() -> None:
    """Entry point of the console script."""
    try:
        with compilation_progress():
            app()
    except GnnpotError as error:
        Console(stderr=True).print("error:", style="bold red", end=" ")
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        sys.exit(130)
