"""Features of atoms in one flat array, as kernels read them.

    rows = Rows([[128, 64], [64]])          # channels for l = 0, of two arrays, and l = 1
    flat = rows.join([scalars, vectors])    # of [N, 1, 192] and [N, 3, 64]

Features are lists over l of [N, 2l+1, channels]. Kernels read each as one array: for each l the same, with channels
padded to multiples of `SIMD_WIDTH`, one l after the other. Padding is zero throughout. In kernels,
`where(offsets, first, atoms)` are the rows from those of atom `first` on, of an array for so many `atoms`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vectors import SIMD_WIDTH


class Columns:
    """Channels of several arrays side by side, each padded to whole SIMD vectors."""

    def __init__(self, widths: list[int]) -> None:
        self.starts = starts([padded(width) for width in widths])
        self.width = sum(padded(width) for width in widths)
        ours = [start + torch.arange(width) for start, width in zip(self.starts, widths, strict=True)]
        #: those that are not padding; `None`: all
        self.ours = torch.cat(ours) if sum(widths) < self.width else None

    def pad(self, x: Tensor) -> Tensor:
        """[…, channels] -> […, width], with zeros in between."""
        return x if self.ours is None else x.new_zeros(*x.shape[:-1], self.width).index_copy(-1, self.ours, x)

    def strip(self, x: Tensor) -> Tensor:
        """The reverse."""
        return x if self.ours is None else x.index_select(-1, self.ours)


class Rows:
    """Lists over l of arrays [N, 2l+1, channels], as one flat array."""

    def __init__(self, widths: list[list[int]]) -> None:
        self.columns = [Columns(row) for row in widths]
        sizes = [(2 * l + 1) * columns.width for l, columns in enumerate(self.columns)]
        #: for each l, where it begins (in units of atoms), an atom's size and a row's
        self.offsets = list(zip(starts(sizes), sizes, (columns.width for columns in self.columns), strict=True))
        #: numbers of an atom
        self.size = sum(sizes)

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """List -> flat array."""
        return torch.cat([columns.pad(x).flatten() for columns, x in zip(self.columns, features, strict=True)])

    def split(self, flat: Tensor) -> list[Tensor]:
        """The reverse."""
        atoms = len(flat) // self.size
        parts = flat.split([atoms * size for _, size, _ in self.offsets])
        return [
            columns.strip(part.view(atoms, 2 * l + 1, -1))
            for l, (columns, part) in enumerate(zip(self.columns, parts, strict=True))
        ]

    def blocks(self, flat: Tensor) -> list[Tensor]:
        """For each l a view of a flat array, [N (2l+1), width], padding and all."""
        atoms = len(flat) // self.size
        return [flat[atoms * start : atoms * (start + size)].view(-1, width) for start, size, width in self.offsets]


def padded(count: int) -> int:
    """The multiple of `SIMD_WIDTH` from `count` on."""
    return count + -count % SIMD_WIDTH


def starts(sizes: list[int]) -> list[int]:
    """Where each begins if they follow one another."""
    return [sum(sizes[:k]) for k in range(len(sizes))]


@njit(fastmath=FAST, forceinline=True)
def where(offsets, first, atoms):
    """Rows from those of atom `first` on, of an array for so many `atoms`; `offsets` are those of `Rows`, [l, 3]."""
    return offsets, first, atoms


@njit(fastmath=FAST, forceinline=True)
def begin(where, l):
    """Where the rows of l begin."""
    offsets, first, atoms = where
    return offsets[l, 0] * atoms + first * offsets[l, 1]


@njit(fastmath=FAST, forceinline=True)
def size(offsets):
    """Numbers of an atom."""
    numbers = 0
    for l in range(len(offsets)):
        numbers += offsets[l, 1]
    return numbers
