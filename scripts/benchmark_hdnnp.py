"""Time of an HDNNP's energy and forces, in µs per atom and step.

    python scripts/benchmark_hdnnp.py --threads 1 2 --sizes 50 400 3200

The default structure is a made-up crystal with the composition and density of Li10GeP2S12; `--structure` takes any file
that ASE reads, `--n2p2` a folder of a published potential, whose functions and networks are then timed.
"""

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read

from gnnpot.data.frame import Frame
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.hdnnp import HDNNP, HDNNPConfig
from gnnpot.models.n2p2 import read_n2p2
from gnnpot.models.symmetry_sets import BehlerSet, ChebyshevSet, WeightedSet


def electrolyte() -> Atoms:
    """Li20Ge2P4S24 in 8.7 x 8.7 x 12.6 Å: 50 of 64 grid points, disordered, and displaced by 0.2 Å."""
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


def step(model: HDNNP, graph: Graph) -> None:
    """Energy and forces of a graph."""
    vectors = graph.edge_vectors.to(model.weights[0].dtype).detach().requires_grad_()
    energy = model(graph.clone_with_edge_vectors(vectors)).energies.sum()
    (g,) = torch.autograd.grad(energy, vectors)
    forces = g.new_zeros(len(graph.numbers), 3)
    forces.index_add_(0, graph.edge_index[0], g).index_add_(0, graph.edge_index[1], -g)


def best(function, seconds: float) -> float:
    """Shortest time of a call, in s."""
    function()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def models(elements: tuple[str, ...], folder: Path | None) -> dict[str, HDNNP]:
    if folder is not None:
        return {folder.parent.name: read_n2p2(folder).model}
    sets = {
        "weighted": WeightedSet(),
        "chebyshev": ChebyshevSet(),
        "behler": BehlerSet(angular_cutoff=4.5),
    }
    return {
        name: HDNNP(HDNNPConfig(elements=elements, symmetry_set=symmetry_set)) for name, symmetry_set in sets.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structure", type=Path)
    parser.add_argument("--n2p2", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 400, 3200])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent on each number")
    arguments = parser.parse_args()
    atoms = read(arguments.structure) if arguments.structure else electrolyte()
    elements = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    print("functions   atoms  threads  neighbours  energy+forces  neighbour list   (µs per atom)")
    for name, model in models(elements, arguments.n2p2).items():
        for size, threads in product(arguments.sizes, arguments.threads):
            torch.set_num_threads(threads)
            frame = Frame.from_atoms(grown(atoms, size), labels=False)
            graph = build_graph(frame, model.cutoff)
            scale = 1e6 / len(frame)
            model_time = best(lambda model=model, graph=graph: step(model, graph), arguments.seconds) * scale
            list_time = best(lambda frame=frame, model=model: build_graph(frame, model.cutoff), 0.2) * scale
            near = graph.num_edges / len(frame)
            row = f"{name:10} {len(frame):6d} {threads:8d} {near:11.1f} {model_time:14.1f} {list_time:15.1f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
