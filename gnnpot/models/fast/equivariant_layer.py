"""An equivariant layer in a compiled call forward and one backward: linear mixing, convolution, scales, products, norm,
gate.

    y = L_1 x,   t = s_Z ⊙ L_2 conv(y) + L_0 x,   t' = t + L_3 P(t),   x' = gate(norm(t'))                        (1)

without factors s_Z of the elements, products P of an atom's own features (`feature_products.py`) and a norm
(`rms_norm.py`), if a layer has none. Backwards, from the gradient of x' to that of t', and with L^T for the mixing of
gradients,

    dE/dt = dE/dt' + (L_3 P)^T dE/dt',     dE/dx = L_0^T dE/dt + L_1^T conv^T(L_2^T (s_Z ⊙ dE/dt))                (2)

While some tens of atoms are calculated, each call costs as much as what it calculates, and the messages of many atoms
don't stay in the cache: so a tile of atoms goes from its edges to its features, and its messages are nowhere else.
`layout.py` says how arrays are laid out, `tensor_product` what a convolution is.

Backwards, a last layer goes in two passes over the atoms: to the gradients of their messages (`backward_to_messages`),
and from those of an atom's neighbors to what it has sent (`backward_to_senders`).

If elements have matrices of their own, atoms of one element that follow one another are multiplied at once.
Matrix products are fastest by fours of rows, so atoms are filled up to a multiple of `GRAIN` with some that have no
edges. Ghosts of a part of a structure (`ops/exchange.py`) send, so that y and its gradient are theirs too, but receive
nothing.
"""

from typing import NamedTuple

import numpy as np

from gnnpot.compiler.decorator import njit, prange
from gnnpot.ops.feature_products import form_products, form_products_backward
from gnnpot.ops.gate import gate, gate_backward
from gnnpot.ops.rms_norm import Norm, normalize, normalize_backward
from gnnpot.ops.rows import begin, size, where
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.tiles import TILE, product_of_rows
from gnnpot.ops.simd.vectors import SIMD_WIDTH, aligned, load, store
from gnnpot.ops.tensor_product.edges import convolve, convolve_backward, convolve_backward_to_sender, new_scratch
from gnnpot.ops.tensor_product.table import new_places

#: the atoms of a layer, and of each thread, are a multiple of this
GRAIN = 4


class LayerPlan(NamedTuple):
    """A layer. Offsets are those of `Rows`, for each l: where it begins in units of atoms, an atom's size, a row's.

    Of L_0 to L_3 and their transposes: for each l, where in `weights` the matrix begins, its rows and columns (0: there
    is none), where its bias begins (-1: none), how far it is to the next element's matrix (0: all have the same),
    [forward and backward, l, 5].
    """

    paths: np.ndarray  #: see `ProductLayout`
    table: np.ndarray  #: [points, 3, weights] of the convolution, by distance
    per_step: float  #: points per Å
    weights: np.ndarray  #: of what follows
    linear_in: np.ndarray  #: L_1
    linear_out: np.ndarray  #: L_2
    self_connection: np.ndarray  #: L_0
    scales: np.ndarray  #: [elements, columns of all l of t]; [0, 0]: none
    products_linear: np.ndarray  #: L_3
    norm_factors: np.ndarray  #: [columns of all l of t] of its norm; [0]: none
    norm_weights: np.ndarray  #: [l]
    epsilon: float  #: of the norm
    features: np.ndarray  #: [l, 3] offsets of x and y
    messages: np.ndarray  #: of conv(y)
    totals: np.ndarray  #: of t and t'
    made: np.ndarray  #: of P(t); [0, 3]: there are no products
    out: np.ndarray  #: of x'
    gates: np.ndarray  #: [l] where the gates of l begin in the scalars of t


class Edges(NamedTuple):
    """Of all layers: E edges of `GRAIN`-fold many atoms, sorted by centre, and which atoms are whose."""

    starts: np.ndarray  #: [atoms + 1] where the edges of each atom begin, and where the last end
    neighbor: np.ndarray  #: [E]
    distances: np.ndarray  #: [E] Å
    harmonics: np.ndarray  #: [at least E, columns] of `ops/spherical_harmonics.py`
    species: np.ndarray  #: [atoms]
    #: [own atoms and ghosts, threads + 1] the first atom of each thread, and where the last ends; own atoms are filled
    #: up with ghosts
    parts: np.ndarray


