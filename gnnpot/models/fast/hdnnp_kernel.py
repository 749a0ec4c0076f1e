"""Kernel of HDNNPs: energies of atoms, and their derivatives with respect to the edge vectors, atom by atom.

The steps for an atom are: list its neighbours; compute radial Gaussians; fill blocks with pairs of neighbours and the
factors of the other symmetry functions; sum the functions; evaluate the network forward and backward; compute the
gradient from Gaussians and blocks, which are still in the cache. Only energies and gradients are written to memory.
"""

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
    in_blocks,
    radial_block,
)
from gnnpot.models.fast.hdnnp_network import count_outside, energies_and_slopes, new_nodes
from gnnpot.models.fast.hdnnp_radial import add_radial, radial_slope
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_functions import square_root
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, get, less_mask, load, lowest_bit, put, store

#: rows of the list of neighbours
_X, _Y, _Z, _R, _F, _DF, _INVERSE, _WEIGHT = range(8)
#: number of atoms that are processed together, so that their networks share the reading of weights; fewer if their
#: blocks would exceed `SLAB_NUMBERS` numbers and not stay in the cache
TOGETHER, SLAB_NUMBERS = 8, 1 << 20


class AtomScratch(NamedTuple):
    """Temporary arrays for an atom. In a thread, all arrays have an additional first axis, see `TOGETHER`.

    `width` is a multiple of sixteen, and at least the length of the longest list of neighbours plus sixteen.
    """

    near: np.ndarray  #: [G * 8 * width] rows of the neighbours within the cutoff of each group, sorted by class
    inside: np.ndarray  #: [width] edges within the cutoff of a group
    edges: np.ndarray  #: [G, width] edge of each neighbour
    bounds: np.ndarray  #: [G, classes + 1] first neighbour of each class, and the end of the last
    slab: np.ndarray  #: blocks, see `hdnnp_blocks`
    index_j: np.ndarray  #: [blocks * 16] first neighbour of each element
    index_k: np.ndarray  #: [blocks * 16] second neighbour of each element
    parts: np.ndarray  #: [parts of all groups, 5] group, class or pair of classes, first block, last + 1, elements
    near_gradient: np.ndarray  #: [G, width, 3] gradient with respect to the vector of each neighbour
    gaussians: np.ndarray  #: [G * width * radial_width] see `hdnnp_radial`
    buffer: np.ndarray  #: one number for each function of a part, or two numbers for each of sixteen pairs


@njit(cache=True, error_model="numpy", parallel=True)
def energies_and_gradient(plan, net, starts, species, neighbors, vectors, ranges, energies, gradient, outside):
    """Compute energies, and the derivative of their sum with respect to the edge vectors.

    Args:
        plan: `SymmetryFunctionPlan`.
        net: `Network`.
        starts: [N + 1] first edge of each atom.
        species: [N].
        neighbors: [E] atoms.
        vectors: [3 E] edge vectors, flat.
        ranges: Thread t processes the atoms ranges[t] <= i < ranges[t + 1].
        energies: [N], set.
        gradient: [E, 3], added to.
        outside: [N], set to the result of `count_outside`.
    """
    for t in prange(len(ranges) - 1):
        _process_atoms(
            plan, net, starts, species, neighbors, vectors, ranges[t], ranges[t + 1], energies, gradient, outside
        )


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _process_atoms(plan, net, starts, species, neighbors, vectors, lo, hi, energies, gradient, outside):
    degree = 1
    for atom in range(lo, hi):
        degree = max(degree, starts[atom + 1] - starts[atom])
    scratch = _scratch(plan, degree)
    together = len(scratch.near)
    rows, counts = np.empty((together, net.sizes[0])), np.empty(together, np.int64)
    nodes, coefficients = new_nodes(net, plan.eta), np.empty(net.sizes[0], plan.eta.dtype)
    for begin in range(lo, hi, together):
        end = min(begin + together, hi)
        for atom in range(begin, end):
            atom_scratch, row = _atom_scratch(scratch, atom - begin), rows[atom - begin]
            for g in range(len(plan.cutoff)):
                _load_neighbors(plan, g, vectors, species, neighbors, starts[atom], starts[atom + 1], atom_scratch)
            row[:] = 0.0
            counts[atom - begin] = _symmetry_functions(plan, species[atom], atom_scratch, row)
            outside[atom] = count_outside(net, species[atom], row)
        energies_and_slopes(net, species[begin:end], rows, nodes, energies[begin:end])
        for atom in range(begin, end):
            atom_scratch, row = _atom_scratch(scratch, atom - begin), rows[atom - begin]
            _gradients(plan, species[atom], atom_scratch, counts[atom - begin], row, coefficients)
            for g in range(len(plan.cutoff)):
                for i in range(atom_scratch.bounds[g, plan.classes[g]]):
                    for k in range(3):
                        gradient[atom_scratch.edges[g, i], k] += atom_scratch.near_gradient[g, i, k]


