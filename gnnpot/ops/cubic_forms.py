"""Third-order invariants of the features of an atom, Φ_T of `feature_products.py`, and their second derivatives.

    B_T(u, v)[p] = Σ_q ∂²Φ_T/∂u_p∂u_q v_q = Σ κ (v_q u_r + u_q v_r)                                              (1)

The last sum is over the monomials κ u_p u_q u_r of Φ_T, with each of the three factors in turn as p. As Φ is of degree
3, ∂Φ/∂u = B(u, u/2) and Φ = u · ∂Φ/∂u / 3. The position p of the component (l, m) is l² - 1 + m, m = 0 … 2l. For the
triples up to l = 3, kernels have (1) as unrolled code, so that all intermediate values stay in registers.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import torch
from llvmlite import ir
from numba import types

from gnnpot.compiler.decorator import intrinsic, njit
from gnnpot.ops.simd.kernels import FAST
from gnnpot.ops.simd.vectors import SIMD_WIDTH, Instructions
from gnnpot.ops.tensor_product.coupling import coupling

#: triples with unrolled code; `add_second_derivative` takes the index in this tuple
UNROLLED = ((1, 1, 2), (1, 2, 3), (2, 2, 2), (2, 3, 3))


def triples(lmax: int) -> list[tuple[int, int, int]]:
    """The triples T = (a, b, c) of all third-order invariants of features up to l = `lmax`."""
    return [
        (a, b, c)
        for a in range(1, lmax + 1)
        for b in range(a, lmax + 1)
        for c in range(b, min(a + b, lmax) + 1)
        if (a + b + c) % 2 == 0
    ]


@cache
def monomials(triple: tuple[int, int, int]) -> dict[tuple[int, ...], float]:
    """The monomials of Φ_T: sorted positions (p, q, r) of the three factors -> constant κ."""
    constants, terms = coupling(*triple), defaultdict[tuple[int, ...], float](float)
    for entry in torch.nonzero(constants.abs() > 1e-10).tolist():
        positions = sorted(l * l - 1 + m for l, m in zip(triple, entry, strict=True))
        terms[tuple(positions)] += float(constants[tuple(entry)])
    return terms


def _make_intrinsic(triple: tuple[int, int, int]) -> Callable[..., Any]:
    """Make an intrinsic of equation (1) for one triple: h += B(u, v) for 16 channels."""

    def add(typing_context, u, v, h):
        def generate(context, builder, signature, arguments):
            emit, (kind, *_) = Instructions(context, builder, u.dtype), signature.args
            offsets = {
                p: ir.Constant(ir.IntType(64), p * SIMD_WIDTH) for positions in monomials(triple) for p in positions
            }
            first, second, sums = ({p: emit.load(kind, x, k) for p, k in offsets.items()} for x in arguments)
            products: dict[tuple[int, int], Any] = {}
            for positions, constant in monomials(triple).items():
                factor = ir.Constant(emit.vector, [constant] * SIMD_WIDTH)
                for k, (q, r) in enumerate(reversed(list(combinations(positions, 2)))):
                    if (q, r) not in products:
                        products[q, r] = emit.fma(second[q], first[r], builder.fmul(first[q], second[r]))
                    sums[positions[k]] = emit.fma(factor, products[q, r], sums[positions[k]])
            for p, k in offsets.items():
                emit.store(sums[p], kind, arguments[2], k)
            return context.get_dummy_value()

        return types.none(u, v, h), generate

    return intrinsic(add)


_add_112, _add_123, _add_222, _add_233 = map(_make_intrinsic, UNROLLED)


@njit(fastmath=FAST)
def add_second_derivative(kind, u, v, h):
    """h += B_T(u, v) for the triple `UNROLLED[kind]`; flat arrays [positions, SIMD_WIDTH]."""
    if kind == 0:
        _add_112(u, v, h)
    elif kind == 1:
        _add_123(u, v, h)
    elif kind == 2:
        _add_222(u, v, h)
    else:
        _add_233(u, v, h)
