"""Interfaces: two slabs in a common cell.

The cell is found by the method of Zur and McGill (J. Appl. Phys. 55, 378, 1984): sublattices of both planes with nearly
equal areas and reduced vectors are compared in order of their area, and the first pair within the allowed strain is
used. pymatgen has the same algorithm, but compiles it for 13 s in every process.
"""

from itertools import product

import numpy as np
from ase import Atoms

from gnnpot.builder.library import library
from gnnpot.builder.recipe import Bulk, Film, Interface, Sheet, Slab
from gnnpot.builder.state import SlabState, State
from gnnpot.builder.steps import crystal as crystal_steps
from gnnpot.builder.steps.low_dimensional import sheet as make_sheet
from gnnpot.builder.steps.planes import reduced
from gnnpot.builder.steps.slab import add_vacuum, surface_cell, tag_layers
from gnnpot.builder.steps.slab import slab as cut_slab

MAX_STRAIN, MAX_AREA = 0.05, 400.0
DEFAULT_GAP, SHEET_GAP = 2.2, 3.3
DEFAULT_MILLER = (1, 1, 1)
#: prototypes of crystals of sheets along c
LAYERED = ("molybdenite", "cadmium iodide", "tetradymite")


def interface(step: Interface, state: State) -> None:
    """Strain the film and put it on the substrate."""
    substrate, thin = _one_slab(step.substrate, step, state), _one_slab(step.film, step, state)
    limit, area = step.max_strain or MAX_STRAIN, step.max_area or MAX_AREA
    matrices = _match(thin, substrate, limit, area)
    if matrices is None:
        raise state.error("no_match", strain=f"{100 * limit:g}", area=f"{area:g}")
    if step.max_strain is None:
        state.note("max_strain", strain=f"{100 * limit:g}")
    below = surface_cell(substrate, matrices[1])
    above = surface_cell(thin, matrices[0])
    state.check_size(len(below) + len(above))
    strains = _strains(above.cell[:2, :2], below.cell[:2, :2])
    cell = np.array([below.cell[0], below.cell[1], above.cell[2]])
    above.set_cell(cell, scale_atoms=True)
    gap = step.gap or (SHEET_GAP if _is_layered(step.film) or _is_layered(step.substrate) else DEFAULT_GAP)
    if step.gap is None:
        state.note("gap", gap=f"{gap:g}")
    above.positions[:, 2] += below.positions[:, 2].max() + gap - above.positions[:, 2].min()
    joined = Atoms(
        np.concatenate([below.numbers, above.numbers]),
        positions=np.concatenate([below.positions, above.positions]),
        cell=below.cell,
        pbc=True,
    )
    layers = below.arrays["layer"], above.arrays["layer"] + below.arrays["layer"].max() + 1
    joined.set_array("layer", np.concatenate(layers))
    vacuum = step.vacuum if step.vacuum is not None else 15.0
    if step.vacuum is None:
        state.note("vacuum", vacuum=f"{vacuum:g}")
    state.atoms = tag_layers(add_vacuum(joined, vacuum or gap))
    largest = float(np.abs(strains).max())
    state.atoms.info["strain"] = largest
    state.note(
        "interface_strain", largest=f"{100 * largest:.2f}", area=f"{abs(np.linalg.det(below.cell[:2, :2])):.1f}",
        film=int(abs(round(np.linalg.det(matrices[0])))), substrate=int(abs(round(np.linalg.det(matrices[1])))),
    )  # fmt: skip
    if largest > 0.05:
        state.warn("large_strain", percent=f"{100 * largest:.1f}")
    state.slab = SlabState(vacuum, True, state.atoms.copy())


def _is_layered(film: Film) -> bool:
    """Whether a side is a sheet, or a crystal of sheets cut between them: no bonds cross the interface."""
    if film.sheet:
        return True
    entry = library().find(film.formula, film.polymorph) or {}
    between = film.miller is not None and not any(film.miller[:-1])
    return between and entry.get("prototype") in LAYERED


def _one_slab(film: Film, step: Interface, state: State) -> Atoms:
    """The slab of one side with a 1×1 cell; its notes and warnings are added to `state`."""
    own = State(state.language, state.folder, max_atoms=state.max_atoms)
    if film.sheet:
        make_sheet(Sheet(formula=film.formula, layers=film.layers or 1, vacuum=10.0), own)
        own.atoms.set_array("layer", np.zeros(len(own.atoms), int))
        state.notes += own.notes
        return own.atoms
    crystal_steps.bulk(Bulk(formula=film.formula, polymorph=film.polymorph), own)
    miller = film.miller or DEFAULT_MILLER
    if film.miller is None:
        state.note("miller", formula=film.formula, miller="".join(map(str, miller)))
    cut_slab(Slab(miller=miller, layers=film.layers, thickness=film.thickness, vacuum=10.0), own)
    state.notes += [note for note in own.notes if note not in state.notes]
    state.warnings += own.warnings
    return own.atoms


