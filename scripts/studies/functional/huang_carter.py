"""Fit the two parameters of the Huang-Carter functional for silicon: the minimum of the density error of diamond.

    python scripts/studies/functional/huang_carter.py runs/functional/data -o docs/functional/huang-carter.json

Uses diamond silicon at 0.97, 1 and 1.03 of its lattice constant, on which the learned functionals are trained; no other
phase is used. Pairs that are in the output already are not computed again.
"""

import argparse
import itertools
import json
import logging
from pathlib import Path

import numpy as np

from gnnpot.errors import SimulationError
from gnnpot.functional.data import read_sample
from gnnpot.functional.evaluate import density_error, solve_sample
from gnnpot.functional.kernels import HuangCarter
from gnnpot.runs.files import write_text
from gnnpot.units import HARTREE

LAMBDAS = (0.0, 0.003, 0.006, 0.01, 0.015, 0.02, 0.03)
BETAS = (0.51, 0.58, 0.65, 0.72, 0.8, 0.9, 1.0)
SCALES = ("0.97", "1", "1.03")
log = logging.getLogger("huang-carter")


def tune(folder: Path, output: Path) -> dict:
    """Mean density error and energies of each pair; `best` is the pair with the smallest density error."""
    samples = [read_sample(folder / f"Si-scale-{scale}.npz") for scale in SCALES]
    pairs = json.loads(output.read_text())["pairs"] if output.exists() else {}
    for gradient, beta in itertools.product(LAMBDAS, BETAS):
        name = f"{gradient:g} {beta:g}"
        if name in pairs:
            continue
        errors, energies = [], []
        try:
            for sample in samples:
                result = solve_sample(HuangCarter(gradient, beta), sample)
                errors.append(density_error(result.density, sample))
                energies.append(1000 * HARTREE * (result.energy - sample.energy) / len(sample.atoms))
            pairs[name] = {"density_error": float(np.mean(errors)), "energy_errors_mev": energies}
        except SimulationError as error:
            pairs[name] = {"failed": str(error)}
        log.info("%s %s", name, pairs[name])
        best = min(pairs, key=lambda pair: pairs[pair].get("density_error", np.inf))
        gradient_, beta_ = (float(number) for number in best.split())
        result = {"best": {"gradient": gradient_, "beta": beta_}, "pairs": pairs}
        write_text(output, json.dumps(result, indent=1) + "\n")
    return json.loads(output.read_text())


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    tune(arguments.samples, arguments.output)


if __name__ == "__main__":
    main()
