"""Evaluate trained and classical functionals against the references of the study; results as JSON.

    python scripts/studies/functional/measure.py validation runs/functional -o docs/functional/validation.json
    python scripts/studies/functional/measure.py test runs/functional -o docs/functional/test.json

`runs/functional` holds `seed-N/model`, `loo-CRYSTAL/model`, `data`, `validation`, `test`. `test` includes hexagonal
silicon, and should be run only at the end.
"""

import argparse
import dataclasses
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gnnpot.errors import SimulationError
from gnnpot.functional import crystals
from gnnpot.functional.data import Sample, read_sample
from gnnpot.functional.evaluate import (
    compare,
    density_error,
    equation_of_state,
    kinetic_energy,
    plane_average_error,
    solve_sample,
)
from gnnpot.functional.functionals import Functional
from gnnpot.functional.kernels import HuangCarter
from gnnpot.functional.solver import SolverSettings, orbital_free_grid, solve, uniform_density
from gnnpot.functional.store import load, open_functional
from gnnpot.runs.files import write_text
from gnnpot.units import BOHR, HARTREE

CLASSIC = ("tfvw", "wt", "lkt", "pgsl", "hc")
SCALES = ("0.95", "0.975", "1", "1.025", "1.05")
PHASES = ("diamond", "hexagonal", "beta-tin", "sc", "fcc")
RESULTS = Path(__file__).parents[3] / "docs/functional"
log = logging.getLogger(__name__)


def functionals(runs: Path) -> dict[str, Functional]:
    """The seeds and the classic functionals."""
    learned = {path.parent.name: load(path) for path in sorted(runs.glob("seed-*/model"))}
    classic = {name: open_functional(name) for name in CLASSIC}
    tuned = RESULTS / "huang-carter.json"
    if tuned.exists():
        classic["hc tuned"] = HuangCarter(**json.loads(tuned.read_text())["best"])
    return {**learned, **classic}


def samples(folder: Path, pattern: str = "*") -> list[Sample]:
    return [read_sample(path) for path in sorted(folder.glob(f"{pattern}.npz"))]


def errors(functional: Functional, chosen: Iterable[Sample]) -> dict[str, dict]:
    """Errors by sample name; unconverged densities are marked."""
    result = {}
    for sample in chosen:
        try:
            result[sample.name] = dataclasses.asdict(compare(functional, sample))
        except SimulationError as error:
            result[sample.name] = {"failed": str(error)}
    return result


def hexagonal(functional: Functional, sample: Sample) -> dict[str, float]:
    """Density, plane average and energies of hexagonal silicon."""
    result = solve_sample(functional, sample)
    count = len(sample.atoms)
    return {
        "density_error": density_error(result.density, sample),
        "plane_average_error": plane_average_error(result.density, sample.density),
        "energy_error_mev": 1000 * HARTREE * (result.energy - sample.energy) / count,
        "kinetic_error_mev": 1000 * HARTREE * (kinetic_energy(functional, sample) - sample.kinetic) / count,
        "steps": result.steps,
    }


def equations(functional: Functional, folder: Path) -> dict[str, dict]:
    """V0 (Å³/atom), B0 (GPa) and energy (eV/atom) of each crystal, and the Kohn-Sham values."""
    result = {}
    for crystal in (*PHASES, "GaAs", "InP"):
        chosen = [read_sample(folder / f"{crystal}-{scale}.npz") for scale in SCALES]
        volumes = [s.atoms.get_volume() / len(s.atoms) for s in chosen]
        reference = [s.energy * HARTREE / len(s.atoms) for s in chosen]
        try:
            energies = [solve_sample(functional, s).energy * HARTREE / len(s.atoms) for s in chosen]
        except SimulationError as error:
            result[crystal] = {"failed": str(error)}
            continue
        fits = {"functional": energies, "kohn_sham": reference}
        result[crystal] = {key: dataclasses.asdict(equation_of_state(volumes, e)) for key, e in fits.items()}
    return result


def phonon(functional: Functional, folder: Path) -> dict[str, float]:
    """Energy (meV/cell) of displacements of 0.01 and 0.02 along [111], and the Kohn-Sham values."""
    rest = read_sample(folder / "diamond-1.npz")
    result = {}
    base = solve_sample(functional, rest).energy
    for size in ("0.01", "0.02"):
        moved = read_sample(folder / f"phonon-{size}.npz")
        result[size] = 1000 * HARTREE * (solve_sample(functional, moved).energy - base)
        result[f"{size} kohn_sham"] = 1000 * HARTREE * (moved.energy - rest.energy)
    return result


