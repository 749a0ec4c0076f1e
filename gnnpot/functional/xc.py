"""Exchange and correlation in the local density approximation, without spin polarisation.

Slater exchange, and correlation of J. P. Perdew and A. Zunger, Phys. Rev. B 23, 5048 (1981), table XII (unpolarised).
"""

import torch
from torch import Tensor

GAMMA, BETA1, BETA2 = -0.1423, 1.0529, 0.3334
A, B, C, D = 0.0311, -0.048, 0.0020, -0.0116
#: density (1/bohr³) below which the exchange-correlation energy is set to zero
SMALLEST = 1e-14


def energy_density(density: Tensor) -> Tensor:
    """Energy density rho eps_xc(rho) (Ha/bohr³) of densities (1/bohr³) of any shape."""
    rho = density.clamp(min=SMALLEST)
    radius = (3 / (4 * torch.pi * rho)) ** (1 / 3)
    exchange = -0.75 * (9 / (4 * torch.pi**2)) ** (1 / 3) / radius
    low = GAMMA / (1 + BETA1 * radius.sqrt() + BETA2 * radius)
    logarithm = radius.log()
    high = A * logarithm + B + C * radius * logarithm + D * radius
    return torch.where(density > SMALLEST, rho * (exchange + torch.where(radius < 1, high, low)), 0.0)


def energy_and_potential(density: Tensor) -> tuple[Tensor, Tensor]:
    """Energy density rho eps_xc (Ha/bohr³) and its derivative v_xc (Ha)."""
    rho = density.detach().requires_grad_()
    energy = energy_density(rho)
    (potential,) = torch.autograd.grad(energy.sum(), rho)
    return energy.detach(), potential
