"""Two atoms alone: energy against distance, for any pairs of elements, and whether short distances repel.

    dimers = calc(atoms, calculator)                    # all pairs of the elements of a structure
    dimers.holes                                        # [P] eV
    dimers.pairs_with_holes(tolerance=0.05)             # [("H", "Rn", 1.7), ...], the deepest first
    dimers.plot(Path("dimers.png"))

    dimers = scan_dimers(all_pairs(calculator.elements), calculator)    # all pairs that a potential knows

Distances are r_k = x_k (R_A + R_B) with covalent radii R and x from 0.3 to 1.2. Coming closer, two atoms may first fall
into their one well, where they are bound, and must then meet a wall that rises to the shortest distance. A hole is
any fall after a rise, and any fall on the wall, x <= 0.56, where no pair is bound (V2, the shortest bond
for its size, is at 0.58: 1.77 Å, Langridge-Smith et al., J. Chem. Phys. 80, 593 (1984)). With the energy V_j at
distance j, its depth is

    h = max_j min(a_j, b_j),    b_j = V_j - min_{r_k <= r_j} V_k,
                                a_j = V_j - min_{r_k >= r_j} V_k   for x_j > 0.56, else infinite,              (1)

0 for a curve without holes: j is the height from which the hole is seen, b the fall behind it, a the rise before it.
Energies are those of the two atoms together, less those of each alone, so that element references have no part in them.

Radii: Cordero et al., Dalton Trans. 2832 (2008), as ASE has them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.domains import check_fields
from gnnpot.engines.calculator import Calculator
from gnnpot.engines.predict import energies_of
from gnnpot.graphs import Graph
from gnnpot.models.base import check_elements
from gnnpot.potential import Potential
from gnnpot.runs.progress import Progress, no_progress, of_one

#: distances over the sum of the covalent radii, ascending
RATIOS = np.linspace(0.3, 1.2, 46)
#: the largest distance, over that sum, at which every pair must repel
WALL = 0.56
#: dimers that are calculated at a time
_BLOCK = 4096
#: pairs that are named in a picture
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Dimers:
    """Curves of P pairs at D distances."""

    pairs: np.ndarray  #: [P, 2] atomic numbers
    ratios: np.ndarray  #: [D] distances over the sum of the covalent radii, ascending
    energies: np.ndarray  #: [P, D] eV, less those of the two atoms alone

    @property
    def holes(self) -> np.ndarray:
        """[P] eV, equation (1); infinite where an energy is not finite."""
        return hole_depths(self.energies, self.ratios)

    @property
    def walls(self) -> np.ndarray:
        """[P] eV: how far the energy at the shortest distance is above the lowest."""
        return self.energies[:, 0] - self.energies.min(axis=1)

    def pairs_with_holes(self, tolerance: float) -> list[tuple[str, str, float]]:
        """Symbols and depth (eV) of the pairs whose hole is deeper than `tolerance` eV, the deepest first."""
        holes = self.holes
        found = [k for k in np.argsort(-holes, kind="stable") if holes[k] > tolerance]
        return [(*(chemical_symbols[z] for z in self.pairs[k]), float(holes[k])) for k in found]

    def to_json(self) -> dict[str, Any]:
        """All of it, with units in the names; None: not finite."""
        return {
            "pairs": [[chemical_symbols[z] for z in pair] for pair in self.pairs],
            "ratios": self.ratios.tolist(),
            "energies_eV": [[_finite(value) for value in curve] for curve in self.energies],
            "holes_eV": [_finite(value) for value in self.holes],
        }

    def plot(self, path: Path) -> None:
        """The curves, as PNG; of many pairs, those with the deepest holes are named, the others grey."""
        from gnnpot.runs.pages import COLORS, GREY, new_figure, tidy

        figure = new_figure(width=6.4)
        axes = figure.add_subplot()
        order = np.argsort(-self.holes, kind="stable")
        for k in reversed(order[_NAMED:]):
            axes.plot(self.ratios, self.energies[k], color=GREY, linewidth=0.5, alpha=0.5)
        for n, k in enumerate(order[:_NAMED]):
            name = "-".join(chemical_symbols[z] for z in self.pairs[k])
            label = name if self.holes[k] < 1e-3 else f"{name}, hole {self.holes[k]:.2f} eV"
            axes.plot(self.ratios, self.energies[k], color=COLORS[n], linewidth=1.6, label=label)
        axes.set(xlabel="distance over the sum of the covalent radii", ylabel="energy, eV, above the separated atoms")
        # walls of a thousand eV and wells of one: linear near zero, logarithmic far from it
        axes.set_yscale("asinh", linear_width=1.0)
        axes.set_yticks([-10, -1, 0, 1, 10, 100, 1000], ["-10", "-1", "0", "1", "10", "100", "1000"])
        axes.legend(frameon=False, fontsize=8, loc="upper right")
        tidy(axes)
        figure.savefig(path)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def hole_depths(energies: np.ndarray, ratios: np.ndarray, wall: float = WALL) -> np.ndarray:
    """Equation (1) for curves `energies` [P, D] at `ratios` [D], ascending; [P], infinite where not all is finite."""
    finite = np.isfinite(energies).all(axis=1)
    safe = np.where(finite[:, None], energies, 0.0)
    fall = safe - np.minimum.accumulate(safe, axis=1)
    rise = safe - np.minimum.accumulate(safe[:, ::-1], axis=1)[:, ::-1]
    depth = np.minimum(np.where(ratios > wall, rise, np.inf), fall).max(axis=1)
    return np.where(finite, depth, np.inf)


def all_pairs(elements: Iterable[str]) -> np.ndarray:
    """[P, 2] atomic numbers of all pairs of elements, each with itself too."""
    numbers = sorted(atomic_numbers[e] for e in elements)
    return np.array(list(combinations_with_replacement(numbers, 2)))


@dataclass(frozen=True, slots=True)
class DimersConfig:
    """Which distances are calculated.

    Args:
        ratios: Distances over the sum of the covalent radii, [D], ascending; by default 46 from 0.3 to 1.2.
    """

    ratios: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.ratios is not None and (
            not len(self.ratios) or self.ratios[0] <= 0 or np.any(np.diff(self.ratios) <= 0)
        ):
            raise ValueError(f"ratios: {[*map(float, self.ratios)]} are none, or not above 0 and ascending")


def calc(
    atoms: StructureLike,
    calculator: AseCalculator,
    config: DimersConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> Dimers:
    """Curves of all pairs of the elements of a structure.

    Args:
        atoms: A structure; only its elements matter.
        calculator: Any ASE calculator; gnnpot's calculates thousands of dimers at a time.
        config: Options; by default `DimersConfig()`.
        progress: Takes the dimers that are done.

    Returns:
        The energy of each pair (eV) at each distance, less those of the two atoms alone.

    Raises:
        UnknownElementError: The potential has not seen an element.
    """
    config = config or DimersConfig()
    chosen = RATIOS if config.ratios is None else np.asarray(config.ratios, dtype=float)
    return scan_dimers(all_pairs(set(as_atoms(atoms).symbols)), calculator, chosen, of_one(progress, "dimers"))


def scan_dimers(
    pairs: np.ndarray,
    calculator: AseCalculator,
    ratios: np.ndarray = RATIOS,
    progress: Callable[[int, int], None] | None = None,
) -> Dimers:
    """Curves of pairs of atomic numbers `pairs` [P, 2]; the rest as for `calc`."""
    pairs = np.asarray(pairs)
    distances = ratios * covalent_radii[pairs].sum(axis=1)[:, None]
    return Dimers(pairs, np.asarray(ratios), dimer_energies(pairs, distances, calculator, progress))


def dimer_energies(
    pairs: np.ndarray,
    distances: np.ndarray,
    calculator: AseCalculator,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Energies, less those of the two atoms alone, [P, D] eV, of `pairs` [P, 2] at `distances` [P, D], Å.

    They are what the calculator gives for molecules, neither periodic nor with anything else around.

    Raises:
        UnknownElementError: The potential has not seen an element.
    """
    if isinstance(calculator, Calculator):
        check_elements(np.unique(pairs), calculator.elements, "dimers")
    elements = np.unique(pairs)
    alone = np.zeros(len(chemical_symbols))
    alone[elements] = energies_of((Atoms([z]) for z in elements), calculator)
    numbers, flat = np.repeat(pairs, distances.shape[1], axis=0), distances.reshape(-1)
    energies = np.empty(len(flat))
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        if isinstance(calculator, Calculator):
            energies[part] = _batch_energies(numbers[part], flat[part], calculator.potential)
        else:
            molecules = (Atoms(z, [[0, 0, 0], [0, 0, r]]) for z, r in zip(numbers[part], flat[part], strict=True))
            energies[part] = energies_of(molecules, calculator)
        if progress is not None:
            progress(min(start + _BLOCK, len(flat)), len(flat))
    return (energies - alone[numbers].sum(axis=1)).reshape(distances.shape)


