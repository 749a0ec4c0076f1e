"""Commands for named potentials and plug-ins.

- `gnnpot models` lists the named potentials.
- `gnnpot import` downloads published potentials to the cache.
- `gnnpot publish` makes a repository of a potential.
- `gnnpot plugins` lists the plug-ins of other packages.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import download_progress
from gnnpot.cli.console import Console
from gnnpot.cli.results import JsonOption
from gnnpot.errors import CheckpointError, ConfigError, GnnpotError
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from gnnpot.hub.catalogue import FrameErrors, ListedModel, Measured


#: whether the labels included dispersion: (text for a column, text for a card)
_DISPERSION = {True: ("yes", "included"), False: ("no", "not included"), None: ("", "not known")}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("models", rich_help_panel="Published potentials")(models)
    app.command("import", rich_help_panel="Published potentials")(import_command)
    app.command("publish", rich_help_panel="Published potentials")(publish_command)
    app.command("plugins", rich_help_panel="Inspect")(plugins_command)


def models(
    physics: Annotated[bool, typer.Option("--physics", help="Show deviations from physical laws.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the named potentials with their errors, speed, functional, licence and size.

    Example: gnnpot models --physics

    The columns 'near eq.' (frames near equilibrium) and 'stressed' (frames of high stress) have the mean absolute error
    of the energy (meV/atom) and the mean length of the force error (eV/Å), both against PBE and PBE+U; energies of
    another functional are not compared. 'ms' is the time of a molecular dynamics step of 64 atoms on two threads. 'MB'
    is the size of the download (at the first use or by `gnnpot import`), or 'here' if no download is needed. Every name
    can be given as --model, and so can 'fast' and 'accurate', which are shown below the names that they refer to. The
    default is used if no model is named.

    With --physics: the largest deviations in float64 (eV/Å) of forces from derivatives of the energy, and of forces of
    a rotated and a mirrored structure; and the jumps of energy (eV) and forces (eV/Å) when neighbours enter or leave
    the cutoff. The last column says whether the labels included dispersion.
    """
    from gnnpot.hub.catalogue import list_models

    found = list_models()
    if as_json:
        typer.echo(to_json(found))
        return
    if physics:
        Console().print(_physics_table(found))
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("name", no_wrap=True)
    for name in ("near eq.", "stressed", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("functional", overflow="fold", min_width=10)
    # wide enough for "Modified", and leaves room for "PBE and PBE+U" in 80 columns
    table.add_column("licence", overflow="fold", width=8)
    table.add_column("MB", justify="right", no_wrap=True)
    for model in found:
        measured = model.measured
        errors = [
            _errors(measured.near_equilibrium),
            _errors(measured.high_stress),
            _number(measured.milliseconds.get(64)),
        ]
        table.add_row(
            "\n  ".join((model.name, *filter(None, (_marks(model),)))),
            *errors,
            model.functional,
            model.licence.replace("-Clause", "-\nClause"),
            "here" if model.cached else f"{model.bytes / 1e6:.1f}",
        )
    console = Console()
    console.print(table)
    console.print("errors: meV/atom; eV/Å. Details: gnnpot models --help, gnnpot card NAME", highlight=False)


def _marks(model: "ListedModel") -> str:
    return ", ".join((*(["default"] if model.default else []), *model.words))


def _physics_table(models: "list[ListedModel]") -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("name", no_wrap=True)
    for name in ("forces = -dE/dr", "rotated", "mirrored", "jump: E", "F", "dispersion"):
        table.add_column(name, justify="right")
    for model in models:
        p = model.measured.physics
        values = () if p is None else (p.force_derivative, p.rotation, p.reflection, p.energy_jump, p.force_jump)
        cells = [f"{value:.0e}" for value in values] or [""] * 5
        table.add_row(model.name, *cells, _DISPERSION[model.measured.dispersion][0])
    return table


def physics_rows(measured: "Measured") -> list[tuple[str, str]]:
    """Rows of a card: (name, text) of the measured physics of a potential."""
    rows = [("dispersion", _DISPERSION[measured.dispersion][1])]
    if (p := measured.physics) is not None:
        kind = "derivatives of the energy" if p.conservative else "NOT derivatives of the energy"
        rows += [
            ("forces", f"{kind} (largest deviation {p.force_derivative:.0e} eV/Å)"),
            ("rotated structure", f"forces change by {p.rotation:.0e} eV/Å at most"),
            ("mirrored structure", f"forces change by {p.reflection:.0e} eV/Å at most"),
            ("neighbours that come and go", f"jumps of {p.energy_jump:.0e} eV and {p.force_jump:.0e} eV/Å at most"),
        ]
    return rows


def _errors(errors: "FrameErrors | None") -> str:
    if errors is None:
        return ""
    energy = "–" if errors.energy_error is None else f"{1000 * errors.energy_error:.0f}"
    return f"{energy}; {errors.force_error:.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def import_command(
    names: Annotated[
        list[str], typer.Argument(help="Published potentials (gnnpot models), or folders of M3GNets by matgl.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace potentials that are already in the cache.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name for the potential of a folder.")] = None,
    trained_with: Annotated[
        str | None, typer.Option(help="matgl version that trained a folder's potential, if the files lack it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download, verify and convert published potentials, for offline use.

    Example: gnnpot import chgnet-0.3.0 7net-0

    Potentials that can't be imported are listed at the end, with exit status 1; the others are imported. An interrupted
    download is resumed by the same command.

    GNNPOT_CACHE sets the cache folder. Without internet access, set GNNPOT_MIRROR to a folder or URL with NAME/FILE for
    each potential, or with the wheel.

    A folder in which matgl saved an M3GNet potential (model.json, state.pt) is converted too, and can then be opened by
    its name: gnnpot import downloads/M3GNet-MatPES-PBE-v2025.1-PES
    """
    from gnnpot.hub.importing import full_name_of, import_folder, import_published
    from gnnpot.hub.locating import is_matgl_folder

    folders = [Path(given) for given in names if is_matgl_folder(Path(given))]
    if len(names) > 1 and folders and name is not None:
        raise ConfigError("--name: is for one folder; import the others by commands of their own")
    if not folders and (name is not None or trained_with is not None):
        option = "--name" if name is not None else "--trained-with"
        raise ConfigError(f"{option}: is for a folder with model.json and state.pt of matgl, and {names[0]} is none")

    # an unknown name is reported before the first download
    chosen = {given: full_name_of(given) for given in names if Path(given) not in folders}

    def bring(given: str) -> Path:
        if given not in chosen:
            return import_folder(Path(given), name, trained_with, overwrite=force)
        with download_progress() as report:
            return import_published(chosen[given], report, overwrite=force)

    failed: dict[str, GnnpotError] = {}
    brought: list[Path] = []
    for given in names:
        try:
            brought.append(bring(given))
            if not as_json:
                _say(brought[-1])
        except GnnpotError as error:
            if len(names) == 1:
                raise
            failed[given] = error
    if as_json:
        typer.echo(to_json([{"name": folder.name, "path": folder} for folder in brought]))
    if failed:
        reasons = "".join(f"\n{given}: {str(error).removeprefix(f'{given}: ')}" for given, error in failed.items())
        raise CheckpointError(f"{len(failed)} of {len(names)} were not imported:{reasons}")


def _say(folder: Path) -> None:
    Console(soft_wrap=True).print(f"{folder.name}: {folder}", highlight=False)


def publish_command(
    model: Annotated[str, typer.Argument(help="Folder of a run or a checkpoint, or the name of a potential.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder.")],
    licence: Annotated[str, typer.Option(help="Licence (SPDX identifier); default: the licence on the card.")] = "",
    permission: Annotated[
        str, typer.Option(help="Who permits it, if the starting potential's licence does not; quoted in the README.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a Hugging Face Hub repository of a potential: README.md, config.json, card.json, model.safetensors.

    Example: gnnpot publish runs/mine -o to-upload --licence MIT

    Nothing is uploaded; `hf upload owner/name to-upload` does that. The uploaded potential can then be given as a model
    by hf:owner/name or hf:owner/name@revision. A fine-tuned or distilled potential is refused if the licence of the
    potential it was made from is missing or does not allow it.
    """
    from gnnpot.hub.publish import publish

    made = publish(model, output, licence=licence, permission=permission)
    if as_json:
        typer.echo(to_json({"path": made}))
    else:
        _say(made)


def plugins_command(
    as_json: JsonOption = False,
) -> None:
    """List the architectures, readers and properties of installed plug-ins, and whether they work.

    Example: gnnpot plugins
    """
    rows = _plugin_rows()
    if as_json:
        typer.echo(to_json(rows))
        return
    if not rows:
        typer.echo("no installed package adds to gnnpot")
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)


def _plugin_rows() -> list[dict[str, str]]:
    from gnnpot.data.readers.base import REGISTRY as READERS
    from gnnpot.models.architectures import REGISTRY as MODELS
    from gnnpot.plugins import Registry, plugins
    from gnnpot.properties.registry import REGISTRY as PROPERTIES

    rows = []
    registries: tuple[Registry[Any], ...] = (MODELS, READERS, PROPERTIES)
    for registry in registries:
        for name, declared in plugins(registry.group).items():
            state = "works"
            try:
                registry.find(name)
            except GnnpotError as error:
                state = str(error)
            if name in registry.own():
                state = "is not used, because gnnpot has one of this name"
            about = {"group": registry.group, "name": name}
            rows += [{**about, "package": f"{p.package} {p.version}", "state": state} for p in declared]
    return rows
