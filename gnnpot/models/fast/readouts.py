"""The last perceptron of a model, and the gradient of the sum of what it says, without PyTorch's record."""

import torch
from torch import Tensor, nn

from gnnpot.models.layers import GatedMLP

_silu_backward = torch.ops.aten.silu_backward


def gated_mlp(mlp: GatedMLP, x: Tensor) -> tuple[Tensor, Tensor]:
    """φ(x) [M] of a perceptron that says one number of each row, without norms and last activation, and dΣφ/dx."""
    value, gate = nn.functional.linear(x, mlp.first.weight, mlp.first.bias).chunk(2, dim=-1)
    pairs, before = list(zip(mlp.layers, mlp.gates, strict=True)), []
    for layer, gate_layer in pairs:
        before.append((value, gate))
        value, gate = layer(nn.functional.silu(value)), gate_layer(nn.functional.silu(gate))
    g_value = torch.sigmoid(gate)
    out = value * g_value
    g_gate = out * (1 - g_value)
    for (layer, gate_layer), (value, gate) in zip(reversed(pairs), reversed(before), strict=True):
        g_value = _silu_backward(g_value @ layer.weight, value)
        g_gate = _silu_backward(g_gate @ gate_layer.weight, gate)
    return out.squeeze(-1), torch.cat([g_value, g_gate], dim=-1) @ mlp.first.weight


def sequence(layers: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """y(x) [M] of linear layers, SiLUs and layer norms that say one number of each row, and dΣy/dx."""
    inputs = []
    for layer in layers:
        inputs.append(x)
        x = layer(x)
    gradient = torch.ones_like(x)
    for layer, y in zip(reversed(layers), reversed(inputs), strict=True):
        if isinstance(layer, nn.Linear):
            gradient = gradient @ layer.weight
        elif isinstance(layer, nn.SiLU):
            gradient = _silu_backward(gradient, y)
        else:
            gradient = _norm_backward(gradient, y, layer)
    return x.squeeze(-1), gradient


def _norm_backward(gradient: Tensor, x: Tensor, norm: nn.LayerNorm) -> Tensor:
    shape, weight, bias = norm.normalized_shape, norm.weight, norm.bias
    _, mean, scale = torch.native_layer_norm(x, shape, weight, bias, norm.eps)
    wanted = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(gradient, x, shape, mean, scale, weight, bias, wanted)[0]
