"""A neighbour list with a skin (Verlet list), which is reused while atoms move little.

The list has all pairs up to `cutoff + skin`. When the atoms have moved, the vectors of its pairs are recalculated, and
the pairs within `cutoff` are the edges. The list is complete as long as (4) holds.

Derivation: let the cell change from H_0 to H = H_0 F with the deformation F, and write the positions (rows) as

    R_i = R0_i F + u_i                                                                                        (1)

with displacements u. The vector of a pair, d0 when the list was built, is now

    d = d0 F + u_j - u_i,                                                                                     (2)

so that, with the smallest singular value s of F,

    s |d0|  <=  |d0 F|  <=  |d| + |u_i - c| + |u_j - c|      for any vector c.                                (3)

A pair that is within the cutoff now, |d| <= r_c, is in the list if |d0| <= r_c + skin. By (3), this is the case if

    r_c + 2 max_i |u_i - c|  <=  s (r_c + skin).                                                              (4)

For a fixed cell, F = 1, this is the usual criterion that no atom has moved by more than half of the skin. With c, the
mean of u, a common drift of all atoms does not trigger a rebuild.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.data.structure import MAX_COORDINATE, MIN_DISTANCE, check_cell, check_density, check_extent
from gnnpot.errors import DataError, SimulationError
from gnnpot.graphs.image_pairs import ImagePairs, image_pairs
from gnnpot.graphs.neighbors import Neighbors, are_independent, complete_cell

#: Å; a larger skin means more pairs to test at each call, a smaller one more frequent rebuilds
SKIN = 0.8
#: factor by which a list may exceed the list that was checked last, without another check
GROWTH = 1.25
#: displacement since the last rebuild, in units of the skin, beyond which the atoms count as another structure
JUMP = 2.0


class _Checked(NamedTuple):
    """Size of the list for which `check` was called last."""

    volume: float  #: volume of the cell, Å³
    pairs: int


class SkinList:
    """Neighbours within `cutoff` (Å) of a structure that changes from call to call; rebuilt when (4) does not hold.

    `rebuilds` is the number of rebuilds so far. Atomic numbers do not matter, only the number of atoms.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self.cutoff, self.skin = cutoff, skin
        self.rebuilds = 0
        self._pairs: ImagePairs | None = None
        self._checked: _Checked | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the list, which the next call rebuilds."""
        return {"cutoff": self.cutoff, "skin": self.skin, "rebuilds": self.rebuilds, "_pairs": None, "_checked": None}

    def update(
        self,
        positions: np.ndarray,
        cell: np.ndarray,
        pbc: np.ndarray,
        where: str = "structure",
        check: Callable[[], None] | None = None,
    ) -> Neighbors:
        """Return the current edges.

        Args:
            positions: [N, 3] Å.
            cell: [3, 3] Å.
            pbc: [3] bool.
            where: Name of the structure in error messages.
            check: Called before a list is built, for example to check memory; may raise. Nothing large is allocated
                before. It is not called again while the same atoms move from rebuild to rebuild, as in dynamics, and
                the list has at most `GROWTH` times the pairs of the list for which it was called.

        Returns:
            The same edges as `neighbor_list(positions, cell, pbc, cutoff)`, sorted by centre.

        Raises:
            SimulationError: Positions or cell of a later structure are not finite, or have grown beyond
                `MAX_COORDINATE`.
            DataError: Positions or cell of the first structure are not finite, two atoms are at the same position, the
                cell has no volume, or another check of `gnnpot.data.structure` fails.
        """
        if not (_all_finite(positions) and _all_finite(cell)):
            problem = f"{where}: positions or cell are not finite numbers"
            if self._pairs is None:
                raise DataError(f"{problem}; mend the structure")
            raise SimulationError(f"{problem}; the simulation has exploded")
        if self._pairs is None or not self._covers(positions, cell, pbc):
            if self._pairs is not None and len(positions) == len(self._positions) and _has_left(positions, cell):
                raise SimulationError(
                    f"{where}: an atom or a lattice vector is beyond {MAX_COORDINATE:.0e} Å; it has exploded"
                )
            pairs = self._rebuild(positions, cell, pbc, where, check)
        else:
            pairs = self._pairs
        index, shifts, vectors, distances, k = _edges_within(
            np.ascontiguousarray(positions),
            np.ascontiguousarray(cell),
            pairs,
            self.cutoff,
            follow_torch(),
        )
        if len(distances) and distances[k] < MIN_DISTANCE:
            raise DataError(
                f"{where}: atoms {index[0, k]} and {index[1, k]} stand {distances[k]:.3f} Å apart, at one place; "
                "remove one of them"
            )
        return Neighbors(index, shifts, vectors, distances)

    def _rebuild(
        self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, where: str, check: Callable[[], None] | None
    ) -> ImagePairs:
        check_extent(positions, cell, where)
        check_cell(cell, pbc, where)
        check_density(positions, cell, pbc, where)
        is_checked = check is None or self._is_checked(positions, cell, pbc)
        if check is not None and not is_checked:
            check()
        # free the old list first: two lists would take twice the memory
        self._pairs = None
        self._pairs = image_pairs(positions, cell, pbc, self.cutoff + self.skin)
        if not is_checked:
            self._checked = _Checked(_volume(cell, pbc), len(self._pairs.near))
        self._positions, self._cell, self._pbc = positions.copy(), cell.copy(), pbc.copy()
        self.rebuilds += 1
        return self._pairs

    def _is_checked(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
        """Whether the new list is expected to be about as long as the list for which `check` was called last.

        The check is skipped then, because a query of the free memory takes as long as building a short list.
        """
        checked, pairs = self._checked, self._pairs
        if checked is None or pairs is None or len(positions) != len(self._positions):
            return False
        if not np.array_equal(pbc, self._pbc) or _farthest(positions, self._positions) > JUMP * self.skin:
            return False
        return _volume(cell, pbc) * GROWTH >= checked.volume and len(pairs.near) <= GROWTH * checked.pairs

    def _covers(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
        """Whether equation (4) holds."""
        if len(positions) != len(self._positions) or not np.array_equal(pbc, self._pbc):
            return False
        if np.array_equal(cell[pbc], self._cell[pbc]):
            smallest, before = 1.0, self._positions
        else:
            if not are_independent(cell, pbc):
                return False
            deformation = np.linalg.solve(complete_cell(self._cell, pbc), complete_cell(cell, pbc))
            smallest = np.linalg.svd(deformation, compute_uv=False)[-1]
            before = self._positions @ deformation
        return bool(self.cutoff + 2 * _farthest(positions, before) <= smallest * (self.cutoff + self.skin))


def _volume(cell: np.ndarray, pbc: np.ndarray) -> float:
    return abs(float(np.linalg.det(complete_cell(cell, pbc))))


def _has_left(positions: np.ndarray, cell: np.ndarray) -> bool:
    return max(np.abs(positions).max(initial=0.0), np.abs(cell).max()) > MAX_COORDINATE


@njit(cache=True)
def _all_finite(rows: np.ndarray) -> bool:  # pragma: no cover - compiled
    for row in rows:
        for x in row:
            if not np.isfinite(x):
                return False
    return True


@njit(cache=True)
def _farthest(positions: np.ndarray, before: np.ndarray) -> float:  # pragma: no cover - compiled
    """Largest displacement of an atom, relative to the mean displacement."""
    drift = np.zeros(3)
    for i in range(len(positions)):
        for k in range(3):
            drift[k] += (positions[i, k] - before[i, k]) / len(positions)
    farthest = 0.0
    for i in range(len(positions)):
        square = 0.0
        for k in range(3):
            square += (positions[i, k] - before[i, k] - drift[k]) ** 2
        farthest = max(farthest, square)
    return np.sqrt(farthest)


@njit(parallel=True, cache=True)
def _edges_within(  # pragma: no cover - compiled
    positions: np.ndarray, cell: np.ndarray, pairs: ImagePairs, cutoff: float, parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Select the pairs that are now closer than `cutoff`.

    Returns index [2, E], shifts [E, 3], vectors [E, 3] and distances [E] of the edges, and the index of the shortest
    edge. The pairs are divided among threads in `parts` ranges; the result does not depend on their number.
    """
    first, image, near, owner, shift = pairs
    n, limit = len(image), cutoff * cutoff
    offsets = np.empty((len(owner), 3))
    for part in prange(parts):
        for m in range(len(owner) * part // parts, len(owner) * (part + 1) // parts):
            a, b, c = shift[m]
            for k in range(3):
                offsets[m, k] = a * cell[0, k] + b * cell[1, k] + c * cell[2, k]
    counts = np.zeros(parts, dtype=np.int64)
    for part in prange(parts):
        begin = count = n * part // parts
        end, e = n * (part + 1) // parts, begin
        i = np.searchsorted(first, begin, side="right") - 1
        while e < end:
            here = positions[i, 0], positions[i, 1], positions[i, 2]
            for pair in range(e, min(first[i + 1], end)):
                x, y, z = _vector(here, positions, owner, offsets, image[pair])
                near[count] = pair
                # no branch: about one in three would be mispredicted
                count += x * x + y * y + z * z < limit
            e = first[i + 1]
            i += 1
        counts[part] = count - begin
    total = counts.sum()
    index, shifts = np.empty((2, total), dtype=np.int64), np.empty((total, 3), dtype=np.int64)
    vectors, distances = np.empty((total, 3)), np.empty(total)
    shortest = np.empty(parts, dtype=np.int64)
    for part in prange(parts):
        begin, to = n * part // parts, counts[:part].sum()
        shortest[part], least = to, np.inf
        i = np.searchsorted(first, begin, side="right") - 1
        for k in range(begin, begin + counts[part]):
            e = near[k]
            while first[i + 1] <= e:
                i += 1
            m = image[e]
            x, y, z = _vector((positions[i, 0], positions[i, 1], positions[i, 2]), positions, owner, offsets, m)
            square = x * x + y * y + z * z
            index[0, to], index[1, to], distances[to] = i, owner[m], np.sqrt(square)
            shifts[to, 0], shifts[to, 1], shifts[to, 2] = shift[m, 0], shift[m, 1], shift[m, 2]
            vectors[to, 0], vectors[to, 1], vectors[to, 2] = x, y, z
            if square < least:
                shortest[part], least = to, square
            to += 1
    nearest = 0
    for part in range(parts):
        if counts[part] and distances[shortest[part]] < distances[nearest]:
            nearest = shortest[part]
    return index, shifts, vectors, distances, nearest


@njit(forceinline=True)
def _vector(  # pragma: no cover - compiled
    here: tuple[float, float, float], positions: np.ndarray, owner: np.ndarray, offsets: np.ndarray, m: int
) -> tuple[float, float, float]:
    """Vector from the position `here` to image m.

    The order of the additions makes the vector of the reverse pair exactly its negative, so that either both pairs are
    within the cutoff or neither is.
    """
    j = owner[m]
    return (
        positions[j, 0] - here[0] + offsets[m, 0],
        positions[j, 1] - here[1] + offsets[m, 1],
        positions[j, 2] - here[2] + offsets[m, 2],
    )
