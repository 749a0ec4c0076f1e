"""Compiled backend of an HDNNP: descriptor, networks and their derivative in one pass over the atoms.

It calculates in float64 for any dtype of the model.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.threads import follow_torch
from gnnpot.graphs import Graph
from gnnpot.models.fast.hdnnp_blocks import FACTORS, SymmetryFunctionPlan
from gnnpot.models.fast.hdnnp_kernel import energies_and_gradient
from gnnpot.models.fast.hdnnp_network import network_of
from gnnpot.models.symmetry_batches import Group
from gnnpot.ops.exchange import Part

if TYPE_CHECKING:
    from gnnpot.models.hdnnp import HDNNP

#: atoms that are worth another thread
_ATOMS_PER_THREAD = 8


class FastHDNNP:
    """Energies and edge gradient of `models.hdnnp.HDNNP` as it is now."""

    def __init__(self, model: "HDNNP") -> None:
        self.plan = plan_of(model.descriptor.groups, len(model.elements))
        weights, biases = list(model.weights), list(model.biases)
        inputs = model.factor, model.constant, *model.bounds()
        self.network = network_of(inputs, weights, biases, model.activations)

    def __call__(self, graph: Graph, species: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(energies [N] float64, gradient [E, 3] in the edge vectors' dtype, how many symmetry functions of each atom
        are outside of the range of the training data [N]); `species` [N]. Of a part of a structure, energies and
        numbers are of its own atoms."""
        follow_torch()
        vectors, index = graph.edge_vectors.detach(), graph.edge_index.numpy()
        own = (graph.get("part") or Part(len(species))).own
        energies, counts, gradient = np.empty(own), np.empty(own, np.int64), np.zeros(vectors.shape)
        threads = max(min(torch.get_num_threads(), own // _ATOMS_PER_THREAD), 1)
        energies_and_gradient(
            self.plan,
            self.network,
            np.searchsorted(index[0], np.arange(own + 1)),
            species.numpy(),
            index[1],
            vectors.double().contiguous().numpy(),
            np.arange(threads + 1) * own // threads,
            energies,
            gradient,
            counts,
        )
        return torch.from_numpy(energies), torch.from_numpy(gradient).to(vectors.dtype), torch.from_numpy(counts)


def plan_of(groups: list[tuple[bool, Group]], species: int) -> SymmetryFunctionPlan:
    """The functions of all groups as the kernels read them: for each centre and class only what it has."""
    most = max((group.columns.shape[1] for _, group in groups), default=0)
    parts = np.zeros((len(groups), species, most, 6), np.int64)
    radial: list[tuple[float, float]] = []
    angular: list[tuple[float, float]] = []
    functions: list[tuple[int, int, int]] = []
    for g, (_, group) in enumerate(groups):
        for s in range(species):
            for p, columns in enumerate(group.columns[s]):
                m, a = (np.flatnonzero((columns >= 0).any(axis=axis)) for axis in (1, 0))
                begin = len(functions), len(radial), len(angular)
                of_class = [(i, k, columns[m[i], a[k]]) for i in range(len(m)) for k in range(len(a))]
                functions += [place for place in of_class if place[2] >= 0]
                radial += [(group.eta[i], group.shift[i]) for i in m]
                angular += [(group.lambda_[k], group.zeta[k]) for k in a]
                parts[g, s, p] = begin[0], len(functions), begin[1], len(radial), begin[2], len(angular)
    widest = (parts[..., 3] - parts[..., 2]).max(), (parts[..., 5] - parts[..., 4]).max()
    rows = np.cumsum([FACTORS, widest[0], widest[0], widest[1], widest[1]])
    columns, pairs, angles = (np.array(x, dtype=float).reshape(-1, n) for x, n in
                             ((functions, 3), (radial, 2), (angular, 2)))  # fmt: skip

    def every(name: str, kind: type) -> np.ndarray:
        return np.array([getattr(group, name) for _, group in groups], dtype=kind)

    return SymmetryFunctionPlan(
        cutoff=every("cutoff", float),
        cutoff_kind=every("cutoff_kind", np.int64),
        inner=every("inner", float),
        distances=np.array([1 if is_radial else 2 + group.narrow for is_radial, group in groups]),
        chebyshev=every("chebyshev", np.int64),
        weight=every("weight", float),
        species_class=every("species_class", np.int64),
        classes=every("species_class", np.int64).max(axis=1) + 1,
        parts=parts,
        eta=pairs[:, 0].copy(),
        shift=pairs[:, 1].copy(),
        lambda_=angles[:, 0].copy(),
        zeta=angles[:, 1].copy(),
        radial=columns[:, 0].astype(np.int64),
        angular=columns[:, 1].astype(np.int64),
        column=columns[:, 2].astype(np.int64),
        rows=rows,
    )
