"""CHGNet: crystal Hamiltonian graph network, with angles and magnetic moments.

Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023), Methods.

    model = CHGNet(CHGNetConfig(elements=("Na", "Cl")))
    output = model(graph)
    output.energies, output.magmoms

There are features of atoms v_i, of bonds e_ij (one for both directions), and of angles a_ijk between two bonds of an
atom that are shorter than the bond cutoff. Atom features are updated from bonds, bond features from angles, and angle
features from bonds.

The energies are continuous everywhere. The authors' package skips the bond convolution if a whole batch has no angles;
with the biases of CHGNet 0.2.0, energies are discontinuous there. Here the bond convolution is never skipped.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gnnpot.config import check_ranges
from gnnpot.domains import check_fields
from gnnpot.graphs import Graph, undirected
from gnnpot.graphs.size import GraphSize
from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.basis import bond_angles, polynomial_cutoff
from gnnpot.models.fast.chgnet import FastCHGNet
from gnnpot.models.fast.chgnet_training import CHGNetTraining
from gnnpot.models.layers import GatedMLP, GatherLinear, ModuleList, scatter_sum
from gnnpot.models.ranges import LENGTHS, MAX_DEPTH, MAX_WIDTH
from gnnpot.ops.simd.vectors import SIMD_WIDTH


@dataclass(frozen=True)
class CHGNetConfig:
    """Options of `CHGNet`; the defaults are those of CHGNet 0.3.0."""

    architecture: Literal["chgnet"] = "chgnet"
    #: chemical symbols; if empty, training takes the elements of the data
    elements: tuple[str, ...] = ()
    #: width of all features
    units: int = 64
    #: number of atom convolutions; bonds are updated between them, and angles between updates of bonds
    convolutions: int = 4
    #: Å, cutoff of the edges
    cutoff: float = 6.0
    #: Å, cutoff of the bonds that form angles
    bond_cutoff: float = 3.0
    #: number of radial functions
    radial: int = 31
    #: number of angular functions; odd, because they are a constant, sines and cosines
    angular: int = 31
    #: exponent of the cutoff function of the radial functions
    envelope_power: int = 8
    #: number of hidden layers in the readout
    readout_layers: int = 3
    #: whether there are layer norms in the gated perceptrons and before the readout
    norm: bool = True
    #: whether the linear layers for sums of messages have a bias
    message_bias: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self, units=(1, MAX_WIDTH), convolutions=(1, MAX_DEPTH), readout_layers=(1, MAX_DEPTH))
        check_ranges(self, radial=(1, 500), angular=(1, 501), envelope_power=(1, 50), cutoff=LENGTHS)
        if self.angular % 2 == 0:
            raise ValueError(f"angular: must be odd (a constant, sines and cosines), got {self.angular}")
        if not 0 < self.bond_cutoff <= self.cutoff:
            raise ValueError(f"bond_cutoff: must lie between 0 and the cutoff of {self.cutoff} Å")


class BesselBasis(nn.Module):
    """ẽ_n(r) = sqrt(2/r_c) sin(f_n r/r_c)/r u(r), with trainable frequencies f_n, initially nπ; [E] -> [E, radial].

    u is `polynomial_cutoff` with the exponent `power`.
    """

    def __init__(self, radial: int, cutoff: float, power: int) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, power
        self.frequencies = nn.Parameter(math.pi * torch.arange(1.0, radial + 1.0))

    def forward(self, distances: Tensor) -> Tensor:
        r = distances[:, None]
        return torch.sin(self.frequencies * (r / self.cutoff)) * self.amplitude(r)

    def amplitude(self, distances: Tensor) -> Tensor:
        """sqrt(2/r_c) u(r)/r."""
        return math.sqrt(2 / self.cutoff) / distances * polynomial_cutoff(distances, self.cutoff, self.power)


class FourierBasis(nn.Module):
    """(1/√2, sin(f_1 θ), …, cos(f_1 θ), …)/√π, with trainable frequencies f_n, initially n; [T] -> [T, angular]."""

    def __init__(self, angular: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.arange(1.0, (angular + 1) / 2))

    def forward(self, angles: Tensor) -> Tensor:
        waves = angles[:, None] * self.frequencies
        constant = torch.full_like(angles, math.sqrt(0.5))[:, None]
        return torch.cat([constant, torch.sin(waves), torch.cos(waves)], dim=1) / math.sqrt(math.pi)


@dataclass(frozen=True, slots=True)
class Bonds:
    """Bonds and angles of a graph with E edges: U bonds, C of them within the bond cutoff; T angles between these."""

    edge_index: Tensor  #: [2, E] centre and neighbour of each edge
    bond: Tensor  #: [E] bond of each edge
    edge: Tensor  #: [U] one edge of each bond
    close: Tensor  #: [C] bonds within the bond cutoff
    angle_centre: Tensor  #: [T] central atom of each angle
    angle_bonds: tuple[Tensor, Tensor]  #: [T] each, positions of the bonds ij and ik in `close`
    angle_edges: tuple[Tensor, Tensor]  #: [T] each, edges i -> j and i -> k


class AtomConvolution(nn.Module):
    """v'_i = v_i + L Σ_j ẽ^a_ij ⊙ φ(v_i ⊕ e_ij ⊕ v_j), with a gated perceptron φ and weights ẽ^a from distances."""

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__()
        units = config.units
        first = GatherLinear([units] * 3, 2 * units)
        self.message = GatedMLP([0, units, units], norm=config.norm, first=first)
        self.out = nn.Linear(units, units, bias=config.message_bias)

    def forward(self, atoms: Tensor, bonds: Tensor, weights: Tensor, index: Bonds) -> Tensor:
        centre, neighbor = index.edge_index
        inputs = (atoms, centre), (bonds, index.bond), (atoms, neighbor)
        messages = self.message(*inputs, weights=weights.index_select(0, index.bond))
        return self.apply_messages(atoms, scatter_sum(messages, centre, len(atoms)))

    def apply_messages(self, atoms: Tensor, total: Tensor) -> Tensor:
        """Return v + L total, with the sums of messages `total` [N, units]."""
        return atoms + self.out(total)


