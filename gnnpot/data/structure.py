"""What a structure may be, checked once: where a `Frame` is made, and where a calculator makes neighbours.

    check_structure(numbers, positions, cell, pbc, where="run.xyz, frame 3")       # raises FrameError

Refused is what can't be meant (numbers that aren't finite or beyond the precision of coordinates, unknown elements,
lattices without a volume, two atoms at one place) and what can't be afforded (more atoms in a volume than any crystal
has, so that there are no bounds to the neighbours). Fragments far apart, long wires and large vacuum are no faults.
"""

import itertools

import numpy as np

from gnnpot.data.neighbor_search import closest_pair, complete_cell, wrapped
from gnnpot.errors import DataError

#: Atoms closer than this (Å) stand at one place; no bond comes near it (H-H is 0.74 Å).
MIN_DISTANCE = 0.05
#: The neighbour search looks this far (Å): a finer grid of cells than this costs more than the pairs that it saves.
SEARCH_RADIUS = 2.0
#: Structures with more atoms are looked at for crowds, whose pairs would be too many to make.
MANY_ATOMS = 500
#: Cells with a smaller volume per periodic length³ than this are flat.
MIN_CELL_DETERMINANT = 1e-6
#: Å; beyond it, float64 holds coordinates to less than 1e-8 Å.
MAX_COORDINATE = 1e8
#: Å; an atom without neighbours up to there has no bonds
FREE_ATOM_RADIUS = 6.0
#: atoms per Å³; diamond has 0.18, hydrogen in the core of Jupiter about 1
MAX_DENSITY = 20.0


