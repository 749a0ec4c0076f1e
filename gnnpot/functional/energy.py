"""The total energy of orbital-free density functional theory as a functional of the density.

    energy = TotalEnergy(functional, space, external)
    parts, potential = energy(density)

E = T + ∫ v_ext rho + E_H + E_xc, atomic units; the ions' own energy is a constant that the solver adds.
"""

import operator
from functools import reduce

import torch
from torch import Tensor

from gnnpot.functional import xc
from gnnpot.functional.functionals import Functional
from gnnpot.functional.space import Space, integral


def hartree(density: Tensor, space: Space) -> Tensor:
    """Energy `[B]` of a density in a neutralising background."""
    positive = space.g > 1e-9
    kernel = torch.where(positive, 4 * torch.pi / torch.where(positive, space.g, 1.0) ** 2, 0.0)
    return 0.5 * integral(space, density * space.convolve(density[:, None], kernel[:, None])[:, 0])


def electronic_parts(functional: Functional, density: Tensor, space: Space) -> dict[str, Tensor]:
    """What does not need the ions: kinetic, Hartree, exchange and correlation energies `[B]` (Ha)."""
    return {
        "kinetic": integral(space, functional.energy_density(density, space)),
        "hartree": hartree(density, space),
        "xc": integral(space, xc.energy_density(density)),
    }


class TotalEnergy:
    """Energies of densities in `external` `[B, n]` (Ha); counts its evaluations."""

    def __init__(self, functional: Functional, space: Space, external: Tensor) -> None:
        self.functional, self.space, self.external = functional, space, external
        self.evaluations = 0

    def __call__(self, density: Tensor) -> tuple[dict[str, float], Tensor]:
        """Parts of the energy (Ha) and its derivative `[1, n]` (Ha)."""
        self.evaluations += 1
        rho = density.detach().requires_grad_()
        parts = electronic_parts(self.functional, rho, self.space)
        (slope,) = torch.autograd.grad(reduce(operator.add, parts.values()).sum(), rho)
        result = {name: float(value.detach().sum()) for name, value in parts.items()}
        result["external"] = float(integral(self.space, rho.detach() * self.external).sum())
        return result, slope / self.space.weights + self.external
