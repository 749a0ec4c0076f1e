"""Compiled backend of HDNNPs: symmetry functions, networks and their derivative in one pass over the atoms.

The precision is that of the model, or float64 if there are Chebyshev polynomials of angles, because the derivative of
an angle with respect to its cosine diverges at straight angles.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.threads import follow_torch
from gnnpot.graphs import Graph
from gnnpot.models.base import check_elements
from gnnpot.models.fast.hdnnp_blocks import FACTORS, SymmetryFunctionPlan
from gnnpot.models.fast.hdnnp_kernel import energies_and_gradient
from gnnpot.models.fast.hdnnp_network import network_of
from gnnpot.models.symmetry_batches import FunctionGroup
from gnnpot.ops.exchange import Part
from gnnpot.ops.rows import padded
from gnnpot.ops.simd.vectors import SIMD_WIDTH

if TYPE_CHECKING:
    from gnnpot.models.hdnnp import HDNNP

#: smallest number of atoms per thread
_ATOMS_PER_THREAD = 8


class FastHDNNP:
    """Backend of an `HDNNP` with the current parameters of `model`."""

    def __init__(self, model: "HDNNP") -> None:
        self.dtype = torch.empty(0, dtype=model.fast_dtype or model.weights[0].dtype).numpy().dtype
        self._elements = model.elements
        self.plan = plan_of(model.descriptor.groups, len(model.elements), self.dtype)
        weights, biases = list(model.weights), list(model.biases)
        inputs = model.factor, model.constant, *model.bounds()
        self.network = network_of(inputs, weights, biases, model.activations, self.dtype)

    def __call__(self, graph: Graph, species: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the potential for a graph; `species` [N] is the index of the element of each atom.

        Returns:
            Energies [N] in float64, edge gradient [E, 3] in the dtype of the edge vectors, and the number of symmetry
            functions of each atom that are outside the range of the training data [N]. If the graph is a part of a
            structure, N is the number of its own atoms.

        Raises:
            UnknownElementError: The graph has an element that the model does not know.
        """
        follow_torch()
        if species.numpy().min(initial=0) < 0:
            check_elements(graph.numbers.tolist(), self._elements, "the graph")
        vectors, index = graph.edge_vectors.detach(), graph.edge_index.numpy()
        own = (graph.get("part") or Part(len(species))).own
        energies, counts, gradient = np.empty(own), np.empty(own, np.int64), np.zeros(vectors.shape, self.dtype)
        threads = max(min(torch.get_num_threads(), own // _ATOMS_PER_THREAD), 1)
        energies_and_gradient(
            self.plan,
            self.network,
            np.searchsorted(index[0], np.arange(own + 1)),
            species.numpy(),
            index[1],
            np.ascontiguousarray(vectors.numpy(), self.dtype).reshape(-1),
            np.arange(threads + 1) * own // threads,
            energies,
            gradient,
            counts,
        )
        return torch.from_numpy(energies), torch.from_numpy(gradient).to(vectors.dtype), torch.from_numpy(counts)


def plan_of(groups: list[tuple[bool, FunctionGroup]], species: int, dtype: np.dtype) -> SymmetryFunctionPlan:
    """Convert the groups to the layout of the kernels, which lists the existing functions for each centre and class."""
    max_parts = max((group.columns.shape[1] for _, group in groups), default=0)
    parts = np.zeros((len(groups), species, max_parts, 6), np.int64)
    radial: list[tuple[float, float]] = []
    angular: list[tuple[float, float]] = []
    functions: list[tuple[int, int, int]] = []
    for g, (_, group) in enumerate(groups):
        for s in range(species):
            for p, columns in enumerate(group.columns[s]):
                m, a = (np.flatnonzero((columns >= 0).any(axis=axis)) for axis in (1, 0))
                begin = len(functions), len(radial), len(angular)
                of_class = [(i, k, columns[m[i], a[k]]) for i in range(len(m)) for k in range(len(a))]
                functions += [entry for entry in of_class if entry[2] >= 0]
                radial += [(group.eta[i], group.shift[i]) for i in m]
                angular += [(group.lambda_[k], group.zeta[k]) for k in a]
                parts[g, s, p] = begin[0], len(functions), begin[1], len(radial), begin[2], len(angular)
    gaussian = np.array([is_radial and not group.chebyshev for is_radial, group in groups], dtype=bool)
    of_radial, in_blocks = parts[gaussian], parts[~gaussian]
    widest = [(in_blocks[..., k + 1] - in_blocks[..., k]).max(initial=0) for k in (2, 4)]
    rows = np.cumsum([FACTORS, widest[0], widest[0], widest[1], widest[1]])
    columns = np.array(functions, dtype=np.int64).reshape(-1, 3)
    pairs, angles = (np.array(factors, dtype).reshape(-1, 2) for factors in (radial, angular))

    def collect(name: str, kind: Any) -> np.ndarray:
        return np.array([getattr(group, name) for _, group in groups], dtype=kind)

    return SymmetryFunctionPlan(
        cutoff=collect("cutoff", dtype),
        cutoff_kind=collect("cutoff_kind", np.int64),
        inner=collect("inner", dtype),
        distances=np.array([1 if is_radial else 2 + group.uses_r_jk for is_radial, group in groups]),
        chebyshev=collect("chebyshev", np.int64),
        weight=collect("weight", dtype),
        species_class=collect("species_class", np.int64),
        classes=collect("species_class", np.int64).max(axis=1) + 1,
        parts=parts,
        # padded, because kernels read sixteen numbers from any position on
        eta=np.pad(pairs[:, 0], (0, SIMD_WIDTH)),
        shift=np.pad(pairs[:, 1], (0, SIMD_WIDTH)),
        lambda_=angles[:, 0].copy(),
        zeta=angles[:, 1].copy(),
        radial=columns[:, 0].copy(),
        angular=columns[:, 1].copy(),
        column=columns[:, 2].copy(),
        rows=rows,
        radial_width=padded((of_radial[..., 1] - of_radial[..., 0]).max(initial=0)),
    )
