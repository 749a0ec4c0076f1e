"""Crystals of the learning curve: crystals of a file with pseudopotentials and few atoms, not in the test set."""

from collections.abc import Mapping
from pathlib import Path

import ase.io
import numpy as np
import spglib
from ase import Atoms
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from gnnpot.functional.data import Task
from gnnpot.functional.plans import structure_tasks
from gnnpot.functional.pseudopotentials import ELEMENTS

COUNTS = (3, 10, 30)
LARGEST = 8
#: groups of samples, by the start of their names
GROUPS = {
    "hexagonal Si": "hexagonal",
    "diamond Si": "diamond",
    "β-tin Si": "beta-tin",
    "sc Si": "sc",
    "fcc Si": "fcc",
    "wurtzite GaAs": "wurtzite",
    "displaced III-V": "rattled",
}


def crystal_tasks(structures: Path) -> list[list[Task]]:
    """Tasks of each crystal; the crystals are in a random order with a fixed seed."""
    chosen = [atoms for atoms in ase.io.read(structures, ":") if _is_chosen(atoms)]
    order = np.random.default_rng(0).permutation(len(chosen))
    return [
        structure_tasks([(f"{rank:03d}-{chosen[n].get_chemical_formula()}", chosen[n])]) for rank, n in enumerate(order)
    ]


def counts(available: int) -> list[int]:
    """Numbers of training crystals of the functionals of the curve."""
    return [count for count in COUNTS if count < available] + [available]


def densities(errors: Mapping[str, Mapping]) -> dict[str, float]:
    """Mean density error of each group of samples; infinite if one of them did not converge."""
    found = {}
    for group, prefix in GROUPS.items():
        members = [error for name, error in errors.items() if name.startswith(prefix)]
        found[group] = float(np.mean([error.get("density_error", np.inf) for error in members]))
    return found


def draw(result: Mapping[str, Mapping[str, Mapping]], path: Path) -> None:
    """Density errors against the number of crystals."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    counts = [int(count) for count in result]
    curves = [densities(errors) for errors in result.values()]
    for group in GROUPS:
        axes.loglog(counts, [curve[group] for curve in curves], "o-", label=group, markersize=4)
    axes.set_xlabel("crystals that the functional is trained on")
    axes.set_ylabel("density error, ∫|Δρ|/N")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_yticks([0.005, 0.01, 0.02, 0.05, 0.1])
    axes.yaxis.set_major_formatter(ScalarFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def _is_chosen(atoms: Atoms) -> bool:
    return len(atoms) <= LARGEST and set(atoms.get_chemical_symbols()) <= set(ELEMENTS) and not _is_tested(atoms)


def _is_tested(atoms: Atoms) -> bool:
    """Wurtzite (186, of two elements), and hexagonal, β-tin, fcc and simple cubic silicon."""
    group = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)).number
    kinds = len(set(atoms.numbers.tolist()))
    if kinds == 2 and group == 186:
        return True
    silicon = kinds == 1 and atoms.numbers[0] == 14
    return silicon and (group in (141, 221, 225) or (group == 194 and len(atoms) == 4))
