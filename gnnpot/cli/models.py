"""`gnnpot models`, the potentials with a name, and `gnnpot import`, which brings published ones into the cache."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gnnpot.cli.common import download_progress
from gnnpot.errors import ConfigError

if TYPE_CHECKING:
    from gnnpot.hub.registry import Published


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("models", rich_help_panel="Published potentials")(models)
    app.command("import", rich_help_panel="Published potentials")(import_command)


def models(
    as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Show the potentials with a name: elements, licence, size, speed, what energies mean, whether on this machine.

    Example: gnnpot models --json

    Any of the names does for --model. Those that come with gnnpot stand first, the default at the top; then published
    ones, which the first use fetches, or `gnnpot import` beforehand; then folders that were imported.
    """
    from gnnpot.hub.importing import imported
    from gnnpot.hub.registry import published
    from gnnpot.hub.shipped import SPEED, shipped

    rows = [_checkpoint_row(name, folder, SPEED) for name, folder in shipped().items()]
    rows += [_row(entry, fidelity) for entry in published() for fidelity in entry.fidelities or (None,)]
    # nobody has timed these
    rows += [_checkpoint_row(name, folder, "") for name, folder in imported().items()]
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


def _checkpoint_row(name: str, folder: Path, speed: str) -> dict[str, Any]:
    from gnnpot.hub.checkpoint import read_card

    content = read_card(folder)
    return {
        "name": name,
        "elements": len(content["elements"]),
        "licence": content["card"]["licence"].partition(" (")[0],
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "speed": speed,
        "energy_reference": content["card"]["energy_reference"].partition(",")[0],
        "cached": True,
        "path": str(folder),
    }


def _row(entry: "Published", fidelity: str | None) -> dict[str, Any]:
    from gnnpot.hub.cache import checkpoint_folder

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
    names: Annotated[
        list[str], typer.Argument(help="Names of published potentials (`gnnpot models`), or folders of matgl's M3GNet.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Convert anew what is in the cache already.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="What a folder's potential is to be called.")] = None,
    trained_with: Annotated[
        str | None, typer.Option(help="Version of matgl that trained a folder's potential, if its files don't tell.")
    ] = None,
) -> None:
    """Fetch published potentials, check and convert them; from then on they work offline.

    Example: gnnpot import chgnet-0.3.0 7net-0

    Without internet, set GNNPOT_MIRROR to a folder or URL with NAME/FILE for each, or with the wheel. A download that
    was cut off goes on with the same command. GNNPOT_CACHE is where everything is kept.

    A folder in which matgl saved an M3GNet potential (model.json, state.pt) is converted too, and opened by its name
    from then on: gnnpot import downloads/M3GNet-MatPES-PBE-v2025.1-PES
    """
    from gnnpot.hub.importing import import_folder, import_published, is_matgl_folder
    from gnnpot.hub.registry import resolve

    folders = [Path(given) for given in names if is_matgl_folder(Path(given))]
    if len(names) > 1 and folders and name is not None:
        raise ConfigError("--name: is for one folder; import the others by commands of their own")
    if not folders and (name is not None or trained_with is not None):
        option = "--name" if name is not None else "--trained-with"
        raise ConfigError(f"{option}: is for a folder with model.json and state.pt of matgl, and {names[0]} is none")
    # an unknown name is better said before the first download than after it
    chosen = [resolve(given) for given in names if Path(given) not in folders]
    for entry, fidelity in chosen:
        with download_progress() as report:
            target = import_published(entry.full_name(fidelity), report, overwrite=force)
        _say(target)
    for folder in folders:
        _say(import_folder(folder, name, trained_with, overwrite=force))


def _say(folder: Path) -> None:
    Console(soft_wrap=True).print(f"{folder.name}: {folder}", highlight=False, markup=False)
