"""Layout of features, messages, weights and coupling constants in the flat arrays of the tensor product kernels.

The layouts of features and messages are `Rows`. Sizes and offsets of each path are a row of the table of paths.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gnnpot.ops.rows import Columns, Rows, starts
from gnnpot.ops.simd.vectors import SIMD_WIDTH

#: Columns of the table of paths. N1, N2, N3: 2l + 1 for l1, l2, l3; SIGN: (-1)^l2; HARMONIC: first harmonic; COUPLING:
#: start of the coupling constants in `Constants.all`, STRIDE: their number for each m2, ENDS: start of the path in
#: `Constants.ends`; WEIGHT: first weight; FEATURE, FEATURE_SIZE, WIDTH: `Rows.offsets` of the features of l1 (WIDTH is
#: also the width of the path); OUT, OUT_SIZE, OUT_ROW: `Rows.offsets` of the messages of l3; COLUMN: first column of
#: the path in a row of the messages
(
    N1, N2, N3, SIGN, HARMONIC, COUPLING, STRIDE, ENDS, WEIGHT,
    FEATURE, FEATURE_SIZE, WIDTH, OUT, OUT_SIZE, OUT_ROW, COLUMN,
) = range(16)  # fmt: skip


class Constants(NamedTuple):
    """Coupling constants of all paths, flat."""

    all: np.ndarray  #: C [m2, (m3, m1)] of each path, padded
    nonzero: np.ndarray  #: the nonzero constants
    indices: np.ndarray  #: index (m3, m1) of each nonzero constant
    ends: np.ndarray  #: start of the nonzero constants of each m2 of each path, and the end of the last


class ProductLayout:
    """Layout of a convolution.

    Args:
        inputs: Number of channels of the features for each l.
        paths: (l1, l2, l3) of each path.
        constants: Coupling constants C [m1, m2, m3] of each path.
        dtype: Precision of the constants.
    """

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
        #: the table of paths: a row for each path, with the columns N1 to COLUMN
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
