"""Energy of a field network with fixed weights and its derivatives, without automatic differentiation.

    total = pauli_sum(blocks, space, x, eta, tau)       # Σ tau F over the points; differentiable once

This gives the result of PyTorch's automatic differentiation in less time and memory: points and wave vectors are
processed in chunks that fit into the cache, the space keeps the memory of convolved fields for the next call, and the
forward and backward passes of the last perceptrons are one loop. Earlier perceptrons are evaluated again in the
backward pass. Values between x and z have the precision of the perceptrons' weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu, softplus

from gnnpot.functional.space import FourierSpace

#: number of points, and of wave vectors, in a chunk
POINTS, MODES = 2048, 8192
#: number of values, over all fields, that are Fourier transformed together
TRANSFORMED = 2**18

#: weight `[outer, inner]` and bias `[outer]` of each layer
Layers = Sequence[tuple[Tensor, Tensor]]


class Kernels(Protocol):
    """Kernels as functions of n."""

    def evaluate(self, eta: Tensor) -> Tensor:
        """Kernels `[C, m]` at n `[m]`."""

    def pull(self, eta: Tensor, slopes: Tensor) -> Tensor:
        """Derivative `[m]` of a sum with respect to n, from its derivatives `slopes` `[C, m]` by the kernels."""


@dataclass(frozen=True)
class Blocks:
    """Parts of a field network with fixed weights:

    h = P_0(x); h += P_l(h, w_l * h); F = softplus(P(h, x) + x_0 (c * x_0) + shift)

    where x_0 is the first input, and x are the others.
    """

    first: Layers  #: P_0
    mixing: Sequence[Layers]  #: P_l
    kernels: Sequence[Kernels]  #: w_l
    last: Layers  #: P
    response: Kernels | None  #: c; `None`: 0
    shift: Tensor


def pauli_sum(blocks: Blocks, space: FourierSpace, x: Tensor, eta: Tensor, tau: Tensor) -> Tensor:
    """Calculate Σ tau F.

    Args:
        blocks: Parts of the network.
        space: Space of the fields.
        x: Inputs `[1, 4, n]`.
        eta: n of each mode, `[1, m]`.
        tau: `[1, n]`.

    Returns:
        Σ tau F, `[1]`.
    """
    return _PauliSum.apply(blocks, space, x, eta, tau)


class _PauliSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blocks: Blocks, space: FourierSpace, x: Tensor, eta: Tensor, tau: Tensor) -> Tensor:
        evaluation = _Evaluation(blocks, space, x[0], eta[0], tau[0])
        total = evaluation.forward(any(ctx.needs_input_grad))
        if any(ctx.needs_input_grad):
            evaluation.backward()
            ctx.save_for_backward(evaluation.slope_x[None], evaluation.slope_eta[None], evaluation.slope_tau[None])
        return total.reshape(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *(slope * saved for saved in ctx.saved_tensors))


class _Evaluation:
    """Evaluation of the sum; `slope_x`, `slope_eta`, ... are its derivatives."""

    def __init__(self, blocks: Blocks, space: FourierSpace, x: Tensor, eta: Tensor, tau: Tensor) -> None:
        self.blocks, self.space, self.x, self.eta, self.tau = blocks, space, x, eta, tau
        channels = len(blocks.first[-1][1])
        count = len(blocks.mixing)
        dtype = self.dtype = blocks.first[0][0].dtype
        self.h = [space.buffer(f"h {number}", channels, dtype) for number in range(max(1, count))]
        self.y = [space.buffer(f"y {number}", channels, dtype) for number in range(count)]
        self.slope_h = space.buffer("slope", channels, dtype)
        self.slope_tau, self.slope_x, self.slope_eta = (torch.zeros_like(field) for field in (tau, x, eta))
        self.slope_z = space.buffer("slope z", 1, torch.float64)[0]

    def forward(self, differentiate: bool) -> Tensor:
        """Calculate the sum and, with `differentiate`, the derivatives of the last perceptrons."""
        blocks = self.blocks
        for part in _parts(self.x):
            _perceptron(blocks.first, self.x[1:, part].to(self.dtype), self.h[0][:, part])
        for number, kernels in enumerate(blocks.kernels):
            self._convolve(str(number), kernels, self.h[number], self.y[number])
            for part in _parts(self.x) if number + 1 < len(blocks.kernels) else ():
                both = torch.cat([self.h[number][:, part], self.y[number][:, part]])
                result = _perceptron(blocks.mixing[number], both, self.h[number + 1][:, part])
                result += self.h[number][:, part]
        correction = None
        if blocks.response is not None:
            correction = self.space.buffer("correction", 1, torch.float64)
            self._convolve("response", blocks.response, self.x[:1], correction)
        total = torch.zeros((), dtype=torch.float64)
        for part in _parts(self.x):
            total += self._end(part, None if correction is None else correction[0, part], differentiate)
        return total

    def _end(self, part: slice, correction: Tensor | None, differentiate: bool) -> Tensor:
        blocks, x, tau = self.blocks, self.x[:, part], self.tau[part]
        h, mixed = self.h[-1][:, part], None
        if blocks.mixing:
            both = torch.cat([h, self.y[-1][:, part]])
            mixed = _inner(blocks.mixing[-1], both)
            h = h + _outer(blocks.mixing[-1], mixed)
        inner = _inner(blocks.last, torch.cat([h, x[1:].to(self.dtype)]))
        z = _outer(blocks.last, inner)[0].to(torch.float64) + blocks.shift
        if correction is not None:
            z = z + x[0] * correction
        enhancement = softplus(z)
        if differentiate:
            self.slope_tau[part] = enhancement
            slope = tau * torch.sigmoid(z)
            self.slope_z[part] = slope
            back = _back(blocks.last, inner, slope[None].to(self.dtype))
            self.slope_x[1:, part] = back[len(h) :]
            if correction is not None:
                self.slope_x[0, part].addcmul_(slope, correction)
            slope_h = back[: len(h)]
            if mixed is not None:
                back = _back(blocks.mixing[-1], mixed, slope_h)
                self.y[-1][:, part] = back[len(h) :]
                slope_h = slope_h + back[: len(h)]
            self.slope_h[:, part] = slope_h
        return torch.dot(tau, enhancement)

    def backward(self) -> None:
        """Propagate the derivatives from the last convolved fields, stored in `y`, to the inputs."""
        blocks = self.blocks
        if blocks.response is not None:
            field = self.slope_z.mul_(self.x[0])[None]
            self._convolve_back("response", blocks.response, field, self.slope_x[:1])
        for number in reversed(range(len(blocks.mixing))):
            if number + 1 < len(blocks.mixing):
                self._mix_back(number)
            self._convolve_back(str(number), blocks.kernels[number], self.y[number], self.slope_h)
        for part in _parts(self.x):
            inner = _inner(blocks.first, self.x[1:, part].to(self.dtype))
            self.slope_x[1:, part] += _back(blocks.first, inner, self.slope_h[:, part])

    def _mix_back(self, number: int) -> None:
        layers, h, y = self.blocks.mixing[number], self.h[number], self.y[number]
        for part in _parts(self.x):
            inner = _inner(layers, torch.cat([h[:, part], y[:, part]]))
            back = _back(layers, inner, self.slope_h[:, part])
            self.slope_h[:, part] += back[: len(h)]
            y[:, part] = back[len(h) :]

    def _convolve(self, name: str, kernels: Kernels, fields: Tensor, result: Tensor) -> None:
        """Convolve `fields`; modes and kernels are kept under `name` for the backward pass."""
        values, kept = self._kept(name, fields)
        for part in _parts(self.eta, MODES):
            values[:, part] = kernels.evaluate(self.eta[part])
        for some in _channels(fields):
            modes = self.space.modes(fields[some])
            kept[some] = torch.view_as_real(modes)
            modes.mul_(values[some])
            result[some] = self.space.fields(modes)

    def _convolve_back(self, name: str, kernels: Kernels, slopes: Tensor, result: Tensor) -> None:
        """Add to `result` the derivatives with respect to the fields; `slopes` are those of the convolved fields."""
        space = self.space
        values, kept = self._kept(name, slopes)
        for some in _channels(slopes):
            pull = space.modes(slopes[some])
            first, second = kept[some], torch.view_as_real(pull)
            product = (first[..., 0] * second[..., 0]).addcmul_(first[..., 1], second[..., 1])
            pull.mul_(values[some])
            result[some] += space.fields(pull)
            # the memory of the kernels is reused
            values[some] = product
        factor = space.multiplicity[0] * space.grid.size
        for part in _parts(self.eta, MODES):
            self.slope_eta[part] += kernels.pull(self.eta[part], values[:, part].to(torch.float64)) * factor[part]

    def _kept(self, name: str, fields: Tensor) -> tuple[Tensor, Tensor]:
        """Buffers for kernels `[C, m]`, and for real and imaginary parts of modes `[C, m, 2]`."""
        count = len(fields)
        values = self.space.mode_buffer(f"kernels {name}", count, fields.dtype)
        return values, self.space.mode_buffer(f"modes {name}", 2 * count, fields.dtype).view(count, -1, 2)


def _parts(fields: Tensor, length: int | None = None) -> Iterator[slice]:
    length = POINTS if length is None else length
    return (slice(start, start + length) for start in range(0, fields.shape[-1], length))


def _channels(fields: Tensor) -> Iterator[slice]:
    length = max(1, TRANSFORMED // fields.shape[-1])
    return (slice(start, start + length) for start in range(0, len(fields), length))


def _inner(layers: Layers, x: Tensor) -> list[Tensor]:
    """Outputs, before SiLU, of all layers but the last."""
    result: list[Tensor] = []
    for weight, bias in layers[:-1]:
        result.append(torch.addmm(bias[:, None], weight, silu(result[-1]) if result else x))
    return result


def _outer(layers: Layers, inner: list[Tensor]) -> Tensor:
    weight, bias = layers[-1]
    return torch.addmm(bias[:, None], weight, silu(inner[-1]))


def _perceptron(layers: Layers, x: Tensor, result: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        x = silu(torch.addmm(bias[:, None], weight, x), inplace=True)
    weight, bias = layers[-1]
    return torch.addmm(bias[:, None], weight, x, out=result)


def _back(layers: Layers, inner: list[Tensor], slope: Tensor) -> Tensor:
    """Derivatives with respect to the input of a perceptron from `slope`, those with respect to its output."""
    for (weight, _), x in zip(layers[:0:-1], inner[::-1], strict=True):
        slope = torch.ops.aten.silu_backward(weight.T @ slope, x)
    return layers[0][0].T @ slope
