"""Tensor product over the edges of an atom, forward and backward. Only the gradients of edges are stored.

For an edge i-j and a path p = (l1, l2, l3), with the weights w_p(r) from a table and the harmonics Y,

    R_p[m3, m1] = Σ_m2 C_p[m2, m3, m1] Y[m2],      t_p[m3, c] = Σ_m1 R_p[m3, m1] x_j[m1, c]                      (1)
    out_i[m3, c] += w_p[c] t_p[m3, c]                                                                          (2)

R is small and the same for all channels c. Backward pass, with the gradient g_i with respect to out_i:

    s_p[m1, c] = Σ_m3 R_p[m3, m1] g_i[m3, c],      g_x_j[m1, c] += w_p[c] s_p[m1, c]                             (3)
    dE/dr     += Σ_c w_p'(r)[c] Σ_m1 s_p[m1, c] x_j[m1, c]                                                     (4)
    dE/dR_p[m3, m1] = Σ_c w_p[c] g_i[m3, c] x_j[m1, c],      dE/dY[m2] += Σ C_p[m2, m3, m1] dE/dR_p[m3, m1]       (5)

If one of the three l is 0, R is a column Y (l1 = 0), a row κ Y with κ = 1/sqrt(2 l1 + 1) (l3 = 0), or the identity
(l2 = 0). All paths of a first or last layer up to l = 3 are of this kind. They need neither R nor products of its size
and have separate kernels (`scalar_paths.py`):

    l1 = 0:  out_i[m] += w x_j Y[m],           s = Σ_m Y[m] g_i[m],    dE/dY[m] += Σ_c w x_j g_i[m]              (6)
    l3 = 0:  out_i    += w κ Σ_m Y[m] x_j[m],  s[m] = κ Y[m] g_i,      dE/dY[m] += Σ_c w κ x_j[m] g_i             (7)
    l2 = 0:  out_i[m] += w x_j[m],             s[m] = g_i[m],          and Y is constant                         (8)

A last layer, whose paths all have the form (7), has fewer messages than features. Its backward pass therefore runs over
the messages that an atom sends, and gathers only the gradients g_j with respect to the messages of its neighbours.
Along the reverse edge j-i, with Y(-r̂) = (-1)^l Y(r̂),

    g_x_i[m]  += w κ (-1)^l Y[m] g_j,          dE/dY[m] += Σ_c w κ (-1)^l x_i[m] g_j                               (9)

and (4) likewise. This is the gradient of the energy of atom j through its edge j-i, assigned to the edge i-j. Forces,
stress and virials are sums over both edges of a pair, so they do not change.

An edge has gradients with respect to r, in the column of Y_0, and to the other Y. They are summed over paths and
channels as SIMD vectors, and the elements of a vector are summed once at the end (`totals`).

Arrays are laid out as in `layout.py`. Atoms are divided into one part per thread. Each thread has its own g_x, because
edges of two parts can share a neighbour.

Small functions take whole arrays and positions in them and are inlined, because passing a view of an array costs more
than processing a few elements.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_rows import load_rows, totals
from gnnpot.ops.simd.vectors import SIMD_WIDTH, aligned, broadcast, broadcast_at, fma, load, mul, store
from gnnpot.ops.tensor_product.layout import (
    COUPLING,
    ENDS,
    FEATURE,
    FEATURE_SIZE,
    HARMONIC,
    N1,
    N2,
    N3,
    OUT_ROW,
    STRIDE,
    WEIGHT,
    WIDTH,
)  # fmt: skip
from gnnpot.ops.tensor_product.scalar_paths import is_scalar, message_at, path_forward
from gnnpot.ops.tensor_product.scalar_paths_backward import (
    first_layer_backward,
    last_layer_backward,
    lmax_of_first_layer,
    lmax_of_last_layer,
    path_backward,
)
from gnnpot.ops.tensor_product.table import Places, interpolate, interpolate_both, new_places, place_of, set_places


class EdgeScratch(NamedTuple):
    """Temporary arrays of a thread, for one edge or atom at a time."""

    places: Places  #: places of the atom's edges in the table
    weights: np.ndarray  #: [weights] w of an edge
    slopes: np.ndarray  #: [weights] w' of an edge
    rotation: np.ndarray  #: R of a path
    products: np.ndarray  #: [(m3, m1), SIMD_WIDTH] dE/dR of a path, before the sum over vector elements
    sums: np.ndarray  #: [columns of the harmonics, SIMD_WIDTH] gradients of an edge, before that sum


@njit(fastmath=FAST, forceinline=True)
def new_scratch(plan, edges, first, last, like):
    """Allocate `EdgeScratch` for the atoms `first` <= i < `last`."""
    weights, path = plan.table.shape[2], largest_rotation(plan.paths)
    return EdgeScratch(
        new_places(edges, first, last, like), aligned(weights, like), aligned(weights, like), aligned(path, like),
        aligned(path * SIMD_WIDTH, like), aligned(edges.harmonics.shape[1] * SIMD_WIDTH, like),
    )  # fmt: skip


@njit(fastmath=FAST, forceinline=True)
def convolve(inputs, i, scratch, out, location):
    """Add equations (2) and (6) to (8) for the edges of atom i to `out`.

    Args:
        inputs: Plan of the layer, coupling constants, edges, and features x.
        i: Index of the atom.
        scratch: `EdgeScratch`.
        out: Messages, flat.
        location: Locates atom i in `out`: (its index, number of atoms).
    """
    plan, constants, edges, x = inputs
    places, weights, _, rotation, _, _ = scratch
    paths, atoms, general = plan.paths, len(edges.starts) - 1, False
    set_places(plan, edges, i, places)
    for p in range(len(paths)):
        if is_scalar(paths, p):
            path_forward(inputs, places, i, p, out, message_at(paths, p, location))
        else:
            general = True
    if not general:
        return
    for k in range(edges.starts[i + 1] - edges.starts[i]):
        e = edges.starts[i] + k
        for p in range(len(paths)):
            if not is_scalar(paths, p):
                at = message_at(paths, p, location)
                feature = paths[p, FEATURE] * atoms + edges.neighbor[e] * paths[p, FEATURE_SIZE]
                interpolate(plan.table, place_of(places, k), paths[p, WEIGHT], paths[p, WIDTH], weights)
                set_rotation(edges.harmonics, e * edges.harmonics.shape[1], constants.all, paths, p, rotation)
                _message(x, feature, weights, rotation, paths, p, out, at)


@njit(fastmath=FAST, forceinline=True)
def convolve_backward(inputs, i, g, location, scratch, g_x, g_edges):
    """Equations (3) to (8) for the edges of atom i, from the gradient `g` with respect to the messages.

    Adds to `g_x`, unless it is empty, and to `g_edges`, which has the shape of the harmonics. `inputs` as in
    `convolve`; `location` locates atom i in `g`.
    """
    plan, constants, edges, x = inputs
    places, weights, slopes, rotation, products, sums = scratch
    paths, atoms = plan.paths, len(edges.starts) - 1
    set_places(plan, edges, i, places)
    lmax = lmax_of_first_layer(paths)
    if lmax:
        first_layer_backward(inputs, places, lmax, i, location, g, g_x, g_edges)
        return
    for k in range(edges.starts[i + 1] - edges.starts[i]):
        e, place = edges.starts[i] + k, place_of(places, k)
        sums[:] = 0
        for p in range(len(paths)):
            if is_scalar(paths, p):
                path_backward(inputs, e, place, p, location, g, g_x, sums)
            else:
                at = message_at(paths, p, location)
                feature = paths[p, FEATURE] * atoms + edges.neighbor[e] * paths[p, FEATURE_SIZE]
                interpolate_both(plan.table, place, paths[p, WEIGHT], paths[p, WIDTH], weights, slopes)
                _harmonics_backward(x, feature, weights, constants, paths, p, g, at, products, sums)
        # two loops over these paths are faster than one
        for p in range(len(paths)):
            if not is_scalar(paths, p):
                at = message_at(paths, p, location)
                feature = paths[p, FEATURE] * atoms + edges.neighbor[e] * paths[p, FEATURE_SIZE]
                set_rotation(edges.harmonics, e * edges.harmonics.shape[1], constants.all, paths, p, rotation)
                _features_backward(x, feature, weights, slopes, rotation, paths, p, g, at, g_x, sums)
        _add_gradients(sums, plan.per_step, g_edges, e)


@njit(fastmath=FAST, forceinline=True)
def convolve_backward_to_sender(inputs, i, g, places, g_x, location, g_edges):
    """Equation (9) for the edges of atom i, from the gradient `g` with respect to the messages of all atoms.

    Adds to `g_x` and to `g_edges`. `inputs` as in `convolve`; `location` locates atom i in `g_x`.
    """
    plan, _, edges, _ = inputs
    set_places(plan, edges, i, places)
    last_layer_backward(inputs, places, lmax_of_last_layer(plan.paths), i, location, g, g_x, g_edges)


@njit(fastmath=FAST, forceinline=True)
def _add_gradients(sums, per_step, g_edges, e):
    """Sum the vector elements of `sums` [columns, SIMD_WIDTH] and add them to the gradients of edge e.

    The first row of `sums` is the slope per table interval; it is converted to the slope per Å.
    """
    columns = g_edges.shape[1]
    store(sums, 0, mul(broadcast(sums, per_step), load(sums, 0)))
    for c in range(0, columns, SIMD_WIDTH):
        position = e * columns + c
        gradients = totals(load_rows(sums, c * SIMD_WIDTH, SIMD_WIDTH, SIMD_WIDTH))
        store(g_edges, position, gradients + load(g_edges, position))


@njit(fastmath=FAST, forceinline=True)
def largest_rotation(paths):
    """Largest size of R of any path, padded."""
    size = 0
    for p in range(len(paths)):
        size = max(size, paths[p, STRIDE])
    return size


@njit(fastmath=FAST, forceinline=True)
def set_rotation(harmonics, first, coupling, paths, p, rotation):
    """R of equation (1)."""
    harmonic, start, stride = first + paths[p, HARMONIC], paths[p, COUPLING], paths[p, STRIDE]
    for k in range(0, stride, SIMD_WIDTH):
        t = broadcast(coupling, 0.0)
        for m2 in range(paths[p, N2]):
            t = fma(broadcast_at(harmonics, harmonic + m2), load(coupling, start + m2 * stride + k), t)
        store(rotation, k, t)


@njit(fastmath=FAST, forceinline=True)
def _message(x, feature, weights, rotation, paths, p, out, at):
    """Equation (2)."""
    n1, n3, weight, row, width = paths[p, N1], paths[p, N3], paths[p, WEIGHT], paths[p, OUT_ROW], paths[p, WIDTH]
    for b in range(0, width, SIMD_WIDTH):
        w = load(weights, weight + b)
        for m3 in range(n3):
            t = broadcast(x, 0.0)
            for m1 in range(n1):
                t = fma(broadcast_at(rotation, m3 * n1 + m1), load(x, feature + m1 * width + b), t)
            position = at + m3 * row + b
            store(out, position, fma(w, t, load(out, position)))


@njit(fastmath=FAST, forceinline=True)
def _features_backward(x, feature, weights, slopes, rotation, paths, p, g, at, g_x, sums):
    """Equation (3); equation (4) is added to the first row of `sums`."""
    n1, n3, weight, row, width = paths[p, N1], paths[p, N3], paths[p, WEIGHT], paths[p, OUT_ROW], paths[p, WIDTH]
    slope = load(sums, 0)
    for b in range(0, width, SIMD_WIDTH):
        w, dot = load(weights, weight + b), broadcast(x, 0.0)
        for m1 in range(n1):
            s = broadcast(x, 0.0)
            for m3 in range(n3):
                s = fma(broadcast_at(rotation, m3 * n1 + m1), load(g, at + m3 * row + b), s)
            position = feature + m1 * width + b
            dot = fma(s, load(x, position), dot)
            if len(g_x):
                store(g_x, position, fma(w, s, load(g_x, position)))
        slope = fma(load(slopes, weight + b), dot, slope)
    store(sums, 0, slope)


@njit(fastmath=FAST, forceinline=True)
def _harmonics_backward(x, feature, weights, constants, paths, p, g, at, products, g_harmonics):
    """Equation (5) without the sum over vector elements; adds to `g_harmonics` [harmonics, SIMD_WIDTH]."""
    if paths[p, N2] == 1:
        return
    n1, n3, weight, row, width = paths[p, N1], paths[p, N3], paths[p, WEIGHT], paths[p, OUT_ROW], paths[p, WIDTH]
    for m3 in range(n3):
        for m1 in range(n1):
            t = broadcast(x, 0.0)
            for b in range(0, width, SIMD_WIDTH):
                wx = mul(load(weights, weight + b), load(x, feature + m1 * width + b))
                t = fma(wx, load(g, at + m3 * row + b), t)
            store(products, (m3 * n1 + m1) * SIMD_WIDTH, t)
    add_harmonics_gradient(products, constants, paths, p, g_harmonics)


@njit(fastmath=FAST, forceinline=True)
def add_harmonics_gradient(products, constants, paths, p, g_harmonics):
    """Add Σ C_p[m2, m3, m1] `products` [(m3, m1), SIMD_WIDTH] to `g_harmonics` [harmonics, SIMD_WIDTH]."""
    first, ends = paths[p, ENDS], constants.ends
    for m2 in range(paths[p, N2]):
        position = (paths[p, HARMONIC] + m2) * SIMD_WIDTH
        t = load(g_harmonics, position)
        for k in range(ends[first + m2], ends[first + m2 + 1]):
            t = fma(broadcast_at(constants.nonzero, k), load(products, constants.indices[k] * SIMD_WIDTH), t)
        store(g_harmonics, position, t)
