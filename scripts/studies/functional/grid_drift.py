"""Grid dependence of the kinetic energy of a fixed density, and the part of the inputs that a grid can't represent.

    python scripts/studies/functional/grid_drift.py runs/functional/grids -o docs/functional/grid-drift.json

Kohn-Sham densities of undisplaced crystals, computed in the folder on a grid of 9/bohr, are truncated to coarser grids.
`drift` is T minus T on a grid twice as fine (meV/atom), for the von Weizsäcker part and the whole functional, by the
cutoff of the grid. `tails` are the parts of x_2 and x_3 (root mean square) beyond 6 and 9/bohr.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gnnpot.functional import crystals
from gnnpot.functional.data import Sample, Task, generate, read_sample
from gnnpot.functional.functionals import von_weizsacker
from gnnpot.functional.grid import Grid, resample
from gnnpot.functional.network import LearnedFunctional
from gnnpot.functional.space import FourierSpace, integral
from gnnpot.functional.store import load, locate
from gnnpot.functional.symmetry import grid_for
from gnnpot.runs.files import write_text
from gnnpot.units import BOHR, HARTREE

CRYSTALS = ("Si", "AlP", "AlAs", "GaAs", "InP")
CUTOFFS = (6.0, 6.5, 7.5, 9.0)


def on_grid(sample: Sample, shape: tuple[int, int, int]) -> tuple[Tensor, FourierSpace]:
    """The density on a grid of the sample's cell."""
    space = FourierSpace(Grid(sample.atoms.cell.array / BOHR, shape))
    return torch.from_numpy(np.ascontiguousarray(resample(sample.density, space.grid))).reshape(1, -1), space


def fine_shape(sample: Sample) -> tuple[int, int, int]:
    a, b, c = (2 * n for n in sample.density.shape)
    return a, b, c


def drift(functional: LearnedFunctional, sample: Sample) -> dict[str, dict[str, float]]:
    """{cutoff: T on its grid minus T on the fine grid}, meV/atom."""

    def energies(shape: tuple[int, int, int]) -> np.ndarray:
        density, space = on_grid(sample, shape)
        with torch.no_grad():
            parts = float(integral(space, von_weizsacker(density, space))), float(functional.energy(density, space))
        return 1000 * HARTREE * np.array(parts) / len(sample.atoms)

    fine = energies(fine_shape(sample))
    differences = {cutoff: energies(grid_for(sample.atoms, cutoff).shape) - fine for cutoff in CUTOFFS}
    return {f"{c:g}": {"von_weizsacker": float(d[0]), "whole": float(d[1])} for c, d in differences.items()}


def tails(functional: LearnedFunctional, sample: Sample) -> list[float]:
    """Parts of x_2 beyond 6 and 9/bohr, then of x_3."""
    density, space = on_grid(sample, fine_shape(sample))
    with torch.no_grad():
        x = functional.inputs(density, space)[0]
    result = []
    for number in (1, 2):
        power = space.power(x[:, number])[0]
        whole = power[space.g[0] > 0].sum()
        result += [float((power[space.g[0] > end].sum() / whole).sqrt()) for end in (6.0, 9.0)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    tasks = [Task(name, name, crystals.zincblende(name), cutoff=CUTOFFS[-1]) for name in CRYSTALS]
    samples = {path.stem: read_sample(path) for path in generate(tasks, arguments.samples)}
    shipped = load(locate("gnnpot-kedf-1"))
    result = {
        name: {"drift": drift(shipped, sample), "tails": tails(shipped, sample)} for name, sample in samples.items()
    }
    write_text(arguments.output, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
