"""Compiled backend of ZBL: energies and their derivatives in one pass over the edges, most of which are beyond r_ij.

With the symbols of `models.zbl`, p = (Z_i^0.23 + Z_j^0.23)/0.46850 Å, x = p r, u = r/r_ij, and s = ½ k_e Z_i Z_j, the
energy of an edge is ½ V = s/r φ(x) f_c(u), and

    d(½ V)/dr  =  s/r [p φ'(x) f_c + φ f_c'(u)/r_ij - φ f_c/r],    f_c'(u) = -½ q(q+1)(q+2) u^(q-1) (1 - u)²

with the exponent q of the cutoff function. Calculations are in float64 for any dtype of the edge vectors.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.graphs import Graph
from gnnpot.models.fast.edge_sums import EDGES_PER_THREAD
from gnnpot.ops.simd.kernels import FAST

if TYPE_CHECKING:
    from gnnpot.models.zbl import ZBL


class ZBLPlan(NamedTuple):
    """Constants of the potential for all pairs of S species."""

    strength: np.ndarray  #: [S, S] s, eV Å
    rate: np.ndarray  #: [S, S] p, 1/Å
    pair_cutoff: np.ndarray  #: [S, S] r_ij, Å
    screening: np.ndarray  #: [4, 2] factors and exponents of φ
    cutoff: float  #: Å, the largest r_ij or more
    power: int  #: q
    species_of: np.ndarray  #: [119] species of each atomic number


class FastZBL:
    """Backend of `models.zbl.ZBL`."""

    def __init__(self, model: "ZBL") -> None:
        numbers = torch.nonzero(model.element_index >= 0).reshape(-1)
        numbers = numbers[torch.argsort(model.element_index[numbers])]
        pairs = model.pairs(numbers[:, None], numbers[None, :], torch.float64)
        strength, rate, pair_cutoff = (t.contiguous().numpy() for t in pairs)
        self._plan = ZBLPlan(
            strength=strength,
            rate=rate,
            pair_cutoff=pair_cutoff,
            screening=np.array(model.SCREENING),
            cutoff=model.cutoff,
            power=model.config.power,
            species_of=model.element_index.numpy(),
        )

    def add(self, graph: Graph, energies: Tensor, gradient: Tensor) -> None:
        """Add to energies [N], float64, and to the edge gradient [E, 3], in the dtype of the edge vectors."""
        centres, vectors = graph.edge_index[0].numpy(), graph.edge_vectors.detach().contiguous().numpy()
        # all edges of an atom are in the same range, because two threads must not add to the same energy
        parts = max(min(follow_torch(), len(vectors) // EDGES_PER_THREAD), 1)
        bounds = np.arange(parts + 1) * len(vectors) // parts
        bounds[1:-1] = np.searchsorted(centres, centres[bounds[1:-1]])
        _add(
            self._plan, graph.numbers.numpy(), graph.edge_index.numpy(), vectors, bounds, energies.numpy(),
            gradient.numpy(),
        )  # fmt: skip


@njit(cache=True, parallel=True, error_model="numpy", fastmath=FAST)
def _add(plan, numbers, edge_index, vectors, bounds, energies, gradient):
    """Add to `energies` [N] and `gradient` [E, 3]; thread t processes the edges bounds[t] <= e < bounds[t + 1]."""
    q = plan.power
    height = 0.5 * (q + 1) * (q + 2)
    for t in prange(len(bounds) - 1):
        for e in range(bounds[t], bounds[t + 1]):
            x, y, z = np.float64(vectors[e, 0]), np.float64(vectors[e, 1]), np.float64(vectors[e, 2])
            square = x * x + y * y + z * z
            if square >= plan.cutoff * plan.cutoff:
                continue
            i = edge_index[0, e]
            a, b = plan.species_of[numbers[i]], plan.species_of[numbers[edge_index[1, e]]]
            pair_cutoff = plan.pair_cutoff[a, b]
            if square >= pair_cutoff * pair_cutoff:
                continue
            r, phi, slope, rate = math.sqrt(square), 0.0, 0.0, plan.rate[a, b]
            for k in range(len(plan.screening)):
                term = plan.screening[k, 0] * math.exp(-plan.screening[k, 1] * rate * r)
                phi += term
                slope -= plan.screening[k, 1] * rate * term
            u = r / pair_cutoff
            step = u ** (q - 1)
            f = 1.0 - step * u * (height - u * (q * (q + 2) - u * (0.5 * q * (q + 1))))
            df = -q * height * step * (1.0 - u) * (1.0 - u) / pair_cutoff
            per_r = plan.strength[a, b] / r
            energies[i] += per_r * phi * f
            factor = per_r * (slope * f + phi * df - phi * f / r) / r
            gradient[e, 0] += factor * x
            gradient[e, 1] += factor * y
            gradient[e, 2] += factor * z
