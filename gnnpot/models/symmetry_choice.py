"""Symmetry functions chosen from structures: many candidates where atoms are, of which the most telling are kept.

1. Which neighbours and pairs of neighbours the elements have, and at what distances, is counted. What hardly occurs
   gets no function.
2. The candidates of a pair of elements are Gaussians between r_0, within which a centre has 0.05 such neighbours on
   average, and the cutoff: centred at 0 with widths from r_0/2 to R_c, and shifted, with 4, 8 and 12 in a row. Those of
   a triple are Gaussians in its distances (four centred at 0, two shifted) times (1 ± cos θ)^ζ, ζ = 1 to 16.
3. X [atoms, candidates] is centred and scaled by the deviations over the atoms, and by the root of how many such
   neighbours or pairs a centre has, where that is below 1. Functions are taken from K = X^T X one after the other:

   - "cur" (Imbalzano et al. 2018): the one with the largest entry in K's leading eigenvector; then what it explains is
     taken out of the others, K ← K - k_c k_c^T / K_cc;
   - "farthest": the one whose column of X is farthest from all that are taken.

   The first functions of each centre are `RADIAL_FIRST` of each of its neighbours' elements, chosen among these alone:
   no pair of elements may do without repulsion.
"""

from collections.abc import Sequence
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

Method = Literal["cur", "farthest"]

