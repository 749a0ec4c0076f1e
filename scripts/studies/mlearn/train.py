"""Train HDNNP and M3GNet on Si and Mo of Zuo et al. 2020 (J. Phys. Chem. A 124, 731), and compute the test errors.

    python scripts/studies/mlearn/train.py --data mlearn --minutes 20
    python scripts/studies/mlearn/train.py --only si-hdnnp --out runs/mlearn   # one run

Training uses the official training frames, except for a random part with fixed seed that selects the best weights. The
test frames are read once, at the end. Only energies and forces are used, because only the diagonal components of the
stresses in these files are reliable. Interrupted runs are resumed.
"""

import json
import logging
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from gnnpot.errors import GnnpotError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.training.config import read_config
from gnnpot.training.run import MODEL, train

RUNS = ("si-hdnnp", "mo-hdnnp", "si-m3gnet", "mo-m3gnet")
CONFIGS = Path(__file__).parents[3] / "configs"
#: published MAE of energy (meV/atom) and force (eV/Å) on the test sets
PUBLISHED = {"si": {"GAP": (2.91, 0.07), "MTP": (2.21, 0.06)}, "mo": {"GAP": (2.24, 0.09), "MTP": (2.83, 0.09)}}


def main(
    data: Annotated[Path, typer.Option(help="Folder with Si_train.extxyz.gz and so on.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table.")] = Path("runs/mlearn"),
    minutes: Annotated[float, typer.Option(help="Limit of the wall time of each run (min).")] = 20.0,
    only: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(RUNS)}; may be repeated.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of each run.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from the beginning.")] = False,
) -> None:
    """Train, evaluate on the official test frames, write results.json and results.md."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    console = Console()
    torch.set_num_threads(threads)
    for name in only or RUNS:
        if name not in RUNS:
            raise typer.BadParameter(f"'{name}' is none of {', '.join(RUNS)}", param_hint="--only")
        element = name.split("-")[0].capitalize()
        config = read_config(
            CONFIGS / f"mlearn-{name}.yaml",
            [
                f"data.train={data / f'{element}_train.extxyz.gz'}",
                f"data.test={data / f'{element}_test.extxyz.gz'}",
                f"run={out / name}",
                f"max_minutes={minutes}",
            ],
        )
        try:
            train(config, resume=not fresh)
        except GnnpotError as error:
            console.print(f"{name}: {error}", markup=False)
            raise typer.Exit(1) from None
    results = collect(out)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    table = to_markdown(results)
    (out / "results.md").write_text(table)
    console.print(table, markup=False)


def collect(out: Path) -> dict[str, dict[str, float]]:
    """Test errors of all finished runs."""
    results = {}
    for name in RUNS:
        if (out / name / MODEL).exists():
            metrics = load_checkpoint(out / name / MODEL)[1].metrics["test"]
            results[name] = {
                "energy_mae_mev_per_atom": 1e3 * metrics["energy_mae"],
                "energy_shifted_mae_mev_per_atom": 1e3 * metrics["energy_shifted_mae"],
                "forces_mae_ev_per_angstrom": metrics["forces_mae"],
                "frames": metrics["frames"],
            }
    return results


def to_markdown(results: dict[str, dict[str, float]]) -> str:
    """Table of the results and the published errors."""
    lines = ["| element | potential | energy MAE, meV/atom | force MAE, eV/Å |", "|---|---|---|---|"]
    for name, row in results.items():
        element, model = name.split("-")
        energy, forces = row["energy_mae_mev_per_atom"], row["forces_mae_ev_per_angstrom"]
        lines.append(f"| {element.capitalize()} | {model} | {energy:.2f} | {forces:.3f} |")
    for element, rows in PUBLISHED.items():
        for model, (energy, forces) in rows.items():
            lines.append(f"| {element.capitalize()} | {model} (published) | {energy:.2f} | {forces:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
