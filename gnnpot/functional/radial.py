"""Isotropic kernels as functions of n = |G|/(2 k_F0): learned kernels, and the one that makes the response exact.

Learned kernels are sums of Gaussians,

    w_c(n) = Σ_j a_cj [exp(-(t - j)²) + exp(-(t + j)²)],     t = n / width, j = 0, 1, ...

and even in n. As exp(-(t ± j)²) = exp(-t²) exp(∓2tj) exp(-j²), the Gaussians are calculated from three exponentials by
multiplication.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gnnpot.functional.interpolation import interpolate_table, table_slope
from gnnpot.functional.lindhard import pauli_response, pauli_response_and_slope

#: distance from the last centre, in widths, beyond which Gaussians are negligible
END = 11.0


@dataclass(frozen=True)
class GaussianKernels:
    """Kernels with coefficients `weights` `[C, J]`; called with n `[B, m]` they give `[B, C, m]`."""

    weights: Tensor
    width: float

    def __call__(self, eta: Tensor) -> Tensor:
        centres = self.width * torch.arange(self.weights.shape[1], dtype=torch.float64, device=eta.device)
        right, left = (torch.exp(-(((eta[:, None] + s * centres[:, None]) / self.width) ** 2)) for s in (-1, 1))
        return torch.matmul(self.weights, right + left)

    def evaluate(self, eta: Tensor) -> Tensor:
        """Kernels `[C, m]` at n `[m]`, without automatic differentiation."""
        right, left = self._gaussians(eta)
        return self.weights @ right.add_(left)

    def pull(self, eta: Tensor, slopes: Tensor) -> Tensor:
        """Derivative `[m]` of a sum with respect to n, from its derivatives `slopes` `[C, m]` by the kernels."""
        right, left = self._gaussians(eta)
        slopes = self.weights.T @ slopes
        t = (eta / self.width).clamp(max=END + len(slopes))
        result = -2 * t * (slopes * (right + left)).sum(dim=0)
        numbers = torch.arange(len(slopes), dtype=torch.float64, device=eta.device)
        result += 2 * numbers @ right.sub_(left).mul_(slopes)
        return result / self.width

    def _gaussians(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """exp(-(t - j)²) and exp(-(t + j)²), `[J, m]`."""
        count = self.weights.shape[1]
        t = (eta / self.width).clamp(max=END + count)
        right, left = t.new_empty(count, len(t)), t.new_empty(count, len(t))
        right[0] = left[0] = torch.exp(-(t**2))
        growth = torch.exp(2 * t)
        decay = 1 / growth
        for j in range(1, count):
            torch.mul(right[j - 1], growth, out=right[j])
            torch.mul(left[j - 1], decay, out=left[j])
        scale = torch.exp(-(torch.arange(count, dtype=torch.float64, device=eta.device) ** 2))[:, None]
        return right.mul_(scale), left.mul_(scale)


@dataclass(frozen=True)
class ResponseKernel:
    """Kernel (K_Lindhard(n) - K_z(n)) / `scale`, with K_z from a `table`; n `[B, m]` to `[B, 1, m]`."""

    table: Tensor
    step: float
    scale: float

    def __call__(self, eta: Tensor) -> Tensor:
        missing = pauli_response(eta) - interpolate_table(self.table, eta, self.step)
        return (missing / self.scale)[:, None]

    def evaluate(self, eta: Tensor) -> Tensor:
        """Kernel `[1, m]` at n `[m]`, without automatic differentiation."""
        missing = pauli_response_and_slope(eta)[0] - interpolate_table(self.table, eta, self.step)
        return (missing / self.scale)[None]

    def pull(self, eta: Tensor, slopes: Tensor) -> Tensor:
        """Derivative `[m]` of a sum with respect to n, from its derivatives `slopes` `[1, m]` by the kernel."""
        missing = pauli_response_and_slope(eta)[1] - table_slope(self.table, eta, self.step)
        return missing / self.scale * slopes[0]
