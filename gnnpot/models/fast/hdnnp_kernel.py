"""Energy of an HDNNP's atoms and its derivative with respect to the edge vectors, atom by atom.

For each atom: its pairs of neighbours in blocks of sixteen, what the symmetry functions need of them, the
functions, the network forward and backward, and from the blocks, which are still in the cache, the gradient. Nothing
is calculated twice, and nothing but energies and gradient leaves the cache.
"""

import math
from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit, prange
from gnnpot.models.fast.hdnnp_blocks import (
    DFA,
    DFB,
    FF,
    IA,
    IB,
    PA,
    PB,
    RA,
    RB,
    RJ,
    C,
    Q,
    add_functions,
    angle_block,
    angular_block,
    cutoff_block,
    gradient_block,
    radial_block,
)
from gnnpot.models.fast.hdnnp_network import count_outside, energy_and_slopes
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vectors import SIMD_WIDTH, load, store

#: rows of a list of neighbours
_X, _Y, _Z, _R, _F, _DF, _INVERSE, _WEIGHT = range(8)


class ThreadScratch(NamedTuple):
    """What a thread writes while it works on an atom."""

    width: int  #: longest list of neighbours, padded to whole SIMD vectors
    near: np.ndarray  #: [G * 8 * width] rows of the neighbours within a group's cutoff, sorted by class
    edges: np.ndarray  #: [G, width] which edges they are
    bounds: np.ndarray  #: [G, classes + 1] where a class begins
    slab: np.ndarray  #: blocks, see `hdnnp_blocks`
    one: np.ndarray  #: [blocks * 16] the first neighbour of each element
    two: np.ndarray  #: [blocks * 16] the second
    parts: np.ndarray  #: [parts of all groups, 5] group, class or pair of classes, first block, last + 1, elements
    pull: np.ndarray  #: [G, width, 3] derivative with respect to a neighbour's vector


