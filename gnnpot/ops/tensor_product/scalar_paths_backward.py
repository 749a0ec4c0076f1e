"""Backward through the tensor product's paths of `scalar_paths.py`: equations (3), (4) and (6) to (8) of `edges.py`.

Sums over the channels of an edge stay in registers. In a first or a last layer, which has no other paths, so do those
over paths (`layer_backward`).
"""

from typing import NamedTuple

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_rows import (
    add_multiple,
    add_outer,
    add_rows,
    contracted,
    dotted,
    load_rows,
    totals,
    zero_rows,
)
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, broadcast_at, fma, load, mul, store
from gnnpot.ops.tensor_product.layout import (
    COUPLING,
    FEATURE,
    FEATURE_SIZE,
    HARMONIC,
    N1,
    N2,
    N3,
    OUT_ROW,
    WEIGHT,
    WIDTH,
)
from gnnpot.ops.tensor_product.scalar_paths import is_scalar, message_at, of_size
from gnnpot.ops.tensor_product.table import place_of, slope_at, weight_at


class ScalarPath(NamedTuple):
    """A row of the table of paths, read before a loop: no compiler can know that the loop does not write to it."""

    harmonic: int  #: the first
    weight: int  #: the first
    feature: int  #: where those of l1 begin
    feature_size: int
    width: int
    coupling: int  #: the first constant
    message: int  #: where those of the atom begin
    row: int  #: of messages


@njit(fastmath=FAST, forceinline=True)
def read_path(paths, p, atoms, target, targets):
    """Path p, for messages of atom `target` of `targets`."""
    message = message_at(paths, p, target, targets)
    return ScalarPath(
        paths[p, HARMONIC], paths[p, WEIGHT], paths[p, FEATURE] * atoms, paths[p, FEATURE_SIZE], paths[p, WIDTH],
        paths[p, COUPLING], message, paths[p, OUT_ROW],
    )  # fmt: skip


def _from_scalars_backward(n):
    def add(given, e, place, path, g, to_x, slope):
        plan, _, edges, x = given
        harmonic = e * edges.harmonics.shape[1] + path.harmonic
        feature, on_harmonics = path.feature + edges.neighbor[e] * path.feature_size, zero_rows(x, n)
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, steepness = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows, sent = load_rows(g, path.message + b, path.row, n), load(x, feature + b)
            along = contracted(edges.harmonics, harmonic, rows)
            on_harmonics = add_multiple(mul(weight, sent), rows, on_harmonics)
            slope = fma(steepness, mul(along, sent), slope)
            if len(to_x):
                store(to_x, feature + b, fma(weight, along, load(to_x, feature + b)))
        return slope, on_harmonics

    return add


def _to_scalars_backward(n):
    def add(given, e, place, path, g, to_x, slope):
        plan, constants, edges, x = given
        harmonic, constant = e * edges.harmonics.shape[1] + path.harmonic, broadcast_at(constants.all, path.coupling)
        feature, on_harmonics = path.feature + edges.neighbor[e] * path.feature_size, zero_rows(x, n)
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, steepness = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows, gradient = load_rows(x, feature + b, path.width, n), mul(constant, load(g, path.message + b))
            weighted = mul(weight, gradient)
            on_harmonics = add_multiple(weighted, rows, on_harmonics)
            slope = fma(steepness, mul(gradient, contracted(edges.harmonics, harmonic, rows)), slope)
            if len(to_x):
                turned = add_outer(edges.harmonics, harmonic, weighted, zero_rows(x, n))
                add_rows(to_x, feature + b, path.width, turned)
        return slope, on_harmonics

    return add


def _unrotated_backward(n):
    def add(given, e, place, path, g, to_x, slope):
        plan, _, edges, x = given
        feature = path.feature + edges.neighbor[e] * path.feature_size
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, steepness = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows = load_rows(g, path.message + b, path.row, n)
            slope = fma(steepness, dotted(rows, load_rows(x, feature + b, path.width, n)), slope)
            if len(to_x):
                add_rows(to_x, feature + b, path.width, add_multiple(weight, rows, zero_rows(x, n)))
        return slope

    return add


_same_1, _same_3, _same_5, _same_7 = of_size(_unrotated_backward)
_, *_from_scalars = of_size(_from_scalars_backward)
_, *_to_scalars = of_size(_to_scalars_backward)
(_from_3, _from_5, _from_7), (_to_3, _to_5, _to_7) = _from_scalars, _to_scalars


