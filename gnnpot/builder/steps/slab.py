"""Slabs: the oriented cell of a lattice plane, its atomic planes, where to cut, and what a layer is.

A layer is one atomic plane where all planes have the composition of the crystal or no charge (metals, MgO(001),
SrTiO3(001)), and else the smallest stack of planes with the composition of the crystal, cut so that it has the smallest
dipole (the O-Ti2O2-O of rutile(110), O-Ce-O of CeO2(111)). A crystal whose every such stack has a dipole is polar in
that direction (Tasker, J. Phys. C 12, 4977, 1979: type III).
"""

from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import gcd

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from gnnpot.builder.recipe import Fix, Slab, Vacuum
from gnnpot.builder.state import SlabState, State, planes
from gnnpot.builder.steps.crystal import primitive

DEFAULT_VACUUM, DEFAULT_LAYERS, DEFAULT_THICKNESS = 15.0, 4, 9.0
#: V/Å in units of e/Å²: a stack whose dipole per area is less counts as free of it
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
    """The oriented cell (normal along z, period `period`), its planes from below, and how they group into layers."""

    atoms: Atoms
    period: float
    planes: list[Plane]
    #: index of the lowest plane of each layer, for the chosen cut
    starts: list[int]
    polar: bool


def slab(step: Slab, state: State) -> None:
    """Cut a slab from the crystal."""
    if state.is_surface or state.crystal is None or not state.atoms.pbc.all():
        raise state.error("slab_of_what")
    source = state.atoms if len(state.atoms) != len(state.crystal) else state.crystal
    oriented = orient(source, three_indices(step.miller), state)
    lowest, count = _extent(step, oriented, state)
    atoms = stack(oriented, lowest, count)
    if oriented.polar:
        state.warn("polar", miller=_text(step.miller))
    vacuum = step.vacuum or DEFAULT_VACUUM
    if step.vacuum is None:
        state.note("vacuum", vacuum=f"{vacuum:g}")
    atoms = add_vacuum(atoms, vacuum)
    if step.orthogonal:
        atoms = _orthogonal(atoms, state)
    unit = atoms.copy()
    atoms = _repeated(atoms, step, state)
    state.atoms = tag_layers(atoms)
    state.slab = SlabState(vacuum, step.repeat is not None or step.matrix is not None, unit, _layer_height(oriented))


def _text(miller: tuple[int, ...]) -> str:
    return (
        "(" + (" ".join(map(str, miller)) if any(i < 0 or i > 9 for i in miller) else "".join(map(str, miller))) + ")"
    )


def three_indices(miller: tuple[int, ...]) -> tuple[int, int, int]:
    """(h k i l) of a hexagonal crystal as (h k l)."""
    return (miller[0], miller[1], miller[3]) if len(miller) == 4 else (miller[0], miller[1], miller[2])


def orient(crystal: Atoms, miller: tuple[int, int, int], state: State) -> Oriented:
    """The cell with two short vectors in the plane and one out of it, in the primitive lattice of the crystal."""
    cell = primitive(crystal)
    normal = np.linalg.inv(crystal.cell[:]) @ np.array(miller, float)
    rational = cell.cell[:] @ normal
    indices = _whole(rational)
    first, second, third = _basis(indices, cell.cell[:])
    matrix = np.array([first, second, third])
    vectors = matrix @ cell.cell[:]
    vectors[:2] = reduced(vectors[:2])
    if np.linalg.det(vectors) < 0:
        vectors[1] *= -1
    vectors[:2] = _handed(vectors[:2])
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


def _whole(rational: np.ndarray) -> np.ndarray:
    """The smallest integers with the ratios of a vector."""
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
    """The two shortest vectors of a plane lattice (Gauss)."""
    a, b = pair
    while True:
        if np.linalg.norm(b) < np.linalg.norm(a) - 1e-9:
            a, b = b, a
        ratio = float(a @ b / (a @ a))
        if abs(ratio) < 0.5 + 1e-6:
            return np.array([a, b])
        b = b - round(ratio) * a


def _handed(pair: np.ndarray) -> np.ndarray:
    """60° becomes 120°, so that hexagonal cells look alike."""
    a, b = pair
    return np.array([a, b - a]) if abs(2 * (a @ b) - a @ a) < 1e-3 else pair


