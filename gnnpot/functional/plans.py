"""Which samples a functional is trained on.

    tasks = plan(DataConfig())                  # the ten semiconductors
    tasks = plan(DataConfig(others=True))       # and more: vacancies, random displacements and cells, other structures
    tasks = structure_tasks([("name", atoms)])  # any crystals

Hexagonal, β-tin, fcc and simple cubic silicon, wurtzite, and displaced diamond silicon are what functionals are tested
on; none of them is in a plan.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from ase import Atoms

from gnnpot.domains import POSITIVE, WHOLE_FROM_0, check_fields
from gnnpot.errors import DataError
from gnnpot.functional import crystals
from gnnpot.functional.data import Task
from gnnpot.functional.kohn_sham import Settings
from gnnpot.functional.pseudopotentials import for_numbers
from gnnpot.functional.symmetry import centre
from gnnpot.units import BOHR

#: III-V crystals that are displaced at random; the study validates on the other four
DISPLACED = ("AlP", "GaP", "AlAs", "InAs", "InSb")
#: of metallic and of large cells, bct-C4, 4H, hexagonal cells of four atoms
METAL, LARGE = Settings(mesh=(8, 8, 8), smearing=0.01), Settings(mesh=(3, 3, 3), smearing=0.01)
BODY_CENTRED = Settings(mesh=(6, 6, 6), shift=(False, False, False), smearing=0.01)
POLYTYPE = Settings(mesh=(7, 7, 2), shift=(False, False, True))
HEXAGONAL = Settings(mesh=(8, 8, 6), shift=(False, False, True), smearing=0.01)
#: random cells of four atoms; two of a crystal that is not named
RANDOM_CELLS = {"Si": 6}


@dataclass(frozen=True)
class DataConfig:
    """Which crystals, at which scales of the lattice constant, strains, displacements, and how many triples each.

    Strains are tetragonal and trigonal, of alternating sign from crystal to crystal.
    `others` adds `other_tasks`. `displacements` are of primitive vectors (`crystals.displaced`), of no crystal in
    `undisplaced`.
    """

    crystals: tuple[str, ...] = crystals.TEN
    scales: Annotated[tuple[float, ...], POSITIVE] = (0.94, 0.97, 1.0, 1.03, 1.06)
    strains: tuple[float, ...] = (0.05,)
    displacements: tuple[float, ...] = (-0.02, 0.02)
    undisplaced: tuple[str, ...] = ("Si",)
    triples: Annotated[int, WHOLE_FROM_0] = 12
    others: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def plan(config: DataConfig) -> list[Task]:
    """All tasks of a configuration, the most useful first. Raises `DataError` for an unknown crystal."""
    unknown = [name for name in config.crystals if name not in crystals.TEN]
    if unknown:
        raise DataError(f"{unknown[0]}: is not one of the crystals that data is made of: {', '.join(crystals.TEN)}")
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
    """What is far from the ten crystals at rest, by the crystals in `names` only.

    Vacancies, random cells, other structures; for the crystals in `DISPLACED` random strains and displacements; some
    of these, and the crystals at rest, on finer grids as well.
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
    """In 8 atoms, and in 16 of silicon and of what is displaced."""
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
    """Bcc, simple hexagonal, bct-C4."""
    tasks = []
    for kind in ("body_centred_cubic", "simple_hexagonal"):
        for scale in (0.95, 1.0, 1.05):
            tasks.append(Task(f"Si-{kind}-{scale:g}", "Si", getattr(crystals, kind)(scale), METAL))
    for scale in (0.97, 1.0, 1.03):
        atoms = crystals.body_centred_tetragonal(scale)
        tasks.append(Task(f"Si-body_centred_tetragonal-{scale:g}", "Si", atoms, BODY_CENTRED))
    return tasks


def _compound_structures(name: str) -> list[Task]:
    """Those of NaCl, CsCl, NiAs, 4H (not of GaAs, whose wurtzite the study validates on), flat hexagonal layers."""
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
    """Random strains and displacements of two atoms, displacements of eight."""
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
    """The crystal at rest, displaced, and 4H, on finer grids.

    On a coarser one, of 6/bohr, von Weizsäcker's part alone is off by up to 92 meV/atom (`docs/functional.md`).
    """
    tasks = [Task(f"{name}-grid-{cutoff:g}", name, crystals.zincblende(name), cutoff=cutoff) for cutoff in (7.5, 9.0)]
    if name in DISPLACED:
        tasks.append(replace(_rattled(name, 0), name=f"{name}-rattled-grid-7.5", cutoff=7.5))
        tasks.append(Task(f"{name}-4h-grid-7.5", name, crystals.polytype_4h(name), POLYTYPE, cutoff=7.5))
    return tasks


def _small() -> Settings:
    return Settings(mesh=(4, 4, 4), smearing=0.01)


def structure_tasks(structures: Sequence[tuple[str, Atoms]], triples: int = 0, spacing: float = 0.17) -> list[Task]:
    """Tasks of any crystals of elements with pseudopotentials (Materials Project, a pool), and triples of each.

    `spacing` (1/bohr) is the largest distance of k-points. Raises `UnknownElementError` before any work is done.
    """
    tasks = []
    for name, atoms in structures:
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
