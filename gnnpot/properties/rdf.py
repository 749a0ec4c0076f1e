"""Radial distribution functions and coordination numbers of a trajectory.

    result = calc(frames, RdfConfig(cutoff=8.0))
    result.pairs["Na", "Cl"].g, result.pairs["Na", "Cl"].coordination

With N_a atoms of element a and N_b of b in a volume V, and n_ab(r) pairs with distances from r to r + Δr,

    g_ab(r) = V / (N_a N_b') <n_ab(r)> / (4π/3 [(r + Δr)³ - r³]),   N_b' = N_b - 1 for a = b else N_b,          (1)
    N_ab(r) = 1/N_a Σ_{r' < r} <n_ab(r')>,                                                                      (2)

where N_ab(r) is the mean number of neighbours b within r of an atom a. The uncertainty is the standard error of the
mean over blocks of consecutive frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase.data import atomic_numbers

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.domains import INTEGER_FROM_0, POSITIVE, check_fields
from gnnpot.errors import DataError
from gnnpot.graphs.neighbors import neighbor_list
from gnnpot.runs.progress import Progress, no_progress

#: number of blocks of frames for the uncertainty
BLOCKS = 5


@dataclass(frozen=True, eq=False)
class PairDistribution:
    """Radial distribution function of two elements."""

    g: np.ndarray  #: [R] equation (1)
    uncertainty: np.ndarray  #: [R] standard error of g; NaN for fewer than `BLOCKS` frames
    coordination: np.ndarray  #: [R] equation (2), at the outer edges of the shells

    @property
    def peak(self) -> int:
        """Index of the maximum of g."""
        return int(self.g.argmax())


@dataclass(frozen=True, eq=False)
class RadialDistribution:
    """Radial distribution functions of all pairs of elements in a trajectory."""

    frames: int  #: number of frames
    distances: np.ndarray  #: [R] Å, centres of the shells
    width: float  #: Å, width of a shell
    pairs: dict[tuple[str, str], PairDistribution]  #: by chemical symbols

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "frames": self.frames,
            "distances_A": self.distances.tolist(),
            "width_A": self.width,
            "pairs": {
                f"{a}-{b}": {
                    "peak_A": float(self.distances[p.peak]),
                    "g": p.g.tolist(),
                    "uncertainty": p.uncertainty.tolist(),
                    "coordination": p.coordination.tolist(),
                }
                for (a, b), p in self.pairs.items()
            },
        }

    def plot(self, path: Path) -> None:
        """Save a plot of g with its uncertainty, and coordination numbers, as PNG."""
        from gnnpot.runs.pages import COLORS, new_figure, tidy

        figure = new_figure(2)
        radial, counts = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
        for k, ((a, b), pair) in enumerate(self.pairs.items()):
            color, style = COLORS[k % len(COLORS)], ("-", "--", ":", "-.")[(k + k // len(COLORS)) % 4]
            radial.plot(self.distances, pair.g, style, color=color, linewidth=1.5, label=f"{a}–{b}")
            low, high = pair.g - 2 * pair.uncertainty, pair.g + 2 * pair.uncertainty
            radial.fill_between(self.distances, low, high, color=color, alpha=0.2, linewidth=0)
            counts.plot(self.distances + self.width / 2, pair.coordination, style, color=color, linewidth=1.5)
        radial.axhline(1, color="black", linewidth=0.7, linestyle=":")
        radial.set(xlabel="distance, Å", ylabel="g(r)", title=f"{self.frames:,} frames", ylim=(0, None))
        counts.set(xlabel="distance, Å", ylabel="B around an A within the distance", ylim=(0, 16))
        radial.legend(frameon=False, fontsize=8, title="A–B", title_fontsize=8)
        for axes in (radial, counts):
            tidy(axes)
        figure.savefig(path)


@dataclass(frozen=True, slots=True)
class RdfConfig:
    """Options of `calc`.

    Args:
        cutoff: Å, the largest distance; since all periodic images are counted, it may exceed half of the cell.
        width: Å, width of a shell.
        discard: Number of initial frames that are left out.
    """

    cutoff: Annotated[float, POSITIVE] = 8.0
    width: Annotated[float, POSITIVE] = 0.05
    discard: Annotated[int, INTEGER_FROM_0] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.width >= self.cutoff:
            raise ValueError(f"width: {self.width} Å is not below the cutoff, {self.cutoff} Å; give a smaller one")


def calc(
    frames: Sequence[StructureLike],
    config: RdfConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> RadialDistribution:
    """Calculate the radial distribution functions of a trajectory.

    Args:
        frames: Periodic structures with the same atoms.
        config: Options; default: `RdfConfig()`.
        progress: Called with the number of frames done.

    Returns:
        Radial distribution function of each pair of elements.

    Raises:
        DataError: No frames are left, or frames are not periodic or have different atoms.
    """
    config = config or RdfConfig()
    discard, width = config.discard, config.width
    kept = [as_atoms(frame) for frame in frames[discard:]]
    if not kept:
        raise DataError(f"rdf: {len(frames)} frames without the first {discard} are none; discard fewer")
    numbers = kept[0].numbers
    symbols = sorted(set(kept[0].symbols), key=lambda s: atomic_numbers[s])
    edges = np.arange(0, config.cutoff + width / 2, width)
    pairs = list(combinations_with_replacement(symbols, 2))
    counts = np.zeros((len(kept), len(pairs), len(edges) - 1))
    densities = np.zeros(len(kept))
    for t, atoms in enumerate(kept):
        progress("rdf: frames", t, len(kept))
        if not atoms.pbc.all() or not np.array_equal(atoms.numbers, numbers):
            raise DataError(f"rdf: frame {discard + t} is not periodic, or of other atoms than the first")
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, float(edges[-1]))
        centre, neighbor = numbers[found.edge_index]
        for k, (a, b) in enumerate(pairs):
            chosen = (centre == atomic_numbers[a]) & (neighbor == atomic_numbers[b])
            counts[t, k] = np.histogram(found.distances[chosen], edges)[0]
        densities[t] = 1 / atoms.get_volume()
    progress("rdf: frames", len(kept), len(kept))
    return _result(pairs, numbers, counts, densities, edges)


def _result(
    pairs: list[tuple[str, str]], numbers: np.ndarray, counts: np.ndarray, densities: np.ndarray, edges: np.ndarray
) -> RadialDistribution:
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    found = {}
    for k, (a, b) in enumerate(pairs):
        first, second = (int((numbers == atomic_numbers[s]).sum()) for s in (a, b))
        others = second - (a == b)
        each = counts[:, k] / first
        # a single atom in the cell has its own images as neighbours, whose number density is 1 / V
        g = each / (max(others, 1) * densities[:, None] * shells)
        blocks = np.array_split(g, BLOCKS) if len(g) >= BLOCKS else []
        means = np.array([block.mean(axis=0) for block in blocks])
        error = means.std(axis=0, ddof=1) / np.sqrt(BLOCKS) if len(blocks) else np.full(g.shape[1], np.nan)
        found[a, b] = PairDistribution(g.mean(axis=0), error, each.mean(axis=0).cumsum())
    width = float(edges[1] - edges[0])
    return RadialDistribution(len(counts), edges[:-1] + width / 2, width, found)
