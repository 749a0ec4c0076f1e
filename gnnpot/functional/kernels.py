"""Non-local functionals with kernels from the linear response of the uniform gas: Wang-Teter, Huang-Carter.

Wang-Teter (L.-W. Wang and M. P. Teter, Phys. Rev. B 45, 13196 (1992); powers 5/6), with n = |G|/(2 k_F) and k_F of the
mean density N/V:

    T = T_TF + T_vW + C_TF ∫ rho^(5/6) (w * rho^(5/6)),      w(n) = 4/5 (1/L(n) - 3n² - 1)

Huang-Carter (C. Huang and E. A. Carter, Phys. Rev. B 81, 045206 (2010)), with a kernel whose length depends on the
density:

    T = T_TF + T_vW + C_TF ∫ rho^(8/3 - beta)(r) ∫ w(xi(r)|r - r'|) rho^beta(r'),
    xi = k_F(rho) (1 + lambda |∇rho|²/rho^(8/3)).

Linear response requires beta [(5/3 - beta) w - n w'/3] = 5/9 (1/L - 3n² - 1). The solution that remains finite is

    w(n) = 5/(3 beta) n^(5 - 3 beta) ∫_n^∞ (1/L - 3t² - 1) t^(3 beta - 6) dt.

The convolution is evaluated by FFT for several values of xi, and interpolated between them.
"""

import math

import numpy as np
import torch
from torch import Tensor

from gnnpot.functional.functionals import C_TF, Functional, thomas_fermi, von_weizsacker
from gnnpot.functional.interpolation import interpolate_table, interpolation_weights
from gnnpot.functional.lindhard import pauli_response
from gnnpot.functional.space import Space, integral, volume


class WangTeter(Functional):
    """Wang-Teter functional ("wt"), with powers 5/6."""

    name = "wt"

    def energy_density(self, density: Tensor, space: Space) -> Tensor:
        fermi = (3 * torch.pi**2 * integral(space, density) / volume(space)) ** (1 / 3)
        kernel = 0.8 * (pauli_response(space.g / (2 * fermi[:, None])) - 1)
        power = density.clamp(min=1e-30) ** (5 / 6)
        nonlocal_part = C_TF * power * space.convolve(power[:, None], kernel[:, None])[:, 0]
        return thomas_fermi(density) + von_weizsacker(density, space) + nonlocal_part


class HuangCarter(Functional):
    """Huang-Carter functional ("hc").

    Args:
        gradient: The parameter lambda.
        beta: The exponent beta.
        ratio: Ratio of consecutive values of xi at which the convolution is evaluated.
    """

    name = "hc"
    table: Tensor

    def __init__(self, gradient: float = 0.01, beta: float = 0.65, ratio: float = 1.15) -> None:
        super().__init__()
        if not (0 < beta < 5 / 3 and gradient >= 0 and ratio > 1):
            raise ValueError("Huang-Carter needs 0 < beta < 5/3, lambda >= 0 and a ratio above 1")
        self.gradient, self.beta, self.ratio = gradient, beta, ratio
        self.register_buffer("table", _huang_carter_table(beta), persistent=False)

    def energy_density(self, density: Tensor, space: Space) -> Tensor:
        rho = density.clamp(min=1e-12)
        slope = space.gradient(density).square().sum(dim=1)
        xi = (3 * torch.pi**2 * rho) ** (1 / 3) * (1 + self.gradient * slope / rho ** (8 / 3))
        position = xi.log() / math.log(self.ratio)
        first = math.floor(float(position.detach().min())) - 1
        count = math.ceil(float(position.detach().max())) - first + 3
        modes = space.modes(rho[:, None] ** self.beta)
        nodes = self.ratio ** torch.arange(first, first + count, dtype=torch.float64)
        convolved = torch.zeros_like(rho)
        weights, index = interpolation_weights(position - first, count)
        for number, node in enumerate(nodes):
            part = sum(w * (index == number - k + 1) for k, w in enumerate(weights))
            kernel = interpolate_table(self.table, space.g / (2 * node), TABLE_STEP)
            convolved = convolved + part * space.fields(modes * kernel[:, None])[:, 0]
        local = C_TF * rho ** (8 / 3 - self.beta) * convolved * (3 * torch.pi**2) / xi**3
        return thomas_fermi(density) + von_weizsacker(density, space) + local


TABLE_STEP, TABLE_SIZE = 0.02, 2000


def _huang_carter_table(beta: float) -> Tensor:
    """Table of w(n) with step `TABLE_STEP`, by the trapezoidal rule in ln t; 1/L - 3t² is -3/5 beyond the last t."""
    t = np.exp(np.linspace(np.log(1e-4), np.log(400.0), 60001))
    response = pauli_response(torch.from_numpy(t)).numpy() - 1
    power = 3 * beta - 5
    integrand = response * t**power
    steps = 0.5 * (integrand[1:] + integrand[:-1]) * np.diff(np.log(t))
    tail = 1.6 * t[-1] ** power / power
    total = tail + np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]])
    kernel = 5 / (3 * beta) * t**-power * total
    values = np.interp(np.arange(TABLE_SIZE) * TABLE_STEP, t, kernel, left=0.0)
    values[0] = 0.0
    return torch.from_numpy(values)