class BondConvolution(nn.Module):
    """e'_ij = e_ij + L Σ_k ẽ^b_ij ⊙ ẽ^b_ik ⊙ φ(e_ij ⊕ e_ik ⊕ a_ijk ⊕ v_i); the sum includes the angles at both ends."""

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__()
        units = config.units
        first = GatherLinear([units] * 4, 2 * units)
        self.message = GatedMLP([0, units, units], norm=config.norm, first=first)
        self.out = nn.Linear(units, units, bias=config.message_bias)

    def forward(self, atoms: Tensor, bonds: Tensor, weights: Tensor, angles: Tensor, index: Bonds) -> Tensor:
        ij, ik = index.angle_bonds
        close = bonds.index_select(0, index.close)
        inputs = (close, ij), (close, ik), (angles, None), (atoms, index.angle_centre)
        messages = self.message(*inputs, weights=weights.index_select(0, ik))
        # the weight of the bond ij is common to all its messages
        total = scatter_sum(messages, ij, len(close)) * weights
        return self.apply_messages(bonds, total, index.close)

    def apply_messages(self, bonds: Tensor, total: Tensor, close: Tensor) -> Tensor:
        """Return e + L total, with the sums of the close bonds [C, units]; a bias is added to all bonds."""
        if self.out.bias is None:
            return bonds.index_add(0, close, self.out(total))
        return bonds + self.out(torch.zeros_like(bonds).index_add(0, close, total))


class AngleUpdate(nn.Module):
    """a'_ijk = a_ijk + φ(e_ij ⊕ e_ik ⊕ a_ijk ⊕ v_i)."""

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__()
        units = config.units
        self.update = GatedMLP([0, units], norm=config.norm, first=GatherLinear([units] * 4, 2 * units))

    def forward(self, atoms: Tensor, bonds: Tensor, angles: Tensor, index: Bonds) -> Tensor:
        ij, ik = index.angle_bonds
        close = bonds.index_select(0, index.close)
        return angles + self.update((close, ij), (close, ik), (angles, None), (atoms, index.angle_centre))


