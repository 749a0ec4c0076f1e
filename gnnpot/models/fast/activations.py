"""Activations that are differentiated twice in training, each derivative in one pass over memory.

    silu(x)                                  y = x σ(x)
    gated(value, gate, weights)              y = silu(v) ⊙ σ(g) ⊙ w

A loss with forces needs the derivative of a derivative, which PyTorch makes of some dozens of operations for each of
these. Here the first derivative is a function of its own with a derivative of its own. With s = σ(x),

    silu' = s + y (1 - s),      silu'' = s (1 - s) (2 + x (1 - 2 s))                                             (1)
    σ'    = s (1 - s),          σ''    = s (1 - s) (1 - 2 s)                                                     (2)

and for the gated product y = a(v) b(g) w, with the gradient h of y and the gradients c of what `backward` returns,

    backward:         h a' b w,   h a b' w,   h a b
    its backward:  v: h (c_v a'' b w + c_g a' b' w + c_w a' b)      g: h (c_v a' b' w + c_g a b'' w + c_w a b')
                   w: h (c_v a' b + c_g a b')                       h: c_v a' b w + c_g a b' w + c_w a b          (3)

On other devices than the processor, PyTorch's own operations are used.
"""

from typing import Any

import torch
from numba import njit, prange
from torch import Tensor

from gnnpot.models.fast.kernels import FAST, sigmoid
from gnnpot.models.fast.threads import follow_torch


def silu(x: Tensor) -> Tensor:
    """x σ(x)."""
    return _Silu.apply(x.contiguous()) if x.device.type == "cpu" else torch.nn.functional.silu(x)


def gated(value: Tensor, gate: Tensor, weights: Tensor | None = None) -> Tensor:
    """silu(value) ⊙ σ(gate), and ⊙ weights if there are any; all [M, u]."""
    if value.device.type == "cpu":
        arguments = (value, gate) if weights is None else (value, gate, weights)
        return _Gated.apply(*(a.contiguous() for a in arguments))
    product = torch.nn.functional.silu(value) * torch.sigmoid(gate)
    return product if weights is None else product * weights


def _run(kernel: Any, *arrays: Tensor | None) -> None:
    """A kernel on flat arrays; an empty one stands for what is absent."""
    follow_torch()
    like = arrays[0]
    kernel(*(like.new_empty(0).numpy() if a is None else a.detach().reshape(-1).numpy() for a in arrays))


class _Silu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        y = torch.empty_like(x)
        _run(_silu, x, y)
        return y

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> Tensor:
        return _SiluBackward.apply(*ctx.saved_tensors, h.contiguous())


class _SiluBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor) -> Tensor:
        ctx.save_for_backward(x, h)
        g = torch.empty_like(x)
        _run(_silu_backward, x, h, g)
        return g

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, c: Tensor) -> tuple[Tensor, Tensor]:
        x, h = ctx.saved_tensors
        g_x, g_h = torch.empty_like(x), torch.empty_like(x)
        _run(_silu_twice, x, h, c.contiguous(), g_x, g_h)
        return g_x, g_h


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *factors: Tensor) -> Tensor:
        ctx.save_for_backward(*factors)
        y = torch.empty_like(factors[0])
        _run(_gated, *_with_weights(factors), y)
        return y

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Tensor, ...]:
        return _GatedBackward.apply(h.contiguous(), *ctx.saved_tensors)


class _GatedBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, *factors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(h, *factors)
        gradients = [torch.empty_like(f) for f in factors]
        _run(_gated_backward, h, *_with_weights(factors), *_with_weights(gradients))
        return tuple(gradients)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *c: Tensor) -> tuple[Tensor, ...]:
        h, *factors = ctx.saved_tensors
        gradients = [torch.empty_like(f) for f in (h, *factors)]
        _run(
            _gated_twice, h, *_with_weights(factors), *_with_weights([x.contiguous() for x in c]),
            gradients[0], *_with_weights(gradients[1:]),
        )  # fmt: skip
        return tuple(gradients)


