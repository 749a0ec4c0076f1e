"""Paths and coupling constants of products of features and spherical harmonics."""

import math
from functools import cache

import torch
from e3nn import o3
from torch import Tensor


@cache
def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """Coupling constants: sqrt(2 l3 + 1) times the Wigner 3j symbols in e3nn's real basis, [2 l1+1, 2 l2+1, 2 l3+1].

    Their common sign is arbitrary; it is chosen such that the first nonzero constant is positive.
    """
    symbols = o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
    first = symbols.flatten()[symbols.flatten().abs() > 1e-10][0]
    return symbols * torch.sign(first) * math.sqrt(2 * l3 + 1)


def coupling_paths(
    lmax_in: int, lmax_filter: int, lmax_out: int, *, parity: bool = False
) -> list[tuple[int, int, int]]:
    """List all paths (l1, l2, l3) of features, harmonics and product with |l1 - l2| <= l3 <= l1 + l2.

    Args:
        lmax_in: Highest l1.
        lmax_filter: Highest l2.
        lmax_out: Highest l3.
        parity: Only paths with an even l1 + l2 + l3, which conserve the parity (-1)^l of the features.
    """
    return [
        (l1, l2, l3)
        for l1 in range(lmax_in + 1)
        for l2 in range(lmax_filter + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, lmax_out) + 1)
        if not (parity and (l1 + l2 + l3) % 2)
    ]
