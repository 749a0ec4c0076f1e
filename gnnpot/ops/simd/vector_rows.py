"""Tuples of SIMD vectors ("rows"). Their number is a compile-time constant, so that loops over them are unrolled and
all vectors stay in registers.

    n = 3                                             # a constant, or a variable of an enclosing function
    sums = zero_rows(x, n)
    for e in range(edges):
        sums = add_outer(harmonics, 9 * e, load(x, 16 * e), sums)     # sums[m] += harmonics[9 e + m] x
    add_rows(out, 0, 16, sums)                        # out[16 m : 16 m + 16] += sums[m]

Arrays are flat or contiguous; positions are in units of array elements.
"""

from typing import Any

from llvmlite import ir
from numba import types

from gnnpot.compiler.decorator import intrinsic
from gnnpot.ops.simd.vectors import SIMD_WIDTH, Instructions, Vector


class _RowInstructions(Instructions):
    """LLVM instructions on tuples of vectors, for intrinsics."""

    def pack(self, values: list[Any]) -> Any:
        return self.context.make_tuple(self.builder, types.UniTuple(Vector(self.dtype), len(values)), values)

    def unpack(self, rows: Any, count: int) -> list[Any]:
        return [self.builder.extract_value(rows, m) for m in range(count)]

    def shuffle(self, a: Any, b: Any, places: list[int]) -> Any:
        """Select elements by index: 0 to 15 from a, 16 to 31 from b."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), SIMD_WIDTH), places)
        return self.builder.shuffle_vector(a, b, mask)

    def positions(self, position: Any, stride: Any, count: int) -> list[Any]:
        """position + stride m for each m < `count`; `stride` is a Python integer or an LLVM value."""
        if isinstance(stride, int):
            stride = position.type(stride)
        return [self.builder.add(position, self.builder.mul(stride, stride.type(m))) for m in range(count)]


@intrinsic
def zero_rows(typing_context, array, count):
    """`count` vectors of zeros, in the dtype of `array`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value

    def generate(context, builder, signature, arguments):
        emit = _RowInstructions(context, builder, array.dtype)
        return emit.pack([ir.Constant(emit.vector, [0.0] * SIMD_WIDTH)] * n)

    return types.UniTuple(Vector(array.dtype), n)(array, count), generate


@intrinsic
def load_rows(typing_context, array, position, stride, count):
    """array[position + stride m : … + 16] for each m < `count`."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    n = count.literal_value

    def generate(context, builder, signature, arguments):
        emit, (values, at, step, _) = _RowInstructions(context, builder, array.dtype), arguments
        return emit.pack([emit.load(signature.args[0], values, position) for position in emit.positions(at, step, n)])

    return types.UniTuple(Vector(array.dtype), n)(array, types.intp, types.intp, count), generate


@intrinsic
def add_rows(typing_context, array, position, stride, rows):
    """array[position + stride m : … + 16] += rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, step, row_values) = _RowInstructions(context, builder, array.dtype), arguments
        for row, k in zip(emit.unpack(row_values, rows.count), emit.positions(at, step, rows.count), strict=True):
            place = signature.args[0], values, k
            emit.store(builder.fadd(emit.load(*place), row), *place)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, rows), generate


@intrinsic
def add_outer(typing_context, numbers, position, vector, rows):
    """rows[m] + numbers[position + m] vector, for each m."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, v, row_values) = _RowInstructions(context, builder, numbers.dtype), arguments
        numbers_at = [emit.broadcast_at(signature.args[0], values, k) for k in emit.positions(at, 1, rows.count)]
        sums = zip(numbers_at, emit.unpack(row_values, rows.count), strict=True)
        return emit.pack([emit.fma(number, v, row) for number, row in sums])

    return rows(numbers, types.intp, vector, rows), generate


@intrinsic
def weighted_sum(typing_context, numbers, position, rows):
    """Σ_m numbers[position + m] rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, row_values) = _RowInstructions(context, builder, numbers.dtype), arguments
        numbers_at = [emit.broadcast_at(signature.args[0], values, k) for k in emit.positions(at, 1, rows.count)]
        (number, first), *others = zip(numbers_at, emit.unpack(row_values, rows.count), strict=True)
        result = builder.fmul(number, first)
        for number, row in others:
            result = emit.fma(number, row, result)
        return result

    return rows.dtype(numbers, types.intp, rows), generate


