"""Kohn-Sham references of the study, for validation and for the final test.

    python scripts/studies/functional/references.py validation runs/functional/validation
    python scripts/studies/functional/references.py test runs/functional/test

Resumable; calculations whose output file exists are not repeated.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
from ase.build import bulk

from gnnpot.functional import crystals
from gnnpot.functional.data import Task, generate
from gnnpot.functional.kohn_sham import Settings

SCALES = (0.95, 0.975, 1.0, 1.025, 1.05)
HEXAGONAL = Settings(mesh=(8, 8, 4), shift=(False, False, True))
METAL = Settings(mesh=(10, 10, 10))
log = logging.getLogger(__name__)


def validation() -> list[Task]:
    """Wurtzite GaAs and randomly displaced III-V crystals; designs are chosen by these alone."""
    tasks = [
        Task(f"wurtzite-GaAs-{scale:g}", "GaAs", crystals.wurtzite("GaAs", scale), HEXAGONAL)
        for scale in (0.97, 1.0, 1.03)
    ]
    for number, name in enumerate(("GaAs", "InP", "AlSb", "GaSb")):
        atoms = crystals.rattled(crystals.zincblende(name), 0.12, seed=number)
        tasks.append(Task(f"rattled-{name}", name, atoms, Settings(mesh=(4, 4, 4))))
    return tasks


def test() -> list[Task]:
    """References of the final test."""
    tasks = []
    for scale in SCALES:
        tasks += [
            Task(
                f"hexagonal-{scale:g}", "hexagonal", crystals.hexagonal_diamond(scale * 3.84, scale * 6.334), HEXAGONAL
            ),
            Task(f"diamond-{scale:g}", "diamond", crystals.diamond(scale * 5.43), Settings(mesh=(8, 8, 8))),
            Task(f"beta-tin-{scale:g}", "beta-tin", crystals.beta_tin(scale * 4.81), METAL),
            Task(f"fcc-{scale:g}", "fcc", crystals.face_centred_cubic(scale * 3.885), METAL),
            Task(f"sc-{scale:g}", "sc", crystals.simple_cubic(scale * 2.53), METAL),
            Task(f"GaAs-{scale:g}", "GaAs", crystals.zincblende("GaAs", scale)),
            Task(f"InP-{scale:g}", "InP", crystals.zincblende("InP", scale)),
        ]
    for size in (0.01, 0.02):
        tasks.append(
            Task(f"phonon-{size:g}", "diamond", crystals.displaced(crystals.diamond(), size), Settings(mesh=(8, 8, 8)))
        )
    return tasks + thermal() + vacancy()


def thermal() -> list[Task]:
    """Eight atoms with random displacements of 0.1 Å, as at about 500 K."""
    settings = Settings(mesh=(3, 3, 3))
    cells = {"Si": bulk("Si", "diamond", a=5.43, cubic=True), "GaAs": bulk("GaAs", "zincblende", a=5.65, cubic=True)}
    return [
        Task(f"thermal-{name}-{seed}", name, crystals.rattled(atoms, 0.1, seed), settings)
        for name, atoms in cells.items()
        for seed in (1, 2)
    ]


def vacancy() -> list[Task]:
    """64 atoms of silicon without one, unrelaxed, and the crystal at the same k-points."""
    perfect = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
    perfect.positions -= perfect.positions[0]
    damaged = perfect[1:]
    cutoff = 10.0
    # the k-point (1/4, 1/4, 1/4) of the supercell is the shifted mesh of 2 x 2 x 2, or 4 x 4 x 4 in the cubic cell
    return [
        Task("vacancy-crystal", "diamond", bulk("Si", "diamond", a=5.43, cubic=True), Settings(cutoff, (4, 4, 4))),
        Task("vacancy-63", "vacancy", damaged, Settings(cutoff, (2, 2, 2), tolerance=1e-7, residual=1e-5)),
    ]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("validation", "test"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    tasks = validation() if arguments.which == "validation" else test()
    generate(tasks, arguments.folder, arguments.processes, lambda done, all_: log.info("%d of %d", done, all_))
    log.info("least distance of atoms: %.2f Å", min(_nearest(task) for task in tasks))


def _nearest(task: Task) -> float:
    distances = task.atoms.get_all_distances(mic=True)
    return float(distances[~np.eye(len(distances), dtype=bool)].min()) if len(distances) > 1 else np.inf


if __name__ == "__main__":
    main()