class CHGNet(EnergyModel):
    """E_i = MLP(norm(v_i)); magnetic moments m_i = |w · v_i + b|, with v_i before the last atom convolution."""

    config: CHGNetConfig

    def __init__(self, config: CHGNetConfig) -> None:
        super().__init__(config.elements, config.cutoff, config.bond_cutoff)
        self.config = config
        units, power = config.units, config.envelope_power
        self.radial_basis = BesselBasis(config.radial, config.cutoff, power)
        self.bond_basis = BesselBasis(config.radial, config.bond_cutoff, power)
        self.angular_basis = FourierBasis(config.angular)
        self.atom_embedding = nn.Embedding(len(self.elements), units)
        self.bond_embedding = nn.Linear(config.radial, units, bias=False)
        self.angle_embedding = nn.Linear(config.angular, units, bias=False)
        self.atom_weights = nn.Linear(config.radial, units, bias=False)
        self.bond_weights = nn.Linear(config.radial, units, bias=False)
        self.atom_convolutions = ModuleList(AtomConvolution(config) for _ in range(config.convolutions))
        self.bond_convolutions = ModuleList(BondConvolution(config) for _ in range(config.convolutions - 1))
        self.angle_updates = ModuleList(AngleUpdate(config) for _ in range(config.convolutions - 2))
        self.magmom = nn.Linear(units, 1)
        layers: list[nn.Module] = [nn.LayerNorm(units)] if config.norm else []
        for _ in range(config.readout_layers):
            layers += [nn.Linear(units, units), nn.SiLU()]
        self.readout = nn.Sequential(*layers, nn.Linear(units, 1))

    @property
    def hops(self) -> int | None:
        # bond features depend on the angles at both ends, which reach no farther than the messages of the atoms there
        return self.config.convolutions

    def forward(self, graph: Graph) -> AtomicOutput:
        vectors = graph.edge_vectors
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        index = self.bonds(graph, distances.detach())
        lengths = distances.index_select(0, index.edge)
        radial = self.radial_basis(lengths)
        bonds, weights = self.bond_embedding(radial), self.atom_weights(radial)
        close_weights = self.bond_weights(self.bond_basis(lengths.index_select(0, index.close)))
        angles = self.angle_embedding(self.angular_basis(bond_angles(vectors, distances, index.angle_edges)))
        atoms = self.atom_embedding(self.species(graph.numbers))
        for k, bond_convolution in enumerate(self.bond_convolutions):
            atoms = self.atom_convolutions[k](atoms, bonds, weights, index)
            bonds = bond_convolution(atoms, bonds, close_weights, angles, index)
            if k < len(self.angle_updates):
                angles = self.angle_updates[k](atoms, bonds, angles, index)
        magmoms = self.magmom(atoms).squeeze(-1).abs()
        atoms = self.atom_convolutions[-1](atoms, bonds, weights, index)
        return AtomicOutput(self.readout(atoms).squeeze(-1), magmoms)

    def energies_and_gradient(self, graph: Graph, *, create_graph: bool = False) -> tuple[AtomicOutput, Tensor]:
        if not self.has_kernels:
            return super().energies_and_gradient(graph, create_graph=create_graph)
        if create_graph:
            return self.by_training_backend(graph, CHGNetTraining)
        return self.by_compiled_copy(graph, FastCHGNet)

    @property
    def has_kernels(self) -> bool:
        return self.config.units % SIMD_WIDTH == 0

    def memory(self, size: GraphSize) -> int:
        # each convolution stores its inputs from bonds, angles and atoms (five inputs of double width); in addition,
        # there are embeddings, gradients, and gradients of gathered rows; factors fitted for 2, 4 and 6 convolutions
        convolutions, units = self.config.convolutions, self.config.units
        rows = (6.4 + 1.3 * convolutions) * size.edges + 1.3 * (1 + convolutions) * size.triplets
        if not self.has_kernels:
            # PyTorch stores the intermediate values of all steps; factors fitted in the same way, and for 28 units
            rows = (6 + 11 * convolutions + 300 / units) * size.edges + 8 * max(2 * convolutions - 3, 0) * size.triplets
        rows += (18 + 10 * convolutions) * size.atoms
        return round(rows * units * self.magmom.weight.itemsize)

    def bonds(self, graph: Graph, distances: Tensor) -> Bonds:
        """Return the bonds and angles of a graph with triplets; `distances` [E] are the lengths of its edges."""
        bond, edge = undirected(graph)
        close = torch.nonzero(distances.index_select(0, edge) < self.config.bond_cutoff).squeeze(-1)
        place = torch.full_like(edge, -1).index_copy(0, close, torch.arange(len(close), device=close.device))
        triplets = graph.triplet_index
        ends = place[bond[triplets]]
        inside = torch.nonzero((ends >= 0).all(0)).squeeze(-1)
        ends, triplets = ends.index_select(1, inside), triplets.index_select(1, inside)
        centre = graph.edge_index[0].index_select(0, triplets[0])
        return Bonds(graph.edge_index, bond, edge, close, centre, (ends[0], ends[1]), (triplets[0], triplets[1]))
