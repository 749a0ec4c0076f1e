"""Activation functions with first and second derivatives, each in one pass over memory.

    silu(x)                                  y = x σ(x)
    gated(value, gate, weights)              y = silu(v) ⊙ σ(g) ⊙ w

A loss of forces needs second derivatives. PyTorch composes each of these from dozens of operations. Here the first
derivative is a function of its own, with its own derivative. With s = σ(x),

    silu' = s + y (1 - s),      silu'' = s (1 - s) (2 + x (1 - 2 s))                                             (1)
    σ'    = s (1 - s),          σ''    = s (1 - s) (1 - 2 s)                                                     (2)

For the gated product y = a(v) b(g) w with a = silu and b = σ, let h be the gradient with respect to y, and c_v, c_g and
c_w the gradients with respect to the three results of the backward pass. Then

    backward pass:          h a' b w,   h a b' w,   h a b
    second derivative:   v: h (c_v a'' b w + c_g a' b' w + c_w a' b)      g: h (c_v a' b' w + c_g a b'' w + c_w a b')
                         w: h (c_v a' b + c_g a b')                       h: c_v a' b w + c_g a b' w + c_w a b    (3)

On devices other than the CPU, and for arrays whose size is not a multiple of `SIMD_WIDTH`, the operations of PyTorch
are used.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnnpot.compiler.decorator import njit, prange
from gnnpot.compiler.threads import follow_torch
from gnnpot.ops.simd.kernels import FAST, sigmoid
from gnnpot.ops.simd.vector_math import gate, gate_jvp, silu_curvature, silu_slope
from gnnpot.ops.simd.vectors import SIMD_WIDTH, load, store

#: normalises silu: the mean square of `SILU_SCALE` silu(z) is 1 for normally distributed z. The digits are those of
#: e3nn, which estimates the factor from a million samples
SILU_SCALE = 1.6791767923989418


def silu(x: Tensor) -> Tensor:
    """y = x σ(x)."""
    if x.device.type != "cpu" or x.numel() % SIMD_WIDTH:
        return torch.nn.functional.silu(x)
    return _Silu.apply(x.contiguous())


def gated(value: Tensor, gate: Tensor, weights: Tensor | None = None) -> Tensor:
    """silu(value) ⊙ σ(gate), multiplied by `weights` if given; all arrays are [M, u]."""
    if value.device.type == "cpu" and value.numel() % SIMD_WIDTH == 0:
        arguments = (value, gate) if weights is None else (value, gate, weights)
        return _Gated.apply(*(a.contiguous() for a in arguments))
    product = torch.nn.functional.silu(value) * torch.sigmoid(gate)
    return product if weights is None else product * weights


def _run(kernel: Any, *arrays: Tensor | None) -> None:
    """Call a kernel on flattened arrays; `None` becomes an empty array."""
    follow_torch()
    flat = [None if a is None else a.detach().view(-1).numpy() for a in arrays]
    empty = np.empty(0, next(a.dtype for a in flat if a is not None))
    kernel(*(empty if a is None else a for a in flat))


class _Silu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        y = torch.empty_like(x)
        _run(_silu, x, y)
        return y

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        """ẏ = silu'(x) ẋ."""
        return _SiluBackward.apply(*ctx.saved_tensors, tangent.contiguous())

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
        _run(_silu_double_backward, x, h, c.contiguous(), g_x, g_h)
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
            _gated_double_backward, h, *_with_weights(factors), *_with_weights([x.contiguous() for x in c]),
            gradients[0], *_with_weights(gradients[1:]),
        )  # fmt: skip
        return tuple(gradients)


def _with_weights(tensors: Any) -> tuple[Tensor | None, ...]:
    return (*tensors, *(None,) * (3 - len(tensors)))


@njit(parallel=True, fastmath=FAST, cache=True)
def _silu(x, y):
    for block in prange(len(x) // SIMD_WIDTH):
        k = block * SIMD_WIDTH
        store(y, k, load(x, k) * sigmoid(load(x, k)))


@njit(parallel=True, fastmath=FAST, cache=True)
def _silu_backward(x, h, g):
    for block in prange(len(x) // SIMD_WIDTH):
        k = block * SIMD_WIDTH
        v = load(x, k)
        store(g, k, load(h, k) * silu_slope(v, sigmoid(v)))


@njit(parallel=True, fastmath=FAST, cache=True)
def _silu_double_backward(x, h, c, g_x, g_h):
    for block in prange(len(x) // SIMD_WIDTH):
        k = block * SIMD_WIDTH
        v = load(x, k)
        s = sigmoid(v)
        store(g_h, k, load(c, k) * silu_slope(v, s))
        store(g_x, k, load(c, k) * load(h, k) * silu_curvature(v, s))


@njit(parallel=True, fastmath=FAST, cache=True)
def _gated(v, g, w, y):
    for block in prange(len(v) // SIMD_WIDTH):
        k = block * SIMD_WIDTH
        product, _, _ = gate(load(v, k), load(g, k))
        if len(w):
            product = product * load(w, k)
        store(y, k, product)


@njit(parallel=True, fastmath=FAST, cache=True)
def _gated_backward(h, v, g, w, g_v, g_g, g_w):
    for block in prange(len(v) // SIMD_WIDTH):
        k = block * SIMD_WIDTH
        (y, y_v, y_g), g_y = gate(load(v, k), load(g, k)), load(h, k)
        if len(w):
            store(g_w, k, g_y * y)
            g_y = g_y * load(w, k)
        store(g_v, k, g_y * y_v)
        store(g_g, k, g_y * y_g)


@njit(parallel=True, fastmath=FAST, cache=True)
def _gated_double_backward(h, v, g, w, c_v, c_g, c_w, g_h, g_v, g_g, g_w):
    """Equation (3); c_v and c_g are the tangents of v and g in `gate_jvp`."""
    for block in prange(len(v) // SIMD_WIDTH):
        k = block * SIMD_WIDTH
        g_y = load(h, k)
        y, dy, y_v, y_g, dy_v, dy_g = gate_jvp(load(v, k), load(g, k), load(c_v, k), load(c_g, k))
        if len(w):
            weight, dw = load(w, k), load(c_w, k)
            store(g_w, k, g_y * dy)
            dy = dy * weight + dw * y
            dy_v, dy_g = dy_v * weight + dw * y_v, dy_g * weight + dw * y_g
        store(g_h, k, dy)
        store(g_v, k, g_y * dy_v)
        store(g_g, k, g_y * dy_g)