#: radial functions of each neighbour's element that are taken before all others
RADIAL_FIRST = 2
#: neighbours, or pairs of them, that a centre must have on average
_RARE = 0.01
#: commonest triples of a centre that are considered
_MOST_TRIPLES = 20
#: neighbours within r_0
_FIRST_NEIGHBORS = 0.05
#: candidates that vary less over the atoms are noise
_MIN_DEVIATION = 1e-3
#: share of its variance that must be left of a candidate, after what others explain
_MIN_LEFT = 1e-8
_BIN = 0.02  #: Å
#: Å; Gaussians that are narrower tell noise apart
_NARROWEST = 0.25
_ZETAS = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around the atoms of some structures; S elements."""

    atoms: np.ndarray  #: [S]
    distances: np.ndarray  #: [S, S, bins] neighbours of an element by distance, in bins of `_BIN`
    pairs: np.ndarray  #: [S, S, S] pairs of neighbours within the angular cutoff, of elements t <= u

    @classmethod
    def of(cls, graphs: Sequence[Graph], elements: tuple[str, ...], radial: float, angular: float) -> "Surroundings":
        """Counted in structures; cutoffs in Å."""
        count = len(elements)
        bins = int(np.ceil(radial / _BIN))
        atoms, distances = np.zeros(count), np.zeros((count, count, bins))
        pairs = np.zeros((count, count, count))
        for graph in graphs:
            species = _species(graph, elements)
            centre, neighbor = graph.edge_index.numpy()
            length = torch.linalg.vector_norm(graph.edge_vectors, dim=1).numpy()
            inside = length < radial
            where = (species[centre], species[neighbor], np.minimum(length / _BIN, bins - 1).astype(int))
            np.add.at(distances, tuple(w[inside] for w in where), 1)
            close = np.zeros((len(species), count))
            np.add.at(close, (centre[length < angular], species[neighbor[length < angular]]), 1)
            of_atom = close[:, :, None] * close[:, None, :]
            same = np.arange(count)
            of_atom[:, same, same] = close * (close - 1) / 2
            np.add.at(pairs, species, of_atom)
            atoms += np.bincount(species, minlength=count)
        return cls(atoms, distances, pairs)

    def neighbors(self, s: int, t: int) -> float:
        """Neighbours of element t that an atom of element s has."""
        return self.distances[s, t].sum() / max(self.atoms[s], 1)

    def triples(self, s: int, t: int, u: int) -> float:
        """Pairs of neighbours of elements t and u that an atom of element s has."""
        return self.pairs[s, t, u] / max(self.atoms[s], 1)

    def shortest(self, s: int, t: int) -> float:
        """r_0, Å."""
        reached = np.cumsum(self.distances[s, t]) / max(self.atoms[s], 1)
        return float(_BIN * (1 + np.argmax(reached >= min(_FIRST_NEIGHBORS, reached[-1]))))


def choose_functions(
    graphs: Sequence[Graph],
    elements: tuple[str, ...],
    count: int,
    radial_cutoff: float,
    angular_cutoff: float,
    method: Method = "farthest",
) -> tuple[SymmetryFunction, ...]:
    """`count` functions for the atoms of each element, or fewer where no more tell anything new.

    `graphs` reach as far as the radial cutoff. Raises `DataError` if an element has no neighbours in any of them.
    """
    around = Surroundings.of(graphs, elements, radial_cutoff, angular_cutoff)
    pool = {e: candidates(around, elements, s, radial_cutoff, angular_cutoff) for s, e in enumerate(elements)}
    lonely = [e for e, functions in pool.items() if not functions]
    if lonely:
        raise DataError(
            f"symmetry_set: {lonely[0]} has no neighbours within {radial_cutoff} Å in the training frames, from which "
            "its functions could be chosen; give symmetry_functions, or another kind of set"
        )
    every = tuple(f for functions in pool.values() for f in functions)
    chosen: list[SymmetryFunction] = []
    for s, (element, kernel) in enumerate(zip(elements, _covariances(graphs, every, elements), strict=True)):
        functions = pool[element]
        common = np.sqrt([min(1.0, _occurrence(around, f, s, elements)) for f in functions])
        taken = pick(_scaled(kernel, common), _first_radials(functions), count, method)
        chosen += sorted((functions[k] for k in taken), key=functions.index)
    return tuple(chosen)


def candidates(
    around: Surroundings, elements: tuple[str, ...], s: int, radial_cutoff: float, angular_cutoff: float
) -> list[SymmetryFunction]:
    """Functions among which those for atoms of element s are chosen."""
    functions: list[SymmetryFunction] = []
    present = [t for t in range(len(elements)) if around.neighbors(s, t) >= _RARE]
    for t in present:
        functions += [
            BehlerRadial(centre=elements[s], neighbor=elements[t], eta=eta, shift=shift, cutoff=radial_cutoff)
            for eta, shift in _radial_gaussians(around.shortest(s, t), radial_cutoff)
        ]
    triples = [(t, u) for t, u in combinations_with_replacement(present, 2) if around.triples(s, t, u) >= _RARE]
    triples.sort(key=lambda pair: -around.triples(s, *pair))
    for t, u in triples[:_MOST_TRIPLES]:
        shortest = min(around.shortest(s, t), around.shortest(s, u))
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
    """(η, R_s) in a distance."""
    gaussians = [(0.5 / w**2, 0.0) for w in np.geomspace(0.5 * shortest, cutoff, 6)]
    for number in (4, 8, 12):
        spacing = (cutoff - shortest) / number
        if spacing >= _NARROWEST:
            gaussians += [(0.5 / spacing**2, shortest + k * spacing) for k in range(number)]
    return [(_rounded(eta), _rounded(shift)) for eta, shift in gaussians]


def _angular_gaussians(shortest: float, cutoff: float) -> list[tuple[float, float]]:
    """(η, R_s) in the distances of a triple."""
    gaussians = [(0.5 / w**2, 0.0) for w in np.geomspace(0.8 * shortest, 2 * cutoff, 4)]
    width = 0.5 * (cutoff - shortest)
    if width >= _NARROWEST:
        gaussians += [(0.5 / width**2, shortest), (0.5 / width**2, shortest + width)]
    return [(_rounded(eta), _rounded(shift)) for eta, shift in gaussians]


def _rounded(x: float) -> float:
    """Six digits, as are written in input files."""
    return float(f"{x:.6g}")


def _occurrence(around: Surroundings, f: SymmetryFunction, s: int, elements: tuple[str, ...]) -> float:
    if isinstance(f, BehlerRadial):
        return around.neighbors(s, elements.index(f.neighbor))
    if not isinstance(f, BehlerNarrow | BehlerWide):
        raise TypeError(f"{f.kind} is no function of Behler's, and names no elements")
    one, two = sorted(elements.index(e) for e in f.neighbors)
    return around.triples(s, one, two)


def _first_radials(functions: list[SymmetryFunction]) -> list[np.ndarray]:
    """For each neighbour's element, which of the candidates are its radial functions."""
    named = np.array([getattr(f, "neighbor", "") for f in functions])
    return [np.flatnonzero(named == e) for e in dict.fromkeys(named) if e]


