"""Dimer energy curves for any pairs of elements, and a test for unphysical attraction at short distances.

    dimers = calc(atoms, calculator)                    # all pairs of the elements of a structure
    dimers.holes                                        # [P] eV
    dimers.pairs_with_holes(tolerance=0.05)             # [("H", "Rn", 1.7), ...], sorted by depth
    dimers.plot(Path("dimers.png"))

    dimers = scan_dimers(all_pairs(calculator.elements), calculator)    # all pairs of the elements of a potential

Distances are r_k = x_k (R_A + R_B) with covalent radii R and x from 0.3 to 1.2. With decreasing distance, the energy
may first fall into a single well, where the atoms are bound, and must then rise up to the shortest distance (the
repulsive wall). A hole is any fall after a rise, and any fall at x <= 0.56, where no pair is bound (the bond of V2,
shortest relative to its radii, is at 0.58: 1.77 Å, Langridge-Smith et al., J. Chem. Phys. 80, 593 (1984)). With the
energy V_j at distance r_j, the depth of the hole is

    h = max_j min(a_j, b_j),    b_j = V_j - min_{r_k <= r_j} V_k,
                                a_j = V_j - min_{r_k >= r_j} V_k   for x_j > 0.56, else infinite,              (1)

and 0 for a curve without holes: j is the top of the barrier before the hole, b_j the fall into the hole, and a_j the
rise to the barrier. V is the energy of the dimer less the energies of its two isolated atoms, and does not depend on
element reference energies.

Radii: Cordero et al., Dalton Trans. 2832 (2008), as in ASE.
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
from gnnpot.runs.progress import Progress, no_progress, progress_of

#: distances divided by the sum of the covalent radii, ascending
RATIOS = np.linspace(0.3, 1.2, 46)
#: largest ratio at which every pair must repel
WALL = 0.56
#: number of dimers in a batch
_BLOCK = 4096
#: number of pairs that are labelled in a plot
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Dimers:
    """Energy curves of P pairs at D distances."""

    pairs: np.ndarray  #: [P, 2] atomic numbers
    ratios: np.ndarray  #: [D] distances divided by the sum of the covalent radii, ascending
    energies: np.ndarray  #: [P, D] eV, relative to the two isolated atoms

    @property
    def holes(self) -> np.ndarray:
        """Depths of holes by equation (1), [P] eV; infinite if an energy is not finite."""
        return hole_depths(self.energies, self.ratios)

    @property
    def walls(self) -> np.ndarray:
        """Energies at the shortest distance relative to the minimum of the curve, [P] eV."""
        return self.energies[:, 0] - self.energies.min(axis=1)

    def pairs_with_holes(self, tolerance: float) -> list[tuple[str, str, float]]:
        """Symbols and depth (eV) of the pairs with a hole deeper than `tolerance` (eV), sorted by depth."""
        holes = self.holes
        found = [k for k in np.argsort(-holes, kind="stable") if holes[k] > tolerance]
        return [(*(chemical_symbols[z] for z in self.pairs[k]), float(holes[k])) for k in found]

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys; values that are not finite are None."""
        return {
            "pairs": [[chemical_symbols[z] for z in pair] for pair in self.pairs],
            "ratios": self.ratios.tolist(),
            "energies_eV": [[_finite(value) for value in curve] for curve in self.energies],
            "holes_eV": [_finite(value) for value in self.holes],
        }

    def plot(self, path: Path) -> None:
        """Save a plot of the curves as PNG; if there are many, those with the deepest holes are labelled."""
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
        # wells of 1 eV and repulsion of 1000 eV need a scale that is linear near zero and logarithmic elsewhere
        axes.set_yscale("asinh", linear_width=1.0)
        axes.set_yticks([-10, -1, 0, 1, 10, 100, 1000], ["-10", "-1", "0", "1", "10", "100", "1000"])
        axes.legend(frameon=False, fontsize=8, loc="upper right")
        tidy(axes)
        figure.savefig(path)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def hole_depths(energies: np.ndarray, ratios: np.ndarray, wall: float = WALL) -> np.ndarray:
    """Depths (1) of holes in curves `energies` [P, D] at ascending `ratios` [D]; [P], infinite if any is not finite."""
    finite = np.isfinite(energies).all(axis=1)
    safe = np.where(finite[:, None], energies, 0.0)
    fall = safe - np.minimum.accumulate(safe, axis=1)
    rise = safe - np.minimum.accumulate(safe[:, ::-1], axis=1)[:, ::-1]
    depth = np.minimum(np.where(ratios > wall, rise, np.inf), fall).max(axis=1)
    return np.where(finite, depth, np.inf)


def all_pairs(elements: Iterable[str]) -> np.ndarray:
    """Atomic numbers of all pairs of elements, including pairs of the same element, [P, 2]."""
    numbers = sorted(atomic_numbers[e] for e in elements)
    return np.array(list(combinations_with_replacement(numbers, 2)))


@dataclass(frozen=True, slots=True)
class DimersConfig:
    """Options of `calc`.

    Args:
        ratios: Distances divided by the sum of the covalent radii, [D], ascending; default: 46 from 0.3 to 1.2.
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
    """Calculate the energy curves of all pairs of the elements of a structure.

    Args:
        atoms: A structure, of which only the elements are used.
        calculator: Any ASE calculator; with gnnpot's, thousands of dimers are calculated in a batch.
        config: Options; default: `DimersConfig()`.
        progress: Called with the number of dimers done.

    Returns:
        Energy of each pair at each distance, relative to the two isolated atoms (eV).

    Raises:
        UnknownElementError: The potential has not been trained on an element.
    """
    config = config or DimersConfig()
    chosen = RATIOS if config.ratios is None else np.asarray(config.ratios, dtype=float)
    return scan_dimers(all_pairs(set(as_atoms(atoms).symbols)), calculator, chosen, progress_of(progress, "dimers"))


def scan_dimers(
    pairs: np.ndarray,
    calculator: AseCalculator,
    ratios: np.ndarray = RATIOS,
    progress: Callable[[int, int], None] | None = None,
) -> Dimers:
    """Calculate the energy curves of `pairs` [P, 2] of atomic numbers; other arguments are as for `calc`."""
    pairs = np.asarray(pairs)
    distances = ratios * covalent_radii[pairs].sum(axis=1)[:, None]
    return Dimers(pairs, np.asarray(ratios), dimer_energies(pairs, distances, calculator, progress))


def dimer_energies(
    pairs: np.ndarray,
    distances: np.ndarray,
    calculator: AseCalculator,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Energies of `pairs` [P, 2] at `distances` [P, D] (Å), relative to the two isolated atoms, [P, D] eV.

    Dimers are calculated as isolated, non-periodic molecules.

    Raises:
        UnknownElementError: The potential has not been trained on an element.
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
    """Energies [M] (eV) of dimers [M, 2], calculated in one batch."""
    graph = _dimers(numbers, distances, potential.cutoff, potential.three_body_cutoff is not None)
    # with forces: the compiled implementation, which calculates energies together with their derivative, is used
    return potential(graph.to(potential.device), stress=False).energy.detach().cpu().numpy()


def _dimers(numbers: np.ndarray, distances: np.ndarray, cutoff: float, triplets: bool) -> Graph:
    """Create a batch of dimers [M, 2] along z, each with two edges, or none beyond the cutoff."""
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
        # there are no triplets, since each atom has one neighbour at most
        graph.triplet_index = torch.zeros(2, 0, dtype=torch.int64)
    return graph