@njit(cache=True, error_model="numpy", parallel=True)
def energies_and_gradient(plan, net, first, species, neighbors, vectors, ranges, energies, gradient, outside):
    """Energies [N] of the atoms, and their sum's derivative with respect to the edge `vectors` [E, 3].

    `first` [N + 1] edges of each atom, `species` [N], `neighbors` [E] atoms; thread t works on the atoms from
    `ranges[t]` to `ranges[t + 1]`. `outside` [N]: see `count_outside`.
    """
    for t in prange(len(ranges) - 1):
        _range(plan, net, first, species, neighbors, vectors, ranges[t], ranges[t + 1], energies, gradient, outside)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _range(plan, net, first, species, neighbors, vectors, lo, hi, energies, gradient, outside):
    groups = len(plan.cutoff)
    degree = 1
    for atom in range(lo, hi):
        degree = max(degree, first[atom + 1] - first[atom])
    scratch = _scratch(plan, degree, 64)
    row, total_nodes = np.empty(net.sizes[0]), net.sizes.sum()
    nodes, slopes, coefficients = np.empty(total_nodes), np.empty(total_nodes), np.empty(net.sizes[0])
    for atom in range(lo, hi):
        s, need = species[atom], 0
        for g in range(groups):
            _load(plan, g, vectors, species, neighbors, first[atom], first[atom + 1], scratch)
            n, classes = scratch.bounds[g, plan.classes[g]], plan.classes[g]
            pairs = classes * (classes + 1) // 2
            need += n // SIMD_WIDTH + classes if plan.distances[g] == 1 else n * (n - 1) // 2 // SIMD_WIDTH + pairs
        if need * SIMD_WIDTH > len(scratch.one):
            scratch = _enlarged(plan, scratch, need + need // 4)
        row[:] = 0.0
        count = _functions(plan, s, scratch, row)
        outside[atom] = count_outside(net, s, row)
        energies[atom] = energy_and_slopes(net, s, row, nodes, slopes)
        _gradients(plan, s, scratch, count, row, coefficients)
        for g in range(groups):
            for i in range(scratch.bounds[g, plan.classes[g]]):
                for k in range(3):
                    gradient[scratch.edges[g, i], k] += scratch.pull[g, i, k]


@njit(forceinline=True)
def _scratch(plan, degree, blocks):
    groups, width = len(plan.cutoff), (degree + 2 * SIMD_WIDTH - 1) // SIMD_WIDTH * SIMD_WIDTH
    return ThreadScratch(
        width,
        np.zeros(groups * 8 * width),
        np.zeros((groups, width), np.int64),
        np.zeros((groups, plan.classes.max() + 1), np.int64),
        np.zeros(blocks * SIMD_WIDTH * plan.rows[4]),
        np.zeros(blocks * SIMD_WIDTH, np.int64),
        np.zeros(blocks * SIMD_WIDTH, np.int64),
        np.zeros((groups * plan.parts.shape[2], 5), np.int64),
        np.zeros((groups, width, 3)),
    )


@njit(forceinline=True)
def _enlarged(plan, old, blocks):
    """The same with room for more blocks."""
    slab = np.zeros(blocks * SIMD_WIDTH * plan.rows[4])
    one, two = np.zeros(blocks * SIMD_WIDTH, np.int64), np.zeros(blocks * SIMD_WIDTH, np.int64)
    return ThreadScratch(old.width, old.near, old.edges, old.bounds, slab, one, two, old.parts, old.pull)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _load(plan, g, vectors, species, neighbors, start, end, scratch):
    """The neighbours within a group's cutoff, sorted by class."""
    near, width, bounds, edges = scratch.near, scratch.width, scratch.bounds[g], scratch.edges[g]
    at, square, classes = g * 8 * width, plan.cutoff[g] ** 2, plan.classes[g]
    bounds[:] = 0
    for e in range(start, end):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        bounds[plan.species_class[g, species[neighbors[e]]] + 1] += int(x * x + y * y + z * z < square)
    for k in range(1, classes + 1):
        bounds[k] += bounds[k - 1]
    for e in range(start, end):
        x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
        r2 = x * x + y * y + z * z
        if r2 < square:
            s = species[neighbors[e]]
            k = plan.species_class[g, s]
            i = bounds[k]
            bounds[k] += 1
            near[at + i], near[at + width + i], near[at + 2 * width + i] = x, y, z
            near[at + _R * width + i] = math.sqrt(r2)
            near[at + _WEIGHT * width + i] = plan.weight[g, s]
            edges[i] = e
    for k in range(classes, 0, -1):
        bounds[k] = bounds[k - 1]
    bounds[0] = 0
    # what follows the last neighbour shares its vector, and must be a distance
    for i in range(bounds[classes], min(bounds[classes] + SIMD_WIDTH, width)):
        near[at + _R * width + i] = 0.5 * plan.cutoff[g]
    for i in range(0, bounds[classes], SIMD_WIDTH):
        at_f, at_df, at_w = at + _F * width + i, at + _DF * width + i, at + _WEIGHT * width + i
        cutoff_block(plan, g, near, at + _R * width + i, at_f, at_df)
        store(near, at_f, load(near, at_f) * load(near, at_w))
        store(near, at_df, load(near, at_df) * load(near, at_w))
        store(near, at + _INVERSE * width + i, 1.0 / load(near, at + _R * width + i))


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _functions(plan, s, scratch, row):
    """Fill the blocks of all parts of an atom of species s, and `row` with its symmetry functions; number of parts."""
    stride, parts, block = SIMD_WIDTH * plan.rows[4], 0, 0
    for g in range(len(plan.cutoff)):
        classes, p = plan.classes[g], -1
        for c1 in range(classes):
            for c2 in range(classes if plan.distances[g] > 1 else c1 + 1):
                if c2 < c1:
                    continue
                p += 1
                part = plan.parts[g, s, p]
                if part[0] == part[1]:
                    continue
                if plan.distances[g] == 1:
                    n = _pairs(g, c1, scratch, block, stride)
                else:
                    n = _triplets(plan, g, c1, c2, scratch, block, stride)
                if n == 0:
                    continue
                end = block + (n + SIMD_WIDTH - 1) // SIMD_WIDTH
                for at in range(block * stride, end * stride, stride):
                    if plan.distances[g] > 1:
                        angle_block(plan, g, scratch.slab, at)
                    radial_block(plan, g, part, scratch.slab, at)
                    angular_block(plan, g, part, scratch.slab, at)
                add_functions(plan, part, scratch.slab, block * stride, end * stride, row)
                entry = scratch.parts[parts]
                entry[0], entry[1], entry[2], entry[3], entry[4] = g, p, block, end, n
                parts += 1
                block = end
    return parts


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _pairs(g, c, scratch, block, stride):
    """Vector of a radial group: the neighbours of a class."""
    near, slab, width = scratch.near, scratch.slab, scratch.width
    begin, end = scratch.bounds[g, c], scratch.bounds[g, c + 1]
    source = g * 8 * width + begin
    for n in range((end - begin + SIMD_WIDTH - 1) // SIMD_WIDTH * SIMD_WIDTH):
        at = (block + n // SIMD_WIDTH) * stride + n % SIMD_WIDTH
        inside = 1.0 if n < end - begin else 0.0
        k = source + n if n < end - begin else source
        slab[at + SIMD_WIDTH * RA] = near[k + _R * width]
        slab[at + SIMD_WIDTH * FF] = inside * near[k + _F * width]
        slab[at + SIMD_WIDTH * DFA] = inside * near[k + _DF * width]
        slab[at + SIMD_WIDTH * IA] = near[k + _INVERSE * width]
        slab[at + SIMD_WIDTH * C] = 0.0
        scratch.one[block * SIMD_WIDTH + n] = begin + n
    return end - begin


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _triplets(plan, g, c1, c2, scratch, block, stride):
    """Elements of an angular group: pairs of neighbours of classes c1 and c2, near each other if the group wants it."""
    near, slab, width = scratch.near, scratch.slab, scratch.width
    one, two, first = scratch.one, scratch.two, block * SIMD_WIDTH
    base, bounds = g * 8 * width, scratch.bounds[g]
    square = plan.cutoff[g] ** 2 if plan.distances[g] == 3 else np.inf
    n = 0
    for j in range(bounds[c1], bounds[c1 + 1]):
        at_j = base + j
        x, y, z, r = near[at_j], near[at_j + width], near[at_j + 2 * width], near[at_j + _R * width]
        f, df, inverse = near[at_j + _F * width], near[at_j + _DF * width], near[at_j + _INVERSE * width]
        for k in range(bounds[c2] if c2 > c1 else j + 1, bounds[c2 + 1]):
            at_k = base + k
            dot = x * near[at_k] + y * near[at_k + width] + z * near[at_k + 2 * width]
            r_k = near[at_k + _R * width]
            jk2 = r * r + r_k * r_k - 2.0 * dot
            # written in any case, and kept or overwritten by the next: a branch would be guessed wrong every other time
            at = (block + n // SIMD_WIDTH) * stride + n % SIMD_WIDTH
            slab[at + SIMD_WIDTH * C], slab[at + SIMD_WIDTH * RJ] = dot, jk2
            slab[at + SIMD_WIDTH * RA], slab[at + SIMD_WIDTH * RB] = r, r_k
            slab[at + SIMD_WIDTH * FF] = f * near[at_k + _F * width]
            slab[at + SIMD_WIDTH * DFA] = df * near[at_k + _F * width]
            slab[at + SIMD_WIDTH * DFB] = f * near[at_k + _DF * width]
            slab[at + SIMD_WIDTH * IA], slab[at + SIMD_WIDTH * IB] = inverse, near[at_k + _INVERSE * width]
            one[first + n], two[first + n] = j, k
            n += int(jk2 < square)
    for i in range(n, (n + SIMD_WIDTH - 1) // SIMD_WIDTH * SIMD_WIDTH):
        at = (block + i // SIMD_WIDTH) * stride + i % SIMD_WIDTH
        slab[at + SIMD_WIDTH * C], slab[at + SIMD_WIDTH * FF] = 0.0, 0.0
        slab[at + SIMD_WIDTH * DFA], slab[at + SIMD_WIDTH * DFB] = 0.0, 0.0
        for row in (RA, RB, IA, IB, RJ):
            slab[at + SIMD_WIDTH * row] = 1.0
    return n


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _gradients(plan, s, scratch, parts, row, coefficients):
    """From `row`, dE/dG of an atom, the derivative with respect to the vectors of its neighbours."""
    stride, slab, one, two, width = SIMD_WIDTH * plan.rows[4], scratch.slab, scratch.one, scratch.two, scratch.width
    for g in range(len(plan.cutoff)):
        scratch.pull[g, : scratch.bounds[g, plan.classes[g]]] = 0.0
    for k in range(parts):
        entry = scratch.parts[k]
        g, begin, end = entry[0], entry[2], entry[3]
        part, pull, near = plan.parts[g, s, entry[1]], scratch.pull[g], scratch.near[g * 8 * width :]
        for f in range(part[0], part[1]):
            coefficients[f - part[0]] = row[plan.column[f]]
        for at in range(begin * stride, end * stride, stride):
            gradient_block(plan, g, part, slab, at, coefficients)
        for n in range(entry[4]):
            at = (begin + n // SIMD_WIDTH) * stride + n % SIMD_WIDTH
            i, pa = one[begin * SIMD_WIDTH + n], slab[at + SIMD_WIDTH * PA]
            if plan.distances[g] == 1:
                for axis in range(3):
                    pull[i, axis] += pa * near[axis * width + i]
            else:
                j, pb, q = two[begin * SIMD_WIDTH + n], slab[at + SIMD_WIDTH * PB], slab[at + SIMD_WIDTH * Q]
                for axis in range(3):
                    a, b = near[axis * width + i], near[axis * width + j]
                    pull[i, axis] += pa * a + q * b
                    pull[j, axis] += pb * b + q * a
