"""`gnnpot relax` and `gnnpot md`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gnnpot.cli.common import Precision, open_calculator, read_structure
from gnnpot.config import from_mapping
from gnnpot.errors import DataError
from gnnpot.hub.shipped import DEFAULT

if TYPE_CHECKING:
    from ase import Atoms

    from gnnpot.engines.md import MDResult
    from gnnpot.engines.relax import Relaxation


class Optimizer(StrEnum):
    """Choices of `--optimizer`."""

    fire = "fire"
    lbfgs = "lbfgs"
    bfgs = "bfgs"


class Ensemble(StrEnum):
    """Choices of `--ensemble`."""

    nve = "nve"
    bussi = "bussi"
    langevin = "langevin"


StructureArgument = Annotated[Path, typer.Argument(help="A structure in any format that ASE reads.")]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
]
IndexOption = Annotated[int, typer.Option(help="Which structure of the file; -1 is the last.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; default: the model's.")]
DtypeOption = Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace output files that exist.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No live line.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("relax", rich_help_panel="Simulate")(relax)
    app.command("md", rich_help_panel="Simulate")(md)


def relax(
    structure: StructureArgument,
    model: ModelOption = DEFAULT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: STRUCTURE-relaxed.extxyz.")] = None,
    fmax: Annotated[float, typer.Option(min=0, help="eV/Å, the largest force that may be left.")] = 0.01,
    stress_max: Annotated[float, typer.Option(min=0, help="GPa, the largest stress that may be left.")] = 0.05,
    pressure: Annotated[float, typer.Option(help="GPa.")] = 0.0,
    fix_cell: Annotated[bool, typer.Option("--fix-cell", help="Relax the positions only.")] = False,
    steps: Annotated[int, typer.Option(min=0, help="The most steps to take.")] = 500,
    optimizer: Annotated[Optimizer, typer.Option(help="How to go downhill.")] = Optimizer.fire,
    trajectory: Annotated[Path | None, typer.Option(help="Write every step (ASE .traj).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last frame of the trajectory.")] = False,
    index: IndexOption = -1,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Relax positions and cell of a structure to a minimum of the energy, or of the enthalpy under pressure.

    Example: gnnpot relax POSCAR

    Example: gnnpot relax POSCAR --model path/to/checkpoint --output relaxed.cif

    Ends with status 3 if it has not converged; the structure is written all the same.
    """
    from gnnpot.engines.files import refuse_overwrite
    from gnnpot.engines.relax import relax as run_relaxation
    from gnnpot.units import GPA

    output = output or structure.with_name(f"{structure.stem}-relaxed.extxyz")
    refuse_overwrite(output, overwrite)
    relaxation = run_relaxation(
        read_structure(structure, index),
        open_calculator(model, device, dtype),
        fmax=fmax,
        stress_max=stress_max * GPA,
        pressure=pressure * GPA,
        cell=not fix_cell,
        steps=steps,
        optimizer=optimizer.value,
        trajectory=trajectory,
        resume=resume,
        overwrite=overwrite,
        progress=not quiet,
    )
    _write(output, relaxation.atoms, overwrite)
    Console().print(_relaxation_table(relaxation, output))
    if not relaxation.converged:
        raise typer.Exit(3)


