"""`gnnpot build` builds structures from a sentence; `gnnpot mcp` serves the same to AI assistants."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnnpot.cli.common import changed_options
from gnnpot.cli.console import Console, styled
from gnnpot.cli.results import JsonOption
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, NOT_NEGATIVE, POSITIVE
from gnnpot.errors import ConfigError, counted
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from ase import Atoms

    from gnnpot.builder import BuildResult, Reading, Recipe


class Language(StrEnum):
    """Choices of `--language`."""

    en = "en"
    ja = "ja"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("build", rich_help_panel="Build")(build)
    app.command("mcp", rich_help_panel="Build")(mcp)


def build(
    text: Annotated[list[str] | None, typer.Argument(help="Description; more sentences modify the structure.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Output file in any format of ASE.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe (JSON) instead of a first sentence.")] = None,
    save_recipe: Annotated[Path | None, typer.Option(help="Write the recipe to this file (JSON).")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Describe the recipe in words; build nothing.")] = False,
    language: Annotated[Language | None, typer.Option(help="Language of messages; default: the sentence's.")] = None,
    llm: Annotated[bool, typer.Option("--llm", help="Read the sentence with a language model (GNNPOT_LLM_…).")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Run a language model's recipe without confirmation.")] = False,
    relax: Annotated[str | None, typer.Option(help="Relax the positions (not the cell) with this potential.")] = None,
    fmax: Annotated[float, NOT_NEGATIVE, typer.Option(help="Largest force (eV/Å) of the relaxed structure.")] = 0.05,
    steps: Annotated[int, INTEGER_FROM_0, typer.Option(help="Maximum number of steps of the relaxation.")] = 500,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing output files.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a structure from a sentence in English or Japanese.

    Example: gnnpot build "Pt(111) slab, 4 layers, 3x3, CO on top, bottom 2 layers fixed" -o slab.extxyz

    Example: gnnpot build "rutile TiO2 2x2x3" "now replace 10 % of the Ti by V" --relax gnnpot-1 -o doped.cif

    Parameters that are left open are chosen and reported. If words are not understood, they are underlined, and nothing
    is built.
    """
    from gnnpot.builder import execute, summary
    from gnnpot.builder import explain as in_words
    from gnnpot.engines.files import refuse_overwrite, refuse_same, structure_format

    _refuse_unused(locals())
    refuse_same({"output": output, "recipe": save_recipe}, inputs=[] if recipe is None else [recipe])
    for path in (output, save_recipe):
        refuse_overwrite(path, overwrite)
    console = Console(quiet=as_json)
    chosen = None if language is None else language.value
    made, notes = _recipe(text or [], recipe, chosen, llm)
    if explain or llm:
        console.print(in_words(made), highlight=False)
    if explain:
        _save(save_recipe, made, overwrite)
        if as_json:
            typer.echo(made.model_dump_json(exclude_none=True, indent=1))
        return
    if llm and not yes and not typer.confirm("Run this recipe?"):
        raise typer.Exit(1)
    result = execute(made, folder=Path.cwd())
    _show(console, result, notes)
    atoms = result.structure
    format = None if output is None else structure_format(output, atoms)
    if relax is not None:
        atoms = _relaxed(atoms, relax, fmax, steps, console)
    _save(save_recipe, made, overwrite)
    if output is not None:
        from ase.io import write

        from gnnpot.engines.files import write_atomically

        write_atomically(output, lambda path: write(path, atoms, format=format), overwrite=overwrite)
        console.print(f"written to {output}")
    if as_json:
        typer.echo(to_json({**summary(result), "notes": notes, "output": output}))


def _refuse_unused(given: dict[str, Any]) -> None:
    """Refuse options of a structure beside --explain, of a relaxation without --relax, and --yes without --llm."""
    unused = []
    if given["explain"]:
        unused += [(name, "--explain builds nothing") for name in changed_options(build, given, ("output", "relax"))]
    if given["relax"] is None:
        unused += [(name, "it needs --relax") for name in changed_options(build, given, ("fmax", "steps"))]
    if given["yes"] and (given["explain"] or not given["llm"]):
        unused.append(("--yes", "--explain builds nothing" if given["explain"] else "it needs --llm"))
    if unused:
        name, why = unused[0]
        raise ConfigError(f"{name}: has no effect here, {why}; leave it out")


