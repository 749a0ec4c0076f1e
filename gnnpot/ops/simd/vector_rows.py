"""Some vectors at once, as many as a number known to the compiler, so that loops over them are unrolled and all stay in
registers.

    n = 3                                             # a constant, or a variable of an enclosing function
    sums = no_rows(x, n)
    for e in range(edges):
        sums = add_outer(harmonics, 9 * e, load(x, 16 * e), sums)     # sums[m] += harmonics[9 e + m] x
    add_rows(out, 0, 16, sums)                        # out[16 m : 16 m + 16] += sums[m]

Arrays are flat or contiguous; positions count numbers.
"""

from typing import Any

from llvmlite import ir
from numba import types

from gnnpot.compiler.decorator import intrinsic
from gnnpot.ops.simd.vectors import SIMD_WIDTH, Vector, _place, _suffix, _vector, repeated


class _Emitter:
    """Instructions on vectors of one dtype."""

    def __init__(self, context: Any, builder: Any, dtype: types.Float) -> None:
        self.context, self.builder, self.dtype = context, builder, dtype
        self.vector = _vector(dtype)

    def pointer(self, kind: Any, array: Any, position: Any, offset: Any) -> Any:
        place = _place(self.context, self.builder, kind, array, self.builder.add(position, offset))
        return self.builder.bitcast(place, self.vector.as_pointer())

    def load(self, *place: Any) -> Any:
        return self.builder.load(self.pointer(*place), align=self.dtype.bitwidth // 8)

    def store(self, value: Any, *place: Any) -> None:
        self.builder.store(value, self.pointer(*place), align=self.dtype.bitwidth // 8)

    def number(self, kind: Any, array: Any, position: Any, offset: int) -> Any:
        """array[position + offset] in all lanes."""
        position = self.builder.add(position, position.type(offset))
        return repeated(
            self.builder, self.dtype, self.builder.load(_place(self.context, self.builder, kind, array, position))
        )

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = self.builder.module.declare_intrinsic(f"llvm.fma.{_suffix(self.dtype)}", (), kind)
        return self.builder.call(function, [a, b, c])

    def total(self, a: Any) -> Any:
        kind = ir.FunctionType(self.vector.element, [self.vector.element, self.vector])
        name = f"llvm.vector.reduce.fadd.{_suffix(self.dtype)}"
        function = self.builder.module.declare_intrinsic(name, (), kind)
        return self.builder.call(function, [ir.Constant(self.vector.element, 0.0), a], fastmath=("reassoc",))

    def rows(self, values: list[Any]) -> Any:
        return self.context.make_tuple(self.builder, types.UniTuple(Vector(self.dtype), len(values)), values)

    def each(self, rows: Any, count: int) -> list[Any]:
        return [self.builder.extract_value(rows, m) for m in range(count)]


@intrinsic
def no_rows(typing_context, array, count):
    """So many vectors of zeros, in the dtype of `array`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value

    def generate(context, builder, signature, arguments):
        emit = _Emitter(context, builder, array.dtype)
        return emit.rows([ir.Constant(emit.vector, [0.0] * SIMD_WIDTH)] * n)

    return types.UniTuple(Vector(array.dtype), n)(array, count), generate


@intrinsic
def load_rows(typing_context, array, position, stride, count):
    """array[position + stride m : … + 16] for each m < `count`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value

    def generate(context, builder, signature, arguments):
        emit, (values, at, step, _) = _Emitter(context, builder, array.dtype), arguments
        offsets = [builder.mul(step, step.type(m)) for m in range(n)]
        return emit.rows([emit.load(signature.args[0], values, at, offset) for offset in offsets])

    return types.UniTuple(Vector(array.dtype), n)(array, types.intp, types.intp, count), generate


@intrinsic
def add_rows(typing_context, array, position, stride, rows):
    """array[position + stride m : … + 16] += rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, step, given) = _Emitter(context, builder, array.dtype), arguments
        for m, row in enumerate(emit.each(given, rows.count)):
            place = (signature.args[0], values, at, builder.mul(step, step.type(m)))
            emit.store(builder.fadd(emit.load(*place), row), *place)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, rows), generate


@intrinsic
def add_outer(typing_context, numbers, position, vector, rows):
    """rows[m] + numbers[position + m] vector."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, v, given) = _Emitter(context, builder, numbers.dtype), arguments
        found = emit.each(given, rows.count)
        return emit.rows(
            [emit.fma(emit.number(signature.args[0], values, at, m), v, row) for m, row in enumerate(found)]
        )

    return rows(numbers, types.intp, vector, rows), generate


@intrinsic
def contracted(typing_context, numbers, position, rows):
    """Σ_m numbers[position + m] rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, given) = _Emitter(context, builder, numbers.dtype), arguments
        first, *others = emit.each(given, rows.count)
        result = builder.fmul(emit.number(signature.args[0], values, at, 0), first)
        for m, row in enumerate(others, start=1):
            result = emit.fma(emit.number(signature.args[0], values, at, m), row, result)
        return result

    return rows.dtype(numbers, types.intp, rows), generate


@intrinsic
def add_multiple(typing_context, vector, rows, sums):
    """sums[m] + vector rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (v, a, b) = _Emitter(context, builder, vector.dtype), arguments
        pairs = zip(emit.each(a, rows.count), emit.each(b, rows.count), strict=True)
        return emit.rows([emit.fma(v, x, y) for x, y in pairs])

    return sums(vector, rows, sums), generate


@intrinsic
def add_totals(typing_context, numbers, position, rows):
    """numbers[position + m] += the sum of rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, given) = _Emitter(context, builder, numbers.dtype), arguments
        for m, row in enumerate(emit.each(given, rows.count)):
            place = _place(context, builder, signature.args[0], values, builder.add(at, at.type(m)))
            builder.store(builder.fadd(builder.load(place), emit.total(row)), place)
        return context.get_dummy_value()

    return types.none(numbers, types.intp, rows), generate
