"""The command line: `gnnpot …`.

Exit statuses of all commands:

| status | meaning                                                                                           |
|--------|---------------------------------------------------------------------------------------------------|
| 0      | success                                                                                           |
| 1      | a `GnnpotError`, or an error of the file system, printed as one sentence                          |
| 2      | error in the command line: an unknown option, or a value out of range                             |
| 3      | the command finished, but a check failed, a structure failed, or a relaxation did not converge    |
| 130    | interrupted by Ctrl-C                                                                             |
| 143    | terminated by SIGTERM                                                                             |

Results are written to the standard output, everything else to the standard error. `--json` prints one JSON value. Tab
completion: `gnnpot --install-completion`.
"""

import logging
import sys
from typing import NoReturn

import typer

from gnnpot.cli import (
    build,
    choose,
    conductivity,
    data,
    distil,
    evaluate,
    finetune,
    functional,
    inspect,
    label,
    lammps,
    models,
    mp,
    predict,
    presets,
    property,
    simulate,
    studio,
    train,
    warm,
)
from gnnpot.cli.common import compilation_progress
from gnnpot.cli.console import Console, printable, replace_unencodable_characters, styled
from gnnpot.cli.domains import check_domains
from gnnpot.cli.sentences import in_command_line_words, sentence_of
from gnnpot.errors import GnnpotError
from gnnpot.extras import needs_extra

app = typer.Typer(
    name="gnnpot",
    help="Interatomic potentials: data, training, evaluation, relaxation and molecular dynamics.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
choose.register(data.app)
mp.register(data.app)
app.add_typer(data.app, name="data", rich_help_panel="Data")
_simulate = (simulate, predict, property, conductivity, lammps)
_other = (inspect, models, presets, build, studio, warm)
for commands in (label, train, evaluate, finetune, distil, functional, *_simulate, *_other):
    commands.register(app)
check_domains(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        import gnnpot

        typer.echo(f"gnnpot {gnnpot.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Show more log messages."),
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        handlers=[_log_handler()],
    )


class _Formatter(logging.Formatter):
    """Formatter of log lines; control characters are shown as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log_handler() -> logging.Handler:
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_path=False)
    handler.setFormatter(_Formatter("%(message)s"))
    return handler


def _fail(sentence: str) -> NoReturn:
    text = styled(("error:", "bold red"), f" {printable(sentence)}")
    Console(stderr=True, soft_wrap=True).print(text, highlight=False)
    sys.exit(1)


def main() -> None:
    """Entry point of the console script."""
    replace_unencodable_characters()
    try:
        with needs_extra("this command"), compilation_progress():
            app()
    except GnnpotError as error:
        _fail(in_command_line_words(str(error), app, sys.argv[1:]))
    except OSError as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        _fail(sentence)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        sys.exit(130)
