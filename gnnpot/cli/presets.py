"""`gnnpot config`: print the training configurations that come with gnnpot."""

from typing import Annotated

import typer

from gnnpot.cli.results import JsonOption
from gnnpot.errors import ConfigError, suggest
from gnnpot.runs.json_text import to_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("config", rich_help_panel="Train")(config_command)


def config_command(
    name: Annotated[str | None, typer.Argument(help="Name of a configuration; default: list the names.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a configuration that comes with gnnpot, including the options it extends; without a name, list all.

    Example: gnnpot config m3gnet > mine.yaml
    """
    import yaml

    from gnnpot.config import presets, read_yaml

    known = presets()
    if name is None:
        typer.echo(to_json(list(known)) if as_json else "\n".join(known))
        return
    if name not in known:
        raise ConfigError(f"{name}: is no configuration of gnnpot; {suggest(name, known)}")
    if as_json:
        typer.echo(to_json(read_yaml(known[name])))
        return
    text = known[name].read_text(encoding="utf-8")
    if not any(line.startswith("extends:") for line in text.splitlines()):
        # printed as it is, to keep all comments
        typer.echo(text, nl=False)
        return
    comments = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    typer.echo(comments + yaml.safe_dump(read_yaml(known[name]), sort_keys=False, allow_unicode=True), nl=False)
