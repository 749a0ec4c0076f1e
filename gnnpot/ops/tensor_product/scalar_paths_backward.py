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
    dot,
    load_rows,
    totals,
    weighted_sum,
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
from gnnpot.ops.tensor_product.scalar_paths import kernels_for_sizes, message_at
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
    gradient: int  #: position of the gradient with respect to the features
    gradient_step: int


@njit(fastmath=FAST, forceinline=True)
def path_of_receiver(paths, p, constants, atoms, location):
    """Path p for messages from the neighbours to an atom; `location` locates its messages, see `message_at`."""
    feature, size = paths[p, FEATURE] * atoms, paths[p, FEATURE_SIZE]
    constant = broadcast_at(constants.all, paths[p, COUPLING])
    return ScalarPath(
        paths[p, HARMONIC], paths[p, WEIGHT], paths[p, WIDTH], constant, paths[p, OUT_ROW],
        feature, size, message_at(paths, p, location), 0, feature, size,
    )  # fmt: skip


@njit(fastmath=FAST, forceinline=True)
def path_of_sender(paths, p, constants, atoms, i, location):
    """Path p for messages from atom i to its neighbours.

    `location`: (index of the atom in the gradient of the features, number of atoms in it). The harmonics of the reverse
    edge differ by the sign (-1)^l, which is included in κ.
    """
    size, (gradient_atom, gradient_atoms) = paths[p, FEATURE_SIZE], location
    constant = broadcast(constants.all, paths[p, SIGN] * constants.all[paths[p, COUPLING]])
    return ScalarPath(
        paths[p, HARMONIC], paths[p, WEIGHT], paths[p, WIDTH], constant, paths[p, OUT_ROW],
        paths[p, FEATURE] * atoms + i * size, 0, message_at(paths, p, (0, atoms)), paths[p, OUT_SIZE],
        paths[p, FEATURE] * gradient_atoms + gradient_atom * size, 0,
    )  # fmt: skip


def _from_scalars_backward(n):
    def add(inputs, e, place, path, g, g_x, slope):
        plan, _, edges, x = inputs
        harmonic, j = e * edges.harmonics.shape[1] + path.harmonic, edges.neighbor[e]
        feature, message = path.feature + j * path.feature_step, path.message + j * path.message_step
        g_x_at, g_harmonics = path.gradient + j * path.gradient_step, zero_rows(x, n)
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, weight_slope = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows, scalar = load_rows(g, message + b, path.row, n), load(x, feature + b)
            g_scalar = weighted_sum(edges.harmonics, harmonic, rows)
            g_harmonics = add_multiple(mul(weight, scalar), rows, g_harmonics)
            slope = fma(weight_slope, mul(g_scalar, scalar), slope)
            if len(g_x):
                store(g_x, g_x_at + b, fma(weight, g_scalar, load(g_x, g_x_at + b)))
        return slope, g_harmonics

    return add


def _to_scalars_backward(n):
    def add(inputs, e, place, path, g, g_x, slope):
        plan, _, edges, x = inputs
        harmonic, j = e * edges.harmonics.shape[1] + path.harmonic, edges.neighbor[e]
        feature, message = path.feature + j * path.feature_step, path.message + j * path.message_step
        g_x_at, g_harmonics = path.gradient + j * path.gradient_step, zero_rows(x, n)
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, weight_slope = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows, gradient = load_rows(x, feature + b, path.width, n), mul(path.constant, load(g, message + b))
            weighted = mul(weight, gradient)
            g_harmonics = add_multiple(weighted, rows, g_harmonics)
            slope = fma(weight_slope, mul(gradient, weighted_sum(edges.harmonics, harmonic, rows)), slope)
            if len(g_x):
                g_rows = add_outer(edges.harmonics, harmonic, weighted, zero_rows(x, n))
                add_rows(g_x, g_x_at + b, path.width, g_rows)
        return slope, g_harmonics

    return add


def _unrotated_backward(n):
    def add(inputs, e, place, path, g, g_x, slope):
        plan, _, edges, x = inputs
        j = edges.neighbor[e]
        feature, message = path.feature + j * path.feature_step, path.message + j * path.message_step
        g_x_at = path.gradient + j * path.gradient_step
        for b in range(0, path.width, SIMD_WIDTH):
            column = path.weight + b
            weight, weight_slope = weight_at(plan.table, place, column), slope_at(plan.table, place, column)
            rows = load_rows(g, message + b, path.row, n)
            slope = fma(weight_slope, dot(rows, load_rows(x, feature + b, path.width, n)), slope)
            if len(g_x):
                add_rows(g_x, g_x_at + b, path.width, add_multiple(weight, rows, zero_rows(x, n)))
        return slope

    return add


_same_1, _same_3, _same_5, _same_7 = kernels_for_sizes(_unrotated_backward)
_, *_from_scalars = kernels_for_sizes(_from_scalars_backward)
_, *_to_scalars = kernels_for_sizes(_to_scalars_backward)
(_from_3, _from_5, _from_7), (_to_3, _to_5, _to_7) = _from_scalars, _to_scalars


