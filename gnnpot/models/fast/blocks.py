"""Atoms in blocks: what belongs to one block's edges stays in the processor's caches while it is worked on."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: edges of a block, about: 64 features of so many take a megabyte in single precision
BLOCK_EDGES = 4096


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive atoms and the M edges that have them as centres."""

    atoms: slice
    edges: slice
    starts: np.ndarray  #: [atoms + 1] first edge of each atom, counted from the block's first
    centre: np.ndarray  #: [M]
    neighbor: np.ndarray  #: [M]
    #: the edges again, sorted by neighbour: `neighbors[k]` is that of `by_neighbor[neighbor_starts[k]:…[k + 1]]`
    by_neighbor: np.ndarray
    neighbor_starts: np.ndarray
    neighbors: np.ndarray

    def __len__(self) -> int:
        return len(self.centre)


def blocks_of(edge_index: Tensor, atoms: int, size: int | None = None) -> list[Block]:
    """Blocks of about `size` (`BLOCK_EDGES`) edges; `edge_index` [2, E] is sorted by centre."""
    centre, neighbor = (row.numpy() for row in edge_index)
    starts = np.searchsorted(centre, np.arange(atoms + 1))
    blocks, first = [], 0
    while first < atoms:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + (size or BLOCK_EDGES), side="right")) - 1)
        blocks.append(_block(first, min(last, atoms), starts, centre, neighbor))
        first = blocks[-1].atoms.stop
    return blocks


def _block(first: int, last: int, starts: np.ndarray, centre: np.ndarray, neighbor: np.ndarray) -> Block:
    edges = slice(int(starts[first]), int(starts[last]))
    ends = neighbor[edges]
    order = np.argsort(ends, kind="stable")
    neighbors, neighbor_starts = np.unique(ends[order], return_index=True)
    return Block(
        slice(first, last),
        edges,
        starts[first : last + 1] - edges.start,
        centre[edges],
        ends,
        order,
        np.append(neighbor_starts, len(ends)),
        neighbors,
    )


class Buffers:
    """Memory that is used again from call to call, so that the system need not hand out fresh pages each time."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, torch.dtype], list[Tensor]] = {}

    def __deepcopy__(self, memo: dict) -> "Buffers":
        return Buffers()

    def take(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """An array with anything in it; `give` it back when done."""
        size = math.prod(shape)
        free = self._free.setdefault((size, dtype), [])
        buffer = free.pop() if free else torch.empty(size, dtype=dtype)
        return buffer.view(shape)

    def give(self, *arrays: Tensor) -> None:
        """Hand arrays of `take` back."""
        for array in arrays:
            self._free.setdefault((array.numel(), array.dtype), []).append(array.view(-1))