def _with_weights(tensors: Any) -> tuple[Tensor | None, ...]:
    return (*tensors, *(None,) * (3 - len(tensors)))


@njit(parallel=True, fastmath=FAST, cache=True)
def _silu(x, y):
    for k in prange(len(x)):
        y[k] = x[k] * sigmoid(x[k])


@njit(parallel=True, fastmath=FAST, cache=True)
def _silu_backward(x, h, g):
    for k in prange(len(x)):
        s = sigmoid(x[k])
        g[k] = h[k] * (s + x[k] * s * (1 - s))


@njit(parallel=True, fastmath=FAST, cache=True)
def _silu_twice(x, h, c, g_x, g_h):
    for k in prange(len(x)):
        s = sigmoid(x[k])
        slope = s * (1 - s)
        g_h[k] = c[k] * (s + x[k] * slope)
        g_x[k] = c[k] * h[k] * slope * (2 + x[k] * (1 - 2 * s))


@njit(parallel=True, fastmath=FAST, cache=True)
def _gated(v, g, w, y):
    if len(w):
        for k in prange(len(v)):
            y[k] = v[k] * sigmoid(v[k]) * sigmoid(g[k]) * w[k]
    else:
        for k in prange(len(v)):
            y[k] = v[k] * sigmoid(v[k]) * sigmoid(g[k])


@njit(parallel=True, fastmath=FAST, cache=True)
def _gated_backward(h, v, g, w, g_v, g_g, g_w):
    if len(w):
        for k in prange(len(v)):
            s, b = sigmoid(v[k]), sigmoid(g[k])
            a = v[k] * s
            g_v[k] = h[k] * (s + a * (1 - s)) * b * w[k]
            g_g[k] = h[k] * a * b * (1 - b) * w[k]
            g_w[k] = h[k] * a * b
    else:
        for k in prange(len(v)):
            s, b = sigmoid(v[k]), sigmoid(g[k])
            a = v[k] * s
            g_v[k] = h[k] * (s + a * (1 - s)) * b
            g_g[k] = h[k] * a * b * (1 - b)


@njit(parallel=True, fastmath=FAST, cache=True)
def _gated_twice(h, v, g, w, c_v, c_g, c_w, g_h, g_v, g_g, g_w):
    """Equation (3)."""
    if len(w):
        for k in prange(len(v)):
            s, b = sigmoid(v[k]), sigmoid(g[k])
            a, a1, b1 = v[k] * s, s + v[k] * s * (1 - s), b * (1 - b)
            a2, b2 = s * (1 - s) * (2 + v[k] * (1 - 2 * s)), b1 * (1 - 2 * b)
            along_v, along_g, along_w = c_v[k] * w[k], c_g[k] * w[k], c_w[k]
            g_h[k] = along_v * a1 * b + along_g * a * b1 + along_w * a * b
            g_v[k] = h[k] * (along_v * a2 * b + along_g * a1 * b1 + along_w * a1 * b)
            g_g[k] = h[k] * (along_v * a1 * b1 + along_g * a * b2 + along_w * a * b1)
            g_w[k] = h[k] * (c_v[k] * a1 * b + c_g[k] * a * b1)
    else:
        for k in prange(len(v)):
            s, b = sigmoid(v[k]), sigmoid(g[k])
            a, a1, b1 = v[k] * s, s + v[k] * s * (1 - s), b * (1 - b)
            a2, b2 = s * (1 - s) * (2 + v[k] * (1 - 2 * s)), b1 * (1 - 2 * b)
            g_h[k] = c_v[k] * a1 * b + c_g[k] * a * b1
            g_v[k] = h[k] * (c_v[k] * a2 * b + c_g[k] * a1 * b1)
            g_g[k] = h[k] * (c_v[k] * a1 * b1 + c_g[k] * a * b2)
