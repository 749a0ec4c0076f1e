"""Options and output of commands that compute many structures.

gnnpot relax pool.extxyz --many -o relaxed --processes 4
gnnpot relax pool.extxyz --many -o relaxed --executor dask:tcp://node1:8786
mpiexec -n 5 gnnpot relax pool.extxyz --many -o relaxed --executor mpi
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import MakeCalculator
from gnnpot.cli.progress import Bars
from gnnpot.cli.results import show
from gnnpot.domains import INTEGER_FROM_1
from gnnpot.errors import ConfigError
from gnnpot.runs.executors import EXECUTORS, open_executor

if TYPE_CHECKING:
    from gnnpot.workflows.many import Calculation, Many

ManyOption = Annotated[
    bool,
    typer.Option(
        "--many",
        help="Compute all structures of a file or store; the output is a folder. A failure is a row of its table.",
    ),
]
ProcessesOption = Annotated[
    int | None, INTEGER_FROM_1, typer.Option("--processes", "-p", help="Number of worker processes; default: 1.")
]
ExecutorOption = Annotated[str, typer.Option("--executor", help=f"Executor: {EXECUTORS}.")]


def check_many_options(many: bool, one: dict[str, bool], executor: str, processes: int | None) -> None:
    """Raise an error for options that do not go with `--many`, or need it.

    Args:
        many: Value of `--many`.
        one: {name: whether it was given} of the options for one structure only.
        executor: Value of `--executor`.
        processes: Value of `--processes`.

    Raises:
        ConfigError: The message names the option.
    """
    if many and (wrong := [name for name, given in one.items() if given]):
        raise ConfigError(f"{wrong[0]}: is of one structure, and --many computes all; leave one of the two out")
    if not many and (processes is not None or executor != "processes"):
        name = "--executor" if processes is None else "--processes"
        raise ConfigError(f"{name}: is of many structures; give --many too, or leave it out")


def compute_many(
    structures: Path, calculation: Callable[[], "Calculation"], output: Path, model: tuple[str, str | None, Any],
    executor: tuple[str, int | None], flags: tuple[bool, bool, bool],
) -> None:  # fmt: skip
    """Compute all structures of a file or store, and print a summary.

    Args:
        structures: The file or store.
        calculation: Function that checks the options and returns the calculation for each structure.
        output: Output folder.
        model: Name, device and dtype of the model, as given.
        executor: Name of the executor and number of processes, as given.
        flags: (start from the beginning, quiet, print JSON).

    Raises:
        Exit: Status 3, if a structure failed or a relaxation did not converge.
    """
    fresh, quiet, as_json = flags
    # entered first, because MPI ranks other than the first work and exit inside it
    with open_executor(*executor) as opened:
        from gnnpot.runs.guard import check_not_input
        from gnnpot.workflows.many import Model, open_structures, run_many

        check_not_input({"output": output}, [structures])
        make = MakeCalculator(*model)
        wanted = calculation()
        with Bars(quiet) as bars:
            found = run_many(
                open_structures(structures), wanted, Model(make, model[0]), output,
                executor=opened, fresh=fresh, progress=bars,
            )  # fmt: skip
    show(as_json, _json(found), lambda: _table(found))
    if found.failed or found.not_converged:
        raise typer.Exit(3)


def _json(found: "Many") -> dict[str, Any]:
    names = ("structures", "failed", "not_converged", "errors", "resumed_from", "table")
    return {"output": found.folder, **{name: getattr(found, name) for name in names}}


def _table(found: "Many") -> Table:
    table = Table("", "", show_header=False, box=SIMPLE_HEAD, title=str(found.folder))
    table.add_row("structures", str(found.structures))
    if found.not_converged:
        table.add_row("not converged", str(found.not_converged))
    table.add_row("failed", str(found.failed))
    for error, count in found.errors.items():
        table.add_row("", f"{count}: {error}")
    table.add_row("written", ", ".join(sorted(path.name for path in found.folder.iterdir())))
    return table
