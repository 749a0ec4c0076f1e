"""Operators beside ten lines of NumPy each; pullbacks and tangents of references and kernels agree with each other."""

import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.special import eval_legendre
from torch.autograd import forward_ad

from gnnpot.compiler.decorator import njit
from gnnpot.ops import feature_products as products
from gnnpot.ops import gate as gates
from gnnpot.ops import rms_norm as norms
from gnnpot.ops.activations import SILU_SCALE
from gnnpot.ops.feature_products import feature_products, products_for_kernels, terms
from gnnpot.ops.gate import gated_features
from gnnpot.ops.rms_norm import Norm, degree_weights, rms_norm
from gnnpot.ops.rows import Rows
from gnnpot.ops.simd.vector_rows import load_rows, store_rows, totals, transpose
from gnnpot.ops.simd.vectors import SIMD_WIDTH, broadcast, get, less_mask, load, lowest_bit, put, store
from gnnpot.ops.spherical_harmonics import Harmonics, spherical_harmonics
from gnnpot.ops.tensor_product import ProductLayout, coupling, coupling_paths, product_over_bonds, tensor_product

CHANNELS = (20, 5, 3)
ATOMS = 4


def features(seed: int, channels: tuple[int, ...] = CHANNELS, atoms: int = ATOMS) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(atoms, 2 * l + 1, c, generator=generator, dtype=torch.float64) for l, c in enumerate(channels)]