def _batch_energies(numbers: np.ndarray, distances: np.ndarray, potential: Potential) -> np.ndarray:
    """Energies of dimers [M, 2], [M] eV, in one batch."""
    graph = _dimers(numbers, distances, potential.cutoff, potential.three_body_cutoff is not None)
    # with forces: the compiled copy that moves atoms gives energies together with their derivative
    return potential(graph.to(potential.device), stress=False).energy.detach().cpu().numpy()


def _dimers(numbers: np.ndarray, distances: np.ndarray, cutoff: float, triplets: bool) -> Graph:
    """The batch of dimers [M, 2] along z, made at once: two edges each, or none beyond the cutoff."""
    m = len(distances)
    first = 2 * np.flatnonzero(distances <= cutoff)
    index = np.stack([np.stack([first, first + 1]), np.stack([first + 1, first])], axis=-1).reshape(2, -1)
    positions = np.zeros((2 * m, 3))
    positions[1::2, 2] = distances
    graph = Graph(
        numbers=torch.as_tensor(numbers.reshape(-1)),
        positions=torch.as_tensor(positions),
        cell=torch.zeros(m, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(m, 3, dtype=torch.bool),
        edge_index=torch.as_tensor(index),
        edge_shifts=torch.zeros(index.shape[1], 3, dtype=torch.int64),
        edge_vectors=torch.as_tensor(positions[index[1]] - positions[index[0]]),
        batch=torch.arange(m).repeat_interleave(2),
        num_nodes=2 * m,
    )
    if triplets:
        # an atom with one neighbour has none
        graph.triplet_index = torch.zeros(2, 0, dtype=torch.int64)
    return graph
