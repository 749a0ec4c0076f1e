"""How far the kinetic energy of a fixed density depends on the grid, and how much of the inputs a grid can't hold.

    python scripts/studies/functional/grid_drift.py runs/functional/data -o docs/functional/grid-drift.json

Densities are those of crystals of the training data at rest, band-limited on the grid of 6.5/bohr. Each is also put on
a grid three times as fine; `drift` is what T of the shipped functional changes by (meV/atom), `tails` are the parts of
x_2 and x_3 (root mean square) beyond 6 and 9/bohr.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gnnpot.functional.data import Sample, read_sample
from gnnpot.functional.grid import Grid, resample
from gnnpot.functional.network import LearnedFunctional
from gnnpot.functional.space import FourierSpace
from gnnpot.functional.store import load, locate
from gnnpot.runs.files import write_text
from gnnpot.units import BOHR, HARTREE

CRYSTALS = ("Si", "AlP", "AlAs", "AlSb")


def fields(sample: Sample, factor: int) -> tuple[Tensor, FourierSpace]:
    """The density on a grid that is `factor` times as fine as the sample's."""
    grid = Grid(sample.atoms.cell.array / BOHR, sample.density.shape)
    a, b, c = (factor * n for n in grid.shape)
    space = FourierSpace(Grid(grid.cell, (a, b, c)))
    band_limited = resample(resample(sample.density, space.grid), grid)
    density = resample(band_limited, space.grid)
    return torch.from_numpy(np.ascontiguousarray(density)).reshape(1, -1), space


def drift(functional: LearnedFunctional, sample: Sample) -> float:
    """T on the usual grid minus that on the fine one, meV/atom."""
    with torch.no_grad():
        coarse, fine = (float(functional.energy(*fields(sample, factor))) for factor in (1, 3))
    return 1000 * HARTREE * (coarse - fine) / len(sample.atoms)


def tails(functional: LearnedFunctional, sample: Sample) -> list[float]:
    """Of x_2 beyond 6 and 9/bohr, then of x_3."""
    density, space = fields(sample, 3)
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
    samples = {name: read_sample(arguments.samples / f"{name}-scale-1.npz") for name in CRYSTALS}
    shipped = load(locate("gnnpot-kedf-1"))
    result = {
        name: {"drift": drift(shipped, sample), "tails": tails(shipped, sample)} for name, sample in samples.items()
    }
    write_text(arguments.output, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
