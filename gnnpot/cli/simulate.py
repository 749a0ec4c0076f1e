"""`gnnpot relax` and `gnnpot md`: relaxation and molecular dynamics."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from gnnpot.cli.common import Precision, changed_options, default_output, open_calculator, read_structure
from gnnpot.cli.console import styled
from gnnpot.cli.many import ExecutorOption, ManyOption, ProcessesOption, check_many_options, compute_many
from gnnpot.cli.results import JsonOption, show
from gnnpot.domains import FINITE, INTEGER_FROM_0, INTEGER_FROM_1, NOT_NEGATIVE, POSITIVE, STEPS, TIMESTEP
from gnnpot.errors import ConfigError, DataError, counted
from gnnpot.hub.shipped import DEFAULT

if TYPE_CHECKING:
    from ase import Atoms

    from gnnpot.engines.md import MDConfig, MDResult
    from gnnpot.engines.relax import Relaxation, RelaxConfig
    from gnnpot.workflows.many import Relaxing


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
    nose_hoover = "nose-hoover"
    npt_isotropic = "npt-isotropic"
    npt_full = "npt-full"
    npt_langevin = "npt-langevin"
    npt_langevin_full = "npt-langevin-full"


class CellChoices(StrEnum):
    """Choices of `--cell`."""

    auto = "auto"
    full = "full"
    none = "none"
    ab = "ab"
    shape = "shape"
    volume = "volume"


StructureArgument = Annotated[Path, typer.Argument(help="A structure in any format that ASE reads.")]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
]
IndexOption = Annotated[int, typer.Option(help="Index of the structure in the file; -1 is the last.")]
DeviceOption = Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:1, …; default: the model's own.")]
DtypeOption = Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")]
CellOption = Annotated[
    CellChoices,
    typer.Option(
        help="Degrees of freedom of the cell: auto (directions without vacuum), full, none, ab (plane of a and b), "
        "shape (constant volume), volume (constant shape)."
    ),
]
FixOption = Annotated[
    str | None, typer.Option("--fix", help="Fixed atoms, by element, index or coordinate (Å), as Cu,0-15,z<5.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Overwrite existing output files.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]

TrajectoryOption = Annotated[
    Path | None, typer.Option(help="Trajectory file: .traj, .extxyz or .zarr (compact); default: STRUCTURE-md.traj.")
]
MaxTemperatureOption = Annotated[
    float, POSITIVE, typer.Option(help="Temperature (K) above which the run is stopped with an error.")
]
ElementsOption = Annotated[
    str | None, typer.Option(help="Elements whose positions are written to a .zarr trajectory, as Li,Na; default: all.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("relax", rich_help_panel="Simulate")(relax)
    app.command("md", rich_help_panel="Simulate")(md)


def relax(
    structure: StructureArgument,
    model: ModelOption = DEFAULT,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output file; default: STRUCTURE-relaxed.extxyz. With --many, a folder."),
    ] = None,
    fmax: Annotated[float, NOT_NEGATIVE, typer.Option(help="Convergence criterion: largest force (eV/Å).")] = 0.01,
    stress_max: Annotated[
        float, NOT_NEGATIVE, typer.Option(help="Convergence criterion: largest stress (GPa).")
    ] = 0.05,
    pressure: Annotated[float, FINITE, typer.Option(help="Pressure (GPa).")] = 0.0,
    cell: CellOption = CellChoices.auto,
    symmetry: Annotated[
        float | None, POSITIVE, typer.Option(help="Keep the symmetry found within this tolerance (Å); default: do not.")
    ] = None,
    fix: FixOption = None,
    steps: Annotated[int, STEPS, typer.Option(help="Maximum number of steps.")] = 500,
    optimizer: Annotated[Optimizer, typer.Option(help="Optimization algorithm.")] = Optimizer.fire,
    trajectory: Annotated[Path | None, typer.Option(help="Write all steps to this file (ASE .traj).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last frame of the trajectory.")] = False,
    many: ManyOption = False,
    processes: ProcessesOption = None,
    executor: ExecutorOption = "processes",
    index: IndexOption = -1,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Relax the positions and cell of a structure to a minimum of the energy, or of the enthalpy under pressure.

    Example: gnnpot relax POSCAR

    Example: gnnpot relax slab.cif --model path/to/checkpoint --fix "z<5" --output relaxed.cif

    Example: gnnpot relax pool.extxyz --many --processes 4

    If the relaxation does not converge, the structure is written and the exit status is 3. After Ctrl-C, the structure
    of the last step is written.
    """
    given = locals()
    one = {"--trajectory": trajectory is not None, "--resume": resume, "--index": index != -1}
    check_many_options(many, one, executor, processes)
    if many:
        chosen, flags = (model, device, dtype), (overwrite, quiet, as_json)
        folder = output or default_output(structure, "-relaxed")
        compute_many(structure, lambda: _relaxing(given), folder, chosen, (executor, processes), flags)
    else:
        _relax_one(given)


