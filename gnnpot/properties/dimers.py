"""Two atoms alone: energy against distance, for any pairs of elements, and whether short distances repel.

    scan = scan_dimers(potential)                 # all pairs of the elements that it knows
    scan.holes                                    # [P] eV
    scan.pairs_with_holes(tolerance=0.05)         # [("H", "Rn", 1.7), ...], the deepest first

Distances are r_k = x_k (R_A + R_B) with covalent radii R and x from 0.3 to 1.2. Coming closer, two atoms may first fall
into their one well, where they are bound, and must then meet a wall that rises to the shortest distance. A hole is
whatever falls after it has risen, and any fall on the wall, x <= 0.56, where no pair is bound (V2, the shortest bond
for its size, is at 0.58: 1.77 Å, Langridge-Smith et al., J. Chem. Phys. 80, 593 (1984)). With the energy V_j at
distance j, its depth is

    h = max_j min(a_j, b_j),    b_j = V_j - min_{r_k <= r_j} V_k,
                                a_j = V_j - min_{r_k >= r_j} V_k   for x_j > 0.56, else infinite,              (1)

0 for a curve without holes: j is the height from which the hole is seen, b the fall behind it, a the rise before it.
Element references have no part in it.

Radii: Cordero et al., Dalton Trans. 2832 (2008), as ASE has them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from gnnpot.graphs import Graph
from gnnpot.models.base import check_elements
from gnnpot.potential import Potential

#: distances over the sum of the covalent radii, ascending
RATIOS = np.linspace(0.3, 1.2, 46)
#: the largest distance, over that sum, at which every pair must repel
WALL = 0.56
#: dimers that are calculated at a time
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class DimerScan:
    """Curves of P pairs at D distances."""

    pairs: np.ndarray  #: [P, 2] atomic numbers
    ratios: np.ndarray  #: [D] distances over the sum of the covalent radii, ascending
    energies: np.ndarray  #: [P, D] eV, without references

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


def scan_dimers(
    potential: Potential,
    pairs: np.ndarray | None = None,
    ratios: np.ndarray = RATIOS,
    progress: Callable[[int, int], None] | None = None,
) -> DimerScan:
    """Curves of `pairs` [P, 2] (default: all of the potential's elements); `progress` is told dimers done and in all.

    Raises `UnknownElementError` for elements that the potential has not seen.
    """
    pairs = all_pairs(potential.elements) if pairs is None else np.asarray(pairs)
    distances = ratios * covalent_radii[pairs].sum(axis=1)[:, None]
    return DimerScan(pairs, np.asarray(ratios), dimer_energies(potential, pairs, distances, progress))


def dimer_energies(
    potential: Potential,
    pairs: np.ndarray,
    distances: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Energies without references, [P, D] eV, of pairs of atomic numbers `pairs` [P, 2] at `distances` [P, D], Å.

    They are what the potential gives for molecules, neither periodic nor with anything else around. Raises
    `UnknownElementError`.
    """
    check_elements(np.unique(pairs), potential.elements, "dimers")
    numbers, flat = np.repeat(pairs, distances.shape[1], axis=0), distances.reshape(-1)
    energies = np.empty(len(flat))
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        graph = _dimers(numbers[part], flat[part], potential.cutoff, potential.three_body_cutoff is not None)
        graph = graph.to(potential.device)
        # with forces, since the energy is to come from the form of the model that moves atoms
        found = potential(graph, stress=False).energies.detach() - potential.reference_energies[graph.numbers]
        energies[part] = found.reshape(-1, 2).sum(dim=1).cpu().numpy()
        if progress is not None:
            progress(min(start + _BLOCK, len(flat)), len(flat))
    return energies.reshape(distances.shape)


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
