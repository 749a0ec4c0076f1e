"""Sixteen numbers at a time, in Numba kernels: what a loop over channels is to become, said outright.

    t = broadcast(x, 0.0)
    for m in range(3):
        t = fma(broadcast_at(r, m), load(x, 16 * m), t)      # r[m] x[16 m : 16 m + 16] + t
    store(out, 0, t)

Whether a compiler turns a loop into the processor's vector instructions hangs on what it can prove of the arrays; these
functions are such instructions. Arrays are flat or contiguous, of float32 or float64; positions count numbers.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import register_model

from gnnpot.compiler.decorator import intrinsic, njit

SIMD_WIDTH = 16


class Vector(types.Type):
    """The type of sixteen numbers of one dtype."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector of LLVM's."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vector(kind.dtype))


def _vector(dtype: types.Float) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), SIMD_WIDTH)


def _suffix(dtype: types.Float) -> str:
    """What LLVM appends to the names of functions of such vectors."""
    return f"v{SIMD_WIDTH}f{dtype.bitwidth}"


def _place(context, builder, kind, array, position):
    """Where a number of an array is in memory."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [position])


def repeated(builder, dtype, number):
    """A number of LLVM's sixteen times."""
    vector = _vector(dtype)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), SIMD_WIDTH), [0] * SIMD_WIDTH)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


@intrinsic
def load(typing_context, array, position):
    """array[position : position + 16]."""

    def generate(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(place, _vector(array.dtype).as_pointer()), align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing_context, array, position, vector):
    """array[position : position + 16] = vector."""

    def generate(context, builder, signature, arguments):
        place = _place(context, builder, signature.args[0], *arguments[:2])
        place = builder.bitcast(place, _vector(array.dtype).as_pointer())
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@intrinsic
def broadcast(typing_context, array, number):
    """A number sixteen times, in the dtype of `array`."""

    def generate(context, builder, signature, arguments):
        return repeated(builder, array.dtype, arguments[1])

    return Vector(array.dtype)(array, array.dtype), generate


@intrinsic
def broadcast_at(typing_context, array, position):
    """array[position] sixteen times."""

    def generate(context, builder, signature, arguments):
        number = builder.load(_place(context, builder, signature.args[0], *arguments))
        return repeated(builder, array.dtype, number)

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def fma(typing_context, a, b, c):
    """a b + c."""

    def generate(context, builder, signature, arguments):
        vector = _vector(a.dtype)
        kind = ir.FunctionType(vector, [vector] * 3)
        function = builder.module.declare_intrinsic(f"llvm.fma.{_suffix(a.dtype)}", (), kind)
        return builder.call(function, arguments)

    return a(a, b, c), generate


@intrinsic
def mul(typing_context, a, b):
    """a b."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return a(a, b), generate


@intrinsic
def total(typing_context, a):
    """The sum of the sixteen."""

    def generate(context, builder, signature, arguments):
        vector = _vector(a.dtype)
        kind = ir.FunctionType(vector.element, [vector.element, vector])
        function = builder.module.declare_intrinsic(f"llvm.vector.reduce.fadd.{_suffix(a.dtype)}", (), kind)
        # "reassoc": by halves, not one after the other
        return builder.call(function, [ir.Constant(vector.element, 0.0), arguments[0]], fastmath=("reassoc",))

    return a.dtype(a), generate


@njit(forceinline=True)
def aligned(size, like):
    """A flat array with anything in it, whose SIMD vectors don't lie across two lines of the cache, which would make
    each of them two accesses."""
    room = np.empty(size + SIMD_WIDTH, like.dtype)
    past = (room.ctypes.data % 64) // room.itemsize
    return room[SIMD_WIDTH - past : SIMD_WIDTH - past + size]
