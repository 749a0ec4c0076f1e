"""Operations on arrays [2, …] of values x and their tangents ẋ, see `training`; PyTorch differentiates them once.

The docstrings give the value and the tangent of each result.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gnnpot.models.layers import GatedMLP


def distances(vectors: Tensor, tangents: Tensor) -> Tensor:
    """r = |v|, v · v̇ / r; vectors and tangents [E, 3] -> [2, E]."""
    r = torch.linalg.vector_norm(vectors, dim=-1)
    return torch.stack([r, (vectors * tangents).sum(-1) / r])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x + b, W ẋ; [2, M, in] -> [2, M, out]."""
    product = (x.flatten(0, 1) @ weight.T).view(2, -1, len(weight))
    return product if bias is None else torch.stack([product[0] + bias, product[1]])


def layer(x: Tensor, module: nn.Linear) -> Tensor:
    """`linear` with the parameters of a layer."""
    return linear(x, module.weight, module.bias)


def sigmoid(x: Tensor) -> Tensor:
    """σ, σ (1 - σ) ẋ."""
    s = torch.sigmoid(x[0])
    return torch.stack([s, s * (1 - s) * x[1]])


def silu(x: Tensor) -> Tensor:
    """y = x σ, (σ + y (1 - σ)) ẋ."""
    s = torch.sigmoid(x[0])
    y = x[0] * s
    return torch.stack([y, (s + y * (1 - s)) * x[1]])


def product(x: Tensor, y: Tensor) -> Tensor:
    """x y, ẋ y + x ẏ."""
    return torch.stack([x[0] * y[0], x[1] * y[0] + x[0] * y[1]])


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """γ n + β, γ s (ẋ - mean ẋ - n mean(n ẋ)), with n = (x - mean x) s and s = 1/sqrt(variance x + ε)."""
    centred = x - x.mean(-1, keepdim=True)
    s = torch.rsqrt(centred[0].square().mean(-1, keepdim=True) + norm.eps)
    n, tangent = centred[0] * s, centred[1] * s
    tangent = tangent - n * (n * tangent).mean(-1, keepdim=True)
    return torch.stack([n * norm.weight + norm.bias, tangent * norm.weight])


def gated_mlp(x: Tensor, mlp: GatedMLP) -> Tensor:
    """Gated perceptron without norms and without activation of the last value, as in readouts."""
    value, gate = layer(x, mlp.first_linear).chunk(2, dim=-1)
    for value_layer, gate_layer in zip(mlp.layers, mlp.gates, strict=True):
        value, gate = layer(silu(value), value_layer), layer(silu(gate), gate_layer)
    return product(value, sigmoid(gate))


def sequence(x: Tensor, modules: Iterable[nn.Module]) -> Tensor:
    """Sequence of linear layers, layer norms and SiLUs."""
    for module in modules:
        if isinstance(module, nn.Linear):
            x = layer(x, module)
        else:
            x = layer_norm(x, module) if isinstance(module, nn.LayerNorm) else silu(x)
    return x
