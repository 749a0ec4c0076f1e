"""`gnnpot models`, the potentials with a name; `gnnpot import`, which brings published ones into the cache; `gnnpot
publish`, which makes a repository of one; `gnnpot plugins`, what other packages add."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import download_progress
from gnnpot.cli.console import Console
from gnnpot.cli.results import JsonOption, to_json
from gnnpot.errors import CheckpointError, ConfigError, GnnpotError

if TYPE_CHECKING:
    from gnnpot.hub.catalogue import FrameErrors, ListedModel, Measured


#: whether a potential has dispersion in it: in a column, in words
_DISPERSION = {True: ("yes", "included"), False: ("no", "not included"), None: ("", "not known")}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("models", rich_help_panel="Published potentials")(models)
    app.command("import", rich_help_panel="Published potentials")(import_command)
    app.command("publish", rich_help_panel="Published potentials")(publish_command)
    app.command("plugins", rich_help_panel="Inspect")(plugins_command)


def models(
    physics: Annotated[
        bool, typer.Option("--physics", help="What they keep of physics: forces as derivatives, mirror images, ….")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the potentials with a name, and what helps to choose: errors, speed, functional, licence, size.

    Example: gnnpot models --physics

    Errors are mean absolute errors of the energy (meV/atom) and mean lengths of the error of a force (eV/Å), near
    equilibrium and on frames of high stress (stressed), both of PBE and PBE+U: energies of another functional are not
    compared. Times are those of a step of molecular dynamics of 64 atoms on two threads. MB is the size of the
    download, at the first use or by `gnnpot import`, or "here" where there is nothing to download. Any of the names can
    be given as --model, and so can 'fast' and 'accurate', which stand under the names that they mean. The default is
    what is taken where none is named.

    With --physics: the largest deviations in float64, in eV/Å, of forces from derivatives of the energy, of forces of a
    rotated and of a mirrored structure, and of energy (eV) and forces where neighbours come and go. The last column
    says whether dispersion was in the labels.
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
    # the width of "Modified": a terminal of 80 has room for "PBE and PBE+U" then
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
    """What a potential keeps of physics, for its card."""
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

    What can't be imported is said at the end, once all others are; the exit status is 1 then.

    Without internet, set GNNPOT_MIRROR to a folder or URL with NAME/FILE for each, or with the wheel. A download that
    was cut off resumes with the same command. GNNPOT_CACHE is where everything is kept.

    A folder in which matgl saved an M3GNet potential (model.json, state.pt) is converted too, and opened by its name
    from then on: gnnpot import downloads/M3GNet-MatPES-PBE-v2025.1-PES
    """
    from gnnpot.hub.importing import full_name_of, import_folder, import_published
    from gnnpot.hub.locating import is_matgl_folder

    folders = [Path(given) for given in names if is_matgl_folder(Path(given))]
    if len(names) > 1 and folders and name is not None:
        raise ConfigError("--name: is for one folder; import the others by commands of their own")
    if not folders and (name is not None or trained_with is not None):
        option = "--name" if name is not None else "--trained-with"
        raise ConfigError(f"{option}: is for a folder with model.json and state.pt of matgl, and {names[0]} is none")

    # an unknown name is better said before the first download than after it
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
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that is made.")],
    licence: Annotated[str, typer.Option(help="Its licence, by the name of SPDX; default: that of its card.")] = "",
    permission: Annotated[
        str, typer.Option(help="Who allows it, where the starting potential's licence does not; the README quotes it.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a repository for the Hugging Face Hub of a potential: README.md, config.json, card.json, model.safetensors.

    Example: gnnpot publish runs/mine -o to-upload --licence MIT

    Nothing is uploaded; `hf upload owner/name to-upload` does that. From then on it is opened wherever a potential is
    named, as hf:owner/name, or hf:owner/name@revision. A potential that was fine-tuned or distilled is refused if the
    licence of the one it was made of is missing, or does not allow it.
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
    """Show the architectures, readers and properties that other installed packages add, and whether they work.

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
