"""Peak memory of one step, compared with the estimate used to refuse structures that would not fit.

    python scripts/benchmarks/memory.py gnnpot-1 chgnet-0.3.0 path/to/hdnnp -o docs/benchmarks/memory.json

Each potential and dtype is measured in its own process: first a step of eight atoms, which loads all kernels, then one
step of each structure with a new calculator. The memory is the peak resident size during the step (counted by the Linux
kernel, reset before the step), minus the resident size before it. Linux only.

    python scripts/benchmarks/memory.py --estimate -o docs/benchmarks/memory.json

After a change of the estimates: compute them again for all rows of the file, and keep the measured values.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from rich.console import Console
from rich.progress import track

import gnnpot
from gnnpot.engines.warm import small_structure
from gnnpot.graphs.size import graph_size
from gnnpot.graphs.skin import SKIN
from gnnpot.potential import Potential


def structures(elements: tuple[str, ...], atoms: int) -> dict[str, Atoms]:
    """Open and dense crystals, a slab and a gas of a potential's first elements, each of about the given size."""
    first, last = ("Na", "Cl") if {"Na", "Cl"} <= set(elements) else (elements[0], elements[-1])
    metal = "Cu" if "Cu" in elements else first
    semiconductor = "Si" if "Si" in elements else first
    diamond, salt = bulk("Si", cubic=True), bulk("NaCl", "rocksalt", a=5.7, cubic=True)
    copper = bulk("Cu", cubic=True)
    side = max(2, round((atoms / 16) ** 0.5))
    slab = fcc111("Cu", (side, side, 16), vacuum=10.0)
    found = {
        "diamond": _named(_repeated(diamond, atoms), semiconductor),
        "rock salt": _named(_repeated(salt, atoms), first, last),
        "fcc": _named(_repeated(copper, atoms), metal),
        "slab": _named(slab, metal),
        "gas": _named(_gas(atoms), first),
    }
    for structure in found.values():
        structure.rattle(0.02, seed=1)
    return found


def _repeated(cell: Atoms, atoms: int) -> Atoms:
    n = max(1, round((atoms / len(cell)) ** (1 / 3)))
    return cell * (n, n, n)


def _gas(atoms: int) -> Atoms:
    """Gas: atoms on a random quarter of the points of a 3 Å grid."""
    n = round((4 * atoms) ** (1 / 3))
    places = 3.0 * np.stack(np.meshgrid(*[np.arange(n)] * 3), axis=-1).reshape(-1, 3)
    chosen = np.random.default_rng(0).choice(len(places), len(places) // 4, replace=False)
    return Atoms(f"H{len(chosen)}", positions=places[chosen], cell=[3.0 * n] * 3, pbc=True)


def _named(atoms: Atoms, first: str, last: str | None = None) -> Atoms:
    symbols = sorted(set(atoms.symbols))
    names = {symbols[0]: first, symbols[-1]: first} if last is None else {"Na": first, "Cl": last}
    atoms.symbols = [names[s] for s in atoms.symbols]
    return atoms


class PeakMemory:
    """Measure the growth of the resident memory and its peak from here on, bytes."""

    def __init__(self) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        self._before = psutil.Process().memory_info().rss

    @property
    def peak(self) -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0]) - self._before


def measure(model: str, dtype: str, counts: list[int]) -> list[dict]:
    """Return a row for each structure with the estimated and the measured memory."""
    potential = gnnpot.load(model).to(getattr(torch, dtype))
    warm_up = small_structure(potential)
    warm_up.calc = gnnpot.Calculator(potential)
    warm_up.get_forces()
    warm_up.rattle(0.01, seed=2)
    warm_up.get_forces()
    rows = []
    for count in counts:
        for name, atoms in structures(potential.elements, count).items():
            rows.append({"model": model, "dtype": dtype, **_measured(potential, name, atoms)})
    return rows


def _measured(potential: Potential, name: str, atoms: Atoms) -> dict:
    atoms.calc = calculator = gnnpot.Calculator(potential)
    # the calculator's copy of the model, with arrays derived from the parameters
    small_structure(potential).calc = calculator
    calculator.calculate(small_structure(potential), ["forces"])
    size = graph_size(
        atoms.positions, atoms.cell.array, atoms.pbc, potential.cutoff, potential.three_body_cutoff,
        calculator.neighbors.skin,
    )  # fmt: skip
    memory = PeakMemory()
    atoms.get_forces()
    return {
        "structure": name, "atoms": len(atoms), "edges": size.edges, "triplets": size.triplets,
        "estimate": potential.memory(size), "measured": memory.peak,
    }  # fmt: skip


def estimated(rows: list[dict], counts: list[int]) -> list[dict]:
    """Update the estimates of the rows; `counts` are the numbers of atoms requested when they were measured."""
    found = []
    for model, dtype in sorted({(row["model"], row["dtype"]) for row in rows}):
        potential = gnnpot.load(model).to(getattr(torch, dtype))
        same = {(name, len(a)): a for count in counts for name, a in structures(potential.elements, count).items()}
        for row in (row for row in rows if (row["model"], row["dtype"]) == (model, dtype)):
            atoms = same[row["structure"], row["atoms"]]
            size = graph_size(
                atoms.positions, atoms.cell.array, atoms.pbc, potential.cutoff, potential.three_body_cutoff, skin=SKIN
            )
            sizes = {"edges": size.edges, "triplets": size.triplets, "estimate": potential.memory(size)}
            found.append({**row, **sizes})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="names or paths of potentials")
    parser.add_argument(
        "--atoms", type=int, nargs="+", default=[500, 4000], help="approximate numbers of atoms of the structures"
    )
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("-o", "--output", type=Path, help="JSON file, in which rows of other potentials are kept")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--estimate", action="store_true", help="only update the estimates in the output file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        sys.stdout.write(json.dumps(measure(options.models[0], options.dtypes[0], options.atoms)))
        return
    rows = json.loads(options.output.read_text()) if options.output is not None and options.output.is_file() else []
    if options.estimate:
        rows = estimated(rows, options.atoms)
    for model, dtype in track([(m, d) for m in options.models for d in options.dtypes], console=Console(stderr=True)):
        command = [sys.executable, __file__, model, "--dtypes", dtype, "--one", "--threads", str(options.threads)]
        command += ["--atoms", *map(str, options.atoms)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows = [row for row in rows if (row["model"], row["dtype"]) != (model, dtype)] + found
        if options.output is not None:
            options.output.write_text(json.dumps(rows, indent=1) + "\n")
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
    Console().print(table(rows), markup=False)


def table(rows: list[dict]) -> str:
    """Markdown table with a row for each potential, dtype and structure."""
    lines = ["| potential | precision | structure | atoms | neighbours | measured, MiB | estimate, MiB | ratio |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in rows:
        neighbors, ratio = r["edges"] / r["atoms"], r["estimate"] / r["measured"]
        lines.append(
            f"| {Path(r['model']).name} | {r['dtype']} | {r['structure']} | {r['atoms']} | {neighbors:.0f} | "
            f"{r['measured'] / 2**20:.0f} | {r['estimate'] / 2**20:.0f} | {ratio:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
