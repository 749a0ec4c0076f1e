"""What the contract measures: deviations from what physics asks of any potential.

Every function yields (quantity, measured deviation), with quantities

| quantity           | unit   | deviation of                                                                  |
|--------------------|--------|-------------------------------------------------------------------------------|
| energy             | eV     | energy per atom                                                               |
| forces             | eV/Å   | a component of a force                                                        |
| stress             | eV/Å³  | a component of the stress                                                     |
| force derivative   | eV/Å   | forces from -dE/dr, numerically                                               |
| stress derivative  | eV/Å³  | stress from dE/dε / V, numerically                                            |
| energy jump        | eV     | energy, left over where an interval shrinks to nothing                        |
| force jump         | eV/Å   | force, the same                                                               |

Forces and stress above 1 are compared relative to their largest component.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from scipy.spatial.transform import Rotation

from gnnpot.properties.contract.structures import bond, cluster, dimer
from gnnpot.units import VOIGT, stress_from_voigt, stress_to_voigt

Deviations = Iterator[tuple[str, float]]
#: f'(0) = Σ c f(x h) / h + O(h⁴)
_STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a calculator predicts for one structure."""

    energy: float  #: eV
    forces: np.ndarray  #: [N, 3] eV/Å
    stress: np.ndarray | None  #: [6] eV/Å³; `None`: not implemented, or no volume


@dataclass(frozen=True, slots=True)
class Probe:
    """A calculator to be asked, and how finely."""

    calculator: BaseCalculator
    step: float  #: Å, of numeric derivatives
    interval: float  #: Å, at which a difference that is left is a jump
    cutoffs: tuple[float, ...] = ()  #: Å, distances to look at closely
    reach: float = 10.0  #: Å, to which atoms are pulled apart step by step

    def __call__(self, atoms: Atoms) -> Answer:
        atoms = atoms.copy()
        atoms.calc = self.calculator
        energy = self.energy(atoms)
        forces = atoms.get_forces()
        stress = None
        if atoms.cell.rank == 3:
            try:
                stress = atoms.get_stress()
            except (PropertyNotImplementedError, NotImplementedError):
                stress = None
        return Answer(energy, forces, stress)

    def energy(self, atoms: Atoms) -> float:
        """The energy whose derivatives the forces are, eV."""
        if atoms.calc is not self.calculator:
            atoms = atoms.copy()
            atoms.calc = self.calculator
        consistent = "free_energy" in self.calculator.implemented_properties
        return float(atoms.get_potential_energy(force_consistent=consistent))


def _compare(answer: Answer, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> Deviations:
    yield "energy", abs(answer.energy - energy) / len(answer.forces)
    yield "forces", _largest(answer.forces, forces)
    if stress is not None and answer.stress is not None:
        yield "stress", _largest(answer.stress, stress)


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    """Largest deviation; NaN counts as infinite."""
    deviation = np.abs(np.asarray(a) - b).max() / max(1.0, np.abs(b).max())
    return float(deviation) if np.isfinite(deviation) else float("inf")


def rotation(probe: Probe, atoms: Atoms) -> Deviations:
    """E(Rx) = E(x), F(Rx) = R F(x), σ(Rx) = R σ(x) Rᵀ for a rotation R."""
    yield from _orthogonal(probe, atoms, Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix())


def reflection(probe: Probe, atoms: Atoms) -> Deviations:
    """The same for a rotation with a mirror plane; left- and right-handed crystals have one energy."""
    yield from _orthogonal(probe, atoms, Rotation.from_rotvec([0.3, 0.8, -0.5]).as_matrix() @ np.diag([1, 1, -1]))


def _orthogonal(probe: Probe, atoms: Atoms, matrix: np.ndarray) -> Deviations:
    before = probe(atoms)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ matrix.T)
    turned.positions = atoms.positions @ matrix.T
    stress = None
    if before.stress is not None:
        stress = stress_to_voigt(matrix @ stress_from_voigt(before.stress) @ matrix.T)
    yield from _compare(probe(turned), before.energy, before.forces @ matrix.T, stress)


def translation(probe: Probe, atoms: Atoms) -> Deviations:
    """Moving everything changes nothing; forces sum to zero."""
    before = probe(atoms)
    moved = atoms.copy()
    moved.positions += np.array([3.21, -1.7, 12.345])
    yield from _compare(probe(moved), before.energy, before.forces, before.stress)
    yield "forces", _largest(before.forces.sum(axis=0), np.zeros(3))


