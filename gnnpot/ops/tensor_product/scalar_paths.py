"""Forward pass of the paths with a scalar among features, harmonics and messages: equations (6) to (8) of `edges.py`.

The backward pass is in `scalar_paths_backward.py`.

For such a path, the number of sums over the edges of an atom is the number of components of the harmonic, or, for (8),
of the feature. Each kernel is compiled for a fixed number of components, up to 7, so that the sums stay in registers.
Paths with more components use the general kernels of `edges.py` (`is_scalar`).
"""

from collections.abc import Callable
from typing import Any

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_rows import (
    add_multiple,
    add_outer,
    add_rows,
    load_rows,
    weighted_sum,
    zero_rows,
)
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, broadcast_at, fma, load, mul, store
from gnnpot.ops.tensor_product.layout import (
    COLUMN,
    COUPLING,
    FEATURE,
    FEATURE_SIZE,
    HARMONIC,
    N1,
    N2,
    N3,
    OUT,
    OUT_ROW,
    OUT_SIZE,
    WEIGHT,
    WIDTH,
)  # fmt: skip
from gnnpot.ops.tensor_product.table import place_of, weight_at


@njit(fastmath=FAST, forceinline=True)
def is_scalar(paths, p):
    """Whether path p is calculated by the kernels of this module."""
    return min(paths[p, N1], paths[p, N2], paths[p, N3]) == 1 and max(paths[p, N1], paths[p, N3]) <= 7


@njit(fastmath=FAST, forceinline=True)
def message_at(paths, p, location):
    """Position of the messages of path p; `location`: (index of the atom in the array, number of atoms in it)."""
    atom, atoms = location
    return paths[p, OUT] * atoms + atom * paths[p, OUT_SIZE] + paths[p, COLUMN]


def kernels_for_sizes(make: Callable[[int], Any]) -> tuple[Any, Any, Any, Any]:
    """Compile a kernel for l = 0, 1, 2, 3; `make` gets the number of components 2l + 1."""
    one, three, five, seven = (njit(make(2 * l + 1), fastmath=FAST, forceinline=True) for l in range(4))
    return one, three, five, seven


def _from_scalars(n):
    def add(inputs, places, i, p, out, at):
        plan, _, edges, x = inputs
        paths, first, columns = plan.paths, edges.starts[i], edges.harmonics.shape[1]
        feature = paths[p, FEATURE] * (len(edges.starts) - 1)
        for b in range(0, paths[p, WIDTH], SIMD_WIDTH):
            sums = zero_rows(x, n)
            for k in range(edges.starts[i + 1] - first):
                e = first + k
                weight = weight_at(plan.table, place_of(places, k), paths[p, WEIGHT] + b)
                message = mul(weight, load(x, feature + edges.neighbor[e] * paths[p, FEATURE_SIZE] + b))
                sums = add_outer(edges.harmonics, e * columns + paths[p, HARMONIC], message, sums)
            add_rows(out, at + b, paths[p, OUT_ROW], sums)

    return add


def _to_scalars(n):
    def add(inputs, places, i, p, out, at):
        plan, constants, edges, x = inputs
        paths, first, columns = plan.paths, edges.starts[i], edges.harmonics.shape[1]
        feature, constant = (
            paths[p, FEATURE] * (len(edges.starts) - 1),
            broadcast_at(constants.all, paths[p, COUPLING]),
        )
        for b in range(0, paths[p, WIDTH], SIMD_WIDTH):
            message = broadcast(x, 0.0)
            for k in range(edges.starts[i + 1] - first):
                e = first + k
                position = feature + edges.neighbor[e] * paths[p, FEATURE_SIZE] + b
                rows = load_rows(x, position, paths[p, WIDTH], n)
                scalar = weighted_sum(edges.harmonics, e * columns + paths[p, HARMONIC], rows)
                message = fma(weight_at(plan.table, place_of(places, k), paths[p, WEIGHT] + b), scalar, message)
            store(out, at + b, fma(constant, message, load(out, at + b)))

    return add


def _unrotated(n):
    def add(inputs, places, i, p, out, at):
        plan, _, edges, x = inputs
        paths, first = plan.paths, edges.starts[i]
        feature = paths[p, FEATURE] * (len(edges.starts) - 1)
        for b in range(0, paths[p, WIDTH], SIMD_WIDTH):
            sums = zero_rows(x, n)
            for k in range(edges.starts[i + 1] - first):
                weight = weight_at(plan.table, place_of(places, k), paths[p, WEIGHT] + b)
                at_neighbor = feature + edges.neighbor[first + k] * paths[p, FEATURE_SIZE] + b
                sums = add_multiple(weight, load_rows(x, at_neighbor, paths[p, WIDTH], n), sums)
            add_rows(out, at + b, paths[p, OUT_ROW], sums)

    return add


_, _from_3, _from_5, _from_7 = kernels_for_sizes(_from_scalars)
_, _to_3, _to_5, _to_7 = kernels_for_sizes(_to_scalars)
_same_1, _same_3, _same_5, _same_7 = kernels_for_sizes(_unrotated)


@njit(fastmath=FAST, forceinline=True)
def path_forward(inputs, places, i, p, out, at):
    """Add the messages of path p to atom i, at position `at` of `out`; `is_scalar` must hold for p.

    Args:
        inputs: Plan of the layer, coupling constants, edges, and features x.
        places: `Places` of the edges of atom i.
        i: Index of the atom.
        p: Index of the path.
        out: Messages, flat.
        at: See `message_at`.
    """
    paths = inputs[0].paths
    n = max(paths[p, N1], paths[p, N3])
    if paths[p, N2] == 1:
        if n == 1:
            _same_1(inputs, places, i, p, out, at)
        elif n == 3:
            _same_3(inputs, places, i, p, out, at)
        elif n == 5:
            _same_5(inputs, places, i, p, out, at)
        else:
            _same_7(inputs, places, i, p, out, at)
    elif paths[p, N1] == 1:
        if n == 3:
            _from_3(inputs, places, i, p, out, at)
        elif n == 5:
            _from_5(inputs, places, i, p, out, at)
        else:
            _from_7(inputs, places, i, p, out, at)
    elif n == 3:
        _to_3(inputs, places, i, p, out, at)
    elif n == 5:
        _to_5(inputs, places, i, p, out, at)
    else:
        _to_7(inputs, places, i, p, out, at)
