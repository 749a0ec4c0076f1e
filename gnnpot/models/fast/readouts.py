"""Readout perceptrons of models, and the gradient of the sum of their outputs, without autograd."""

import torch
from torch import Tensor, nn

from gnnpot.models.layers import GatedMLP

_silu_backward = torch.ops.aten.silu_backward


class GatedReadout:
    """A `GatedMLP` φ with one output per row, without norms and without activation of the last value.

    Value and gate are evaluated together, as arrays [2, M, width].
    """

    def __init__(self, mlp: GatedMLP) -> None:
        first = mlp.first_linear
        weights = [first.weight.view(2, -1, first.in_features)]
        biases = [first.bias.view(2, 1, -1)]
        for pair in zip(mlp.layers, mlp.gates, strict=True):
            weights.append(torch.stack([layer.weight for layer in pair]))
            biases.append(torch.stack([layer.bias[None] for layer in pair]))
        self._layers = list(zip(weights, biases, strict=True))

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(x) [M] and the gradient of Σ φ(x) with respect to x."""
        inputs: list[Tensor] = []
        x = x.expand(2, -1, -1)
        for weight, bias in self._layers:
            inputs.append(x)
            x = torch.baddbmm(bias, nn.functional.silu(x) if len(inputs) > 1 else x, weight.mT)
        value, gate = x
        g_value = torch.sigmoid(gate)
        out = value * g_value
        gradient = torch.stack([g_value, out * (1 - g_value)])
        for (weight, _), x in zip(reversed(self._layers[1:]), reversed(inputs[1:]), strict=True):
            gradient = _silu_backward(torch.bmm(gradient, weight), x)
        return out.squeeze(-1), torch.bmm(gradient, self._layers[0][0]).sum(0)


def sequence(layers: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate linear layers, SiLUs and layer norms with one output per row: y(x) [M], and the gradient of Σ y(x)."""
    inputs = []
    for layer in layers:
        inputs.append(x)
        x = layer(x)
    gradient = torch.ones_like(x)
    for layer, y in zip(reversed(list(layers)), reversed(inputs), strict=True):
        if isinstance(layer, nn.Linear):
            gradient = gradient @ layer.weight
        elif isinstance(layer, nn.SiLU):
            gradient = _silu_backward(gradient, y)
        elif isinstance(layer, nn.LayerNorm):
            gradient = _norm_backward(gradient, y, layer)
    return x.squeeze(-1), gradient


def _norm_backward(gradient: Tensor, x: Tensor, norm: nn.LayerNorm) -> Tensor:
    shape, weight, bias = norm.normalized_shape, norm.weight, norm.bias
    _, mean, scale = torch.native_layer_norm(x, shape, weight, bias, norm.eps)
    output_mask = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(gradient, x, shape, mean, scale, weight, bias, output_mask)[0]
