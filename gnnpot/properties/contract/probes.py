"""Checks of the model contract: deviations from physical requirements on any potential.

Each check yields pairs of a quantity and its measured deviation:

| quantity           | unit   | deviation                                                                     |
|--------------------|--------|-------------------------------------------------------------------------------|
| energy             | eV     | difference in energy per atom                                                 |
| forces             | eV/Å   | largest difference in a force component                                       |
| stress             | eV/Å³  | largest difference in a stress component                                      |
| force derivative   | eV/Å   | difference between forces and numerical -dE/dr                                |
| stress derivative  | eV/Å³  | difference between stress and numerical dE/dε / V                             |
| energy jump        | eV     | change in energy over an interval that is reduced to a very small length      |
| force jump         | eV/Å   | change in a force component over such an interval                             |

If the largest component of forces or stress is above 1, deviations are relative to it.
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
    """Prediction of a calculator for one structure."""

    energy: float  #: eV
    forces: np.ndarray  #: [N, 3] eV/Å
    stress: np.ndarray | None  #: [6] eV/Å³; `None`: not implemented, or no volume


@dataclass(frozen=True, slots=True)
class Probe:
    """A calculator, with the parameters of the checks."""

    calculator: BaseCalculator
    step: float  #: Å, step of numerical derivatives
    interval: float  #: Å, interval over which a remaining difference counts as a jump
    cutoffs: tuple[float, ...] = ()  #: Å, distances at which jumps are always looked for
    reach: float = 10.0  #: Å, distance up to which smoothness is checked

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
        """Energy that is consistent with the forces, eV."""
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
    """Largest deviation, relative if components of `b` exceed 1; values that are not finite count as infinite."""
    deviation = np.abs(np.asarray(a) - b).max() / max(1.0, np.abs(b).max())
    return float(deviation) if np.isfinite(deviation) else float("inf")


def rotation(probe: Probe, atoms: Atoms) -> Deviations:
    """E(Rx) = E(x), F(Rx) = R F(x), σ(Rx) = R σ(x) Rᵀ for a rotation R."""
    yield from _orthogonal(probe, atoms, Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix())


def reflection(probe: Probe, atoms: Atoms) -> Deviations:
    """As `rotation`, for an improper rotation; left- and right-handed crystals have the same energy."""
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
    """Translation of all atoms does not change the results; forces sum to zero."""
    before = probe(atoms)
    moved = atoms.copy()
    moved.positions += np.array([3.21, -1.7, 12.345])
    yield from _compare(probe(moved), before.energy, before.forces, before.stress)
    yield "forces", _largest(before.forces.sum(axis=0), np.zeros(3))


def permutation(probe: Probe, atoms: Atoms) -> Deviations:
    """The order of the atoms does not affect the results."""
    before = probe(atoms)
    backwards = np.arange(len(atoms))[::-1]
    for order in (backwards, np.random.default_rng(1).permutation(len(atoms))):
        yield from _compare(probe(atoms[order]), before.energy, before.forces[order], before.stress)


def repetition(probe: Probe, atoms: Atoms) -> Deviations:
    """Repeated calculations of a structure give the same results, after calculations of others."""
    before = probe(atoms)
    other = atoms.copy()
    other.positions[0] += 0.3
    other.set_cell(1.05 * other.cell.array, scale_atoms=True)
    probe(other)
    yield from _compare(probe(atoms), before.energy, before.forces, before.stress)


def supercell(probe: Probe, atoms: Atoms) -> Deviations:
    """A supercell of two cells has twice the energy, and the same forces and stress."""
    for axis in np.flatnonzero(atoms.pbc):
        before = probe(atoms)
        repeats = [1, 1, 1]
        repeats[axis] = 2
        after = probe(atoms.repeat(repeats))
        yield from _compare(after, 2 * before.energy, np.tile(before.forces, (2, 1)), before.stress)


def choice_of_cell(probe: Probe, atoms: Atoms) -> Deviations:
    """Equivalent cells give the same results: other images of atoms, skewed vectors, and vectors in another order."""
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
    """Forces equal -dE/dx, along single coordinates and along directions in which all atoms move."""
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
    """The stress equals dE/dε / V for each component of the strain."""
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
    """An isolated atom has a finite energy and zero force, in a large cell as well as without a cell."""
    atom = Atoms(symbol, positions=[[0.1, 0.2, 0.3]])
    alone = probe(atom)
    yield "energy", 0.0 if np.isfinite(alone.energy) else float("inf")
    yield "forces", _largest(alone.forces, np.zeros((1, 3)))
    boxed = Atoms(symbol, positions=[[0.1, 0.2, 0.3]], cell=[40.0, 40.0, 40.0], pbc=True)
    yield from _compare(probe(boxed), alone.energy, np.zeros((1, 3)), np.zeros(6))


def separation(probe: Probe, a: str, b: str) -> Deviations:
    """The energy of two atoms far apart is the sum of their energies."""
    far = probe(dimer(a, b, 3 * probe.reach))
    total = sum(probe.energy(Atoms(s)) for s in (a, b))
    yield from _compare(far, total, np.zeros((2, 3)), None)


def smooth_dimer(probe: Probe, a: str, b: str) -> Deviations:
    """Energy and forces have no jumps while two atoms are separated."""
    yield from _jumps(probe, lambda r: dimer(a, b, r), 0.8 * bond(a, b))


def smooth_cluster(probe: Probe, a: str, b: str) -> Deviations:
    """Energy and forces have no jumps while an atom leaves a cluster, through the cutoffs of pairs and triplets."""
    yield from _jumps(probe, lambda r: cluster(a, b, r), 0.8 * bond(a, b))


def _jumps(probe: Probe, structure: Callable[[float], Atoms], start: float) -> Deviations:
    """Find intervals of a scan with large changes, bisect each down to `probe.interval`, and yield what remains."""
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
    """Intervals over which the values change most compared with the neighbouring intervals."""
    change = np.array([np.abs(b - a).max() for a, b in zip(values, values[1:], strict=False)])
    padded = np.pad(change, 1, mode="edge")
    return np.argsort(0.5 * (padded[:-2] + padded[2:]) - change)[:count].tolist()


def _crossings(structures: Sequence[Atoms], cutoffs: tuple[float, ...]) -> list[int]:
    """Intervals in which a distance crosses one of the cutoffs."""
    distances = np.array([np.linalg.norm(s.positions[:, None] - s.positions, axis=-1).ravel() for s in structures])
    crossed = np.zeros(len(structures) - 1, dtype=bool)
    for cutoff in cutoffs:
        crossed |= ((distances[:-1] < cutoff) != (distances[1:] < cutoff)).any(axis=1)
    return np.flatnonzero(crossed).tolist()


def _narrow(
    f: Callable[[float], np.ndarray], low: tuple[float, np.ndarray], high: tuple[float, np.ndarray], interval: float
) -> float:
    """Remaining |f(high) - f(low)| after bisection to `interval`, each time keeping the half with the larger change.

    The larger change over the two neighbouring intervals is subtracted, which leaves zero for steep smooth functions.
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