def md(
    structure: StructureArgument,
    model: ModelOption = DEFAULT,
    ensemble: Annotated[Ensemble, typer.Option(help="nve, or nvt with a thermostat.")] = Ensemble.bussi,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="K.")] = 300.0,
    timestep: Annotated[float, typer.Option(help="fs.")] = 1.0,
    steps: Annotated[int, typer.Option(min=0, help="In all, those before a resume included.")] = 1000,
    taut: Annotated[float, typer.Option(help="fs, time constant of the bussi thermostat.")] = 100.0,
    friction: Annotated[float, typer.Option(help="1/fs, of the langevin thermostat.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of starting velocities and thermostat.")] = 0,
    keep_velocities: Annotated[bool, typer.Option("--keep-velocities", help="Those of the structure.")] = False,
    interval: Annotated[int, typer.Option(help="Steps between frames and log lines.")] = 10,
    trajectory: Annotated[Path | None, typer.Option(help="ASE .traj; default: STRUCTURE-md.traj.")] = None,
    log: Annotated[Path | None, typer.Option(help="Table of energies; default: STRUCTURE-md.log.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last frame of the trajectory.")] = False,
    index: IndexOption = -1,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run molecular dynamics.

    Example: gnnpot md POSCAR --temperature 600 --steps 10000

    Example: gnnpot md POSCAR --model 7net-0 --ensemble nve --timestep 0.5

    A run that was interrupted goes on with the same command and --resume.
    """
    from gnnpot.engines.md import MDConfig, run_md

    options = {
        "ensemble": ensemble.value,
        "temperature": temperature,
        "timestep": timestep,
        "steps": steps,
        "taut": taut,
        "friction": friction,
        "seed": seed,
        "keep_velocities": keep_velocities,
        "interval": interval,
    }
    config = from_mapping(MDConfig, options, where="md")
    trajectory = trajectory or structure.with_name(f"{structure.stem}-md.traj")
    log = log or structure.with_name(f"{structure.stem}-md.log")
    atoms, calculator = read_structure(structure, index), open_calculator(model, device, dtype)
    result = run_md(
        atoms,
        calculator,
        config,
        trajectory=trajectory,
        log=log,
        resume=resume,
        overwrite=overwrite,
        progress=not quiet,
    )
    Console().print(_md_table(result, trajectory, log))


def _write(path: Path, atoms: "Atoms", overwrite: bool) -> None:
    from ase.io import write

    from gnnpot.engines.files import write_atomically

    try:
        write_atomically(path, lambda temporary: write(temporary, atoms), overwrite=overwrite)
    except (ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise DataError(f"{path}: ASE can't write this format ({error}); give an ending like .extxyz or .cif") from None
    except Exception as error:
        if type(error).__name__ != "UnknownFileTypeError":
            raise
        raise DataError(f"{path}: ASE knows no format with this ending; give one like .extxyz or .cif") from None


def _relaxation_table(r: "Relaxation", output: Path) -> Table:
    from gnnpot.units import GPA

    state = "[green]converged" if r.converged else "[yellow]not converged"
    table = Table("", "", show_header=False, title=f"{r.atoms.get_chemical_formula()}: {state}[/] in {r.steps} steps")
    n = len(r.atoms)
    table.add_row("energy", f"{r.energy:.5f} eV  ({r.energy / n:.5f} eV/atom, was {r.initial_energy / n:.5f})")
    table.add_row("largest force", f"{r.fmax:.5f} eV/Å")
    if r.stress_max is not None:
        table.add_row("largest stress", f"{r.stress_max / GPA:.4f} GPa")
    if r.volume is not None:
        table.add_row("volume", f"{r.volume:.3f} Å³  (was {r.initial_volume:.3f})")
    table.add_row("written to", str(output))
    return table


def _md_table(r: "MDResult", trajectory: Path, log: Path) -> Table:
    table = Table("", "", show_header=False, title=f"{r.atoms.get_chemical_formula()}: {r.time / 1000:.3f} ps")
    table.add_row("steps", str(r.steps))
    table.add_row("temperature", f"{r.temperature:.1f} K (mean)")
    table.add_row("potential energy", f"{r.potential_energy / len(r.atoms):.5f} eV/atom (mean)")
    if r.energy_drift == r.energy_drift:
        table.add_row("energy drift", f"{r.energy_drift:.2e} eV/atom/ps")
    table.add_row("rate", f"{r.microseconds_per_atom_step:.0f} µs per atom and step")
    table.add_row("written to", f"{trajectory}, {log}")
    return table
