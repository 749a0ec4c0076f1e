"""Fast form of gated perceptrons on gathered rows, as messages and updates are, with their derivative by hand.

For rows r (edges or angles) that draw on sources x_k at index_k(r), and may have features d_r of their own,

    z_r = W_d d_r + Σ_k x_k[index_k(r)]                        x_k, z: [·, 2u], value and gate side by side
    z'  = L silu(z)                                            L: a layer each for value and gate; none, one or more;
                                                               the last may have another width, v, than u
    y_r = silu(a_r) ⊙ σ(b_r) ⊙ w_r                             (a | b) = z', each half after its layer norm, if any
    w_r = f[index_f(r)], or W_f f[index_f(r)]                  may be absent
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
from torch import Tensor, nn

from gnnpot.models.fast import kernels, tiles
from gnnpot.models.fast.kernels import FAST, sigmoid
from gnnpot.models.fast.lane_math import silu_slope
from gnnpot.models.fast.lanes import LANES, load, store
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
    #: where the f of the rows' weights are; `None`: each row has its own, if any
    weights: Places | None = None
    #: [M] the group of each row, in order; `None`: rows are not summed
    group: np.ndarray | None = None
    groups: int = 0

    def parts(self) -> np.ndarray:
        """Where rows are shared out to threads; no group is torn apart."""
        count = min(4 * torch.get_num_threads(), 1 + self.rows // TILE)
        bounds = np.arange(count + 1) * self.rows // count
        if self.group is not None:
            bounds[1:-1] = np.searchsorted(self.group, self.group[bounds[1:-1]])
        return bounds

    def indices(self) -> tuple[np.ndarray, ...]:
        """Of the sources, the weights and the groups, for the kernels."""
        sources = [p.index for p in self.sources] + [_NOWHERE] * (3 - len(self.sources))
        weights = _NOWHERE if self.weights is None else self.weights.index
        return *sources, weights, _NOWHERE if self.group is None else self.group


class Scratch:
    """Memory for the gradients of rows, which is used again: fresh pages cost the system as much as what is written."""

    def __init__(self) -> None:
        self._arrays: dict[str, Tensor] = {}

    def __deepcopy__(self, memo: dict) -> "Scratch":
        return Scratch()

    def array(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """[rows, columns] with anything in it; what was handed out under this name before is overwritten."""
        kept = self._arrays.get(name)
        if kept is None or len(kept) < rows * columns or kept.dtype != like.dtype:
            kept = self._arrays[name] = like.new_empty(rows * columns)
        return kept[: rows * columns].view(rows, columns)


class Gate:
    """The numbers of a `GatedMLP` on gathered rows, laid out for the kernels.

    All gates of a model share `scratch`. `own` [2u, K] are the columns of its first layer that belong to d.
    `mix` is W_f [v, F].
    """

    def __init__(
        self, mlp: GatedMLP, scratch: Scratch, own: Tensor | None = None, mix: Tensor | None = None
    ) -> None:
        first, self.scratch = mlp.first.linear.bias, scratch
        pairs = [pair for layer in zip(mlp.layers, mlp.gates, strict=True) for pair in layer]
        forward = [m for layer in pairs for m in (layer.weight.T.flatten(), layer.bias)]
        backward = [layer.weight.detach().flatten() for layer in pairs]
        self.own, self.own_back = _both_ways(own, first)
        self.mix, self.mix_back = _both_ways(mix, first)
        self.layers, self.back = (torch.cat(ts) if pairs else first.new_empty(0) for ts in (forward, backward))
        self.count = len(pairs) // 2
        self.outs = pairs[-1].out_features if pairs else len(first) // 2  #: v
        norms = () if mlp.norms is None else mlp.norms
        #: [scale or shift, value or gate, u]; without norms, of length 0
        self.norms = (
            torch.stack([getattr(n, p) for p in ("weight", "bias") for n in norms]).view(2, 2, -1)
            if norms
            else first.new_empty(0, 2, 0)
        )
        self.epsilon = norms[0].eps if norms else 0.0
        own, mix, layers, norms = (p.detach().numpy() for p in self.parameters())
        self._arguments = own, mix, layers, self.count, norms, self.epsilon
        self._back_arguments = self.own_back.numpy(), self.mix_back.numpy(), self.back.numpy()

    def parameters(self) -> tuple[Tensor, ...]:
        """Differentiable if those of the perceptron are."""
        return self.own, self.mix, self.layers, self.norms

    def arguments(self) -> tuple[Any, ...]:
        """For the kernels."""
        return self._arguments

    def back_arguments(self) -> tuple[Any, ...]:
        """For the kernels of the backward pass, beside `arguments`."""
        return self._back_arguments


def _both_ways(weight: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """A weight [out, in], flat, for products [·, in] -> [·, out] and, padded to whole lanes, for their derivative."""
    if weight is None:
        return like.new_empty(0), like.new_empty(0)
    return weight.T.flatten(), nn.functional.pad(weight.detach(), (0, -weight.shape[1] % LANES)).flatten()


class GatheredGate(torch.autograd.Function):
    """The equations above; its derivative can't be taken twice, and there is none with respect to parameters.

    Inputs: d [M, K] or `None`, f [·, F] or `None`, two or three sources [·, 2u].
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor | None, weights: Tensor | None, gate: Gate, layout: Layout, *sources: Tensor
    ) -> Tensor:
        like = sources[0]
        arrays = [like.new_empty(0, 0) if t is None else t.detach().contiguous() for t in (features, weights)]
        arrays += [s.detach().contiguous() for s in sources] + [like.new_empty(0, 0)] * (3 - len(sources))
        grouped = layout.group is not None
        out = like.new_zeros(layout.groups, gate.outs) if grouped else like.new_empty(layout.rows, gate.outs)
        ctx.arguments = (
            *(a.numpy() for a in arrays), *layout.indices(), *gate.arguments(), layout.parts(),
        )  # fmt: skip
        _forward(*ctx.arguments, out.numpy())
        ctx.arrays, ctx.gate, ctx.layout = arrays, gate, layout
        return out

    @staticmethod
    def backward(ctx: Any, g_out: Tensor) -> tuple[Tensor | None, ...]:
        gate, layout, (features, weights, source, *_) = ctx.gate, ctx.layout, ctx.arrays
        g_features = torch.empty_like(features)
        array, rows = gate.scratch.array, layout.rows
        g_rows = array("rows", rows, source.shape[1], g_out)
        g_weights = array("weights", rows if len(weights) else 0, weights.shape[1], g_out)
        _backward(
            *ctx.arguments, *gate.back_arguments(),
            g_out.contiguous().numpy(), g_features.numpy(), g_weights.numpy(), g_rows.numpy(),
        )  # fmt: skip
        ctx.arguments = None
        sums = [places.sum(g_rows) for places in layout.sources]
        g_weights = g_weights.clone() if layout.weights is None else layout.weights.sum(g_weights)
        return g_features if len(features) else None, g_weights if len(weights) else None, None, None, *sums


