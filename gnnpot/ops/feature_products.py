"""Products of the features of one atom, channel by channel: second- and third-order invariants, and their gradients.

From the features x_l with l ≥ 1 and the coupling constants C,

    u_l = x_l / s_l,      s_l = sqrt(1 + |x_l|²),      n_l = s_l - 1                                              (1)
    Φ_T = Σ C_T[m_a, m_b, m_c] u_a[m_a] u_b[m_b] u_c[m_c],      for each triple T = (a, b, c)                      (2)
    y_0 = (n_1, n_2, …, Φ_T, …),      y_l = Σ_T f_T,l ⊙ ∂Φ_T/∂u_l                                                 (3)

where |x_l|² is a sum over m only. (1) bounds the features, so that no product grows faster than they do. y_0 has all
invariants side by side as channels, and f_T,l has a factor for each channel. A triple has 1 ≤ a ≤ b ≤ c ≤ a + b and an
even a + b + c, so that the products have parity (-1)^l if the features have it. With the gradients g_n, g_Φ and g_l
with respect to n, Φ and y_l, and with the tangents ẋ,

    S = Σ_T (g_Φ,T Φ_T + Σ_l (f_T,l ⊙ g_l) · ∂Φ_T/∂u_l),      h_l = ∂S/∂u_l                                       (4)
    pullback:   dE/dx_l = g_n,l u_l + (h_l - u_l (u_l · h_l)) / s_l                                               (5)
    tangent:    u̇_l = (ẋ_l - u_l (u_l · ẋ_l)) / s_l,   ṅ_l = u_l · ẋ_l,   Φ̇_T = Σ_l u̇_l · ∂Φ_T/∂u_l,
                ẏ_l = Σ_T f_T,l ⊙ Σ_k ∂²Φ_T/∂u_l∂u_k u̇_k                                                          (6)

`feature_products` is the reference implementation; PyTorch can differentiate it any number of times, in forward and
reverse mode. `form_products` and `form_products_backward` are for kernels, on flat arrays (`rows.py`).

Features that are sums over single neighbours have body order two; invariants of three of them have body order four
(Drautz, Phys. Rev. B 99, 014104 (2019); Batatia et al., NeurIPS 2022, MACE). Their cost is per atom, not per edge.
"""

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit
from gnnpot.ops.cubic_forms import UNROLLED, add_second_derivative, monomials, triples
from gnnpot.ops.rows import Columns, row_offset
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_functions import square_root
from gnnpot.ops.simd.vectors import SIMD_WIDTH, aligned, broadcast, broadcast_at, fma, load, mul, store


def terms(lmax: int) -> list[list[int]]:
    """For each l, the indices in `triples(lmax)` of the triples that contain l; empty for l = 0."""
    return [[k for k, triple in enumerate(triples(lmax)) if l in triple] for l in range(lmax + 1)]


def feature_products(features: Sequence[Tensor], factors: Sequence[Tensor]) -> list[Tensor]:
    """Equation (3).

    Args:
        features: x_l [N, 2l+1, channels], from l = 0 on, with the same number of channels for each l ≥ 1; x_0 is not
            used.
        factors: f [triples that contain l, channels] for each l ≥ 1.

    Returns:
        y_0 [N, 1, channels (lmax + number of triples)], then y_l [N, 2l+1, channels] for each l ≥ 1. If there are no
        triples, y_0 only.
    """
    lmax = len(features) - 1
    scales = [torch.sqrt(1 + x.square().sum(1, keepdim=True)) for x in features[1:]]
    invariants = [s - 1 for s in scales]
    if not factors:
        return [torch.cat(invariants, -1)]
    form = _cubic_form(lmax)
    u = torch.cat([x / s for x, s in zip(features[1:], scales, strict=True)], 1)
    pairs = u.index_select(1, form.first.to(u.device)) * u.index_select(1, form.second.to(u.device))
    gradients = (form.matrix.to(u) @ pairs).unflatten(1, (-1, u.shape[1]))
    # Φ is of degree 3, so that u · ∂Φ/∂u = 3 Φ
    invariants += ((gradients * u[:, None]).sum(2) / 3).split(1, 1)
    f = torch.cat(list(factors)).index_select(0, form.factor.to(u.device)).unflatten(0, gradients.shape[1:3])
    sums = (f * gradients).sum(1)
    return [torch.cat(invariants, -1), *sums.split([2 * l + 1 for l in range(1, lmax + 1)], 1)]


class _CubicForm(NamedTuple):
    """∂Φ_T/∂u as a matrix times the products u_p u_q; the position of (l, m) is l² - 1 + m."""

    first: Tensor  #: [pairs] position p of the first factor
    second: Tensor  #: [pairs] position q of the second factor
    matrix: Tensor  #: [triples positions, pairs]
    factor: Tensor  #: [triples positions] row of the concatenated factors that multiplies each gradient


