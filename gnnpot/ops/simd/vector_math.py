"""Arithmetic operators for SIMD vectors (`x * s + 1`), exponential and logistic function, and gates."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from gnnpot.compiler.decorator import intrinsic, njit
from gnnpot.ops.simd.kernels import FAST, SATURATED, sigmoid
from gnnpot.ops.simd.vectors import SIMD_WIDTH, Vector, broadcast_value

#: allow fused multiply-add, reciprocals in divisions, and any sign of zero; not "reassoc", see `sigmoid`
_FLAGS = ("contract", "nsz", "arcp")


def _operation(name: str) -> Any:
    """Make an intrinsic from an LLVM operation on two vectors, or on a vector and a number."""

    @intrinsic
    def operation(typing_context, a, b):
        vector = a if isinstance(a, Vector) else b

        def generate(context, builder, signature, arguments):
            values = [
                value
                if isinstance(kind, Vector)
                else broadcast_value(builder, vector.dtype, context.cast(builder, value, kind, vector.dtype))
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            return getattr(builder, name)(*values, flags=_FLAGS)

        return vector(a, b), generate

    return operation


def _register(function: Callable[..., Any], name: str) -> None:
    operation = _operation(name)

    @overload(function)
    def of_vector(a, b):
        kinds = (a, b)
        if any(isinstance(k, Vector) for k in kinds) and all(isinstance(k, (Vector, types.Number)) for k in kinds):
            return lambda a, b: operation(a, b)
        return None


for _function, _name in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    _register(_function, _name)


@intrinsic
def _clamped(typing_context, x, limit):
    """x clamped to [-limit, limit]."""

    def generate(context, builder, signature, arguments):
        value, top = arguments[0], context.cast(builder, arguments[1], signature.args[1], x.dtype)
        for sign, order in ((top, ">"), (builder.fneg(top), "<")):
            bound = broadcast_value(builder, x.dtype, sign)
            value = builder.select(builder.fcmp_ordered(order, value, bound), bound, value)
        return value

    return x(x, limit), generate


@intrinsic
def _two_to(typing_context, t):
    """2^k for the integer k in the lowest bits of t."""
    bits, fraction = t.dtype.bitwidth, 23 if t.dtype == types.float32 else 52
    one = int(np.array(1, f"float{bits}").view(f"int{bits}"))

    def generate(context, builder, signature, arguments):
        integers = ir.VectorType(ir.IntType(bits), SIMD_WIDTH)
        pattern = builder.bitcast(arguments[0], integers)
        pattern = builder.shl(pattern, ir.Constant(integers, [fraction] * SIMD_WIDTH))
        pattern = builder.add(pattern, ir.Constant(integers, [one] * SIMD_WIDTH))
        return builder.bitcast(pattern, arguments[0].type)

    return t(t), generate


def exponential(x):
    """exp(x) for |x| up to 87 in single precision, 700 in double precision."""
    raise NotImplementedError


@overload(exponential, jit_options={"forceinline": True})
def _exponential_of_vector(x):
    """exp(x) = 2^k exp(r) with a Taylor series of exp(r), |r| <= ½ ln 2; k as in `kernels.sigmoid`."""
    if not isinstance(x, Vector):
        return None
    single = x.dtype == types.float32
    f = np.float32 if single else np.float64
    per_ln2, rounder = f(1 / math.log(2)), f(1.5 * 2 ** (23 if single else 52))
    ln2, ln2_rest = f(0.693359375), f(-2.121944400546905827679e-4)
    terms = tuple(f(1 / math.factorial(n)) for n in range(6 if single else 13, -1, -1))

    def of_vector(x):
        t = x * per_ln2 + rounder
        k = t - rounder
        r = x - k * ln2 - k * ln2_rest
        p = r * terms[0] + terms[1]
        for n in range(2, len(terms)):
            p = p * r + terms[n]
        return p * _two_to(t)

    return of_vector


@overload(sigmoid, jit_options={"forceinline": True})
def _sigmoid_of_vector(x):
    """σ(x) of a vector, as for numbers in `kernels`."""
    if not isinstance(x, Vector):
        return None
    f = np.float32 if x.dtype == types.float32 else np.float64
    limit = f(SATURATED[x.dtype == types.float32])
    return lambda x: f(1) / (exponential(_clamped(f(0) - x, limit)) + f(1))


@njit(fastmath=FAST, forceinline=True)
def silu_slope(x, s):
    """silu'(x), with s = σ(x)."""
    return s + x * s * (1 - s)


@njit(fastmath=FAST, forceinline=True)
def silu_curvature(x, s):
    """silu''(x), with s = σ(x)."""
    return s * (1 - s) * (2 + x * (1 - 2 * s))


@njit(fastmath=FAST, forceinline=True)
def gate(v, x):
    """Return y = silu(v) σ(x), ∂y/∂v and ∂y/∂x."""
    s, t = sigmoid(v), sigmoid(x)
    y = v * s * t
    return y, silu_slope(v, s) * t, y * (1 - t)


@njit(fastmath=FAST, forceinline=True)
def gate_jvp(v, x, dv, dx):
    """Return y = silu(v) σ(x), its tangent ẏ for the tangents dv and dx, and ∂y/∂v, ∂y/∂x, ∂ẏ/∂v, ∂ẏ/∂x."""
    s, b = sigmoid(v), sigmoid(x)
    a, a1, b1 = v * s, silu_slope(v, s), b * (1 - b)
    y_v, y_x = a1 * b, a * b1
    mixed = a1 * b1
    return (
        a * b, y_v * dv + y_x * dx, y_v, y_x,
        silu_curvature(v, s) * b * dv + mixed * dx, mixed * dv + y_x * (1 - 2 * b) * dx,
    )  # fmt: skip