def _match(film: Atoms, substrate: Atoms, limit: float, area: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Integer matrices of film and substrate for the smallest common cell within the allowed strain."""
    cells = [_upright(a.cell[:2, :2]) for a in (film, substrate)]
    areas = [abs(float(np.linalg.det(c))) for c in cells]
    sizes = [
        (n, m)
        for m in range(1, int(area / areas[1]) + 1)
        for n in range(1, int(area * (1 + limit) ** 2 / areas[0]) + 1)
        if abs(n * areas[0] / (m * areas[1]) - 1) < 2.1 * limit
    ]
    for n, m in sorted(sizes, key=lambda pair: (pair[1], pair[0])):
        best: tuple[float, np.ndarray, np.ndarray] | None = None
        firsts, seconds = _sublattices(n, cells[0]), _sublattices(m, cells[1])
        for first, second in _similar_pairs(firsts, seconds, cells, limit):
            strain, variant = _pair_strain(first @ cells[0], second @ cells[1])
            if strain <= limit + 1e-9 and (best is None or strain < best[0] - 1e-9):
                best = (strain, variant @ first, second)
        if best is not None:
            return best[1], best[2]
    return None


#: changes of basis of a two-dimensional lattice, with entries -1, 0 and 1
_BASES = np.array(
    [
        [[a, b], [c, d]]
        for a, b, c, d in product((-1, 0, 1), repeat=4)
        if a * d - b * c == 1
    ]
)  # fmt: skip


def _sublattices(size: int, cell: np.ndarray) -> list[np.ndarray]:
    """Matrices of all sublattices with index `size` (Hermite normal forms), with reduced vectors."""
    found = []
    for first in range(1, size + 1):
        if size % first == 0:
            for shift in range(first):
                matrix = np.array([[first, 0], [shift, size // first]])
                vectors = reduced(matrix @ cell)
                matrix = np.rint(vectors @ np.linalg.inv(cell)).astype(int)
                found.append(matrix if np.linalg.det(matrix) > 0 else matrix[::-1])
    return found


def _similar_pairs(
    firsts: list[np.ndarray], seconds: list[np.ndarray], cells: list[np.ndarray], limit: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of sublattices whose reduced vectors have nearly equal lengths, with one sublattice of each shape."""
    sides = []
    for matrices, cell in zip((firsts, seconds), cells, strict=True):
        shapes: dict[tuple[float, ...], np.ndarray] = {}
        for matrix in matrices:
            a, b = matrix @ cell
            shapes.setdefault(tuple(np.round((np.linalg.norm(a), np.linalg.norm(b), abs(a @ b)), 3)), matrix)
        sides.append(shapes)
    first, second = (np.sort(np.array(list(side))[:, :2], axis=1) for side in sides)
    near = np.all(np.abs(first[:, None] / second[None] - 1) < 1.5 * limit + 0.01, axis=2)
    choices = [list(side.values()) for side in sides]
    return [(choices[0][i], choices[1][j]) for i, j in zip(*np.nonzero(near), strict=True)]


def _pair_strain(film: np.ndarray, substrate: np.ndarray) -> tuple[float, np.ndarray]:
    """The basis of the film's cell with the smallest maximum strain: (strain, basis)."""
    best = min(((float(np.abs(_strains(basis @ film, substrate)).max()), i) for i, basis in enumerate(_BASES)))
    return best[0], _BASES[best[1]]


def _strains(film: np.ndarray, substrate: np.ndarray) -> np.ndarray:
    """Principal strains of the film if its vectors become those of the substrate."""
    gradient = np.linalg.solve(_upright(film), _upright(substrate))
    return np.linalg.svd(gradient, compute_uv=False) - 1


def _upright(vectors: np.ndarray) -> np.ndarray:
    """The two vectors, rotated so that the first is along x."""
    a, b = vectors
    x = a / np.linalg.norm(a)
    y = np.array([-x[1], x[0]])
    return np.array([[a @ x, a @ y], [b @ x, b @ y]])
