"""Slabs: number of layers, termination, surface cell, vacuum, and fixed atoms."""

from itertools import product

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from gnnpot.builder.recipe import Fix, Slab, Vacuum
from gnnpot.builder.state import SlabState, State, planes
from gnnpot.builder.steps.planes import Oriented, orient

DEFAULT_VACUUM, DEFAULT_LAYERS, DEFAULT_THICKNESS = 15.0, 4, 9.0

#: surface cells that are also names of reconstructions: elements, family of planes, cells
RECONSTRUCTIONS = (
    (("Si",), (1, 1, 1), ((7, 7), (2, 1))),
    (("Ge",), (1, 1, 1), ((2, 1),)),
    (("Si", "Ge"), (0, 0, 1), ((2, 1), (1, 2))),
    (("Au", "Pt", "Ir"), (0, 1, 1), ((2, 1), (1, 2))),
    (("Au", "Pt", "Ir"), (0, 0, 1), ((5, 1), (1, 5))),
)


def slab(step: Slab, state: State) -> None:
    """Cut a slab from the crystal."""
    if state.is_surface or state.crystal is None or not state.atoms.pbc.all():
        raise state.error("slab_of_what")
    source = state.atoms if len(state.atoms) != len(state.crystal or ()) else state.crystal
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
    _say_reconstruction(step, state)
    state.slab = SlabState(vacuum, step.repeat is not None or step.matrix is not None, unit)


def _say_reconstruction(step: Slab, state: State) -> None:
    """Tell that a surface cell such as Si(111) 7×7, which also names a reconstruction, is not reconstructed."""
    symbols = set(state.atoms.get_chemical_symbols())
    if len(symbols) != 1 or step.repeat is None:
        return
    symbol, family = symbols.pop(), tuple(sorted(map(abs, three_indices(step.miller))))
    known = [cells for elements, plane, cells in RECONSTRUCTIONS if symbol in elements and family == plane]
    if any(step.repeat in cells for cells in known):
        repeat = "×".join(map(str, step.repeat))
        state.note("reconstruction", formula=symbol, miller=_text(step.miller), repeat=repeat)


def _text(miller: tuple[int, ...]) -> str:
    return (
        "(" + (" ".join(map(str, miller)) if any(i < 0 or i > 9 for i in miller) else "".join(map(str, miller))) + ")"
    )


def three_indices(miller: tuple[int, ...]) -> tuple[int, int, int]:
    """Convert (h k i l) of a hexagonal crystal to (h k l)."""
    return (miller[0], miller[1], miller[3]) if len(miller) == 4 else (miller[0], miller[1], miller[2])


def _extent(step: Slab, oriented: Oriented, state: State) -> tuple[int, int]:
    """The lowest plane (numbered across periods) and the number of planes of the slab."""
    number, starts = len(oriented.planes), oriented.starts
    crystal_size = 0 if state.crystal is None else len(state.crystal)
    height = oriented.period / len(starts)
    layers = step.layers
    if layers is None:
        wanted = step.thickness or max(DEFAULT_THICKNESS, (DEFAULT_LAYERS - 1) * height if number == len(starts) else 0)
        state.check_size(wanted / oriented.period * len(oriented.atoms))
        layers = 1
        while _thickness(oriented, *_span(oriented, layers)) < wanted - 1e-3:
            layers += 1
    state.check_size(layers / len(starts) * len(oriented.atoms))
    if step.layers is None and step.thickness is None and number == len(starts) and crystal_size < 3:
        layers = max(layers, DEFAULT_LAYERS)
    lowest, count = _span(oriented, layers)
    if step.termination is not None:
        lowest, count = _terminated(step, oriented, lowest, count, state)
    if step.layers is None or number != len(starts):
        state.note("layers", layers=layers, planes=count, thickness=f"{_thickness(oriented, lowest, count):.1f}")
    return lowest, count


def _span(oriented: Oriented, layers: int) -> tuple[int, int]:
    """The lowest plane and the number of planes of `layers` layers above the chosen cut."""
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
    """Move the cut until the highest plane has the requested elements, or remove planes from the top."""
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
    """Return the planes as one slab. Its third cell vector is still that of the oriented cell."""
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
    """Set the third cell vector to the height of slab and vacuum along the normal, and centre the slab; in place."""
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
    """The slab with the smallest rectangular surface cell."""
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
    """Return the slab in a larger cell with in-plane vectors matrix · (a, b), the first one along x."""
    size = abs(round(np.linalg.det(matrix)))
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
    """Set tags 1, 2, … of the atoms, from the highest layer down; in place."""
    groups = planes(atoms.positions[:, 2])
    tags = np.zeros(len(atoms), int)
    for number, group in enumerate(reversed(groups), 1):
        tags[group] = number
    atoms.set_tags(tags)
    return atoms


def vacuum(step: Vacuum, state: State) -> None:
    """Change the width of the vacuum."""
    if state.slab is None:
        raise state.error("vacuum_of_what")
    constraints = state.atoms.constraints
    state.atoms.set_constraint()
    state.atoms = add_vacuum(state.atoms, step.width)
    state.atoms.set_constraint(constraints)
    state.surface.vacuum = step.width


def fix(step: Fix, state: State) -> None:
    """Fix atoms with ASE's `FixAtoms`."""
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
    """Atoms of each layer of which the slab was built, lowest first."""
    number = atoms.arrays["layer"][slab_atoms] if "layer" in atoms.arrays else np.zeros(len(slab_atoms))
    return [slab_atoms[number == k] for k in np.unique(number)]
