"""Errors of fine-tuned and trained potentials on mlearn's test frames, with and without copies of training frames.

    python scripts/studies/accuracy/without_copies.py data runs/finetune-mlearn/*/Cu/*-* -o docs/mlearn

Some official test frames are rotated or mirrored structures of the training set (`published.py` counts them). A
potential trained on all training frames was trained on their energies and forces. For each run of
`scripts/studies/mlearn/finetune.py`, mean absolute errors on all test frames and on the test frames without copies are
computed. Energies are not shifted.

Writes without-copies.json and without-copies.md, in which a run replaces an earlier run of the same kind.
"""

import itertools
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from published import MLEARN, copies
from rich.console import Console
from rich.progress import track

from gnnpot.data.readers import read_frames
from gnnpot.errors import GnnpotError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.runs.files import write_text
from gnnpot.training.evaluate import evaluate
from gnnpot.training.run import MODEL

TITLE = "# Fine-tuning on mlearn, test frames that are not copies of training frames"
ABOUT = """\
Some official test frames are rotated or mirrored structures of the training set: {counts}. The table has the errors
without these frames and the errors on all test frames. `scripts/studies/accuracy/without_copies.py` makes this page."""


def main(
    data: Annotated[Path, typer.Argument(help="Folder that contains mlearn/.")],
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, START/ELEMENT/CANDIDATE-FRAMES.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = Path("docs/mlearn"),
) -> None:
    """Compute the errors, and write the table."""
    path = output / "without-copies.json"
    known = json.loads(path.read_text()) if path.exists() else []
    try:
        known += [row_of(run, data) for run in track(runs, "runs", console=Console(stderr=True))]
    except GnnpotError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False)
        raise typer.Exit(1) from None
    output.mkdir(parents=True, exist_ok=True)
    latest = {(MLEARN.index(row["element"]), row["potential"], row["trained_on"]): row for row in known}
    rows = [latest[key] for key in sorted(latest)]
    write_text(path, json.dumps(rows, indent=1) + "\n")
    write_text(output / "without-copies.md", f"{TITLE}\n\n{ABOUT.format(counts=counts(data))}\n\n{table(rows)}")


def counts(data: Path) -> str:
    """Numbers of copies among the test frames of each element."""
    found = {element: copies(data, element) for element in MLEARN}
    return ", ".join(f"{sum(copied)} of {len(copied)} for {element}" for element, copied in found.items())


def row_of(run: Path, data: Path) -> dict[str, Any]:
    """Errors of the resulting potential of a run."""
    element, (candidate, _, count) = run.parent.name, run.name.rpartition("-")
    potential, card = load_checkpoint(run / MODEL)
    frames = list(read_frames(data / "mlearn" / f"{element}_test.extxyz.gz"))
    distinct = list(itertools.compress(frames, (not copy for copy in copies(data, element))))
    name = f"{run.parts[-3]}, fine-tuned" if candidate == "all" else candidate.replace("-", " from ")
    if card.training["data"].get("choose") == "representative":
        name += ", representative frames"
    every, without = (evaluate(potential, part, stress=False).metrics() for part in (frames, distinct))
    return {
        "element": element,
        "potential": name,
        "trained_on": count,
        "minutes": card.training["max_minutes"],
        "test_frames": len(frames),
        "energy_meV": 1e3 * every["energy_mae"],
        "forces_eV_A": every["forces_mae"],
        "distinct_frames": len(distinct),
        "distinct_energy_meV": 1e3 * without["energy_mae"],
        "distinct_forces_eV_A": without["forces_mae"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Table with a row for each run."""
    lines = [
        "| energy MAE, meV/atom; force MAE, eV/Å | frames | minutes | without copies | all test frames |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [f"{row[f'{part}energy_meV']:.2f}; {row[f'{part}forces_eV_A']:.4f}" for part in ("distinct_", "")]
        name = f"{row['element']}: {row['potential']}"
        lines.append(f"| {name} | {row['trained_on']} | {row['minutes']:g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
