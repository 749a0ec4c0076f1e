"""Distortions of structures.

    [distorted] = Strained(strain=0.05).make(atoms, np.random.default_rng(0))

The result depends only on the options of the distortion, the structure and the random numbers. Each distortion
generates `count` structures from every structure. First, the structure is repeated along its shortest lattice vectors
until it has `min_atoms`; last, all atoms are displaced by Gaussian random numbers of standard deviation `rattle`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import chemical_symbols, covalent_radii

from gnnpot.data.frame import atomic_number
from gnnpot.domains import INTEGER_FROM_1, NOT_NEGATIVE, check_fields
from gnnpot.errors import ConfigError, DataError, ExplosionError

#: groups of the periodic table, from left to right; lanthanides and actinides are groups of their own
_GROUPS = (
    "H Li Na K Rb Cs", "Be Mg Ca Sr Ba", "Sc Y La", "Ti Zr Hf", "V Nb Ta", "Cr Mo W", "Mn Tc Re", "Fe Ru Os",
    "Co Rh Ir", "Ni Pd Pt", "Cu Ag Au", "Zn Cd Hg", "B Al Ga In Tl", "C Si Ge Sn Pb", "N P As Sb Bi", "O S Se Te",
    "F Cl Br I", "He Ne Ar Kr Xe", "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu", "Ac Th Pa U Np Pu",
)  # fmt: skip


class DistortionError(DataError):
    """A distortion can't be applied to a structure; such structures are counted by `reason`."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """Base class of distortions. Raises `ValueError` for invalid options."""

    count: Annotated[int, INTEGER_FROM_1] = 1  #: number of structures generated from each structure
    min_atoms: Annotated[int, INTEGER_FROM_1] = 1  #: periodic structures with fewer atoms are repeated
    #: standard deviation of the random displacement of every atom along each axis, Å
    rattle: Annotated[float, NOT_NEGATIVE] = 0.0

    #: whether `make` needs a calculator
    needs_calculator: ClassVar[bool] = False
    #: whether the results are a different material; its name is the reduced formula
    other_material: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def runs(self) -> int:
        """Number of calls of `make` for a structure, each with different random numbers."""
        return self.count

    @property
    def words(self) -> str:
        """Kind and options that differ from the defaults, without `count`, as text."""
        parts = []
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in ("kind", "count") and value != f.default:
                parts.append(f"{f.name}={'-'.join(map(str, value)) if isinstance(value, tuple) else value}")
        return " ".join((str(getattr(self, "kind", "distortion")), *parts))

    def make(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None = None) -> Iterator[Atoms]:
        """Yield distorted copies of `atoms`. Raises `DistortionError` if the distortion can't be applied."""
        for changed in self.change(repeated(atoms, self.min_atoms), rng, calculator):
            if self.rattle:
                changed.positions += rng.normal(0.0, self.rattle, changed.positions.shape)
            yield changed

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        """Yield distorted structures, without repetition and rattling; subclasses override it. May modify `atoms`."""
        yield atoms


@dataclass(frozen=True, kw_only=True)
class Original(Distortion):
    """The undistorted structure."""

    kind: Literal["original"] = "original"


@dataclass(frozen=True, kw_only=True)
class Rattled(Distortion):
    """Random displacements of all atoms."""

    kind: Literal["rattled"] = "rattled"
    rattle: Annotated[float, NOT_NEGATIVE] = 0.1


@dataclass(frozen=True, kw_only=True)
class Strained(Distortion):
    """A random symmetric strain of cell and atoms: h' = h (1 + ε), each ε_ij uniform within ±`strain`."""

    kind: Literal["strained"] = "strained"
    strain: float = 0.05  #: largest absolute value of a component ε_ij, below 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.strain < 0.3:
            raise ValueError(f"strain: {self.strain} is not between 0 and 0.3")

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        _require_cell(atoms)
        half = np.triu(rng.uniform(-self.strain, self.strain, (3, 3)))
        strain = half + np.triu(half, 1).T
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        yield atoms


@dataclass(frozen=True, kw_only=True)
class Scaled(Distortion):
    """Isotropic compression or expansion; ln(V'/V) is uniformly distributed over the range `volume` of V'/V."""

    kind: Literal["scaled"] = "scaled"
    volume: tuple[float, float] = (0.7, 1.3)  #: (smallest, largest) V'/V

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.volume[0] <= self.volume[1]:
            raise ValueError(f"volume: {self.volume} is not a range of positive ratios, the smaller first")

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        _require_cell(atoms)
        ratio = np.exp(rng.uniform(*np.log(self.volume)))
        atoms.set_cell(atoms.cell.array * ratio ** (1 / 3), scale_atoms=True)
        yield atoms


@dataclass(frozen=True, kw_only=True)
class Vacancies(Distortion):
    """Random atoms removed."""

    kind: Literal["vacancies"] = "vacancies"
    removed: Annotated[int, INTEGER_FROM_1] = 1  #: number of removed atoms
    min_atoms: int = 8

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        if len(atoms) <= self.removed:
            raise DistortionError(atoms.get_chemical_formula(), "no atoms to take out")
        del atoms[rng.choice(len(atoms), self.removed, replace=False)]
        yield atoms


@dataclass(frozen=True, kw_only=True)
class Swapped(Distortion):
    """Random pairs of atoms of different elements swapped."""

    kind: Literal["swapped"] = "swapped"
    pairs: Annotated[int, INTEGER_FROM_1] = 1  #: number of pairs, swapped consecutively
    min_atoms: int = 8

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        for _ in range(self.pairs):
            i = int(rng.integers(len(atoms)))
            others = np.flatnonzero(atoms.numbers != atoms.numbers[i])
            if len(others) == 0:
                raise DistortionError(atoms.get_chemical_formula(), "no atoms of different elements to swap")
            j = int(rng.choice(others))
            atoms.numbers[[i, j]] = atoms.numbers[[j, i]]
        yield atoms