def permutation(probe: Probe, atoms: Atoms) -> Deviations:
    """The order of the atoms is only names."""
    before = probe(atoms)
    backwards = np.arange(len(atoms))[::-1]
    for order in (backwards, np.random.default_rng(1).permutation(len(atoms))):
        yield from _compare(probe(atoms[order]), before.energy, before.forces[order], before.stress)


def repetition(probe: Probe, atoms: Atoms) -> Deviations:
    """The same question has the same answer, with any others in between."""
    before = probe(atoms)
    other = atoms.copy()
    other.positions[0] += 0.3
    other.set_cell(1.05 * other.cell.array, scale_atoms=True)
    probe(other)
    yield from _compare(probe(atoms), before.energy, before.forces, before.stress)


def supercell(probe: Probe, atoms: Atoms) -> Deviations:
    """Two cells have twice the energy, the same forces and the same stress."""
    for axis in np.flatnonzero(atoms.pbc):
        before = probe(atoms)
        repeats = [1, 1, 1]
        repeats[axis] = 2
        after = probe(atoms.repeat(repeats))
        yield from _compare(after, 2 * before.energy, np.tile(before.forces, (2, 1)), before.stress)


def choice_of_cell(probe: Probe, atoms: Atoms) -> Deviations:
    """One crystal has many cells: other images of the atoms, skewed vectors, and vectors in another order."""
    axes = np.flatnonzero(atoms.pbc)
    if len(axes) == 0:
        return
    before = probe(atoms)
    images = atoms.copy()
    images.positions[::2] += atoms.cell.array[axes[0]] - 2 * atoms.cell.array[axes[-1]]
    yield from _compare(probe(images), before.energy, before.forces, before.stress)
    if len(axes) > 1:
        skewed, swapped = atoms.cell.array.copy(), atoms.cell.array.copy()
        skewed[axes[1]] += 2 * skewed[axes[0]]
        swapped[[axes[0], axes[1]]] = swapped[[axes[1], axes[0]]]
        for cell in (skewed, swapped):
            other = atoms.copy()
            other.set_cell(cell)
            yield from _compare(probe(other), before.energy, before.forces, before.stress)


def forces_are_derivatives(probe: Probe, atoms: Atoms) -> Deviations:
    """-dE/dx along single coordinates, and along directions in which every atom moves."""
    rng = np.random.default_rng(2)
    forces = probe(atoms).forces
    directions = [rng.uniform(-1, 1, forces.shape) for _ in range(2)]
    for atom in range(min(len(atoms), 2)):
        single = np.zeros_like(forces)
        single[atom, rng.integers(3)] = 1.0
        directions.append(single)
    for direction in directions:
        slope = _derivative(probe, partial(_moved_along, atoms, direction))
        yield "force derivative", _largest(np.array([slope]), np.array([-np.sum(forces * direction)]))


def stress_is_derivative(probe: Probe, atoms: Atoms) -> Deviations:
    """dE/dε / V for each component of the strain."""
    stress = probe(atoms).stress
    if stress is None:
        return
    slopes = np.array(
        [_derivative(probe, partial(_strained, atoms, i=i, j=j)) for i, j in VOIGT]
    ) / abs(atoms.get_volume())  # fmt: skip
    yield "stress derivative", _largest(slopes, stress)


def _derivative(probe: Probe, structure: Callable[[float], Atoms]) -> float:
    h = probe.step
    return sum(c * probe.energy(structure(x * h)) for x, c in _STENCIL) / h


