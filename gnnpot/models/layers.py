"""Layers that several architectures share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class EdgeLinear(nn.Module):
    """A linear layer on (v_i | v_j | e_ij) without building the concatenation:

        y_e = W_c v_i + W_n v_j + W_e e_ij + b

    The products with v are done once an atom instead of once an edge, and the sum is the same.
    Shapes: v [N, n], e [E, m], `edge_index` [2, E]; y [E, out].
    """

    def __init__(self, node_dim: int, edge_dim: int, out_dim: int) -> None:
        super().__init__()
        self.node_dim, self.out_dim = node_dim, out_dim
        #: columns: centre, neighbour, edge
        self.linear = nn.Linear(2 * node_dim + edge_dim, out_dim)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        n = self.node_dim
        weight = self.linear.weight
        centre = nn.functional.linear(nodes, weight[:, :n])
        neighbor = nn.functional.linear(nodes, weight[:, n : 2 * n])
        edge = nn.functional.linear(edges, weight[:, 2 * n :], self.linear.bias)
        return edge + centre.index_select(0, edge_index[0]) + neighbor.index_select(0, edge_index[1])


class GatedMLP(nn.Module):
    """Gated perceptron, Chen & Ong 2022, eq. 5: φ(x) = (ξ_L ∘ … ∘ ξ_1)(x) ⊙ (ζ_L ∘ … ∘ ζ_1)(x).

    Every ξ and ζ is a linear layer followed by SiLU, but the last ζ by a sigmoid and, without `activate_last`, the
    last ξ by nothing. `first` replaces both first linear layers, with its two halves side by side (for `EdgeLinear`).

    Shapes: x [M, dims[0]] -> [M, dims[-1]].
    """

    def __init__(
        self, dims: Sequence[int], *, bias: bool = True, activate_last: bool = True, first: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.first = first if first is not None else nn.Linear(dims[0], 2 * dims[1], bias=bias)
        pairs = list(zip(dims[1:], dims[2:], strict=False))
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairs)
        self.gates = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairs)
        self.activate_last = activate_last

    def forward(self, *inputs: Tensor) -> Tensor:
        value, gate = self.first(*inputs).chunk(2, dim=-1)
        for layer, gate_layer in zip(self.layers, self.gates, strict=True):
            value = layer(nn.functional.silu(value))
            gate = gate_layer(nn.functional.silu(gate))
        if self.activate_last:
            value = nn.functional.silu(value)
        return value * torch.sigmoid(gate)


def scatter_sum(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum rows of `values` [M, …] that share an `index` [M] into [size, …]."""
    return values.new_zeros(size, *values.shape[1:]).index_add(0, index, values)