@njit(fastmath=FAST, forceinline=True)
def first_layer(t, first, count, features, own, a, i, b, j, c, k, zs, at_z, scratch):
    """z of the rows from `first` on, to `at_z` in zs; of arrays [2, rows, …], those in row t."""
    width, size = zs.shape[-1], a.shape[-2] * a.shape[-1]
    if len(own):
        rows, depth = features.shape[-2], features.shape[-1]
        # products go by fours of rows, and must not read beyond the last
        for at in range(0, count * depth, LANES):
            store(scratch, at, load(features, (t * rows + first) * depth + at))
        tiles.product(scratch, 0, depth, own, 0, depth, width, -1, zs, at_z, width, count)
    for row in range(count):
        at, at_a = at_z + row * width, t * size + i[first + row] * width
        at_b = t * b.shape[-2] * width + j[first + row] * width
        at_c = t * c.shape[-2] * width + k[first + row] * width if len(c) else 0
        for u in range(0, width, LANES):
            z = load(a, at_a + u) + load(b, at_b + u)
            if len(c):
                z = z + load(c, at_c + u)
            if len(own):
                z = z + load(zs, at + u)
            store(zs, at + u, z)


@njit(fastmath=FAST, forceinline=True)
def _layers(count, layers, number, outs, zs, h):
    """z' of each layer after the first, `TILE` rows after the one before in `zs`; the last has `outs` columns."""
    width = zs.shape[1]
    units, at = width // 2, 0
    for layer in range(number):
        columns = outs if layer == number - 1 else units
        tiles.silu(zs, layer * TILE * width, count * width, h)
        for half in range(2):
            out, bias = (layer + 1) * TILE * width + half * units, at + units * columns
            tiles.product(h, half * units, width, layers, at, units, columns, bias, zs, out, width, count)
            at = bias + columns


