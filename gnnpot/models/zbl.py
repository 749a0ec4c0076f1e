"""Universal screened nuclear repulsion (Ziegler, Biersack & Littmark 1985).

    V(r)  =  k_e Z_i Z_j / r  φ(r/a)  f_c(r / r_ij)                                                           (1)
    φ(x)  =  0.18175 e^(-3.19980 x) + 0.50986 e^(-0.94229 x) + 0.28022 e^(-0.40290 x) + 0.02817 e^(-0.20162 x) (2)
    a     =  0.46850 Å / (Z_i^0.23 + Z_j^0.23)                                                                (3)
    r_ij  =  min(R_i + R_j, cutoff)                                                                           (4)
    E_i   =  ½ Σ_j V(r_ij)                                                                                    (5)

with the polynomial cutoff f_c, whose value, slope and curvature vanish at r_ij, and the covalent radii R (Cordero et
al. 2008, from ASE). The repulsion is negligible between bonded atoms. At short distances, which training data do not
cover, it prevents simulations from collapsing.

| symbol | variable           | shape | unit |
|--------|--------------------|-------|------|
| k_e    | units.COULOMB      |       | eV Å |
| Z      | numbers            | [N]   |      |
| R      | covalent_radii     | [119] | Å    |
| E_i    | energies           | [N]   | eV   |

Source of the constants in (2) and (3): Ziegler, Biersack & Littmark, *The Stopping and Range of Ions in Matter*
(Pergamon 1985), as in LAMMPS `pair_style zbl`. The cutoff (4), with power 6, is that of MACE (Batatia et al. 2023).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor

from gnnpot.config import check_ranges
from gnnpot.graphs import Graph
from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.basis import polynomial_cutoff
from gnnpot.models.fast.zbl import FastZBL
from gnnpot.models.layers import scatter_sum
from gnnpot.models.ranges import LENGTHS
from gnnpot.units import COULOMB

_LENGTH, _EXPONENT = 0.46850, 0.23


@dataclass(frozen=True, slots=True)
class ZBLConfig:
    """Options of `ZBL`."""

    architecture: Literal["zbl"] = "zbl"
    elements: tuple[str, ...] = ()
    cutoff: float = 5.0  #: Å, upper limit of r_ij in equation (4)
    power: int = 6  #: exponent of the polynomial cutoff; a larger one makes it fall more steeply near r_ij

    def __post_init__(self) -> None:
        # below a power of 3, the energy would not be smooth
        check_ranges(self, cutoff=LENGTHS, power=(3, 100))


class ZBL(EnergyModel):
    """Equation (5), in eV; a term of a `Potential`. It has no parameters; its precision is that of the edge vectors."""

    covalent_radii: Tensor

    #: factors and exponents of equation (2)
    SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))

    config: ZBLConfig
    message_layers = 1

    def __init__(self, config: ZBLConfig) -> None:
        radii = torch.as_tensor(covalent_radii, dtype=torch.float64)[:119].clone()
        reach = 2 * max((float(covalent_radii[atomic_numbers.get(e, 0)]) for e in config.elements), default=0.0)
        super().__init__(config.elements, cutoff=min(config.cutoff, reach))
        self.config = config
        self.register_buffer("covalent_radii", radii, persistent=False)

    def forward(self, graph: Graph) -> AtomicOutput:
        near, distances = self._near(graph)
        centre, neighbor = graph.edge_index[:, near]
        strength, per_length, reach = self.pairs(graph.numbers[centre], graph.numbers[neighbor], distances.dtype)
        x = distances * per_length
        screening = sum(c * torch.exp(-b * x) for c, b in self.SCREENING)
        envelope = polynomial_cutoff(distances / reach, 1.0, self.config.power)
        half = strength / distances * screening * envelope
        return AtomicOutput(energies=scatter_sum(half, centre, graph.numbers.shape[0]))

    def energies_and_gradient(self, graph: Graph, *, create_graph: bool = False) -> tuple[AtomicOutput, Tensor]:
        """See `EnergyModel`. Uses compiled kernels on the CPU, also with `create_graph`: there are no parameters."""
        if graph.edge_vectors.device.type != "cpu":
            return super().energies_and_gradient(graph)
        energies = torch.zeros(len(graph.numbers), dtype=torch.float64)
        gradient = torch.zeros_like(graph.edge_vectors)
        self.add_energies_and_gradient(graph, energies, gradient)
        return AtomicOutput(energies=energies), gradient

    def add_energies_and_gradient(self, graph: Graph, energies: Tensor, gradient: Tensor) -> None:
        """See `EnergyModel`."""
        self.compiled_copy(FastZBL).backend.add(graph, energies, gradient)

    def pairs(self, z_i: Tensor, z_j: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return ½ k_e Z_i Z_j (eV Å), 1/a (1/Å) and r_ij (Å) of pairs of elements."""
        reach = (self.covalent_radii[z_i] + self.covalent_radii[z_j]).clamp(max=self.config.cutoff)
        z_i, z_j = z_i.to(dtype), z_j.to(dtype)
        return 0.5 * COULOMB * z_i * z_j, (z_i**_EXPONENT + z_j**_EXPONENT) / _LENGTH, reach.to(dtype)

    def _near(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Indices and lengths of the edges within the cutoff of this term, usually few of the edges of the graph."""
        with torch.no_grad():
            lengths = torch.linalg.vector_norm(graph.edge_vectors, dim=1)
            near = torch.nonzero(lengths < self.cutoff).reshape(-1)
        return near, torch.linalg.vector_norm(graph.edge_vectors[near], dim=1)