def _relax_config(given: dict[str, Any]) -> "RelaxConfig":
    from gnnpot.config import from_mapping
    from gnnpot.engines.relax import RelaxConfig
    from gnnpot.units import GPA

    if given["cell"] == CellChoices.none and changed_options(relax, given, ("stress_max",)):
        raise ConfigError("--stress-max: has no effect with --cell none, which keeps the cell; leave it out")
    options = {name: given[name] for name in ("fmax", "symmetry", "steps")}
    options |= {name: given[name] * GPA for name in ("stress_max", "pressure")}
    options |= {name: given[name].value for name in ("cell", "optimizer")}
    return from_mapping(RelaxConfig, options, where="relax")


def _relaxing(given: dict[str, Any]) -> "Relaxing":
    from gnnpot.workflows.many import Relaxing

    return Relaxing(_relax_config(given), given["fix"])


def _relax_one(given: dict[str, Any]) -> None:
    from gnnpot.cli.live import relax_line
    from gnnpot.engines.files import refuse_overwrite, refuse_same, structure_format
    from gnnpot.engines.relax import relax as run_relaxation

    structure, trajectory, overwrite = given["structure"], given["trajectory"], given["overwrite"]
    output = given["output"] or default_output(structure, "-relaxed.extxyz")
    config = _relax_config(given)
    refuse_same({"output": output, "trajectory": trajectory}, inputs=[structure])
    _check_relaxation_trajectory(trajectory)
    refuse_overwrite(output, overwrite)
    atoms = _structure(structure, given["index"], given["fix"])
    format = structure_format(output, atoms)
    calculator = open_calculator(given["model"], given["device"], given["dtype"])
    outputs: Any = {"trajectory": trajectory, "resume": given["resume"], "overwrite": overwrite}
    with relax_line(config.steps, len(atoms), not given["quiet"]) as progress:
        relaxation = run_relaxation(atoms, calculator, config, **outputs, progress=progress)
    _write(output, relaxation.atoms, format, overwrite)
    show(given["as_json"], _relaxation_json(relaxation, output), lambda: _relaxation_table(relaxation, output))
    if relaxation.interrupted:
        raise typer.Exit(130)
    if not relaxation.converged:
        raise typer.Exit(3)


