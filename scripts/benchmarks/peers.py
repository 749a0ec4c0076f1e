"""Compare gnnpot with the original packages of published potentials: time of a step, time of training, memory.

    pip install ".[peers]"
    python scripts/benchmarks/peers.py --threads 2 --output peers                # all: a few hours
    python scripts/benchmarks/peers.py --only chgnet --structures Si --sizes 64,512 --seconds 5   # a few minutes

Both sides run the same weights in float32 on the same structures and numbers of threads, in alternation in one process,
so that other load on the machine affects both. The ratio is computed in each turn; its median and quartiles are shown.

- step: energy, forces and stress by the ASE calculators with default settings, including neighbours. The atoms
  oscillate as in molecular dynamics, so that no result is cached and neighbour lists are reused only as in a run. The
  energies and forces of the first step are compared: a row whose sides differ by more than 1e-5 eV/atom or 1e-4 eV/Å is
  marked, with the deviation of each from gnnpot in float64, and the exit status is 1.
- training: a step of Adam on 8 structures with 66 atoms in total, see `peer_potentials.py`; the first losses are
  compared.
- memory: the peak memory that one step adds to a new process with the loaded potential, from 512 atoms. A size that
  would not fit, extrapolated from the next smaller one by the number of atoms, is skipped, and the table says so.

With `--output`, all numbers, a table and a plot are written during the run, and a run with the same folder resumes with
the missing measurements.
"""

import argparse
import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import combinations_with_replacement
from pathlib import Path

import numba
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.spacegroup import crystal
from peer_potentials import PEERS, Peer, labelled, our_training_step
from peers_report import ENERGY_TOLERANCE, FORCE_TOLERANCE, OURS, Results, table
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError, GnnpotError, suggest
from gnnpot.properties.suites.speed import alternate, moving

