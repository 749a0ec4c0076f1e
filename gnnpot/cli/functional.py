"""`gnnpot functional …`: orbital-free density functional theory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from gnnpot.cli.common import count_bar, read_structure
from gnnpot.cli.console import Console
from gnnpot.cli.results import JsonOption, show
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, POSITIVE
from gnnpot.errors import ConfigError, DataError, counted
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from rich.progress import TaskID

    from gnnpot.functional.data import Sample
    from gnnpot.functional.evaluate import SampleErrors
    from gnnpot.functional.solver import OrbitalFreeResult

app = typer.Typer(
    no_args_is_help=True, help="Orbital-free DFT: training data, training and use of kinetic energy functionals."
)

DEFAULT_FUNCTIONAL = "gnnpot-kedf-1"
StructureArgument = Annotated[Path, typer.Argument(help="A structure in any format that ASE reads.")]
FunctionalOption = Annotated[
    str,
    typer.Option(
        "--functional", "-f", help="Functional: gnnpot-kedf-1, a folder, or tf, vw, tfvw, tf+vw, wt, hc, lkt, pgsl."
    ),
]
CutoffOption = Annotated[float, POSITIVE, typer.Option(help="Cutoff of the grid (1/bohr), at least 6.5.")]
IndexOption = Annotated[int, typer.Option(help="Index of the structure in the file; -1 is the last.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Overwrite existing output files.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
ProcessesOption = Annotated[
    int, INTEGER_FROM_1, typer.Option("--processes", "-p", help="Number of parallel calculations, of one thread each.")
]


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="functional", rich_help_panel="Orbital-free DFT")


@app.command()
def data(
    folder: Annotated[Path, typer.Argument(help="Output folder of the samples; existing samples are kept.")],
    crystal: Annotated[
        list[str] | None, typer.Option(help="One of the ten semiconductors. May be repeated; default: all.")
    ] = None,
    triples: Annotated[
        int, INTEGER_FROM_0, typer.Option(help="Number of non-interacting samples of each crystal.")
    ] = 12,
    structures: Annotated[
        Path | None, typer.Option(help="File of crystals to use instead; their elements need pseudopotentials.")
    ] = None,
    others: Annotated[
        bool, typer.Option("--others", help="Add vacancies, random displacements, random cells and other structures.")
    ] = False,
    processes: ProcessesOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute Kohn-Sham training data: densities, kinetic energies, kinetic potentials.

    Example: gnnpot functional data runs/kedf-data --processes 2

    An interrupted command is resumed by the same command.
    """
    from gnnpot.functional.data import generate
    from gnnpot.functional.plans import DataConfig, plan, structure_tasks

    if structures is not None and (crystal or others):
        option = "--crystal" if crystal else "--others"
        raise ConfigError(f"{option} and --structures exclude each other; give one of them")
    if structures is not None:
        tasks = structure_tasks(_read_all(structures), triples)
    else:
        chosen: dict[str, Any] = {"crystals": tuple(crystal)} if crystal else {}
        tasks = plan(DataConfig(triples=triples, others=others, **chosen))
    with count_bar(quiet) as bar:
        task = bar.add_task("Kohn-Sham", total=len(tasks))
        generate(tasks, folder, processes, lambda done, _: bar.update(task, completed=done))
    _print_result_line(
        as_json, {"folder": folder, "samples": len(tasks)}, f"{counted(len(tasks), 'sample')} in {folder}"
    )