def md(
    structure: StructureArgument,
    model: ModelOption = DEFAULT,
    ensemble: Annotated[
        Ensemble, typer.Option(help="Ensemble: NVE (nve), NVT (bussi, langevin, nose-hoover) or NPT (npt-…).")
    ] = Ensemble.bussi,
    temperature: Annotated[float, NOT_NEGATIVE, typer.Option("--temperature", "-T", help="Temperature (K).")] = 300.0,
    temperature_end: Annotated[
        float | None, NOT_NEGATIVE, typer.Option(help="Final temperature (K) of a linear ramp; default: none.")
    ] = None,
    pressure: Annotated[float, FINITE, typer.Option(help="Pressure (GPa) of the npt-… ensembles.")] = 0.0,
    timestep: Annotated[float, TIMESTEP, typer.Option(help="Time step (fs).")] = 1.0,
    steps: Annotated[int, STEPS, typer.Option(help="Total number of steps, including those before a resume.")] = 1000,
    taut: Annotated[float, POSITIVE, typer.Option(help="Time constant (fs) of bussi and Nosé-Hoover chains.")] = 100.0,
    taup: Annotated[float, POSITIVE, typer.Option(help="Time constant (fs) of the barostat.")] = 1000.0,
    friction: Annotated[float, POSITIVE, typer.Option(help="Friction (1/fs) of langevin and npt-langevin….")] = 0.01,
    seed: Annotated[int, INTEGER_FROM_0, typer.Option(help="Seed of the initial velocities and the thermostat.")] = 0,
    keep_velocities: Annotated[
        bool, typer.Option("--keep-velocities", help="Start with the file's velocities.")
    ] = False,
    max_temperature: MaxTemperatureOption = 20000.0,
    equilibration: Annotated[int, INTEGER_FROM_0, typer.Option(help="Initial steps excluded from the means.")] = 0,
    interval: Annotated[int, INTEGER_FROM_1, typer.Option(help="Number of steps between frames and log lines.")] = 10,
    fix: FixOption = None,
    trajectory: TrajectoryOption = None,
    elements: ElementsOption = None,
    log: Annotated[Path | None, typer.Option(help="Table of energies; default: STRUCTURE-md.log.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the trajectory, if it exists.")] = False,
    index: IndexOption = -1,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run molecular dynamics.

    Example: gnnpot md POSCAR --temperature 600 --steps 10000

    Example: gnnpot md POSCAR --model 7net-0 --ensemble npt-isotropic --pressure 2 --trajectory run.zarr

    An interrupted run is continued by the same command with --resume. The results are identical to those of an
    uninterrupted run.
    """
    config = _md_config(locals())
    from gnnpot.cli.live import md_line
    from gnnpot.engines.files import refuse_same
    from gnnpot.engines.md import run_md

    trajectory = trajectory or default_output(structure, "-md.traj")
    log = log or default_output(structure, "-md.log")
    refuse_same({"trajectory": trajectory, "log": log}, inputs=[structure])
    atoms = _structure(structure, index, fix)
    outputs: Any = {"trajectory": trajectory, "log": log, "resume": resume, "overwrite": overwrite}
    calculator = open_calculator(model, device, dtype)
    with md_line(steps, len(atoms), timestep, not quiet) as progress:
        result = run_md(atoms, calculator, config, **outputs, progress=progress)
    files = {"model": model, "trajectory": trajectory, "log": log}
    show(as_json, _md_json(result, files), lambda: _md_table(result, config, trajectory, log))


def _md_config(given: dict[str, Any]) -> "MDConfig":
    from gnnpot.config import from_mapping
    from gnnpot.engines.md import MDConfig

    options = {name: given[name] for name in MDConfig.__dataclass_fields__ if name in given}
    chosen = tuple(filter(None, (given["elements"] or "").replace(" ", "").split(",")))
    config = from_mapping(MDConfig, options | {"ensemble": given["ensemble"].value, "elements": chosen}, where="md")
    names = [name for name in ("pressure", "taut", "taup", "friction") if name not in config.decisive()]
    if unused := changed_options(md, given, names):
        raise ConfigError(
            f"{', '.join(unused)}: has no effect in ensemble '{config.ensemble}'; choose another with --ensemble, or "
            "leave it out"
        )
    return config


def _structure(path: Path, index: int, fix: str | None) -> "Atoms":
    from gnnpot.engines.constraints import fix_atoms

    atoms = read_structure(path, index)
    if fix:
        fix_atoms(atoms, fix)
    return atoms


def _check_relaxation_trajectory(path: Path | None) -> None:
    if path is not None and path.suffix != ".traj":
        raise DataError(f"{path}: the steps of a relaxation are written in ASE's format; name it {path.stem}.traj")


def _write(path: Path, atoms: "Atoms", format: str, overwrite: bool) -> None:
    from ase.io import write

    from gnnpot.engines.files import write_atomically

    write_atomically(path, lambda temporary: write(temporary, atoms, format=format), overwrite=overwrite)


def _relaxation_json(r: "Relaxation", output: Path) -> dict[str, Any]:
    names = ("converged", "interrupted", "steps", "energy", "initial_energy", "fmax", "stress_max", "volume")
    found = {name: getattr(r, name) for name in (*names, "initial_volume", "symmetry")}
    cell = {"cell": r.atoms.cell.array, "relaxed_cell": r.relaxed_cell.described}
    return {"formula": r.atoms.get_chemical_formula(), **found, **cell, "output": output}


def _md_json(r: "MDResult", named: dict[str, Any]) -> dict[str, Any]:
    """Results with units in the keys; `named` are the model and the files."""
    return {
        "formula": r.atoms.get_chemical_formula(),
        "atoms": len(r.atoms),
        "steps": r.steps,
        "time_fs": r.time,
        "averaged_steps": r.averaged,
        "temperature_K": r.temperature,
        "pressure_GPa": r.pressure,
        "potential_energy_eV": r.potential_energy,
        "potential_energy_eV_per_atom": r.potential_energy / len(r.atoms),
        "volume_A3": r.volume,
        "energy_drift_eV_per_atom_ps": r.energy_drift,
        "wall_time_s": r.seconds,
        "microseconds_per_atom_step": r.microseconds_per_atom_step,
        **named,
    }


def _relaxation_table(r: "Relaxation", output: Path) -> Table:
    from gnnpot.engines.cell_filters import space_group
    from gnnpot.units import GPA

    state = "converged" if r.converged else "interrupted" if r.interrupted else "not converged"
    end = (state, "green" if r.converged else "yellow")
    title = styled(f"{r.atoms.get_chemical_formula()}: ", end, f" in {counted(r.steps, 'step')}")
    table = Table("", "", show_header=False, title=title)
    n = len(r.atoms)
    table.add_row("energy", f"{r.energy:.5f} eV  ({r.energy / n:.5f} eV/atom, was {r.initial_energy / n:.5f})")
    table.add_row("largest force", f"{r.fmax:.5f} eV/Å")
    if r.stress_max is not None:
        table.add_row("largest stress", f"{r.stress_max / GPA:.4f} GPa")
    table.add_row("relaxed of the cell", r.relaxed_cell.described)
    if r.volume is not None and r.initial_volume is not None:
        change = 100 * (r.volume / r.initial_volume - 1)
        table.add_row("volume", f"{r.volume:.3f} Å³  (was {r.initial_volume:.3f}, {change:+.2f} %)")
        lengths = r.atoms.cell.cellpar()
        table.add_row("a, b, c", "  ".join(f"{x:.4f}" for x in lengths[:3]) + " Å")
        table.add_row("α, β, γ", "  ".join(f"{x:.3f}" for x in lengths[3:]) + "°")
    group, before = space_group(r.atoms), space_group(r.initial_atoms)
    if group:
        kept = ", kept" if r.symmetry else "" if group == before else f"  (was {before})"
        table.add_row("space group", f"{group}{kept}")
    table.add_row("written to", str(output))
    return table


def _md_table(r: "MDResult", config: "MDConfig", trajectory: Path, log: Path) -> Table:
    table = Table("", "", show_header=False, title=f"{r.atoms.get_chemical_formula()}: {r.time / 1000:.3f} ps")
    table.add_row("steps", str(r.steps))
    mean = f"mean of {r.averaged} steps" + (f" from {config.equilibration}" if config.equilibration else "")
    table.add_row("temperature", f"{r.temperature:.1f} K ({mean})")
    if r.pressure is not None:
        table.add_row("pressure", f"{r.pressure:.3f} GPa (mean of the frames)")
    table.add_row("potential energy", f"{r.potential_energy / len(r.atoms):.5f} eV/atom (mean)")
    if r.volume is not None:
        table.add_row("volume", f"{r.volume:.3f} Å³ (mean)")
    if r.energy_drift == r.energy_drift:
        table.add_row("energy drift", f"{r.energy_drift:.2e} eV/atom/ps")
    table.add_row("rate", f"{r.microseconds_per_atom_step:.0f} µs per atom and step")
    table.add_row("written to", f"{trajectory}, {log}")
    return table
