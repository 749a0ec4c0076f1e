"""M3GNet beside matgl's: an optimiser step, and a step of molecular dynamics.

    pip install "matgl==4.1.2" "torch==2.13.0"
    python scripts/benchmark_m3gnet.py --threads 1 --output m3gnet.json

Both models have the published size (64 units, 3 blocks, max_n = max_l = 3, cutoffs 5 and 4 Å, spherical Bessel basis)
and random weights, in single precision: the work is the same, the numbers don't matter. They take turns in one process,
so that whatever else the machine does meets both; the ratio is taken in each turn, and its median is given with the
range of the middle half.

- training: energies, forces and stress of one batch of rattled Si8 cells, their squared errors, the derivative with
  respect to the weights, and a step of Adam. Graphs are built beforehand, for both.
- dynamics: energy, forces and stress of Si at 64 and 512 atoms through the ASE calculators, the atoms moved a little
  each time as in a run: neighbour lists and triplets included.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from matgl.apps.pes import Potential as PeerPotential
from matgl.ext.ase import Atoms2Graph, PESCalculator
from matgl.models import M3GNet as PeerM3GNet
from rich.console import Console
from rich.table import Table
from torch_geometric.data import Batch

from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.potential import Potential

CUTOFF, THREE_BODY = 5.0, 4.0


def ours() -> Potential:
    torch.manual_seed(0)
    model = M3GNet(M3GNetConfig(elements=("Si",), radial_basis="spherical_bessel"))
    return Potential(model, ElementReferences.from_mapping({"energies": {"Si": 0.0}}))


def theirs() -> PeerPotential:
    torch.manual_seed(0)
    model = PeerM3GNet(
        element_types=("Si",),
        is_intensive=False,
        units=64,
        nblocks=3,
        max_n=3,
        max_l=3,
        cutoff=CUTOFF,
        threebody_cutoff=THREE_BODY,
    )
    return PeerPotential(model, calc_stresses=True)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def silicon(atoms: int, seed: int) -> Atoms:
    repeats = round((atoms / 8) ** (1 / 3))
    structure = bulk("Si", cubic=True).repeat(repeats)
    structure.rattle(0.05, seed=seed)
    return structure


def training_step_ours(structures: list[Atoms]) -> Callable[[], None]:
    potential = ours().train()
    batch = Batch.from_data_list([potential.graph(s) for s in structures])
    optimizer = torch.optim.Adam(potential.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        p = potential(batch, training=True)
        loss = (p.energy / 8).square().mean() + p.forces.square().mean() + p.stress.square().mean()
        loss.backward()
        optimizer.step()

    return step


def training_step_theirs(structures: list[Atoms]) -> Callable[[], None]:
    potential = theirs().train()
    converter = Atoms2Graph(("Si",), CUTOFF)
    graphs, lattices, _ = zip(*(converter.get_graph(s) for s in structures), strict=True)
    batch = Batch.from_data_list(list(graphs))
    lattice = torch.stack([l.reshape(3, 3) for l in lattices])  # noqa: E741
    optimizer = torch.optim.Adam(potential.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        energy, forces, stress, _ = potential(batch, lattice)
        loss = (energy / 8).square().mean() + forces.square().mean() + (stress / 160.2).square().mean()
        loss.backward()
        optimizer.step()

    return step


def dynamics_step(calculator: object, atoms: Atoms) -> Callable[[], None]:
    """Atoms that swing by 0.15 Å, at most 0.0075 Å a step: remembered neighbours don't last longer than in a run."""
    atoms = atoms.copy()
    rng = np.random.default_rng(0)
    swing = 0.15 * rng.standard_normal(atoms.positions.shape)
    atoms.calc = calculator
    origin, phase = atoms.positions.copy(), 0.0

    def step() -> None:
        nonlocal phase
        phase += 0.05
        atoms.positions = origin + swing * np.sin(phase)
        atoms.get_potential_energy()
        atoms.get_forces()
        calculator.get_property("stress", atoms)

    return step


def alternate(a: Callable[[], None], b: Callable[[], None], seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Times of a and b in turns, each turn at least three calls or a tenth of a second; s per call."""
    times: tuple[list[float], list[float]] = ([], [])
    for function in (a, b):
        for _ in range(3):
            function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, found in zip((a, b), times, strict=True):
            begin, calls = time.perf_counter(), 0
            while calls < 3 or time.perf_counter() - begin < 0.1:
                function()
                calls += 1
            found.append((time.perf_counter() - begin) / calls)
    return np.array(times[0]), np.array(times[1])


def measure(name: str, unit: str, scale: float, pair: tuple, seconds: float) -> dict:
    """One row: both medians in `unit` (scale × s), and how many times faster ours is, with quartiles."""
    a, b = alternate(*pair, seconds)
    low, middle, high = np.percentile(b / a, [25, 50, 75])
    row = {"what": name, "unit": unit, "turns": len(a), "ratio": middle, "ratio_quartiles": [low, high]}
    row["gnnpot"], row["matgl"] = (float(scale * np.median(t)) for t in (a, b))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=36, help="structures in a training batch")
    parser.add_argument("--seconds", type=float, default=15.0, help="time for each row")
    parser.add_argument("--output", type=Path, help="write the rows to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    structures = [silicon(8, seed) for seed in range(options.batch)]
    steps = (training_step_ours(structures), training_step_theirs(structures))
    rows = [
        measure(f"training, {options.batch} x Si8", "ms/structure", 1e3 / options.batch, steps, options.seconds)
    ]
    for n in (64, 512):
        atoms = silicon(n, 0)
        calculators = Calculator(ours()), PESCalculator(theirs().eval(), stress_unit="eV/A3", use_voigt=True)
        steps = tuple(dynamics_step(c, atoms) for c in calculators)
        rows.append(measure(f"dynamics, Si{len(atoms)}", "µs/atom-step", 1e6 / len(atoms), steps, options.seconds))
    table = Table("", "unit", "gnnpot", "matgl", "matgl / gnnpot (quartiles)", title=f"{options.threads} threads")
    for r in rows:
        low, high = r["ratio_quartiles"]
        ratio = f"{r['ratio']:.2f} ({low:.2f} to {high:.2f})"
        table.add_row(r["what"], r["unit"], f"{r['gnnpot']:.2f}", f"{r['matgl']:.2f}", ratio)
    Console().print(table)
    if options.output:
        weights = {"gnnpot": parameters(ours()), "matgl": parameters(theirs())}
        about = {"threads": options.threads, "torch": torch.__version__, "cpu": platform.machine(), "weights": weights}
        about["rows"] = rows
        options.output.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