def _covariances(
    graphs: Sequence[Graph], functions: tuple[SymmetryFunction, ...], elements: tuple[str, ...]
) -> list[np.ndarray]:
    """Covariance of the functions of each element over its atoms, [functions, functions]."""
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
    """K of step 3; zero where a candidate varies too little."""
    deviation = np.sqrt(np.diag(covariance))
    scale = np.where(deviation > _MIN_DEVIATION, weights / np.maximum(deviation, _MIN_DEVIATION), 0.0)
    return covariance * np.outer(scale, scale)


def pick(kernel: np.ndarray, first: list[np.ndarray], count: int, method: Method) -> list[int]:
    """`count` columns of X by K = X^T X [n, n], `RADIAL_FIRST` of each group in `first` before all others."""
    rule = _Cur(kernel) if method == "cur" else _Farthest(kernel)
    everything = np.arange(len(kernel))
    for group, number in [(group, min(RADIAL_FIRST, count)) for group in first] + [(everything, count)]:
        for _ in range(number):
            if len(rule.taken) == count or not rule.take(group):
                break
    return rule.taken


class _Cur:
    """See the module."""

    def __init__(self, kernel: np.ndarray) -> None:
        self.kernel, self.variance = kernel.copy(), np.diag(kernel).copy()
        self.taken: list[int] = []

    def take(self, group: np.ndarray) -> bool:
        """Take one of a group; `False` if none tells anything new."""
        inside = group[np.diag(self.kernel)[group] > _MIN_LEFT * self.variance[group]]
        if not len(inside):
            return False
        k = int(inside[np.argmax(np.abs(_leading(self.kernel[np.ix_(inside, inside)])))])
        column = self.kernel[:, k].copy()
        self.kernel -= np.outer(column, column / column[k])
        # what is left of it is rounding
        self.kernel[k], self.kernel[:, k] = 0.0, 0.0
        self.taken.append(k)
        return True


def _leading(matrix: np.ndarray) -> np.ndarray:
    """The eigenvector of the largest eigenvalue; of large matrices by Lanczos's method, always from the same start."""
    last = len(matrix) - 1
    if last < 30:
        return scipy.linalg.eigh(matrix, subset_by_index=[last, last])[1][:, 0]
    return scipy.sparse.linalg.eigsh(matrix, k=1, v0=np.sqrt(np.abs(np.diag(matrix))), tol=1e-6)[1][:, 0]


class _Farthest:
    """See the module; the first is the one that varies most."""

    def __init__(self, kernel: np.ndarray) -> None:
        self.kernel = kernel
        self.taken: list[int] = []
        self.distance = np.diag(kernel).copy()

    def take(self, group: np.ndarray) -> bool:
        """Take one of a group; `False` if none differs from those that are taken."""
        inside = group[self.distance[group] > _MIN_LEFT]
        if not len(inside):
            return False
        k = int(inside[np.argmax(self.distance[inside])])
        norms = np.diag(self.kernel)
        self.distance = np.minimum(self.distance, norms + norms[k] - 2 * self.kernel[:, k])
        self.distance[k] = 0.0
        self.taken.append(k)
        return True
