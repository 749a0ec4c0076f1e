"""Time and memory of one step on a large crystal of silicon, beside the estimate that refuses what would not fit.

    python scripts/benchmarks/memory.py chgnet-0.3.0 --atoms 20000

Memory is the largest resident size during the step, less what the process held after a step on 64 atoms.
"""

import argparse
import threading
import time

import psutil
import torch
from ase.build import bulk
from rich.console import Console

import gnnpot
from gnnpot.models.memory import graph_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name or path of a potential")
    parser.add_argument("--atoms", type=int, default=20_000, help="at least so many")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    calculator = gnnpot.Calculator(options.model)
    cells = 2
    while 8 * cells**3 < options.atoms:
        cells += 1
    small, large = (bulk("Si", cubic=True) * (n, n, n) for n in (2, cells))
    for atoms in (small, large):
        atoms.rattle(0.02, seed=1)
        atoms.calc = calculator
    small.get_forces()
    process, peak, done = psutil.Process(), 0, threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    large.get_forces()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    potential = calculator.potential
    size = graph_size(large.positions, large.cell.array, large.pbc, potential.cutoff, potential.three_body_cutoff)
    estimate = size.bytes + potential.model.memory(size)
    Console().print(
        f"{options.model}: {len(large)} atoms, {seconds:.1f} s, {(peak - before) / 1e9:.2f} GB "
        f"(estimate {estimate / 1e9:.2f})"
    )


if __name__ == "__main__":
    main()