def _relaxed(atoms: "Atoms", model: str, fmax: float, steps: int, console: Console) -> "Atoms":
    """Relax the positions, and show the progress on one line."""
    from gnnpot.cli.common import open_calculator
    from gnnpot.cli.live import relax_line
    from gnnpot.engines.relax import RelaxConfig, relax

    calculator = open_calculator(model)
    config = RelaxConfig(fmax=fmax, cell="none", steps=steps)
    with relax_line(steps, len(atoms), True) as progress:
        done = relax(atoms, calculator, config, progress=progress)
    state = "relaxed" if done.converged else "not converged"
    line = f"{state}: {done.steps} steps, largest force {done.fmax:.3f} eV/Å, energy {done.energy:.3f} eV"
    console.print(line, highlight=False)
    return done.atoms


def _recipe(text: list[str], path: Path | None, language: str | None, llm: bool) -> "tuple[Recipe, list[str]]":
    """Return the recipe given by a file and sentences, and notes on how the sentences were interpreted."""
    from gnnpot.builder import load_recipe, read
    from gnnpot.errors import BuilderError

    made: Recipe | None = None
    notes: list[str] = []
    if path is not None:
        if not path.is_file():
            raise BuilderError(f"{path}: there is no such file; give a recipe in JSON")
        made = load_recipe(path.read_bytes(), language or "en")
    reader = read
    if llm:
        from gnnpot.builder.llm import LanguageModel

        reader = LanguageModel.from_environment(language or "en").read
    for sentence in text:
        reading = reader(sentence, language, made)
        if reading.recipe is None:
            _underline(sentence, reading)
            assert reading.problem is not None
            raise reading.problem
        made = reading.recipe
        notes += [note.text for note in reading.notes]
    if made is None:
        raise BuilderError('say what to build, such as gnnpot build "Pt(111) slab, 4 layers", or give --recipe')
    return made, notes


def _underline(sentence: str, reading: "Reading") -> None:
    """Print the sentence, with the parts that were not understood underlined."""
    if not reading.spans:
        return
    parts: list[str | tuple[str, str]] = []
    place = 0
    for span in sorted(reading.spans, key=lambda s: s.start):
        parts.append(sentence[place : span.start])
        parts.append((sentence[span.start : span.end], "bold red underline"))
        place = max(place, span.end)
    Console(stderr=True).print(styled(*parts, sentence[place:]))


def _show(console: Console, result: "BuildResult", notes: list[str]) -> None:
    """Print the formula, cell, chosen parameters and warnings."""
    from gnnpot.builder import summary

    found = summary(result)
    console.print(styled((found["formula"], "bold"), f", {counted(found['atoms'], 'atom')}"))
    if found["cell"] is not None:
        a, b, c, alpha, beta, gamma = found["cell"]
        console.print(f"cell {a:.3f} {b:.3f} {c:.3f} Å, {alpha:.1f} {beta:.1f} {gamma:.1f}°", highlight=False)
    for note in [*notes, *(note.text for note in result.notes)]:
        console.print(f"  {note}", highlight=False, style="dim")
    for warning in result.warnings:
        console.print(f"warning: {warning.text}", highlight=False, style="yellow")


def _save(path: Path | None, recipe: "Recipe", overwrite: bool) -> None:
    if path is None:
        return
    from gnnpot.engines.files import write_atomically

    text = recipe.model_dump_json(exclude_none=True, indent=2) + "\n"

    def write(target: Path) -> None:
        target.write_text(text, encoding="utf-8")

    write_atomically(path, write, overwrite=overwrite)


def mcp(
    folder: Annotated[Path, typer.Option(help="Working folder; no other is read or written.")] = Path(
        "gnnpot-structures"
    ),
    atoms: Annotated[int, INTEGER_FROM_1, typer.Option(help="Maximum number of atoms of a structure.")] = 5000,
    seconds: Annotated[float, POSITIVE, typer.Option(help="Time limit of a relaxation or dynamics run (s).")] = 120.0,
) -> None:
    """Serve building, relaxation and dynamics to AI assistants (Model Context Protocol over stdio).

    Example: gnnpot mcp --folder structures
    """
    from gnnpot.builder.tools import ToolLimits, Tools, make_server

    make_server(Tools(folder, ToolLimits(atoms=atoms, seconds=seconds))).run("stdio")
