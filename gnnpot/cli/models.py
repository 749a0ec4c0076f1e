"""`gnnpot models`, the potentials with a name, and `gnnpot import`, which brings published ones into the cache."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gnnpot.cli.common import download_progress

if TYPE_CHECKING:
    from gnnpot.published import Published


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("models", rich_help_panel="Published potentials")(models)
    app.command("import", rich_help_panel="Published potentials")(import_command)


def models(
    as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Show the potentials with a name: elements, licence, size, speed, what energies mean, whether on this machine.

    Example: gnnpot models --json

    Any of the names does for --model. Those that come with gnnpot stand first, the default at the top; the others are
    published ones, which the first use fetches, or `gnnpot import` beforehand.
    """
    from gnnpot.published import published, shipped

    rows = [_shipped_row(name, folder) for name, folder in shipped().items()]
    rows += [_row(entry, fidelity) for entry in published() for fidelity in entry.fidelities or (None,)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    for name in ("name", "elements", "licence", "MB", "speed", "energies", "cached"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("elements", "MB") else "left")
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f}"
        cells = row["name"], str(row["elements"]), row["licence"], size, row["speed"], row["energy_reference"]
        table.add_row(*cells, "yes" if row["cached"] else "")
    Console().print(table)


def _shipped_row(name: str, folder: Path) -> dict[str, Any]:
    from gnnpot.checkpoint import read_card
    from gnnpot.published.shipped import SPEED

    content = read_card(folder)
    return {
        "name": name,
        "elements": len(content["elements"]),
        "licence": content["card"]["licence"],
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "speed": SPEED,
        "energy_reference": content["card"]["energy_reference"],
        "cached": True,
        "path": str(folder),
    }


def _row(entry: "Published", fidelity: str | None) -> dict[str, Any]:
    from gnnpot.published.cache import checkpoint_folder

    name = entry.full_name(fidelity)
    folder = checkpoint_folder(name)
    return {
        "name": name,
        "elements": entry.elements,
        "licence": entry.licence,
        "bytes": entry.size,
        "speed": entry.speed,
        "energy_reference": entry.energy_reference,
        "cached": folder.exists(),
        "path": str(folder),
    }


def import_command(
    names: Annotated[list[str], typer.Argument(help="Names of published potentials, see `gnnpot models`.")],
    force: Annotated[bool, typer.Option("--force", help="Convert anew what is in the cache already.")] = False,
) -> None:
    """Fetch published potentials, check and convert them; from then on they work offline.

    Example: gnnpot import chgnet-0.3.0 7net-0

    Without internet, set GNNPOT_MIRROR to a folder or URL with NAME/FILE for each, or with the wheel. A download that
    was cut off goes on with the same command. GNNPOT_CACHE is where everything is kept.
    """
    from gnnpot.hub import import_published
    from gnnpot.published import resolve

    # an unknown name is better said before the first download than after it
    chosen = [entry.full_name(fidelity) for entry, fidelity in map(resolve, names)]
    for name in chosen:
        with download_progress() as report:
            folder = import_published(name, report, overwrite=force)
        Console(soft_wrap=True).print(f"{name}: {folder}", highlight=False, markup=False)
