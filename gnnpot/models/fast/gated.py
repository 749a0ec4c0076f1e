"""Fast form of gated perceptrons on gathered rows, as messages and updates are, with their derivative by hand.

For rows r (edges or angles) that draw on sources x_k at index_k(r), and may have features d_r of their own,

    z_r = W_d d_r + Σ_k x_k[index_k(r)]                        x_k, z: [·, 2u], value and gate side by side
    z'  = L silu(z)                                            L: a layer each for value and gate; none, one or more
    y_r = silu(a_r) ⊙ σ(b_r) ⊙ w[index_w(r)]                   (a | b) = z', each half after its layer norm, if any
    out_g = Σ_{r in group g} y_r                               or out_r = y_r without groups

All of this is one pass: a few rows at a time, from what they gather to what they are added to, without leaving the
first cache. Nothing is kept: the backward pass calculates it again, which takes less time than to write it to memory
and to read it back, and memory grows with the sources and gradients only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from gnnpot.models.fast import kernels, tiles
from gnnpot.models.fast.kernels import FAST
from gnnpot.models.fast.tiles import TILE
from gnnpot.models.layers import GatedMLP

_NOWHERE = np.zeros(0, dtype=np.int64)


class Places:
    """Where rows draw from a source of `size` rows: `index` [M]. And back: rows `order[starts[k]:starts[k + 1]]` draw
    on row k of the source."""

    def __init__(self, index: Tensor, size: int) -> None:
        self.index = index.contiguous().numpy()
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
    sources: tuple[Places, ...]  #: two or three
    #: where the weights w of the rows are; `None`: each row has its own, if any
    weights: Places | None = None
    #: [M] the group of each row, in order; `None`: rows are not summed
    group: np.ndarray | None = None
    groups: int = 0

    def parts(self) -> np.ndarray:
        """Where rows are shared out to threads; no group is torn apart."""
        count = min(4 * torch.get_num_threads(), 1 + self.rows // TILE)
        bounds = np.arange(1, count) * self.rows // count
        if self.group is not None:
            bounds = np.searchsorted(self.group, self.group[bounds])
        return np.concatenate([[0], bounds, [self.rows]])

    def indices(self) -> tuple[np.ndarray, ...]:
        """Of the sources, the weights and the groups, for the kernels."""
        sources = [p.index for p in self.sources] + [_NOWHERE] * (3 - len(self.sources))
        weights = _NOWHERE if self.weights is None else self.weights.index
        return *sources, weights, _NOWHERE if self.group is None else self.group


class Gate:
    """The numbers of a `GatedMLP` on gathered rows, laid out for the kernels.

    `own` [2u, K] are the columns of its first layer that belong to d.
    """

    def __init__(self, mlp: GatedMLP, own: Tensor | None = None) -> None:
        first = mlp.first.linear.bias
        pairs = [pair for layer in zip(mlp.layers, mlp.gates, strict=True) for pair in layer]
        forward = [m for layer in pairs for m in (layer.weight.T.flatten(), layer.bias)]
        backward = [layer.weight.flatten() for layer in pairs]
        self.own, self.own_back = (
            first.new_empty(0) if w is None else w.detach().flatten()
            for w in ((None, None) if own is None else (own.T, own))
        )
        self.layers, self.back = (
            torch.cat([t.detach() for t in tensors]) if pairs else first.new_empty(0) for tensors in (forward, backward)
        )
        self.count = len(pairs) // 2
        norms = () if mlp.norms is None else mlp.norms
        #: [scale or shift, value or gate, u]; without norms, of length 0
        self.norms = (
            torch.stack([torch.stack([getattr(n, p).detach() for n in norms]) for p in ("weight", "bias")])
            if norms
            else first.new_empty(0, 2, 0)
        )
        self.epsilon = norms[0].eps if norms else 0.0

    def arguments(self) -> tuple[Any, ...]:
        """For the kernels."""
        return self.own.numpy(), self.layers.numpy(), self.count, self.norms.numpy(), self.epsilon


class GatheredGate(torch.autograd.Function):
    """The equations above; its derivative can't be taken twice, and there is none with respect to parameters.

    Inputs: d [M, K] or `None`, w [·, u] or `None`, two or three sources [·, 2u].
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor | None, weights: Tensor | None, gate: Gate, layout: Layout, *sources: Tensor
    ) -> Tensor:
        like = sources[0]
        arrays = [like.new_empty(0, 0) if t is None else t.detach().contiguous() for t in (features, weights)]
        arrays += [s.detach().contiguous() for s in sources] + [like.new_empty(0, 0)] * (3 - len(sources))
        units = like.shape[1] // 2
        out = like.new_empty(layout.rows, units) if layout.group is None else like.new_zeros(layout.groups, units)
        ctx.arguments = (
            arrays[0].flatten().numpy(), *(a.numpy() for a in arrays[1:]), *layout.indices(), *gate.arguments(),
            layout.parts(),
        )  # fmt: skip
        _forward(*ctx.arguments, out.numpy())
        ctx.arrays, ctx.gate, ctx.layout = arrays, gate, layout
        return out

    @staticmethod
    def backward(ctx: Any, g_out: Tensor) -> tuple[Tensor | None, ...]:
        gate, layout, (features, weights, *_) = ctx.gate, ctx.layout, ctx.arrays
        g_features = torch.empty_like(features)
        g_rows = g_out.new_empty(layout.rows, 2 * g_out.shape[1])
        g_weights = g_out.new_empty(layout.rows if len(weights) else 0, g_out.shape[1])
        _backward(
            *ctx.arguments, gate.own_back.numpy(), gate.back.numpy(), g_out.contiguous().numpy(),
            g_features.view(-1).numpy(), g_weights.numpy(), g_rows.numpy(),
        )  # fmt: skip
        ctx.arguments = None
        sums = [places.sum(g_rows) for places in layout.sources]
        if layout.weights is not None:
            g_weights = layout.weights.sum(g_weights)
        return g_features if len(features) else None, g_weights if len(weights) else None, None, None, *sums


