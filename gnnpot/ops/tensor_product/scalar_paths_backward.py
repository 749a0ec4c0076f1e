"""Backward pass of the paths with a scalar (`scalar_paths.py`): equations (3), (4) and (6) to (9) of `edges.py`.

Sums over the channels of an edge stay in registers. In a first or last layer, which has no other paths, sums over the
paths do as well (`first_layer_backward`, `last_layer_backward`).
"""

from typing import Any, NamedTuple

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
    OUT_SIZE,
    SIGN,
    WEIGHT,
    WIDTH,
)
from gnnpot.ops.tensor_product.scalar_paths import message_at, of_size
from gnnpot.ops.tensor_product.table import place_of, slope_at, weight_at


class ScalarPath(NamedTuple):
    """A row of the table of paths, read before the loop over edges.

    The compiler cannot know that the loop does not write to the table. For the edge to neighbour j, the features are at
    `feature` + j `feature_step`, and likewise messages and gradients; a step of 0 means those of the atom itself.
    """

    harmonic: int  #: first harmonic
    weight: int  #: first weight
    width: int  #: number of channels
    constant: Any  #: κ as a SIMD vector
    row: int  #: size of a row of the messages
    feature: int  #: position of the features of the sender
    feature_step: int
    message: int  #: position of the messages of the receiver
    message_step: int
    to: int  #: position of the gradient with respect to the features
    to_step: int


@njit(fastmath=FAST, forceinline=True)
def path_of_receiver(paths, p, constants, atoms, target):
    """Path p for messages from the neighbours to an atom; `target` locates its messages, see `message_at`."""
    feature, size = paths[p, FEATURE] * atoms, paths[p, FEATURE_SIZE]
    constant = broadcast_at(constants.all, paths[p, COUPLING])
    return ScalarPath(
        paths[p, HARMONIC], paths[p, WEIGHT], paths[p, WIDTH], constant, paths[p, OUT_ROW],
        feature, size, message_at(paths, p, target), 0, feature, size,
    )  # fmt: skip


@njit(fastmath=FAST, forceinline=True)
def path_of_sender(paths, p, constants, atoms, i, target):
    """Path p for messages from atom i to its neighbours.

    `target`: (index of the atom in the gradient of the features, number of atoms in it). The harmonics of the reverse
    edge differ by the sign (-1)^l, which is included in κ.
    """
    size, (to, targets) = paths[p, FEATURE_SIZE], target
    constant = broadcast(constants.all, paths[p, SIGN] * constants.all[paths[p, COUPLING]])
    return ScalarPath(
        paths[p, HARMONIC], paths[p, WEIGHT], paths[p, WIDTH], constant, paths[p, OUT_ROW],
        paths[p, FEATURE] * atoms + i * size, 0, message_at(paths, p, (0, atoms)), paths[p, OUT_SIZE],
        paths[p, FEATURE] * targets + to * size, 0,
    )  # fmt: skip


def _from_scalars_backward(n):
    def add(given, e, place, path, g, to_x, slope):
        plan, _, edges, x = given
        harmonic, j = e * edges.harmonics.shape[1] + path.harmonic, edges.neighbor[e]
        feature, message = path.feature + j * path.feature_step, path.message + j * path.message_step
        to, on_harmonics = path.to + j * path.to_step, zero_rows(x, n)
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, steepness = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows, sent = load_rows(g, message + b, path.row, n), load(x, feature + b)
            along = contracted(edges.harmonics, harmonic, rows)
            on_harmonics = add_multiple(mul(weight, sent), rows, on_harmonics)
            slope = fma(steepness, mul(along, sent), slope)
            if len(to_x):
                store(to_x, to + b, fma(weight, along, load(to_x, to + b)))
        return slope, on_harmonics

    return add


def _to_scalars_backward(n):
    def add(given, e, place, path, g, to_x, slope):
        plan, _, edges, x = given
        harmonic, j = e * edges.harmonics.shape[1] + path.harmonic, edges.neighbor[e]
        feature, message = path.feature + j * path.feature_step, path.message + j * path.message_step
        to, on_harmonics = path.to + j * path.to_step, zero_rows(x, n)
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, steepness = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows, gradient = load_rows(x, feature + b, path.width, n), mul(path.constant, load(g, message + b))
            weighted = mul(weight, gradient)
            on_harmonics = add_multiple(weighted, rows, on_harmonics)
            slope = fma(steepness, mul(gradient, contracted(edges.harmonics, harmonic, rows)), slope)
            if len(to_x):
                turned = add_outer(edges.harmonics, harmonic, weighted, zero_rows(x, n))
                add_rows(to_x, to + b, path.width, turned)
        return slope, on_harmonics

    return add


def _unrotated_backward(n):
    def add(given, e, place, path, g, to_x, slope):
        plan, _, edges, x = given
        j = edges.neighbor[e]
        feature, message = path.feature + j * path.feature_step, path.message + j * path.message_step
        to = path.to + j * path.to_step
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, steepness = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows = load_rows(g, message + b, path.row, n)
            slope = fma(steepness, dotted(rows, load_rows(x, feature + b, path.width, n)), slope)
            if len(to_x):
                add_rows(to_x, to + b, path.width, add_multiple(weight, rows, zero_rows(x, n)))
        return slope

    return add


