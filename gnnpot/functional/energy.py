"""Total energy of orbital-free density functional theory as a functional of the density.

    energy = TotalEnergy(functional, space, external)
    parts, potential = energy(density)

E = T + ∫ v_ext rho + E_H + E_xc in atomic units; the solver adds the constant energy of the ions.
"""

import torch
from torch import Tensor

from gnnpot.functional import xc
from gnnpot.functional.functionals import Functional, kinetic
from gnnpot.functional.space import Space, integral


def hartree_potential(density: Tensor, space: Space) -> Tensor:
    """Hartree potential `[B, n]` (Ha) of a density in a neutralising background."""
    positive = space.g > 1e-9
    kernel = torch.where(positive, 4 * torch.pi / torch.where(positive, space.g, 1.0) ** 2, 0.0)
    return space.convolve(density[:, None], kernel[:, None])[:, 0]


def hartree(density: Tensor, space: Space) -> Tensor:
    """Hartree energy `[B]` (Ha) of a density in a neutralising background."""
    return 0.5 * integral(space, density * hartree_potential(density, space))


def electronic_parts(functional: Functional, density: Tensor, space: Space) -> dict[str, Tensor]:
    """Energies `[B]` (Ha) that do not depend on the ions: kinetic, Hartree, exchange and correlation."""
    return {
        "kinetic": functional.energy(density, space),
        "hartree": hartree(density, space),
        "xc": integral(space, xc.energy_density(density)),
    }


#: relative rounding errors of energies in single and double precision
SINGLE_NOISE, DOUBLE_NOISE = 3e-8, 1e-11


class TotalEnergy:
    """Total energy of densities in an external potential.

    Args:
        functional: Kinetic energy functional.
        space: Space of the densities.
        external: External potential `[B, n]`, Ha.

    Attributes:
        evaluations: Number of evaluations.
        noise: Relative rounding error of the energy.
    """

    def __init__(self, functional: Functional, space: Space, external: Tensor) -> None:
        self.functional, self.space, self.external = functional, space, external
        self.evaluations = 0
        self.noise = SINGLE_NOISE if space.inner == torch.float32 else DOUBLE_NOISE

    def __call__(self, density: Tensor) -> tuple[dict[str, float], Tensor]:
        """Parts of the energy (Ha), and the derivative `[1, n]` (Ha) of their sum with respect to the density."""
        self.evaluations += 1
        space, rho = self.space, density.detach()
        kinetic_energy, potential = kinetic(self.functional, rho, space)
        electrostatic = hartree_potential(rho, space)
        xc_energy, xc_potential = xc.energy_and_potential(rho)
        parts = {
            "kinetic": kinetic_energy,
            "hartree": 0.5 * integral(space, rho * electrostatic),
            "xc": integral(space, xc_energy),
            "external": integral(space, rho * self.external),
        }
        total = potential + electrostatic + xc_potential + self.external
        return {name: float(value.sum()) for name, value in parts.items()}, total
