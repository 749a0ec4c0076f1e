"""The tensor product's paths from scalars and to scalars: equations (6) and (7) of `edges.py`, forward and backward.

For such a path, the sums over the edges of an atom, or over the channels of an edge, are as few as a harmonic has
components. They stay in registers: each kernel is compiled for 1, 3, 5 and 7 components. Paths with more of them go the
way of all others (`is_scalar`).
"""

from collections.abc import Callable
from typing import Any

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_rows import (
    add_multiple,
    add_outer,
    add_rows,
    add_totals,
    contracted,
    load_rows,
    zero_rows,
)
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, broadcast_at, fma, load, mul, store, total
from gnnpot.ops.tensor_product.layout import COUPLING, FEATURE, FEATURE_SIZE, HARMONIC, N1, N3, OUT_ROW, WEIGHT, WIDTH
from gnnpot.ops.tensor_product.table import slope_at, weight_at


@njit(fastmath=FAST, forceinline=True)
def is_scalar(paths, p):
    """Whether path p is for these kernels."""
    return min(paths[p, N1], paths[p, N3]) == 1 and max(paths[p, N1], paths[p, N3]) <= 7


def _of_size(make: Callable[[int], Any]) -> tuple[Any, Any, Any, Any]:
    """A kernel for harmonics of l = 0, 1, 2, 3."""
    one, three, five, seven = (njit(make(2 * l + 1), fastmath=FAST, forceinline=True) for l in range(4))
    return one, three, five, seven


def _from_scalars(n):
    def add(given, i, p, out, at):
        plan, _, edges, x, near = given
        paths, first, columns = plan.paths, edges.starts[i], edges.harmonics.shape[1]
        feature = paths[p, FEATURE] * (len(edges.starts) - 1)
        for b in range(0, paths[p, WIDTH], SIMD_WIDTH):
            sums = zero_rows(x, n)
            for k in range(edges.starts[i + 1] - first):
                e = first + k
                weight = weight_at(plan.table, near, k, paths[p, WEIGHT] + b)
                sent = mul(weight, load(x, feature + edges.neighbor[e] * paths[p, FEATURE_SIZE] + b))
                sums = add_outer(edges.harmonics, e * columns + paths[p, HARMONIC], sent, sums)
            add_rows(out, at + b, paths[p, OUT_ROW], sums)

    return add


def _to_scalars(n):
    def add(given, i, p, out, at):
        plan, constants, edges, x, near = given
        paths, first, columns = plan.paths, edges.starts[i], edges.harmonics.shape[1]
        feature, constant = paths[p, FEATURE] * (len(edges.starts) - 1), broadcast_at(constants.all, paths[p, COUPLING])
        for b in range(0, paths[p, WIDTH], SIMD_WIDTH):
            received = broadcast(x, 0.0)
            for k in range(edges.starts[i + 1] - first):
                e = first + k
                place = feature + edges.neighbor[e] * paths[p, FEATURE_SIZE] + b
                rows = load_rows(x, place, paths[p, WIDTH], n)
                along = contracted(edges.harmonics, e * columns + paths[p, HARMONIC], rows)
                received = fma(weight_at(plan.table, near, k, paths[p, WEIGHT] + b), along, received)
            store(out, at + b, fma(constant, received, load(out, at + b)))

    return add


def _from_scalars_backward(n):
    def add(given, i, p, g, at, results):
        plan, _, edges, x, near = given
        to_x, to_harmonics, to_distances = results
        paths, first, columns = plan.paths, edges.starts[i], edges.harmonics.shape[1]
        feature = paths[p, FEATURE] * (len(edges.starts) - 1)
        for k in range(edges.starts[i + 1] - first):
            e = first + k
            harmonic = e * columns + paths[p, HARMONIC]
            sums, slope = zero_rows(x, n), broadcast(x, 0.0)
            for b in range(0, paths[p, WIDTH], SIMD_WIDTH):
                place = feature + edges.neighbor[e] * paths[p, FEATURE_SIZE] + b
                column = paths[p, WEIGHT] + b
                weight, steepness = weight_at(plan.table, near, k, column), slope_at(plan.table, near, k, column)
                rows, sent = load_rows(g, at + b, paths[p, OUT_ROW], n), load(x, place)
                along = contracted(edges.harmonics, harmonic, rows)
                sums = add_multiple(mul(weight, sent), rows, sums)
                slope = fma(steepness, mul(along, sent), slope)
                if len(to_x):
                    store(to_x, place, fma(weight, along, load(to_x, place)))
            add_totals(to_harmonics, harmonic, sums)
            to_distances[e] += total(slope) * plan.per_step

    return add


