"""Effect of options of a small SevenNet: errors after the same small number of steps, and time of a dynamics step.

    python scripts/studies/lgps/student_options.py OUT/student/round-01 \
        --out docs/lgps/student-options.json

Each model is trained on the labels of one round of a distillation (`train.store`; errors are those on
`validation.store`) with the options of `student.yaml`, except for `--steps` and the learning rate schedule.
`student.yaml` has the options of the last row and trains forty times as long, so the results rank the options, but are
not the final errors. Times are those of dynamics of 400 atoms on one thread, in alternation in one process. An
interrupted run is resumed by the same command.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numba
import torch
import typer
from conductivity import crystal

import gnnpot
from gnnpot.config import from_mapping, read_yaml
from gnnpot.runs.files import write_text
from gnnpot.training.config import TrainConfig
from gnnpot.training.run import MODEL, train
from gnnpot.workflows.distil.speed import time_steps

PLAIN: dict[str, Any] = {"products": False, "element_linear": False}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": PLAIN,
    "element_scales": PLAIN | {"element_scales": True},
    "element_linear": PLAIN | {"element_linear": True},
    "products, element_scales": PLAIN | {"products": True, "element_scales": True},
    "products, element_linear": {},
}


def trained(name: str, labels: Path, runs: Path, steps: int) -> TrainConfig:
    """Train one model, unless it is trained already."""
    given = read_yaml(Path(__file__).with_name("student.yaml"))
    given["model"] |= OPTIONS[name]
    given["data"] |= {"train": str(labels / "train.store"), "validation": str(labels / "validation.store"), "test": []}
    config: TrainConfig = from_mapping(TrainConfig, given)
    config = replace(
        config,
        run=runs / name.replace(", ", "-"),
        schedule=replace(config.schedule, horizon="epochs", lr_min=3e-4),
        max_minutes=None,
        max_steps=steps,
    )
    train(config)
    return config


def row(name: str, config: TrainConfig) -> dict[str, Any]:
    """Errors at the best validation, relative to the teacher."""
    model = gnnpot.load(config.run / MODEL)
    metrics = json.loads((config.run / MODEL / "card.json").read_text())["card"]["metrics"]["validation"]
    return {
        "options": name,
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
        "steps": config.max_steps,
        "force_mae_meV_A": 1000 * metrics["forces_mae"],
        "energy_mae_meV_atom": 1000 * metrics["energy_mae"],
    }


def main(
    labels: Annotated[Path, typer.Argument(help="Folder of a round, with its stores.")],
    out: Annotated[Path, typer.Option(help="Output JSON file.")],
    steps: Annotated[int, typer.Option(help="Steps of each training.")] = 2000,
    runs: Annotated[Path, typer.Option(help="Folder of the trainings.")] = Path("runs/student-options"),
) -> None:
    """Train the models one after the other, measure them, and write OUT."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    configs = {name: trained(name, labels, runs, steps) for name in OPTIONS}
    atoms = crystal() * (2, 2, 2)
    calculators = {name: gnnpot.Calculator(config.run / MODEL) for name, config in configs.items()}
    times = time_steps(calculators, atoms, temperature=500.0, timestep=2.0)
    rows = [row(name, config) | {"us_per_atom_and_step": times[name]} for name, config in configs.items()]
    write_text(out, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