def vacancy(functional: Functional, folder: Path) -> dict[str, float] | None:
    """Energy (eV) of an unrelaxed vacancy in 64 atoms; None without the reference."""
    paths = folder / "vacancy-63.npz", folder / "vacancy-crystal.npz"
    if not all(path.exists() for path in paths):
        return None
    damaged, perfect = (read_sample(path) for path in paths)
    energies = [solve(s.atoms, functional, SolverSettings()).energy for s in (damaged, perfect)]
    return {
        "functional": HARTREE * (energies[0] - 63 / 8 * energies[1]),
        "kohn_sham": HARTREE * (damaged.energy - 63 / 8 * perfect.energy),
    }


def self_consistency(functional: Functional, sample: Sample) -> dict:
    """Steps and energies (meV/atom) from four starts, and from grids of several cut-offs."""
    atoms, count = sample.atoms, len(sample.atoms)
    grid = orbital_free_grid(atoms, 6.5)
    random = np.random.default_rng(0).uniform(0.3, 1.7, grid.shape)
    classic = solve(atoms, open_functional("tfvw")).density
    starts = {"default": None, "uniform": uniform_density(grid, sample.electrons), "tfvw": classic}
    starts["random"] = random * sample.electrons / grid.integral(random)
    result: dict = {"starts": {}, "grids": {}}
    for name, start in starts.items():
        solved = solve(atoms, functional, start=start)
        result["starts"][name] = {"energy": 1000 * HARTREE * solved.energy / count, "steps": solved.steps}
    for cutoff in (6.5, 7.5, 9.0):
        energy = solve(atoms, functional, SolverSettings(cutoff=cutoff)).energy
        result["grids"][str(cutoff)] = 1000 * HARTREE * energy / count
    return result


def left_out(path: Path, data: Path) -> dict[str, dict]:
    """Errors of the crystal without which the functional `path` was trained."""
    crystal = path.parent.name.removeprefix("loo-")
    chosen = [s for s in samples(data, f"{crystal}-scale-*") if re.search(r"scale-(0.97|1|1.03)$", s.name)]
    return errors(load(path), chosen)


def measure_curve(runs: Path) -> dict[str, dict]:
    """Errors of functionals trained on increasing numbers of crystals, on the validation set and silicon's phases."""
    chosen = samples(runs / "validation") + [read_sample(runs / "test" / f"{phase}-1.npz") for phase in PHASES]
    paths = sorted(runs.glob("curve-*/model"), key=lambda path: int(path.parent.name.removeprefix("curve-")))
    return {path.parent.name.removeprefix("curve-"): errors(load(path), chosen) for path in paths}


def measure_validation(runs: Path, output: Path) -> None:
    """Errors on the validation set, written after each functional; functionals in `output` are skipped."""
    result: dict[str, dict] = {"validation": {}, "leave_one_out": {}}
    if output.exists():
        result = json.loads(output.read_text())
    chosen = samples(runs / "validation")
    for name, functional in functionals(runs).items():
        if name not in result["validation"]:
            result["validation"][name] = errors(functional, chosen)
            write_text(output, as_json(result))
    for path in sorted(runs.glob("loo-*/model")):
        crystal = path.parent.name.removeprefix("loo-")
        if crystal not in result["leave_one_out"]:
            result["leave_one_out"][crystal] = left_out(path, runs / "data")
            write_text(output, as_json(result))


def measure_test(runs: Path, output: Path) -> None:
    """Errors on the test set, written after each functional; functionals in `output` are skipped."""
    folder, result = runs / "test", {}
    if output.exists():
        result = json.loads(output.read_text())["functionals"]
    reference = read_sample(folder / "hexagonal-1.npz")
    for name, functional in functionals(runs).items():
        if name in result:
            continue
        log.info("%s", name)
        result[name] = {
            "hexagonal": hexagonal(functional, reference),
            "equations_of_state": equations(functional, folder),
            "phonon": phonon(functional, folder),
            "phases": errors(functional, samples(folder, "*-1")),
            "thermal": errors(functional, samples(folder, "thermal-*")),
            "vacancy": vacancy(functional, folder) if not name.startswith("hc") else None,
        }
        if name.startswith("seed"):
            result[name]["self_consistency"] = self_consistency(functional, reference)
        about = {"lattice_constants": crystals.LATTICE_CONSTANTS, "bohr": BOHR}
        write_text(output, as_json({**about, "functionals": result}))


def as_json(result: dict) -> str:
    """Text with seven significant figures."""
    return (
        json.dumps(json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.7g}")), indent=1)
        + "\n"
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("validation", "test"))
    parser.add_argument("runs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    measure = measure_test if arguments.which == "test" else measure_validation
    measure(arguments.runs, arguments.output)


if __name__ == "__main__":
    main()
