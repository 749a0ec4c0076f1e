"""Effect of choosing symmetry functions from the training frames: HDNNPs on Si and Mo of Zuo et al. 2020.

    python scripts/studies/symmetry_functions.py --data mlearn --steps 4000

The configurations of `mlearn/train.py` are trained with three sets of symmetry functions of the same size and cutoffs,
with the same seed, split and number of optimiser steps: Behler's regular grid, and sets chosen by CUR and by farthest
point sampling. Test frames are read once, at the end. Interrupted runs are resumed; the table has all finished runs.
"""

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.training.config import read_config
from gnnpot.training.run import MODEL, train

CONFIGS = Path(__file__).parents[2] / "configs"
#: the set of the configurations has 12 radial and 3 x 6 x 2 angular functions
COUNT = 48
BEHLER = "{kind: behler, radial: 12, angular: 3, zeta: [1, 2, 4, 8, 16, 32]}"
SETS = {
    "grid": BEHLER,
    "cur": f"{{kind: chosen, method: cur, count: {COUNT}}}",
    "farthest": f"{{kind: chosen, method: farthest, count: {COUNT}}}",
}


def main(
    data: Annotated[Path, typer.Option(help="Folder with Si_train.extxyz.gz and so on.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table.")] = Path("runs/symmetry-functions"),
    steps: Annotated[int, typer.Option(help="Optimiser steps of each run.")] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and the order of frames.")] = 0,
    element: Annotated[list[str] | None, typer.Option(help="Si or Mo. May be repeated.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(SETS)}; may be repeated.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of each run.")] = 1,
) -> None:
    """Train and print the test errors."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    for name in element or ("Si", "Mo"):
        for chosen in kind or SETS:
            config = read_config(
                CONFIGS / f"mlearn-{name.lower()}-hdnnp.yaml",
                [
                    f"model.symmetry_set={SETS[chosen]}",
                    f"data.train={data / f'{name}_train.extxyz.gz'}",
                    f"data.test={data / f'{name}_test.extxyz.gz'}",
                    f"run={out / f'{name}-{chosen}-{steps}-{seed}'}",
                    f"max_steps={steps}",
                    f"seed={seed}",
                    "schedule.horizon=epochs",
                    "max_minutes=null",
                    "validate_every=500",
                ],
            )
            train(config)
    table = to_markdown(out)
    (out / "results.md").write_text(table)
    Console().print(table, markup=False)


def to_markdown(out: Path) -> str:
    """Table of the test errors of all finished runs."""
    lines = [
        "| element | functions | steps | seed | energy MAE, meV/atom | force MAE, eV/Å |",
        "|---|---|---|---|---|---|",
    ]
    for folder in sorted(out.glob(f"*/{MODEL}")):
        test = load_checkpoint(folder)[1].metrics["test"]
        names = " | ".join(folder.parent.name.split("-"))
        lines.append(f"| {names} | {1e3 * test['energy_mae']:.2f} | {test['forces_mae']:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
