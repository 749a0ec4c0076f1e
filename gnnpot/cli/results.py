"""Output of the results of a command: a table, or one JSON value with `--json`.

    show(as_json, {"energy": relaxation.energy}, lambda: table)

Numbers are in the units of `gnnpot.units`.
"""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.table import Table

from gnnpot.cli.console import Console
from gnnpot.runs.json_text import to_json

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def show(as_json: bool, value: Any, table: Callable[[], Table]) -> None:
    """Print the value as JSON, or the table."""
    if as_json:
        typer.echo(to_json(value))
    else:
        Console().print(table())
