"""Layout of the features of atoms in one flat array, for kernels.

    rows = Rows([[128, 64], [64]])          # l = 0 with two blocks of channels, and l = 1
    flat = rows.join([scalars, vectors])    # from [N, 1, 192] and [N, 3, 64]

In PyTorch, features are a list over l of arrays [N, 2l+1, channels]. In the flat array, these arrays follow one another
in the order of l, with their channels padded to multiples of `SIMD_WIDTH`. Padding is always zero. In kernels,
`locate(offsets, first, atoms)` is the location of the rows from atom `first` on, in an array for `atoms` atoms.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vectors import SIMD_WIDTH


class Columns:
    """Several blocks of channels side by side, each padded to a multiple of `SIMD_WIDTH`."""

    def __init__(self, widths: list[int]) -> None:
        self.starts = starts([padded(width) for width in widths])
        self.width = sum(padded(width) for width in widths)
        unpadded = [start + torch.arange(width) for start, width in zip(self.starts, widths, strict=True)]
        #: columns that are not padding; `None` if there is no padding
        self.unpadded = torch.cat(unpadded) if sum(widths) < self.width else None

    def pad(self, x: Tensor) -> Tensor:
        """[…, channels] -> […, width], with zeros as padding."""
        return x if self.unpadded is None else x.new_zeros(*x.shape[:-1], self.width).index_copy(-1, self.unpadded, x)

    def strip(self, x: Tensor) -> Tensor:
        """[…, width] -> […, channels], the inverse of `pad`."""
        return x if self.unpadded is None else x.index_select(-1, self.unpadded)


class Rows:
    """Layout of a list over l of arrays [N, 2l+1, channels] in one flat array.

    `widths` has the numbers of channels of the blocks of each l.
    """

    def __init__(self, widths: list[list[int]]) -> None:
        self.columns = [Columns(row) for row in widths]
        sizes = [(2 * l + 1) * columns.width for l, columns in enumerate(self.columns)]
        #: for each l: start (divided by the number of atoms), size of an atom, and size of a row
        self.offsets = list(zip(starts(sizes), sizes, (columns.width for columns in self.columns), strict=True))
        #: size of an atom for all l
        self.size = sum(sizes)

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """Convert a list of features to a flat array."""
        return torch.cat([columns.pad(x).flatten() for columns, x in zip(self.columns, features, strict=True)])

    def split(self, flat: Tensor) -> list[Tensor]:
        """Convert a flat array to a list of features, the inverse of `join`."""
        atoms = len(flat) // self.size
        parts = flat.split([atoms * size for _, size, _ in self.offsets])
        return [
            columns.strip(part.view(atoms, 2 * l + 1, -1))
            for l, (columns, part) in enumerate(zip(self.columns, parts, strict=True))
        ]

    def blocks(self, flat: Tensor) -> list[Tensor]:
        """Return views [N (2l+1), width] of a flat array for each l, including the padding."""
        atoms = len(flat) // self.size
        return [flat[atoms * start : atoms * (start + size)].view(-1, width) for start, size, width in self.offsets]


def padded(count: int) -> int:
    """The smallest multiple of `SIMD_WIDTH` that is not less than `count`."""
    return count + -count % SIMD_WIDTH


def starts(sizes: list[int]) -> list[int]:
    """Start of each block, for blocks of these sizes that follow one another."""
    return [sum(sizes[:k]) for k in range(len(sizes))]


@njit(fastmath=FAST, forceinline=True)
def locate(offsets, first, atoms):
    """Location of the rows from atom `first` on in an array for `atoms` atoms; `offsets` [l, 3] is `Rows.offsets`."""
    return offsets, first, atoms


@njit(fastmath=FAST, forceinline=True)
def row_offset(location, l):
    """Position of the first row of l at a location."""
    offsets, first, atoms = location
    return offsets[l, 0] * atoms + first * offsets[l, 1]


@njit(fastmath=FAST, forceinline=True)
def atom_size(offsets):
    """Size of an atom for all l."""
    count = 0
    for l in range(len(offsets)):
        count += offsets[l, 1]
    return count
