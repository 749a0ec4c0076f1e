"""Errors on training frames not used by a run with few frames, to choose the start or the frames without test frames.

    python scripts/studies/mlearn/unused_frames.py runs/finetune-mlearn/*/Ni/all-20 -o docs/mlearn/unused-frames.json

For each run of `finetune.py`, mean absolute errors of the initial potential, with the best constant shift, and of the
resulting potential are computed on all training frames of the element that were not used for training or validation.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

import gnnpot
from gnnpot.config import from_mapping, read_yaml
from gnnpot.data.frame import Frame
from gnnpot.errors import GnnpotError
from gnnpot.hub.checkpoint import load_checkpoint
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text
from gnnpot.training.evaluate import evaluate
from gnnpot.training.prepare import open_subsets
from gnnpot.training.run import MODEL
from gnnpot.workflows.finetune.config import FineTuneConfig


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output JSON file.")],
) -> None:
    """Compute the errors, and write OUT."""
    try:
        rows = [row_of(run) for run in track(runs, "runs", console=Console(stderr=True))]
    except GnnpotError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False)
        raise typer.Exit(1) from None
    write_text(output, json.dumps(rows, indent=1) + "\n")


def row_of(run: Path) -> dict[str, Any]:
    """Errors of the initial and the resulting potential of a run."""
    config = from_mapping(FineTuneConfig, read_yaml(run / "config.yaml"), str(run))
    frames = unused(config)
    unchanged, tuned = errors(gnnpot.load(config.start), frames), errors(load_checkpoint(run / MODEL)[0], frames)
    return {
        "element": run.parent.name,
        "start": config.start,
        "frames": config.data.frames,
        "choose": config.data.choose,
        "minutes": config.max_minutes,
        "unused_frames": len(frames),
        "unchanged_energy_meV": unchanged["energy_shifted_mae"] * 1e3,
        "unchanged_forces_eV_A": unchanged["forces_mae"],
        "energy_meV": tuned["energy_mae"] * 1e3,
        "forces_eV_A": tuned["forces_mae"],
    }


def unused(config: FineTuneConfig) -> list[Frame]:
    """Frames of a run's store that are not in any of its subsets."""
    _, subsets = open_subsets(config, write=False)
    train = subsets["train"]
    used = np.concatenate([train.indices, subsets["validation"].indices])
    return list(train.store.select(np.setdiff1d(np.arange(len(train.store)), used)))


def errors(potential: Potential, frames: list[Frame]) -> dict[str, float]:
    return evaluate(potential, frames, stress=False).metrics()


if __name__ == "__main__":
    typer.run(main)