class Kept(NamedTuple):
    """What a layer keeps for its backward pass, flat."""

    sent: np.ndarray  #: y
    totals: np.ndarray  #: t
    mixed: np.ndarray  #: t'; the array of t if there are no products


class Gradients(NamedTuple):
    """Of a layer's backward pass, flat. If those of x and y are empty, their part is left out."""

    features: np.ndarray  #: of x
    sent: np.ndarray  #: of y, [threads, numbers of y], zero at first
    edges: np.ndarray  #: of distances and harmonics, see `Harmonics.pullback`


@njit(cache=True)
def first_features(edge_index, numbers, species_of, embedding, threads, own):
    """Starts, species and parts of `Edges`, with work shared out evenly, and the flat features of the first layer.

    `species_of` [119] by atomic number, -1: an element that the model does not know; `embedding` [elements, channels];
    the first `own` atoms are no ghosts.
    """
    edges, given = edge_index.shape[1], len(numbers)
    atoms = -(-given // GRAIN) * GRAIN
    starts, species = np.full(atoms + 1, edges), np.zeros(atoms, np.int64)
    features, e = np.zeros((atoms, embedding.shape[1]), embedding.dtype), 0
    for i in range(given):
        species[i] = species_of[numbers[i]]
        for c in range(embedding.shape[1]):
            features[i, c] = embedding[species[i], c]
        starts[i] = e
        while e < edges and edge_index[0, e] == i:
            e += 1
    receiving = -(-own // GRAIN) * GRAIN
    parts, i = np.full((2, threads + 1), receiving), 0
    for part in range(threads):
        while i < receiving and starts[i] * threads < edges * part:
            i += GRAIN
        parts[0, part] = i
        parts[1, part + 1] = receiving + (atoms - receiving) // GRAIN * (part + 1) // threads * GRAIN
    return starts, species, parts, features.reshape(-1)


@njit(fastmath=FAST, cache=True)
def readout(scalars, slopes, constant, energies, gradient):
    """Energies of atoms, linear in their scalars, and their gradient for those of all rows; both flat."""
    width = len(slopes)
    for i in range(len(energies)):
        energy = constant
        for c in range(width):
            energy += scalars[i * width + c] * slopes[c]
            # not as slices, whose check of lengths takes a second to compile
            gradient[i * width + c] = slopes[c]
        energies[i] = energy
    # ghosts' energies belong to other parts, and atoms that fill up the last rows are none
    for k in range(len(energies) * width, len(gradient)):
        gradient[k] = 0


@njit(parallel=True, fastmath=FAST, cache=True)
def forward(plan, constants, products, edges, x, kept, out):
    """Equation (1): fills what is kept, and x', `out`, all flat, from x."""
    parts, atoms = edges.parts[0], len(edges.species)
    y, totals, mixed = kept
    for part in prange(len(parts) - 1):
        for k in range(2):
            first, count = edges.parts[k, part], edges.parts[k, part + 1] - edges.parts[k, part]
            features, elements = where(plan.features, first, atoms), (edges.species, first)
            _mix(plan.weights, plan.linear_in[0], elements, x, features, y, features, count, False)
    for part in prange(len(parts) - 1):
        scratch = new_scratch(plan, edges, parts[part], parts[part + 1], x)
        messages, received = aligned(size(plan.messages) * TILE, x), where(plan.messages, 0, TILE)
        normal, in_tile = aligned(size(plan.totals) * TILE, x), where(plan.totals, 0, TILE)
        norm = Norm(plan.norm_factors, plan.norm_weights, plan.epsilon)
        made, y_made = where(plan.made, 0, TILE), aligned(size(plan.made) * TILE, x)
        for first in range(parts[part], parts[part + 1], TILE):
            count, elements = min(TILE, parts[part + 1] - first), (edges.species, first)
            messages[:] = 0
            for k in range(count):
                convolve((plan, constants, edges, y), first + k, scratch, messages, (k, TILE))
            at, given = where(plan.totals, first, atoms), where(plan.features, first, atoms)
            _mix(plan.weights, plan.linear_out[0], elements, messages, received, totals, at, count, False)
            _scale(plan, edges.species, first, totals, at, count)
            _mix(plan.weights, plan.self_connection[0], elements, x, given, totals, at, count, True)
            if len(plan.made):
                form_products(products, totals, at, y_made, made, count)
                _copy_rows(totals, mixed, at, count)
                _mix(plan.weights, plan.products_linear[0], elements, y_made, made, mixed, at, count, True)
            result = where(plan.out, first, atoms)
            if len(norm.factors):
                normalize(norm, mixed, at, normal, in_tile, count)
                gate(plan.gates, normal, in_tile, out, result, count)
            else:
                gate(plan.gates, mixed, at, out, result, count)


@njit(parallel=True, fastmath=FAST, cache=True)
def backward(plan, constants, products, edges, kept, g, to):
    """Equation (2), from the gradient g of x': fills those of x and y in `to`, and adds to those of edges."""
    parts, atoms, y, (to_x, to_y, to_edges) = edges.parts[0], len(edges.species), kept.sent, to
    for part in prange(len(parts) - 1):
        scratch, of_tile = new_scratch(plan, edges, parts[part], parts[part + 1], y), _new_scratch(plan, y)
        to_messages, received = aligned(size(plan.messages) * TILE, y), where(plan.messages, 0, TILE)
        to_sent = to_y[part]
        for first in range(parts[part], parts[part + 1], TILE):
            count = min(TILE, parts[part + 1] - first)
            _to_messages(plan, products, edges, kept, g, to_x, (first, count), of_tile, (to_messages, received))
            for k in range(count):
                convolve_backward(
                    (plan, constants, edges, y), first + k, to_messages, (k, TILE), scratch, to_sent, to_edges
                )
    if len(to_x):
        for part in prange(len(parts) - 1):
            for k in range(2):
                first, count = edges.parts[k, part], edges.parts[k, part + 1] - edges.parts[k, part]
                features, elements = where(plan.features, first, atoms), (edges.species, first)
                for other in range(1, len(parts) - 1):
                    _add_rows(to_y[other], to_y[0], features, count)
                # ghosts have received nothing that could have reached L_0
                _mix(plan.weights, plan.linear_in[1], elements, to_y[0], features, to_x, features, count, k == 0)


@njit(parallel=True, fastmath=FAST, cache=True)
def backward_to_messages(plan, products, edges, kept, g, to_x, to_messages):
    """The first half of equation (2): fills the gradient of conv(y), flat, and `to_x` with L_0^T dE/dt."""
    parts, atoms = edges.parts[0], len(edges.species)
    for part in prange(len(parts) - 1):
        of_tile = _new_scratch(plan, g)
        for first in range(parts[part], parts[part + 1], TILE):
            count, received = min(TILE, parts[part + 1] - first), where(plan.messages, first, atoms)
            _to_messages(plan, products, edges, kept, g, to_x, (first, count), of_tile, (to_messages, received))


@njit(parallel=True, fastmath=FAST, cache=True)
def backward_to_senders(plan, constants, edges, kept, to_messages, to_x, to_edges):
    """The second half, from all atoms' gradient of conv(y): adds to `to_x` of own atoms and to `to_edges`."""
    parts, atoms, y = edges.parts[0], len(edges.species), kept.sent
    for part in prange(len(parts) - 1):
        near = new_places(edges, parts[part], parts[part + 1], y)
        to_y, in_tile = aligned(size(plan.features) * TILE, y), where(plan.features, 0, TILE)
        for first in range(parts[part], parts[part + 1], TILE):
            count, elements = min(TILE, parts[part + 1] - first), (edges.species, first)
            to_y[:] = 0
            for k in range(count):
                convolve_backward_to_sender(
                    (plan, constants, edges, y), first + k, to_messages, near, to_y, (k, TILE), to_edges
                )
            features = where(plan.features, first, atoms)
            _mix(plan.weights, plan.linear_in[1], elements, to_y, in_tile, to_x, features, count, True)


@njit(fastmath=FAST)
def _new_scratch(plan, like):
    """Of a thread, for `_to_messages`: gradient of t, normalized t', gradient of P(t)."""
    columns = size(plan.totals) * TILE
    return aligned(columns, like), aligned(columns, like), aligned(size(plan.made) * TILE, like)


@njit(fastmath=FAST)
def _to_messages(plan, products, edges, kept, g, to_x, tile, scratch, to_messages):
    """Of a tile of atoms, from the gradient g of x' to that of conv(y), and L_0^T dE/dt unless `to_x` is empty.

    `tile`: the first atom, and how many; `to_messages`: an array, and where the atoms' rows are in it.
    """
    (first, count), (_, totals, mixed), (to_totals, normal, to_made) = tile, kept, scratch
    at, made = where(plan.totals, 0, TILE), where(plan.made, 0, TILE)
    norm = Norm(plan.norm_factors, plan.norm_weights, plan.epsilon)
    atoms, elements, (to_received, received) = len(edges.species), (edges.species, first), to_messages
    given, result = where(plan.totals, first, atoms), where(plan.out, first, atoms)
    if len(norm.factors):
        normalize(norm, mixed, given, normal, at, count)
        gate_backward(plan.gates, normal, at, g, result, to_totals, at, count)
        normalize_backward(norm, mixed, given, to_totals, at, count)
    else:
        gate_backward(plan.gates, mixed, given, g, result, to_totals, at, count)
    if len(plan.made):
        _mix(plan.weights, plan.products_linear[1], elements, to_totals, at, to_made, made, count, False)
        form_products_backward(products, totals, given, to_made, made, to_totals, at, count)
    if len(to_x):
        features = where(plan.features, first, atoms)
        _mix(plan.weights, plan.self_connection[1], elements, to_totals, at, to_x, features, count, False)
    _scale(plan, edges.species, first, to_totals, at, count)
    _mix(plan.weights, plan.linear_out[1], elements, to_totals, at, to_received, received, count, False)


@njit(fastmath=FAST)
def _mix(weights, matrices, elements, x, x_where, y, y_where, count, add):
    """y = L x, or y += L x, of `count` atoms; without `add`, what has no matrix is zero.

    `elements` are those of all atoms, and which atom is the first.
    """
    species, first = elements
    for l in range(len(y_where[0])):
        x_at, y_at = begin(x_where, l), begin(y_where, l)
        if matrices[l, 2]:
            x_stride, y_stride = x_where[0][l, 2], y_where[0][l, 2]
            done = 0
            while done < count:
                end = _same_matrix(species, first, done, count, matrices[l, 4])
                rows, row = (end - done) * (2 * l + 1), done * (2 * l + 1)
                w = matrices[l, 0] + species[first + done] * matrices[l, 4]
                place = y_at + row * y_stride
                # one product for both: two would take twice as long to compile
                start, start_rows = (y, (place, y_stride)) if add else (weights, (matrices[l, 3], 0))
                matrix = (w, matrices[l, 1], matrices[l, 2])
                x_rows = (x_at + row * x_stride, x_stride)
                product_of_rows(x, x_rows, weights, matrix, start, start_rows, y, (place, y_stride), rows)
                done = end
        elif not add:
            y[y_at : y_at + count * y_where[0][l, 1]] = 0


@njit(fastmath=FAST)
def _same_matrix(species, first, done, count, apart):
    """The end of the atoms from number `done` on that have the same matrix."""
    if apart == 0:
        return count
    end = done + 1
    while end < count and species[first + end] == species[first + done]:
        end += 1
    return end


@njit(fastmath=FAST)
def _add_rows(x, y, rows, count):
    """y += x."""
    for l in range(len(rows[0])):
        at = begin(rows, l)
        for k in range(at, at + count * rows[0][l, 1], SIMD_WIDTH):
            store(y, k, load(y, k) + load(x, k))


@njit(fastmath=FAST)
def _copy_rows(x, y, rows, count):
    """y = x."""
    for l in range(len(rows[0])):
        at = begin(rows, l)
        for k in range(at, at + count * rows[0][l, 1], SIMD_WIDTH):
            store(y, k, load(x, k))


@njit(fastmath=FAST)
def _scale(plan, species, first, totals, rows, count):
    """The rows of t times the factors of each atom's element, from atom `first` on."""
    if not len(plan.scales):
        return
    column = 0
    for l in range(len(plan.totals)):
        at, width = begin(rows, l), plan.totals[l, 2]
        for i in range(count):
            factors = species[first + i] * plan.scales.shape[1] + column
            for _ in range(2 * l + 1):
                for c in range(0, width, SIMD_WIDTH):
                    store(totals, at + c, load(totals, at + c) * load(plan.scales, factors + c))
                at += width
        column += width