class FrameError(DataError):
    """One frame that can't be used: `where` it is, the `reason` in a few words to count by, the `problem` in full."""

    def __init__(self, where: str, reason: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where, self.reason, self.problem = where, reason, problem

    def at(self, where: str) -> "FrameError":
        """The same error at another place."""
        return FrameError(where, self.reason, self.problem)


def check_structure(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `FrameError` for a structure that can't be used.

    Args:
        numbers: [N] atomic numbers.
        positions: [N, 3] Å.
        cell: [3, 3] Å, rows are lattice vectors.
        pbc: [3] bool.
        where: what to call it in the message.
    """
    check_lattice(numbers, positions, cell, pbc, where)
    check_distances(positions, cell, pbc, where)


def check_lattice(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """As `check_structure`, without a search of neighbours."""
    check_elements(numbers, where)
    check_extent(positions, cell, where)
    check_cell(cell, pbc, where)
    check_density(positions, cell, pbc, where)


def check_elements(numbers: np.ndarray, where: str) -> None:
    """Raise `FrameError` if there are no atoms, or atomic numbers that are no elements."""
    if len(numbers) == 0:
        raise FrameError(where, "no atoms", "there are no atoms; remove this frame")
    if numbers.min() < 1 or numbers.max() > 118:
        bad = [int(z) for z in np.unique(numbers) if not 1 <= z <= 118]
        problem = f"atomic numbers {bad} are no elements (1 to 118); mend or remove this frame"
        raise FrameError(where, "unknown element", problem)


def check_extent(positions: np.ndarray, cell: np.ndarray, where: str) -> None:
    """Raise `FrameError` for coordinates and lattice vectors that aren't finite, or larger than can be meant."""
    for name, value in (("positions", positions), ("cell", cell)):
        if not np.isfinite(value).all():
            problem = f"{name} has NaN or infinite values; mend or remove this frame"
            raise FrameError(where, f"{name} not finite", problem)
        largest = float(np.abs(value).max(initial=0.0))
        if largest > MAX_COORDINATE:
            problem = (
                f"{name} has a value of {largest:.3g} Å, beyond {MAX_COORDINATE:.0e} Å, where float64 does not hold "
                "the distances of atoms; mend or remove this frame"
            )
            raise FrameError(where, f"{name} too large", problem)


def check_cell(cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `FrameError` if the periodic lattice vectors do not span a volume."""
    vectors = cell[pbc]
    if len(vectors) > 0 and not spans_volume(vectors):
        problem = "the periodic lattice vectors span no volume; give a cell or switch pbc off"
        raise FrameError(where, "cell without volume", problem)


def spans_volume(vectors: np.ndarray) -> bool:
    """Whether lattice vectors, [1 to 3, 3] Å, span a length, an area or a volume."""
    lengths = np.linalg.norm(vectors, axis=1)
    directions = vectors / np.where(lengths > 0, lengths, 1.0)[:, None]
    gram = np.linalg.det(directions @ directions.T)
    return bool(lengths.min() > 0 and np.sqrt(max(gram, 0.0)) >= MIN_CELL_DETERMINANT)


def check_density(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `FrameError` if a periodic structure has more atoms in a volume than any crystal.

    Along directions without periodicity the volume is as wide as the atoms stand, and 1 Å at least.
    """
    if not pbc.any():
        return
    complete = complete_cell(cell, pbc)
    volume = abs(np.linalg.det(complete))
    if not pbc.all():
        widths = np.maximum(np.ptp(positions @ np.linalg.inv(complete), axis=0), 1.0)
        volume *= float(np.prod(widths[~pbc]))
    density = len(positions) / volume
    if density > MAX_DENSITY:
        neighbors = density * 4 / 3 * np.pi * 5.0**3
        problem = (
            f"there are {density:.3g} atoms per Å³, about {neighbors:.3g} within 5 Å of each atom (diamond has 92); "
            "mend the cell (is it in Å?) or remove this frame"
        )
        raise FrameError(where, "cell too small", problem)


def check_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `FrameError` if two atoms (or an atom and its image) stand closer than `MIN_DISTANCE`."""
    radius = SEARCH_RADIUS
    if len(positions) > MANY_ATOMS and _has_crowds(positions, cell, pbc):
        _check_shared_places(positions, cell, pbc, where)
        radius = MIN_DISTANCE
    closest = closest_pair(positions, cell, pbc, radius)
    if closest is not None and closest[2] < MIN_DISTANCE:
        raise _at_one_place(*closest, where)


def _at_one_place(i: int, j: int, distance: float, where: str) -> FrameError:
    problem = f"atoms {i} and {j} stand {distance:.3f} Å apart, at one place; remove one of them"
    return FrameError(where, "atoms at one place", problem)


def _boxes(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """([N, 3] positions within the cell, Å; [N] a number of the cubic box, `width` wide, that each is in).

    Different boxes may have the same number by accident, about once in 2^64.
    """
    places = positions
    if pbc.any():
        complete = complete_cell(cell, pbc)
        places = wrapped(positions, complete, pbc)[0] @ complete
    boxes = np.floor(places / width).astype(np.int64)
    return places, boxes @ np.array([1, 0x9E3779B97F4A7C1, 0x2545F4914F6CDD1D], dtype=np.int64)


def _has_crowds(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
    """Whether a box of `SEARCH_RADIUS` holds more atoms than `MAX_DENSITY` allows."""
    boxes = np.sort(_boxes(positions, cell, pbc, SEARCH_RADIUS)[1])
    most = int(MAX_DENSITY * SEARCH_RADIUS**3)
    return bool((boxes[most:] == boxes[:-most]).any())


def _check_shared_places(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `FrameError` if two atoms stand in one box so small that they are closer than `MIN_DISTANCE`.

    It costs a sort, however many atoms share a place; afterwards there are bounds to the neighbours of an atom.
    """
    places, boxes = _boxes(positions, cell, pbc, MIN_DISTANCE / np.sqrt(3.0))
    order = np.argsort(boxes, kind="stable")
    same = np.flatnonzero(np.diff(boxes[order]) == 0)
    i, j = order[same], order[same + 1]
    distances = np.linalg.norm(places[i] - places[j], axis=1)
    if len(same) and distances.min() < MIN_DISTANCE:
        k = int(distances.argmin())
        first, second = min(int(i[k]), int(j[k])), max(int(i[k]), int(j[k]))
        raise _at_one_place(first, second, float(distances[k]), where)


def is_free_atom(numbers: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
    """Whether a structure is one atom with no image of its own within `FREE_ATOM_RADIUS`."""
    if len(numbers) != 1:
        return False
    vectors = np.asarray(cell)[np.asarray(pbc, dtype=bool)]
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=len(vectors))))[1:]
    near = np.linalg.norm(shifts[shifts.any(axis=1)] @ vectors, axis=1) if len(vectors) else np.array([np.inf])
    return bool(near.min() > FREE_ATOM_RADIUS)
