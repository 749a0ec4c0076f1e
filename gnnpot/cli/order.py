"""`gnnpot data order`: ordered structures from partially occupied sites."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import default_output
from gnnpot.cli.results import JsonOption, show
from gnnpot.domains import INTEGER_FROM_1

if TYPE_CHECKING:
    from gnnpot.data.ordering import Ordered


def order(
    structure: Annotated[Path, typer.Argument(help="CIF file with partial occupancies.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output file; default: STRUCTURE-ordered.cif.")
    ] = None,
    cells: Annotated[
        tuple[int, int, int] | None,
        INTEGER_FROM_1,
        typer.Option(
            help="Repeats along each lattice vector; default: the smallest supercell with integer atom counts."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing output file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Order a structure with partially occupied or mixed sites.

    Example: gnnpot data order Li7La3Zr2O12.cif -o ordered.cif

    Among all orderings in the supercell, the one with the lowest Ewald energy of guessed charges is chosen (pymatgen).
    It is one of many: randomly mixed atoms need several supercells.
    """
    from ase.io import write

    from gnnpot.data.ordering import order_structure
    from gnnpot.engines.files import refuse_overwrite, refuse_same, structure_format, write_atomically

    output = output or default_output(structure, "-ordered.cif")
    refuse_same({"output": output}, inputs=[structure])
    refuse_overwrite(output, overwrite)
    ordered = order_structure(structure, cells)
    format = structure_format(output, ordered.atoms)
    write_atomically(output, lambda path: write(path, ordered.atoms, format=format), overwrite=overwrite)
    show(as_json, _plain(ordered, output), lambda: _table(ordered, output))


def _plain(ordered: "Ordered", output: Path) -> dict[str, Any]:
    found = {name: getattr(ordered, name) for name in ("cells", "charges", "words")}
    return {"formula": ordered.atoms.get_chemical_formula(), "atoms": len(ordered.atoms), **found, "output": output}


def _table(ordered: "Ordered", output: Path) -> Table:
    table = Table("", "", show_header=False, box=SIMPLE_HEAD, title=ordered.atoms.get_chemical_formula())
    table.add_row("supercell", " x ".join(map(str, ordered.cells)))
    for words in ordered.words:
        table.add_row("ordered", words)
    charges = ", ".join(f"{element} {charge:+.3g}" for element, charge in ordered.charges.items())
    chosen = f"lowest Ewald sum of the charges {charges}" if charges else "no charges balance: any ordering was as good"
    table.add_row("chosen", chosen)
    table.add_row("written", str(output))
    return table
