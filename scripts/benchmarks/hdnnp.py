"""Time of a step of an HDNNP in µs per atom, and comparison with another engine for the same potential.

    python scripts/benchmarks/hdnnp.py                                # one thread, processor time
    python scripts/benchmarks/hdnnp.py --threads 1 2 --clock wall     # on an idle machine
    python scripts/benchmarks/hdnnp.py --functions chosen --zbl       # with ZBL repulsion
    python scripts/benchmarks/hdnnp.py --lammps lmp                   # Debian's lammps and openkim-models

Columns: energies of the model and their derivative; energy and forces of the potential for a given graph; a step of the
calculator in MD (neighbours, energy, forces and stress of moved atoms). The default structure is an artificial crystal
with the composition and density of Li10GeP2S12. `--structure` takes any file that ASE reads. `--n2p2` takes the folder
of a published potential, whose symmetry functions and networks are then timed.
"""

import argparse
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import hdnnp_peer
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers
from ase.io import read

from gnnpot.data.frame import Frame
from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.graphs import build_graph
from gnnpot.hub.importers.n2p2 import read_n2p2
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.symmetry_choice import choose_functions
from gnnpot.models.symmetry_sets import BehlerSet, ChebyshevSet, WeightedSet
from gnnpot.models.zbl import ZBL, ZBLConfig
from gnnpot.potential import Potential

FUNCTIONS = ("weighted", "chebyshev", "behler", "chosen")
CLOCKS = {"process": time.process_time, "wall": time.perf_counter}


def electrolyte() -> Atoms:
    """Li20Ge2P4S24 in a cell of 8.7 x 8.7 x 12.6 Å: 50 of 64 grid points in random order, displaced by 0.2 Å."""
    rng = np.random.default_rng(0)
    grid = np.array(list(product(range(4), range(4), range(4)))) / 4
    symbols = rng.permutation(["Li"] * 20 + ["Ge"] * 2 + ["P"] * 4 + ["S"] * 24)
    atoms = Atoms(symbols, cell=[8.7, 8.7, 12.6], pbc=True)
    atoms.set_scaled_positions(rng.permutation(grid)[:50])
    atoms.rattle(0.2, seed=0)
    return atoms


def grown(atoms: Atoms, size: int) -> Atoms:
    """A supercell of about `size` atoms."""
    repeats = [1, 1, 1]
    while len(atoms) * int(np.prod(repeats)) * 2 <= size:
        repeats[int(np.argmin(repeats * atoms.cell.lengths()))] *= 2
    return atoms * repeats


def best(function: Callable[[], object], seconds: float, clock: Callable[[], float]) -> float:
    """Shortest time of a call, in s; calls are repeated for `seconds`."""
    function()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = clock()
        function()
        times.append(clock() - begin)
    return min(times)


def models(atoms: Atoms, kinds: list[str], folder: Path | None) -> dict[str, HDNNP]:
    if folder is not None:
        return {folder.parent.name: read_n2p2(folder).model}
    elements = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    graphs = [build_graph(Frame.from_atoms(moved(atoms, seed), labels=False), 6.0) for seed in range(20)]
    configs = {
        "weighted": lambda: {"symmetry_set": WeightedSet()},
        "chebyshev": lambda: {"symmetry_set": ChebyshevSet()},
        "behler": lambda: {"symmetry_set": BehlerSet(angular_cutoff=4.5)},
        "chosen": lambda: {"symmetry_functions": choose_functions(graphs, elements, 64, 6.0, 4.5)},
    }
    return {kind: HDNNP(HDNNPConfig(elements=elements, **configs[kind]())) for kind in kinds}


def moved(atoms: Atoms, seed: int) -> Atoms:
    """Return a slightly displaced copy of the atoms."""
    atoms = atoms.copy()
    atoms.rattle(0.1, seed=seed)
    return atoms


