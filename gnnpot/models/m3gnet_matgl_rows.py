"""M3GNet as implemented in matgl up to version 4.0, which confuses the indices of edges in the three-body step.

Example::

    model = M3GNetMatglRows(M3GNetMatglRowsConfig(elements=("Na", "Cl"), matgl="2.2"))

matgl up to 4.0 renumbers the edges within the three-body cutoff from 0, but uses these numbers as indices of *all*
edges. The k-th close edge thus contributes its direction and length to the three-body term of the k-th edge, which may
belong to other atoms. With the weights of M3GNet-MP-2021.2.8 the effect is small (about 1e-4 eV/atom), but energies
depend on the order of the neighbours, and change discontinuously by this amount when an edge enters the cutoff. To
reproduce the published energies, edges must be in the order of matgl: that of pymatgen's `find_points_in_spheres` for
periodic structures, and sorted by atoms for others.

Up to 2.2, matgl also sums messages at the neighbour of an edge instead of the centre. Weights cannot be used with
another convention than that of their training:

| trained with matgl | messages are summed at | indices of close edges | architecture here |
|---|---|---|---|
| up to 2.2 (DGL): all in its GitHub repository, also MatPES v2025.1 | the neighbour | confused | this, "2.2" |
| 3.0 to 4.0 | the centre | confused | this, "4.0" |
| from 4.1 | the centre | correct | `m3gnet` |

Use `m3gnet` to train new potentials.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pymatgen.optimization.neighbors import find_points_in_spheres
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig

#: Å; pairs at a smaller distance are an atom and itself
SELF = 1e-8


@dataclass(frozen=True)
class M3GNetMatglRowsConfig(M3GNetConfig):
    """Options of `M3GNetMatglRows`: those of M3GNet, and the version of matgl."""

    architecture: Literal["m3gnet-matgl-rows"] = "m3gnet-matgl-rows"  # type: ignore[assignment]
    #: version of matgl whose convention is used: "2.2" for all versions up to 2.2, "4.0" for 3.0 to 4.0
    matgl: Literal["2.2", "4.0"] = "2.2"


class M3GNetMatglRows(M3GNet):
    """M3GNet with matgl's indices of edges in the three-body step."""

    config: M3GNetMatglRowsConfig

    @property
    def hops(self) -> None:
        # the three-body term of an edge can come from any other edge of the structure
        return None

    def close_rows(self, graph: Graph, distances: Tensor) -> tuple[Tensor, Tensor, int, Tensor, Tensor]:
        """`M3GNet.close_rows` in the order of matgl; up to 2.2, centre and neighbour are exchanged."""
        centre, neighbor = graph.edge_index
        reverse = self.config.matgl == "2.2"
        order, structure = matgl_rows(graph, self.cutoff, reverse=reverse)
        inside = distances.index_select(0, order) <= self.config.three_body_cutoff
        counted = torch.cat([order.new_zeros(1), torch.cumsum(inside, 0)])
        # numbers start from the first edge of each structure
        sizes = torch.bincount(structure, minlength=len(graph.cell))
        first = torch.cumsum(sizes, 0) - sizes
        number = (first - counted[first])[structure] + counted[:-1]
        close, rows = order[inside], order[number[inside]]
        if reverse:
            centre, neighbor = neighbor, centre
        sign = -1 if reverse else 1
        return close, rows, sign, centre.index_select(0, close), neighbor.index_select(0, rows)


def matgl_rows(graph: Graph, cutoff: float, *, reverse: bool) -> tuple[Tensor, Tensor]:
    """Return the index of each edge of matgl among our edges [E], structure by structure, and its structure [E].

    With `reverse`, for versions that sum messages at the neighbour, the edge i -> j of matgl is our edge j -> i.
    """
    first_atom, second_atom = (end.cpu().numpy() for end in graph.edge_index)
    shifts, centre = graph.edge_shifts.cpu().numpy(), first_atom
    if reverse:
        first_atom, second_atom, shifts = second_atom, first_atom, -shifts
    batch = graph.get("batch")
    batch = np.zeros(len(graph.numbers), dtype=np.int64) if batch is None else batch.cpu().numpy()
    first_atoms = np.searchsorted(batch, np.arange(len(graph.cell) + 1))
    first_edges = np.searchsorted(centre, first_atoms)
    positions, cells, pbc = (x.cpu().numpy() for x in (graph.positions, graph.cell, graph.pbc))
    rows = []
    for b, (atom, edge, last) in enumerate(zip(first_atoms, first_edges, first_edges[1:], strict=False)):
        ours = np.stack([first_atom[edge:last] - atom, second_atom[edge:last] - atom, *shifts[edge:last].T])
        if pbc[b].all():
            theirs = _listed(positions[atom : first_atoms[b + 1]], cells[b], cutoff)
            rows.append(edge + _same_order(ours, theirs))
        else:
            rows.append(edge + np.lexsort(ours[::-1]))
    structure = np.repeat(np.arange(len(graph.cell)), np.diff(first_edges))
    device = graph.edge_index.device
    return torch.as_tensor(np.concatenate(rows), device=device), torch.as_tensor(structure, device=device)


def _listed(positions: np.ndarray, cell: np.ndarray, cutoff: float) -> np.ndarray:
    """Edges (first atom, second atom, cell) in the order of pymatgen, [5, E]."""
    points = np.ascontiguousarray(positions)
    i, j, images, distances = find_points_in_spheres(
        points, points, r=cutoff, pbc=np.ones(3, dtype=np.int64), lattice=np.ascontiguousarray(cell), tol=SELF
    )
    others = (i != j) | (distances > SELF)
    return np.stack([i, j, *images.astype(np.int64).T])[:, others]


def _same_order(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Permutation that sorts the columns of `ours` in the order of `theirs`; columns not in `theirs` come last."""
    both = np.concatenate([theirs, ours], axis=1)
    reach = 2 * np.abs(both[2:]).max(initial=0) + 1
    key = (both[0] * (both[1].max(initial=0) + 1) + both[1]) * reach**3
    key += ((both[2] * reach) + both[3]) * reach + both[4]
    theirs_key, ours_key = key[: theirs.shape[1]], key[theirs.shape[1] :]
    if len(theirs_key) == 0:
        return np.arange(len(ours_key))
    order = np.argsort(theirs_key)
    place = np.minimum(np.searchsorted(theirs_key[order], ours_key), len(order) - 1)
    found = theirs_key[order[place]] == ours_key
    return np.argsort(np.where(found, order[place], len(order)), kind="stable")
