"""Layers of several architectures."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn

from gnnpot.ops.activations import gated, silu

if TYPE_CHECKING:
    M = TypeVar("M", bound=nn.Module)

    class ModuleList(nn.ModuleList, Generic[M]):
        """`torch.nn.ModuleList` with the type of its members, for the type checker."""

        def __init__(self, modules: Iterable[M]) -> None: ...

        def __iter__(self) -> Iterator[M]: ...

        def __getitem__(self, index: int) -> M: ...  # type: ignore[override]

else:
    ModuleList = nn.ModuleList


class GatherLinear(nn.Module):
    """Linear layer on the concatenation of gathered rows, without building the concatenation:

        y_e = Σ_k W_k (x_k)[index_k(e)] + b

    The product with W_k is computed once for each row of x_k, not for each e that gathers the row. Each input is a pair
    of x_k [M_k, dims[k]] and the index [E] of its rows; `None` as index means all rows in order. y is [E, out_dim].
    """

    def __init__(self, dims: Sequence[int], out_dim: int) -> None:
        super().__init__()
        self.dims = tuple(dims)
        self.linear = nn.Linear(sum(dims), out_dim)

    def forward(self, *inputs: tuple[Tensor, Tensor | None]) -> Tensor:
        weights = self.linear.weight.split(self.dims, dim=1)
        total: Tensor = self.linear.bias
        for (rows, index), weight in zip(inputs, weights, strict=True):
            product = nn.functional.linear(rows, weight)
            total = total + (product if index is None else product.index_select(0, index))
        return total


class GatedMLP(nn.Module):
    """Gated perceptron, Chen & Ong 2022, eq. 5: φ(x) = (ξ_L ∘ … ∘ ξ_1)(x) ⊙ (ζ_L ∘ … ∘ ζ_1)(x).

    Each ξ and ζ is a linear layer followed by SiLU, except that the last ζ is followed by a sigmoid, and, without
    `activate_last`, the last ξ has no activation. With `norm`, there are layer norms before the last activations (Deng
    et al. 2023, CHGNet). `first` replaces the first linear layers of ξ and ζ, with their outputs side by side (for
    `GatherLinear`). If `weights` [M, dims[-1]] are given, the result is multiplied by them.

    Shapes: x [M, dims[0]] -> [M, dims[-1]].
    """

    def __init__(
        self,
        dims: Sequence[int],
        *,
        bias: bool = True,
        activate_last: bool = True,
        norm: bool = False,
        first: GatherLinear | None = None,
    ) -> None:
        super().__init__()
        self.first: nn.Linear | GatherLinear = (
            first if first is not None else nn.Linear(dims[0], 2 * dims[1], bias=bias)
        )
        pairs = list(zip(dims[1:], dims[2:], strict=False))
        self.layers = ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairs)
        self.gates = ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairs)
        self.norms = ModuleList(nn.LayerNorm(dims[-1]) for _ in range(2)) if norm else None
        self.activate_last = activate_last

    @property
    def first_linear(self) -> nn.Linear:
        """The linear layer that combines the first layers of ξ and ζ."""
        return self.first.linear if isinstance(self.first, GatherLinear) else self.first

    def first_weights(self) -> tuple[Tensor, ...]:
        """The columns of `first_linear.weight` for each of the gathered inputs."""
        dims = self.first.dims if isinstance(self.first, GatherLinear) else (self.first.in_features,)
        return self.first_linear.weight.split(dims, dim=1)

    def forward(self, *inputs: Tensor | tuple[Tensor, Tensor | None], weights: Tensor | None = None) -> Tensor:
        x = self.first(*inputs)
        value, gate = x.chunk(2, dim=-1)
        for k, (layer, gate_layer) in enumerate(zip(self.layers, self.gates, strict=True)):
            # both halves are still one array: one call of silu is enough
            value, gate = silu(x).chunk(2, dim=-1) if k == 0 else (silu(value), silu(gate))
            value, gate = layer(value), gate_layer(gate)
        if self.norms is not None:
            value, gate = self.norms[0](value), self.norms[1](gate)
        if self.activate_last:
            return gated(value, gate, weights)
        product = value * torch.sigmoid(gate)
        return product if weights is None else product * weights


def scatter_sum(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum the rows of `values` [M, …] with the same `index` [M]; the result is [size, …]."""
    return values.new_zeros(size, *values.shape[1:]).index_add(0, index, values)