_same_1, _same_3, _same_5, _same_7 = of_size(_unrotated_backward)
_, *_from_scalars = of_size(_from_scalars_backward)
_, *_to_scalars = of_size(_to_scalars_backward)
(_from_3, _from_5, _from_7), (_to_3, _to_5, _to_7) = _from_scalars, _to_scalars


@njit(fastmath=FAST, forceinline=True)
def path_backward(given, e, place, p, target, g, to_x, sums):
    """Backward pass of path p for edge e, from the gradient g with respect to the messages; `is_scalar` must hold.

    Adds to the gradient `to_x` with respect to the features, unless it is empty, and to `sums` [columns, SIMD_WIDTH]:
    the slope along the distance in the first row, and the gradients with respect to the harmonics in the others.

    Args:
        given: Plan of the layer, coupling constants, edges, and features x.
        e: Index of the edge.
        place: Place of the edge in the table, see `place_of`.
        p: Index of the path.
        target: Locates the centre of the edge in `g`, see `message_at`.
        g: Gradient with respect to the messages.
        to_x: Gradient with respect to the features.
        sums: Sums for one edge.
    """
    plan, constants, edges, _ = given
    paths, slope = plan.paths, load(sums, 0)
    path = path_of_receiver(paths, p, constants, len(edges.starts) - 1, target)
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
    """Make a kernel for all edges of atom i, for layers with one path for each l of the harmonics up to `lmax`."""

    def add(given, near, i, paths, g, to_x, to_edges):
        plan, _, edges, _ = given
        first, columns = edges.starts[i], to_edges.shape[1]
        for k in range(edges.starts[i + 1] - first):
            e, place = first + k, place_of(near, k)
            slope = _same_1(given, e, place, paths[0], g, to_x, broadcast(g, 0.0))
            slope, rows_1 = three(given, e, place, paths[1], g, to_x, slope)
            slope, rows_2 = five(given, e, place, paths[2], g, to_x, slope)
            rows = rows_1 + rows_2
            if lmax == 3:
                slope, rows_3 = seven(given, e, place, paths[3], g, to_x, slope)
                rows = rows + rows_3
            of_distance = (mul(broadcast(g, plan.per_step), slope),)
            store(to_edges, e * columns, totals(of_distance + rows) + load(to_edges, e * columns))

    return njit(add, fastmath=FAST, forceinline=True)


_first_2, _first_3 = _all_edges(2, *_from_scalars), _all_edges(3, *_from_scalars)
_last_2, _last_3 = _all_edges(2, *_to_scalars), _all_edges(3, *_to_scalars)


@njit(fastmath=FAST, forceinline=True)
def lmax_of_first_layer(paths):
    """Highest l of a first layer, with paths (0, l, l) for each l up to 2 or 3; 0 for any other layer."""
    return _lmax(paths, N1)


@njit(fastmath=FAST, forceinline=True)
def lmax_of_last_layer(paths):
    """Highest l of a last layer, with paths (l, l, 0) for each l up to 2 or 3; 0 for any other layer."""
    return _lmax(paths, N3)


@njit(fastmath=FAST, forceinline=True)
def _lmax(paths, scalar):
    lmax = len(paths) - 1
    if lmax != 2 and lmax != 3:
        return 0
    for l in range(lmax + 1):
        if paths[l, N2] != 2 * l + 1 or paths[l, scalar] != 1:
            return 0
    return lmax


@njit(fastmath=FAST, forceinline=True)
def first_layer_backward(given, near, lmax, i, target, g, to_x, to_edges):
    """Backward pass of all paths of a first layer for all edges of atom i; adds to `to_x` and `to_edges`.

    `near` are the `Places` of the edges; other arguments as in `path_backward`.
    """
    plan, constants, edges, _ = given
    atoms = len(edges.starts) - 1
    paths = (
        path_of_receiver(plan.paths, 0, constants, atoms, target),
        path_of_receiver(plan.paths, 1, constants, atoms, target),
        path_of_receiver(plan.paths, 2, constants, atoms, target),
        path_of_receiver(plan.paths, lmax, constants, atoms, target),
    )
    if lmax == 2:
        _first_2(given, near, i, paths, g, to_x, to_edges)
    else:
        _first_3(given, near, i, paths, g, to_x, to_edges)


@njit(fastmath=FAST, forceinline=True)
def last_layer_backward(given, near, lmax, i, target, g, to_x, to_edges):
    """Backward pass of all paths of a last layer along the reverse of each edge of atom i, equation (9) of `edges.py`.

    `g` is the gradient with respect to the messages of all atoms. Adds to `to_edges` and to the gradient `to_x` with
    respect to the features of atom i, which `target` locates: (index of the atom in it, number of atoms in it).
    """
    plan, constants, edges, _ = given
    atoms = len(edges.starts) - 1
    paths = (
        path_of_sender(plan.paths, 0, constants, atoms, i, target),
        path_of_sender(plan.paths, 1, constants, atoms, i, target),
        path_of_sender(plan.paths, 2, constants, atoms, i, target),
        path_of_sender(plan.paths, lmax, constants, atoms, i, target),
    )
    if lmax == 2:
        _last_2(given, near, i, paths, g, to_x, to_edges)
    else:
        _last_3(given, near, i, paths, g, to_x, to_edges)