@njit(fastmath=FAST, forceinline=True)
def path_backward(given, e, place, p, target, targets, g, to_x, sums):
    """One edge, at `place` of the table, and path p, which `is_scalar`, from the gradient g of messages.

    Adds to the gradients of features (unless `to_x` is empty) and to `sums` [columns, SIMD_WIDTH]: vectors of the slope
    in the first row, and of the gradients of the harmonics. `given`: the layer's plan, coupling constants, edges, and
    features x.
    """
    plan, _, edges, _ = given
    paths, slope = plan.paths, load(sums, 0)
    path = read_path(paths, p, len(edges.starts) - 1, target, targets)
    n, harmonic = max(paths[p, N1], paths[p, N3]), path.harmonic * SIMD_WIDTH
    if paths[p, N2] == 1:
        if n == 1:
            slope = _same_1(given, e, place, path, g, to_x, slope)
        elif n == 3:
            slope = _same_3(given, e, place, path, g, to_x, slope)
        elif n == 5:
            slope = _same_5(given, e, place, path, g, to_x, slope)
        else:
            slope = _same_7(given, e, place, path, g, to_x, slope)
    elif paths[p, N1] == 1:
        if n == 3:
            slope, three = _from_3(given, e, place, path, g, to_x, slope)
            add_rows(sums, harmonic, SIMD_WIDTH, three)
        elif n == 5:
            slope, five = _from_5(given, e, place, path, g, to_x, slope)
            add_rows(sums, harmonic, SIMD_WIDTH, five)
        else:
            slope, seven = _from_7(given, e, place, path, g, to_x, slope)
            add_rows(sums, harmonic, SIMD_WIDTH, seven)
    elif n == 3:
        slope, three = _to_3(given, e, place, path, g, to_x, slope)
        add_rows(sums, harmonic, SIMD_WIDTH, three)
    elif n == 5:
        slope, five = _to_5(given, e, place, path, g, to_x, slope)
        add_rows(sums, harmonic, SIMD_WIDTH, five)
    else:
        slope, seven = _to_7(given, e, place, path, g, to_x, slope)
        add_rows(sums, harmonic, SIMD_WIDTH, seven)
    store(sums, 0, slope)


def _all_edges(lmax, three, five, seven):
    """A kernel for all edges of atom i, of layers whose paths have each l up to `lmax` once, as harmonics."""

    def add(given, near, i, target, targets, g, to_x, to_edges):
        plan, _, edges, _ = given
        atoms, first, columns = len(edges.starts) - 1, edges.starts[i], to_edges.shape[1]
        path_0 = read_path(plan.paths, 0, atoms, target, targets)
        path_1 = read_path(plan.paths, 1, atoms, target, targets)
        path_2 = read_path(plan.paths, 2, atoms, target, targets)
        path_3 = read_path(plan.paths, lmax, atoms, target, targets)
        for k in range(edges.starts[i + 1] - first):
            e, place = first + k, place_of(near, k)
            slope = _same_1(given, e, place, path_0, g, to_x, broadcast(g, 0.0))
            slope, rows_1 = three(given, e, place, path_1, g, to_x, slope)
            slope, rows_2 = five(given, e, place, path_2, g, to_x, slope)
            rows = rows_1 + rows_2
            if lmax == 3:
                slope, rows_3 = seven(given, e, place, path_3, g, to_x, slope)
                rows = rows + rows_3
            of_distance = (mul(broadcast(g, plan.per_step), slope),)
            store(to_edges, e * columns, totals(of_distance + rows) + load(to_edges, e * columns))

    return njit(add, fastmath=FAST, forceinline=True)


_first_2, _first_3 = _all_edges(2, *_from_scalars), _all_edges(3, *_from_scalars)
_last_2, _last_3 = _all_edges(2, *_to_scalars), _all_edges(3, *_to_scalars)


@njit(fastmath=FAST, forceinline=True)
def lmax_of_layer(paths):
    """The highest l if the paths are those of a first layer, (0, l, l), or of a last one, (l, l, 0), for each l up to 2
    or 3; otherwise 0."""
    lmax = len(paths) - 1
    if lmax != 2 and lmax != 3:
        return 0
    for l in range(lmax + 1):
        size = 2 * l + 1
        if paths[l, N2] != size or not is_scalar(paths, l) or paths[l, N1] != (1 if paths[1, N1] == 1 else size):
            return 0
    return lmax


@njit(fastmath=FAST, forceinline=True)
def layer_backward(given, near, lmax, i, target, targets, g, to_x, to_edges):
    """All paths of such a layer and all edges of atom i, whose places are `near`; adds to `to_x` and `to_edges`."""
    if given[0].paths[1, N1] == 1:
        if lmax == 2:
            _first_2(given, near, i, target, targets, g, to_x, to_edges)
        else:
            _first_3(given, near, i, target, targets, g, to_x, to_edges)
    elif lmax == 2:
        _last_2(given, near, i, target, targets, g, to_x, to_edges)
    else:
        _last_3(given, near, i, target, targets, g, to_x, to_edges)
