"""Linear response of the uniform electron gas (J. Lindhard, 1954), dimensionless, with n = |G|/(2 k_F).

    L(n) = 1/2 + (1 - n²)/(4n) ln|(1 + n)/(1 - n)|,     d²T/drho² = pi²/k_F * 1/L(n)

For the Thomas-Fermi functional, 1/L is replaced by 1; for that of von Weizsäcker, by 3n².
"""

import torch
from torch import Tensor

#: above LARGE, a series in 1/n² with TERMS terms is used; below SMALL, a series in n²
LARGE, SMALL, TERMS = 2.0, 0.05, 30
#: distance from n = 1 within which the logarithm is neglected, as (1 - n) ln|1 - n| tends to 0
NEAR_ONE = 1e-9


def pauli_response(eta: Tensor) -> Tensor:
    """Inverse response without the von Weizsäcker part, 1/L(n) - 3n²; -3/5 for large n."""
    return torch.where(eta > LARGE, _large(eta.clamp(min=LARGE)), 1 / _moderate(eta.clamp(max=LARGE)) - 3 * eta**2)


def pauli_response_and_slope(eta: Tensor) -> tuple[Tensor, Tensor]:
    """`pauli_response` and its derivative, without automatic differentiation and with one form evaluated for each n."""
    value, slope = torch.empty_like(eta), torch.empty_like(eta)
    large, small = eta > LARGE, eta <= SMALL
    n = eta[large]
    y = n**-2
    rest, bend = torch.zeros_like(y), torch.zeros_like(y)
    for k in range(TERMS, 0, -1):
        bend.mul_(y).add_(rest)
        rest.mul_(y).add_(3 / ((2 * k + 1) * (2 * k + 3)))
    series = 1 + y * rest
    value[large] = -3 * rest / series
    slope[large] = 6 * y / n * (bend - rest**2) / series**2
    n = eta[~large]
    response = _moderate(n)
    safe = n.clamp(min=SMALL)
    logarithm = ((1 + safe) / (1 - safe).abs().clamp(min=NEAR_ONE)).log()
    change = 0.5 / safe - (1 + safe**2) / (4 * safe**2) * logarithm
    change = torch.where(small[~large], -n * (2 / 3 + n**2 * (4 / 15 + n**2 * 6 / 35)), change)
    value[~large] = 1 / response - 3 * n**2
    slope[~large] = -change / response**2 - 6 * n
    return value, slope


def lindhard(eta: Tensor) -> Tensor:
    """Lindhard function L(n)."""
    safe = eta.clamp(min=LARGE)
    return torch.where(eta > LARGE, _series(safe) / (3 * safe**2), _moderate(eta.clamp(max=LARGE)))


def _moderate(eta: Tensor) -> Tensor:
    small = 1 - eta**2 / 3 - eta**4 / 15 - eta**6 / 35
    safe = torch.where(eta > SMALL, eta, 0.5)
    distance = (1 - safe).abs()
    logarithm = torch.where(distance > NEAR_ONE, ((1 + safe) / distance.clamp(min=NEAR_ONE)).log(), 0.0)
    exact = 0.5 + (1 - safe**2) / (4 * safe) * logarithm
    return torch.where(eta > SMALL, exact, small)


def _series(eta: Tensor) -> Tensor:
    y = eta**-2
    total = torch.zeros_like(y)
    for k in range(TERMS, -1, -1):
        total = total * y + 3 / ((2 * k + 1) * (2 * k + 3))
    return total


def _large(eta: Tensor) -> Tensor:
    y = eta**-2
    rest = torch.zeros_like(y)
    for k in range(TERMS, 0, -1):
        rest = rest * y + 3 / ((2 * k + 1) * (2 * k + 3))
    return -3 * rest / _series(eta)
