"""`gnnpot studio`: the page in the browser."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gnnpot.cli.console import Console
from gnnpot.domains import POSITIVE, WHOLE_FROM_1
from gnnpot.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("studio", rich_help_panel="Build")(studio)


def studio(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback are open to a network.")] = (
        "127.0.0.1"
    ),
    keep: Annotated[Path | None, typer.Option(help="Keep structures and jobs in this folder.")] = None,
    model: Annotated[list[Path] | None, typer.Option(help="Folder of a further potential. May be repeated.")] = None,
    jobs: Annotated[int | None, WHOLE_FROM_1, typer.Option(help="Jobs at once; default: half of the cores.")] = None,
    atoms: Annotated[int, WHOLE_FROM_1, typer.Option(help="The most atoms of a structure.")] = 5000,
    memory: Annotated[
        float | None, POSITIVE, typer.Option(min=0.5, help="GiB of a job; default: half of the memory.")
    ] = None,
    hours: Annotated[float, POSITIVE, typer.Option(min=0.001, help="The longest job.")] = 2.0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Open a page in the browser: structures from sentences, relaxed, heated and measured live.

    Example: gnnpot studio

    Example: gnnpot studio --keep structures --model runs/mine --no-browser

    The address holds a token: who has it can use the page. It ends with Ctrl-C; then everything goes unless --keep
    names a folder.
    """
    from gnnpot.studio import StudioConfig, serve

    for path in model or ():
        if not path.is_dir():
            raise ConfigError(f"--model: {path} is no folder; give the folder of a potential")
    console = Console(soft_wrap=True)

    def opened(address: str) -> None:
        console.print(f"[bold]gnnpot studio[/] {address}", highlight=False)
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