@app.command()
def train(
    samples: Annotated[list[Path], typer.Argument(help="Folders of samples (gnnpot functional data).")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; the functional is written to its folder model.")
    ],
    config: Annotated[Path | None, typer.Option(help="YAML file of training options.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Exclude all samples of this crystal. May be repeated.")
    ] = None,
    seed: Annotated[int | None, INTEGER_FROM_0, typer.Option(help="Seed of the initial weights.")] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a kinetic energy functional on samples.

    Example: gnnpot functional train runs/kedf-data --without GaAs -o runs/kedf

    An interrupted command is resumed by the same command.
    """
    from gnnpot.config import read_yaml
    from gnnpot.functional.store import save
    from gnnpot.functional.train import check_training_folder, read_train_config
    from gnnpot.functional.train import train as run

    check_training_folder(output)
    mapping = read_yaml(config) if config else {}
    # anything but mappings is refused below
    if seed is not None and isinstance(mapping, dict) and isinstance(mapping.setdefault("network", {}), dict):
        mapping["network"]["seed"] = seed
    chosen = read_train_config(mapping, str(config or "train"))
    used = _without(_read_samples(samples), without or [])
    with count_bar(quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=steps)
            bar.update(tasks[stage], completed=step, description=f"{stage}, loss {loss:.2e}")

        functional = run(used, chosen, output, progress)
    about = {"samples": len(used), "crystals": sorted({s.crystal for s in used})}
    save(functional, output / "model", about, overwrite=True)
    said = f"{output / 'model'}: trained on {counted(len(used), 'sample')}"
    _print_result_line(as_json, {"model": output / "model", **about}, said)


@app.command()
def evaluate(
    functional: Annotated[str, typer.Argument(help="Name or folder of a functional.")],
    samples: Annotated[list[Path], typer.Argument(help="Folders of samples.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the errors to this JSON file.")] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute errors of a functional, at its self-consistent densities, against Kohn-Sham samples.

    Example: gnnpot functional evaluate gnnpot-kedf-1 runs/kedf-data
    """
    import dataclasses
    import json

    from gnnpot.engines.files import refuse_overwrite, refuse_same
    from gnnpot.functional.evaluate import evaluate as run
    from gnnpot.functional.store import open_functional
    from gnnpot.runs.files import write_text

    refuse_overwrite(output, overwrite)
    refuse_same({"output": output}, inputs=samples)
    opened, content = open_functional(functional), _read_samples(samples)
    with count_bar(quiet) as bar:
        task = bar.add_task("solving", total=None)
        results = run(opened, content, lambda done, total: bar.update(task, completed=done, total=total))
    show(as_json, results, lambda: _evaluation_table(results))
    if output is not None:
        write_text(output, json.dumps([dataclasses.asdict(result) for result in results], indent=1) + "\n")


@app.command()
def solve(
    structure: StructureArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the density to this Gaussian cube file.")
    ] = None,
    functional: FunctionalOption = DEFAULT_FUNCTIONAL,
    cutoff: CutoffOption = 6.5,
    start: Annotated[Path | None, typer.Option(help="Cube file of the initial density.")] = None,
    index: IndexOption = -1,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the self-consistent density, energy, forces and stress of a structure.

    Example: gnnpot functional solve POSCAR -o rho.cube
    """
    from gnnpot.engines.files import refuse_overwrite, refuse_same
    from gnnpot.functional import solver
    from gnnpot.functional.cube import read_cube, write_cube
    from gnnpot.functional.store import open_functional

    refuse_same({"output": output}, inputs=[structure] if start is None else [structure, start])
    refuse_overwrite(output, overwrite)
    _check_ending(output, (".cube", ".cub"))
    atoms = read_structure(structure, index)
    settings = solver.SolverSettings(cutoff=cutoff, tolerance=1e-9)
    beginning = None if start is None else read_cube(start)[1]
    with Console(stderr=True).status("…") as status:
        result = solver.solve(
            atoms,
            open_functional(functional),
            settings,
            beginning,
            report=lambda step, energy, fall: status.update(
                f"step {step}: {energy:.6f} Ha, expected {fall:.1e} Ha/atom"
            ),
        )
    if output is not None:
        write_cube(output, atoms, result.density)
    if as_json:
        typer.echo(to_json(_in_ase_units(result, output)))
    else:
        _print_result(result, atoms.get_chemical_symbols(), output)


@app.command()
def plot(
    structure: StructureArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output file: .png, .pdf or .svg.")],
    functional: Annotated[
        list[str] | None,
        typer.Option("--functional", "-f", help="Functional; default: gnnpot-kedf-1. May be repeated."),
    ] = None,
    kohn_sham: Annotated[bool, typer.Option("--kohn-sham", help="Also draw the Kohn-Sham density.")] = False,
    axis: Annotated[
        int, typer.Option(min=1, max=3, help="Cell vector (1, 2 or 3) along which plane averages are drawn.")
    ] = 3,
    index: IndexOption = -1,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw densities along a cell vector, along a bond, and in a plane.

    Example: gnnpot functional plot POSCAR -f gnnpot-kedf-1 -f wt --kohn-sham -o density.png
    """
    from gnnpot.engines.files import refuse_overwrite
    from gnnpot.functional.kohn_sham import solve as solve_kohn_sham
    from gnnpot.functional.plans import structure_tasks
    from gnnpot.functional.plots import draw_densities
    from gnnpot.functional.solver import solve as solve_orbital_free
    from gnnpot.functional.store import open_functional

    refuse_overwrite(output, overwrite)
    _check_ending(output, (".png", ".pdf", ".svg"))
    atoms = read_structure(structure, index)
    task = structure_tasks([(structure.stem, atoms)])[0]
    opened = {name: open_functional(name) for name in functional or [DEFAULT_FUNCTIONAL]}
    densities = {}
    with Console(stderr=True).status("…") as status:
        if kohn_sham:
            status.update("Kohn-Sham")
            densities["Kohn-Sham"] = solve_kohn_sham(task.atoms, task.settings).density
        for name, one in opened.items():
            status.update(name)
            densities[name] = solve_orbital_free(task.atoms, one).density
    draw_densities(output, task.atoms, densities, axis - 1)
    _print_result_line(as_json, {"output": output, "densities": list(densities)}, f"{output}: {', '.join(densities)}")


def _read_all(path: Path) -> "list[tuple[str, Atoms]]":
    from gnnpot.data.structure_files import iterate_structures

    found = enumerate(iterate_structures(path))
    return [(f"{path.stem}-{number:04d}-{atoms.get_chemical_formula()}", atoms) for number, atoms in found]


def _check_ending(path: Path | None, endings: tuple[str, ...]) -> None:
    if path is not None and path.suffix.lower() not in endings:
        raise DataError(f"{path}: has an unknown ending; give a name that ends in {' or '.join(endings)}")


def _read_samples(folders: "Sequence[Path]") -> "list[Sample]":
    from gnnpot.functional.data import read_sample

    samples = []
    for folder in folders:
        paths = sorted(folder.glob("*.npz"))
        if not paths:
            raise DataError(f"{folder}: holds no samples; make them with gnnpot functional data {folder}")
        samples += [read_sample(path) for path in paths]
    return samples


def _without(samples: "list[Sample]", crystals: list[str]) -> "list[Sample]":
    known = {sample.crystal for sample in samples}
    for name in crystals:
        if name not in known:
            raise ConfigError(f"--without {name}: there is no such crystal; there are {', '.join(sorted(known))}")
    return [sample for sample in samples if sample.crystal not in crystals]


def _evaluation_table(results: "Sequence[SampleErrors]") -> Table:
    table = Table("structure", box=None)
    for heading in ("density", "energy", "T at KS density", "forces", "steps"):
        table.add_column(heading, justify="right")
    table.add_row("", "∫|Δρ|/N", "meV/atom", "meV/atom", "eV/Å", "", style="dim")
    for one in results:
        energies = f"{1000 * one.energy_error:.1f}", f"{1000 * one.kinetic_error:.1f}"
        table.add_row(one.name, f"{one.density_error:.4f}", *energies, f"{one.force_error:.3f}", str(one.steps))
    return table


def _print_result_line(as_json: bool, value: dict, sentence: str) -> None:
    if as_json:
        typer.echo(to_json(value))
    else:
        Console(soft_wrap=True).print(sentence, highlight=False)


def _in_ase_units(result: "OrbitalFreeResult", output: Path | None) -> dict:
    """Output of `--json`: energies (eV), forces (eV/Å), stress (eV/Å³), number of steps, grid, output file."""
    from gnnpot.units import BOHR, HARTREE, stress_to_voigt

    return {
        "energies": {name: value * HARTREE for name, value in result.energies.items()},
        "energy": result.energy * HARTREE,
        "forces": result.forces * HARTREE / BOHR,
        "stress": stress_to_voigt(result.stress) * HARTREE / BOHR**3,
        "steps": result.steps,
        "grid": list(result.grid.shape),
        "output": output,
    }


def _print_result(result: "OrbitalFreeResult", symbols: list[str], output: Path | None) -> None:
    from gnnpot.units import BOHR, GPA, HARTREE, stress_to_voigt

    console = Console()
    table = Table("part", box=None)
    table.add_column("eV", justify="right")
    for name, value in {**result.energies, "total": result.energy}.items():
        table.add_row(name, f"{value * HARTREE:.6f}")
    console.print(table)
    forces = Table("atom", "x", "y", "z", box=None, title="forces, eV/Å", title_justify="left")
    for number, (symbol, row) in enumerate(zip(symbols, result.forces * HARTREE / BOHR, strict=True)):
        forces.add_row(f"{number} {symbol}", *(f"{value:.5f}" for value in row))
    console.print(forces)
    stress = stress_to_voigt(result.stress) * HARTREE / BOHR**3 / GPA
    console.print("stress (xx yy zz yz xz xy), GPa: " + " ".join(f"{value:.4f}" for value in stress))
    grid = " x ".join(map(str, result.grid.shape))
    console.print(f"{result.steps} steps on {grid} points" + (f"; density in {output}" if output else ""))
