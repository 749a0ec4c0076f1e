"""Kernels of an equivariant layer, one call forward and one backward.

The layer consists of linear layers L, convolution, scales, products, norm and gate:

    y = L_1 x,   t = s_Z ⊙ L_2 conv(y) + L_0 x,   t' = t + L_3 P(t),   x' = gate(norm(t'))                        (1)

The factors s_Z of the elements, the products P of the features of an atom (`feature_products.py`) and the norm
(`rms_norm.py`) are optional. Backward pass, after the gradients of gate and norm have given dE/dt':

    dE/dt = dE/dt' + (L_3 P)^T dE/dt',     dE/dx = L_0^T dE/dt + L_1^T conv^T(L_2^T (s_Z ⊙ dE/dt))                (2)

The convolution is that of `tensor_product`, with the arrays of its `layout.py`. For small structures, the overhead of a
call is as large as its work; for large ones, the messages of all atoms do not fit into the cache. Therefore each tile
of atoms is processed from its edges to its features in one call, and its messages are not stored.

The backward pass of a last layer takes two passes over the atoms: one to the gradients with respect to their messages
(`backward_to_messages`), and one from these, at the neighbours of each atom, to the features that the atom has sent
(`backward_to_senders`).

If elements have their own matrices, consecutive atoms of the same element share one matrix product. Matrix products
process four rows at a time, so the number of atoms is padded to a multiple of `GRAIN` with atoms without edges. Ghosts
of a part of a structure (`ops/exchange.py`) send messages but receive none: y and its gradient include them.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit, prange
from gnnpot.ops.feature_products import form_products, form_products_backward
from gnnpot.ops.gate import gate, gate_backward
from gnnpot.ops.rms_norm import Norm, normalize, normalize_backward
from gnnpot.ops.rows import atom_size, locate, row_offset
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.tiles import TILE, product_of_rows
from gnnpot.ops.simd.vectors import SIMD_WIDTH, aligned, load, store
from gnnpot.ops.tensor_product.edges import convolve, convolve_backward, convolve_backward_to_sender, new_scratch
from gnnpot.ops.tensor_product.table import new_places

#: the number of atoms of a layer, and of each thread, is a multiple of this
GRAIN = 4


class LayerPlan(NamedTuple):
    """Constants of a layer. Layouts of flat arrays are [l, 3], see `Rows.offsets`.

    L_0 to L_3 are [forward and backward, l, 5]: for the matrix, or its transpose, of each l: position in `weights`,
    number of rows, number of columns (0: no matrix), position of the bias (-1: no bias), and distance to the matrix of
    the next element (0: the same matrix for all elements).
    """

    paths: np.ndarray  #: table of paths, see `ProductLayout`
    table: np.ndarray  #: [points, 3, weights] weights of the convolution, see `tensor_product.table`
    per_step: float  #: points of the table per Å
    weights: np.ndarray  #: matrices and biases, flat
    linear_in: np.ndarray  #: L_1
    linear_out: np.ndarray  #: L_2
    self_connection: np.ndarray  #: L_0
    scales: np.ndarray  #: [elements, columns of all l of t] s_Z; [0, 0] without scales
    products_linear: np.ndarray  #: L_3
    norm_factors: np.ndarray  #: [columns of all l of t] γ of the norm; [0] without a norm
    norm_weights: np.ndarray  #: [l] w of the norm
    epsilon: float  #: ε of the norm
    features: np.ndarray  #: layout of x and y
    messages: np.ndarray  #: layout of conv(y)
    totals: np.ndarray  #: layout of t and t'
    product_features: np.ndarray  #: layout of P(t); [0, 3] without products
    out: np.ndarray  #: layout of x'
    gates: np.ndarray  #: [l] first channel of the gates of l in the scalars of t


class Edges(NamedTuple):
    """E edges sorted by centre, and the division of atoms among threads; the same for all layers.

    The number of atoms is padded to a multiple of `GRAIN`.
    """

    starts: np.ndarray  #: [atoms + 1] first edge of each atom, and the end of the last
    neighbor: np.ndarray  #: [E]
    distances: np.ndarray  #: [E] Å
    harmonics: np.ndarray  #: [at least E, columns] see `ops/spherical_harmonics.py`
    species: np.ndarray  #: [atoms]
    #: [own atoms and ghosts, threads + 1] first atom of each thread, and the end of the last; own atoms are padded to a
    #: multiple of `GRAIN` with ghosts
    parts: np.ndarray


class Saved(NamedTuple):
    """Flat arrays that a layer stores for its backward pass."""

    y: np.ndarray  #: y = L_1 x
    totals: np.ndarray  #: t
    mixed: np.ndarray  #: t'; the same array as t without products


class Gradients(NamedTuple):
    """Gradients of the backward pass of a layer, flat. Gradients with respect to x and y are skipped if empty."""

    features: np.ndarray  #: gradient with respect to x
    y: np.ndarray  #: [threads, size of y] gradient with respect to y, initially zero
    edges: np.ndarray  #: gradients with respect to distances and harmonics, see `Harmonics.pullback`


@njit(cache=True)
def first_features(edge_index, numbers, species_of, embedding, threads, own):
    """Return starts, species and parts of `Edges`, and the flat input features of the first layer.

    Args:
        edge_index: [2, E].
        numbers: [N] atomic numbers.
        species_of: [119] species of each atomic number; -1 for elements that the model does not know.
        embedding: [elements, channels] initial features.
        threads: Number of threads; edges are divided evenly among them.
        own: Number of own atoms; the others are ghosts.
    """
    edges, unpadded = edge_index.shape[1], len(numbers)
    atoms = -(-unpadded // GRAIN) * GRAIN
    starts, species = np.full(atoms + 1, edges), np.zeros(atoms, np.int64)
    features, e = np.zeros((atoms, embedding.shape[1]), embedding.dtype), 0
    for i in range(unpadded):
        species[i] = species_of[numbers[i]]
        for c in range(embedding.shape[1]):
            features[i, c] = embedding[species[i], c]
        starts[i] = e
        while e < edges and edge_index[0, e] == i:
            e += 1
    padded_own = -(-own // GRAIN) * GRAIN
    parts, i = np.full((2, threads + 1), padded_own), 0
    for part in range(threads):
        while i < padded_own and starts[i] * threads < edges * part:
            i += GRAIN
        parts[0, part] = i
        parts[1, part + 1] = padded_own + (atoms - padded_own) // GRAIN * (part + 1) // threads * GRAIN
    return starts, species, parts, features.reshape(-1)


@njit(fastmath=FAST, cache=True)
def readout(scalars, slopes, constant, energies, gradient):
    """Set the energies of the own atoms, which are linear in their scalars, and the gradient of their sum, flat."""
    width = len(slopes)
    for i in range(len(energies)):
        energy = constant
        for c in range(width):
            energy += scalars[i * width + c] * slopes[c]
            # no slices: the check of their lengths takes a second to compile
            gradient[i * width + c] = slopes[c]
        energies[i] = energy
    # the energies of ghosts belong to other parts; the atoms added as padding have none
    for k in range(len(energies) * width, len(gradient)):
        gradient[k] = 0


@njit(parallel=True, fastmath=FAST, cache=True)
def forward(plan, constants, products, edges, x, saved, out):
    """Equation (1): set the arrays of `saved`, and `out` (x'), from x; all flat."""
    parts, atoms = edges.parts[0], len(edges.species)
    y, totals, mixed = saved
    for part in prange(len(parts) - 1):
        for k in range(2):
            first, count = edges.parts[k, part], edges.parts[k, part + 1] - edges.parts[k, part]
            location, elements = locate(plan.features, first, atoms), (edges.species, first)
            _linear(plan.weights, plan.linear_in[0], elements, x, location, y, location, count, False)
    for part in prange(len(parts) - 1):
        scratch = new_scratch(plan, edges, parts[part], parts[part + 1], x)
        messages, messages_location = aligned(atom_size(plan.messages) * TILE, x), locate(plan.messages, 0, TILE)
        normalized, tile_location = aligned(atom_size(plan.totals) * TILE, x), locate(plan.totals, 0, TILE)
        norm = Norm(plan.norm_factors, plan.norm_weights, plan.epsilon)
        p_location, p = locate(plan.product_features, 0, TILE), aligned(atom_size(plan.product_features) * TILE, x)
        for first in range(parts[part], parts[part + 1], TILE):
            count, elements = min(TILE, parts[part + 1] - first), (edges.species, first)
            messages[:] = 0
            for k in range(count):
                convolve((plan, constants, edges, y), first + k, scratch, messages, (k, TILE))
            t_location, x_location = locate(plan.totals, first, atoms), locate(plan.features, first, atoms)
            _linear(
                plan.weights, plan.linear_out[0], elements, messages, messages_location, totals, t_location, count,
                False,
            )  # fmt: skip
            _scale(plan, edges.species, first, totals, t_location, count)
            _linear(plan.weights, plan.self_connection[0], elements, x, x_location, totals, t_location, count, True)
            if len(plan.product_features):
                form_products(products, totals, t_location, p, p_location, count)
                _copy_rows(totals, mixed, t_location, count)
                _linear(plan.weights, plan.products_linear[0], elements, p, p_location, mixed, t_location, count, True)
            out_location = locate(plan.out, first, atoms)
            if len(norm.factors):
                normalize(norm, mixed, t_location, normalized, tile_location, count)
                gate(plan.gates, normalized, tile_location, out, out_location, count)
            else:
                gate(plan.gates, mixed, t_location, out, out_location, count)


@njit(parallel=True, fastmath=FAST, cache=True)
def backward(plan, constants, products, edges, saved, g, gradients):
    """Equation (2), from the gradient g with respect to x'.

    Sets `gradients.features`, and adds to `gradients.y` and `gradients.edges`.
    """
    parts, atoms, y, (g_x, g_y, g_edges) = edges.parts[0], len(edges.species), saved.y, gradients
    for part in prange(len(parts) - 1):
        scratch, tile_scratch = new_scratch(plan, edges, parts[part], parts[part + 1], y), _new_scratch(plan, y)
        g_messages, messages_location = aligned(atom_size(plan.messages) * TILE, y), locate(plan.messages, 0, TILE)
        g_y_part = g_y[part]
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            _messages_backward(
                plan, products, edges, saved, g, g_x, (first, count), tile_scratch, (g_messages, messages_location)
            )
            for k in range(count):
                convolve_backward(
                    (plan, constants, edges, y), first + k, g_messages, (k, TILE), scratch, g_y_part, g_edges
                )
    if len(g_x):
        for part in prange(len(parts) - 1):
            for k in range(2):
                first, count = edges.parts[k, part], edges.parts[k, part + 1] - edges.parts[k, part]
                location, elements = locate(plan.features, first, atoms), (edges.species, first)
                for other in range(1, len(parts) - 1):
                    _add_rows(g_y[other], g_y[0], location, count)
                # L_0 contributes only to own atoms, because ghosts receive no messages
                _linear(plan.weights, plan.linear_in[1], elements, g_y[0], location, g_x, location, count, k == 0)


@njit(parallel=True, fastmath=FAST, cache=True)
def backward_to_messages(plan, products, edges, saved, g, g_x, g_messages):
    """First half of equation (2): set `g_messages`, the gradient with respect to conv(y), and `g_x` = L_0^T dE/dt."""
    parts, atoms = edges.parts[0], len(edges.species)
    for part in prange(len(parts) - 1):
        tile_scratch = _new_scratch(plan, g)
        for first in range(parts[part], parts[part + 1], TILE):
            count, messages_location = min(TILE, parts[part + 1] - first), locate(plan.messages, first, atoms)
            _messages_backward(
                plan, products, edges, saved, g, g_x, (first, count), tile_scratch, (g_messages, messages_location)
            )


@njit(parallel=True, fastmath=FAST, cache=True)
def backward_to_senders(plan, constants, edges, saved, g_messages, g_x, g_edges):
    """Second half of equation (2), from the gradient with respect to conv(y) of all atoms.

    Adds to `g_x` of the own atoms and to `g_edges`.
    """
    parts, atoms, y = edges.parts[0], len(edges.species), saved.y
    for part in prange(len(parts) - 1):
        places = new_places(edges, parts[part], parts[part + 1], y)
        g_y, tile_location = aligned(atom_size(plan.features) * TILE, y), locate(plan.features, 0, TILE)
        for first in range(parts[part], parts[part + 1], TILE):
            count, elements = min(TILE, parts[part + 1] - first), (edges.species, first)
            g_y[:] = 0
            for k in range(count):
                convolve_backward_to_sender(
                    (plan, constants, edges, y), first + k, g_messages, places, g_y, (k, TILE), g_edges
                )
            location = locate(plan.features, first, atoms)
            _linear(plan.weights, plan.linear_in[1], elements, g_y, tile_location, g_x, location, count, True)


@njit(fastmath=FAST)
def _new_scratch(plan, like):
    """Temporary arrays of `_messages_backward`: gradient with respect to t, normalised t', gradient for P(t)."""
    columns = atom_size(plan.totals) * TILE
    return aligned(columns, like), aligned(columns, like), aligned(atom_size(plan.product_features) * TILE, like)


@njit(fastmath=FAST)
def _messages_backward(plan, products, edges, saved, g, g_x, tile, scratch, output):
    """Backward pass of a tile of atoms, from the gradient g with respect to x' to that with respect to conv(y).

    Also sets `g_x` to L_0^T dE/dt, unless it is empty. `tile` is (first atom, number of atoms), and `output` is
    (array, location of the rows of the atoms in it).
    """
    (first, count), (_, totals, mixed), (g_t, normalized, g_p) = tile, saved, scratch
    tile_location, p_location = locate(plan.totals, 0, TILE), locate(plan.product_features, 0, TILE)
    norm = Norm(plan.norm_factors, plan.norm_weights, plan.epsilon)
    atoms, elements, (g_messages, messages_location) = len(edges.species), (edges.species, first), output
    t_location, out_location = locate(plan.totals, first, atoms), locate(plan.out, first, atoms)
    if len(norm.factors):
        normalize(norm, mixed, t_location, normalized, tile_location, count)
        gate_backward(plan.gates, normalized, tile_location, g, out_location, g_t, tile_location, count)
        normalize_backward(norm, mixed, t_location, g_t, tile_location, count)
    else:
        gate_backward(plan.gates, mixed, t_location, g, out_location, g_t, tile_location, count)
    if len(plan.product_features):
        _linear(plan.weights, plan.products_linear[1], elements, g_t, tile_location, g_p, p_location, count, False)
        form_products_backward(products, totals, t_location, g_p, p_location, g_t, tile_location, count)
    if len(g_x):
        x_location = locate(plan.features, first, atoms)
        _linear(plan.weights, plan.self_connection[1], elements, g_t, tile_location, g_x, x_location, count, False)
    _scale(plan, edges.species, first, g_t, tile_location, count)
    _linear(plan.weights, plan.linear_out[1], elements, g_t, tile_location, g_messages, messages_location, count, False)


@njit(fastmath=FAST)
def _linear(weights, matrices, elements, x, x_location, y, y_location, count, add):
    """y = L x, or y += L x with `add`, for `count` atoms. Without `add`, y is zero for each l without a matrix.

    `elements` is (species of all atoms, index of the first atom).
    """
    species, first = elements
    for l in range(len(y_location[0])):
        x_at, y_at = row_offset(x_location, l), row_offset(y_location, l)
        if matrices[l, 2]:
            x_stride, y_stride = x_location[0][l, 2], y_location[0][l, 2]
            done = 0
            while done < count:
                end = _same_matrix(species, first, done, count, matrices[l, 4])
                rows, row = (end - done) * (2 * l + 1), done * (2 * l + 1)
                w = matrices[l, 0] + species[first + done] * matrices[l, 4]
                position = y_at + row * y_stride
                # one call for both cases: two would take twice as long to compile
                start, start_rows = (y, (position, y_stride)) if add else (weights, (matrices[l, 3], 0))
                matrix = (w, matrices[l, 1], matrices[l, 2])
                x_rows = (x_at + row * x_stride, x_stride)
                product_of_rows(x, x_rows, weights, matrix, start, start_rows, y, (position, y_stride), rows)
                done = end
        elif not add:
            y[y_at : y_at + count * y_location[0][l, 1]] = 0


@njit(fastmath=FAST)
def _same_matrix(species, first, done, count, distance):
    """End of the range of atoms from number `done` on that use the same matrix."""
    if distance == 0:
        return count
    end = done + 1
    while end < count and species[first + end] == species[first + done]:
        end += 1
    return end


@njit(fastmath=FAST)
def _add_rows(x, y, location, count):
    """y += x for the rows of `count` atoms."""
    for l in range(len(location[0])):
        at = row_offset(location, l)
        for k in range(at, at + count * location[0][l, 1], SIMD_WIDTH):
            store(y, k, load(y, k) + load(x, k))


@njit(fastmath=FAST)
def _copy_rows(x, y, location, count):
    """y = x for the rows of `count` atoms."""
    for l in range(len(location[0])):
        at = row_offset(location, l)
        for k in range(at, at + count * location[0][l, 1], SIMD_WIDTH):
            store(y, k, load(x, k))


@njit(fastmath=FAST)
def _scale(plan, species, first, totals, location, count):
    """Multiply the rows of t by the factors of the elements, for `count` atoms from `first` on."""
    if not len(plan.scales):
        return
    column = 0
    for l in range(len(plan.totals)):
        at, width = row_offset(location, l), plan.totals[l, 2]
        for i in range(count):
            factors = species[first + i] * plan.scales.shape[1] + column
            for _ in range(2 * l + 1):
                for c in range(0, width, SIMD_WIDTH):
                    store(totals, at + c, load(totals, at + c) * load(plan.scales, factors + c))
                at += width
        column += width
