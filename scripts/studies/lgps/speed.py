"""Molecular dynamics steps per second of 1,600 atoms of Li10GeP2S12 at the experimental volume.

    python scripts/studies/lgps/speed.py lgps-4 --threads 2 -o docs/lgps/speed.json

Dynamics by `run_md` at 500 K with Bussi's thermostat and time steps of 2 fs. The result is the median of several turns,
after a first one that lists neighbours and loads kernels.
"""

import json
import os
import statistics
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from conductivity import crystal

import gnnpot
from gnnpot.engines.md import MDConfig, run_md
from gnnpot.runs.files import write_text


def main(
    model: Annotated[str, typer.Argument(help="Name or path of a potential.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output JSON file.")],
    threads: Annotated[int, typer.Option(help="Threads of the calculator.")] = 1,
    repeats: Annotated[tuple[int, int, int], typer.Option(help="Supercell of 50 atoms.")] = (4, 4, 2),
    steps: Annotated[int, typer.Option(help="Steps of a turn.")] = 200,
    turns: Annotated[int, typer.Option(help="Number of turns.")] = 5,
) -> None:
    """Measure, and add a row to OUT."""
    torch.set_num_threads(threads)
    atoms = crystal() * repeats
    calculator = gnnpot.Calculator(model)
    config = MDConfig(temperature=500.0, timestep=2.0, steps=steps, taut=1000.0, interval=50)
    rates = []
    for turn in range(turns + 1):
        start = time.perf_counter()
        run_md(atoms, calculator, config)
        if turn:
            rates.append(steps / (time.perf_counter() - start))
    row = {
        "potential": Path(model).name,
        "atoms": len(atoms),
        "threads": threads,
        "steps_per_s": statistics.median(rates),
        "us_per_atom_and_step": 1e6 / statistics.median(rates) / len(atoms),
        "load_before": os.getloadavg()[0],
    }
    rows = json.loads(output.read_text()) if output.exists() else []
    key = ("potential", "atoms", "threads")
    rows = [r for r in rows if any(r[name] != row[name] for name in key)] + [row]
    write_text(output, json.dumps(rows, indent=1) + "\n")
    typer.echo(json.dumps(row))


if __name__ == "__main__":
    typer.run(main)
