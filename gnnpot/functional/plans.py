"""Training samples of a functional.

    tasks = plan(DataConfig())                  # the ten semiconductors
    tasks = plan(DataConfig(others=True))       # and more: vacancies, random displacements and cells, other structures
    tasks = structure_tasks([("name", atoms)])  # any crystals

No plan contains the structures that functionals are tested on: hexagonal, β-tin, fcc and simple cubic silicon,
wurtzite, and displaced diamond silicon.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from ase import Atoms

from gnnpot.domains import INTEGER_FROM_0, POSITIVE, check_fields
from gnnpot.errors import DataError
from gnnpot.functional import crystals
from gnnpot.functional.data import Task
from gnnpot.functional.kohn_sham import Settings
from gnnpot.functional.pseudopotentials import for_numbers
from gnnpot.functional.symmetry import centre, check_periodic
from gnnpot.units import BOHR

#: III-V compounds with random displacements; the other four are the validation set of the study
DISPLACED = ("AlP", "GaP", "AlAs", "InAs", "InSb")
#: settings for metallic cells, large cells, bct-C4, 4H, and hexagonal cells of four atoms
METAL, LARGE = Settings(mesh=(8, 8, 8), smearing=0.01), Settings(mesh=(3, 3, 3), smearing=0.01)
BODY_CENTRED = Settings(mesh=(6, 6, 6), shift=(False, False, False), smearing=0.01)
POLYTYPE = Settings(mesh=(7, 7, 2), shift=(False, False, True))
HEXAGONAL = Settings(mesh=(8, 8, 6), shift=(False, False, True), smearing=0.01)
#: number of random cells of four atoms by crystal; two for all others
RANDOM_CELLS = {"Si": 6}


@dataclass(frozen=True)
class DataConfig:
    """Options of the training samples."""

    #: crystals, of the ten semiconductors
    crystals: tuple[str, ...] = crystals.SEMICONDUCTORS
    #: scales of the lattice constant
    scales: Annotated[tuple[float, ...], POSITIVE] = (0.94, 0.97, 1.0, 1.03, 1.06)
    #: sizes of tetragonal and trigonal strains, whose sign alternates between crystals
    strains: tuple[float, ...] = (0.05,)
    #: displacements of the two atoms, as fractions of the cell vectors (`crystals.displaced`)
    displacements: tuple[float, ...] = (-0.02, 0.02)
    #: crystals without displacements
    undisplaced: tuple[str, ...] = ("Si",)
    #: number of non-interacting samples of each crystal
    triples: Annotated[int, INTEGER_FROM_0] = 12
    #: add the samples of `other_tasks`
    others: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def plan(config: DataConfig) -> list[Task]:
    """Return all tasks of a configuration, the most useful first. Raises `DataError` for an unknown crystal."""
    unknown = [name for name in config.crystals if name not in crystals.SEMICONDUCTORS]
    if unknown:
        raise DataError(
            f"{unknown[0]}: is not one of the crystals that data is made of: {', '.join(crystals.SEMICONDUCTORS)}"
        )
    tasks = []
    for name in config.crystals:
        for scale in config.scales:
            tasks.append(Task(f"{name}-scale-{scale:g}", name, crystals.zincblende(name, scale)))
    for index, name in enumerate(config.crystals):
        atoms, sign = crystals.zincblende(name), (-1) ** index
        for size in config.strains:
            for kind, strain in (("tetragonal", sign * size), ("trigonal", -sign * size)):
                changed = crystals.strained(atoms, getattr(crystals, kind)(strain))
                tasks.append(Task(f"{name}-{kind}-{strain:g}", name, changed))
        for size in config.displacements if name not in config.undisplaced else ():
            tasks.append(Task(f"{name}-displaced-{size:g}", name, crystals.displaced(atoms, size)))
    for number in range(config.triples):
        for name in config.crystals:
            seed = zlib.crc32(f"{name} {number}".encode())
            scale = np.random.default_rng([1, seed]).uniform(0.88, 1.08)
            tasks.append(Task(f"{name}-triple-{number:02d}", name, crystals.zincblende(name, scale), seed=seed))
    return tasks + (other_tasks(config.crystals) if config.others else [])


def other_tasks(names: Sequence[str]) -> list[Task]:
    """Return tasks for structures far from the ideal crystals in `names`.

    These are vacancies, random cells and other structures; for the crystals in `DISPLACED`, also random strains and
    displacements. Some of these and the ideal crystals are also calculated on finer grids.
    """
    tasks = []
    for name in names:
        tasks += _vacancies(name) + (_silicon_structures() if name == "Si" else _compound_structures(name))
        elements = sorted(set(crystals.zincblende(name).get_chemical_symbols()))
        for number in range(RANDOM_CELLS.get(name, 2)):
            seed = zlib.crc32(f"{name} cell {number}".encode())
            tasks.append(Task(f"{name}-cell-{number}", name, crystals.random_cell(elements, seed), _small()))
    for name in (name for name in names if name in DISPLACED):
        tasks += _displaced(name)
    for name in names:
        tasks += _on_finer_grids(name)
    return tasks


def _vacancies(name: str) -> list[Task]:
    """Vacancies in cells of 8 atoms; for silicon and the crystals in `DISPLACED`, also of 16 atoms."""
    tasks = []
    for element in sorted(set(crystals.zincblende(name).get_chemical_symbols())):
        for scale in (0.97, 1.03) if name == "Si" else (1.0,):
            atoms = crystals.vacancy(name, element, scale)
            tasks.append(Task(f"{name}-vacancy-{element}-{scale:g}", name, atoms, LARGE))
    if name == "Si" or name in DISPLACED:
        tasks.append(Task(f"{name}-vacancy-15", name, crystals.dilute_vacancy(name), LARGE))
    if name == "Si":
        for scale in (0.97, 1.03):
            tasks.append(Task(f"Si-vacancy-15-{scale:g}", name, crystals.dilute_vacancy(name, scale), LARGE))
    return tasks


def _silicon_structures() -> list[Task]:
    """Silicon in the bcc, simple hexagonal and bct-C4 structures."""
    tasks = []
    for kind in ("body_centred_cubic", "simple_hexagonal"):
        for scale in (0.95, 1.0, 1.05):
            tasks.append(Task(f"Si-{kind}-{scale:g}", "Si", getattr(crystals, kind)(scale), METAL))
    for scale in (0.97, 1.0, 1.03):
        atoms = crystals.body_centred_tetragonal(scale)
        tasks.append(Task(f"Si-body_centred_tetragonal-{scale:g}", "Si", atoms, BODY_CENTRED))
    return tasks


def _compound_structures(name: str) -> list[Task]:
    """A compound in the structures of NaCl, CsCl and NiAs, in 4H, and in flat hexagonal layers.

    4H is left out for GaAs, as the study validates on its wurtzite structure.
    """
    tasks = []
    for kind in ("rocksalt", "caesium_chloride"):
        tasks.append(Task(f"{name}-{kind}", name, getattr(crystals, kind)(name), METAL))
    tasks.append(Task(f"{name}-nickel_arsenide", name, crystals.nickel_arsenide(name), HEXAGONAL))
    if name != "GaAs":
        tasks.append(Task(f"{name}-4h", name, crystals.polytype_4h(name), POLYTYPE))
    for scale in (0.97, 1.03):
        atoms = crystals.flat_hexagonal(name, scale)
        tasks.append(Task(f"{name}-flat_hexagonal-{scale:g}", name, atoms, HEXAGONAL))
    return tasks


def _displaced(name: str) -> list[Task]:
    """Random strains and displacements of cells of two atoms, random displacements of cells of eight atoms."""
    tasks = [_rattled(name, number) for number in range(4)]
    for number, size in enumerate((0.1, 0.1, 0.15)):
        suffix = f"-{number}" if number else ""
        atoms = crystals.rattled(crystals.cubic(name), size, zlib.crc32(f"{name} large{suffix}".encode()))
        tasks.append(Task(f"{name}-large{suffix}", name, atoms, LARGE))
    return tasks


def _rattled(name: str, number: int) -> Task:
    seed = zlib.crc32(f"{name} rattled {number}".encode())
    strained = crystals.strained(crystals.zincblende(name), crystals.random_strain(0.03, seed))
    return Task(f"{name}-rattled-{number}", name, crystals.rattled(strained, 0.12, seed), _small())


def _on_finer_grids(name: str) -> list[Task]:
    """The ideal crystal, and for those in `DISPLACED` a random displacement and 4H, on finer grids.

    On a coarser grid with a cut-off of 6/bohr, the error of the von Weizsäcker part is up to 92 meV/atom
    (`docs/functional.md`).
    """
    tasks = [Task(f"{name}-grid-{cutoff:g}", name, crystals.zincblende(name), cutoff=cutoff) for cutoff in (7.5, 9.0)]
    if name in DISPLACED:
        tasks.append(replace(_rattled(name, 0), name=f"{name}-rattled-grid-7.5", cutoff=7.5))
        tasks.append(Task(f"{name}-4h-grid-7.5", name, crystals.polytype_4h(name), POLYTYPE, cutoff=7.5))
    return tasks


def _small() -> Settings:
    return Settings(mesh=(4, 4, 4), smearing=0.01)


def structure_tasks(structures: Sequence[tuple[str, Atoms]], triples: int = 0, spacing: float = 0.17) -> list[Task]:
    """Return tasks for any crystals of elements with pseudopotentials, for instance from the Materials Project.

    Args:
        structures: Names and crystals.
        triples: Number of non-interacting samples of each crystal.
        spacing: Largest distance between k-points, 1/bohr.

    Raises:
        DataError: A structure is not periodic in three directions.
        UnknownElementError: An element has no pseudopotential.
    """
    tasks = []
    for name, atoms in structures:
        check_periodic(atoms, name)
        for_numbers(atoms.numbers)
        lengths = np.linalg.norm(2 * np.pi * np.linalg.inv(atoms.cell.array / BOHR), axis=0)
        a, b, c = (int(n) for n in np.maximum(1, np.ceil(lengths / spacing)))
        settings = Settings(mesh=(a, b, c), shift=(False, False, False))
        moved = centre(atoms)
        tasks.append(Task(name, name, moved, settings))
        for number in range(triples):
            seed = zlib.crc32(f"{name} {number}".encode())
            changed = moved.copy()
            scale = np.random.default_rng([1, seed]).uniform(0.92, 1.06)
            changed.set_cell(moved.cell.array * scale, scale_atoms=True)
            tasks.append(Task(f"{name}-triple-{number:02d}", name, changed, settings, seed))
    return tasks
