"""Pointwise perceptrons on fields, and on the second-order response of fields to a plane wave.

The linear response of a functional follows from the response of its fields to rho = rho_0 (1 + e cos G·r). Each field
is

    a_0 + e a_1 cos G·r + e² (a_2 + … cos 2G·r) + …,

and the energy to second order depends on a_2, not on the part with 2G. `Response` contains (a_0, a_1, a_2); a pointwise
function f maps it to (f, f' a_1, f' a_2 + f'' a_1²/4). The response is thus exact, and differentiable in the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Response:
    """Response of C fields to plane waves with K wave vectors."""

    zero: Tensor  #: `[C]` a_0
    first: Tensor  #: `[K, C]` a_1
    second: Tensor  #: `[K, C]` a_2

    def __add__(self, other: "Response") -> "Response":
        return Response(self.zero + other.zero, self.first + other.first, self.second + other.second)


def concatenate(parts: Sequence[Tensor | Response]) -> Tensor | Response:
    """Concatenate fields `[B, C, n]`, or responses, along their channels."""
    responses = [part for part in parts if isinstance(part, Response)]
    if not responses:
        return torch.cat([part for part in parts if isinstance(part, Tensor)], dim=1)
    return Response(
        torch.cat([p.zero for p in responses], dim=-1),
        torch.cat([p.first for p in responses], dim=-1),
        torch.cat([p.second for p in responses], dim=-1),
    )


class Perceptron(nn.Module):
    """Linear layers with SiLU between them, applied at each point of fields `[B, C, n]` in the fields' precision.

    `perceptron(h, x)` concatenates the channels of h and x.

    Args:
        widths: Widths of input, hidden layers and output.
        generator: Generator of the initial weights.
        last: Factor of the initial weights of the last layer.
    """

    def __init__(self, widths: Sequence[int], generator: torch.Generator, last: float = 1.0) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for number, (inner, outer) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            scale = (last if number == len(widths) - 2 else 1.5) / inner**0.5
            weight = scale * torch.randn(outer, inner, generator=generator, dtype=torch.float64)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(outer, dtype=torch.float64)))

    def forward(self, *parts: Tensor | Response) -> Tensor | Response:
        x = concatenate(parts)
        return self._respond(x) if isinstance(x, Response) else self._at_points(x)

    def _at_points(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            # a matrix product is several times faster than a batched one with a single element
            return self._layers(x[0], lambda weight, bias, y: torch.addmm(bias[:, None], weight, y))[None]
        return self._layers(x, lambda weight, bias, y: torch.matmul(weight, y) + bias[:, None])

    def layers(self, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """Weight `[outer, inner]` and bias `[outer]` of each layer."""
        return [(weight.to(dtype), bias.to(dtype)) for weight, bias in zip(self.weights, self.biases, strict=True)]

    def _layers(self, x: Tensor, linear: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(self.layers(x.dtype)):
            x = linear(weight, bias, x)
            if number < last:
                x = nn.functional.silu(x)
        return x

    def _respond(self, x: Response) -> Response:
        zero, first, second = x.zero, x.first, x.second
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            zero, first, second = zero @ weight.T + bias, first @ weight.T, second @ weight.T
            if number < last:
                sigmoid = zero.sigmoid()
                slope = sigmoid * (1 + zero * (1 - sigmoid))
                bend = sigmoid * (1 - sigmoid) * (2 + zero * (1 - 2 * sigmoid))
                second = slope * second + 0.25 * bend * first**2
                zero, first = zero * sigmoid, slope * first
        return Response(zero, first, second)
