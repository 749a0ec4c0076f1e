"""`gnnpot check` tests the physics of a calculator; `gnnpot card` shows the description of a potential."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import Precision, download_progress, is_foreign, open_calculator, read_structure
from gnnpot.cli.console import Console, styled
from gnnpot.cli.models import physics_rows
from gnnpot.cli.results import JsonOption
from gnnpot.errors import ConfigError, DataError
from gnnpot.hub.shipped import DEFAULT
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from gnnpot.engines.calculator import Calculator
    from gnnpot.hub.reference_structures import ReferenceStructure
    from gnnpot.properties.contract import Check, ContractReport

_MARKS = {
    "passed": styled(("passed", "green")),
    "known": styled(("known", "yellow")),
    "failed": styled(("FAILED", "bold red")),
    "skipped": styled(("skipped", "yellow")),
}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("check", rich_help_panel="Inspect")(check)
    app.command("card", rich_help_panel="Inspect")(card)


def check(
    model: Annotated[
        str, typer.Argument(help="Name or path of a gnnpot model, or an ASE calculator as module:Class.")
    ] = DEFAULT,
    structures: Annotated[
        list[Path] | None, typer.Argument(help="Structures to test; default: built from --elements.")
    ] = None,
    elements: Annotated[
        str | None,
        typer.Option(help="Elements of the test structures, as Li,O; default: chosen from those of the model."),
    ] = None,
    dtype: Annotated[
        Precision | None,
        typer.Option(help="Precision of a gnnpot model; default: float64, which reveals deviations by design best."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device: cpu, cuda, cuda:1, …; default: the model's own.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show all structures, not only the worst of a check.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the physics of a potential: invariances, forces and stress as derivatives of the energy, smoothness.

    Example: gnnpot check path/to/checkpoint --elements Li,O

    Example: gnnpot check ase.calculators.emt:EMT --elements Cu,Ni

    Example: gnnpot check 7net-0

    The energies of a published potential are also compared with reference energies of the original implementation.
    Known deviations of its published form are shown as 'known', with the reason, and do not count as failed. The exit
    status is 3 if a check failed.
    """
    from gnnpot.engines.calculator import Calculator
    from gnnpot.hub.known_deviations import known_deviations
    from gnnpot.properties.contract import check_contract

    if structures and elements is not None:
        raise ConfigError("--elements: is of built structures, and structures are given; leave one of the two out")
    calculator = open_calculator(model, device, dtype or (None if is_foreign(model) else Precision.float64))
    atoms = {str(path): read_structure(path) for path in structures} if structures else None
    if atoms is None and elements is None and not hasattr(calculator, "elements"):
        raise DataError(f"{model}: does not say which elements it knows; give --elements or structures")
    symbols = None if elements is None else [e.strip() for e in elements.split(",") if e.strip()]
    card = calculator.card if isinstance(calculator, Calculator) else None
    references, reference_from = ((), "") if card is None else (card.reference_structures, card.reference_energies_from)
    if symbols is None and references:
        symbols = list(references[0].to_atoms().symbols)
    console = Console(quiet=as_json)
    known = known_deviations(card, calculator.potential) if isinstance(calculator, Calculator) else ()
    with Console(stderr=True).status(styled(f"asking {model}")):
        report = check_contract(calculator, atoms, elements=symbols, known=known)
    _require_results(report, model)
    console.print(_table(report, model, every))
    _say_how_many_hold(report, console)
    hold = True
    if references and isinstance(calculator, Calculator):
        hold = _references_hold(calculator, references, reference_from, console)
    if as_json:
        typer.echo(to_json({"passed": hold and report.passed, "references_hold": hold, "checks": report.checks}))
    if not hold or not report.passed:
        raise typer.Exit(3)


def _require_results(report: "ContractReport", model: str) -> None:
    """Raise `DataError` if the calculator failed in all checks: then the elements are wrong, not its physics."""
    if report.checks and not any(check.quantity for check in report.checks):
        reason = next((check.detail for check in report.checks if check.status == "failed"), report.checks[0].detail)
        raise DataError(f"{model}: none of the structures can be computed ({reason}); give --elements that it knows")


def _say_how_many_hold(report: "ContractReport", console: Console) -> None:
    failed, known = len(report.failures), len(report.known)
    count = len(report.checks)
    console.print(f"{count - failed - known} of {count} checks hold" if failed or known else "all checks hold")
    for reason in dict.fromkeys(check.detail for check in report.known):
        times = sum(check.detail == reason for check in report.known)
        console.print(styled(f"{times} known (not counted as failed): {reason}"))