@njit(fastmath=FAST)
def _first(first, count, features, own, a, i, b, j, c, k, z, scratch):
    """z of the rows from `first` on."""
    width = a.shape[1]
    if len(own):
        depth = len(own) // width
        # products go by fours of rows, and must not read beyond the last
        scratch[: count * depth] = features[first * depth : (first + count) * depth]
        tiles.product(scratch, 0, depth, own, 0, depth, width, -1, z, 0, width, count)
    else:
        z[: count * width] = 0
    for row in range(count):
        to, from_a, from_b = z[row * width : (row + 1) * width], a[i[first + row]], b[j[first + row]]
        if len(c):
            from_c = c[k[first + row]]
            for u in range(width):
                to[u] += from_a[u] + from_b[u] + from_c[u]
        else:
            for u in range(width):
                to[u] += from_a[u] + from_b[u]


@njit(fastmath=FAST)
def _layers(count, width, layers, number, zs, h):
    """z' of each layer after the first, one after the other in `zs`; returns where the last begins."""
    units, size = width // 2, TILE * width
    at = 0
    for layer in range(number):
        tiles.silu(zs[layer * size : layer * size + count * width], h[: count * width])
        for half in range(2):
            out = (layer + 1) * size + half * units
            weights_end = at + units * units
            tiles.product(h, half * units, width, layers, at, units, units, weights_end, zs, out, width, count)
            at = weights_end + units
    return number * size


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(features, w, a, b, c, i, j, k, iw, group, own, layers, number, norms, epsilon, parts, out):
    width = a.shape[1]
    units = width // 2
    for part in prange(len(parts) - 1):
        zs, h = np.zeros((number + 1) * TILE * width, a.dtype), np.zeros(TILE * width, a.dtype)
        y = np.empty(units, a.dtype)
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            _first(first, count, features, own, a, i, b, j, c, k, zs, h)
            last = _layers(count, width, layers, number, zs, h)
            for row in range(count):
                at = last + row * width
                tiles.gate(zs[at : at + units], zs[at + units : at + width], norms, epsilon, y)
                if len(w):
                    weights = w[iw[first + row] if len(iw) else first + row]
                    for u in range(units):
                        y[u] *= weights[u]
                if len(group):
                    to = out[group[first + row]]
                    for u in range(units):
                        to[u] += y[u]
                else:
                    out[first + row] = y


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(
    features, w, a, b, c, i, j, k, iw, group, own, layers, number, norms, epsilon, parts,
    own_back, back, g_out, g_features, g_w, g_rows,
):  # fmt: skip
    width = a.shape[1]
    units = width // 2
    for part in prange(len(parts) - 1):
        zs, h = np.zeros((number + 1) * TILE * width, a.dtype), np.zeros(TILE * width, a.dtype)
        g, y, g_y = np.zeros(TILE * width, a.dtype), np.empty(units, a.dtype), np.empty(units, a.dtype)
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            _first(first, count, features, own, a, i, b, j, c, k, zs, h)
            last = _layers(count, width, layers, number, zs, h)
            for row in range(count):
                at, to = last + row * width, row * width
                value, other = zs[at : at + units], zs[at + units : at + width]
                g_y[:] = g_out[group[first + row] if len(group) else first + row]
                if len(w):
                    tiles.gate(value, other, norms, epsilon, y)
                    weights, to_weights = w[iw[first + row] if len(iw) else first + row], g_w[first + row]
                    for u in range(units):
                        to_weights[u] = y[u] * g_y[u]
                        g_y[u] *= weights[u]
                to_value, to_other = g[to : to + units], g[to + units : to + width]
                tiles.gate_backward(value, other, norms, epsilon, g_y, to_value, to_other)
            _layers_backward(count, width, back, number, zs, h, g)
            for row in range(count):
                g_rows[first + row] = g[row * width : (row + 1) * width]
            if len(own):
                depth = len(own) // width
                _to_features(g, width, own_back, depth, g_features, first, count, h)


@njit(fastmath=FAST)
def _layers_backward(count, width, back, number, zs, h, g):
    """g <- the gradient of z, from that of the last z'."""
    units, size = width // 2, TILE * width
    for layer in range(number - 1, -1, -1):
        for half in range(2):
            at = (2 * layer + half) * units * units
            tiles.product(g, half * units, width, back, at, units, units, -1, h, half * units, width, count)
        tiles.silu_backward(zs[layer * size : layer * size + count * width], h[: count * width], g[: count * width])


@njit(fastmath=FAST)
def _to_features(g, width, own_back, depth, g_features, first, count, scratch):
    """The gradient of the rows' own features; whole fours of rows go through `scratch`, so as not to write too far."""
    tiles.product(g, 0, width, own_back, 0, width, depth, -1, scratch, 0, depth, count)
    g_features[first * depth : (first + count) * depth] = scratch[: count * depth]
