"""Validity checks of structures, run when a `Frame` is created and when a calculator builds a neighbour list.

    check_structure(numbers, positions, cell, pbc, where="run.xyz, frame 3")       # raises FrameError

The checks reject structures that must be mistakes (values that are not finite or exceed the precision of coordinates,
unknown elements, lattices without a volume, two atoms at the same position) and structures that are too expensive (a
higher density of atoms than in any crystal, so that the number of neighbours is unbounded). Distant fragments, long
wires and large vacuum regions are accepted.
"""

import itertools

import numpy as np

from gnnpot.data.neighbor_search import closest_pair, complete_cell, wrapped
from gnnpot.errors import DataError

#: Å; atoms closer than this are at the same position; all bonds are much longer (H-H is 0.74 Å)
MIN_DISTANCE = 0.05
#: Å; cutoff of the neighbour search: a grid with smaller cells costs more than the pairs that it avoids
SEARCH_RADIUS = 2.0
#: larger structures are first checked for dense regions, which have too many pairs to enumerate
MANY_ATOMS = 500
#: smallest volume spanned by the unit vectors along the periodic lattice vectors; smaller ones are flat cells
MIN_CELL_DETERMINANT = 1e-6
#: Å; largest coordinate that float64 represents to about 1e-8 Å
MAX_COORDINATE = 1e8
#: Å; an atom without neighbours within this radius is a free atom
FREE_ATOM_RADIUS = 6.0
#: atoms per Å³; largest accepted density; diamond has 0.18, hydrogen in the core of Jupiter about 1
MAX_DENSITY = 20.0


class FrameError(DataError):
    """Error for a frame that can't be used.

    Args:
        where: File and frame.
        reason: Short category, by which rejected frames are counted.
        problem: Full description.
    """

    def __init__(self, where: str, reason: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where, self.reason, self.problem = where, reason, problem

    def with_location(self, where: str) -> "FrameError":
        """Return the same error with another `where`."""
        return FrameError(where, self.reason, self.problem)


def check_structure(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `FrameError` for a structure that can't be used.

    Args:
        numbers: [N] atomic numbers.
        positions: [N, 3] Å.
        cell: [3, 3] Å, rows are lattice vectors.
        pbc: [3] bool.
        where: name of the structure for the message.
    """
    check_lattice(numbers, positions, cell, pbc, where)
    check_distances(positions, cell, pbc, where)


def check_lattice(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """As `check_structure`, but without a neighbour search."""
    check_elements(numbers, where)
    check_extent(positions, cell, where)
    check_cell(cell, pbc, where)
    check_density(positions, cell, pbc, where)


def check_elements(numbers: np.ndarray, where: str) -> None:
    """Raise `FrameError` if there are no atoms, or if an atomic number is not from 1 to 118."""
    if len(numbers) == 0:
        raise FrameError(where, "no atoms", "there are no atoms; remove this frame")
    if numbers.min() < 1 or numbers.max() > 118:
        bad = [int(z) for z in np.unique(numbers) if not 1 <= z <= 118]
        problem = f"atomic numbers {bad} are no elements (1 to 118); mend or remove this frame"
        raise FrameError(where, "unknown element", problem)


def check_extent(positions: np.ndarray, cell: np.ndarray, where: str) -> None:
    """Raise `FrameError` if coordinates or lattice vectors are not finite, or exceed `MAX_COORDINATE`."""
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
    """Raise `FrameError` if a periodic structure has more than `MAX_DENSITY` atoms per Å³.

    Along non-periodic directions, the volume extends over the atoms, and at least 1 Å.
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
    """Raise `FrameError` if two atoms (or an atom and its image) are closer than `MIN_DISTANCE`."""
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
    """Return [N, 3] positions wrapped into the cell, Å, and [N] hashes of the cubic boxes of `width` Å they are in.

    The hashes of two different boxes are equal with a probability of about 2^-64.
    """
    places = positions
    if pbc.any():
        complete = complete_cell(cell, pbc)
        places = wrapped(positions, complete, pbc)[0] @ complete
    boxes = np.floor(places / width).astype(np.int64)
    return places, boxes @ np.array([1, 0x9E3779B97F4A7C1, 0x2545F4914F6CDD1D], dtype=np.int64)


def _has_crowds(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
    """Return whether a cubic box of width `SEARCH_RADIUS` has a higher density than `MAX_DENSITY`."""
    boxes = np.sort(_boxes(positions, cell, pbc, SEARCH_RADIUS)[1])
    most = int(MAX_DENSITY * SEARCH_RADIUS**3)
    return bool((boxes[most:] == boxes[:-most]).any())


def _check_shared_places(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str) -> None:
    """Raise `FrameError` if two atoms are in the same box of diagonal `MIN_DISTANCE`.

    The cost is that of a sort, even if many atoms are at one position. Afterwards, the number of neighbours of an atom
    is bounded.
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
    """Return whether a structure is a single atom without periodic images within `FREE_ATOM_RADIUS`."""
    if len(numbers) != 1:
        return False
    vectors = np.asarray(cell)[np.asarray(pbc, dtype=bool)]
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=len(vectors))))[1:]
    near = np.linalg.norm(shifts[shifts.any(axis=1)] @ vectors, axis=1) if len(vectors) else np.array([np.inf])
    return bool(near.min() > FREE_ATOM_RADIUS)
