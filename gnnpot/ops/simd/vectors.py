"""SIMD vectors of sixteen numbers in Numba kernels.

    t = broadcast(x, 0.0)
    for m in range(3):
        t = fma(broadcast_at(r, m), load(x, 16 * m), t)      # r[m] x[16 m : 16 m + 16] + t
    store(out, 0, t)

Whether a compiler vectorises a loop depends on what it can prove about the arrays. These functions map to vector
instructions directly. Arrays are flat or contiguous, float32 or float64 (any dtype for `get` and `put`); positions are
in units of array elements.
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
    """Numba type of a vector of sixteen numbers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """Data model of `Vector`: an LLVM vector."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, vector_type(kind.dtype))


def vector_type(dtype: types.Float) -> ir.VectorType:
    """LLVM type of a vector of sixteen numbers."""
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), SIMD_WIDTH)


def broadcast_value(builder, dtype, number):
    """LLVM vector with `number`, an LLVM value, in all sixteen elements."""
    vector = vector_type(dtype)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), SIMD_WIDTH), [0] * SIMD_WIDTH)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def _place(context: Any, builder: Any, kind: Any, array: Any, position: Any) -> Any:
    """Pointer to array[position]."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [position])


class Instructions:
    """LLVM instructions on vectors of one dtype, for intrinsics.

    `kind` is the Numba type of an array; positions are LLVM integers.
    """

    def __init__(self, context: Any, builder: Any, dtype: types.Float) -> None:
        self.context, self.builder, self.dtype = context, builder, dtype
        self.vector = vector_type(dtype)

    def place(self, kind: Any, array: Any, position: Any) -> Any:
        """Pointer to array[position]."""
        return _place(self.context, self.builder, kind, array, position)

    def load(self, kind: Any, array: Any, position: Any) -> Any:
        """array[position : position + 16]."""
        place = self.builder.bitcast(self.place(kind, array, position), self.vector.as_pointer())
        return self.builder.load(place, align=self.dtype.bitwidth // 8)

    def store(self, vector: Any, kind: Any, array: Any, position: Any) -> None:
        """array[position : position + 16] = vector."""
        place = self.builder.bitcast(self.place(kind, array, position), self.vector.as_pointer())
        self.builder.store(vector, place, align=self.dtype.bitwidth // 8)

    def broadcast_at(self, kind: Any, array: Any, position: Any) -> Any:
        """Vector with array[position] in all elements."""
        return broadcast_value(self.builder, self.dtype, self.builder.load(self.place(kind, array, position)))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(self._function("llvm.fma", kind), [a, b, c])

    def total(self, a: Any) -> Any:
        """Sum of the sixteen elements."""
        kind = ir.FunctionType(self.vector.element, [self.vector.element, self.vector])
        function = self._function("llvm.vector.reduce.fadd", kind)
        # "reassoc" allows pairwise summation instead of a sequential sum
        return self.builder.call(function, [ir.Constant(self.vector.element, 0.0), a], fastmath=("reassoc",))

    def _function(self, name: str, kind: ir.FunctionType) -> Any:
        full = f"{name}.v{SIMD_WIDTH}f{self.dtype.bitwidth}"
        return self.builder.module.declare_intrinsic(full, (), kind)


@intrinsic
def load(typing_context, array, position):
    """array[position : position + 16]."""

    def generate(context, builder, signature, arguments):
        return Instructions(context, builder, array.dtype).load(signature.args[0], *arguments)

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing_context, array, position, vector):
    """array[position : position + 16] = vector."""

    def generate(context, builder, signature, arguments):
        Instructions(context, builder, array.dtype).store(arguments[2], signature.args[0], *arguments[:2])
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@intrinsic
def broadcast(typing_context, array, number):
    """Vector with `number` in all elements, in the dtype of `array`."""

    def generate(context, builder, signature, arguments):
        return broadcast_value(builder, array.dtype, arguments[1])

    return Vector(array.dtype)(array, array.dtype), generate


@intrinsic
def broadcast_at(typing_context, array, position):
    """Vector with array[position] in all elements."""

    def generate(context, builder, signature, arguments):
        return Instructions(context, builder, array.dtype).broadcast_at(signature.args[0], *arguments)

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def get(typing_context, array, position):
    """array[position], without Numba's check for negative positions."""

    def generate(context, builder, signature, arguments):
        return builder.load(_place(context, builder, signature.args[0], *arguments))

    return array.dtype(array, types.intp), generate


@intrinsic
def put(typing_context, array, position, number):
    """array[position] = number, without Numba's check for negative positions."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], _place(context, builder, signature.args[0], *arguments[:2]))
        return context.get_dummy_value()

    return types.none(array, types.intp, array.dtype), generate


@intrinsic
def fma(typing_context, a, b, c):
    """a b + c."""

    def generate(context, builder, signature, arguments):
        return Instructions(context, builder, a.dtype).fma(*arguments)

    return a(a, b, c), generate


@intrinsic
def mul(typing_context, a, b):
    """a b."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return a(a, b), generate


@intrinsic
def total(typing_context, a):
    """Sum of the sixteen elements."""

    def generate(context, builder, signature, arguments):
        return Instructions(context, builder, a.dtype).total(*arguments)

    return a.dtype(a), generate


@intrinsic
def less_mask(typing_context, a, b):
    """Integer whose bit k is set if a < b in element k."""

    def generate(context, builder, signature, arguments):
        bits = builder.bitcast(builder.fcmp_ordered("<", *arguments), ir.IntType(SIMD_WIDTH))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(a, a), generate


@intrinsic
def lowest_bit(typing_context, bits):
    """Index of the lowest set bit; 64 if none is set."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@njit(forceinline=True)
def aligned(size, like):
    """Uninitialised flat array, aligned to cache lines: a SIMD vector that crosses a line would need two accesses."""
    room = np.empty(size + SIMD_WIDTH, like.dtype)
    past = (room.ctypes.data % 64) // room.itemsize
    return room[SIMD_WIDTH - past : SIMD_WIDTH - past + size]
