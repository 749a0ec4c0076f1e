"""Kinetic energy functionals: base class, and local and semi-local functionals.

    functional = functionals.from_name("lkt")
    energy, potential = kinetic(functional, density, space)

A functional is a module whose `energy_density(density, space)` gives Ha/bohr³ at each point `[B, n]`; automatic
differentiation gives the potential. With k_F = (3 pi² rho)^(1/3), tau_TF = 3/10 k_F² rho, s = |∇rho|/(2 k_F rho) and
q = ∇²rho/(4 k_F² rho):

| name   | energy density                                      | source                                            |
|--------|-----------------------------------------------------|---------------------------------------------------|
| tf     | tau_TF                                              | Thomas 1927, Fermi 1927                           |
| vw     | -1/2 √rho ∇²√rho                                    | von Weizsäcker 1935                               |
| tfvw   | tau_TF + lambda vw (lambda 1/5)                     |                                                   |
| tf+vw  | tau_TF + vw                                         |                                                   |
| lkt    | vw + tau_TF / cosh(1.3 s)                           | Luo, Karasiev, Trickey, PRB 98, 041111 (2018)     |
| pgsl   | vw + tau_TF (exp(-40/27 s²) + q²/4)                 | Constantin, Fabiano, Della Sala, JPCL 9, 4385 (2018) |
"""

import torch
from torch import Tensor, nn

from gnnpot.functional.space import Space, integral

C_TF = 0.3 * (3 * torch.pi**2) ** (2 / 3)
C_S2 = 4 * (3 * torch.pi**2) ** (2 / 3)


class Functional(nn.Module):
    """Base class of kinetic energy functionals; `name` is used in reports."""

    name = ""

    def energy_density(self, density: Tensor, space: Space) -> Tensor:
        """Kinetic energy density `[B, n]` (Ha/bohr³) of densities `[B, n]` (1/bohr³, positive)."""
        raise NotImplementedError

    def energy(self, density: Tensor, space: Space) -> Tensor:
        """Kinetic energy `[B]` (Ha)."""
        return integral(space, self.energy_density(density, space))


def kinetic(functional: Functional, density: Tensor, space: Space, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """Kinetic energy `[B]` (Ha) and its derivative `[B, n]` (Ha) with respect to the density."""
    rho = density if density.requires_grad else density.detach().requires_grad_()
    energy = functional.energy(rho, space)
    (slope,) = torch.autograd.grad(energy.sum(), rho, create_graph=create_graph)
    return (energy if create_graph else energy.detach()), slope / space.weights


def thomas_fermi(density: Tensor) -> Tensor:
    """Thomas-Fermi energy density tau_TF."""
    return C_TF * density.clamp(min=0) ** (5 / 3)


def von_weizsacker(density: Tensor, space: Space) -> Tensor:
    """Von Weizsäcker energy density -1/2 √rho ∇²√rho."""
    root = density.clamp(min=1e-30).sqrt()
    return 0.5 * root * space.convolve(root[:, None], space.g[:, None] ** 2)[:, 0]


def reduced_gradient(density: Tensor, space: Space) -> Tensor:
    """Square of the reduced gradient, s²."""
    return space.gradient(density).square().sum(dim=1) / (C_S2 * density.clamp(min=1e-12) ** (8 / 3))


def reduced_laplacian(density: Tensor, space: Space) -> Tensor:
    """Reduced Laplacian q."""
    laplacian = space.convolve(density[:, None], -(space.g[:, None] ** 2))[:, 0]
    return laplacian / (C_S2 * density.clamp(min=1e-12) ** (5 / 3))


class ThomasFermi(Functional):
    """Thomas-Fermi energy times `thomas_fermi` plus von Weizsäcker energy times `von_weizsacker`."""

    def __init__(self, name: str, thomas_fermi: float = 1.0, von_weizsacker: float = 0.0) -> None:
        super().__init__()
        self.name, self.parts = name, (thomas_fermi, von_weizsacker)

    def energy_density(self, density: Tensor, space: Space) -> Tensor:
        result = self.parts[0] * thomas_fermi(density)
        return result + self.parts[1] * von_weizsacker(density, space) if self.parts[1] else result


class LuoKarasievTrickey(Functional):
    """Functional of Luo, Karasiev and Trickey ("lkt")."""

    name = "lkt"

    def energy_density(self, density: Tensor, space: Space) -> Tensor:
        # sqrt has no derivative at 0, and 1/cosh is negligible beyond 30
        s = (reduced_gradient(density, space) + 1e-20).sqrt().clamp(max=30 / 1.3)
        return von_weizsacker(density, space) + thomas_fermi(density) / torch.cosh(1.3 * s)


class PauliGaussianLaplacian(Functional):
    """Functional of Constantin, Fabiano and Della Sala ("pgsl")."""

    name = "pgsl"

    def energy_density(self, density: Tensor, space: Space) -> Tensor:
        gaussian = torch.exp(-40 / 27 * reduced_gradient(density, space))
        enhancement = gaussian + 0.25 * reduced_laplacian(density, space).square()
        return von_weizsacker(density, space) + thomas_fermi(density) * enhancement
