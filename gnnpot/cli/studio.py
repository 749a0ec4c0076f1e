"""`gnnpot studio`: the web interface."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gnnpot.cli.console import Console, styled
from gnnpot.domains import INTEGER_FROM_1, POSITIVE
from gnnpot.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("studio", rich_help_panel="Build")(studio)


def studio(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free port.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; all except loopback are reachable from the network.")
    ] = ("127.0.0.1"),
    keep: Annotated[
        Path | None, typer.Option(help="Keep structures and jobs in this folder; default: they are removed at the end.")
    ] = None,
    model: Annotated[
        list[Path] | None, typer.Option(help="Folder of an additional potential. May be repeated.")
    ] = None,
    jobs: Annotated[
        int | None, INTEGER_FROM_1, typer.Option(help="Number of parallel jobs; default: half of the cores.")
    ] = None,
    atoms: Annotated[int, INTEGER_FROM_1, typer.Option(help="Maximum number of atoms of a structure.")] = 5000,
    memory: Annotated[
        float | None, POSITIVE, typer.Option(min=0.5, help="Memory limit of a job (GiB); default: half of the memory.")
    ] = None,
    hours: Annotated[float, POSITIVE, typer.Option(min=0.001, help="Time limit of a job (h).")] = 2.0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Start the web interface: build structures from sentences, relax them, run dynamics, compute properties.

    Example: gnnpot studio

    Example: gnnpot studio --keep structures --model runs/mine --no-browser

    The address contains a token: anyone who has it can use the page. Ctrl-C stops the server; structures and jobs are
    then removed, unless --keep names a folder.
    """
    from gnnpot.studio import StudioConfig, serve

    for path in model or ():
        if not path.is_dir():
            raise ConfigError(f"--model: {path} is no folder; give the folder of a potential")
    console = Console(soft_wrap=True)

    def opened(address: str) -> None:
        console.print(styled(("gnnpot studio", "bold"), f" {address}"), highlight=False)
        stays = f"kept in {keep}" if keep is not None else "removed at the end (--keep FOLDER keeps them)"
        console.print(f"Structures and jobs are {stays}. Ctrl-C ends it.", highlight=False, style="dim")
        if browser:
            import webbrowser

            webbrowser.open(address)

    chosen = {"max_jobs": jobs, "max_memory": memory}
    limits: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    config = StudioConfig(
        host=host, port=port, keep=keep, models=tuple(model or ()), max_atoms=atoms, max_hours=hours, **limits
    )
    if not config.is_local:
        console.print("Anyone on the network who has the address can use the page.", style="yellow")
    serve(config, opened=opened)
    console.print("ended")
