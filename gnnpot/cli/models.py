"""`gnnpot models`, the potentials with a name, and `gnnpot import`, which brings published ones into the cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import download_progress
from gnnpot.cli.console import Console
from gnnpot.cli.results import JsonOption, to_json
from gnnpot.errors import ConfigError

if TYPE_CHECKING:
    from gnnpot.hub.catalogue import Errors


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("models", rich_help_panel="Published potentials")(models)
    app.command("import", rich_help_panel="Published potentials")(import_command)


def models(
    as_json: JsonOption = False,
) -> None:
    """Show the potentials with a name, and what helps to choose: errors, speed, functional, licence, size.

    Example: gnnpot models --json

    Errors are mean absolute errors of the energy (meV/atom) and mean lengths of the error of a force (eV/Å), near
    equilibrium and on frames of high stress. Times are those of a step of molecular dynamics of 64 atoms on two
    threads. Any of the names can be given as --model. The first is the default. Published ones are downloaded at the
    first use, or by `gnnpot import`.
    """
    from gnnpot.hub.catalogue import list_models

    found = list_models()
    if as_json:
        typer.echo(to_json(found))
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("name", no_wrap=True)
    for name in ("near eq.", "hot", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("functional", "licence"):
        table.add_column(name, overflow="fold", min_width=10)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for model in found:
        measured = model.measured
        errors = [_errors(measured.near_equilibrium), _errors(measured.hot), _number(measured.milliseconds.get(64))]
        table.add_row(
            model.name,
            *errors,
            model.functional,
            model.licence,
            f"{model.bytes / 1e6:.1f}",
            "yes" if model.cached else "",
        )
    console = Console()
    console.print(table)
    console.print("errors: meV/atom; eV/Å. Details: gnnpot models --help, gnnpot card NAME", highlight=False)


def _errors(errors: "Errors | None") -> str:
    return "" if errors is None else f"{1000 * errors.energy_error:.0f}; {errors.force_error:.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def import_command(
    names: Annotated[
        list[str], typer.Argument(help="Names of published potentials (`gnnpot models`), or folders of matgl's M3GNet.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Convert anew what is in the cache already.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="What a folder's potential is to be called.")] = None,
    trained_with: Annotated[
        str | None, typer.Option(help="Version of matgl that trained a folder's potential, if its files don't tell.")
    ] = None,
    as_json: JsonOption = False,
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
    targets: list[Path] = []
    for entry, fidelity in chosen:
        with download_progress() as report:
            targets.append(import_published(entry.full_name(fidelity), report, overwrite=force))
    targets += [import_folder(folder, name, trained_with, overwrite=force) for folder in folders]
    if as_json:
        typer.echo(to_json([{"name": folder.name, "path": folder} for folder in targets]))
        return
    for folder in targets:
        Console(soft_wrap=True).print(f"{folder.name}: {folder}", highlight=False)
