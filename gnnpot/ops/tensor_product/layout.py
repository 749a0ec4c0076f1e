"""How the kernels of the tensor product find features, messages, weights and coupling constants in flat arrays.

Features and messages are `Rows`; what belongs to a path is a row of one table.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gnnpot.ops.rows import Columns, Rows, starts
from gnnpot.ops.simd.vectors import SIMD_WIDTH

#: columns of the table of paths: 2 l1 + 1, 2 l2 + 1, 2 l3 + 1, (-1)^l2; first harmonic; where the coupling constants
#: begin, how many there are for each m2, and where the ends of the nonzero ones are; first weight; where the features
#: of l1 begin (in units of atoms), an atom's size in them and a row's, which is the path's width; the same of the
#: messages of l3, and the path's column in a row
(
    N1, N2, N3, SIGN, HARMONIC, COUPLING, STRIDE, ENDS, WEIGHT,
    FEATURE, FEATURE_SIZE, WIDTH, OUT, OUT_SIZE, OUT_ROW, COLUMN,
) = range(16)  # fmt: skip


class Constants(NamedTuple):
    """Coupling constants of all paths."""

    all: np.ndarray  #: for each path C [m2, (m3, m1)], padded
    nonzero: np.ndarray  #: those that are not zero
    indices: np.ndarray  #: (m3, m1) of each of these
    ends: np.ndarray  #: where the nonzero ones of each m2 of each path begin, and where the last end


class ProductLayout:
    """That of a convolution of features with `inputs` channels for each l, and the constants C of each of its `paths`
    (l1, l2, l3)."""

    def __init__(
        self, inputs: Sequence[int], paths: Sequence[tuple[int, ...]], constants: Sequence[Tensor], dtype: torch.dtype
    ) -> None:
        widths = [inputs[l1] for l1, _, _ in paths]
        lasts = [l3 for _, _, l3 in paths]
        by_l3 = [[w for w, last in zip(widths, lasts, strict=True) if last == l] for l in range(max(lasts) + 1)]
        self.weights, self.features, self.messages = Columns(widths), Rows([[c] for c in inputs]), Rows(by_l3)
        blocks = [_by_harmonic(c) for c in constants]
        self.constants = _constants(blocks, dtype)
        couplings, ends = starts([c.numel() for c in blocks]), starts([len(c) for c in blocks])
        columns = [iter(row.starts) for row in self.messages.columns]
        #: one row a path, with the columns that are named above
        self.paths = np.array([
            [
                2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, (-1) ** l2, l2 * l2, couplings[k], blocks[k].shape[1], ends[k],
                self.weights.starts[k], *self.features.offsets[l1], *self.messages.offsets[l3], next(columns[l3]),
            ]
            for k, (l1, l2, l3) in enumerate(paths)
        ])  # fmt: skip


def _by_harmonic(constants: Tensor) -> Tensor:
    """C [m1, m2, m3] -> [m2, (m3, m1)], padded."""
    rows = constants.permute(1, 2, 0).flatten(1)
    return nn.functional.pad(rows, (0, -rows.shape[1] % SIMD_WIDTH))


def _constants(blocks: list[Tensor], dtype: torch.dtype) -> Constants:
    rows = [row for block in blocks for row in block]
    indices = [torch.nonzero(row).flatten() for row in rows]
    return Constants(
        torch.cat(rows).to(dtype).numpy(),
        torch.cat([row[at] for row, at in zip(rows, indices, strict=True)]).to(dtype).numpy(),
        torch.cat(indices).numpy(),
        np.cumsum([0, *(len(at) for at in indices)]),
    )
