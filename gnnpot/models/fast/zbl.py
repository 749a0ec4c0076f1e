"""Compiled backend of ZBL: energies and their derivatives in one pass over the edges, most of which are beyond r_ij.

With the symbols of `models.zbl`, p = (Z_i^0.23 + Z_j^0.23)/0.46850 Å, x = p r, u = r/r_ij, and s = ½ k_e Z_i Z_j, the
energy of an edge is ½ V = s/r φ(x) f_c(u), and

    d(½ V)/dr  =  s/r [p φ'(x) f_c + φ f_c'(u)/r_ij - φ f_c/r],    f_c'(u) = -½ q(q+1)(q+2) u^(q-1) (1 - u)²

with the exponent q of the cutoff function. Calculations are in float64 for any dtype of the edge vectors.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit
from gnnpot.graphs import Graph
from gnnpot.ops.simd.kernels import FAST

if TYPE_CHECKING:
    from gnnpot.models.zbl import ZBL


class FastZBL:
    """Backend of `models.zbl.ZBL`; stores s, p and r_ij for all pairs of elements."""

    def __init__(self, model: "ZBL") -> None:
        numbers = torch.nonzero(model.element_index >= 0).reshape(-1)
        numbers = numbers[torch.argsort(model.element_index[numbers])]
        pairs = model.pairs(numbers[:, None], numbers[None, :], torch.float64)
        self._species_of = model.element_index.numpy()
        self._pairs = tuple(t.contiguous().numpy() for t in pairs)
        self._screening, self._cutoff, self._power = np.array(model.SCREENING), model.cutoff, model.config.power

    def __call__(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Return energies [N] in float64, and the edge gradient [E, 3] in the dtype of the edge vectors."""
        vectors = graph.edge_vectors.detach().contiguous()
        energies, gradient = np.zeros(len(graph.numbers)), torch.zeros_like(vectors)
        _repulsion(
            *self._pairs, self._screening, self._cutoff, self._power, self._species_of,
            graph.numbers.numpy(), graph.edge_index.numpy(), vectors.numpy(), energies, gradient.numpy(),
        )  # fmt: skip
        return torch.from_numpy(energies), gradient


@njit(cache=True, error_model="numpy", fastmath=FAST)
def _repulsion(
    strengths, rates, pair_cutoffs, screening, cutoff, power, species_of, numbers, edge_index, vectors,
    energies, gradient,
):  # fmt: skip
    """Add to `energies` [N], and set `gradient` [E, 3], both initially zero.

    `strengths`, `rates` and `pair_cutoffs` [S, S] are s, p and r_ij; `power` is q.
    """
    height = 0.5 * (power + 1) * (power + 2)
    for e in range(len(vectors)):
        x, y, z = np.float64(vectors[e, 0]), np.float64(vectors[e, 1]), np.float64(vectors[e, 2])
        square = x * x + y * y + z * z
        if square >= cutoff * cutoff:
            continue
        i = edge_index[0, e]
        a, b = species_of[numbers[i]], species_of[numbers[edge_index[1, e]]]
        pair_cutoff = pair_cutoffs[a, b]
        if square >= pair_cutoff * pair_cutoff:
            continue
        r = math.sqrt(square)
        phi, slope, rate = 0.0, 0.0, rates[a, b]
        for k in range(len(screening)):
            term = screening[k, 0] * math.exp(-screening[k, 1] * rate * r)
            phi += term
            slope -= screening[k, 1] * rate * term
        u = r / pair_cutoff
        step = u ** (power - 1)
        f = 1.0 - step * u * (height - u * (power * (power + 2) - u * (0.5 * power * (power + 1))))
        df = -power * height * step * (1.0 - u) * (1.0 - u) / pair_cutoff
        per_r = strengths[a, b] / r
        energies[i] += per_r * phi * f
        factor = per_r * (slope * f + phi * df - phi * f / r) / r
        gradient[e, 0], gradient[e, 1], gradient[e, 2] = factor * x, factor * y, factor * z
