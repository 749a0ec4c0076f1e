"""M3GNet as matgl up to 4.0 calculates it: the edges of its three-body steps are mixed up.

Example::

    model = M3GNetMatglRows(M3GNetMatglRowsConfig(elements=("Na", "Cl"), matgl="2.2"))

matgl up to 4.0 numbers the edges within the three-body cutoff anew, and then reads and writes the rows of *all* edges
with these numbers. So the k-th close edge lends its direction and length to the three-body term of the k-th edge,
which may belong to other atoms. The weights of M3GNet-MP-2021.2.8 are small enough for it to go unnoticed (about 1e-4
eV/atom), but energies depend on the order in which neighbours are listed, and jump by as much where an edge enters the
cutoff. To give the published numbers, the order must be the same: that of pymatgen's `find_points_in_spheres`, for
periodic structures, and by atoms for others.

Up to 2.2, matgl also sums messages at the far end of an edge. Weights of one convention mean nothing in another:

| trained with matgl | messages are summed at | numbers of close edges | our architecture |
|---|---|---|---|
| up to 2.2 (DGL): all in its GitHub repository, also MatPES v2025.1 | the far end | mixed up | this, "2.2" |
| 3.0 to 4.0 | the centre | mixed up | this, "4.0" |
| from 4.1 | the centre | right | `m3gnet` |

What is trained anew should be an `m3gnet`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pymatgen.optimization.neighbors import find_points_in_spheres
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig

#: Å; an atom this close is the atom itself
SELF = 1e-8


@dataclass(frozen=True)
class M3GNetMatglRowsConfig(M3GNetConfig):
    """The options of M3GNet, and which matgl's numbers its rows have."""

    architecture: Literal["m3gnet-matgl-rows"] = "m3gnet-matgl-rows"  # type: ignore[assignment]
    #: the last version of matgl with these rows: "2.2" for all versions up to it, "4.0" for 3.0 to 4.0
    matgl: Literal["2.2", "4.0"] = "2.2"


class M3GNetMatglRows(M3GNet):
    """M3GNet with the rows of matgl's three-body steps."""

    config: M3GNetMatglRowsConfig

    @property
    def hops(self) -> None:
        # an edge's three-body term is that of another edge, anywhere
        return None

    def close_rows(self, graph: Graph, distances: Tensor) -> tuple[Tensor, Tensor, int, Tensor, Tensor]:
        """As `M3GNet.close_rows`, in matgl's order; where it sums at the far end of an edge, that is its centre."""
        centre, neighbor = graph.edge_index
        reverse = self.config.matgl == "2.2"
        order, structure = matgl_rows(graph, self.cutoff, reverse=reverse)
        inside = distances.index_select(0, order) <= self.config.three_body_cutoff
        counted = torch.cat([order.new_zeros(1), torch.cumsum(inside, 0)])
        # numbers begin anew in each structure
        sizes = torch.bincount(structure, minlength=len(graph.cell))
        first = torch.cumsum(sizes, 0) - sizes
        number = (first - counted[first])[structure] + counted[:-1]
        close, rows = order[inside], order[number[inside]]
        if reverse:
            centre, neighbor = neighbor, centre
        sign = -1 if reverse else 1
        return close, rows, sign, centre.index_select(0, close), neighbor.index_select(0, rows)


def matgl_rows(graph: Graph, cutoff: float, *, reverse: bool) -> tuple[Tensor, Tensor]:
    """(rows [E], structure [E]): our edge for each of matgl's, structure by structure, and the structure of each.

    Where messages are summed at the far end (`reverse`), its edge i -> j is our j -> i.
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
    """Edges (first atom, second atom, cell) in pymatgen's order, [5, E]."""
    points = np.ascontiguousarray(positions)
    i, j, images, distances = find_points_in_spheres(
        points, points, r=cutoff, pbc=np.ones(3, dtype=np.int64), lattice=np.ascontiguousarray(cell), tol=SELF
    )
    others = (i != j) | (distances > SELF)
    return np.stack([i, j, *images.astype(np.int64).T])[:, others]


def _same_order(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The permutation that brings the columns of `ours` into the order of `theirs`; columns it lacks come last."""
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
