"""`gnnpot train`: train a potential."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gnnpot.cli.common import ALREADY_FINISHED, modification_time
from gnnpot.cli.console import Console
from gnnpot.cli.progress import Bars
from gnnpot.cli.results import JsonOption
from gnnpot.errors import ConfigError, suggest
from gnnpot.runs.json_text import to_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("train", rich_help_panel="Train")(train_command)


def train_command(
    config: Annotated[Path | None, typer.Argument(help="YAML configuration; `gnnpot config` prints examples.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Name of a configuration listed by `gnnpot config`, instead of a file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Resume an interrupted run, or start it again.")
    ] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override an option, as key.key=value. May be repeated. All options are in config.yaml of a run.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a potential.

    Example: gnnpot train configs/m3gnet.yaml --set data.train=my.extxyz.gz --set run=runs/mine --set epochs=50

    An interrupted run is resumed by the same command, with results identical to those of an uninterrupted run. With
    higher epochs, max_steps or max_minutes, a finished run is extended.
    """
    from gnnpot.training.config import read_config
    from gnnpot.training.run import MODEL, train

    options = read_config(_config_path(config, preset), settings or ())
    before = modification_time(options.run / MODEL) if resume else None
    with Bars(quiet) as bars:
        train(options, resume, progress=bars)
    if as_json:
        typer.echo(to_json(run_result(options.run)))
        return
    console = Console(soft_wrap=True)
    if before is not None and modification_time(options.run / MODEL) == before:
        console.print(ALREADY_FINISHED, highlight=False)
    console.print(f"model:  {options.run / MODEL}", highlight=False)
    console.print(f"report: {options.run / 'report' / 'report.html'}", highlight=False)


def run_result(run: Path, report: str = "report.html") -> dict[str, Any]:
    """Result of a run for `--json`: paths, and the metrics of its card."""
    from gnnpot.hub.checkpoint import load_checkpoint
    from gnnpot.training.run import MODEL

    folder = run / MODEL
    return {"model": folder, "report": run / "report" / report, "metrics": load_checkpoint(folder)[1].metrics}


def _config_path(config: Path | None, preset: str | None) -> Path:
    from gnnpot.config import presets

    if (config is None) == (preset is None):
        raise ConfigError("give either a YAML file or --preset NAME; `gnnpot config` lists the names")
    if config is not None:
        return config
    known = presets()
    if preset not in known:
        raise ConfigError(f"--preset {preset}: is no configuration of gnnpot; {suggest(str(preset), known)}")
    return known[preset]
