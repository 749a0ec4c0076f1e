"""`gnnpot evaluate`: errors on labelled frames or on published benchmarks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import MakeCalculator, Precision, changed_options
from gnnpot.cli.console import Console, styled
from gnnpot.cli.data import EnergyKey, ForcesKey, MagmomsKey, StressKey
from gnnpot.cli.progress import Bars
from gnnpot.cli.results import JsonOption
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, POSITIVE
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from gnnpot.properties.suites import Subject
    from gnnpot.training.evaluate import Evaluation

_SUITES = "diatomics, equations-of-state, elasticity, phonons, frames, relaxations, dynamics, speed"

#: options without effect on labelled frames
_OF_SUITES = ("data", "output", "count", "seed", "picoseconds", "processes", "fresh")

CountOption = Annotated[
    int | None,
    INTEGER_FROM_1,
    typer.Option(help="With --suite: maximum number of crystals, pairs or frames; default: all."),
]
ProcessesOption = Annotated[
    int,
    INTEGER_FROM_1,
    typer.Option("--processes", "-p", help="With --suite: number of processes, of one thread each."),
]
DataOption = Annotated[Path | None, typer.Option(help="With --suite: the data file, or a folder that contains it.")]
OthersArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DATA]...", help="Labelled frames: files or stores. With --suite: more models."),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("evaluate", rich_help_panel="Train")(evaluate_command)


def evaluate_command(
    model: Annotated[str, typer.Argument(help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")],
    others: OthersArgument = None,
    suite: Annotated[list[str] | None, typer.Option(help=f"Published benchmark: {_SUITES}. May be repeated.")] = None,
    data: DataOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="With --suite: output folder of results, table and plots.")
    ] = Path("evaluation"),
    count: CountOption = None,
    seed: Annotated[int, INTEGER_FROM_0, typer.Option(help="With --suite: seed of random choices.")] = 0,
    picoseconds: Annotated[float, POSITIVE, typer.Option(help="With --suite dynamics: simulation time (ps).")] = 10.0,
    processes: ProcessesOption = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="With --suite: discard earlier results.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report with parity plots to this folder.")] = None,
    format: Annotated[str | None, typer.Option(help="Format of the files; default: detected.")] = None,
    stress: Annotated[
        str | None, typer.Option(help="Stress convention of the files, as vasp-kbar; none: do not read stresses.")
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    magmoms_key: MagmomsKey = None,
    device: Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:1, …; default: the model's own.")] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute errors of a potential on labelled frames or on published benchmarks.

    Example: gnnpot evaluate runs/mine/model test.extxyz.gz --report test-report

    Example: gnnpot evaluate ase.calculators.emt:EMT copper.extxyz --stress none

    Example: gnnpot evaluate 7net-0 gnnpot-1 --suite phonons --suite diatomics -o evaluation -p 4

    An interrupted evaluation is resumed by the same command. The results of all potentials and suites in a folder are
    written to one table (table.md, table.json) and one plot per suite.
    """
    keys = {"energy_key": energy_key, "forces_key": forces_key, "stress_key": stress_key, "magmoms_key": magmoms_key}
    named: dict[str, Any] = {name: key for name, key in keys.items() if key is not None}
    models = [MakeCalculator(name, device, dtype) for name in (model, *(others or () if suite else ()))]
    if suite:
        if report or format or stress or named:
            raise ConfigError(
                "--report, --format, --stress, --…-key: are for labelled frames; leave them out with --suite"
            )
        options = {"count": count, "seed": seed, "picoseconds": picoseconds}
        _suites(models, suite, data, output, options, (processes, fresh, quiet, as_json))
    elif not others:
        raise ConfigError(f"give data (labelled frames), or a benchmark with --suite ({_SUITES})")
    elif unused := changed_options(evaluate_command, locals(), _OF_SUITES):
        raise ConfigError(
            f"{', '.join(unused)}: is for benchmarks; add --suite, or leave it out (--report FOLDER writes a report on "
            "labelled frames)"
        )
    else:
        if stress == "none" and stress_key:
            raise ConfigError("--stress-key: has no effect with --stress none, which reads no stresses; leave one out")
        named |= {"stress_key": ""} if stress == "none" else {"stress": stress} if stress else {}
        _frames(models[0], [Path(path) for path in others], (report, format, named), (quiet, as_json))