@cache
def _cubic_form(lmax: int) -> _CubicForm:
    forms, size, triples_of_l = [monomials(triple) for triple in triples(lmax)], (lmax + 1) ** 2 - 1, terms(lmax)
    pairs = sorted({pair for entries in forms for positions in entries for pair in combinations(positions, 2)})
    pair_index: dict[tuple[int, ...], int] = {pair: k for k, pair in enumerate(pairs)}
    matrix = torch.zeros(len(forms), size, len(pairs), dtype=torch.float64)
    for triple, entries in enumerate(forms):
        for positions, constant in entries.items():
            for k, position in enumerate(positions):
                matrix[triple, position, pair_index[*positions[:k], *positions[k + 1 :]]] += constant
    first_factor = [sum(len(entries) for entries in triples_of_l[:l]) for l in range(lmax + 1)]
    # where a triple does not contain l, its gradient is zero, and any factor will do
    factor = [
        first_factor[l] + triples_of_l[l].index(triple) if triple in triples_of_l[l] else 0
        for triple in range(len(forms))
        for l in range(1, lmax + 1)
        for _ in range(2 * l + 1)
    ]
    first, second = torch.tensor(pairs).T.contiguous()
    return _CubicForm(first, second, matrix.flatten(0, 1), torch.tensor(factor))


class Products(NamedTuple):
    """Constants of equations (1) to (3) for kernels, with Φ as a sum of monomials; (l, m) has position l² - 1 + m."""

    kinds: np.ndarray  #: [triples] index in `UNROLLED`; -1 if it is not there
    ends: np.ndarray  #: [triples + 1] start of the monomials of each triple, and the end of the last
    positions: np.ndarray  #: [monomials, 3] positions of the three factors
    constants: np.ndarray  #: [monomials] κ
    factors: np.ndarray  #: [triples, l from 1 on, width] f; 0 where a triple does not contain l


def products_for_kernels(factors: Sequence[Tensor], lmax: int, width: int, dtype: np.dtype) -> Products:
    """Return the `Products` of features up to l = `lmax` with `width` channels; `factors` as in `feature_products`."""
    columns, all_triples = Columns([width]), triples(lmax)
    padded = np.zeros((len(all_triples), lmax, columns.width), dtype)
    for l, indices in enumerate(terms(lmax)):
        for row, triple in enumerate(indices):
            padded[triple, l - 1] = columns.pad(factors[l - 1][row].detach()).numpy()
    forms = [monomials(triple) for triple in all_triples]
    all_monomials = [item for form in forms for item in form.items()]
    return Products(
        kinds=np.array([UNROLLED.index(triple) if triple in UNROLLED else -1 for triple in all_triples], np.int64),
        ends=np.cumsum([0, *map(len, forms)]),
        positions=np.array([positions for positions, _ in all_monomials], np.int64).reshape(-1, 3),
        constants=np.array([constant for _, constant in all_monomials], dtype),
        factors=padded,
    )


@njit(fastmath=FAST, forceinline=True)
def _bounded(x, location, i, c, u, scales):
    """Equation (1) for 16 channels of atom i, from channel c on.

    Sets u [positions, SIMD_WIDTH] and `scales`, s [l from 1 on, SIMD_WIDTH].
    """
    for l in range(1, len(location[0])):
        at, width, squares = row_offset(location, l) + i * location[0][l, 1] + c, location[0][l, 2], broadcast(x, 1.0)
        for m in range(2 * l + 1):
            squares = fma(load(x, at + m * width), load(x, at + m * width), squares)
        scale = square_root(squares)
        store(scales, (l - 1) * SIMD_WIDTH, scale)
        inverse = broadcast(x, 1.0) / scale
        for m in range(2 * l + 1):
            store(u, (l * l - 1 + m) * SIMD_WIDTH, mul(inverse, load(x, at + m * width)))


@njit(fastmath=FAST, forceinline=True)
def _scratch(location, x):
    """Allocate three arrays [positions, SIMD_WIDTH], and the scales [l from 1 on, SIMD_WIDTH]."""
    lmax = len(location[0]) - 1
    positions = (lmax + 1) * (lmax + 1) - 1
    return (
        aligned(positions * SIMD_WIDTH, x), aligned(positions * SIMD_WIDTH, x), aligned(positions * SIMD_WIDTH, x),
        aligned(lmax * SIMD_WIDTH, x),
    )  # fmt: skip


@njit(fastmath=FAST)
def form_products(products, x, x_location, y, y_location, count):
    """Equation (3) for `count` atoms; `x_location` and `y_location` locate their rows in x and y (`rows.locate`)."""
    lmax, width, triples = len(x_location[0]) - 1, products.factors.shape[2], len(products.ends) - 1
    u, gradient, sums, scales = _scratch(x_location, x)
    half = aligned(len(u), x)
    for i in range(count):
        for c in range(0, width, SIMD_WIDTH):
            _bounded(x, x_location, i, c, u, scales)
            invariants = row_offset(y_location, 0) + i * y_location[0][0, 1] + c
            for l in range(lmax):
                store(y, invariants + l * width, load(scales, l * SIMD_WIDTH) - broadcast(x, 1.0))
            sums[:] = 0
            for k in range(0, len(u), SIMD_WIDTH):
                store(half, k, load(u, k) * 0.5)
            for triple in range(triples):
                gradient[:] = 0
                _add_second_derivative(products, triple, u, half, gradient)
                invariant = broadcast(x, 0.0)
                for k in range(0, len(u), SIMD_WIDTH):
                    invariant = fma(load(u, k), load(gradient, k), invariant)
                store(y, invariants + (lmax + triple) * width, invariant * (1 / 3))
                _add_with_factors(products, triple, c, gradient, sums)
            for l in range(1, len(y_location[0])):
                at = row_offset(y_location, l) + i * y_location[0][l, 1] + c
                for m in range(2 * l + 1):
                    store(y, at + m * width, load(sums, (l * l - 1 + m) * SIMD_WIDTH))


