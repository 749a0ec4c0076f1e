"""`gnnpot conductivity`: ionic conductivity from molecular dynamics."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from gnnpot.cli.common import (
    MakeCalculator,
    Precision,
    changed_options,
    chosen_device,
    count_bar,
    default_output,
    open_model,
    read_structure,
)
from gnnpot.cli.console import Console, styled, to_table
from gnnpot.cli.results import JsonOption
from gnnpot.domains import FINITE, INTEGER_FROM_0, INTEGER_FROM_1, NOT_NEGATIVE, NOT_ZERO, POSITIVE
from gnnpot.errors import ConfigError
from gnnpot.hub.shipped import DEFAULT
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from ase import Atoms

    from gnnpot.properties.conductivity.calc import ConductivityProgress
    from gnnpot.properties.conductivity.config import ConductivityConfig
    from gnnpot.properties.conductivity.result import Study


#: K, of simulations
_DEFAULT_TEMPERATURES = "500,650,800"
#: options of the analysis
_ANALYSIS = ("charge", "jump_length", "fit_from", "discard", "framework_limit", "seed")


VolumeOption = Annotated[
    str,
    typer.Option(help="Cell: given (as in the file), npt (mean volume) or npt-full (mean cell, with its shape)."),
]
TemperaturesOption = Annotated[
    str | None,
    typer.Option(
        "--temperatures",
        "-T",
        help="Temperatures (K) as 500 650 800, the default of simulations, or one for each --trajectory.",
    ),
]
TypesOption = Annotated[
    str | None, typer.Option(help="Elements of types 1, 2, … of a LAMMPS dump without elements, as Li,P,S.")
]
FitFromOption = Annotated[
    float | None,
    POSITIVE,
    typer.Option(help="Shortest lag (ps) of the fits; default: where the ions have left their sites."),
]
FrameworkLimitOption = Annotated[
    float,
    POSITIVE,
    typer.Option(help="Largest D of another element relative to the ion's; a temperature above is left out."),
]


class _Command(TyperCommand):
    """Command whose option `--temperatures` takes any number of values, separated by spaces."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the values of `--temperatures` into one word before parsing."""
        return super().parse_args(ctx, _joined(args, ("--temperatures", "-T")))


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("conductivity", cls=_Command, rich_help_panel="Simulate")(conductivity)