def _frame(first: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The rotation that brings `first` to x and `normal` to z."""
    x = first / np.linalg.norm(first)
    return np.array([x, np.cross(normal, x), normal])


def _charges(atoms: Atoms) -> dict[str, float]:
    """Oxidation states by element (pymatgen's guess); zeros for elements, and where there is no guess."""
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
    """Where layers begin, for the cut with the smallest dipole and then the widest gap; whether all cuts are polar."""
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
    """Layers from a cut below plane `offset`, thin ones and thicker ones: (starts, largest dipole, e Å)."""
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


def _layer_height(oriented: Oriented) -> float:
    return oriented.period / len(oriented.starts)


def _extent(step: Slab, oriented: Oriented, state: State) -> tuple[int, int]:
    """The lowest plane (counted on through the periods) and the number of planes of the slab."""
    number, starts = len(oriented.planes), oriented.starts
    height = _layer_height(oriented)
    layers = step.layers
    if layers is None:
        wanted = step.thickness or max(DEFAULT_THICKNESS, (DEFAULT_LAYERS - 1) * height if number == len(starts) else 0)
        state.check_size(wanted / oriented.period * len(oriented.atoms))
        layers = 1
        while _thickness(oriented, *_span(oriented, layers)) < wanted - 1e-3:
            layers += 1
    state.check_size(layers / len(starts) * len(oriented.atoms))
    if step.layers is None and step.thickness is None and number == len(starts) and len(state.crystal) < 3:
        layers = max(layers, DEFAULT_LAYERS)
    lowest, count = _span(oriented, layers)
    if step.termination is not None:
        lowest, count = _terminated(step, oriented, lowest, count, state)
    if step.layers is None or number != len(starts):
        state.note("layers", layers=layers, planes=count, thickness=f"{_thickness(oriented, lowest, count):.1f}")
    return lowest, count


def _span(oriented: Oriented, layers: int) -> tuple[int, int]:
    """Planes of so many layers from the chosen cut."""
    starts, number = oriented.starts, len(oriented.planes)
    periods, rest = divmod(layers, len(starts))
    lowest = starts[0]
    end = lowest + periods * number
    if rest:
        end += (starts[rest] - lowest) % number
    return lowest, end - lowest


def _height(oriented: Oriented, index: int) -> float:
    period, plane = divmod(index, len(oriented.planes))
    return oriented.planes[plane].height + period * oriented.period


def _thickness(oriented: Oriented, lowest: int, count: int) -> float:
    return _height(oriented, lowest + count - 1) - _height(oriented, lowest)


def _terminated(step: Slab, oriented: Oriented, lowest: int, count: int, state: State) -> tuple[int, int]:
    """Move the cut until the highest plane has the elements asked for, or take planes off."""
    from pymatgen.core import Composition

    number = len(oriented.planes)
    try:
        wanted = {str(s) for s in Composition(step.termination).elements}
    except (ValueError, KeyError):
        raise state.error("no_formula", formula=step.termination) from None
    tops = {i: set(plane.counts) for i, plane in enumerate(oriented.planes)}
    if wanted not in tops.values():
        choices = sorted({"".join(sorted(top)) for top in tops.values()})
        raise state.error("no_termination", wanted=step.termination, known=", ".join(choices))
    if tops[(lowest + count - 1) % number] == wanted:
        return lowest, count
    for removed in range(1, number):
        if tops[(lowest + count - 1 - removed) % number] == wanted:
            break
    if len(oriented.starts) == number:
        return lowest - removed, count
    shorter = count - removed
    if shorter < 1:
        shorter += number
    state.note("termination_cut", removed=removed)
    state.warn("polar", miller=_text(step.miller))
    return lowest, shorter


def stack(oriented: Oriented, lowest: int, count: int) -> Atoms:
    """The planes as one slab; the third cell vector still that of the oriented cell."""
    number = len(oriented.planes)
    symbols: list[str] = []
    positions: list[np.ndarray] = []
    names = oriented.atoms.get_chemical_symbols()
    layers: list[int] = []
    for index in range(lowest, lowest + count):
        period, plane = divmod(index, number)
        begins = plane in oriented.starts and index > lowest
        layers_here = (layers[-1] + begins) if layers else 0
        for atom in oriented.planes[plane].indices:
            symbols.append(names[atom])
            layers.append(layers_here)
            positions.append(oriented.atoms.positions[atom] + period * oriented.atoms.cell[2])
    slab_atoms = Atoms(symbols, positions=positions, cell=oriented.atoms.cell, pbc=True)
    slab_atoms.set_array("layer", np.array(layers, int))
    return slab_atoms


def add_vacuum(atoms: Atoms, vacuum: float) -> Atoms:
    """The third vector along the normal, as long as the slab and the vacuum; the slab in the middle."""
    heights = atoms.positions[:, 2]
    low, high = heights.min(), heights.max()
    atoms.set_cell([atoms.cell[0], atoms.cell[1], [0, 0, high - low + vacuum]])
    atoms.positions[:, 2] += vacuum / 2 - low
    atoms.pbc = True
    scaled = atoms.cell.scaled_positions(atoms.positions)
    scaled[:, :2] %= 1.0
    scaled[:, :2][scaled[:, :2] > 1 - 1e-6] = 0.0
    atoms.positions = scaled @ atoms.cell[:]
    return atoms


def _orthogonal(atoms: Atoms, state: State) -> Atoms:
    """The smallest rectangular cell in the plane."""
    vectors = atoms.cell[:2, :2]
    choices = [np.array(n) for n in product(range(-6, 7), repeat=2) if any(n)]
    best = None
    for first in choices:
        a = first @ vectors
        for second in choices:
            determinant = first[0] * second[1] - first[1] * second[0]
            b = second @ vectors
            if determinant > 0 and abs(a @ b) < 1e-4 * np.linalg.norm(a) * np.linalg.norm(b):
                rank = (determinant, round(float(np.linalg.norm(a)), 4), -first[0], -second[1])
                if best is None or rank < best[0]:
                    best = (rank, first, second)
    if best is None:
        raise state.error("no_orthogonal")
    return surface_cell(atoms, np.array([best[1], best[2]]))


def surface_cell(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    """The slab in a larger cell with the in-plane vectors matrix · (a, b), its first vector along x."""
    size = abs(int(round(np.linalg.det(matrix))))
    full = np.eye(3)
    full[:2, :2] = matrix
    target = full @ atoms.cell[:]
    reach = int(np.abs(matrix).sum()) + 1
    shifts = np.array(list(product(range(-reach, reach + 1), repeat=2)))
    scaled = (shifts @ atoms.cell[:2]) @ np.linalg.inv(target)
    inside = np.all((scaled[:, :2] > -1e-6) & (scaled[:, :2] < 1 - 1e-6), axis=1)
    assert inside.sum() == size
    parts = [atoms.positions + shift @ atoms.cell[:2] for shift in shifts[inside]]
    numbers, tags = np.tile(atoms.numbers, size), np.tile(atoms.get_tags(), size)
    larger = Atoms(numbers, positions=np.concatenate(parts), cell=target, pbc=True, tags=tags)
    for name in set(atoms.arrays) - {"numbers", "positions", "tags"}:
        larger.set_array(name, np.tile(atoms.arrays[name], size))
    larger.rotate(target[0], "x", rotate_cell=True)
    larger.wrap(pbc=[True, True, False], eps=1e-6)
    return larger


def _repeated(atoms: Atoms, step: Slab, state: State) -> Atoms:
    if step.matrix is not None:
        matrix = np.array(step.matrix)
        size = abs(round(float(np.linalg.det(matrix))))
        if size == 0:
            raise state.error("flat_matrix")
        state.check_size(len(atoms) * size)
        return surface_cell(atoms, matrix if np.linalg.det(matrix) > 0 else matrix[::-1])
    repeat = step.repeat or (1, 1)
    state.check_size(len(atoms) * repeat[0] * repeat[1])
    return atoms.repeat((*repeat, 1))


def tag_layers(atoms: Atoms) -> Atoms:
    """Tags 1, 2, … from the highest layer down."""
    groups = planes(atoms.positions[:, 2])
    tags = np.zeros(len(atoms), int)
    for number, group in enumerate(reversed(groups), 1):
        tags[group] = number
    atoms.set_tags(tags)
    return atoms


def vacuum(step: Vacuum, state: State) -> None:
    """Another width of the vacuum."""
    if state.slab is None:
        raise state.error("vacuum_of_what")
    constraints = state.atoms.constraints
    state.atoms.set_constraint()
    state.atoms = add_vacuum(state.atoms, step.width)
    state.atoms.set_constraint(constraints)
    state.slab.vacuum = step.width


def fix(step: Fix, state: State) -> None:
    """Hold atoms with ASE's `FixAtoms`."""
    atoms = state.atoms
    mobile = state.adsorbed | (atoms.arrays["part"] > 0 if "part" in atoms.arrays else False)
    slab_atoms = np.nonzero(~mobile)[0]
    if step.where in ("all", "support"):
        chosen = slab_atoms if step.where == "support" else np.arange(len(atoms))
    elif not state.is_surface:
        raise state.error("fix_what")
    else:
        groups = _physical_layers(atoms, slab_atoms)
        count = step.layers
        if count is None:
            count = max(1, round((step.fraction or 0.5) * len(groups)))
        if count > len(groups):
            raise state.error("fix_too_many", layers=count, there=len(groups))
        if step.where == "middle":
            first = (len(groups) - count) // 2
            groups = groups[first:]
        elif step.where == "top":
            groups = groups[len(groups) - count :]
        chosen = np.concatenate(groups[:count])
    kept = [c for c in atoms.constraints if not isinstance(c, FixAtoms)]
    before = [i for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index]
    atoms.set_constraint([*kept, FixAtoms(indices=sorted({*before, *map(int, chosen)}))])


def _physical_layers(atoms: Atoms, slab_atoms: np.ndarray) -> list[np.ndarray]:
    """Atoms of each layer that the slab was made of, lowest first."""
    number = atoms.arrays["layer"][slab_atoms] if "layer" in atoms.arrays else np.zeros(len(slab_atoms))
    return [slab_atoms[number == k] for k in np.unique(number)]