def _moved(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.positions += displacement
    return moved


def _moved_along(atoms: Atoms, direction: np.ndarray, size: float) -> Atoms:
    return _moved(atoms, size * direction)


def _strained(atoms: Atoms, size: float, i: int, j: int) -> Atoms:
    strain = np.eye(3)
    strain[i, j] += 0.5 * size
    strain[j, i] += 0.5 * size
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return strained


def isolated_atom(probe: Probe, symbol: str) -> Deviations:
    """One atom alone has a finite energy and no force, in a large cell as without any."""
    atom = Atoms(symbol, positions=[[0.1, 0.2, 0.3]])
    alone = probe(atom)
    yield "energy", 0.0 if np.isfinite(alone.energy) else float("inf")
    yield "forces", _largest(alone.forces, np.zeros((1, 3)))
    boxed = Atoms(symbol, positions=[[0.1, 0.2, 0.3]], cell=[40.0, 40.0, 40.0], pbc=True)
    yield from _compare(probe(boxed), alone.energy, np.zeros((1, 3)), np.zeros(6))


def separation(probe: Probe, a: str, b: str) -> Deviations:
    """Two atoms far apart have the energy of their sum."""
    far = probe(dimer(a, b, 3 * probe.reach))
    total = sum(probe.energy(Atoms(s)) for s in (a, b))
    yield from _compare(far, total, np.zeros((2, 3)), None)


def smooth_dimer(probe: Probe, a: str, b: str) -> Deviations:
    """Energy and forces have no jump while two atoms are pulled apart."""
    yield from _jumps(probe, lambda r: dimer(a, b, r), 0.8 * bond(a, b))


def smooth_cluster(probe: Probe, a: str, b: str) -> Deviations:
    """The same while an atom leaves a cluster, through the cutoffs of pairs and triplets."""
    yield from _jumps(probe, lambda r: cluster(a, b, r), 0.8 * bond(a, b))


def _jumps(probe: Probe, structure: Callable[[float], Atoms], start: float) -> Deviations:
    """Look for suspicious intervals of a scan, halve each down to `probe.interval`, and see what is left."""
    grid = np.linspace(start, probe.reach, 60)
    answers = [probe(structure(r)) for r in grid]
    crossed = _crossings([structure(r) for r in grid], probe.cutoffs)
    readings: dict[str, Callable[[Answer], np.ndarray]] = {
        "energy jump": lambda a: np.array([a.energy]),
        "force jump": lambda a: a.forces,
    }
    for quantity, read in readings.items():
        values = [read(a) for a in answers]
        # NaN is larger than nothing, and would not be looked at
        largest = 0.0 if np.isfinite(values).all() else float("inf")
        for k in {*crossed, *_outliers(values)}:
            ends = (grid[k], values[k]), (grid[k + 1], values[k + 1])
            largest = max(largest, _narrow(partial(_read_at, probe, structure, read), *ends, probe.interval))
        yield quantity, largest


def _read_at(
    probe: Probe, structure: Callable[[float], Atoms], read: Callable[[Answer], np.ndarray], r: float
) -> np.ndarray:
    return read(probe(structure(r)))


def _outliers(values: Sequence[np.ndarray], count: int = 3) -> list[int]:
    """Intervals over which the values change more than over their neighbours."""
    change = np.array([np.abs(b - a).max() for a, b in zip(values, values[1:], strict=False)])
    padded = np.pad(change, 1, mode="edge")
    return np.argsort(0.5 * (padded[:-2] + padded[2:]) - change)[:count].tolist()


def _crossings(structures: Sequence[Atoms], cutoffs: tuple[float, ...]) -> list[int]:
    """Intervals in which some distance passes one of the cutoffs."""
    distances = np.array([np.linalg.norm(s.positions[:, None] - s.positions, axis=-1).ravel() for s in structures])
    crossed = np.zeros(len(structures) - 1, dtype=bool)
    for cutoff in cutoffs:
        crossed |= ((distances[:-1] < cutoff) != (distances[1:] < cutoff)).any(axis=1)
    return np.flatnonzero(crossed).tolist()


def _narrow(
    f: Callable[[float], np.ndarray], low: tuple[float, np.ndarray], high: tuple[float, np.ndarray], interval: float
) -> float:
    """What is left of |f(high) - f(low)| after halving, always keeping the half that changes more, down to `interval`.

    The change over the intervals to both sides, which is all that a steep but smooth function has, is taken off.
    """
    while high[0] - low[0] > interval:
        r = 0.5 * (low[0] + high[0])
        middle = (r, f(r))
        left, right = (float(np.abs(b[1] - a[1]).max()) for a, b in ((low, middle), (middle, high)))
        low, high = (low, middle) if left > right else (middle, high)
    width = high[0] - low[0]
    beside = (np.abs(low[1] - f(low[0] - width)).max(), np.abs(f(high[0] + width) - high[1]).max())
    left_over = float(np.abs(high[1] - low[1]).max() - max(beside))
    return max(0.0, left_over) if np.isfinite(left_over) else float("inf")