@njit(forceinline=True)
def _scratch(plan, degree):
    """Allocate the `AtomScratch` of a thread whose atoms have at most `degree` neighbours."""
    groups, width = len(plan.cutoff), (degree + 2 * SIMD_WIDTH - 1) // SIMD_WIDTH * SIMD_WIDTH
    blocks = 0
    for g in range(groups):
        if in_blocks(plan, g):
            elements = degree if plan.distances[g] == 1 else degree * (degree - 1) // 2
            # the last block of each part may be incomplete
            blocks += elements // SIMD_WIDTH + plan.parts.shape[2]
    slab, dtype = blocks * SIMD_WIDTH * plan.rows[4], plan.eta.dtype
    n = max(min(TOGETHER, SLAB_NUMBERS // max(slab, 1)), 1)
    return AtomScratch(
        np.zeros((n, groups * 8 * width), dtype),
        np.zeros((n, width), np.int64),
        np.zeros((n, groups, width), np.int64),
        np.zeros((n, groups, plan.classes.max() + 1), np.int64),
        # most of it is never used, because `degree` includes neighbours beyond the cutoff of a group
        np.empty((n, slab), dtype),
        np.empty((n, blocks * SIMD_WIDTH), np.int64),
        np.empty((n, blocks * SIMD_WIDTH), np.int64),
        np.zeros((n, groups * plan.parts.shape[2], 5), np.int64),
        np.zeros((n, groups, width, 3), dtype),
        np.zeros((n, groups * width * plan.radial_width), dtype),
        np.zeros((n, max(plan.radial_width, 2 * SIMD_WIDTH)), dtype),
    )


@njit(forceinline=True)
def _atom_scratch(s, k):
    """`AtomScratch` of the k-th of the atoms that are processed together."""
    return AtomScratch(
        s.near[k], s.inside[k], s.edges[k], s.bounds[k], s.slab[k], s.index_j[k], s.index_k[k], s.parts[k],
        s.near_gradient[k], s.gaussians[k], s.buffer[k],
    )  # fmt: skip


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _load_neighbors(plan, g, vectors, species, neighbors, start, end, scratch):
    """Load the neighbours within the cutoff of group g, sorted by class."""
    near, width, bounds, edges = scratch.near, len(scratch.inside), scratch.bounds[g], scratch.edges[g]
    at, square, classes = g * 8 * width, plan.cutoff[g] ** 2, plan.classes[g]
    inside, count = scratch.inside, 0
    for e in range(start, end):
        x, y, z = get(vectors, 3 * e), get(vectors, 3 * e + 1), get(vectors, 3 * e + 2)
        # no branch, which would often be mispredicted: always write, and overwrite edges beyond the cutoff
        put(inside, count, e)
        count += int(x * x + y * y + z * z < square)
    bounds[:] = 0
    for i in range(count):
        bounds[plan.species_class[g, species[neighbors[inside[i]]]] + 1] += 1
    for k in range(1, classes + 1):
        bounds[k] += bounds[k - 1]
    for n in range(count):
        e = inside[n]
        s = species[neighbors[e]]
        k = plan.species_class[g, s]
        i = bounds[k]
        bounds[k] += 1
        x, y, z = get(vectors, 3 * e), get(vectors, 3 * e + 1), get(vectors, 3 * e + 2)
        put(near, at + i, x)
        put(near, at + width + i, y)
        put(near, at + 2 * width + i, z)
        put(near, at + _R * width + i, x * x + y * y + z * z)
        put(near, at + _WEIGHT * width + i, plan.weight[g, s])
        edges[i] = e
    for k in range(classes, 0, -1):
        bounds[k] = bounds[k - 1]
    bounds[0] = 0
    # the rest of the last SIMD vector needs a valid distance too
    for i in range(bounds[classes], min(bounds[classes] + SIMD_WIDTH, width)):
        near[at + _R * width + i] = 0.25 * square
    for i in range(0, bounds[classes], SIMD_WIDTH):
        store(near, at + _R * width + i, square_root(load(near, at + _R * width + i)))
        at_f, at_df, at_w = at + _F * width + i, at + _DF * width + i, at + _WEIGHT * width + i
        cutoff_block(plan, g, near, at + _R * width + i, at_f, at_df)
        store(near, at_f, load(near, at_f) * load(near, at_w))
        store(near, at_df, load(near, at_df) * load(near, at_w))
        store(near, at + _INVERSE * width + i, 1.0 / load(near, at + _R * width + i))


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _symmetry_functions(plan, s, scratch, row):
    """Set the blocks of all parts of an atom of species s, add its symmetry functions to `row`, and count the parts."""
    stride, parts, block = SIMD_WIDTH * plan.rows[4], 0, 0
    for g in range(len(plan.cutoff)):
        classes, p = plan.classes[g], -1
        if not in_blocks(plan, g):
            _radial_functions(plan, g, s, scratch, row)
            continue
        for c1 in range(classes):
            for c2 in range(classes if plan.distances[g] > 1 else c1 + 1):
                if c2 < c1:
                    continue
                p += 1
                part = plan.parts[g, s, p]
                if part[0] == part[1]:
                    continue
                if plan.distances[g] == 1:
                    n = _fill_pairs(g, c1, scratch, block, stride)
                else:
                    n = _fill_triplets(plan, g, c1, c2, scratch, block, stride)
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


@njit(forceinline=True)
def _radial_rows(plan, g, scratch):
    """Neighbours and Gaussians of a radial group g, and the positions of the rows of r, f and f'."""
    width = len(scratch.inside)
    near, gaussians = scratch.near[g * 8 * width :], scratch.gaussians[g * width * plan.radial_width :]
    return near, gaussians, (_R * width, _F * width, _DF * width)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _radial_functions(plan, g, s, scratch, row):
    """Add the functions of a radial group g to `row`, for an atom of species s."""
    near, gaussians, rows = _radial_rows(plan, g, scratch)
    for c in range(plan.classes[g]):
        lo, hi = scratch.bounds[g, c], scratch.bounds[g, c + 1]
        add_radial(plan, plan.parts[g, s, c], near, rows, lo, hi, gaussians, scratch.buffer, row)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _radial_gradients(plan, g, s, scratch, row):
    """Set the gradients with respect to the vectors of the neighbours in a radial group g; `row` is dE/dG."""
    near, gaussians, rows = _radial_rows(plan, g, scratch)
    width, coefficients = len(scratch.inside), scratch.buffer
    for c in range(plan.classes[g]):
        part = plan.parts[g, s, c]
        coefficients[:] = 0.0
        for f in range(part[0], part[1]):
            coefficients[f - part[0]] = row[plan.column[f]]
        for j in range(scratch.bounds[g, c], scratch.bounds[g, c + 1]):
            slope = radial_slope(plan, part, near, rows, j, gaussians, coefficients) * near[_INVERSE * width + j]
            for axis in range(3):
                scratch.near_gradient[g, j, axis] = slope * near[axis * width + j]


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _fill_pairs(g, c, scratch, block, stride):
    """Set the elements of a radial group of Chebyshev polynomials: the neighbours of a class; return their number."""
    near, slab, width = scratch.near, scratch.slab, len(scratch.inside)
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
        scratch.index_j[block * SIMD_WIDTH + n] = begin + n
    return end - begin


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _fill_triplets(plan, g, c1, c2, scratch, block, stride):
    """Set the elements of an angular group, pairs of neighbours of classes c1 and c2, and return their number.

    For functions of R_jk, only pairs with R_jk within the cutoff are included.
    """
    near, slab, width, dots = scratch.near, scratch.slab, len(scratch.inside), scratch.buffer
    index_j, index_k, first = scratch.index_j, scratch.index_k, block * SIMD_WIDTH
    base, bounds = g * 8 * width, scratch.bounds[g]
    square = plan.cutoff[g] ** 2 if plan.distances[g] == 3 else np.inf
    n = 0
    for j in range(bounds[c1], bounds[c1 + 1]):
        at_j = base + j
        x, y, z, r = near[at_j], near[at_j + width], near[at_j + 2 * width], near[at_j + _R * width]
        f, df, inverse = near[at_j + _F * width], near[at_j + _DF * width], near[at_j + _INVERSE * width]
        end = bounds[c2 + 1]
        for begin in range(bounds[c2] if c2 > c1 else j + 1, end, SIMD_WIDTH):
            at_k = base + begin
            x_k, y_k, z_k = load(near, at_k), load(near, at_k + width), load(near, at_k + 2 * width)
            dx, dy, dz = x_k - x, y_k - y, z_k - z
            jk2 = dx * dx + dy * dy + dz * dz
            store(dots, 0, x_k * x + y_k * y + z_k * z)
            store(dots, SIMD_WIDTH, jk2)
            mask = less_mask(jk2, broadcast(near, square))
            if end - begin < SIMD_WIDTH:
                mask &= (1 << (end - begin)) - 1
            while mask:
                bit = lowest_bit(mask)
                mask &= mask - 1
                k, at_k = begin + bit, base + begin + bit
                at = (block + n // SIMD_WIDTH) * stride + n % SIMD_WIDTH
                f_k = get(near, at_k + _F * width)
                put(slab, at + SIMD_WIDTH * C, get(dots, bit))
                put(slab, at + SIMD_WIDTH * RJ, get(dots, SIMD_WIDTH + bit))
                put(slab, at + SIMD_WIDTH * RA, r)
                put(slab, at + SIMD_WIDTH * RB, get(near, at_k + _R * width))
                put(slab, at + SIMD_WIDTH * FF, f * f_k)
                put(slab, at + SIMD_WIDTH * DFA, df * f_k)
                put(slab, at + SIMD_WIDTH * DFB, f * get(near, at_k + _DF * width))
                put(slab, at + SIMD_WIDTH * IA, inverse)
                put(slab, at + SIMD_WIDTH * IB, get(near, at_k + _INVERSE * width))
                put(index_j, first + n, j)
                put(index_k, first + n, k)
                n += 1
    for i in range(n, (n + SIMD_WIDTH - 1) // SIMD_WIDTH * SIMD_WIDTH):
        at = (block + i // SIMD_WIDTH) * stride + i % SIMD_WIDTH
        slab[at + SIMD_WIDTH * C], slab[at + SIMD_WIDTH * FF] = 0.0, 0.0
        slab[at + SIMD_WIDTH * DFA], slab[at + SIMD_WIDTH * DFB] = 0.0, 0.0
        for row in (RA, RB, IA, IB, RJ):
            slab[at + SIMD_WIDTH * row] = 1.0
    return n


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _gradients(plan, s, scratch, parts, row, coefficients):
    """Compute the derivatives with respect to the vectors of the neighbours; `row` is dE/dG of the atom."""
    stride, slab, index_j, width = SIMD_WIDTH * plan.rows[4], scratch.slab, scratch.index_j, len(scratch.inside)
    for g in range(len(plan.cutoff)):
        if in_blocks(plan, g):
            scratch.near_gradient[g, : scratch.bounds[g, plan.classes[g]]] = 0.0
        else:
            _radial_gradients(plan, g, s, scratch, row)
    for k in range(parts):
        entry = scratch.parts[k]
        g, begin, end = entry[0], entry[2], entry[3]
        part, near_gradient, near = plan.parts[g, s, entry[1]], scratch.near_gradient[g], scratch.near[g * 8 * width :]
        for f in range(part[0], part[1]):
            coefficients[f - part[0]] = row[plan.column[f]]
        for at in range(begin * stride, end * stride, stride):
            gradient_block(plan, g, part, slab, at, coefficients)
        if plan.distances[g] == 1:
            for n in range(entry[4]):
                i = index_j[begin * SIMD_WIDTH + n]
                pa = slab[(begin + n // SIMD_WIDTH) * stride + n % SIMD_WIDTH + SIMD_WIDTH * PA]
                for axis in range(3):
                    near_gradient[i, axis] += pa * near[axis * width + i]
        else:
            _add_triplet_gradients(scratch, entry, near, near_gradient, stride)


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def _add_triplet_gradients(scratch, entry, near, near_gradient, stride):
    """Add the contributions of the blocks of a part (rows PA, PB and Q) to the gradients of the neighbours."""
    slab, index_j, index_k, width, first = (
        scratch.slab, scratch.index_j, scratch.index_k, len(scratch.inside), entry[2] * SIMD_WIDTH,
    )  # fmt: skip
    n, count = 0, entry[4]
    while n < count:
        # triplets with the same first neighbour are contiguous
        i = index_j[first + n]
        x, y, z = near[i], near[width + i], near[2 * width + i]
        px, py, pz = near_gradient[i, 0], near_gradient[i, 1], near_gradient[i, 2]
        while n < count and get(index_j, first + n) == i:
            at, j = (entry[2] + n // SIMD_WIDTH) * stride + n % SIMD_WIDTH, get(index_k, first + n)
            pa, pb, q = get(slab, at + SIMD_WIDTH * PA), get(slab, at + SIMD_WIDTH * PB), get(slab, at + SIMD_WIDTH * Q)
            x_j, y_j, z_j = get(near, j), get(near, width + j), get(near, 2 * width + j)
            px, py, pz = px + pa * x + q * x_j, py + pa * y + q * y_j, pz + pa * z + q * z_j
            near_gradient[j, 0] += pb * x_j + q * x
            near_gradient[j, 1] += pb * y_j + q * y
            near_gradient[j, 2] += pb * z_j + q * z
            n += 1
        near_gradient[i, 0], near_gradient[i, 1], near_gradient[i, 2] = px, py, pz
