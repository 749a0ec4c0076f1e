"""Layers that several architectures share."""

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
    """A linear layer on concatenated rows that come from different places, without building the concatenation:

        y_e = Σ_k W_k (x_k)[index_k(e)] + b

    The product with x_k is done once for each of its rows, not once for each e that reads it, and the sum is the same.
    Each input is a pair: x_k [M_k, dims[k]] and the index [E] of its rows (`None`: rows in order). y [E, out].
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

    Every ξ and ζ is a linear layer followed by SiLU, but the last ζ by a sigmoid and, without `activate_last`, the
    last ξ by nothing. `first` replaces both first linear layers, with its two halves side by side (for `GatherLinear`).
    With `norm`, a layer norm stands before the last functions (Deng et al. 2023, CHGNet). The result is ⊙ `weights`.

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
        """Both first linear layers, also where they read gathered rows."""
        return self.first.linear if isinstance(self.first, GatherLinear) else self.first

    def first_weights(self) -> tuple[Tensor, ...]:
        """The columns of the first layers that belong to each of the gathered inputs."""
        dims = self.first.dims if isinstance(self.first, GatherLinear) else (self.first.in_features,)
        return self.first_linear.weight.split(dims, dim=1)

    def forward(self, *inputs: Tensor | tuple[Tensor, Tensor | None], weights: Tensor | None = None) -> Tensor:
        x = self.first(*inputs)
        value, gate = x.chunk(2, dim=-1)
        for k, (layer, gate_layer) in enumerate(zip(self.layers, self.gates, strict=True)):
            # as long as both halves are one array, it is one function of it
            value, gate = silu(x).chunk(2, dim=-1) if k == 0 else (silu(value), silu(gate))
            value, gate = layer(value), gate_layer(gate)
        if self.norms is not None:
            value, gate = self.norms[0](value), self.norms[1](gate)
        if self.activate_last:
            return gated(value, gate, weights)
        product = value * torch.sigmoid(gate)
        return product if weights is None else product * weights


def scatter_sum(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum rows of `values` [M, …] that share an `index` [M] into [size, …]."""
    return values.new_zeros(size, *values.shape[1:]).index_add(0, index, values)