@dataclass(frozen=True, kw_only=True)
class Substituted(Distortion):
    """A random element substituted by another, on a fraction of its sites, at least on one.

    The new element is drawn from `elements`, or, if that is empty, from the same group of the periodic table. With
    `rescale`, the volume is scaled with the cubes of the covalent radii: V' / V = Σ r'³ / Σ r³.
    """

    kind: Literal["substituted"] = "substituted"
    #: candidates for the new element; empty: the group of the old element in the periodic table
    elements: tuple[str, ...] = ()
    share: float = 1.0  #: fraction of the sites of the old element, above 0 and at most 1
    rescale: bool = True  #: scale the volume with the cubes of the covalent radii

    other_material: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} is not above 0 and at most 1")
        for symbol in self.elements:
            atomic_number(symbol, "elements")

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        old = int(rng.choice(np.unique(atoms.numbers)))
        similar = self.elements or similar_elements(chemical_symbols[old])
        choices = sorted(set(similar) - {chemical_symbols[old]})
        if not choices:
            raise DistortionError(atoms.get_chemical_formula(), "no element to substitute")
        new = atomic_number(choices[int(rng.integers(len(choices)))])
        sites = np.flatnonzero(atoms.numbers == old)
        chosen = rng.choice(sites, max(1, round(self.share * len(sites))), replace=False)
        before = (covalent_radii[atoms.numbers] ** 3).sum()
        atoms.numbers[chosen] = new
        if self.rescale and atoms.cell.rank == 3:
            ratio = (covalent_radii[atoms.numbers] ** 3).sum() / before
            atoms.set_cell(atoms.cell.array * ratio ** (1 / 3), scale_atoms=True)
        yield atoms


@dataclass(frozen=True, kw_only=True)
class Pairs(Distortion):
    """An isolated pair of atoms, of random elements of the structure; the distance is uniform within `distance`.

    The unit of `distance` is the sum of the covalent radii of the two atoms. From such pairs, a student learns the
    short-range repulsion.
    """

    kind: Literal["pairs"] = "pairs"
    #: (smallest, largest) distance, in sums of the two covalent radii
    distance: tuple[float, float] = (0.5, 1.5)
    distinct: bool = False  #: use two different elements, if the structure has several

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.distance[0] <= self.distance[1]:
            raise ValueError(f"distance: {self.distance} is not a range of positive ratios, the smaller first")

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        elements = np.unique(atoms.numbers)
        pair = rng.choice(elements, 2, replace=not (self.distinct and len(elements) > 1))
        distance = rng.uniform(*self.distance) * covalent_radii[pair].sum()
        direction = rng.normal(size=3)
        yield Atoms(pair, [np.zeros(3), distance * direction / np.linalg.norm(direction)])


@dataclass(frozen=True, kw_only=True)
class Melted(Distortion):
    """`count` states of a run of Langevin dynamics with a fixed cell, which starts from the structure."""

    kind: Literal["melted"] = "melted"
    temperature: float = 2000.0  #: K
    steps: int = 100  #: number of steps between states, and before the first
    timestep: float = 2.0  #: fs
    friction: float = 0.02  #: 1/fs
    min_atoms: int = 8

    needs_calculator: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("temperature", "steps", "timestep", "friction"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not positive")

    @property
    def runs(self) -> int:
        return 1

    def change(self, atoms: Atoms, rng: np.random.Generator, calculator: BaseCalculator | None) -> Iterator[Atoms]:
        from gnnpot.engines.md import MDConfig, run_md

        if calculator is None:
            raise ConfigError("melted: needs a calculator to move the atoms")
        for k in range(self.count):
            config = MDConfig(
                ensemble="langevin", temperature=self.temperature, timestep=self.timestep, friction=self.friction,
                steps=self.steps, interval=self.steps, keep_velocities=k > 0, seed=int(rng.integers(2**31)),
            )  # fmt: skip
            try:
                atoms = run_md(atoms, calculator, config).atoms
            except ExplosionError as error:
                # run_md names options that this distortion does not have
                advice = "take a lower temperature or a shorter timestep of 'melted'"
                raise ExplosionError(error.what, advice) from error
            atoms.calc = None
            state = atoms.copy()
            state.set_momenta(np.zeros_like(state.positions))
            yield state


AnyDistortion = Original | Rattled | Strained | Scaled | Vacancies | Swapped | Substituted | Pairs | Melted


def similar_elements(symbol: str) -> tuple[str, ...]:
    """Return the elements of the same group as `symbol`, including itself.

    >>> similar_elements("Cl")
    ('F', 'Cl', 'Br', 'I')
    """
    found = [word for group in _GROUPS if symbol in group.split() for word in group.split()]
    return tuple(dict.fromkeys(found))


def repeated(atoms: Atoms, min_atoms: int) -> Atoms:
    """Return a copy, doubled along its shortest periodic lattice vector until it has `min_atoms`."""
    atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    while len(atoms) < min_atoms and atoms.pbc.any():
        lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
        times = np.ones(3, dtype=int)
        times[int(lengths.argmin())] = 2
        atoms = atoms.repeat(times)
    return atoms


def _require_cell(atoms: Atoms) -> None:
    if atoms.cell.rank < 3 or not atoms.pbc.any():
        raise DistortionError(atoms.get_chemical_formula(), "no periodic cell to change")
