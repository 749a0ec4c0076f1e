"""`gnnpot conductivity`."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from gnnpot.cli.common import Precision, beside, chosen_device, count_bar, open_calculator, open_model, read_structure
from gnnpot.cli.console import Console, styled, to_table
from gnnpot.cli.results import JsonOption, to_json
from gnnpot.domains import NOT_NEGATIVE, NOT_ZERO, POSITIVE, WHOLE_FROM_0, WHOLE_FROM_1
from gnnpot.errors import ConfigError
from gnnpot.hub.shipped import DEFAULT

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from gnnpot.properties.conductivity.calc import ConductivityProgress
    from gnnpot.properties.conductivity.config import ConductivityConfig
    from gnnpot.properties.conductivity.result import Study


@dataclass(frozen=True, slots=True)
class MakeCalculator:
    """Opens a model in another process."""

    model: str
    device: str | None = None
    dtype: Precision | None = None

    def __call__(self) -> "BaseCalculator":
        return open_calculator(self.model, self.device, self.dtype)


class _Command(TyperCommand):
    """A command whose `--temperatures` takes the numbers that follow it, as many as there are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of every command."""
        return super().parse_args(ctx, _joined(args, ("--temperatures", "-T")))


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("conductivity", cls=_Command, rich_help_panel="Simulate")(conductivity)


def conductivity(
    structure: Annotated[Path | None, typer.Argument(help="A crystal in any format that ASE reads.")] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
    ] = DEFAULT,
    ion: Annotated[str, typer.Option(help="Element that moves.")] = "Li",
    charge: Annotated[
        float | None,
        NOT_ZERO,
        typer.Option(help="Charge of the ion in elementary charges; default: 1 for ions of one charge, such as Li."),
    ] = None,
    temperatures: Annotated[
        str, typer.Option("--temperatures", "-T", help="K, one or more, as 500 650 800.")
    ] = "500,650,800",
    trajectory: Annotated[
        list[Path] | None,
        typer.Option(help="Only analyse: a trajectory of each temperature, in their order. May be repeated."),
    ] = None,
    frame_time: Annotated[
        float | None, POSITIVE, typer.Option(help="fs between frames of a trajectory that does not say.")
    ] = None,
    supercell: Annotated[str | None, typer.Option(help="As 4x4x2; default: heights of at least 12 Å.")] = None,
    volume: Annotated[str, typer.Option(help="given: that of the structure; npt: the mean one at 0 GPa.")] = "given",
    production: Annotated[float, POSITIVE, typer.Option(help="ps at each temperature; more continues a run.")] = 100.0,
    equilibration: Annotated[float, NOT_NEGATIVE, typer.Option(help="ps before that.")] = 10.0,
    timestep: Annotated[float, POSITIVE, typer.Option(help="fs.")] = 2.0,
    interval: Annotated[float, POSITIVE, typer.Option(help="fs between frames.")] = 100.0,
    jump_length: Annotated[
        float, POSITIVE, typer.Option(help="Å, about the distance between neighbouring sites.")
    ] = 3.0,
    fit_from: Annotated[
        float | None,
        POSITIVE,
        typer.Option(help="ps, where the fits begin; default: where ions have left their sites."),
    ] = None,
    discard: Annotated[
        float, NOT_NEGATIVE, typer.Option(help="ps at the start of the production that the analysis leaves out.")
    ] = 0.0,
    seed: Annotated[int, WHOLE_FROM_0, typer.Option(help="Of the starting velocities and thermostats.")] = 0,
    processes: Annotated[
        int | None,
        WHOLE_FROM_1,
        typer.Option("--processes", "-p", help="Temperatures side by side, which share the cores; default: all."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default: STRUCTURE-conductivity.")
    ] = None,
    index: Annotated[int, typer.Option(help="Which structure of the file; -1 is the last.")] = -1,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; default: the model's.")] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live lines.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate a crystal at several temperatures, and find the conductivity of an ion with honest intervals.

    Example: gnnpot conductivity POSCAR -m my-model --ion Li --temperatures 350 400 500 650 800 --production 1000

    Example: gnnpot conductivity --trajectory run.traj --ion Li --temperatures 600

    Stopped at any time, the same command continues. The report is an HTML file beside JSON and PNG.
    """
    _conduct(locals())


