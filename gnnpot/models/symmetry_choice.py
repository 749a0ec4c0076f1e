"""Selection of symmetry functions from structures: generate candidates, and keep those with the most information.

1. Count the neighbours, and the pairs of neighbours, of each element by element and distance. Rare combinations get no
   functions.
2. Generate candidates. Let r_0 be the distance within which a centre has 0.05 neighbours of an element on average. The
   radial candidates for this pair of elements are Gaussians centred at 0, with widths from r_0/2 to R_c, and Gaussians
   with 4, 8 and 12 equidistant centres between r_0 and R_c. The angular candidates for a triple of elements are
   Gaussians in its distances (four centred at 0, two shifted) times (1 ± cos θ)^ζ, ζ = 1 to 16.
3. Select functions. The values X [atoms, candidates] are centred and divided by their standard deviations over the
   atoms. If a centre has on average less than one such neighbour or pair, they are also multiplied by the square root
   of that number. Functions are selected one after the other with K = X^T X:

   - "cur" (Imbalzano et al. 2018): select the function c with the largest component in the leading eigenvector of K,
     then remove its contribution from the others, K ← K - k_c k_c^T / K_cc;
   - "farthest": select the function whose column of X is farthest from all selected columns.

   For each centre, `RADIAL_FIRST` radial functions for each element of its neighbours are selected before all others,
   so that each pair of elements has functions that describe its repulsion.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from ase.data import atomic_numbers

from gnnpot.errors import DataError
from gnnpot.graphs import Graph
from gnnpot.models.symmetry import SymmetryDescriptor
from gnnpot.models.symmetry_functions import BehlerNarrow, BehlerRadial, BehlerWide, SymmetryFunction, functions_of
from gnnpot.models.symmetry_sets import FIRST_SHIFT

Method = Literal["cur", "farthest"]

#: number of radial functions for each element of the neighbours that are selected first
RADIAL_FIRST = 2
#: smallest average number of neighbours, or pairs of them, per centre for which functions are generated
_RARE = 0.01
#: number of triples of elements per centre for which functions are generated, the most frequent ones
_MOST_TRIPLES = 20
#: average number of neighbours within r_0
_FIRST_NEIGHBORS = 0.05
#: smallest standard deviation of a candidate over the atoms; candidates below it are noise
_MIN_DEVIATION = 1e-3
#: smallest fraction of the variance of a candidate that must not be explained by the selected functions
_MIN_LEFT = 1e-8
#: Å; longer distances are within the width of the Gaussian at `FIRST_SHIFT`. Bonds with hydrogen are shorter, those of
#: compressed diamond are not
_COVERED = 1.15
_BIN = 0.02  #: Å, width of the bins of distances
#: Å; narrower Gaussians would resolve noise only
_NARROWEST = 0.25
_ZETAS = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, slots=True)
class NeighborStatistics:
    """Numbers of atoms, neighbours and pairs of neighbours in some structures, for S elements."""

    atoms: np.ndarray  #: [S] number of atoms of each element
    distances: np.ndarray  #: [S, S, bins] number of neighbours by elements of centre and neighbour, and distance
    pairs: np.ndarray  #: [S, S, S] number of pairs of neighbours of elements t <= u within the angular cutoff

    @classmethod
    def of(
        cls, graphs: Sequence[Graph], elements: tuple[str, ...], radial: float, angular: float
    ) -> "NeighborStatistics":
        """Count atoms, neighbours and pairs of neighbours within the cutoffs `radial` and `angular` (Å)."""
        count = len(elements)
        bins = int(np.ceil(radial / _BIN))
        atoms, distances = np.zeros(count), np.zeros((count, count, bins))
        pairs = np.zeros((count, count, count))
        for graph in graphs:
            species = _species(graph, elements)
            centre, neighbor = graph.edge_index.numpy()
            length = torch.linalg.vector_norm(graph.edge_vectors, dim=1).numpy()
            inside = length < radial
            bins_of_edges = (species[centre], species[neighbor], np.minimum(length / _BIN, bins - 1).astype(int))
            np.add.at(distances, tuple(w[inside] for w in bins_of_edges), 1)
            close = np.zeros((len(species), count))
            np.add.at(close, (centre[length < angular], species[neighbor[length < angular]]), 1)
            of_atom = close[:, :, None] * close[:, None, :]
            same = np.arange(count)
            of_atom[:, same, same] = close * (close - 1) / 2
            np.add.at(pairs, species, of_atom)
            atoms += np.bincount(species, minlength=count)
        return cls(atoms, distances, pairs)

    def neighbors(self, s: int, t: int) -> float:
        """Average number of neighbours of element t of an atom of element s."""
        return self.distances[s, t].sum() / max(self.atoms[s], 1)

    def triples(self, s: int, t: int, u: int) -> float:
        """Average number of pairs of neighbours of elements t and u of an atom of element s."""
        return self.pairs[s, t, u] / max(self.atoms[s], 1)

    def shortest(self, s: int, t: int) -> float:
        """r_0 of elements s and t, Å."""
        reached = np.cumsum(self.distances[s, t]) / max(self.atoms[s], 1)
        return float(_BIN * (1 + np.argmax(reached >= min(_FIRST_NEIGHBORS, reached[-1]))))


def first_shift(graphs: Iterable[Graph], elements: tuple[str, ...]) -> float:
    """Centre of the first shifted Gaussian of a regular grid (`symmetry_sets.radial_grid`) for some structures, Å.

    This is the smallest r_0 of all pairs of elements if it is below `_COVERED`, otherwise `FIRST_SHIFT`.

    Args:
        graphs: Structures, with edges up to `FIRST_SHIFT`.
        elements: Chemical symbols.
    """
    count, bins = len(elements), round(FIRST_SHIFT / _BIN)
    atoms, distances = np.zeros(count), np.zeros((count, count, bins))
    for graph in graphs:
        species = _species(graph, elements)
        atoms += np.bincount(species, minlength=count)
        centre, neighbor = graph.edge_index.numpy()
        length = torch.linalg.vector_norm(graph.edge_vectors, dim=1).numpy()
        of_edge = np.minimum(length / _BIN, bins - 1).astype(int)
        np.add.at(distances, (species[centre], species[neighbor], of_edge), 1)
    reached = (distances.sum(axis=2) >= _FIRST_NEIGHBORS * np.maximum(atoms, 1)[:, None]).nonzero()
    statistics = NeighborStatistics(atoms, distances, np.zeros((0, 0, 0)))
    shortest = min((FIRST_SHIFT, *(statistics.shortest(s, t) for s, t in zip(*reached, strict=True))))
    return shortest if shortest < _COVERED else FIRST_SHIFT


def choose_functions(
    graphs: Sequence[Graph],
    elements: tuple[str, ...],
    count: int,
    radial_cutoff: float,
    angular_cutoff: float,
    method: Method = "farthest",
) -> tuple[SymmetryFunction, ...]:
    """Select symmetry functions.

    Args:
        graphs: Structures, with edges up to the radial cutoff.
        elements: Chemical symbols.
        count: Number of functions for each element; fewer if further functions have no additional information.
        radial_cutoff: Å.
        angular_cutoff: Å.
        method: "cur" or "farthest".

    Raises:
        DataError: An element has no neighbours in any of the graphs.
    """
    statistics = NeighborStatistics.of(graphs, elements, radial_cutoff, angular_cutoff)
    pool = {e: candidates(statistics, elements, s, radial_cutoff, angular_cutoff) for s, e in enumerate(elements)}
    isolated = [e for e, functions in pool.items() if not functions]
    if isolated:
        raise DataError(
            f"symmetry_set: {isolated[0]} has no neighbours within {radial_cutoff} Å in the training frames, from "
            "which its functions could be chosen; give symmetry_functions, or another kind of set"
        )
    all_candidates = tuple(f for functions in pool.values() for f in functions)
    chosen: list[SymmetryFunction] = []
    for s, (element, kernel) in enumerate(zip(elements, _covariances(graphs, all_candidates, elements), strict=True)):
        functions = pool[element]
        weights = np.sqrt([min(1.0, _occurrence(statistics, f, s, elements)) for f in functions])
        selected = select_columns(_scaled(kernel, weights), _first_radials(functions), count, method)
        chosen += sorted((functions[k] for k in selected), key=functions.index)
    return tuple(chosen)


def candidates(
    statistics: NeighborStatistics, elements: tuple[str, ...], s: int, radial_cutoff: float, angular_cutoff: float
) -> list[SymmetryFunction]:
    """Return the candidates for atoms of element s."""
    functions: list[SymmetryFunction] = []
    present = [t for t in range(len(elements)) if statistics.neighbors(s, t) >= _RARE]
    for t in present:
        functions += [
            BehlerRadial(centre=elements[s], neighbor=elements[t], eta=eta, shift=shift, cutoff=radial_cutoff)
            for eta, shift in _radial_gaussians(statistics.shortest(s, t), radial_cutoff)
        ]
    triples = [(t, u) for t, u in combinations_with_replacement(present, 2) if statistics.triples(s, t, u) >= _RARE]
    triples.sort(key=lambda pair: -statistics.triples(s, *pair))
    for t, u in triples[:_MOST_TRIPLES]:
        shortest = min(statistics.shortest(s, t), statistics.shortest(s, u))
        functions += [
            BehlerNarrow(
                centre=elements[s], neighbors=(elements[t], elements[u]), eta=eta, shift=shift, zeta=zeta,
                lambda_=lambda_, cutoff=angular_cutoff,
            )
            for eta, shift in _angular_gaussians(shortest, angular_cutoff)
            for zeta in _ZETAS
            for lambda_ in (-1.0, 1.0)
        ]  # fmt: skip
    return functions


def _radial_gaussians(shortest: float, cutoff: float) -> list[tuple[float, float]]:
    """(η, R_s) of the radial candidates for a pair with r_0 = `shortest`."""
    gaussians = [(0.5 / w**2, 0.0) for w in np.geomspace(0.5 * shortest, cutoff, 6)]
    for number in (4, 8, 12):
        spacing = (cutoff - shortest) / number
        if spacing >= _NARROWEST:
            gaussians += [(0.5 / spacing**2, shortest + k * spacing) for k in range(number)]
    return [(_rounded(eta), _rounded(shift)) for eta, shift in gaussians]


def _angular_gaussians(shortest: float, cutoff: float) -> list[tuple[float, float]]:
    """(η, R_s) of the angular candidates for a triple with r_0 = `shortest`."""
    gaussians = [(0.5 / w**2, 0.0) for w in np.geomspace(0.8 * shortest, 2 * cutoff, 4)]
    width = 0.5 * (cutoff - shortest)
    if width >= _NARROWEST:
        gaussians += [(0.5 / width**2, shortest), (0.5 / width**2, shortest + width)]
    return [(_rounded(eta), _rounded(shift)) for eta, shift in gaussians]


def _rounded(x: float) -> float:
    """Round to six digits, as in input files."""
    return float(f"{x:.6g}")


def _occurrence(statistics: NeighborStatistics, f: SymmetryFunction, s: int, elements: tuple[str, ...]) -> float:
    if isinstance(f, BehlerRadial):
        return statistics.neighbors(s, elements.index(f.neighbor))
    if not isinstance(f, BehlerNarrow | BehlerWide):
        raise TypeError(f"{f.kind} is no function of Behler's, and names no elements")
    one, two = sorted(elements.index(e) for e in f.neighbors)
    return statistics.triples(s, one, two)


def _first_radials(functions: list[SymmetryFunction]) -> list[np.ndarray]:
    """Indices of the radial functions among the candidates, for each element of the neighbours."""
    named = np.array([getattr(f, "neighbor", "") for f in functions])
    return [np.flatnonzero(named == e) for e in dict.fromkeys(named) if e]


def _covariances(
    graphs: Sequence[Graph], functions: tuple[SymmetryFunction, ...], elements: tuple[str, ...]
) -> list[np.ndarray]:
    """Covariance [functions, functions] of the functions of each element over its atoms."""
    descriptor = SymmetryDescriptor(functions, elements)
    sizes = [len(functions_of(functions, e)) for e in elements]
    count, mean = np.zeros(len(elements)), [np.zeros(n) for n in sizes]
    total = [np.zeros((n, n)) for n in sizes]
    for graph in graphs:
        species = _species(graph, elements)
        table = descriptor(graph, torch.as_tensor(species)).detach().numpy()
        for s in np.unique(species):
            rows = table[species == s, : sizes[s]]
            n, shift = len(rows), rows.mean(axis=0) - mean[s]
            centred = rows - rows.mean(axis=0)
            total[s] += centred.T @ centred + np.outer(shift, shift) * (count[s] * n / (count[s] + n))
            mean[s] += shift * n / (count[s] + n)
            count[s] += n
    return [matrix / max(n, 1) for matrix, n in zip(total, count, strict=True)]


def _species(graph: Graph, elements: tuple[str, ...]) -> np.ndarray:
    index = np.full(119, -1)
    index[[atomic_numbers[e] for e in elements]] = np.arange(len(elements))
    return index[graph.numbers.numpy()]


def _scaled(covariance: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """K of step 3 from a covariance; zero for candidates that vary too little."""
    deviation = np.sqrt(np.diag(covariance))
    scale = np.where(deviation > _MIN_DEVIATION, weights / np.maximum(deviation, _MIN_DEVIATION), 0.0)
    return covariance * np.outer(scale, scale)


def select_columns(kernel: np.ndarray, first: list[np.ndarray], count: int, method: Method) -> list[int]:
    """Select `count` columns of X from K = X^T X [n, n], the first `RADIAL_FIRST` from each group in `first`."""
    rule = _Cur(kernel) if method == "cur" else _Farthest(kernel)
    everything = np.arange(len(kernel))
    for group, number in [(group, min(RADIAL_FIRST, count)) for group in first] + [(everything, count)]:
        for _ in range(number):
            if len(rule.selected) == count or not rule.select(group):
                break
    return rule.selected


class _Cur:
    """Selection by CUR decomposition, see the docstring of the module."""

    def __init__(self, kernel: np.ndarray) -> None:
        self.kernel, self.variance = kernel.copy(), np.diag(kernel).copy()
        self.selected: list[int] = []

    def select(self, group: np.ndarray) -> bool:
        """Select a function of a group; `False` if none has additional information."""
        remaining = group[np.diag(self.kernel)[group] > _MIN_LEFT * self.variance[group]]
        if not len(remaining):
            return False
        k = int(remaining[np.argmax(np.abs(_leading(self.kernel[np.ix_(remaining, remaining)])))])
        column = self.kernel[:, k].copy()
        self.kernel -= np.outer(column, column / column[k])
        # remove rounding errors
        self.kernel[k], self.kernel[:, k] = 0.0, 0.0
        self.selected.append(k)
        return True


def _leading(matrix: np.ndarray) -> np.ndarray:
    """Eigenvector of the largest eigenvalue; for large matrices, by the Lanczos method with a fixed initial vector."""
    last = len(matrix) - 1
    if last < 30:
        return scipy.linalg.eigh(matrix, subset_by_index=[last, last])[1][:, 0]
    return scipy.sparse.linalg.eigsh(matrix, k=1, v0=np.sqrt(np.abs(np.diag(matrix))), tol=1e-6)[1][:, 0]


class _Farthest:
    """Selection by farthest point sampling, see the docstring of the module; starts with the largest variance."""

    def __init__(self, kernel: np.ndarray) -> None:
        self.kernel = kernel
        self.selected: list[int] = []
        self.distance = np.diag(kernel).copy()

    def select(self, group: np.ndarray) -> bool:
        """Select a function of a group; `False` if none differs from the selected functions."""
        remaining = group[self.distance[group] > _MIN_LEFT]
        if not len(remaining):
            return False
        k = int(remaining[np.argmax(self.distance[remaining])])
        norms = np.diag(self.kernel)
        self.distance = np.minimum(self.distance, norms + norms[k] - 2 * self.kernel[:, k])
        self.distance[k] = 0.0
        self.selected.append(k)
        return True
