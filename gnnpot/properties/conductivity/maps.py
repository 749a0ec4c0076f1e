"""Ion density in the cell, and van Hove correlation functions.

    self part       G_s(r, t) = < δ(r - |r_i(t) - r_i(0)|) >_i, in 1/Å
    distinct part   G_d(r, t) = < Σ_(j≠i) δ(r - |r_j(t) - r_i(0)|) >_i / (4 π r² ρ), which tends to 1 at large r

Van Hove, Phys. Rev. 95, 249 (1954).
"""

from dataclasses import dataclass

import numpy as np

from gnnpot.properties.conductivity.displacements import Displacements

#: Å, spacing of the density grid
_SPACING = 0.4
#: number of time origins over which the distinct part is averaged
_ORIGINS = 20
_BINS = 120


@dataclass(frozen=True, slots=True)
class Density:
    """Density of the ion, averaged over the repeated cells of the supercell."""

    values: np.ndarray  #: [a, b, c] ions per Å³, on a grid along the cell vectors
    cell: np.ndarray  #: [3, 3] Å, the repeated cell

    def projected(self, axis: int) -> np.ndarray:
        """Mean density along a cell vector."""
        return self.values.mean(axis=axis)


@dataclass(frozen=True, slots=True)
class VanHove:
    """Van Hove correlation functions at several times."""

    times: np.ndarray  #: [K] ps
    distances: np.ndarray  #: [R] Å
    self_part: np.ndarray  #: [K, R] 1/Å, G_s
    distinct_part: np.ndarray  #: [K, R] G_d


def density(moved: Displacements, repeats: tuple[int, int, int] = (1, 1, 1), most_points: int | None = None) -> Density:
    """Calculate the density in the cell of which the simulated cell contains `repeats` along each vector.

    Args:
        moved: Displacements.
        repeats: Repeats of the cell in the simulated cell.
        most_points: Approximate limit of the number of grid points, for which the grid is made coarser.
    """
    cell = moved.cell / np.array(repeats)[:, None]
    lengths = np.linalg.norm(cell, axis=1)
    spacing = _SPACING if most_points is None else max(_SPACING, float(np.cbrt(np.prod(lengths) / most_points)))
    shape = np.maximum(2, np.round(lengths / spacing).astype(int))
    counts = np.zeros(int(np.prod(shape)), dtype=np.int64)
    inverse = np.linalg.inv(cell)
    for positions in moved.ions:
        places = np.floor((positions @ inverse % 1.0) * shape).astype(int) % shape
        counts += np.bincount(np.ravel_multi_index(tuple(places.T), tuple(shape)), minlength=len(counts))
    voxel = abs(np.linalg.det(cell)) / len(counts)
    values = counts.reshape(shape) / (len(moved.ions) * np.prod(repeats) * voxel)
    return Density(values, cell)


def van_hove(moved: Displacements, times: tuple[float, ...] = ()) -> VanHove:
    """Calculate van Hove functions at `times` (ps); default: four times from one frame to half of the run."""
    frames = len(moved.ions)
    if times:
        lags = np.unique(np.clip(np.round(np.array(times) / moved.frame_time), 1, frames - 1).astype(int))
    else:
        lags = np.unique(np.geomspace(1, frames // 2, 4).astype(int))
    # at most half of the smallest height of the cell, within which only nearest images contribute
    reach = min(12.0, 0.5 / np.linalg.norm(np.linalg.inv(moved.cell), axis=0).max())
    edges = np.linspace(0, reach, _BINS + 1)
    self_part = np.stack([_self_part(moved.ions, int(lag), edges) for lag in lags])
    distinct = np.stack([_distinct_part(moved, int(lag), edges) for lag in lags])
    return VanHove(lags * moved.frame_time, 0.5 * (edges[1:] + edges[:-1]), self_part, distinct)


def _self_part(positions: np.ndarray, lag: int, edges: np.ndarray) -> np.ndarray:
    counts, total = np.zeros(len(edges) - 1), 0
    for start in np.unique(np.linspace(0, len(positions) - lag - 1, 200).astype(int)):
        far = np.linalg.norm(positions[start + lag] - positions[start], axis=1)
        counts += np.histogram(far, edges)[0]
        total += len(far)
    return counts / (total * np.diff(edges))


def _distinct_part(moved: Displacements, lag: int, edges: np.ndarray) -> np.ndarray:
    """By nearest images, to half of the cell's smallest height."""
    positions, inverse = moved.ions, np.linalg.inv(moved.cell)
    ions = positions.shape[1]
    counts = np.zeros(len(edges) - 1)
    origins = np.unique(np.linspace(0, len(positions) - lag - 1, _ORIGINS).astype(int))
    for start in origins:
        scaled = (positions[start + lag][None] - positions[start][:, None]) @ inverse
        scaled -= np.round(scaled)
        far = np.linalg.norm(scaled @ moved.cell, axis=-1)
        np.fill_diagonal(far, np.inf)
        counts += np.histogram(far[np.isfinite(far)], edges)[0]
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return counts / (len(origins) * ions * shells * (ions / moved.volume))