def dot(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


def both_ways(function, given: list[torch.Tensor], rates: list[torch.Tensor], gradients: list[torch.Tensor]) -> None:
    """h · (J v) = (Jᵀ h) · v, and J v is the difference quotient."""
    with forward_ad.dual_level():
        made = function([forward_ad.make_dual(x, v) for x, v in zip(given, rates, strict=True)])
        tangent = [forward_ad.unpack_dual(y).tangent for y in made]
    inputs = [x.clone().requires_grad_() for x in given]
    pullback = torch.autograd.grad(function(inputs), inputs, gradients)
    assert dot(gradients, tangent) == pytest.approx(dot(list(pullback), rates), rel=1e-10)
    h = 1e-6
    ahead, behind = (function([x + s * h * v for x, v in zip(given, rates, strict=True)]) for s in (1, -1))
    for a, b, t in zip(ahead, behind, tangent, strict=True):
        assert torch.allclose((a - b) / (2 * h), t, rtol=1e-6, atol=1e-7)


# norm


def test_norm_is_that_of_numpy():
    x, gamma = [t.numpy() for t in features(0)], [np.linspace(0.5, 1.5, c) for c in CHANNELS]
    q = sum((a**2).sum((1, 2)) / (3 * (2 * l + 1) ** 2) for l, a in enumerate(x))
    expected = [a * g / np.sqrt(q + 1e-12)[:, None, None] for a, g in zip(x, gamma, strict=True)]
    found = rms_norm([torch.from_numpy(a) for a in x], [torch.from_numpy(g) for g in gamma], 1e-12)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_norm_both_ways():
    gamma = [torch.linspace(0.5, 1.5, c, dtype=torch.float64) for c in CHANNELS]
    both_ways(lambda x: rms_norm(x, gamma, 1e-3), features(0), features(1), features(2))


def test_kernels_of_the_norm():
    x, g, rows = features(0), features(1), Rows([[c] for c in CHANNELS])
    gamma = [torch.linspace(0.5, 1.5, c, dtype=torch.float64) for c in CHANNELS]
    inputs = [t.clone().requires_grad_() for t in x]
    expected = rms_norm(inputs, gamma, 1e-3)
    pullback = torch.autograd.grad(expected, inputs, g)
    factors = torch.cat([columns.pad(f) for columns, f in zip(rows.columns, gamma, strict=True)]).numpy()
    norm = Norm(factors, np.array(degree_weights(3)), 1e-3)
    flat, made, gradient = rows.join(x).numpy(), np.zeros(ATOMS * rows.size), rows.join(g).numpy()
    where = np.array(rows.offsets), 0, ATOMS
    norms.normalize(norm, flat, where, made, where, ATOMS)
    norms.normalize_backward(norm, flat, where, gradient, where, ATOMS)
    for a, b in zip(rows.split(torch.from_numpy(made)), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-12)
    for a, b in zip(rows.split(torch.from_numpy(gradient)), pullback, strict=True):
        assert torch.allclose(a, b, rtol=1e-11)


# gate


def gate_input(seed: int) -> list[torch.Tensor]:
    return features(seed, (sum(CHANNELS), *CHANNELS[1:]))


def test_gate_is_that_of_numpy():
    x = [t.numpy() for t in gate_input(0)]
    active = SILU_SCALE * x[0] / (1 + np.exp(-x[0]))
    expected = [active[..., :20], x[1] * active[..., 20:25], x[2] * active[..., 25:]]
    for a, b in zip(gated_features([torch.from_numpy(t) for t in x], CHANNELS), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_gate_both_ways():
    both_ways(lambda x: gated_features(x, CHANNELS), gate_input(0), gate_input(1), features(2))


def test_kernels_of_the_gate():
    x, g = gate_input(0), features(1)
    given, result = Rows([list(CHANNELS), *([c] for c in CHANNELS[1:])]), Rows([[c] for c in CHANNELS])
    inputs = [t.clone().requires_grad_() for t in x]
    expected = gated_features(inputs, CHANNELS)
    pullback = torch.autograd.grad(expected, inputs, g)
    starts = np.array(given.columns[0].starts)
    flat, made = given.join(x).numpy(), np.zeros(ATOMS * result.size)
    from_, to, gradient = (np.array(given.offsets), 0, ATOMS), (np.array(result.offsets), 0, ATOMS), np.zeros(len(flat))
    gates.gate(starts, flat, from_, made, to, ATOMS)
    gates.gate_backward(starts, flat, from_, result.join(g).numpy(), to, gradient, from_, ATOMS)
    for a, b in zip(result.split(torch.from_numpy(made)), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10)
    for a, b in zip(given.split(torch.from_numpy(gradient)), pullback, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


# spherical harmonics


def test_harmonics_obey_the_addition_theorem():
    """Y_l(a) · Y_l(b) = (2l + 1) P_l(cos of their angle), with Legendre's polynomials, in any real basis."""
    vectors = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    units = (vectors / vectors.norm(dim=1, keepdim=True)).numpy()
    for l, found in enumerate(spherical_harmonics(vectors, 4)):
        np.testing.assert_allclose(found @ found.T, (2 * l + 1) * eval_legendre(l, units @ units.T), atol=1e-6)


@pytest.mark.parametrize("lmax", [1, 2, 3, 4])
def test_harmonics_both_ways(lmax):
    generator = torch.Generator().manual_seed(0)
    given, rates = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    gradients = [torch.randn(5, 2 * l + 1, generator=generator, dtype=torch.float64) for l in range(1, lmax + 1)]
    # Y_0 is constant
    both_ways(lambda x: spherical_harmonics(x[0], lmax)[1:], [given], [rates], gradients)
    vectors = given.clone().requires_grad_()
    distances = vectors.norm(dim=1)
    made = spherical_harmonics(vectors, lmax)
    along = torch.linspace(1, 2, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad([distances, *made[1:]], vectors, [along, *gradients])
    kernel = Harmonics(lmax)
    r, y = kernel(given.numpy())
    np.testing.assert_allclose(r, distances.detach(), rtol=1e-12)
    size = (lmax + 1) ** 2
    np.testing.assert_allclose(y[:5, :size], torch.cat(made, 1).detach(), atol=1e-12)
    to_edges = np.full_like(y, np.nan)
    to_edges[:5, :size] = torch.cat([along[:, None], *gradients], 1)
    found = kernel.pullback(given.numpy(), to_edges)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# tensor product


@pytest.fixture
def product():
    """Bonds, harmonics and weights of a product; one bond joins an atom with itself."""
    generator = torch.Generator().manual_seed(3)
    paths = coupling_paths(2, 2, 2, parity=True)
    ends = np.array([[0, 1], [1, 2], [3, 3], [0, 3]])
    harmonics = spherical_harmonics(torch.randn(len(ends), 3, generator=generator, dtype=torch.float64), 2)
    width = sum(CHANNELS[l1] for l1, _, _ in paths)
    return paths, ends, harmonics, torch.randn(len(ends), width, generator=generator, dtype=torch.float64)


def test_product_is_that_of_numpy(product):
    paths, ends, harmonics, weights = product
    x = [t.numpy() for t in features(0)]
    expected = [np.zeros((ATOMS, 2 * l + 1, sum(CHANNELS[a] for a, _, c in paths if c == l))) for l in range(3)]
    column, first = [0, 0, 0], 0
    for l1, l2, l3 in paths:
        width, c = CHANNELS[l1], coupling(l1, l2, l3).numpy()
        for (i, j), y, w in zip(ends, harmonics[l2].numpy(), weights[:, first : first + width].numpy(), strict=True):
            message = np.einsum("abm,ac,b,c->mc", c, x[l1][j], y, w)
            expected[l3][i, :, column[l3] : column[l3] + width] += message
        first, column[l3] = first + width, column[l3] + width
    found = tensor_product([torch.from_numpy(t) for t in x], harmonics, weights, torch.from_numpy(ends.T), paths)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_product_over_bonds_both_ways(product):
    paths, ends, harmonics, weights = product
    layout = ProductLayout(CHANNELS, paths, [coupling(*path) for path in paths], torch.float64)
    both = torch.from_numpy(np.concatenate([ends, ends[:, ::-1]]).T.copy())
    signed = [torch.cat([y, (-1) ** l * y]) for l, y in enumerate(harmonics)]
    expected = tensor_product(features(0), signed, torch.cat([weights, weights]), both, paths)

    def function(given: list[torch.Tensor]) -> list[torch.Tensor]:
        *x, y, w = given
        return product_over_bonds(layout, ends, x, y, w)

    given = [*features(0), torch.cat(harmonics, 1), weights]
    for a, b in zip(function(given), expected, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    generator = torch.Generator().manual_seed(5)
    rates = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in given]
    gradients = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in expected]
    both_ways(function, given, rates, gradients)


# products of an atom's own features


def products_by_numpy(x: list[np.ndarray], f: list[np.ndarray]) -> list[np.ndarray]:
    """Equation (3) for l up to 2: Φ of (1, 1, 2) and of (2, 2, 2)."""
    s = [np.sqrt(1 + (a**2).sum(1, keepdims=True)) for a in x[1:]]
    u, v = x[1] / s[0], x[2] / s[1]
    c, d = coupling(1, 1, 2).numpy(), coupling(2, 2, 2).numpy()
    along = np.einsum("abc,iax,ibx->icx", c, u, u), np.einsum("abc,iax,ibx->icx", d, v, v)
    invariants = [s[0] - 1, s[1] - 1, *((a * v).sum(1, keepdims=True) for a in along)]
    first = 2 * f[0][0] * np.einsum("abc,ibx,icx->iax", c, u, v)
    return [np.concatenate(invariants, -1), first, f[1][0] * along[0] + 3 * f[1][1] * along[1]]


def products_case(seed: int, channels: int = 5) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    factors = [torch.randn(n, channels, generator=torch.Generator().manual_seed(seed + n)).double() for n in (1, 2)]
    return features(seed, (channels,) * 3), factors


def test_products_are_those_of_numpy():
    x, f = products_case(0)
    expected = products_by_numpy([a.numpy() for a in x], [a.numpy() for a in f])
    for a, b in zip(feature_products(x, f), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_products_both_ways():
    torch.manual_seed(0)
    (first, *x), f = products_case(0)
    (_, *rates), f_rates = products_case(1)
    gradients = [torch.randn_like(y) for y in feature_products([first, *x], f)]
    both_ways(lambda t: feature_products([first, *t[:2]], t[2:]), [*x, *f], [*rates, *f_rates], gradients)


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_products_turn_with_the_structure_and_with_its_mirror_image(lmax):
    torch.manual_seed(0)
    x = features(3, (4,) * (lmax + 1))
    f = [torch.randn(len(found), 4).double() for found in terms(lmax)[1:] if found]
    turn = -o3.rand_matrix(dtype=torch.float64)
    matrices = [o3.Irrep(l, (-1) ** l).D_from_matrix(turn) for l in range(lmax + 1)]
    turned = feature_products([d @ a for d, a in zip(matrices, x, strict=True)], f)
    # for l = 1 there are no products but scalars
    for d, a, b in zip(matrices, feature_products(x, f), turned, strict=lmax > 1):
        # e3nn's matrices are rounded to single precision
        torch.testing.assert_close(d @ a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [5, 20])
@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_kernels_of_the_products(lmax, channels):
    torch.manual_seed(0)
    x = features(4, (channels,) * (lmax + 1))
    f = [torch.randn(len(found), channels).double() for found in terms(lmax)[1:] if found]
    inputs = [a.requires_grad_() for a in x]
    reference = feature_products(inputs, f)
    g = [torch.randn_like(y) for y in reference]
    expected = torch.autograd.grad(reference, inputs[1:], g)
    given, made = Rows([[channels]] * (lmax + 1)), Rows([[channels] * (y.shape[-1] // channels) for y in reference])
    kernel = products_for_kernels(f, lmax, channels, np.dtype(np.float64))
    flat = given.join([a.detach() for a in x]).numpy()
    found, slopes = np.empty(ATOMS * made.size), given.join(features(5, (channels,) * (lmax + 1))).numpy()
    before, places = given.split(torch.from_numpy(slopes.copy())), [rows_at(given), rows_at(made)]
    products.form_products(kernel, flat, places[0], found, places[1], ATOMS)
    products.form_products_backward(kernel, flat, places[0], made.join(g).numpy(), places[1], slopes, places[0], ATOMS)
    for a, b in zip(made.split(torch.from_numpy(found)), reference, strict=True):
        torch.testing.assert_close(a, b.detach())
    after = given.split(torch.from_numpy(slopes))
    for a, b, c in zip(before[1:], after[1:], expected, strict=True):
        torch.testing.assert_close(b - a, c)


def rows_at(rows: Rows) -> tuple[np.ndarray, int, int]:
    """Where kernels find rows of all atoms."""
    return np.array(rows.offsets), 0, ATOMS


def test_lanes_and_numbers_at_positions():
    @njit
    def kernel(array, numbers, found):
        found[0] = less_mask(load(array, 0), broadcast(array, 3.5))
        found[1] = lowest_bit(found[0] & ~np.int64(1))
        found[2] = lowest_bit(np.int64(0))
        put(numbers, 1, get(numbers, 0) + 5)

    for dtype in (np.float32, np.float64):
        array = np.array([0, 9, 1, 9, 2, 9, 3, 9, 4, *[9] * 7], dtype)
        numbers, found = np.array([7, 0]), np.zeros(3, np.int64)
        kernel(array, numbers, found)
        assert found.tolist() == [0b1010101, 2, 64] and numbers.tolist() == [7, 12]


def test_totals_and_the_transpose_of_vectors():
    @njit
    def kernel(array, sums, turned):
        store(sums, 0, totals(load_rows(array, 0, SIMD_WIDTH, 9)))
        store(sums, SIMD_WIDTH, totals(load_rows(array, 0, SIMD_WIDTH, SIMD_WIDTH)))
        store_rows(turned, 0, SIMD_WIDTH, transpose(load_rows(array, 0, SIMD_WIDTH, SIMD_WIDTH)))

    for dtype in (np.float32, np.float64):
        rows = np.random.default_rng(0).standard_normal((SIMD_WIDTH, SIMD_WIDTH)).astype(dtype)
        sums, turned = np.ones(2 * SIMD_WIDTH, dtype), np.zeros(rows.size, dtype)
        kernel(rows.ravel(), sums, turned)
        np.testing.assert_allclose(sums, [*rows[:9].sum(1), *[0] * 7, *rows.sum(1)], atol=1e-5)
        assert np.array_equal(turned.reshape(rows.shape), rows.T)
