"""`gnnpot property`: compute a property of a structure with any calculator."""

import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import (
    ALREADY_FINISHED,
    Precision,
    changed_options,
    default_output,
    open_calculator,
    read_structure,
)
from gnnpot.cli.console import Console
from gnnpot.cli.many import ExecutorOption, ManyOption, ProcessesOption, check_many_options, compute_many
from gnnpot.cli.progress import Bars
from gnnpot.cli.results import JsonOption
from gnnpot.errors import ConfigError, PluginError
from gnnpot.hub.shipped import DEFAULT
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator

    from gnnpot.properties.registry import Property
    from gnnpot.workflows.many import PropertyOf

FORMAT = "gnnpot-property"
#: folder of finished calculations; removed when the result is written
CALCULATIONS = "calculations"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("property", rich_help_panel="Simulate")(property_command)


def property_command(
    name: Annotated[str | None, typer.Argument(help="Name of the property; default: list all.")] = None,
    structure: Annotated[
        Path | None,
        typer.Argument(help="A structure or trajectory in any format that ASE reads; default: list NAME's options."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
    ] = DEFAULT,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Set an option of the property, as name=value. May be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: STRUCTURE-NAME.")] = None,
    many: ManyOption = False,
    processes: ProcessesOption = None,
    executor: ExecutorOption = "processes",
    index: Annotated[int, typer.Option(help="Index of the structure in the file; -1 is the last.")] = -1,
    device: Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:1, …; default: the model's own.")] = None,
    dtype: Annotated[Precision | None, typer.Option(help="Precision of the model; default: its own.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again and replace an earlier result.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute a property of a structure. The result is a JSON file and a plot.

    Example: gnnpot property elastic POSCAR

    Example: gnnpot property phonons POSCAR -m 7net-0 --set length=15 --set "temperatures=[100, 300]"

    Example: gnnpot property elastic POSCAR -m ase.calculators.emt:EMT

    Example: gnnpot property elastic pool.extxyz --many --processes 4

    An interrupted command is resumed by the same command: finished calculations stay in the folder until the result is
    written.
    """
    from gnnpot.config import apply_overrides
    from gnnpot.properties.registry import find_property

    _refuse_unused(locals())
    if name is None:
        _list_properties()
        return
    check_many_options(many, {"--index": index != -1}, executor, processes)
    found = find_property(name)
    if structure is None:
        _list_options(name, found)
        return
    given: dict[str, Any] = {}
    apply_overrides(given, settings or ())
    folder = output or default_output(structure, f"-{name}")
    if many:
        flags, chosen = (fresh, quiet, as_json), (model, device, dtype)
        compute_many(structure, lambda: _property_of(name, given), folder, chosen, (executor, processes), flags)
        return
    content = _calculated(name, found, structure, given, folder, locals())
    if as_json:
        typer.echo(to_json(content))
    else:
        _show(content, folder)


def _refuse_unused(given: dict[str, Any]) -> None:
    """Refuse options that a list of properties or options, or the property, does not use."""
    from gnnpot.properties.options import arguments_of
    from gnnpot.properties.registry import find_property

    of_model, names = ("model", "device", "dtype"), [*inspect.signature(property_command).parameters][2:]
    if given["structure"] is None:
        listed = "properties" if given["name"] is None else "options"
        if unused := changed_options(property_command, given, names):
            unused = [{"--settings": "--set", "--as-json": "--json"}.get(name, name) for name in unused]
            raise ConfigError(
                f"{', '.join(unused)}: has no effect on the list of {listed}; give the name of a property and a "
                "structure, or leave it out"
            )
        return
    arguments = arguments_of(find_property(given["name"]).calc)
    whole = arguments.takes_path or arguments.takes_trajectory
    unused = changed_options(property_command, given, ("index",)) if whole else []
    unused += [] if arguments.needs_calculator else changed_options(property_command, given, of_model)
    if unused:
        why = "is of a whole file" if unused[0] == "--index" else "needs no potential"
        raise ConfigError(f"{unused[0]}: has no effect on {given['name']}, which {why}; leave it out")


def _property_of(name: str, given: dict[str, Any]) -> "PropertyOf":
    from gnnpot.workflows.many import PropertyOf

    return PropertyOf(name, given)


def _calculated(
    name: str, found: "Property", structure: Path, given: dict[str, Any], folder: Path, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the content of the JSON file, computed or from an earlier call."""
    from gnnpot.properties.options import arguments_of, digests_of_files, read_options
    from gnnpot.runs.files import write_atomically, write_text
    from gnnpot.runs.results_log import ResultsLog

    arguments = arguments_of(found.calc)
    values = read_options(found.calc, given, where=f"property {name}")
    if arguments.takes_path:
        atoms: Any = structure
    elif arguments.takes_trajectory:
        atoms = _frames(structure)
    else:
        atoms = read_structure(structure, options["index"])
    calculator = None
    if arguments.needs_calculator:
        calculator = open_calculator(options["model"], options["device"], options["dtype"])
    identity = _identity(name, structure, given, options, calculator)
    if files := digests_of_files(found.calc, given, where=f"property {name}"):
        identity["option_files_sha256"] = files
    file, picture = folder / f"{name}.json", folder / f"{name}.png"
    before = _earlier(file, picture, identity, options["fresh"])
    if before is not None:
        if not options["quiet"]:
            Console(stderr=True).print(ALREADY_FINISHED, highlight=False)
        return before
    with ResultsLog(folder / CALCULATIONS, identity, f"property {name}", fresh=options["fresh"]) as log:
        with Bars(options["quiet"]) as bars:
            if arguments.takes_progress:
                values["progress"] = bars
            result = _call(found, atoms, calculator, log, values)
        # paths are written but not part of the identity, because files may be moved
        shown = {"structure": str(structure)} | ({} if calculator is None else {"model": options["model"]})
        content = {"format": FORMAT, "version": 1, **shown, **identity, "result": result.to_json()}
        write_atomically(picture, result.plot, overwrite=True)
        write_text(file, to_json(content) + "\n")
        log.remove()
    return content


def _call(found: "Property", atoms: Any, calculator: "BaseCalculator | None", log: Any, values: dict[str, Any]) -> Any:
    from gnnpot.engines.recorded import RecordedCalculator

    calc: Callable[..., Any] = found.calc
    if calculator is None:
        return calc(atoms, **values)
    return calc(atoms, RecordedCalculator(calculator, log), **values)


def _frames(path: Path) -> Any:
    from gnnpot.engines.trajectory_reader import read_trajectory

    return tuple(read_trajectory(path))


def _identity(
    name: str, structure: Path, given: dict[str, Any], options: dict[str, Any], calculator: "BaseCalculator | None"
) -> dict[str, Any]:
    """Everything the result depends on, as JSON values."""
    import gnnpot

    identity: dict[str, Any] = {
        "property": name,
        "structure_sha256": _sha256(structure),
        "index": options["index"],
        "options": given,
        "gnnpot": gnnpot.__version__,
    }
    if calculator is not None:
        dtype = options["dtype"]
        identity["dtype"] = None if dtype is None else dtype.value
        potential = getattr(calculator, "potential", None)
        if potential is None:
            identity["model"] = options["model"]
        else:
            # the hash of the file, the same for any dtype
            identity["weights_sha256"] = calculator.parameters["weights_sha256"]
    return identity


def _sha256(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder such as a Zarr trajectory."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _earlier(file: Path, picture: Path, identity: dict[str, Any], fresh: bool) -> dict[str, Any] | None:
    """Result of an earlier call with the same identity, if any; raises `ConfigError` for any other files."""
    from gnnpot.runs.identity import require_same

    if not file.exists():
        # a call that was interrupted between writing the two files has left its calculations too
        if picture.exists() and not (file.parent / CALCULATIONS).exists():
            raise ConfigError(f"{picture}: exists and is not of this property; name another folder with --output")
        return None
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(f"{file}: is no result of gnnpot property; name another folder with --output")
    if fresh:
        return None
    require_same({name: content.get(name) for name in identity}, identity, where=file.parent, kind="a property")
    return content


def _list_properties() -> None:
    from gnnpot.properties.registry import find_property, property_names

    table = Table("property", "calculates", box=SIMPLE_HEAD)
    for name in property_names():
        try:
            table.add_row(name, _first_line(find_property(name)))
        except PluginError as error:
            table.add_row(name, str(error))
    Console().print(table)


def _list_options(property_name: str, found: "Property") -> None:
    from gnnpot.properties.options import REQUIRED, arguments_of

    arguments = arguments_of(found.calc)
    described = _described(arguments.config or found.calc)
    table = Table(
        "--set",
        "default",
        "what",
        box=SIMPLE_HEAD,
        title=f"{property_name}: {_first_line(found)}",
        title_justify="left",
    )
    for name, option in arguments.options.items():
        default = "required" if option.default is REQUIRED else _short(option.default)
        table.add_row(name, default, described.get(name, ""))
    Console().print(table)


def _short(value: Any) -> str:
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 40 else f"{text[:30]} … {text[-8:]}"


def _first_line(found: "Property") -> str:
    return (inspect.getdoc(found) or "").partition("\n")[0]


def _described(documented: Any) -> dict[str, str]:
    """Description of each argument in the section `Args` of a docstring, by name."""
    _, _, rest = (inspect.getdoc(documented) or "").partition("Args:\n")
    words: dict[str, str] = {}
    current = ""
    for line in rest.splitlines():
        if not line.strip() or not line.startswith(" "):
            break
        if not line.startswith("     "):
            current, _, text = line.strip().partition(": ")
            words[current] = text
        elif current:
            words[current] += f" {line.strip()}"
    return words


def _show(content: dict[str, Any], folder: Path) -> None:
    """Print the scalar values of a result, and the paths of the files."""
    table = Table("", "", show_header=False, box=SIMPLE_HEAD, title=f"{content['property']} of {content['structure']}")
    for key, value in content["result"].items():
        if isinstance(value, float):
            table.add_row(key, f"{value:.6g}")
        elif isinstance(value, (str, int)):
            table.add_row(key, str(value))
    console = Console(soft_wrap=True)
    console.print(table)
    name = content["property"]
    console.print(f"{folder / f'{name}.json'}, {folder / f'{name}.png'}", highlight=False)
