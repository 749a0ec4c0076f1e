"""Fast form of gated perceptrons on gathered rows, as CHGNet's messages and updates are, with their derivative by hand.

For rows r (edges or angles) that draw on sources x_k at index_k(r), and may have features d_r of their own,

    z_r = W_d d_r + Σ_k x_k[index_k(r)]                       x_k, z: [·, 2u], value and gate side by side
    (a, b)_r = norms(L silu(z_r))                              L: a layer each for value and gate, if there is one
    y_r = silu(a_r) ⊙ σ(b_r)
    out_g = Σ_{r in group g} w[index_w(r)] ⊙ y_r               or out_r = y_r without groups

Rows are taken in blocks that stay in the caches. Nothing of a block is kept: the backward pass calculates it again,
which takes less time than to write it to memory and to read it back, and memory grows with the sources only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from gnnpot.models.fast import kernels
from gnnpot.models.fast.blocks import Buffers
from gnnpot.models.layers import GatedMLP

#: rows of a block, about: three arrays of so many rows of 128 take a megabyte for each of two cores
BLOCK_ROWS = 2048


class Places:
    """Where rows draw from a source of `size` rows: `index` [M]. And back: rows `order[starts[k]:starts[k + 1]]` draw
    on row k of the source."""

    def __init__(self, index: Tensor, size: int) -> None:
        self.index = index.numpy()
        self.starts, self.order = _grouped(self.index, size)

    def sum(self, rows: Tensor) -> Tensor:
        """Σ of the rows [M, F] that draw on each row of the source, [size, F]."""
        out = rows.new_empty(len(self.starts) - 1, rows.shape[1])
        kernels.sum_groups(rows.numpy(), self.starts, self.order, out.numpy())
        return out


@njit(cache=True)
def _grouped(index, size):
    starts = np.zeros(size + 1, dtype=np.int64)
    for k in index:
        starts[k + 1] += 1
    for k in range(size):
        starts[k + 1] += starts[k]
    order, filled = np.empty(len(index), dtype=np.int64), starts[:-1].copy()
    for row, k in enumerate(index):
        order[filled[k]] = row
        filled[k] += 1
    return starts, order


@dataclass(frozen=True, slots=True)
class Layout:
    """M rows: where they draw from, and how they are summed."""

    rows: int
    sources: tuple[Places, Places, Places]
    #: where the weights w of the rows are
    weights: Places | None = None
    #: [groups + 1], rows of a group are consecutive; `None`: rows are not summed
    starts: np.ndarray | None = None

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """(rows, groups) of each block; a block holds whole groups. Without groups, each row is one."""
        if self.starts is None:
            for first in range(0, self.rows, BLOCK_ROWS):
                rows = slice(first, min(self.rows, first + BLOCK_ROWS))
                yield rows, rows
            return
        first, groups = 0, len(self.starts) - 1
        while first < groups:
            last = int(np.searchsorted(self.starts, self.starts[first] + BLOCK_ROWS, side="right")) - 1
            last = min(max(last, first + 1), groups)
            yield slice(int(self.starts[first]), int(self.starts[last])), slice(first, last)
            first = last


class Gate:
    """The parameters of a `GatedMLP` on gathered rows; the first `own` columns of its first layer are those of d."""

    def __init__(self, mlp: GatedMLP, own: Tensor | None = None) -> None:
        self.own = own
        self.layers = [
            (pair[0].weight.detach(), pair[0].bias.detach()) for pair in (mlp.layers, mlp.gates) if len(pair)
        ]
        norms = () if mlp.norms is None else mlp.norms
        #: [scale or shift, value or gate, u]; without norms, of length 0
        self.norms = (
            torch.stack([torch.stack([getattr(n, p).detach() for n in norms]) for p in ("weight", "bias")]).numpy()
            if norms
            else np.zeros((0, 2, 0), dtype=np.float32)
        )
        self.epsilon = norms[0].eps if norms else 0.0

    def first(self, x: Tensor, features: Tensor | None, sources: list[np.ndarray], places: list[np.ndarray]) -> None:
        """x <- z."""
        if self.own is not None:
            torch.mm(features, self.own.T, out=x)
        (a, b, c), (i, j, k) = sources, places
        kernels.gather_sum(x.numpy(), self.own is not None, a, i, b, j, c, k)

    def second(self, x: Tensor, h: Tensor, out: Tensor) -> Tensor:
        """L silu(x), in `out`; x itself without a layer. h is scratch."""
        if not self.layers:
            return x
        kernels.silu_of(x.numpy(), h.numpy())
        for (weight, bias), rows, result in zip(self.layers, h.chunk(2, 1), out.chunk(2, 1), strict=True):
            torch.addmm(bias, rows, weight.T, out=result)
        return out

    def back_to_first(self, x: Tensor, g: Tensor, h: Tensor) -> Tensor:
        """The gradient of z from g, that of what the norms get. h is scratch."""
        if not self.layers:
            return g
        for (weight, _), rows, result in zip(self.layers, g.chunk(2, 1), h.chunk(2, 1), strict=True):
            torch.mm(rows, weight, out=result)
        kernels.silu_backward(x.numpy(), h.numpy())
        return h


class GatheredGate(torch.autograd.Function):
    """The equations above; its derivative can't be taken twice, and there is none with respect to parameters.

    Inputs: d [M, u] or `None`, w [·, u] or `None`, three sources [·, 2u].
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor | None,
        weights: Tensor | None,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        gate: Gate,
        layout: Layout,
        buffers: Buffers,
    ) -> Tensor:
        groups = layout.rows if layout.starts is None else len(layout.starts) - 1
        out = a.new_empty(groups, a.shape[1] // 2)
        arrays = [None if t is None else t.detach().contiguous() for t in (features, weights, a, b, c)]
        for rows, group in layout.blocks():
            x, h, y, result = _calculate(arrays, gate, layout, rows, buffers)
            if layout.starts is None:
                kernels.gate(result.numpy(), gate.norms, gate.epsilon, out[rows].numpy())
            else:
                kernels.gate(result.numpy(), gate.norms, gate.epsilon, y.numpy())
                starts = layout.starts[group.start : group.stop + 1] - rows.start
                kernels.weighted_sum(
                    y.numpy(), arrays[1].numpy(), layout.weights.index[rows], starts, out[group].numpy()
                )
            buffers.give(x, h, y, *(() if result is x else (result,)))
        ctx.arrays, ctx.gate, ctx.layout, ctx.buffers = arrays, gate, layout, buffers
        return out

    @staticmethod
    def backward(ctx: Any, g_out: Tensor) -> tuple[Tensor | None, ...]:
        arrays, gate, layout, buffers = ctx.arrays, ctx.gate, ctx.layout, ctx.buffers
        g_out, units = g_out.contiguous(), g_out.shape[1]
        g_features = None if arrays[0] is None else torch.empty_like(arrays[0])
        g_rows = buffers.take(layout.rows, 2 * units, dtype=g_out.dtype)
        g_weights = None if layout.weights is None else buffers.take(layout.rows, units, dtype=g_out.dtype)
        for rows, group in layout.blocks():
            x, h, y, result = _calculate(arrays, gate, layout, rows, buffers)
            if layout.starts is None:
                y.copy_(g_out[rows])
            else:
                kernels.gate(result.numpy(), gate.norms, gate.epsilon, y.numpy())
                starts = layout.starts[group.start : group.stop + 1] - rows.start
                kernels.weighted_sum_backward(
                    y.numpy(),
                    arrays[1].numpy(),
                    layout.weights.index[rows],
                    starts,
                    g_out[group].numpy(),
                    g_weights[rows].numpy(),
                )
            g = g_rows[rows]
            kernels.gate_backward(result.numpy(), gate.norms, gate.epsilon, y.numpy(), g.numpy())
            g.copy_(gate.back_to_first(x, g, h))
            if gate.own is not None:
                torch.mm(g, gate.own, out=g_features[rows])
            buffers.give(x, h, y, *(() if result is x else (result,)))
        sums = [places.sum(g_rows) for places in layout.sources]
        g_weight = None if g_weights is None else layout.weights.sum(g_weights)
        buffers.give(g_rows, *(() if g_weights is None else (g_weights,)))
        return g_features, g_weight, *sums, None, None, None


def _calculate(
    arrays: list[Tensor | None], gate: Gate, layout: Layout, rows: slice, buffers: Buffers
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(z [M, 2u], scratch [M, 2u], scratch [M, u], what the norms get [M, 2u]) of a block."""
    features, _, *sources = arrays
    width, count = sources[0].shape[1], rows.stop - rows.start
    x, h = (buffers.take(count, width, dtype=sources[0].dtype) for _ in range(2))
    y = buffers.take(count, width // 2, dtype=x.dtype)
    gate.first(
        x,
        None if features is None else features[rows],
        [s.numpy() for s in sources],
        [p.index[rows] for p in layout.sources],
    )
    result = gate.second(x, h, buffers.take(count, width, dtype=x.dtype) if gate.layers else x)
    return x, h, y, result
