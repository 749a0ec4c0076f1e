"""`gnnpot finetune`: train a potential further on frames of one system."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnpot.cli.common import ALREADY_FINISHED, modification_time
from gnnpot.cli.console import Console, to_table
from gnnpot.cli.data import EnergyKey, ForcesKey, MagmomsKey, StressKey, StressOption
from gnnpot.cli.progress import Bars
from gnnpot.cli.results import JsonOption
from gnnpot.cli.train import run_result
from gnnpot.domains import INTEGER_FROM_2
from gnnpot.errors import ConfigError, suggest
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnnpot.workflows.finetune.aims import Aim
    from gnnpot.workflows.finetune.config import FineTuneConfig
    from gnnpot.workflows.finetune.refit import Refit

AimOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        help="Aim: this-system (lowest errors for the new system, larger errors for others) or general (other systems "
        "keep their accuracy, the new one gains less). Default: this-system; with --compare: general.",
    ),
]

SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override an option, as key.key=value. May be repeated. All options are in config.yaml of a run."
    ),
]

OnlyOption = Annotated[
    list[str] | None, typer.Option(help="With --compare: name of a candidate to run; default: all. May be repeated.")
]

FramesOption = Annotated[
    list[int] | None,
    INTEGER_FROM_2,
    typer.Option(help="With --compare: number of training frames; default: all. May be repeated."),
]

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder of the run; default: runs/MODEL-DATA.")
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("finetune", rich_help_panel="Train")(finetune_command)


def finetune_command(
    model: Annotated[str, typer.Argument(help="Name or path of the potential to start from.")],
    data: Annotated[list[Path], typer.Argument(help="Labelled frames of the new system: files or stores.")],
    output: OutputOption = None,
    aim: AimOption = None,
    strategy: Annotated[str | None, typer.Option(help="all (default), head, frozen, lora or replay.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options.")] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    magmoms_key: MagmomsKey = None,
    stress: StressOption = None,
    settings: SettingsOption = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Resume an interrupted run, or start it again.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Compare several strategies, and training from scratch, on the same frames."),
    ] = False,
    only: OnlyOption = None,
    frames: FramesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a potential on frames of one system: refit element references, train, report errors before and after.

    Example: gnnpot finetune nequix-oam-1 my-frames.extxyz.gz

    Example: gnnpot finetune nequix-oam-1 my-frames.extxyz.gz --for general

    Example: gnnpot finetune chgnet-0.3.0 vasprun.extxyz --strategy replay --set epochs=20 -o runs/mine

    Example: gnnpot finetune chgnet-0.3.0 my.extxyz --compare --frames 20 --frames 200 --set max_minutes=20
    """
    from gnnpot.workflows.finetune.config import read_finetune_config

    keys = {"energy_key": energy_key, "forces_key": forces_key, "stress_key": stress_key, "magmoms_key": magmoms_key}
    named = [f"data.reader.{name}={key!r}" for name, key in {**keys, "stress": stress}.items() if key is not None]
    run = output or Path("runs") / f"{Path(model).name}-{data[0].name.split('.')[0]}"

    def configure(count: int | None = None) -> "FineTuneConfig":
        more = [] if count is None else [f"data.frames={count}"]
        return read_finetune_config(
            model,
            data,
            run=run,
            path=config,
            overrides=[*named, *(settings or ()), *more],
            short=strategy,
            aim=_aim("general" if compare and aim is None and strategy is None else aim),
        )

    if compare:
        _compare(configure, only, frames, resume, quiet, as_json)
    elif only or frames:
        raise typer.BadParameter("they go with --compare; else use --set data.frames", param_hint="--frames, --only")
    else:
        _finetune(configure(), resume, quiet, as_json)


def _aim(given: str | None) -> "Aim | None":
    from gnnpot.workflows.finetune.aims import AIMS

    for aim in AIMS:
        if aim == given:
            return aim
    if given is not None:
        raise ConfigError(f"--for {given}: is no aim; {suggest(given, AIMS)}")
    return None


def _finetune(options: "FineTuneConfig", resume: bool, quiet: bool, as_json: bool) -> None:
    from gnnpot.hub.checkpoint import load_checkpoint
    from gnnpot.training.run import MODEL
    from gnnpot.workflows.finetune.retention import retention_rows
    from gnnpot.workflows.finetune.run import finetune

    console = Console(soft_wrap=True, quiet=as_json)

    def show(news: "str | Refit") -> None:
        bars.pause()
        if isinstance(news, str):
            console.print(news, highlight=False)
        else:
            console.print(to_table(news.rows(), "Element references"))
            console.print(news.sentence(), highlight=False)

    before = modification_time(options.run / MODEL) if resume else None
    with Bars(quiet) as bars:
        finetune(options, resume, progress=bars, on_event=show)
    if as_json:
        typer.echo(to_json(run_result(options.run)))
        return
    if before is not None and modification_time(options.run / MODEL) == before:
        console.print(ALREADY_FINISHED, highlight=False)
    measured = load_checkpoint(options.run / MODEL)[1].metrics["finetune"]
    console.print(to_table(retention_rows(measured), "What was won, what was lost"))
    if "earlier" in measured:
        console.print(measured["earlier"]["meaning"], highlight=False)
    console.print(f"model:  {options.run / MODEL}", highlight=False)
    console.print(f"report: {options.run / 'report' / 'report.html'}", highlight=False)


def _compare(
    configure: "Callable[[int | None], FineTuneConfig]",
    only: list[str] | None,
    frames: list[int] | None,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from gnnpot.workflows.compare import compare

    console = Console(soft_wrap=True, quiet=as_json)

    def show(name: str, number: int, total: int) -> None:
        console.print(f"run {number} of {total}: {name}", highlight=False)

    with Bars(quiet) as bars:
        comparison = compare(configure, frames or (None,), only, resume, progress=bars, show=show)
    if as_json:
        head, *rows = comparison.rows()
        typer.echo(to_json({"folder": comparison.folder, "rows": [dict(zip(head, row, strict=True)) for row in rows]}))
        return
    console.print(to_table(comparison.rows(), "Errors on the test frames"))
    for name in ("table.md", "comparison.png"):
        console.print(comparison.folder / name, highlight=False)