@njit(fastmath=FAST)
def form_products_backward(products, x, x_location, g, g_location, g_x, g_x_location, count):
    """Add equation (5) to `g_x` for `count` atoms.

    `x_location`, `g_location` and `g_x_location` locate their rows in x, g and `g_x`.
    """
    lmax, width, triples = len(x_location[0]) - 1, products.factors.shape[2], len(products.ends) - 1
    u, v, h, scales = _scratch(x_location, x)
    for i in range(count):
        for c in range(0, width, SIMD_WIDTH):
            _bounded(x, x_location, i, c, u, scales)
            invariants = row_offset(g_location, 0) + i * g_location[0][0, 1] + c
            h[:] = 0
            for triple in range(triples):
                g_phi = load(g, invariants + (lmax + triple) * width)
                _gradients(products, triple, c, u, g_phi, g, g_location, i, v)
                _add_second_derivative(products, triple, u, v, h)
            for l in range(1, lmax + 1):
                at, row = row_offset(g_x_location, l) + i * g_x_location[0][l, 1] + c, g_x_location[0][l, 2]
                first, u_dot_h = (l * l - 1) * SIMD_WIDTH, broadcast(x, 0.0)
                for m in range(0, (2 * l + 1) * SIMD_WIDTH, SIMD_WIDTH):
                    u_dot_h = fma(load(u, first + m), load(h, first + m), u_dot_h)
                inverse = broadcast(x, 1.0) / load(scales, (l - 1) * SIMD_WIDTH)
                by_u = load(g, invariants + (l - 1) * width) - inverse * u_dot_h
                for m in range(2 * l + 1):
                    k, position = first + m * SIMD_WIDTH, at + m * row
                    store(g_x, position, fma(by_u, load(u, k), fma(inverse, load(h, k), load(g_x, position))))


@njit(fastmath=FAST, forceinline=True)
def _add_second_derivative(products, triple, u, v, h):
    """h += B_T(u, v), equation (1) of `cubic_forms.py`."""
    if products.kinds[triple] >= 0:
        add_second_derivative(products.kinds[triple], u, v, h)
        return
    positions = products.positions
    for k in range(products.ends[triple], products.ends[triple + 1]):
        at_a, at_b, at_d = positions[k, 0] * SIMD_WIDTH, positions[k, 1] * SIMD_WIDTH, positions[k, 2] * SIMD_WIDTH
        constant = broadcast_at(products.constants, k)
        u_a, u_b, u_d = constant * load(u, at_a), constant * load(u, at_b), constant * load(u, at_d)
        v_a, v_b, v_d = load(v, at_a), load(v, at_b), load(v, at_d)
        # one after the other: the positions may be equal
        store(h, at_a, fma(v_b, u_d, fma(u_b, v_d, load(h, at_a))))
        store(h, at_b, fma(v_a, u_d, fma(u_a, v_d, load(h, at_b))))
        store(h, at_d, fma(v_a, u_b, fma(u_a, v_b, load(h, at_d))))


@njit(fastmath=FAST, forceinline=True)
def _add_with_factors(products, triple, c, gradient, sums):
    """sums_l += f_l ⊙ ∂Φ/∂u_l."""
    degrees, width = products.factors.shape[1:]
    for l in range(1, degrees + 1):
        factor = load(products.factors, (triple * degrees + l - 1) * width + c)
        for m in range(2 * l + 1):
            k = (l * l - 1 + m) * SIMD_WIDTH
            store(sums, k, fma(factor, load(gradient, k), load(sums, k)))


@njit(fastmath=FAST, forceinline=True)
def _gradients(products, triple, c, u, g_phi, g, g_location, i, v):
    """v = f ⊙ g + ½ g_Φ u, with g_Φ = `g_phi`. The gradient of v · ∂Φ/∂u then includes the gradient of g_Φ Φ."""
    degrees, width = products.factors.shape[1:]
    half = g_phi * 0.5
    for l in range(1, degrees + 1):
        at = row_offset(g_location, l) + i * g_location[0][l, 1] + c
        factor = load(products.factors, (triple * degrees + l - 1) * width + c)
        for m in range(2 * l + 1):
            k = (l * l - 1 + m) * SIMD_WIDTH
            store(v, k, fma(factor, load(g, at + m * width), mul(half, load(u, k))))
