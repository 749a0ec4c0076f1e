"""SevenNet's convolution as one pass over the edges, there and back; nothing of an edge but its gradient is stored.

For an edge i-j and a path p = (l1, l2, l3), with the weights w_p(r) of a table and the harmonics Y,

    R_p[m3, m1] = Σ_m2 C_p[m2, m3, m1] Y[m2],      t_p[m3, c] = Σ_m1 R_p[m3, m1] x_j[m1, c]                      (1)
    out_i[m3, c] += w_p[c] t_p[m3, c]                                                                          (2)

R is small and the same for all channels c. Backwards, with the gradient g_i of out_i,

    s_p[m1, c] = Σ_m3 R_p[m3, m1] g_i[m3, c],      g_x_j[m1, c] += w_p[c] s_p[m1, c]                             (3)
    dE/dr     += Σ_c w_p'(r)[c] Σ_m1 s_p[m1, c] x_j[m1, c]                                                     (4)
    dE/dR_p[m3, m1] = Σ_c w_p[c] g_i[m3, c] x_j[m1, c],      dE/dY[m2] += Σ C_p[m2, m3, m1] dE/dR_p[m3, m1]       (5)

Channels stand in blocks of `LANES`: the features of angular momentum l of an atom are [blocks, 2l+1, LANES]. Atoms are
shared out to threads in parts, each of which has a g_x of its own, since edges of two parts may meet at one atom.
"""

import numpy as np
from numba import njit, prange

from gnnpot.models.fast.kernels import FAST
from gnnpot.models.fast.lanes import LANES, fma, load, mul, splat, store, total

#: columns of the table of paths: 2 l1 + 1, 2 l2 + 1, 2 l3 + 1; first harmonic; place of the coupling constants, and
#: of one m2 of them; first feature; blocks of channels; first weight; where the outputs of l3 begin (in units of
#: atoms), an atom's size in them, a row's, and the path's column
N1, N2, N3, HARMONIC, COUPLING, STRIDE, FEATURE, BLOCKS, WEIGHT, OUT, OUT_SIZE, OUT_ROW, COLUMN = range(13)


@njit(parallel=True, fastmath=FAST, cache=True)
def convolve(x, harmonics, distances, table, per_step, paths, coupling, starts, neighbor, parts, out):
    """Equation (2), added to `out`, which is flat: for each l3, [N, 2 l3 + 1, channels]."""
    atoms, features = x.shape
    for part in prange(len(parts) - 1):
        weights = np.empty(table.shape[2], x.dtype)
        rotation = np.empty(_largest(paths), x.dtype)
        for i in range(parts[part], parts[part + 1]):
            for e in range(starts[i], starts[i + 1]):
                _interpolate(table, distances[e] * per_step, weights)
                for p in range(len(paths)):
                    path = paths[p]
                    _rotation(harmonics[e], coupling, path, rotation)
                    at = path[OUT] * atoms + i * path[OUT_SIZE] + path[COLUMN]
                    _message(x, neighbor[e] * features + path[FEATURE], weights, rotation, path, out, at)


@njit(parallel=True, fastmath=FAST, cache=True)
def convolve_backward(
    x, harmonics, distances, table, per_step, paths, coupling, starts, neighbor, parts, g, g_x, g_harmonics, g_distances
):
    """Equations (3) to (5): adds to g_x [parts, N, features]; g_harmonics and g_distances are set."""
    atoms, features = x.shape
    for part in prange(len(parts) - 1):
        weights, slopes = np.empty(table.shape[2], x.dtype), np.empty(table.shape[2], x.dtype)
        rotation, g_rotation = np.empty(_largest(paths), x.dtype), np.zeros(_largest(paths), x.dtype)
        scratch = np.empty(table.shape[2], x.dtype)
        to_x = g_x[part]
        for i in range(parts[part], parts[part + 1]):
            for e in range(starts[i], starts[i + 1]):
                _interpolate_both(table, distances[e] * per_step, weights, slopes)
                g_harmonics[e] = 0
                g_distances[e] = 0
                for p in range(len(paths)):
                    path = paths[p]
                    _rotation(harmonics[e], coupling, path, rotation)
                    at = path[OUT] * atoms + i * path[OUT_SIZE] + path[COLUMN]
                    feature = neighbor[e] * features + path[FEATURE]
                    g_distances[e] += _to_features(x, feature, weights, slopes, rotation, path, g, at, to_x)
                    _to_rotation(x, feature, weights, path, g, at, scratch, g_rotation)
                    _to_harmonics(coupling, path, g_rotation, g_harmonics[e])
                g_distances[e] *= per_step


@njit(fastmath=FAST, cache=True)
def _largest(paths):
    size = 0
    for p in range(len(paths)):
        size = max(size, paths[p, STRIDE])
    return size


