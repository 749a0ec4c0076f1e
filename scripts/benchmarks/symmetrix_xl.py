"""Compare symmetrix-xl with gnnpot: time of energy, forces and stress of silicon on the CPU.

    python -m venv peer
    peer/bin/pip install mace-torch symmetrix-xl matscipy
    python scripts/benchmarks/symmetrix_xl.py peer/bin/python --folder symmetrix --prepare     # compiles, ten minutes
    python scripts/benchmarks/symmetrix_xl.py peer/bin/python --folder symmetrix               # nothing else running

symmetrix-xl runs MACE models. The model used here has the architecture of MACE-MPA-0 (`symmetrix_xl_worker.py`), and so
the published number of parameters. The weights are random, which does not affect the time, and the pair repulsion is
omitted. It runs with the defaults of its calculator: float32, kernels compiled for the model and the CPU (by `c++`),
and neighbour lists with a skin of 0.5 Å. Both of its profiles are timed. Its threads are bound to cores, as
recommended, and its BLAS uses one thread, as in its own benchmark.

Each potential runs in its own process, so that thread pools do not interfere. The processes compute in alternation, one
at a time. A step is requested by a line through a pipe, whose time (below 0.1 ms) is part of the time of the step. All
atoms oscillate through the same positions. Writes docs/benchmarks/symmetrix-xl.json, which
`scripts/studies/accuracy/page.py` reads.
"""

import json
import os
import platform
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from symmetrix_xl_worker import MODEL, PEER

from gnnpot.properties.suites.speed import alternate, cpu_name, silicon
from gnnpot.runs.files import write_text

WORKER = Path(__file__).with_name("symmetrix_xl_worker.py")
POTENTIALS = ("7net-0", "7net-l3i5", "nequix-oam-1")
#: potential to which the ratios refer
UNIT = "7net-0"
#: profiles of symmetrix-xl: `capacity`, the default, recomputes values that `speed` stores, and compiles more kernels
PROFILES = ("capacity", "speed")
SIZES = (64, 512)
#: amplitude of the oscillation, Å, and number of steps per period
SWING, STEPS = 0.15, 126


class Worker:
    """A process that computes a step on request."""

    def __init__(self, python: str, name: str, folder: Path, threads: int) -> None:
        self.name = name
        settings = {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
        if name.startswith(PEER):
            settings |= {
                "KOKKOS_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1", "OMP_PROC_BIND": "spread",
                "OMP_PLACES": "threads", "SYMMETRIX_JIT_CACHE": str(folder / "jit"),
            }  # fmt: skip
        self.process = subprocess.Popen(
            [python, str(WORKER), name, str(folder)], env={**os.environ, **settings},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.about: dict[str, Any] = {}

    def answer(self) -> Any:
        line = self.process.stdout.readline()  # type: ignore[union-attr] # it is a pipe
        if not line:
            raise SystemExit(f"{self.name}: the process ended; its last lines say why")
        return json.loads(line)

    def step(self, size: int) -> None:
        self.process.stdin.write(f"{size}\n")  # type: ignore[union-attr] # it is a pipe
        if not self.answer():
            raise SystemExit(f"{self.name}: an energy, force or stress of {size} atoms is not a number")


def main(
    peer: Annotated[str, typer.Argument(help="Python interpreter with symmetrix-xl and mace-torch.")],
    folder: Annotated[Path, typer.Option(help="Folder of the converted model and the kernels of symmetrix-xl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file.")] = Path(
        "docs/benchmarks/symmetrix-xl.json"
    ),
    threads: Annotated[int, typer.Option(help="Threads of each potential.")] = 2,
    seconds: Annotated[float, typer.Option(help="Wall time (s) for each potential and size.")] = 8.0,
    prepare: Annotated[bool, typer.Option("--prepare", help="Convert and compile only.")] = False,
) -> None:
    """Run the measurements, and write the JSON file."""
    load = os.getloadavg()[0]
    folder = folder.resolve()
    model = prepared(peer, folder)
    workers = [Worker(peer, f"{PEER}:{profile}", folder, threads) for profile in PROFILES]
    if not prepare:
        workers += [Worker(sys.executable, name, folder, threads) for name in POTENTIALS]
    for worker in workers:
        worker.about = worker.answer()
        for size in SIZES:
            worker.step(size)
    if prepare:
        return
    rows = [row for size in SIZES for row in measure(workers, size, seconds)]
    about = {
        "cpu": cpu_name(), "threads": threads, "clock": "wall time", "python": platform.python_version(),
        "date": date.today().isoformat(), "load": load, "structure": "Si", "model": model,
        "sides": {worker.name: worker.about for worker in workers},
    }  # fmt: skip
    write_text(output, json.dumps({"about": about, "rows": rows}, indent=1, ensure_ascii=False) + "\n")
    for row in rows:
        print(f"{row['potential']} {row['atoms']} {row['ms']:.3g} ms, {row['us_per_atom']:.3g} µs/atom")


def prepared(peer: str, folder: Path) -> dict[str, Any]:
    """Write the structures and the MACE model to the folder; returns a description of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        atoms = silicon(size)
        swing = SWING * np.random.default_rng(0).standard_normal(atoms.positions.shape)
        positions = atoms.positions + swing * np.sin(2 * np.pi * np.arange(STEPS) / STEPS)[:, None, None]
        np.savez(folder / f"{len(atoms)}.npz", numbers=atoms.numbers, cell=atoms.cell.array, positions=positions)
    about = folder / "about.json"
    if not (about.exists() and (folder / MODEL).exists()):
        command = [peer, str(WORKER), "convert", str(folder)]
        about.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return json.loads(about.read_text())


def measure(workers: list[Worker], size: int, seconds: float) -> list[dict[str, Any]]:
    """Median and quartiles of the times of all potentials, in turns; the ratio to `UNIT` is computed in each turn."""
    found = alternate([partial(worker.step, size) for worker in workers], seconds * len(workers))
    unit = found[[worker.name for worker in workers].index(UNIT)]
    rows = []
    for worker, times in zip(workers, found, strict=True):
        low, middle, high = (1e3 * float(np.percentile(times, q)) for q in (25, 50, 75))
        rows.append(
            {
                "potential": worker.name, "atoms": size, "ms": middle, "quartiles": [low, high],
                "us_per_atom": 1e3 * middle / size, "ratio": float(np.median(np.divide(times, unit))),
                "turns": len(times),
            }
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    typer.run(main)