def _to_scalars_backward(n):
    def add(given, i, p, g, at, results):
        plan, constants, edges, x, near = given
        to_x, to_harmonics, to_distances = results
        paths, first, columns = plan.paths, edges.starts[i], edges.harmonics.shape[1]
        feature, constant = paths[p, FEATURE] * (len(edges.starts) - 1), broadcast_at(constants.all, paths[p, COUPLING])
        for k in range(edges.starts[i + 1] - first):
            e = first + k
            harmonic = e * columns + paths[p, HARMONIC]
            sums, slope = zero_rows(x, n), broadcast(x, 0.0)
            for b in range(0, paths[p, WIDTH], SIMD_WIDTH):
                place = feature + edges.neighbor[e] * paths[p, FEATURE_SIZE] + b
                column = paths[p, WEIGHT] + b
                weight, steepness = weight_at(plan.table, near, k, column), slope_at(plan.table, near, k, column)
                rows, gradient = load_rows(x, place, paths[p, WIDTH], n), mul(constant, load(g, at + b))
                weighted = mul(weight, gradient)
                sums = add_multiple(weighted, rows, sums)
                slope = fma(steepness, mul(gradient, contracted(edges.harmonics, harmonic, rows)), slope)
                if len(to_x):
                    turned = add_outer(edges.harmonics, harmonic, weighted, zero_rows(x, n))
                    add_rows(to_x, place, paths[p, WIDTH], turned)
            add_totals(to_harmonics, harmonic, sums)
            to_distances[e] += total(slope) * plan.per_step

    return add


_from_1, _from_3, _from_5, _from_7 = _of_size(_from_scalars)
_, _to_3, _to_5, _to_7 = _of_size(_to_scalars)
_from_1_backward, _from_3_backward, _from_5_backward, _from_7_backward = _of_size(_from_scalars_backward)
_, _to_3_backward, _to_5_backward, _to_7_backward = _of_size(_to_scalars_backward)


@njit(fastmath=FAST, forceinline=True)
def from_scalars(given, i, p, out, at):
    """Equation (6): adds the messages of path p to atom i, at `at` in `out`.

    `given`: the layer's plan, coupling constants, edges, features x, and the places of the atom's edges in the table.
    """
    n = given[0].paths[p, N3]
    if n == 1:
        _from_1(given, i, p, out, at)
    elif n == 3:
        _from_3(given, i, p, out, at)
    elif n == 5:
        _from_5(given, i, p, out, at)
    else:
        _from_7(given, i, p, out, at)


@njit(fastmath=FAST, forceinline=True)
def to_scalars(given, i, p, out, at):
    """Equation (7) likewise."""
    n = given[0].paths[p, N1]
    if n == 3:
        _to_3(given, i, p, out, at)
    elif n == 5:
        _to_5(given, i, p, out, at)
    else:
        _to_7(given, i, p, out, at)


@njit(fastmath=FAST, forceinline=True)
def from_scalars_backward(given, i, p, g, at, results):
    """Equations (3), (4) and (6), from the gradient of messages, at `at` in g.

    Adds to `results`: the gradients of features (unless it is empty), harmonics and distances.
    """
    n = given[0].paths[p, N3]
    if n == 1:
        _from_1_backward(given, i, p, g, at, results)
    elif n == 3:
        _from_3_backward(given, i, p, g, at, results)
    elif n == 5:
        _from_5_backward(given, i, p, g, at, results)
    else:
        _from_7_backward(given, i, p, g, at, results)


@njit(fastmath=FAST, forceinline=True)
def to_scalars_backward(given, i, p, g, at, results):
    """Equations (3), (4) and (7) likewise."""
    n = given[0].paths[p, N1]
    if n == 3:
        _to_3_backward(given, i, p, g, at, results)
    elif n == 5:
        _to_5_backward(given, i, p, g, at, results)
    else:
        _to_7_backward(given, i, p, g, at, results)