@njit(fastmath=FAST, forceinline=True)
def path_backward(inputs, e, place, p, location, g, g_x, sums):
    """Backward pass of path p for edge e, from the gradient g with respect to the messages; `is_scalar` must hold.

    Adds to the gradient `g_x` with respect to the features, unless it is empty, and to `sums` [columns, SIMD_WIDTH]:
    the slope along the distance in the first row, and the gradients with respect to the harmonics in the others.

    Args:
        inputs: Plan of the layer, coupling constants, edges, and features x.
        e: Index of the edge.
        place: Place of the edge in the table, see `place_of`.
        p: Index of the path.
        location: Locates the centre of the edge in `g`, see `message_at`.
        g: Gradient with respect to the messages.
        g_x: Gradient with respect to the features.
        sums: Sums for one edge.
    """
    plan, constants, edges, _ = inputs
    paths, slope = plan.paths, load(sums, 0)
    path = path_of_receiver(paths, p, constants, len(edges.starts) - 1, location)
    n, harmonic = max(paths[p, N1], paths[p, N3]), path.harmonic * SIMD_WIDTH
    if paths[p, N2] == 1:
        if n == 1:
            slope = _same_1(inputs, e, place, path, g, g_x, slope)
        elif n == 3:
            slope = _same_3(inputs, e, place, path, g, g_x, slope)
        elif n == 5:
            slope = _same_5(inputs, e, place, path, g, g_x, slope)
        else:
            slope = _same_7(inputs, e, place, path, g, g_x, slope)
    elif paths[p, N1] == 1:
        if n == 3:
            slope, three = _from_3(inputs, e, place, path, g, g_x, slope)
            add_rows(sums, harmonic, SIMD_WIDTH, three)
        elif n == 5:
            slope, five = _from_5(inputs, e, place, path, g, g_x, slope)
            add_rows(sums, harmonic, SIMD_WIDTH, five)
        else:
            slope, seven = _from_7(inputs, e, place, path, g, g_x, slope)
            add_rows(sums, harmonic, SIMD_WIDTH, seven)
    elif n == 3:
        slope, three = _to_3(inputs, e, place, path, g, g_x, slope)
        add_rows(sums, harmonic, SIMD_WIDTH, three)
    elif n == 5:
        slope, five = _to_5(inputs, e, place, path, g, g_x, slope)
        add_rows(sums, harmonic, SIMD_WIDTH, five)
    else:
        slope, seven = _to_7(inputs, e, place, path, g, g_x, slope)
        add_rows(sums, harmonic, SIMD_WIDTH, seven)
    store(sums, 0, slope)


def _all_edges(lmax, three, five, seven):
    """Make a kernel for all edges of atom i, for layers with one path for each l of the harmonics up to `lmax`."""

    def add(inputs, places, i, paths, g, g_x, g_edges):
        plan, _, edges, _ = inputs
        first, columns = edges.starts[i], g_edges.shape[1]
        for k in range(edges.starts[i + 1] - first):
            e, place = first + k, place_of(places, k)
            slope = _same_1(inputs, e, place, paths[0], g, g_x, broadcast(g, 0.0))
            slope, rows_1 = three(inputs, e, place, paths[1], g, g_x, slope)
            slope, rows_2 = five(inputs, e, place, paths[2], g, g_x, slope)
            rows = rows_1 + rows_2
            if lmax == 3:
                slope, rows_3 = seven(inputs, e, place, paths[3], g, g_x, slope)
                rows = rows + rows_3
            g_distance = (mul(broadcast(g, plan.per_step), slope),)
            store(g_edges, e * columns, totals(g_distance + rows) + load(g_edges, e * columns))

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
def first_layer_backward(inputs, places, lmax, i, location, g, g_x, g_edges):
    """Backward pass of all paths of a first layer for all edges of atom i; adds to `g_x` and `g_edges`.

    `places` are the `Places` of the edges; other arguments as in `path_backward`.
    """
    plan, constants, edges, _ = inputs
    atoms = len(edges.starts) - 1
    paths = (
        path_of_receiver(plan.paths, 0, constants, atoms, location),
        path_of_receiver(plan.paths, 1, constants, atoms, location),
        path_of_receiver(plan.paths, 2, constants, atoms, location),
        path_of_receiver(plan.paths, lmax, constants, atoms, location),
    )
    if lmax == 2:
        _first_2(inputs, places, i, paths, g, g_x, g_edges)
    else:
        _first_3(inputs, places, i, paths, g, g_x, g_edges)


@njit(fastmath=FAST, forceinline=True)
def last_layer_backward(inputs, places, lmax, i, location, g, g_x, g_edges):
    """Backward pass of all paths of a last layer along the reverse of each edge of atom i, equation (9) of `edges.py`.

    `g` is the gradient with respect to the messages of all atoms. Adds to `g_edges` and to the gradient `g_x` with
    respect to the features of atom i, which `location` locates: (index of the atom in it, number of atoms in it).
    """
    plan, constants, edges, _ = inputs
    atoms = len(edges.starts) - 1
    paths = (
        path_of_sender(plan.paths, 0, constants, atoms, i, location),
        path_of_sender(plan.paths, 1, constants, atoms, i, location),
        path_of_sender(plan.paths, 2, constants, atoms, i, location),
        path_of_sender(plan.paths, lmax, constants, atoms, i, location),
    )
    if lmax == 2:
        _last_2(inputs, places, i, paths, g, g_x, g_edges)
    else:
        _last_3(inputs, places, i, paths, g, g_x, g_edges)
