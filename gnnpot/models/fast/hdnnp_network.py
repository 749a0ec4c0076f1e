"""Neural networks of atoms, forward and backward: h^l = f(W^l h^(l-1) + b^l), see `models.hdnnp`.

The nodes of a layer are processed as SIMD vectors. Their number is padded to whole vectors, with weights zero.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit
from gnnpot.ops.rows import padded
from gnnpot.ops.simd.kernels import FAST, sigmoid
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast_at, fma, load, store

#: names of the activation functions; kernels use the index
ACTIVATIONS = (
    "tanh", "softplus", "silu", "logistic", "relu", "gaussian", "cos", "reverse_logistic", "exp", "harmonic", "linear",
)  # fmt: skip
#: number of atoms whose networks are evaluated together, fixed by the code of `_multiply`
ATOMS_TOGETHER = 4


class Network(NamedTuple):
    """Networks of S species with L layers."""

    factor: np.ndarray  #: [S, sizes[0]] factor in x = factor G + constant
    constant: np.ndarray  #: [S, sizes[0]] constant in x = factor G + constant
    low: np.ndarray  #: [S, sizes[0]] lower bound of G in the training data
    high: np.ndarray  #: [S, sizes[0]] upper bound of G in the training data
    sizes: np.ndarray  #: [L + 1] padded numbers of nodes: input, output of each layer
    activations: np.ndarray  #: [L] indices in `ACTIVATIONS`
    weights: np.ndarray  #: [S, weights of a species] matrices [before, after] of all layers, flat
    transposed: np.ndarray  #: the same with matrices [after, before]
    biases: np.ndarray  #: [S, sum of sizes[1:]]


def network_of(
    inputs: tuple[Tensor, ...],
    weights: list[Tensor],
    biases: list[Tensor],
    activations: tuple[str, ...],
    dtype: np.dtype,
) -> Network:
    """Convert the networks to the layout of the kernels.

    Args:
        inputs: factor, constant, low and high, [S, D] each.
        weights: [S, before, after] for each layer.
        biases: [S, 1, after] for each layer.
        activations: Activation functions of all layers except the last, which is linear.
        dtype: Precision of weights and biases; `inputs` are kept in float64.
    """
    species = len(weights[0])
    sizes = [padded(weights[0].shape[1]), *(padded(w.shape[2]) for w in weights)]
    matrices = [_padded(w, before, after) for w, before, after in zip(weights, sizes[:-1], sizes[1:], strict=True)]
    flat = [np.concatenate([w.reshape(species, -1) for w in rows], axis=1) for rows in (
        matrices, [np.ascontiguousarray(w.transpose(0, 2, 1)) for w in matrices],
    )]  # fmt: skip
    rows = [_padded(b, 1, after)[:, 0] for b, after in zip(biases, sizes[1:], strict=True)]
    factor, constant, low, high = (_padded(x[:, None], 1, sizes[0])[:, 0] for x in inputs)
    return Network(
        factor=factor,
        constant=constant,
        low=low,
        high=high,
        sizes=np.array(sizes),
        activations=np.array([ACTIVATIONS.index(name) for name in (*activations, "linear")]),
        weights=flat[0].astype(dtype),
        transposed=flat[1].astype(dtype),
        biases=np.concatenate(rows, axis=1).astype(dtype),
    )


def _padded(tensor: Tensor, rows: int, columns: int) -> np.ndarray:
    """Convert a tensor [S, R, C] to float64 [S, rows, columns], padded with zeros."""
    more = (0, columns - tensor.shape[2], 0, rows - tensor.shape[1])
    return np.ascontiguousarray(torch.nn.functional.pad(tensor.detach().double(), more).numpy())


@njit(forceinline=True, error_model="numpy")
def count_outside(net, s, g):
    """Number of symmetry functions `g` of an atom of species s that are outside the range of the training data."""
    count = 0
    for d in range(net.sizes[0]):
        count += int(g[d] < net.low[s, d]) + int(g[d] > net.high[s, d])
    return count


class Nodes(NamedTuple):
    """Temporary arrays of a thread for the networks of `ATOMS_TOGETHER` atoms of one species."""

    atoms: np.ndarray  #: [ATOMS_TOGETHER] indices of the atoms
    values: np.ndarray  #: [ATOMS_TOGETHER * nodes] nodes of all layers
    slopes: np.ndarray  #: [ATOMS_TOGETHER * nodes] f' at the nodes, then dE/dnode


@njit(forceinline=True)
def new_nodes(net, like):
    """Allocate `Nodes` for a network, in the dtype of `like`."""
    size = ATOMS_TOGETHER * net.sizes.sum()
    return Nodes(np.zeros(ATOMS_TOGETHER, np.int64), np.zeros(size, like.dtype), np.zeros(size, like.dtype))


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def energies_and_slopes(net, species, rows, nodes, energies):
    """Set the energies of atoms, and replace their symmetry functions `rows` [atoms, sizes[0]] (float64) by dE/dG."""
    for s in range(len(net.factor)):
        count = 0
        for atom in range(len(species)):
            if species[atom] == s:
                nodes.atoms[count] = atom
                count += 1
                if count == ATOMS_TOGETHER:
                    _evaluate(net, s, count, rows, nodes, energies)
                    count = 0
        if count:
            _evaluate(net, s, count, rows, nodes, energies)


@njit(error_model="numpy", fastmath=FAST)
def _evaluate(net, s, count, rows, nodes, energies):
    """`energies_and_slopes` for the first `count` atoms of `nodes.atoms`, of species s; others are ignored."""
    first, all_nodes, values, slopes = net.sizes[0], net.sizes.sum(), nodes.values, nodes.slopes
    for atom in range(count):
        for d in range(first):
            values[atom * all_nodes + d] = net.factor[s, d] * rows[nodes.atoms[atom], d] + net.constant[s, d]
    offset, weight, bias = 0, 0, 0
    for layer in range(len(net.activations)):
        n, m = net.sizes[layer], net.sizes[layer + 1]
        _multiply((net.weights[s], weight), (values, offset, n), (values, offset + n, m), all_nodes)
        for atom in range(count):
            at = atom * all_nodes + offset + n
            for i in range(0, m, SIMD_WIDTH):
                store(values, at + i, load(values, at + i) + load(net.biases[s], bias + i))
            _activate(net.activations[layer], values, slopes, at, m)
        offset += n
        weight += n * m
        bias += m
    for atom in range(count):
        at = atom * all_nodes + offset
        energies[nodes.atoms[atom]] = values[at]
        # only needed for the padding of the output: in other layers, zero weights make the derivatives zero
        slopes[at + 1 : at + net.sizes[-1]] = 0.0
    for layer in range(len(net.activations) - 1, -1, -1):
        n, m = net.sizes[layer], net.sizes[layer + 1]
        weight -= n * m
        # nodes of the layer before are no longer needed; overwrite them with the derivatives
        _multiply((net.transposed[s], weight), (slopes, offset, m), (values, offset - n, n), all_nodes)
        offset -= n
        if layer:
            for atom in range(count):
                for i in range(atom * all_nodes + offset, atom * all_nodes + offset + n, SIMD_WIDTH):
                    store(slopes, i, load(slopes, i) * load(values, i))
    for atom in range(count):
        for d in range(first):
            rows[nodes.atoms[atom], d] = net.factor[s, d] * values[atom * all_nodes + d]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _multiply(weights, inputs, outputs, stride):
    """y[at_y + o] = Σ_d x[at_x + d] matrix[start + d m + o], o < m, d < n, for `ATOMS_TOGETHER` atoms, `stride` apart.

    With four atoms, weights are read once for all of them, and there are four independent sums.
    """
    (matrix, start), (x, at_x, n), (y, at_y, m) = weights, inputs, outputs
    for o in range(0, m, SIMD_WIDTH):
        a = load(matrix, start + o) * 0.0
        b, c, d = a, a, a
        at = start + o
        for k in range(at_x, at_x + n):
            w = load(matrix, at)
            a = fma(broadcast_at(x, k), w, a)
            b = fma(broadcast_at(x, k + stride), w, b)
            c = fma(broadcast_at(x, k + 2 * stride), w, c)
            d = fma(broadcast_at(x, k + 3 * stride), w, d)
            at += m
        store(y, at_y + o, a)
        store(y, at_y + o + stride, b)
        store(y, at_y + o + 2 * stride, c)
        store(y, at_y + o + 3 * stride, d)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _activate(kind, values, slopes, at, count):
    """Replace values v by f(v), and set slopes to f'(v)."""
    if kind == 0:
        for i in range(at, at + count, SIMD_WIDTH):
            t = sigmoid(load(values, i) * 2.0) * 2.0 - 1.0
            store(values, i, t)
            store(slopes, i, 1.0 - t * t)
    elif kind == 2:
        for i in range(at, at + count, SIMD_WIDTH):
            x = load(values, i)
            s = sigmoid(x)
            store(values, i, x * s)
            store(slopes, i, s + x * s * (1.0 - s))
    elif kind == 10:
        slopes[at : at + count] = 1.0
    else:
        for i in range(at, at + count):
            values[i], slopes[i] = _activated(kind, values[i])


@njit(forceinline=True, error_model="numpy")
def _activated(kind, v):
    """(f(v), f'(v)) of activation functions that are rarely used."""
    if kind == 1:
        # linear beyond 20, as in PyTorch
        return (v, 1.0) if v > 20.0 else (math.log1p(math.exp(v)), 1.0 / (1.0 + math.exp(-v)))
    if kind == 4:
        return (v, 1.0) if v > 0.0 else (0.0, 0.0)
    if kind == 5:
        f = math.exp(-0.5 * v * v)
        return f, -v * f
    if kind == 6:
        return math.cos(v), -math.sin(v)
    if kind == 8:
        return math.exp(-v), -math.exp(-v)
    if kind == 9:
        return v * v, 2.0 * v
    s = 1.0 / (1.0 + math.exp(-v if kind == 3 else v))
    return s, s * (1.0 - s) if kind == 3 else s * (s - 1.0)
