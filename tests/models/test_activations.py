"""Fused activations: values and both derivatives are those of PyTorch's operations."""

import pytest
import torch

from gnnpot.ops.activations import gated, silu


def inputs(count: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(4, 8, generator=generator, dtype=torch.float64).to(dtype) for _ in range(count)]


def plain(value, gate, weights=None):
    product = torch.nn.functional.silu(value) * torch.sigmoid(gate)
    return product if weights is None else product * weights


@pytest.mark.parametrize("count", [2, 3])
def test_gated(count):
    factors = [x.requires_grad_() for x in inputs(count)]
    assert torch.allclose(gated(*factors), plain(*factors), rtol=1e-13)
    assert torch.autograd.gradcheck(gated, factors)
    assert torch.autograd.gradgradcheck(gated, factors)


def test_silu():
    (x,) = inputs(1)
    x.requires_grad_()
    assert torch.allclose(silu(x), torch.nn.functional.silu(x), rtol=1e-13)
    assert torch.autograd.gradcheck(silu, x)
    assert torch.autograd.gradgradcheck(silu, x)


@pytest.mark.parametrize(("fused", "reference", "count"), [(silu, torch.nn.functional.silu, 1), (gated, plain, 3)])
def test_single_precision_and_strided_rows(fused, reference, count):
    """What training does: a gradient, and the gradient of a function of it, on rows that are halves of others."""
    results = []
    for function, dtype in ((fused, torch.float32), (reference, torch.float64)):
        wide = [torch.cat([x, x.flip(0)], 1).requires_grad_() for x in inputs(count, dtype)]
        y = function(*(x[:, 4:12] for x in wide))
        first = torch.autograd.grad((y * y).sum(), wide, create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in first), wide)
        results.append([t.detach().double() for t in (y, *first, *second)])
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_no_rows():
    empty = [torch.zeros(0, 16, requires_grad=True) for _ in range(3)]
    (gradient,) = torch.autograd.grad(gated(*empty).sum(), empty[0])
    assert gated(*empty).shape == (0, 16) == gradient.shape


def test_no_whole_vectors():
    factors = [x[:1, :3].clone().requires_grad_() for x in inputs(3)]
    assert torch.autograd.gradgradcheck(gated, factors)
    assert torch.autograd.gradgradcheck(silu, factors[0])


@pytest.mark.parametrize("function", [silu, lambda x: gated(x, x.flip(0))])
def test_saturated_units_leave_no_subnormal_numbers(function):
    """Some processors take a hundred times as long for them."""
    x = torch.linspace(-800, 800, 64).requires_grad_()
    y = 1e-9 * function(x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    for numbers in (y, first, second):
        size = numbers.detach().abs()
        assert not ((size > 0) & (size < torch.finfo(torch.float32).tiny)).any()