def _conduct(given: dict[str, Any]) -> None:
    """The command, of its options by name."""
    structure, trajectory, output = given["structure"], given["trajectory"], given["output"]
    kelvin = _numbers(given["temperatures"], "--temperatures")
    analysis = {name: given[name] for name in ("jump_length", "fit_from", "discard", "seed")}
    analysis["charge"] = given["charge"] or 1.0
    options = {
        name: given[name] for name in ("ion", "volume", "timestep", "equilibration", "production", "interval", "seed")
    }
    options |= {"temperatures": list(kelvin), "supercell": _repeats(given["supercell"]), "analysis": analysis}
    from gnnpot.config import from_mapping
    from gnnpot.properties.conductivity.config import SINGLY_CHARGED, ConductivityConfig
    from gnnpot.properties.conductivity.report import write_report

    config = from_mapping(ConductivityConfig, options, where="conductivity")
    if given["charge"] is None and config.ion not in SINGLY_CHARGED:
        raise ConfigError(f"conductivity: the charge of {config.ion} ions has no default; give it, such as --charge 2")
    if (structure is None) == (trajectory is None):
        raise ConfigError("conductivity: give either a structure to simulate, or --trajectory to analyse")
    _refuse_unused(given)
    if trajectory is not None:
        place = output or beside(trajectory[0], "-conductivity")
        _check_report(place)
        study = _analysed(trajectory, config, given["frame_time"])
    else:
        place = output or beside(structure, "-conductivity")
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


def _refuse_unused(given: dict[str, Any]) -> None:
    """Refuse options of the simulation beside --trajectory, and those of trajectories beside a structure."""
    simulation = (
        "model", "supercell", "volume", "production", "equilibration", "timestep", "interval", "processes", "index",
        "device", "dtype",
    )  # fmt: skip
    only = simulation if given["trajectory"] is not None else ("frame_time",)
    defaults = inspect.signature(conductivity).parameters
    named = [f"--{name.replace('_', '-')}" for name in only if given[name] != defaults[name].default]
    if named:
        other = "simulations, and --trajectory only analyses" if only is simulation else "--trajectory"
        raise ConfigError(f"{', '.join(named)}: is for {other}; leave it out")


def _try_model(make: MakeCalculator, atoms: "Atoms") -> None:
    """Fail before processes are started; a published potential is fetched here, once."""
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
    """Refuse a folder with files that are none of a report's."""
    from gnnpot.properties.conductivity.report import NAMES
    from gnnpot.runs.guard import check_report_folder

    check_report_folder(folder, NAMES)


def _analysed(paths: list[Path], config: "ConductivityConfig", frame_time: float | None) -> "Study":
    from gnnpot.properties.conductivity import analyse, read_displacements
    from gnnpot.properties.conductivity.result import Study, conclude

    if len(paths) != len(config.temperatures):
        raise ConfigError(
            f"--temperatures: {len(config.temperatures)} are given for {len(paths)} of --trajectory; give one for each"
        )
    order = sorted(range(len(paths)), key=lambda k: config.temperatures[k])
    moved = [read_displacements(paths[k], config.ion, frame_time) for k in order]
    transports = [analyse(m, config.temperatures[k], config.analysis) for k, m in zip(order, moved, strict=True)]
    return Study(conclude(transports, config.analysis.charge), tuple(moved), (1, 1, 1))


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
    from gnnpot.properties.conductivity.report import fit_rows, transport_rows

    console = Console()
    for title, (head, rows) in (
        ("transport, with intervals of 95 %", transport_rows(study.result)),
        ("Arrhenius fits", fit_rows(study.result)),
    ):
        if rows:
            console.print(to_table([head, *rows], title))
    for reason in study.result.verdict:
        console.print(styled(("too short:", "yellow"), f" {reason}"))
    console.print(f"written to {path}")


def _joined(words: list[str], options: tuple[str, ...]) -> list[str]:
    """The words of a command line, in which the numbers after one of `options` are one word: its value."""
    end = words.index("--") if "--" in words else len(words)
    found: list[str] = []
    # whether the last word of `found` is such an option, and whether it is one's value, all of numbers
    named = valued = False
    for word in words[:end]:
        numbers = _is_numbers(word)
        if valued and numbers:
            found[-1] += f" {word}"
        else:
            # as --temperatures=350 400
            attached = word.startswith(tuple(f"{name}=" for name in options if name.startswith("--")))
            valued = attached or (named and numbers)
            found.append(word)
        named = not named and word in options
    return found + words[end:]


def _is_numbers(word: str) -> bool:
    try:
        return bool([float(part) for part in word.replace(",", " ").split()])
    except ValueError:
        return False


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise ConfigError(f"{option} {text}: is no list of numbers; give one like 500,650,800") from None
    if not found:
        raise ConfigError(f"{option}: is empty; give numbers like 500,650,800")
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
