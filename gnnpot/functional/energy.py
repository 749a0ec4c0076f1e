"""The total energy of orbital-free density functional theory as a functional of the density.

    energy = TotalEnergy(functional, space, external)
    parts, potential = energy(density)

E = T + ∫ v_ext rho + E_H + E_xc, atomic units; the ions' own energy is a constant that the solver adds.
"""

import torch
from torch import Tensor

from gnnpot.functional import xc
from gnnpot.functional.functionals import Functional, kinetic
from gnnpot.functional.space import Space, integral


def hartree_potential(density: Tensor, space: Space) -> Tensor:
    """Potential (Ha) `[B, n]` of a density in a neutralising background."""
    positive = space.g > 1e-9
    kernel = torch.where(positive, 4 * torch.pi / torch.where(positive, space.g, 1.0) ** 2, 0.0)
    return space.convolve(density[:, None], kernel[:, None])[:, 0]


def hartree(density: Tensor, space: Space) -> Tensor:
    """Energy `[B]` of a density in a neutralising background."""
    return 0.5 * integral(space, density * hartree_potential(density, space))


def electronic_parts(functional: Functional, density: Tensor, space: Space) -> dict[str, Tensor]:
    """What does not need the ions: kinetic, Hartree, exchange and correlation energies `[B]` (Ha)."""
    return {
        "kinetic": functional.energy(density, space),
        "hartree": hartree(density, space),
        "xc": integral(space, xc.energy_density(density)),
    }


#: relative errors of energies by rounding, in single precision and in double
SINGLE_NOISE, DOUBLE_NOISE = 3e-8, 1e-11


class TotalEnergy:
    """Energies of densities in `external` `[B, n]` (Ha), their relative `noise`; counts its evaluations."""

    def __init__(self, functional: Functional, space: Space, external: Tensor) -> None:
        self.functional, self.space, self.external = functional, space, external
        self.evaluations = 0
        self.noise = SINGLE_NOISE if space.inner == torch.float32 else DOUBLE_NOISE

    def __call__(self, density: Tensor) -> tuple[dict[str, float], Tensor]:
        """Parts of the energy (Ha) and its derivative `[1, n]` (Ha)."""
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
