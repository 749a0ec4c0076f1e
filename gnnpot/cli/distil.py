"""`gnnpot distil`: train a fast student potential on labels of a teacher."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnpot.cli.common import ALREADY_FINISHED, MakeCalculator, Precision, modification_time
from gnnpot.cli.console import Console, to_table
from gnnpot.cli.progress import Bars
from gnnpot.cli.results import JsonOption
from gnnpot.cli.train import run_result
from gnnpot.domains import INTEGER_FROM_1, POSITIVE
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase.calculators.calculator import BaseCalculator
    from rich.table import Table

    from gnnpot.workflows.distil.config import DistilConfig

_ONLY_IN_THE_REPORT = ("force RMSE, eV/Å", "high-uncertainty sample: force MAE", "dynamics, ps")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("distil", rich_help_panel="Train")(distil_command)


def distil_command(
    teacher: Annotated[
        str, typer.Argument(help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
    ],
    structures: Annotated[list[Path], typer.Argument(help="Initial structures: files or stores.")],
    student: Annotated[str | None, typer.Option(help="hdnnp (default), m3gnet, chgnet, sevennet or nequix.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default: runs/TEACHER-STUDENT.")
    ] = None,
    test: Annotated[list[Path] | None, typer.Option(help="Frames for the errors of teacher and student.")] = None,
    temperature: Annotated[
        list[float] | None,
        POSITIVE,
        typer.Option(help="Temperature (K) of the students' dynamics. May be repeated. Default: 300, 600, 1000."),
    ] = None,
    minutes: Annotated[
        float | None, POSITIVE, typer.Option(help="Total wall time (min), in place of step counts.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override an option, as key.key=value. May be repeated. All options are in distil.yaml of a run.",
        ),
    ] = None,
    processes: Annotated[int, INTEGER_FROM_1, typer.Option("--processes", "-p", help="Labelling processes.")] = 1,
    device: Annotated[str | None, typer.Option(help="Device of the teacher: cpu, cuda, …; default: its own.")] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the teacher; default: its own.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Resume an interrupted run, or start it again.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bars.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a small, fast student potential on labels of a teacher, on frames sampled by the student's own dynamics.

    Example: gnnpot distil 7net-0 my-structures.extxyz.gz --student hdnnp --minutes 60

    Example: gnnpot distil runs/finetuned/model frames.extxyz.gz --temperature 300 --temperature 900 --test dft.extxyz

    An interrupted distillation is resumed by the same command.
    """
    from gnnpot.workflows.distil import read_distil_config

    path = Path(teacher)
    # for runs/mine/model, the name of the run is more informative
    name = (path.parent if path.name == "model" else path).name.rpartition(":")[2]
    run = output or Path("runs") / f"{name}-{student or 'student'}"
    overrides = [] if minutes is None else [f"max_minutes={minutes}"]
    overrides += [f"test={[str(path) for path in test]}"] if test else []
    overrides += [f"explore.temperatures={temperature}"] if temperature else []
    overrides += settings or ()
    options = read_distil_config(teacher, structures, run=run, student=student, path=config, overrides=overrides)
    make = MakeCalculator(teacher, device, dtype)
    _distil(options, make, processes, (resume, quiet, as_json))


def _distil(
    options: "DistilConfig", make: "Callable[[], BaseCalculator]", processes: int, how: tuple[bool, bool, bool]
) -> None:
    from gnnpot.hub.checkpoint import load_checkpoint
    from gnnpot.training.run import MODEL
    from gnnpot.workflows.distil import distil
    from gnnpot.workflows.distil.report import errors_rows, rounds_rows, speed_rows

    resume, quiet, as_json = how
    console = Console(soft_wrap=True, quiet=as_json)
    before = modification_time(options.run / MODEL) if resume else None
    with Bars(quiet) as bars:

        def show(sentence: str) -> None:
            bars.pause()
            console.print(sentence, highlight=False)

        distil(options, resume, make_teacher=make, processes=processes, on_event=show, progress=bars)
    if as_json:
        typer.echo(to_json(run_result(options.run, "report.md")))
        return
    if before is not None and modification_time(options.run / MODEL) == before:
        console.print(ALREADY_FINISHED, highlight=False)
    card = load_checkpoint(options.run / MODEL)[1]
    console.print(_rounds_table(rounds_rows(card)))
    console.print(to_table(errors_rows(card), "Errors of the final student"))
    console.print(to_table(speed_rows(card), "Dynamics, µs per atom and step, one thread"))
    console.print(f"model:  {options.run / MODEL}", highlight=False)
    console.print(f"report: {options.run / 'report' / 'report.md'}", highlight=False)


def _rounds_table(rows: "Sequence[tuple[str, ...]]") -> "Table":
    """Table of the columns that fit into 80 characters; the report has all columns."""
    kept = [k for k, head in enumerate(rows[0]) if head not in _ONLY_IN_THE_REPORT]
    head, *rest = [tuple(row[k] for k in kept) for row in rows]
    # one word per line: the table would otherwise break lines within words
    heading = tuple(text.replace("-", "- ").replace(" ", "\n") for text in head)
    return to_table([heading, *rest], "Rounds", compact=True)
