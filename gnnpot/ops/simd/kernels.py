"""The logistic function σ for kernels, and sums over groups of rows. Arrays are contiguous."""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from gnnpot.compiler.decorator import intrinsic, njit, prange

#: `fastmath` flags of kernels; not "reassoc", which would optimise away the rounding in `sigmoid`
FAST = {"contract", "nsz", "arcp"}

#: |x| beyond which σ(x) is constant, for single precision (`True`) and double precision (`False`). The limit is far
#: beyond the precision of σ, but leaves room above the smallest normal number, so that products with gradients do not
#: become subnormal, which makes some processors ten or more times slower
SATURATED = {True: 40, False: 80}


@intrinsic
def _bits(typing_context, number):
    """The bit pattern of a float32 or float64 as an integer of the same size."""
    size, integer = (32, types.int32) if number == types.float32 else (64, types.int64)

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(size))

    return integer(number), generate


@intrinsic
def _float_of_bits(typing_context, bits):
    """The float32 or float64 with the bit pattern of an integer of the same size."""
    kind, number = (ir.FloatType(), types.float32) if bits == types.int32 else (ir.DoubleType(), types.float64)

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], kind)

    return number(bits), generate


def sigmoid(x):
    """σ(x) in kernels; see `_sigmoid_of_type`."""
    raise NotImplementedError


@overload(sigmoid, inline="always")
def _sigmoid_of_type(x):
    """σ(x) = 1/(1 + exp(-x)) without function calls, so that loops over it are vectorised.

    exp(y) = 2^k exp(r) with |r| <= ½ ln 2, where exp(r) is a Taylor series. Adding and subtracting
    1.5 · 2^(bits of the fraction) rounds y/ln 2 to the integer k, which is then in the lowest bits of the sum. Shifted
    to the position of the exponent, it gives 2^k. ln 2 is split into two parts; the first has so few digits that its
    product with k is exact. Beyond ± `SATURATED`, σ is constant.
    """
    single = x == types.float32
    f, integer, fraction = (np.float32, np.int32, 23) if single else (np.float64, np.int64, 52)
    limit, one, per_ln2, rounder = f(SATURATED[single]), f(1), f(1 / math.log(2)), f(1.5 * 2**fraction)
    ln2 = f(0.693359375)
    ln2_rest = f(-2.121944400546905827679e-4)
    shift, exponent_of_one = integer(fraction), integer(np.array(1, f).view(integer))
    a0, a1, a2, a3, a4, a5, a6, a7 = (f(1 / math.factorial(n)) for n in range(8))
    if single:

        def sigmoid32(x):
            y = min(max(-x, -limit), limit)
            t = y * per_ln2 + rounder
            k = t - rounder
            r = y - k * ln2 - k * ln2_rest
            p = (((((a6 * r + a5) * r + a4) * r + a3) * r + a2) * r + a1) * r + a0
            return one / (one + p * _float_of_bits(integer((_bits(t) << shift) + exponent_of_one)))

        return sigmoid32
    a8, a9, a10, a11, a12, a13 = (1 / math.factorial(n) for n in range(8, 14))

    def sigmoid64(x):
        y = min(max(-x, -limit), limit)
        t = y * per_ln2 + rounder
        k = t - rounder
        r = y - k * ln2 - k * ln2_rest
        p = ((((((a13 * r + a12) * r + a11) * r + a10) * r + a9) * r + a8) * r + a7) * r + a6
        p = (((((p * r + a5) * r + a4) * r + a3) * r + a2) * r + a1) * r + a0
        return one / (one + p * _float_of_bits(integer((_bits(t) << shift) + exponent_of_one)))

    return sigmoid64


@njit(parallel=True, fastmath=FAST, cache=True)
def sum_groups(rows, starts, order, out):
    """out[g] = Σ rows[order[k]] for starts[g] <= k < starts[g + 1]."""
    for g in prange(len(starts) - 1):
        total = out[g]
        total[:] = 0
        for at in range(starts[g], starts[g + 1]):
            row = rows[order[at]]
            for u in range(len(total)):
                total[u] += row[u]