@njit(fastmath=FAST, forceinline=True)
def row_weights(t, first, count, f, index, mix, ws, at_w, scratch):
    """w of the rows from `first` on, to `at_w` in ws, if there are any; of arrays [2, rows, F], those in row t."""
    outs, depth = ws.shape[-1], f.shape[-1]
    for row in range(count):
        at = (t * f.shape[-2] + (index[first + row] if len(index) else first + row)) * depth
        if len(mix):
            for u in range(depth):
                scratch[row, u] = f.flat[at + u]
        else:
            for u in range(0, outs, LANES):
                store(ws, at_w + row * outs + u, load(f, at + u))
    if len(mix):
        tiles.product(scratch, 0, scratch.shape[1], mix, 0, depth, outs, -1, ws, at_w, outs, count)


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(features, f, a, b, c, i, j, k, index, group, own, mix, layers, number, norms, epsilon, parts, out):
    width = a.shape[1]
    units, last, outs = width // 2, number * TILE * width, out.shape[1]
    for part in prange(len(parts) - 1):
        zs, h = np.zeros(((number + 1) * TILE, width), a.dtype), np.zeros((TILE, width), a.dtype)
        ws = np.ones((TILE, outs), a.dtype)
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            first_layer(0, first, count, features, own, a, i, b, j, c, k, zs, 0, h)
            _layers(count, layers, number, outs, zs, h)
            if len(f):
                row_weights(0, first, count, f, index, mix, ws, 0, h)
            for row in range(count):
                at = last + row * width
                m, s, n, t = tiles.norms_of_halves(zs, at, units, norms, epsilon)
                to = (group[first + row] if len(group) else first + row) * outs
                for u in range(0, outs, LANES):
                    value, other = tiles.halves(zs, at, units, u, norms, m, s, n, t)
                    y = value * sigmoid(value) * sigmoid(other) * load(ws, row * outs + u)
                    if len(group):
                        y = y + load(out, to + u)
                    store(out, to + u, y)


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(
    features, f, a, b, c, i, j, k, index, group, own, mix, layers, number, norms, epsilon, parts,
    own_back, mix_back, back, g_out, g_features, g_f, g_rows,
):  # fmt: skip
    width = a.shape[1]
    units, last, outs = width // 2, number * TILE * width, g_out.shape[1]
    for part in prange(len(parts) - 1):
        zs, h = np.zeros(((number + 1) * TILE, width), a.dtype), np.zeros((TILE, width), a.dtype)
        g, ws, g_w = np.zeros((TILE, width), a.dtype), np.ones((TILE, outs), a.dtype), np.zeros((TILE, outs), a.dtype)
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            first_layer(0, first, count, features, own, a, i, b, j, c, k, zs, 0, h)
            _layers(count, layers, number, outs, zs, h)
            if len(f):
                row_weights(0, first, count, f, index, mix, ws, 0, h)
            for row in range(count):
                at, to, at_w = last + row * width, row * width, row * outs
                m, s, n, t = tiles.norms_of_halves(zs, at, units, norms, epsilon)
                of = (group[first + row] if len(group) else first + row) * outs
                for u in range(0, outs, LANES):
                    value, other = tiles.halves(zs, at, units, u, norms, m, s, n, t)
                    p, q, g_y = sigmoid(value), sigmoid(other), load(g_out, of + u)
                    y = value * p
                    store(g_w, at_w + u, y * q * g_y)
                    g_y = g_y * load(ws, at_w + u)
                    store(g, to + u, g_y * silu_slope(value, p) * q)
                    store(g, to + units + u, g_y * y * q * (1 - q))
                tiles.halves_backward(zs, at, units, norms, m, s, n, t, g, to)
            if len(f):
                _weights_backward(first, count, g_w, mix_back, g_f, h)
            _layers_backward(count, back, number, outs, zs, h, g)
            for at in range(0, count * width, LANES):
                store(g_rows, first * width + at, load(g, at))
            if len(own):
                _to_features(g, own_back, g_features, first, count, h)


@njit(fastmath=FAST, forceinline=True)
def _weights_backward(first, count, g_w, mix_back, g_f, scratch):
    """The gradient of each row's f from that of w."""
    outs, depth = g_w.shape[1], g_f.shape[1]
    if len(mix_back):
        padded = len(mix_back) // outs
        tiles.product(g_w, 0, outs, mix_back, 0, outs, padded, -1, scratch, 0, scratch.shape[1], count)
        for row in range(count):
            for u in range(depth):
                g_f[first + row, u] = scratch[row, u]
    else:
        for at in range(0, count * outs, LANES):
            store(g_f, first * outs + at, load(g_w, at))


@njit(fastmath=FAST, forceinline=True)
def _layers_backward(count, back, number, outs, zs, h, g):
    """g <- the gradient of z, from that of the last z'."""
    width = zs.shape[1]
    units = width // 2
    for layer in range(number - 1, -1, -1):
        depth = outs if layer == number - 1 else units
        for half in range(2):
            at = (2 * layer * units + half * depth) * units
            tiles.product(g, half * units, width, back, at, depth, units, -1, h, half * units, width, count)
        tiles.silu_backward(zs, layer * TILE * width, count * width, h, g)


@njit(fastmath=FAST, forceinline=True)
def _to_features(g, own_back, g_features, first, count, scratch):
    """The gradient of the rows' own features; whole fours of rows go through `scratch`, so as not to write too far."""
    width, depth = g.shape[1], g_features.shape[1]
    tiles.product(g, 0, width, own_back, 0, width, depth, -1, scratch, 0, depth, count)
    for at in range(0, count * depth, LANES):
        store(g_features, first * depth + at, load(scratch, at))
