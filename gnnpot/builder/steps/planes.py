"""The oriented cell of a lattice plane, its atomic planes, and their grouping into layers.

A layer is a single atomic plane if all planes have the composition of the crystal, or if all are uncharged (metals,
MgO(001), SrTiO3(001)). Otherwise, a layer is the smallest stack of planes with the composition of the crystal, cut so
that its dipole is smallest (O-Ti2O2-O of rutile(110), O-Ce-O of CeO2(111)). If every such stack has a dipole, the
crystal is polar in this direction (Tasker, J. Phys. C 12, 4977, 1979: type III).
"""

from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import gcd

import numpy as np
from ase import Atoms

from gnnpot.builder.state import State, planes
from gnnpot.builder.steps.crystal import primitive

#: a stack with a smaller dipole per area counts as nonpolar, e/Å
DIPOLE = 0.02


@dataclass(frozen=True)
class Plane:
    """An atomic plane of the oriented cell."""

    indices: np.ndarray
    height: float
    charge: float
    counts: dict[str, int]


@dataclass(frozen=True)
class Oriented:
    """The oriented cell (normal along z, period in Å), its atomic planes from below, and their grouping into layers."""

    atoms: Atoms
    period: float
    planes: list[Plane]
    #: index of the lowest plane of each layer, for the chosen cut
    starts: list[int]
    polar: bool


def orient(crystal: Atoms, miller: tuple[int, int, int], state: State) -> Oriented:
    """Return the oriented cell of the primitive lattice: two short vectors in the plane and one out of it."""
    cell = primitive(crystal)
    normal = np.linalg.inv(crystal.cell[:]) @ np.array(miller, float)
    rational = cell.cell[:] @ normal
    indices = _smallest_integers(rational)
    first, second, third = _basis(indices, cell.cell[:])
    matrix = np.array([first, second, third])
    vectors = matrix @ cell.cell[:]
    vectors[:2] = reduced(vectors[:2])
    if np.linalg.det(vectors) < 0:
        vectors[1] *= -1
    vectors[:2] = _obtuse(vectors[:2])
    area = np.cross(vectors[0], vectors[1])
    unit_normal = area / np.linalg.norm(area)
    if unit_normal @ normal < 0:
        vectors[[0, 1]] = vectors[[1, 0]]
        unit_normal = -unit_normal
    if vectors[2] @ unit_normal < 0:
        vectors[2] *= -1
    rotation = _frame(vectors[0], unit_normal)
    atoms = Atoms(cell.numbers, positions=cell.positions @ rotation.T, cell=vectors @ rotation.T, pbc=True)
    atoms.wrap(eps=1e-6)
    period = float(atoms.cell[2, 2])
    state.check_size(len(atoms))
    found = _planes(atoms, period)
    starts, polar = _layers(found, period, float(np.linalg.norm(area)))
    return Oriented(atoms, period, found, starts, polar)


def _smallest_integers(rational: np.ndarray) -> np.ndarray:
    """The smallest integers with the same ratios as the components of a vector."""
    for factor in range(1, 49):
        scaled = rational * factor
        if np.allclose(scaled, np.round(scaled), atol=1e-4):
            indices = np.round(scaled).astype(int)
            return indices // reduce(gcd, (abs(int(i)) for i in indices))
    return np.round(rational * 48).astype(int)


