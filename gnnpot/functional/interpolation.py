"""Cubic (Catmull-Rom) interpolation of tables on equidistant points, differentiable in table and argument.

The interpolation passes through the values and has a continuous first derivative; its error is of third order in the
step.
"""

import operator
from functools import reduce

import torch
from torch import Tensor


def interpolation_weights(position: Tensor, count: int) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Weights of the entries index - 1, index, index + 1, index + 2 at `position` (in steps), and index."""
    index = position.detach().floor().clamp(1, count - 3).long()
    t = position - index
    weights = (
        0.5 * t * (-1 + t * (2 - t)),
        1 + 0.5 * t * t * (3 * t - 5),
        0.5 * t * (1 + t * (4 - 3 * t)),
        0.5 * t * t * (t - 1),
    )
    return weights, index


def interpolate_table(table: Tensor, argument: Tensor, step: float) -> Tensor:
    """Interpolate a table with entry i at i * step; even about 0, and constant beyond the last but two entries."""
    padded = torch.cat([table[1:2], table])
    position = (argument / step + 1).clamp(max=float(len(padded) - 3))
    weights, index = interpolation_weights(position, len(padded))
    return reduce(operator.add, (w * padded[index + k - 1] for k, w in enumerate(weights)))


def table_slope(table: Tensor, argument: Tensor, step: float) -> Tensor:
    """Derivative of `interpolate_table` with respect to its argument, without automatic differentiation."""
    padded = torch.cat([table[1:2], table])
    position = argument / step + 1
    end = float(len(padded) - 3)
    index = position.floor().clamp(1, len(padded) - 3).long()
    t = position.clamp(max=end) - index
    weights = (-1 + t * (4 - 3 * t), t * (9 * t - 10), 1 + t * (8 - 9 * t), t * (3 * t - 2))
    total = reduce(operator.add, (w * padded[index + k - 1] for k, w in enumerate(weights)))
    return torch.where(position < end, total * (0.5 / step), 0.0)