@intrinsic
def add_multiple(typing_context, vector, rows, sums):
    """sums[m] + vector rows[m], for each m."""

    def generate(context, builder, signature, arguments):
        emit, (v, a, b) = _RowInstructions(context, builder, vector.dtype), arguments
        pairs = zip(emit.unpack(a, rows.count), emit.unpack(b, rows.count), strict=True)
        return emit.pack([emit.fma(v, x, y) for x, y in pairs])

    return sums(vector, rows, sums), generate


@intrinsic
def dot(typing_context, a, b):
    """Σ_m a[m] b[m]."""

    def generate(context, builder, signature, arguments):
        emit, (first, second) = _RowInstructions(context, builder, a.dtype.dtype), arguments
        (x, y), *others = zip(emit.unpack(first, a.count), emit.unpack(second, b.count), strict=True)
        result = builder.fmul(x, y)
        for x, y in others:
            result = emit.fma(x, y, result)
        return result

    return a.dtype(a, b), generate


@intrinsic
def store_rows(typing_context, array, position, stride, rows):
    """array[position + stride m : … + 16] = rows[m]."""

    def generate(context, builder, signature, arguments):
        emit, (values, at, step, row_values) = _RowInstructions(context, builder, array.dtype), arguments
        for row, k in zip(emit.unpack(row_values, rows.count), emit.positions(at, step, rows.count), strict=True):
            emit.store(row, signature.args[0], values, k)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, rows), generate


@intrinsic
def totals(typing_context, rows):
    """Vector of the sums of the elements of up to sixteen vectors; zero where there is no vector."""

    def generate(context, builder, signature, arguments):
        emit = _RowInstructions(context, builder, rows.dtype.dtype)
        row_values = emit.unpack(arguments[0], rows.count)
        vectors: list[Any] = [
            row_values[k] if k < len(row_values) else None for k in map(_reversed_bits, range(SIMD_WIDTH))
        ]
        size = SIMD_WIDTH // 2
        while size:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [None if a is None else _sum_of_halves(emit, a, b, size) for a, b in pairs]
            size //= 2
        return vectors[0]

    return rows.dtype(rows), generate


def _reversed_bits(k: int) -> int:
    return sum(1 << (3 - bit) for bit in range(4) if k >> bit & 1)


def _sum_of_halves(emit: _RowInstructions, a: Any, b: Any, size: int) -> Any:
    """Add the halves of each block of 2 `size` numbers in a and in b; the results of a and b alternate.

    `None` for b means zeros.
    """
    b = ir.Constant(emit.vector, [0.0] * SIMD_WIDTH) if b is None else b
    # `staying` is a blend of elements in place, cheaper than a shuffle, of which the CPU executes one at a time
    of_b = [SIMD_WIDTH if k & size else 0 for k in range(SIMD_WIDTH)]
    staying = emit.shuffle(a, b, [k + other for k, other in enumerate(of_b)])
    moving = emit.shuffle(a, b, [(k ^ size) + other for k, other in enumerate(of_b)])
    return emit.builder.fadd(staying, moving)


@intrinsic
def transpose(typing_context, rows):
    """Transpose sixteen vectors: vector k of the result has element k of each vector."""

    def generate(context, builder, signature, arguments):
        emit = _RowInstructions(context, builder, rows.dtype.dtype)
        vectors, size = emit.unpack(arguments[0], rows.count), SIMD_WIDTH // 2
        while size:
            starts = range(0, SIMD_WIDTH, 2 * size)
            first = [start + k + other for start in starts for other in (0, SIMD_WIDTH) for k in range(size)]
            exchanged = list(vectors)
            for m in range(SIMD_WIDTH):
                if not m & size:
                    pair = vectors[m], vectors[m + size]
                    exchanged[m] = emit.shuffle(*pair, first)
                    exchanged[m + size] = emit.shuffle(*pair, [k + size for k in first])
            vectors, size = exchanged, size // 2
        return emit.pack(vectors)

    return rows(rows), generate