def conductivity(
    structure: Annotated[Path | None, typer.Argument(help="Crystal structure in any format that ASE reads.")] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
    ] = DEFAULT,
    ion: Annotated[str, typer.Option(help="Element of the mobile ion.")] = "Li",
    charge: Annotated[
        float | None, NOT_ZERO, typer.Option(help="Charge of the ion (e); default: 1, of ions such as Li and Na only.")
    ] = None,
    temperatures: TemperaturesOption = None,
    trajectory: Annotated[
        list[Path] | None,
        typer.Option(help="Analyse this trajectory instead of simulating; repeat it for each temperature, in order."),
    ] = None,
    frame_time: Annotated[
        float | None, POSITIVE, typer.Option(help="Time (fs) between the frames of --trajectory.")
    ] = None,
    types: TypesOption = None,
    supercell: Annotated[str | None, typer.Option(help="Supercell, as 4x4x2; default: heights ≥ 12 Å.")] = None,
    volume: VolumeOption = "given",
    pressure: Annotated[float, FINITE, typer.Option(help="Pressure (GPa) of --volume npt and npt-full.")] = 0.0,
    production: Annotated[
        float, POSITIVE, typer.Option(help="Production time (ps) per temperature; a larger value extends a run.")
    ] = 100.0,
    equilibration: Annotated[float, NOT_NEGATIVE, typer.Option(help="Equilibration (ps) before production.")] = 10.0,
    timestep: Annotated[float, POSITIVE, typer.Option(help="Time step (fs).")] = 2.0,
    interval: Annotated[float, POSITIVE, typer.Option(help="Time (fs) between frames.")] = 100.0,
    jump_length: Annotated[float, POSITIVE, typer.Option(help="Typical distance (Å) between sites.")] = 3.0,
    fit_from: FitFromOption = None,
    discard: Annotated[
        float, NOT_NEGATIVE, typer.Option(help="Initial production time (ps) that is excluded from the analysis.")
    ] = 0.0,
    framework_limit: FrameworkLimitOption = 0.02,
    seed: Annotated[int, INTEGER_FROM_0, typer.Option(help="Seed of initial velocities and thermostats.")] = 0,
    processes: Annotated[
        int | None,
        INTEGER_FROM_1,
        typer.Option("--processes", "-p", help="Number of temperatures in parallel, sharing the cores; default: all."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default: STRUCTURE-conductivity.")
    ] = None,
    index: Annotated[int, typer.Option(help="Index of the structure in the file; -1 is the last.")] = -1,
    device: Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:1, …; default: the model's own.")] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the ionic conductivity of a crystal by molecular dynamics, with 95 % intervals.

    Example: gnnpot conductivity POSCAR -m my-model --ion Li --temperatures 350 400 500 650 800 --production 1000

    Example: gnnpot conductivity --trajectory run.traj --ion Li --temperatures 600

    An interrupted run is resumed by the same command. The report is written as HTML, JSON and PNG.
    """
    _conduct(locals())


def _conduct(given: dict[str, Any]) -> None:
    """Run the command with the options `given`, by name."""
    structure, trajectory, output = given["structure"], given["trajectory"], given["output"]
    kelvin = _temperatures(given["temperatures"] or _DEFAULT_TEMPERATURES)
    analysis = {name: given[name] for name in _ANALYSIS}
    options = {
        name: given[name]
        for name in ("ion", "volume", "pressure", "timestep", "equilibration", "production", "interval", "seed")
    }
    options |= {"temperatures": list(kelvin), "supercell": _repeats(given["supercell"]), "analysis": analysis}
    from gnnpot.config import from_mapping
    from gnnpot.properties.conductivity.config import ConductivityConfig
    from gnnpot.properties.conductivity.report import write_report

    _check_source(given)
    _refuse_unused(given)
    config = from_mapping(ConductivityConfig, options, where="conductivity")
    if trajectory is not None:
        place = output or default_output(trajectory[0], "-conductivity")
        _check_report(place)
        study = _analysed(trajectory, config, given["frame_time"], _words(given["types"] or ""))
    else:
        place = output or default_output(structure, "-conductivity")
        atoms = read_structure(structure, given["index"])
        make = MakeCalculator(given["model"], given["device"], given["dtype"])
        _try_model(make, atoms)
        study = _simulated(atoms, make, config, place, given["processes"], given["quiet"])
    title = f"Conductivity of {config.ion} in {(structure or trajectory[0]).name}"
    path = write_report(study, place, title)
    if given["as_json"]:
        typer.echo(to_json({"report": path, **study.result.to_json()}))
    else:
        _show(study, path)


def _check_source(given: dict[str, Any]) -> None:
    """Refuse neither or both of a structure and --trajectory, and a trajectory without its temperature."""
    structure, trajectory = given["structure"], given["trajectory"]
    if structure is None and trajectory is None:
        raise ConfigError("conductivity: give either a structure to simulate, or --trajectory to analyse")
    if structure is not None and trajectory is not None:
        raise ConfigError(
            f"conductivity: {structure} is a structure to simulate, and --trajectory is to analyse; give one of them, "
            "and --trajectory before each of several trajectories"
        )
    if trajectory is not None and given["temperatures"] is None:
        raise ConfigError("--temperatures: is not given; give the temperature (K) of each --trajectory")


def _refuse_unused(given: dict[str, Any]) -> None:
    """Refuse options of the simulation beside --trajectory, and those of trajectories beside a structure."""
    simulation = (
        "model", "supercell", "volume", "pressure", "production", "equilibration", "timestep", "interval", "processes",
        "index", "device", "dtype",
    )  # fmt: skip
    only = simulation if given["trajectory"] is not None else ("frame_time", "types")
    if named := changed_options(conductivity, given, only):
        other = "simulations, and --trajectory only analyses" if only is simulation else "--trajectory"
        raise ConfigError(f"{', '.join(named)}: is for {other}; leave it out")
    if given["volume"] == "given" and changed_options(conductivity, given, ("pressure",)):
        raise ConfigError("--pressure: is for --volume npt and npt-full; choose one of them, or leave it out")


def _try_model(make: MakeCalculator, atoms: "Atoms") -> None:
    """Open the model once before processes start: errors appear early, a published potential is downloaded once."""
    from gnnpot.engines.calculator import Calculator
    from gnnpot.models.base import check_elements

    chosen_device(make.device)
    if ":" not in make.model:
        open_model(make.model)
    calculator = make()
    if isinstance(calculator, Calculator):
        check_elements(atoms.numbers, calculator.elements, atoms.get_chemical_formula())
    else:
        calculator.get_potential_energy(atoms.copy())


def _check_report(folder: Path) -> None:
    """Raise an error if the folder has files that are not part of a report."""
    from gnnpot.properties.conductivity.report import NAMES
    from gnnpot.runs.guard import check_report_folder

    check_report_folder(folder, NAMES)


def _analysed(paths: list[Path], config: "ConductivityConfig", frame_time: float | None, types: list[str]) -> "Study":
    from gnnpot.properties.conductivity import analyse, read_displacements
    from gnnpot.properties.conductivity.conditions import trajectory_conditions
    from gnnpot.properties.conductivity.result import Study, conclude

    if len(paths) != len(config.temperatures):
        raise ConfigError(
            f"--temperatures: {len(config.temperatures)} are given for {len(paths)} of --trajectory; give one for each"
        )
    order = sorted(range(len(paths)), key=lambda k: config.temperatures[k])
    moved = [read_displacements(paths[k], config.ion, frame_time, types) for k in order]
    transports = [analyse(m, config.temperatures[k], config.analysis) for k, m in zip(order, moved, strict=True)]
    kelvin = [config.temperatures[k] for k in order]
    conditions = trajectory_conditions([paths[k] for k in order], moved, kelvin, config.analysis)
    return Study(conclude(transports, config.analysis.charge_of(config.ion), conditions), tuple(moved), (1, 1, 1))


def _simulated(
    atoms: "Atoms",
    make: MakeCalculator,
    config: "ConductivityConfig",
    folder: Path,
    processes: int | None,
    quiet: bool,
) -> "Study":
    from gnnpot.compiler.together import usable_cores
    from gnnpot.properties.conductivity.calc import calc

    with count_bar(quiet, speed_estimate_period=600) as bars:
        tasks = {t: bars.add_task(f"{t:g} K: waiting", total=None) for t in config.temperatures}

        def report(p: "ConductivityProgress") -> None:
            name = {"pressure": "constant pressure", "volume": "equilibration", "run": "production"}[p.stage]
            bars.update(
                tasks[p.temperature], description=f"{p.temperature:g} K: {name}", completed=p.done, total=p.total
            )

        side = processes or min(len(config.temperatures), usable_cores())
        return calc(atoms, make, config, folder, processes=side, progress=report)


def _show(study: "Study", path: Path) -> None:
    from gnnpot.properties.conductivity.tables import narrow_tables

    console = Console()
    for title, rows in narrow_tables(study.result):
        console.print(to_table(rows, title, compact=True), "")
    for lead, reasons in (
        ("not solid:", study.result.melted),
        ("too short:", study.result.too_short),
        ("caution:", study.result.cautions),
    ):
        for reason in reasons:
            console.print(styled((lead, "yellow"), f" {reason}"))
    console.print(f"written to {path}")


def _joined(words: list[str], options: tuple[str, ...]) -> list[str]:
    """Join the numbers that follow one of `options` on a command line into one word, the value of the option."""
    end = words.index("--") if "--" in words else len(words)
    found: list[str] = []
    # named: the last word of `found` is one of `options`; valued: it is a value of one, made of numbers
    named = valued = False
    for word in words[:end]:
        numbers = _is_numbers(word)
        if valued and numbers:
            found[-1] += f" {word}"
        else:
            # for example --temperatures=350 400
            attached = word.startswith(tuple(f"{name}=" for name in options if name.startswith("--")))
            valued = attached or (named and numbers)
            found.append(word)
        named = not named and word in options
    return found + words[end:]


def _is_numbers(word: str) -> bool:
    try:
        return bool([_kelvin(part) for part in _words(word)])
    except ValueError:
        return False


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _kelvin(word: str) -> float:
    """A temperature, with or without its unit: 500 or 500K."""
    return float(word.removesuffix("K"))


def _temperatures(text: str) -> tuple[float, ...]:
    try:
        found = tuple(_kelvin(word) for word in _words(text))
    except ValueError:
        raise ConfigError(f"--temperatures {text}: is no list of numbers; give kelvin, like 500,650,800") from None
    if not found:
        raise ConfigError("--temperatures: is empty; give numbers like 500,650,800")
    return found


def _repeats(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        found = [int(word) for word in text.lower().replace("x", " ").split()]
    except ValueError:
        found = []
    if len(found) != 3 or min(found) < 1:
        raise ConfigError(f"--supercell {text}: is not of the form 4x4x2")
    return found
