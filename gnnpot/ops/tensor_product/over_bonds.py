"""Tensor product over bonds (pairs of an edge and its reverse): twice differentiable, with forward-mode derivatives."""

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.threads import follow_torch
from gnnpot.ops.tensor_product import bonds as kernels
from gnnpot.ops.tensor_product.layout import ProductLayout


def product_over_bonds(
    layout: ProductLayout, ends: np.ndarray, features: Sequence[Tensor], harmonics: Tensor, weights: Tensor
) -> list[Tensor]:
    """Compute the messages of both edges of each bond in one pass over the bonds, on the CPU.

    Args:
        layout: Layout of features, harmonics and paths.
        ends: Atoms i and j of each bond, [U, 2].
        features: x_l [N, 2l+1, channels] for each l.
        harmonics: Y of the directions from i to j, [U, (lmax + 1)²]; those from j to i differ in sign for odd l.
        weights: w_p, side by side for all paths, [U, sum of the paths' widths].

    Returns:
        Messages [N, 2l+1, channels of all paths with l3 = l] for each l.
    """
    run = _BondKernels(layout, ends, len(features[0]))
    out = _Product.apply(run, layout.features.join(features), harmonics.contiguous(), layout.weights.pad(weights))
    return layout.messages.split(out)


class _BondKernels:
    """Calls of the kernels for the bonds of a graph; flat tensors [parts, …] are the sums of each thread at atoms."""

    def __init__(self, layout: ProductLayout, ends: np.ndarray, atoms: int) -> None:
        self.parts = np.linspace(0, len(ends), torch.get_num_threads() + 1).astype(np.int64)
        self.sizes = {"features": atoms * layout.features.size, "messages": atoms * layout.messages.size}
        self.bonds = kernels.BondArrays(ends, self.parts, layout.paths, atoms)
        self.constants = layout.constants

    def _sums(self, name: str, like: Tensor) -> Tensor:
        """Zeros [parts, size] for sums over features or messages."""
        return like.new_zeros(len(self.parts) - 1, self.sizes[name])

    def _new_gradients(self, factors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Allocate the gradients with respect to x, Y and w."""
        x, harmonics, weights = factors
        return self._sums("features", x), torch.empty_like(harmonics), torch.empty_like(weights)

    def product(self, factors: tuple[Tensor, ...]) -> Tensor:
        """Equation (1) of `bonds` for the factors x, Y and w."""
        follow_torch()
        out = self._sums("messages", factors[0])
        kernels.convolve(_arrays(factors), self.bonds, self.constants, out.numpy())
        return _summed(out)

    def backward(self, g: Tensor, factors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Equation (2) of `bonds`: gradients with respect to x, Y and w."""
        follow_torch()
        gradients = self._new_gradients(factors)
        kernels.convolve_backward(g.detach().numpy(), _arrays(factors), self.bonds, self.constants, _arrays(gradients))
        return _summed(gradients[0]), *gradients[1:]

    def double_backward(self, g: Tensor, factors: tuple[Tensor, ...], h: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Equation (4) of `bonds`: gradients with respect to g, x, Y and w."""
        follow_torch()
        g_g, gradients = self._sums("messages", g), self._new_gradients(factors)
        kernels.convolve_double_backward(
            g.detach().numpy(), _arrays(factors), _arrays(h), self.bonds, self.constants,
            g_g.numpy(), _arrays(gradients),
        )  # fmt: skip
        return _summed(g_g), _summed(gradients[0]), *gradients[1:]


def _arrays(factors: tuple[Tensor, ...]) -> kernels.Factors:
    return kernels.Factors(*(t.detach().numpy() for t in factors))


def _summed(parts: Tensor) -> Tensor:
    """Sum over the parts [parts, …]; a view if there is only one part."""
    return parts[0] if len(parts) == 1 else parts.sum(0)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _BondKernels, *factors: Tensor) -> Tensor:
        """`factors`: flat features x, harmonics Y [U, harmonics] and weights w [U, weights], contiguous."""
        ctx.run = run
        ctx.save_for_backward(*factors)
        ctx.save_for_forward(*factors)
        return run.product(factors)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        """Tangent: as the product is linear in each factor, the sum of one product for each factor with a tangent."""
        factors = ctx.saved_tensors
        changes = [(k, tangent.contiguous()) for k, tangent in enumerate(tangents) if tangent is not None]
        products = (ctx.run.product((*factors[:k], tangent, *factors[k + 1 :])) for k, tangent in changes)
        return reduce(operator.add, products)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Pullback.apply(ctx.run, g.contiguous(), *ctx.saved_tensors)


class _Pullback(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _BondKernels, *factors: Tensor) -> tuple[Tensor, ...]:
        """Gradients of g · `_Product` with respect to x, Y and w; `factors` are g, x, Y and w."""
        ctx.run = run
        ctx.save_for_backward(*factors)
        g, *others = factors
        return run.backward(g, tuple(others))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *h: Tensor) -> tuple[Tensor | None, ...]:
        g, *factors = ctx.saved_tensors
        return None, *ctx.run.double_backward(g, tuple(factors), tuple(t.contiguous() for t in h))
