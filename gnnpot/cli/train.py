"""`gnnpot train` and `gnnpot evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gnnpot.cli.common import ENDED, open_calculator, written_at
from gnnpot.cli.progress import Bars
from gnnpot.errors import ConfigError, suggest

if TYPE_CHECKING:
    from gnnpot.training.evaluate import Evaluation


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("train", rich_help_panel="Train")(train_command)
    app.command("evaluate", rich_help_panel="Train")(evaluate_command)


def train_command(
    config: Annotated[Path | None, typer.Argument(help="YAML file; `gnnpot config` prints some to begin with.")] = None,
    preset: Annotated[str | None, typer.Option(help="In place of a file: a name that `gnnpot config` lists.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Resume a run that was stopped, or begin it again.")
    ] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace an option: key.key=value. May be repeated; config.yaml of a run has all."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Train a potential. The same command resumes a run that was stopped or killed, to the same numbers, and
    extends one with higher epochs, max_steps or max_minutes.

    Example: gnnpot train configs/m3gnet.yaml --set data.train=my.extxyz.gz --set run=runs/mine --set epochs=50
    """
    from gnnpot.training.config import read_config
    from gnnpot.training.run import MODEL, train

    options = read_config(_config_path(config, preset), settings or ())
    before = written_at(options.run / MODEL) if resume else None
    with Bars(quiet) as bars:
        train(options, resume, progress=bars)
    console = Console(soft_wrap=True)
    if before is not None and written_at(options.run / MODEL) == before:
        console.print(ENDED, highlight=False)
    console.print(f"model:  {options.run / MODEL}", highlight=False)
    console.print(f"report: {options.run / 'report' / 'report.html'}", highlight=False)


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


def evaluate_command(
    model: Annotated[str, typer.Argument(help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")],
    data: Annotated[list[Path], typer.Argument(help="Labelled frames: files or stores.")],
    report: Annotated[Path | None, typer.Option(help="Folder for a report with parity plots.")] = None,
    format: Annotated[str | None, typer.Option(help="Format of the files; default: by their names.")] = None,
    stress: Annotated[
        str | None, typer.Option(help="Stress convention of the files, as vasp-kbar; 'none': don't read stresses.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; default: the model's.")] = None,
) -> None:
    """Errors of a potential on labelled frames.

    Example: gnnpot evaluate runs/mine/model test.extxyz.gz --report test-report

    Example: gnnpot evaluate ase.calculators.emt:EMT copper.extxyz --stress none
    """
    from gnnpot.data.readers import RecordOptions
    from gnnpot.engines.calculator import Calculator
    from gnnpot.training.config import DataConfig
    from gnnpot.training.evaluate import evaluate, evaluate_calculator
    from gnnpot.training.report import write_report
    from gnnpot.training.stores import read_labelled

    reader = RecordOptions(stress_key="") if stress == "none" else RecordOptions(stress=stress)
    frames = read_labelled(data, DataConfig(train=tuple(data), format=format, reader=reader))
    calculator = open_calculator(model, device)
    console = Console()
    with console.status(f"asking {model}"):
        if isinstance(calculator, Calculator):
            evaluation = evaluate(calculator.potential, frames)
        else:
            evaluation = evaluate_calculator(calculator, frames)
    console.print(errors_table(evaluation))
    if report is not None:
        name = data[0].name.split(".")[0] if len(data) == 1 else "frames"
        path = write_report(report, f"{model} on {', '.join(map(str, data))}", {name: evaluation})
        Console(soft_wrap=True).print(f"report: {path}", highlight=False)


def errors_table(evaluation: "Evaluation") -> Table:
    """Errors in the units that people quote, and how many labels they come from."""
    from gnnpot.data.quantities import QUANTITIES

    table = Table("quantity", "unit", box=SIMPLE_HEAD)
    for head in ("MAE", "RMSE", "labels"):
        table.add_column(head, justify="right")
    metrics = evaluation.metrics()
    for label, quantity in QUANTITIES.items():
        if metrics[f"{label}_count"]:
            unit, factor = quantity.error_unit
            mae, rmse = (f"{factor * metrics[f'{label}_{kind}']:.4g}" for kind in ("mae", "rmse"))
            table.add_row(quantity.title, unit, mae, rmse, f"{metrics[f'{label}_count']:,}")
    return table