def _references_hold(
    calculator: "Calculator", references: "tuple[ReferenceStructure, ...]", reference_from: str, console: Console
) -> bool:
    """Print the computed energies next to the reference energies; whether all agree within the tolerance."""
    from importlib.metadata import version

    from gnnpot.hub.reference_structures import TOLERANCE, energy_deviations

    deviations = energy_deviations(calculator.potential, references)
    table = Table("structure", box=SIMPLE_HEAD, title=f"Energies by {reference_from}, and here")
    for name in ("reference, eV", "here, eV", "difference, eV/atom", "bound", ""):
        table.add_column(name, justify="right")
    for structure, deviation in zip(references, deviations, strict=True):
        here = structure.energy + deviation * len(structure.numbers)
        mark = _MARKS["passed" if abs(deviation) < TOLERANCE else "failed"]
        name = str(structure.to_atoms().symbols)
        table.add_row(name, f"{structure.energy:.6f}", f"{here:.6f}", f"{deviation:.1e}", f"{TOLERANCE:.0e}", mark)
    console.print(table)
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", "numpy"))
    console.print(f"here: {str(calculator.dtype).removeprefix('torch.')}, {versions}", highlight=False)
    return all(abs(deviation) < TOLERANCE for deviation in deviations)


def _table(report: "ContractReport", model: str, every: bool) -> Table:
    table = Table("check", "quantity", "structure", box=SIMPLE_HEAD, title=f"Contract of {model}")
    for name in ("measured", "bound", ""):
        table.add_column(name, no_wrap=True)
    for c in report.checks if every else _worst(report):
        mark = _MARKS[c.status]
        if not c.quantity:
            table.add_row(c.name, c.detail, c.structure, "", "", mark)
            continue
        measured = f"{c.measured:.1e}" if math.isfinite(c.measured) else "not finite"
        table.add_row(c.name, c.quantity, c.structure, f"{measured} {c.unit}", f"{c.bound:.0e}", mark)
    return table


def _worst(report: "ContractReport") -> "list[Check]":
    """All failed checks, and the largest deviation of the others for each check and quantity."""
    largest: dict[tuple[str, str], Check] = {}
    for c in report.checks:
        if c.status != "failed":
            known = largest.get((c.name, c.quantity))
            if known is None or c.measured > known.measured:
                largest[c.name, c.quantity] = c
    return [c for c in report.checks if c.status == "failed" or c is largest.get((c.name, c.quantity))]


def card(
    model: Annotated[str, typer.Argument(help="Name of a potential, or folder of a checkpoint.")] = DEFAULT,
    every: Annotated[bool, typer.Option("--all", help="Also show the training configuration.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the card of a potential: model, elements, data, measured errors, licence.

    Example: gnnpot card chgnet-0.3.0

    The SHA-256 of the card is verified; the weights are not read. `gnnpot check` opens the potential.
    """
    from gnnpot.hub.card import functional_name
    from gnnpot.hub.catalogue import measured_of
    from gnnpot.hub.locating import open_card

    with download_progress() as report:
        content, _ = open_card(model, report)
    if as_json:
        typer.echo(to_json(content))
        return
    words: dict[str, Any] = content["card"]
    table = Table("", "", show_header=False, box=SIMPLE_HEAD, title=words["name"] or str(model))
    table.columns[1].overflow = "fold"
    for name in ("description", "licence", "functional", "energy_reference", "training_data"):
        # cards of format 1 lack some of these
        if words.get(name):
            text = str(words[name])
            shown = functional_name(text) if name in ("functional", "energy_reference") else text
            table.add_row(name.replace("_", " "), shown)
    for name, value in _flat({key: content[key] for key in ("model", "terms") if content[key]}):
        # the elements of the whole potential are shown below
        if not name.endswith(".elements"):
            table.add_row(name, str(value))
    table.add_row("elements", f"{len(content['elements'])}: {' '.join(content['elements'])}")
    table.add_row("cutoff", f"{content['cutoff']} Å")
    table.add_row("energy scale", f"{content['energy_scale']:.6g} eV")
    for name, value in _flat({"metrics": words["metrics"], **({"training": words["training"]} if every else {})}):
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    for name, value in physics_rows(measured_of(words["name"])):
        table.add_row(name, value)
    if words.get("reference_structures"):
        energies = ", ".join(f"{structure['energy']:.6f}" for structure in words["reference_structures"])
        table.add_row("reference energies", f"{energies} eV, by {words['reference_energies_from']} (gnnpot check)")
    for reference in words["references"]:
        table.add_row("cite", reference)
    if plugin := content.get("plugin"):
        table.add_row("needs the package", f"{plugin['package']} {plugin['version']}")
    table.add_row("made by", f"gnnpot {words['gnnpot_version']}, format {content['format_version']}")
    table.add_row("sha256", content["weights_sha256"])
    Console().print(table)


def _flat(value: Any, name: str = "") -> "list[tuple[str, Any]]":
    """(dotted name, value) of all leaves of nested mappings and lists of mappings."""
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in _flat(v, f"{name}.{k}" if name else str(k))]
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        return [leaf for k, v in enumerate(value) for leaf in _flat(v, f"{name}[{k}]")]
    return [(name, value)]