SIZES = (8, 64, 512, 4096)
#: number of atoms from which memory is measured; smaller structures always fit
MEMORY_FROM = 512
#: relative tolerance of the losses: the stress is averaged over 6 or 9 components
LOSS_TOLERANCE = 1e-2
CELLS: dict[str, Callable[[], Atoms]] = {
    "Si": lambda: bulk("Si", cubic=True),
    "NaCl": lambda: bulk("NaCl", "rocksalt", a=5.64, cubic=True),
    "SrTiO3": lambda: crystal(
        ["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[3.905] * 3 + [90] * 3
    ),
}
#: number of cells of each structure in the training batch, 66 atoms in total
BATCH = {"Si": (1, 1, 2), "NaCl": (1, 1, 1), "SrTiO3": (1, 1)}


def structure(name: str, size: int) -> Atoms:
    """A rattled, nearly cubic supercell of about `size` atoms."""
    cell = CELLS[name]()
    most = range(1, round((size / len(cell)) ** (1 / 3)) + 3)

    def miss(repeats: tuple[int, ...]) -> float:
        return abs(np.prod(repeats) * len(cell) / size - 1) + 0.05 * (max(repeats) / min(repeats) - 1)

    atoms = cell.repeat(min(combinations_with_replacement(most, 3), key=miss))
    atoms.rattle(0.05, seed=0)
    return atoms


def training_structures() -> list[Atoms]:
    atoms = [CELLS[name]().repeat((cells, 1, 1)) for name, all_cells in BATCH.items() for cells in all_cells]
    for seed, one in enumerate(atoms):
        one.rattle(0.05, seed=seed)
    return labelled(atoms)


def calculator_of(peer: Peer, side: str, dtype: torch.dtype = torch.float32) -> BaseCalculator:
    return Calculator(peer.ours(peer.name), dtype=dtype) if side == OURS else peer.calculator(peer.name)


def use_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def peak_memory(number: int, side: str, name: str, size: int, threads: int) -> float:
    """Peak memory that one step adds to the process, GB; to be called in a new process."""
    use_threads(threads)
    step = moving(calculator_of(PEERS[number], side), structure(name, size))
    # not the peak of getrusage, which includes the peak of the parent and temporary memory during loading
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("/proc/self/status", "VmRSS")
    step()
    return (_kilobytes("/proc/self/status", "VmHWM") - before) / 1e6


def _kilobytes(path: str, name: str) -> int:
    (line,) = (line for line in Path(path).read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


class Benchmark:
    """Measure everything that is missing in `results`."""

    def __init__(self, results: Results, options: argparse.Namespace) -> None:
        self.results, self.options = results, options

    def free(self) -> float:
        """Memory limit of a step, GB."""
        return self.options.memory or 0.8 * _kilobytes("/proc/meminfo", "MemAvailable") / 1e6

    def why_not(self, peer: Peer, side: str, name: str, size: int) -> str:
        """Reason for skipping a size, or an empty text; measures its memory if needed."""
        if self.options.no_memory or size < MEMORY_FROM:
            return ""
        if size > MEMORY_FROM:
            # extrapolate from a smaller size
            smaller = max((s for s in self.options.sizes if MEMORY_FROM <= s < size), default=MEMORY_FROM)
            reason = self.why_not(peer, side, name, smaller)
            if reason:
                return reason
            known = self.results.memory[f"{peer.name}/{name}/{smaller}/{side}"]
            expected = known["gb"] * len(structure(name, size)) / known["atoms"]
            if expected > self.free():
                return f"needs about {expected:.0f} GB"
        key = f"{peer.name}/{name}/{size}/{side}"
        if "gb" not in self.results.memory.get(key, {}):
            self.results.memory[key] = self._memory(peer, side, name, size)
            self.results.write()
        return self.results.memory[key].get("failed", "")

    def _memory(self, peer: Peer, side: str, name: str, size: int) -> dict:
        arguments = (PEERS.index(peer), side, name, size, self.options.threads)
        # a new interpreter: memory already held by this one would hide the memory of the step
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                return {"atoms": len(structure(name, size)), "gb": pool.submit(peak_memory, *arguments).result()}
            except (BrokenProcessPool, MemoryError, RuntimeError, GnnpotError) as error:
                reason = "ended by the system" if isinstance(error, BrokenProcessPool) else str(error).splitlines()[0]
                return {"failed": reason}

    def step(self, peer: Peer, name: str, size: int) -> None:
        """Time of energy, forces and stress, and the differences between the sides."""
        reasons = {side: self.why_not(peer, side, name, size) for side in (OURS, peer.package)}
        skipped = {side: reason for side, reason in reasons.items() if reason}
        key = f"{peer.name}/{name}/{size}"
        if key in self.results.steps and self.results.steps[key]["skipped"].keys() <= skipped.keys():
            return
        atoms = structure(name, size)
        row: dict = {"atoms": len(atoms), "skipped": skipped}
        sides = [side for side in reasons if side not in skipped]
        steps = [moving(calculator_of(peer, side), atoms) for side in sides]
        first = [step() for step in steps]
        if len(first) == 2:
            (e, f), (their_e, their_f) = first
            row["energy_difference"] = float(abs(e - their_e))
            row["force_difference"] = float(np.abs(f - their_f).max())
            row["agrees"] = bool(
                row["energy_difference"] <= ENERGY_TOLERANCE and row["force_difference"] <= FORCE_TOLERANCE
            )
            if not row["agrees"]:
                # which side has the rounding error?
                _, exact = moving(calculator_of(peer, OURS, torch.float64), atoms)()
                apart = [float(np.abs(forces - exact).max()) for _, forces in first]
                row["from_float64"] = dict(zip(sides, apart, strict=True))
        row["seconds"] = dict(zip(sides, alternate(steps, self.options.seconds), strict=True)) if steps else {}
        row["load"] = os.getloadavg()[0]
        self.results.steps[key] = row
        self.results.write()

    def training(self, peer: Peer) -> None:
        """Time of an optimiser step, and the initial losses of both sides."""
        if peer.name in self.results.training:
            return
        structures = training_structures()
        steps = our_training_step(peer, structures), peer.training_step(peer.name, structures)
        sides = (OURS, peer.package)
        losses = [step() for step in steps]
        self.results.training[peer.name] = {
            "structures": len(structures),
            "atoms": sum(map(len, structures)),
            "losses": dict(zip(sides, losses, strict=True)),
            "agrees": bool(abs(losses[0] - losses[1]) <= LOSS_TOLERANCE * abs(losses[1])),
            "seconds": dict(zip(sides, alternate(steps, self.options.seconds), strict=True)),
            "load": os.getloadavg()[0],
        }
        self.results.write()

    def run(self, peers: Sequence[Peer], console: Console) -> None:
        o = self.options
        jobs = [(self.training, (peer,)) for peer in peers if not o.no_training]
        jobs += [(self.step, (p, name, size)) for size in o.sizes for p in peers for name in o.structures]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console, redirect_stdout=False) as progress:
            task = progress.add_task("", total=len(jobs))
            for job, (peer, *rest) in jobs:
                progress.update(task, description=" ".join([peer.name, *map(str, rest or ["training"])]))
                job(peer, *rest)
                gc.collect()
                progress.advance(task)
                if not console.is_terminal:
                    console.print(progress.tasks[task].description, "done")


def chosen_peers(only: Sequence[str]) -> list[Peer]:
    """Peers whose name or package starts with one of `only`; all if it is empty."""
    names = {p.name for p in PEERS} | {p.package for p in PEERS}
    for word in only:
        if not any(name.startswith(word) for name in names):
            raise ConfigError(f"--only: there is no '{word}'; {suggest(word, names)}")
    return [p for p in PEERS if not only or any(n.startswith(w) for w in only for n in (p.name, p.package))]


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", type=words, default=[], help="names or packages of potentials, as 7net-0,chgnet")
    parser.add_argument("--structures", type=words, default=list(CELLS), help=",".join(CELLS))
    parser.add_argument("--sizes", type=lambda t: sorted(map(int, words(t))), default=SIZES, help="numbers of atoms")
    parser.add_argument("--seconds", type=float, default=15.0, help="duration (s) of each row, after the first steps")
    parser.add_argument(
        "--memory", type=float, help="memory limit (GB) of a step; default: four fifths of the free memory"
    )
    parser.add_argument("--no-memory", action="store_true", help=f"times only, up to {MEMORY_FROM} atoms")
    parser.add_argument("--no-training", action="store_true", help="steps of the calculators only")
    parser.add_argument("--output", type=Path, help="output folder of peers.json, peers.md and peers.png")
    options = parser.parse_args()
    for name in options.structures:
        if name not in CELLS:
            raise ConfigError(f"--structures: there is no '{name}'; {suggest(name, CELLS)}")
    if options.no_memory and max(options.sizes, default=0) > MEMORY_FROM:
        raise ConfigError(f"--no-memory: sizes above {MEMORY_FROM} need their memory measured first; leave it out")
    return options


def main() -> int:
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    try:
        options = read_options()
        peers = chosen_peers(options.only)
        use_threads(options.threads)
        results = Results(options.output, options.threads, peers)
        Benchmark(results, options).run(peers, console)
    except GnnpotError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 1
    for one in table(results):
        console.print(one)
    if results.busy > 0.5:
        console.print(f"Other work took up to {results.busy:.1f} threads: times are longer, ratios less sure.")
    return 0 if results.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
