"""Some vectors at once, as many as a number known to the compiler, so that loops over them are unrolled and all stay in
registers.

    n = 3                                             # a constant, or a variable of an enclosing function
    sums = zero_rows(x, n)
    for e in range(edges):
        sums = add_outer(harmonics, 9 * e, load(x, 16 * e), sums)     # sums[m] += harmonics[9 e + m] x
    add_rows(out, 0, 16, sums)                        # out[16 m : 16 m + 16] += sums[m]

Arrays are flat or contiguous; positions count numbers.
"""

from typing import Any

from llvmlite import ir
from numba import types

from gnnpot.compiler.decorator import intrinsic
from gnnpot.ops.simd.vectors import SIMD_WIDTH, Instructions, Vector


class _RowInstructions(Instructions):
    """And on tuples of vectors."""

    def rows(self, values: list[Any]) -> Any:
        return self.context.make_tuple(self.builder, types.UniTuple(Vector(self.dtype), len(values)), values)

    def each(self, rows: Any, count: int) -> list[Any]:
        return [self.builder.extract_value(rows, m) for m in range(count)]

    def past(self, position: Any, stride: Any, count: int) -> list[Any]:
        """position + stride m, for each m < `count`; a stride of Python's or LLVM's."""
        if isinstance(stride, int):
            stride = position.type(stride)
        return [self.builder.add(position, self.builder.mul(stride, stride.type(m))) for m in range(count)]


@intrinsic
def zero_rows(typing_context, array, count):
    """So many vectors of zeros, in the dtype of `array`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value

    def generate(context, builder, signature, arguments):
        emit = _RowInstructions(context, builder, array.dtype)
        return emit.rows([ir.Constant(emit.vector, [0.0] * SIMD_WIDTH)] * n)

    return types.UniTuple(Vector(array.dtype), n)(array, count), generate


@intrinsic
def load_rows(typing_context, array, position, stride, count):
    """array[position + stride m : … + 16] for each m < `count`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value

    def generate(context, builder, signature, arguments):
        emit, (values, at, step, _) = _RowInstructions(context, builder, array.dtype), arguments
        return emit.rows([emit.load(signature.args[0], values, position) for position in emit.past(at, step, n)])

    return types.UniTuple(Vector(array.dtype), n)(array, types.intp, types.intp, count), generate


@intrinsic
def add_rows(typing_context, array, position, stride, rows):
    """array[position + stride m : … + 16] += rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, step, given) = _RowInstructions(context, builder, array.dtype), arguments
        for row, k in zip(emit.each(given, rows.count), emit.past(at, step, rows.count), strict=True):
            place = signature.args[0], values, k
            emit.store(builder.fadd(emit.load(*place), row), *place)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, rows), generate


@intrinsic
def add_outer(typing_context, numbers, position, vector, rows):
    """rows[m] + numbers[position + m] vector."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, v, given) = _RowInstructions(context, builder, numbers.dtype), arguments
        numbers_at = [emit.broadcast_at(signature.args[0], values, k) for k in emit.past(at, 1, rows.count)]
        sums = zip(numbers_at, emit.each(given, rows.count), strict=True)
        return emit.rows([emit.fma(number, v, row) for number, row in sums])

    return rows(numbers, types.intp, vector, rows), generate


@intrinsic
def contracted(typing_context, numbers, position, rows):
    """Σ_m numbers[position + m] rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, given) = _RowInstructions(context, builder, numbers.dtype), arguments
        numbers_at = [emit.broadcast_at(signature.args[0], values, k) for k in emit.past(at, 1, rows.count)]
        (number, first), *others = zip(numbers_at, emit.each(given, rows.count), strict=True)
        result = builder.fmul(number, first)
        for number, row in others:
            result = emit.fma(number, row, result)
        return result

    return rows.dtype(numbers, types.intp, rows), generate


@intrinsic
def add_multiple(typing_context, vector, rows, sums):
    """sums[m] + vector rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (v, a, b) = _RowInstructions(context, builder, vector.dtype), arguments
        pairs = zip(emit.each(a, rows.count), emit.each(b, rows.count), strict=True)
        return emit.rows([emit.fma(v, x, y) for x, y in pairs])

    return sums(vector, rows, sums), generate


@intrinsic
def add_totals(typing_context, numbers, position, rows):
    """numbers[position + m] += the sum of rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, given) = _RowInstructions(context, builder, numbers.dtype), arguments
        for row, k in zip(emit.each(given, rows.count), emit.past(at, 1, rows.count), strict=True):
            place = emit.place(signature.args[0], values, k)
            builder.store(builder.fadd(builder.load(place), emit.total(row)), place)
        return context.get_dummy_value()

    return types.none(numbers, types.intp, rows), generate
