"""Functions of SIMD vectors: exponential decay, square root, arccosine, selection. The dtype is that of the argument.

arccos is computed from arcsin y = y + y y² R(y²), |y| <= ½, with the rational function R of fdlibm's e_acos.c.
"""

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import overload

from gnnpot.compiler.decorator import intrinsic, njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vector_math import exponential
from gnnpot.ops.simd.vectors import SIMD_WIDTH, Vector, broadcast_value


def _of_one(name: str) -> Any:
    """Make an intrinsic from an LLVM function of one argument."""

    @intrinsic
    def function(typing_context, x):
        def generate(context, builder, signature, arguments):
            kind = ir.FunctionType(arguments[0].type, [arguments[0].type])
            full = f"llvm.{name}.v{SIMD_WIDTH}f{x.dtype.bitwidth}"
            return builder.call(builder.module.declare_intrinsic(full, (), kind), arguments)

        return x(x), generate

    return function


square_root, absolute = _of_one("sqrt"), _of_one("fabs")


@intrinsic
def at_least(typing_context, x, bound):
    """max(x, bound) for a vector x and a number `bound`."""

    def generate(context, builder, signature, arguments):
        number = broadcast_value(builder, x.dtype, context.cast(builder, arguments[1], signature.args[1], x.dtype))
        return builder.select(builder.fcmp_ordered(">", arguments[0], number), arguments[0], number)

    return x(x, bound), generate


@intrinsic
def where_less(typing_context, x, bound, yes, no):
    """`yes` where x < bound, otherwise `no`; `bound` is a number, the others are vectors."""

    def generate(context, builder, signature, arguments):
        number = broadcast_value(builder, x.dtype, context.cast(builder, arguments[1], signature.args[1], x.dtype))
        return builder.select(builder.fcmp_ordered("<", arguments[0], number), arguments[2], arguments[3])

    return x(x, bound, yes, no), generate


def decay(x):
    """exp(x) for x <= 0."""
    raise NotImplementedError


@overload(decay, jit_options={"forceinline": True})
def _decay_of_vector(x):
    if not isinstance(x, Vector):
        return None
    # products with the result should stay above the smallest normal number, see `SATURATED`
    lowest = -60.0 if x.dtype == types.float32 else -650.0
    return lambda x: exponential(at_least(x, lowest))


@njit(fastmath=FAST, forceinline=True)
def arccosine(c):
    """arccos of a vector: π/2 - arcsin c for |c| < ½; else θ = 2 arcsin sqrt(½ (1 - |c|)) if c > 0, π - θ if c < 0."""
    z = where_less(absolute(c), 0.5, c * c, 0.5 - 0.5 * absolute(c))
    p = 0.0400555345006794114027 - z * (7.91534994289814532176e-04 + z * 3.47933107596021167570e-05)
    p = 1.66666666666666657415e-01 - z * (3.25565818622400915405e-01 - z * (2.01212532134862925881e-01 - z * p))
    q = 2.02094576023350569471 - z * (6.88283971605453293030e-01 - z * 7.70381505559019352791e-02)
    q = 1.0 - z * (2.40339491173441421878 - z * q)
    x = where_less(absolute(c), 0.5, c, square_root(z))
    asin = x + x * z * p / q
    large = where_less(c, 0.0, math.pi - 2.0 * asin, 2.0 * asin)
    return where_less(absolute(c), 0.5, 0.5 * math.pi - asin, large)


@njit(fastmath=FAST, forceinline=True)
def half_cosine(x):
    """f = cos²(πx/2) and df/dx of a vector, 0 <= x <= 1, from the Taylor series of sin and cos."""
    t = x * (0.5 * math.pi)
    y = t * t
    c, s = 1.0 - y * (1.0 / 462.0), 1.0 - y * (1.0 / 420.0)
    c, s = 1.0 - y * c * (1.0 / 380.0), 1.0 - y * s * (1.0 / 342.0)
    c, s = 1.0 - y * c * (1.0 / 306.0), 1.0 - y * s * (1.0 / 272.0)
    c, s = 1.0 - y * c * (1.0 / 240.0), 1.0 - y * s * (1.0 / 210.0)
    c, s = 1.0 - y * c * (1.0 / 182.0), 1.0 - y * s * (1.0 / 156.0)
    c, s = 1.0 - y * c * (1.0 / 132.0), 1.0 - y * s * (1.0 / 110.0)
    c, s = 1.0 - y * c * (1.0 / 90.0), 1.0 - y * s * (1.0 / 72.0)
    c, s = 1.0 - y * c * (1.0 / 56.0), 1.0 - y * s * (1.0 / 42.0)
    c, s = 1.0 - y * c * (1.0 / 30.0), 1.0 - y * s * (1.0 / 20.0)
    c, s = 1.0 - y * c * (1.0 / 12.0), 1.0 - y * s * (1.0 / 6.0)
    c = 1.0 - y * c * (1.0 / 2.0)
    return c * c, -math.pi * c * s * t