class Steps:
    """Function that runs a step of a calculator for atoms that move back and forth by 0.02 Å, as in MD."""

    def __init__(self, atoms: Atoms, potential: Potential) -> None:
        self.atoms, self.step = atoms.copy(), 1
        self.atoms.calc = Calculator(potential)
        self.direction = np.random.default_rng(0).normal(0, 0.012, (len(atoms), 3))

    def __call__(self) -> np.ndarray:
        self.step = -self.step
        self.atoms.positions += self.step * self.direction
        return self.atoms.get_forces()


def time_ours(atoms: Atoms, arguments: argparse.Namespace) -> None:
    """Print a line for each set of symmetry functions, size and number of threads."""
    clock = CLOCKS[arguments.clock]
    print("functions   atoms  threads  neighbours    model   energy+forces   step in MD   (µs per atom)")
    for name, model in models(atoms, arguments.functions, arguments.n2p2).items():
        numbers = sorted(atomic_numbers[e] for e in model.elements)
        terms = [ZBL(ZBLConfig(elements=model.elements))] if arguments.zbl else []
        potential = Potential(model, ElementReferences(tuple(numbers), (0.0,) * len(numbers)), terms=terms).eval()
        for size, threads in product(arguments.sizes, arguments.threads):
            torch.set_num_threads(threads)
            structure = grown(atoms, size)
            graph = build_graph(Frame.from_atoms(structure, labels=False), model.cutoff)
            calls = (
                lambda model=model, graph=graph: model.energies_and_gradient(graph),
                lambda potential=potential, graph=graph: potential(graph, stress=False),
                Steps(structure, potential),
            )
            times = [best(call, arguments.seconds, clock) * 1e6 / len(structure) for call in calls]
            near = graph.num_edges / len(structure)
            row = f"{name:10} {len(structure):6d} {threads:8d} {near:11.1f} {times[0]:8.1f} {times[1]:15.1f}"
            print(f"{row} {times[2]:12.1f}", flush=True)


def compare(arguments: argparse.Namespace) -> None:
    """Compare KIM's DUNN potential of carbon in LAMMPS and gnnpot: energy, forces, processor time per atom and step."""
    potential = hdnnp_peer.read_dunn(arguments.kim)
    torch.set_num_threads(1)
    print(f"\n{hdnnp_peer.MODEL} ({len(potential.model.config.symmetry_functions)} functions), one thread")
    print(
        "atoms  energy differs   forces differ   of at most   gnnpot   LAMMPS   ratio   (µs per atom, processor time)"
    )
    for repeats in (2, 3):
        atoms = bulk("C", cubic=True) * (repeats, repeats, repeats)
        atoms.rattle(0.1, seed=1)
        steps = Steps(atoms, potential)
        steps.atoms.positions[:] = atoms.positions
        energy, forces = steps.atoms.get_potential_energy(), steps.atoms.get_forces()
        theirs = hdnnp_peer.lammps(arguments.lammps, atoms, steps=3)
        ours = best(steps, arguments.seconds, time.process_time) * 1e6 / len(atoms)
        other = theirs.seconds_per_step * 1e6 / len(atoms)
        energy, away = abs(theirs.energy - energy) / len(atoms), np.abs(theirs.forces - forces).max()
        row = f"{len(atoms):5d} {energy:12.1e} eV {away:10.1e} eV/Å {np.abs(forces).max():7.2f} eV/Å"
        print(f"{row} {ours:9.1f} {other:8.0f} {other / ours:7.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structure", type=Path)
    parser.add_argument("--n2p2", type=Path)
    parser.add_argument("--functions", choices=FUNCTIONS, nargs="+", default=list(FUNCTIONS), help="symmetry functions")
    parser.add_argument("--zbl", action="store_true", help="add ZBL repulsion to the potential")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 400, 3200])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--clock", choices=CLOCKS, default="process", help="processor time of all threads (process), or wall time"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent on each measurement")
    parser.add_argument("--lammps", help="LAMMPS executable with KIM, to compare with")
    parser.add_argument("--kim", type=Path, default=hdnnp_peer.FOLDER, help="folder of KIM portable models")
    arguments = parser.parse_args()
    time_ours(read(arguments.structure) if arguments.structure else electrolyte(), arguments)
    if arguments.lammps:
        compare(arguments)


if __name__ == "__main__":
    main()
