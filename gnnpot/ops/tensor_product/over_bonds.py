"""The tensor product over bonds, each an edge and its reverse, differentiable twice, and along a direction."""

import operator
from collections.abc import Callable, Sequence
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
    """Messages of both edges of each bond, by one pass over the bonds, on the processor.

    Args:
        layout: that of features, harmonics and paths.
        ends: atoms i and j of each bond, [U, 2].
        features: x_l, for each l [N, 2l+1, channels].
        harmonics: Y of the directions from i to j, [U, (lmax + 1)²]; those from j to i differ by signs.
        weights: w_p side by side, [U, sum of the paths' widths].

    Returns:
        Messages, for each l [N, 2l+1, channels of all paths that end in l].
    """
    run = _KernelArguments(layout, ends, len(features[0]))
    out = _Product.apply(run, layout.features.join(features), harmonics.contiguous(), layout.weights.pad(weights))
    return layout.messages.split(out)


class _KernelArguments:
    """The arguments of the kernels that have no derivatives."""

    def __init__(self, layout: ProductLayout, ends: np.ndarray, atoms: int) -> None:
        self.parts = np.linspace(0, len(ends), torch.get_num_threads() + 1).astype(np.int64)
        self.sizes = {"features": atoms * layout.features.size, "messages": atoms * layout.messages.size}
        self.fixed = (ends, self.parts, layout.paths, layout.constants, atoms)

    def sums(self, name: str, like: Tensor) -> Tensor:
        """Zeros for features or messages, for each part."""
        return like.new_zeros(len(self.parts) - 1, self.sizes[name])

    def __call__(self, kernel: Callable, given: tuple[Tensor, ...], *results: Tensor) -> None:
        follow_torch()
        kernel(*(t.detach().numpy() for t in given), *self.fixed, *(t.numpy() for t in results))


def _summed(parts: Tensor) -> Tensor:
    """The sum of what the threads have, [parts, …]; a view of the only part."""
    return parts[0] if len(parts) == 1 else parts.sum(0)


def _product(run: _KernelArguments, factors: tuple[Tensor, ...]) -> Tensor:
    out = run.sums("messages", factors[0])
    run(kernels.convolve, factors, out)
    return _summed(out)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _KernelArguments, *factors: Tensor) -> Tensor:
        """`factors`: flat features x, harmonics Y [U, harmonics] and weights w [U, weights], contiguous."""
        ctx.run = run
        ctx.save_for_backward(*factors)
        ctx.save_for_forward(*factors)
        return _product(run, factors)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        """The tangent: linear in each factor, so one product for each that changes."""
        factors = ctx.saved_tensors
        changes = [(k, tangent.contiguous()) for k, tangent in enumerate(tangents) if tangent is not None]
        products = (_product(ctx.run, (*factors[:k], tangent, *factors[k + 1 :])) for k, tangent in changes)
        return reduce(operator.add, products)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Pullback.apply(ctx.run, g.contiguous(), *ctx.saved_tensors)


class _Pullback(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _KernelArguments, *factors: Tensor) -> tuple[Tensor, ...]:
        """The derivatives of g · `_Product`, for the factors g, x, Y, w."""
        ctx.run = run
        ctx.save_for_backward(*factors)
        _, x, harmonics, weights = factors
        to_x, to_harmonics, to_weights = run.sums("features", x), torch.empty_like(harmonics), torch.empty_like(weights)
        run(kernels.convolve_backward, factors, to_x, to_harmonics, to_weights)
        return _summed(to_x), to_harmonics, to_weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *h: Tensor) -> tuple[Tensor | None, ...]:
        run, (g, x, harmonics, weights) = ctx.run, ctx.saved_tensors
        to_g, to_x = run.sums("messages", g), run.sums("features", x)
        to_harmonics, to_weights = torch.empty_like(harmonics), torch.empty_like(weights)
        given = (*ctx.saved_tensors, *(t.contiguous() for t in h))
        run(kernels.convolve_twice, given, to_g, to_x, to_harmonics, to_weights)
        return None, _summed(to_g), _summed(to_x), to_harmonics, to_weights
