"""Compare the default options of `gnnpot finetune` with other recipes, in equal time.

    python scripts/studies/mlearn/recipes.py --data mlearn --minutes 20 --element Ni
    python scripts/studies/mlearn/recipes.py --data mlearn --minutes 12 --element Si --start nequix-oam-1

The recipes of the architecture of `--start` are run on all training frames of an element of Zuo et al. 2020 (J. Phys.
Chem. A 124, 731), one after the other, on one thread. Only energies and forces are used, because only the diagonal
components of the stresses in these files are reliable. Errors are computed on the validation frames, by which a recipe
may be chosen, and on the official test frames. An interrupted run is resumed by the same command. Writes
docs/mlearn/recipes.json, in which rows of other elements and starting potentials are kept.
"""

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from gnnpot.cli.progress import Bars
from gnnpot.errors import GnnpotError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.runs.files import write_text
from gnnpot.training.run import MODEL
from gnnpot.workflows.finetune import finetune, read_finetune_config
from gnnpot.workflows.finetune.aims import architecture_of

#: options in addition to those common to all runs, by architecture and recipe
RECIPES: dict[str, dict[str, tuple[str, ...]]] = {
    "sevennet": {
        "default": (),
        "smaller steps, forces weighted less": ("optimizer.lr=0.005", "loss.forces=1", "ema=0.995"),
    },
    "nequix": {
        "default": (),
        "forces weighted more": ("loss.forces=4", "ema=0.998"),
        "larger steps": ("optimizer.lr=0.005",),
        "larger steps, forces weighted more": ("optimizer.lr=0.005", "loss.forces=4", "ema=0.998"),
    },
}


def main(
    data: Annotated[Path, typer.Option(help="Folder with Ni_train.extxyz.gz and so on.")],
    element: Annotated[list[str], typer.Option(help="Symbol of an element. May be repeated.")],
    minutes: Annotated[float, typer.Option(help="Wall time of each run.")] = 20.0,
    start: Annotated[str, typer.Option(help="The potential to fine-tune: name or path.")] = "7net-l3i5",
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/recipes-mlearn"),
    docs: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("docs/mlearn"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Run unfinished trainings, and write the rows."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    console, path = Console(soft_wrap=True), docs / "recipes.json"
    known = json.loads(path.read_text()) if path.exists() else []
    rows = {(row["element"], row["start"], row["recipe"]): row for row in known}
    recipes = RECIPES.get(architecture_of(start) or "")
    if recipes is None:
        raise typer.BadParameter(f"'{start}' is none of {', '.join(RECIPES)}", param_hint="--start")
    docs.mkdir(parents=True, exist_ok=True)
    for symbol in element:
        for number, (recipe, options) in enumerate(recipes.items()):
            run = out / Path(start).name / symbol / str(number)
            given = [
                f"data.test={data / f'{symbol}_test.extxyz.gz'}", "data.reader.stress_key=''", "loss.stress=0.0",
                f"max_minutes={minutes}", *options,
            ]  # fmt: skip
            train = data / f"{symbol}_train.extxyz.gz"
            try:
                with Bars(quiet) as bars:
                    finetune(read_finetune_config(start, [train], run=run, overrides=given), progress=bars)
            except GnnpotError as error:
                console.print(f"{symbol}, {recipe}: {error}", markup=False)
                raise typer.Exit(1) from None
            about = {"element": symbol, "recipe": recipe, "start": start, "minutes": minutes, "options": list(options)}
            rows[symbol, start, recipe] = about | errors_of(run)
            write_text(path, json.dumps(list(rows.values()), indent=1) + "\n")
            console.print(rows[symbol, start, recipe], highlight=False)


def errors_of(run: Path) -> dict[str, Any]:
    """Mean absolute errors of the resulting potential of a run."""
    metrics = load_checkpoint(run / MODEL)[1].metrics
    return {
        f"{part}_{name}": factor * metrics[part][key]
        for part in ("validation", "test")
        for name, key, factor in (("energy_meV", "energy_mae", 1e3), ("forces_eV_A", "forces_mae", 1.0))
    }


if __name__ == "__main__":
    typer.run(main)
