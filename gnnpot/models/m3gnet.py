"""M3GNet: materials graph network with three-body interactions.

Source: Chen & Ong, Nat. Comput. Sci. 2, 718 (2022); "eq." refers to the equations of its Methods section.

    model = M3GNet(M3GNetConfig(elements=("Na", "Cl")))
    model(graph).energies

Each block updates the edges from the angles at their centre (three-body step), and then edges and atoms from each other
(graph convolution). The three-body step does not sum over triplets explicitly. With the addition theorem

    P_l(r̂_ij · r̂_ik) = 4π/(2l+1) Σ_m Y_lm(r̂_ij) Y_lm(r̂_ik)

it sums over the edges of an atom and projects the sum back onto each edge. The cost is linear in the number of edges.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from e3nn import o3
from torch import Tensor, nn

from gnnpot.config import check_ranges
from gnnpot.domains import check_fields
from gnnpot.graphs import Graph
from gnnpot.graphs.size import GraphSize
from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.basis import SmoothBesselBasis, SphericalBesselBasis, polynomial_cutoff, zonal_harmonics
from gnnpot.models.fast.m3gnet import FastM3GNet
from gnnpot.models.fast.m3gnet_training import M3GNetTraining
from gnnpot.models.layers import GatedMLP, GatherLinear, ModuleList, scatter_sum
from gnnpot.models.ranges import LENGTHS, MAX_DEPTH, MAX_WIDTH
from gnnpot.ops.simd.vectors import SIMD_WIDTH


@dataclass(frozen=True)
class M3GNetConfig:
    """Options of `M3GNet`; the defaults are the published ones."""

    architecture: Literal["m3gnet"] = "m3gnet"
    #: chemical symbols; if empty, training takes the elements of the data
    elements: tuple[str, ...] = ()
    #: width of all features
    units: int = 64
    #: hidden width of the perceptrons in the convolutions and the readout; `None`: `units`
    hidden: int | None = None
    #: number of blocks (three-body step and graph convolution)
    blocks: int = 3
    #: Å, cutoff of the edges
    cutoff: float = 5.0
    #: Å, cutoff of the edges that form triplets
    three_body_cutoff: float = 4.0
    #: number of radial functions for each angular momentum
    max_n: int = 3
    #: number of angular momenta, l < max_l
    max_l: int = 3
    #: radial functions of the edges: "smooth" is eq. 2 of the paper, with smooth forces at the cutoff;
    #: "spherical_bessel" belongs to the published weights of matgl, whose forces are discontinuous at the cutoff
    radial_basis: Literal["smooth", "spherical_bessel"] = "smooth"
    #: R_ln of the three-body step: "spherical_bessel" as in the paper; with "smooth", R_ln is h_n of the smooth basis
    #: with the index l max_n + n, as with matgl's `use_smooth`
    three_body_basis: Literal["spherical_bessel", "smooth"] = "spherical_bessel"

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self, units=(1, MAX_WIDTH), hidden=(1, MAX_WIDTH), blocks=(1, MAX_DEPTH), cutoff=LENGTHS)
        check_ranges(self, three_body_cutoff=LENGTHS, max_n=(1, 32), max_l=(1, 10))
        if not 0 < self.three_body_cutoff <= self.cutoff:
            raise ValueError(f"three_body_cutoff: must lie between 0 and the cutoff of {self.cutoff} Å")

    @property
    def width(self) -> int:
        """Hidden width of the perceptrons."""
        return self.units if self.hidden is None else self.hidden


class ThreeBody(nn.Module):
    """Three-body step, eqs. 3 to 6:

        ẽ_ij = Σ_k R_ln(r_ik) Y_l0(θ_jik) ⊙ σ(W v_k + b) f_c(r_ij) f_c(r_ik)
        e'_ij = e_ij + g(W̃_2 ẽ_ij) ⊙ σ(W̃_1 ẽ_ij)

    `forward` uses the addition theorem instead of the sum over triplets; `by_triplets` is the equation as published.
    """

    def __init__(self, config: M3GNetConfig) -> None:
        super().__init__()
        self.max_l, self.max_n, self.cutoff = config.max_l, config.max_n, config.three_body_cutoff
        features = config.max_l * config.max_n
        self.atom = nn.Linear(config.units, features)
        self.bond = GatedMLP([features, config.units], bias=False)

    def forward(self, nodes: Tensor, edges: Tensor, close: "CloseEdges") -> Tensor:
        weights = torch.sigmoid(self.atom(nodes)).index_select(0, close.neighbor) * close.radial
        # sums of each atom: Σ_k w_ln(k) Y_lm(k)
        mixed = [self._project(weights[:, l * self.max_n : (l + 1) * self.max_n], close, l) for l in range(self.max_l)]
        return edges.index_add(0, close.edges, self.bond(torch.cat(mixed, -1) * close.envelope[:, None]))

    def _project(self, weights: Tensor, close: "CloseEdges", l: int) -> Tensor:
        """Σ_{k≠j} w_ik Y_l0(θ_jik), [C, max_n]."""
        norm = math.sqrt((2 * l + 1) / (4 * math.pi))
        if l == 0:
            total = scatter_sum(weights, close.centre, close.atoms).index_select(0, close.centre)
            return norm * (total - weights)
        harmonics = close.harmonics[:, l * l : (l + 1) * (l + 1)]
        moments = scatter_sum(
            (harmonics[:, :, None] * weights[:, None, :]).flatten(1), close.centre, close.atoms
        ).index_select(0, close.centre)
        total = (harmonics[:, :, None] * moments.view(len(weights), 2 * l + 1, self.max_n)).sum(1)
        # subtract k = j, which is not a triplet; its angle is 0, where P_l = 1
        return total / norm - norm * weights

    def by_triplets(self, nodes: Tensor, edges: Tensor, close: "CloseEdges", pairs: Tensor) -> Tensor:
        """Same as `forward`, with an explicit list of triplets: `pairs` [2, T] of close edges (i, j), (i, k)."""
        ij, ik = pairs
        cos_theta = (close.directions[ij] * close.directions[ik]).sum(-1)
        angular = zonal_harmonics(cos_theta, self.max_l).repeat_interleave(self.max_n, dim=-1)
        atom_k = torch.sigmoid(self.atom(nodes))[close.neighbor[ik]]
        # `radial` already includes f_c(r_ik)
        terms = close.radial[ik] * angular * atom_k * close.envelope[ij][:, None]
        mixed = scatter_sum(terms, ij, len(close.edges))
        return edges.index_add(0, close.edges, self.bond(mixed))


@dataclass(frozen=True, slots=True)
class CloseEdges:
    """The C edges within the three-body cutoff, and their functions, which the three-body steps of all blocks share."""

    atoms: int  #: number of atoms N
    edges: Tensor  #: [C] edges that the three-body step updates: the close edges, except in `m3gnet_matgl_rows`
    centre: Tensor  #: [C] central atom
    neighbor: Tensor  #: [C] neighbour
    directions: Tensor  #: [C, 3] unit vectors
    envelope: Tensor  #: [C] f_c(r)
    radial: Tensor  #: [C, max_l max_n] R_ln(r) f_c(r)
    harmonics: Tensor  #: [C, max_l²] Y_lm


class GraphConvolution(nn.Module):
    """Graph convolution, eqs. 7 and 8, without a global state:

    e'_ij = e_ij + φ_e(v_i ⊕ v_j ⊕ e_ij) ⊙ W_e⁰ h(r_ij)
    v'_i  = v_i + Σ_j φ'_e(v_i ⊕ v_j ⊕ e'_ij) ⊙ W_e⁰' h(r_ij)
    """

    def __init__(self, units: int, width: int, radial: int) -> None:
        super().__init__()
        dims = [0, width, width, units]
        self.edge_update = GatedMLP(dims, first=GatherLinear([units] * 3, 2 * width))
        self.edge_weight = nn.Linear(radial, units, bias=False)
        self.node_update = GatedMLP(dims, first=GatherLinear([units] * 3, 2 * width))
        self.node_weight = nn.Linear(radial, units, bias=False)

    def forward(self, nodes: Tensor, edges: Tensor, radial: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        centre, neighbor = edge_index
        at_ends = (nodes, centre), (nodes, neighbor)
        edges = edges + self.edge_update(*at_ends, (edges, None), weights=self.edge_weight(radial))
        messages = self.node_update(*at_ends, (edges, None), weights=self.node_weight(radial))
        return nodes.index_add(0, centre, messages), edges


class M3GNet(EnergyModel):
    """E_i = φ_3(v_i), eq. 9, after `blocks` of `ThreeBody` and `GraphConvolution`."""

    config: M3GNetConfig

    def __init__(self, config: M3GNetConfig) -> None:
        super().__init__(config.elements, config.cutoff)
        self.config = config
        units, width, features = config.units, config.width, config.max_l * config.max_n
        spherical = SphericalBesselBasis(config.max_l, config.max_n, config.cutoff)
        if config.radial_basis == "smooth":
            self.radial_basis: SmoothBesselBasis | SphericalBesselBasis
            self.radial_basis, radial = SmoothBesselBasis(config.max_n, config.cutoff), config.max_n
        else:
            self.radial_basis, radial = spherical, features
        # scaled with the cutoff of the edges, as in matgl, not with the three-body cutoff
        smooth = config.three_body_basis == "smooth"
        self.three_body_basis = SmoothBesselBasis(features, config.cutoff) if smooth else spherical
        self.node_embedding = nn.Embedding(len(self.elements), units)
        self.edge_embedding = nn.Linear(radial, units)
        self.three_body = ModuleList(ThreeBody(config) for _ in range(config.blocks))
        self.convolutions = ModuleList(GraphConvolution(units, width, radial) for _ in range(config.blocks))
        self.readout = GatedMLP([units, units, width, width, 1], activate_last=False)

    @property
    def hops(self) -> int | None:
        return self.config.blocks

    def forward(self, graph: Graph) -> AtomicOutput:
        distances = torch.linalg.vector_norm(graph.edge_vectors, dim=-1)
        radial = self.radial_basis(distances)
        nodes = self.node_embedding(self.species(graph.numbers))
        edges = nn.functional.silu(self.edge_embedding(radial))
        close = self.close_edges(graph, distances)
        for three_body, convolution in zip(self.three_body, self.convolutions, strict=True):
            edges = three_body(nodes, edges, close)
            nodes, edges = convolution(nodes, edges, radial, graph.edge_index)
        return AtomicOutput(self.readout(nodes).squeeze(-1))

    def energies_and_gradient(self, graph: Graph, *, create_graph: bool = False) -> tuple[AtomicOutput, Tensor]:
        if not self.has_kernels:
            return super().energies_and_gradient(graph, create_graph=create_graph)
        if create_graph:
            return self.by_training_backend(graph, M3GNetTraining)
        return self.by_compiled_copy(graph, FastM3GNet)

    @property
    def has_kernels(self) -> bool:
        units, width = self.config.units, self.config.width
        return units % SIMD_WIDTH == 0 and width % SIMD_WIDTH == 0 and width >= units

    def memory(self, size: GraphSize) -> int:
        blocks, units = self.config.blocks, max(self.config.units, self.config.width)
        # per edge: inputs of the two updates of each block; the embedding and its gradient, the gradients of gathered
        # rows (of double width), and the functions of close edges
        edges = 2 * blocks + 7
        # per atom: four inputs of the updates of each block, of double width, and two features; their gradients, and
        # the readout
        atoms = 10 * blocks + 34
        numbers = (edges * size.edges + atoms * size.atoms) * units
        if not self.has_kernels:
            # PyTorch stores the intermediate values of all steps, including products of harmonics and radial functions;
            # factors fitted for 1, 3 and 5 blocks of 60 and 28 units, and two sizes of the basis
            basis = 150 * blocks + 500 + 3 * blocks * self.config.max_l**2 * self.config.max_n
            numbers = ((14 * blocks + 8) * units + basis) * size.edges + atoms * units * size.atoms
        return numbers * self.edge_embedding.weight.itemsize

    def close_edges(self, graph: Graph, distances: Tensor) -> CloseEdges:
        """Select the edges within the three-body cutoff, and compute their functions."""
        cutoff = self.config.three_body_cutoff
        close, rows, sign, centre, neighbor = self.close_rows(graph, distances.detach())
        r = distances.index_select(0, close)
        directions = sign * graph.edge_vectors.index_select(0, close) / r[:, None]
        envelope = polynomial_cutoff(distances.index_select(0, rows), cutoff)
        harmonics = o3.spherical_harmonics(
            list(range(self.config.max_l)), directions, normalize=False, normalization="integral"
        )
        radial = self.three_body_basis(r) * envelope[:, None]
        return CloseEdges(len(graph.numbers), rows, centre, neighbor, directions, envelope, radial, harmonics)

    def close_rows(self, graph: Graph, distances: Tensor) -> tuple[Tensor, Tensor, int, Tensor, Tensor]:
        """Select the edges within the three-body cutoff.

        Returns:
            Close edges [C], the edges [C] that they update, the sign of the edge vectors, centres [C], neighbours [C].
            A close edge updates itself, except in `m3gnet_matgl_rows`.
        """
        close = torch.nonzero(distances < self.config.three_body_cutoff).squeeze(-1)
        centre, neighbor = (end.index_select(0, close) for end in graph.edge_index)
        return close, close, 1, centre, neighbor