def _basis(indices: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two integer vectors that span the plane h·n = 0, and the shortest with h·n = 1."""
    reach = int(max(2, np.abs(indices).max() + 1))
    candidates = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    heights = candidates @ indices
    lengths = np.linalg.norm(candidates @ cell, axis=1)
    inside = candidates[(heights == 0) & (lengths > 1e-6)]
    inside = inside[np.argsort(np.linalg.norm(inside @ cell, axis=1), kind="stable")]
    first = inside[0]
    crossed = np.cross(inside @ cell, first @ cell)
    sizes = np.linalg.norm(crossed, axis=1)
    second = inside[np.nonzero(sizes > 1e-6)[0][np.argmin(np.round(sizes[sizes > 1e-6], 6))]]
    outside = candidates[heights == 1]
    normal = np.cross(first @ cell, second @ cell)
    normal /= np.linalg.norm(normal)
    tilt = np.linalg.norm(outside @ cell - np.outer(outside @ cell @ normal, normal), axis=1)
    third = outside[np.argmin(np.round(tilt, 6))]
    return first, second, third


def reduced(pair: np.ndarray) -> np.ndarray:
    """Return the two shortest vectors of a two-dimensional lattice (Gauss reduction)."""
    a, b = pair
    while True:
        if np.linalg.norm(b) < np.linalg.norm(a) - 1e-9:
            a, b = b, a
        ratio = float(a @ b / (a @ a))
        if abs(ratio) < 0.5 + 1e-6:
            return np.array([a, b])
        b = b - round(ratio) * a


def _obtuse(pair: np.ndarray) -> np.ndarray:
    """Replace an angle of 60° by 120°, so that hexagonal cells look alike."""
    a, b = pair
    return np.array([a, b - a]) if abs(2 * (a @ b) - a @ a) < 1e-3 else pair


def _frame(first: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The rotation matrix that turns `first` to x and `normal` to z."""
    x = first / np.linalg.norm(first)
    return np.array([x, np.cross(normal, x), normal])


def _charges(atoms: Atoms) -> dict[str, float]:
    """Oxidation states by element, guessed by pymatgen; zeros for a crystal of one element, or without a guess."""
    from pymatgen.core import Composition

    symbols = sorted(set(atoms.get_chemical_symbols()))
    if len(symbols) == 1:
        return dict.fromkeys(symbols, 0.0)
    composition = Composition(atoms.get_chemical_formula()).reduced_composition
    guesses = composition.oxi_state_guesses()
    return {s: float(guesses[0].get(s, 0.0)) if guesses else 0.0 for s in symbols}


def _planes(atoms: Atoms, period: float) -> list[Plane]:
    """Atomic planes of one period, from below; a plane that crosses the boundary counts as one."""
    charges = _charges(atoms)
    symbols = atoms.get_chemical_symbols()
    heights = atoms.positions[:, 2] % period
    heights[heights > period - 1e-4] -= period
    groups = planes(heights, 0.15)
    if len(groups) > 1 and heights[groups[0][0]] + period - heights[groups[-1]].max() < 0.15:
        heights[groups[-1]] -= period
        groups[0] = np.concatenate([groups.pop(), groups[0]])
    atoms.positions += np.outer((heights - atoms.positions[:, 2]) / period, atoms.cell[2])
    return [
        Plane(
            group,
            float(heights[group].mean()),
            sum(charges[symbols[i]] for i in group),
            {s: [symbols[i] for i in group].count(s) for s in {symbols[i] for i in group}},
        )
        for group in groups
    ]


def _layers(found: list[Plane], period: float, area: float) -> tuple[list[int], bool]:
    """Lowest planes of the layers for the best cut, and whether all cuts are polar.

    The best cut has the smallest dipole, then the most layers, then the widest gap.
    """
    total: dict[str, int] = {}
    for plane in found:
        for symbol, count in plane.counts.items():
            total[symbol] = total.get(symbol, 0) + count
    everything = list(range(len(found)))
    if len(total) == 1:
        return _rotated(everything, _widest(found, period)), False
    if all(_stoichiometric(plane.counts, total) for plane in found) or all(abs(p.charge) < 1e-6 for p in found):
        return _rotated(everything, _widest(found, period)), False
    best: tuple[tuple[float, int, float], list[int], float] | None = None
    for offset in everything:
        gap = round(_gap_below(found, offset, period), 3)
        for starts, dipole in _groupings(found, offset, total, period):
            per_area = dipole / area
            rank = (round(per_area, 3) if per_area > DIPOLE else 0.0, -len(starts), -gap)
            if best is None or rank < best[0]:
                best = (rank, starts, per_area)
    assert best is not None
    return best[1], best[2] > DIPOLE


def _rotated(order: list[int], first: int) -> list[int]:
    return order[first:] + order[:first]


def _gap_below(found: list[Plane], index: int, period: float) -> float:
    below = found[index - 1].height - (period if index == 0 else 0.0)
    return found[index].height - below


def _widest(found: list[Plane], period: float) -> int:
    gaps = [round(_gap_below(found, i, period), 3) for i in range(len(found))]
    return int(np.argmax(gaps))


def _stoichiometric(counts: dict[str, int], total: dict[str, int]) -> bool:
    ratios = {symbol: counts.get(symbol, 0) / number for symbol, number in total.items()}
    return max(ratios.values()) - min(ratios.values()) < 1e-9


def _groupings(found: list[Plane], offset: int, total: dict[str, int], period: float) -> list[tuple[list[int], float]]:
    """Possible layers for a cut below plane `offset`, the thinnest first: (lowest planes, largest dipole in e Å)."""
    order = _rotated(list(range(len(found))), offset)
    pieces: list[list[int]] = [[]]
    for index in order:
        pieces[-1].append(index)
        counts: dict[str, int] = {}
        for member in pieces[-1]:
            for symbol, count in found[member].counts.items():
                counts[symbol] = counts.get(symbol, 0) + count
        if _stoichiometric(counts, total) and index != order[-1]:
            pieces.append([])
    moments = [
        sum(found[i].charge * (found[i].height + (period if i < offset else 0.0)) for i in piece) for piece in pieces
    ]
    choices = []
    for size in range(1, len(pieces) + 1):
        if len(pieces) % size == 0:
            groups = range(0, len(pieces), size)
            dipole = max(abs(sum(moments[g : g + size])) for g in groups)
            choices.append(([pieces[g][0] for g in groups], dipole))
    return choices