def _frames(
    make: MakeCalculator,
    data: list[Path],
    how: tuple[Path | None, str | None, dict[str, Any]],
    flags: tuple[bool, bool],
) -> None:
    from gnnpot.data.quantities import QUANTITIES
    from gnnpot.data.readers import RecordOptions
    from gnnpot.engines.calculator import Calculator
    from gnnpot.runs.guard import check_report_folder
    from gnnpot.training.config import DataConfig
    from gnnpot.training.evaluate import evaluate, evaluate_calculator
    from gnnpot.training.report import REPORT_NAMES, write_report
    from gnnpot.training.stores import read_labelled

    report, format, named = how
    quiet, as_json = flags
    if report is not None:
        check_report_folder(report, REPORT_NAMES, "--report")
    options: dict[str, Any] = {**named}
    reader = RecordOptions(**options)
    frames = read_labelled(data, DataConfig(train=tuple(data), format=format, reader=reader))
    calculator = make()
    own = isinstance(calculator, Calculator)
    console = Console()
    with Console(stderr=True, quiet=quiet).status(styled(f"asking {make.model}")):
        if isinstance(calculator, Calculator):
            evaluation = evaluate(calculator.potential, frames)
        else:
            evaluation = evaluate_calculator(calculator, frames)
    metrics = evaluation.metrics()
    if not any(metrics[f"{label}_count"] for label in QUANTITIES):
        names = ", ".join(map(str, data))
        raise DataError(f"{names}: no frame has a label; give labelled frames, or name the labels (--energy-key, …)")
    if as_json:
        typer.echo(to_json({**metrics, "dtype": calculator.parameters["dtype"] if own else None}))
    else:
        console.print(errors_table(evaluation))
    if report is not None:
        name = data[0].name.split(".")[0] if len(data) == 1 else "frames"
        precision = f" in {make.dtype.value}" if make.dtype else ""
        path = write_report(report, f"{make.model} on {', '.join(map(str, data))}{precision}", {name: evaluation})
        Console(soft_wrap=True, stderr=as_json).print(f"report: {path}", highlight=False)


def errors_table(evaluation: "Evaluation") -> Table:
    """Table of errors in the customary units, with the number of labels."""
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


def _suites(
    models: list[MakeCalculator], suites: list[str], data: Path | None, output: Path, options: dict,
    how: tuple[int, bool, bool, bool],
) -> None:  # fmt: skip
    from gnnpot.properties.suites import evaluate_suite, open_suite, write_report
    from gnnpot.properties.suites.speed import SPEED, measure_speed
    from gnnpot.runs.processes import one_thread

    processes, fresh, quiet, as_json = how
    if SPEED in suites and (processes > 1 or options["count"] is not None):
        raise ConfigError(
            "--processes, --count: --suite speed measures in one process and has no items; leave them out, or evaluate "
            "speed in a command of its own"
        )
    _refuse_unused(suites, data, options)
    opened = [open_suite(name, data, **options) for name in suites if name != SPEED]
    subjects = [_subject(make) for make in models]
    names = [subject.name for subject in subjects]
    if len(set(names)) < len(names):
        raise ConfigError(f"two models have one name among {', '.join(names)}; evaluate them into two folders")
    console = Console(soft_wrap=True)
    with Bars(quiet) as bars:
        for suite in opened:
            for subject in subjects:
                evaluate_suite(suite, subject, output, processes=processes, fresh=fresh, progress=bars)
                bars.pause()
                if not as_json:
                    console.print(f"{suite.label}, {subject.name}: done", highlight=False)
        if SPEED in suites:
            with one_thread():
                measure_speed({subject.name: subject.make() for subject in subjects}, output, progress=bars)
    path = write_report(output, names)
    if as_json:
        typer.echo(to_json(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))))
    else:
        console.print(f"table: {path}", highlight=False)


def _refuse_unused(suites: list[str], data: Path | None, options: dict[str, Any]) -> None:
    """Raise `ConfigError` for an option that none of the suites uses."""
    from gnnpot.properties.suites.registry import SUITES
    from gnnpot.properties.suites.speed import SPEED

    # an unknown suite is reported where it is opened
    if unknown := set(suites) - {*SUITES, SPEED}:
        suites = [*SUITES, *unknown]
    given = {"data": data, **options}
    users = {"picoseconds": ["dynamics"], "seed": ["relaxations", "dynamics"], "data": [*SUITES]}
    for name, names in users.items():
        if not set(names) & set(suites) and (unused := changed_options(evaluate_command, given, (name,))):
            which = "any suite but speed" if name == "data" else f"--suite {' or '.join(names)}"
            raise ConfigError(f"{unused[0]}: is for {which}; add it, or leave {unused[0]} out")


def _subject(make: MakeCalculator) -> "Subject":
    """Open a model; its name is the one on its card, or as given for a calculator of another package."""
    from gnnpot.engines.calculator import Calculator
    from gnnpot.hub.card import functional_name
    from gnnpot.properties.suites import Subject

    calculator = make()
    if not isinstance(calculator, Calculator):
        return Subject(make.model, make)
    card = calculator.card
    name = make.model if card is None or not card.name else card.name
    training, functional = ("", "") if card is None else (card.training_data, functional_name(card.functional))
    precision = "" if make.dtype is None else make.dtype.value
    # the hash of the file, the same for any dtype
    return Subject(name, make, calculator.parameters["weights_sha256"], training, functional, precision)