@njit(fastmath=FAST, cache=True)
def _interpolate(table, position, weights):
    """Cubic Hermite interpolation in rows of value and slope, [points, 2, W]."""
    k = min(int(position), table.shape[0] - 2)
    t, width = position - k, table.shape[2]
    a, b = splat(weights, 1 - t * t * (3 - 2 * t)), splat(weights, t * (1 - t) * (1 - t))
    c, d = splat(weights, t * t * (3 - 2 * t)), splat(weights, t * t * (t - 1))
    first = 2 * k * width
    for f in range(first, first + width, LANES):
        value = fma(a, load(table, f), mul(b, load(table, f + width)))
        value = fma(c, load(table, f + 2 * width), fma(d, load(table, f + 3 * width), value))
        store(weights, f - first, value)


@njit(fastmath=FAST, cache=True)
def _interpolate_both(table, position, weights, slopes):
    """The same, and the derivative with respect to the position."""
    k = min(int(position), table.shape[0] - 2)
    t, width = position - k, table.shape[2]
    a, b = splat(weights, 1 - t * t * (3 - 2 * t)), splat(weights, t * (1 - t) * (1 - t))
    c, d = splat(weights, t * t * (3 - 2 * t)), splat(weights, t * t * (t - 1))
    da, db = splat(weights, 6 * t * (t - 1)), splat(weights, (1 - t) * (1 - 3 * t))
    dc, dd = splat(weights, 6 * t * (1 - t)), splat(weights, t * (3 * t - 2))
    first = 2 * k * width
    for f in range(first, first + width, LANES):
        r0, r1 = load(table, f), load(table, f + width)
        r2, r3 = load(table, f + 2 * width), load(table, f + 3 * width)
        store(weights, f - first, fma(a, r0, fma(b, r1, fma(c, r2, mul(d, r3)))))
        store(slopes, f - first, fma(da, r0, fma(db, r1, fma(dc, r2, mul(dd, r3)))))


@njit(fastmath=FAST, cache=True)
def _rotation(harmonics, coupling, path, rotation):
    """R of equation (1)."""
    for k in range(0, path[STRIDE], LANES):
        t = splat(coupling, 0.0)
        for m2 in range(path[N2]):
            y = splat(coupling, harmonics[path[HARMONIC] + m2])
            t = fma(y, load(coupling, path[COUPLING] + m2 * path[STRIDE] + k), t)
        store(rotation, k, t)


@njit(fastmath=FAST, cache=True)
def _message(x, feature, weights, rotation, path, out, at):
    n1 = path[N1]
    for b in range(path[BLOCKS]):
        w = load(weights, path[WEIGHT] + b * LANES)
        for m3 in range(path[N3]):
            t = splat(x, 0.0)
            for m1 in range(n1):
                t = fma(splat(x, rotation[m3 * n1 + m1]), load(x, feature + (b * n1 + m1) * LANES), t)
            place = at + m3 * path[OUT_ROW] + b * LANES
            store(out, place, fma(w, t, load(out, place)))


@njit(fastmath=FAST, cache=True)
def _to_features(x, feature, weights, slopes, rotation, path, g, at, g_x):
    """Equation (3); returns (4)."""
    n1 = path[N1]
    slope = splat(x, 0.0)
    for b in range(path[BLOCKS]):
        w, dw = load(weights, path[WEIGHT] + b * LANES), load(slopes, path[WEIGHT] + b * LANES)
        dot = splat(x, 0.0)
        for m1 in range(n1):
            s = splat(x, 0.0)
            for m3 in range(path[N3]):
                s = fma(splat(x, rotation[m3 * n1 + m1]), load(g, at + m3 * path[OUT_ROW] + b * LANES), s)
            place = feature + (b * n1 + m1) * LANES
            dot = fma(s, load(x, place), dot)
            store(g_x, place, fma(w, s, load(g_x, place)))
        slope = fma(dw, dot, slope)
    return total(slope)


@njit(fastmath=FAST, cache=True)
def _to_rotation(x, feature, weights, path, g, at, scratch, g_rotation):
    """dE/dR of equation (5)."""
    n1 = path[N1]
    for m3 in range(path[N3]):
        for b in range(path[BLOCKS]):
            w = load(weights, path[WEIGHT] + b * LANES)
            store(scratch, b * LANES, mul(w, load(g, at + m3 * path[OUT_ROW] + b * LANES)))
        for m1 in range(n1):
            t = splat(x, 0.0)
            for b in range(path[BLOCKS]):
                t = fma(load(scratch, b * LANES), load(x, feature + (b * n1 + m1) * LANES), t)
            g_rotation[m3 * n1 + m1] = total(t)


@njit(fastmath=FAST, cache=True)
def _to_harmonics(coupling, path, g_rotation, g_harmonics):
    """dE/dY of equation (5); `g_rotation` is zero where it pads."""
    for m2 in range(path[N2]):
        t = splat(coupling, 0.0)
        for k in range(0, path[STRIDE], LANES):
            t = fma(load(g_rotation, k), load(coupling, path[COUPLING] + m2 * path[STRIDE] + k), t)
        g_harmonics[path[HARMONIC] + m2] += total(t)
