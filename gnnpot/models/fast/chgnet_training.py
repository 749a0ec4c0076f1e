"""Training backend of CHGNet, with the two passes of `training`."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.models.basis import bond_angles
from gnnpot.models.fast import jvp
from gnnpot.models.fast.chgnet import FastBonds, FastCHGNet
from gnnpot.models.fast.gated import Gate, GatherPlan, Scratch
from gnnpot.models.fast.gated_jvp import GateJVP
from gnnpot.models.layers import GatedMLP

if TYPE_CHECKING:
    from gnnpot.models.chgnet import AtomConvolution, BesselBasis, BondConvolution, CHGNet, FourierBasis


class CHGNetTraining:
    """Training backend: the first pass is that of `FastCHGNet` without tables; the second is `jvp`."""

    def __init__(self, model: "CHGNet") -> None:
        self._model, self._scratch = model, Scratch()

    def energies_and_gradient(self, graph: Graph) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return m, magnetic moments and g, see `TrainingBackend`."""
        backend = FastCHGNet(self._model, tables=False, scratch=self._scratch)
        output, gradient = backend.energies_and_gradient(graph)
        return output.energies, output.magmoms, gradient

    def jvp(self, graph: Graph, tangents: Tensor) -> tuple[Tensor, Tensor]:
        """Return (m, ṁ) and magnetic moments, from the steps of the model for values and tangents."""
        model = self._model
        distances = jvp.distances(graph.edge_vectors, tangents)
        index = FastBonds.of(model.bonds(graph, distances[0]), len(graph.numbers))
        lengths = distances.index_select(1, index.edge)
        radial = bessel(lengths, model.radial_basis)
        bonds, weights = jvp.layer(radial, model.bond_embedding), jvp.layer(radial, model.atom_weights)
        close_weights = jvp.layer(bessel(lengths.index_select(1, index.close), model.bond_basis), model.bond_weights)
        angles = _angles(graph.edge_vectors, tangents, index.angle_edges)
        angles = jvp.layer(fourier(angles, model.angular_basis), model.angle_embedding)
        species = model.atom_embedding(model.species(graph.numbers))
        atoms = torch.stack([species, torch.zeros_like(species)])
        for k, step in enumerate(model.bond_convolutions):
            atoms = self._atom_convolution(model.atom_convolutions[k], atoms, bonds, weights, index)
            bonds = self._bond_convolution(step, atoms, bonds, close_weights, angles, index)
            if k < len(model.angle_updates):
                update = model.angle_updates[k].update
                angles = self._at_angles(update, atoms, bonds, None, angles, index, index.updates)
        magmoms = model.magmom(atoms[0]).squeeze(-1).abs()
        atoms = self._atom_convolution(model.atom_convolutions[-1], atoms, bonds, weights, index)
        return jvp.sequence(atoms, model.readout).squeeze(-1), magmoms

    def _atom_convolution(
        self, step: "AtomConvolution", atoms: Tensor, bonds: Tensor, weights: Tensor, index: FastBonds
    ) -> Tensor:
        first = step.message.first_linear
        centre, bond, neighbor = step.message.first_weights()
        gate = Gate(step.message, self._scratch)
        sources = jvp.linear(atoms, centre), jvp.linear(bonds, bond, first.bias), jvp.linear(atoms, neighbor)
        messages = GateJVP.apply(None, weights, gate, index.edges, *gate.parameters(), *sources)
        return atoms + jvp.layer(messages, step.out)

    def _bond_convolution(
        self, step: "BondConvolution", atoms: Tensor, bonds: Tensor, weights: Tensor, angles: Tensor, index: FastBonds
    ) -> Tensor:
        messages = self._at_angles(step.message, atoms, bonds, weights, angles, index, index.angles)
        total = jvp.product(torch.zeros_like(weights).index_add(1, index.ends, messages), weights)
        if step.out.bias is None:
            return bonds.index_add(1, index.close, jvp.layer(total, step.out))
        return bonds + jvp.layer(torch.zeros_like(bonds).index_add(1, index.close, total), step.out)

    def _at_angles(
        self,
        mlp: GatedMLP,
        atoms: Tensor,
        bonds: Tensor,
        weights: Tensor | None,
        angles: Tensor,
        index: FastBonds,
        plan: GatherPlan,
    ) -> Tensor:
        first = mlp.first_linear
        ij, ik, angle, centre = mlp.first_weights()
        close, gate = bonds.index_select(1, index.close), Gate(mlp, self._scratch, angle)
        sources = jvp.linear(close, ij, first.bias), jvp.linear(close, ik), jvp.linear(atoms, centre)
        return GateJVP.apply(angles, weights, gate, plan, *gate.parameters(), *sources)


def bessel(lengths: Tensor, basis: "BesselBasis") -> Tensor:
    """`BesselBasis` and its tangent: A sin(f x), (A' sin(f x) + A f/r_c cos(f x)) ṙ with x = r/r_c and the amplitude A.

    [2, U] -> [2, U, radial].
    """
    r, tangents = lengths.unsqueeze(-1)
    amplitude, slope = torch.func.jvp(basis.amplitude, (r,), (torch.ones_like(r),))
    x = basis.frequencies * (r / basis.cutoff)
    sines = torch.sin(x)
    rise = (slope * tangents) * sines + (amplitude * tangents / basis.cutoff) * basis.frequencies * torch.cos(x)
    return torch.stack([amplitude * sines, rise])


def fourier(angles: Tensor, basis: "FourierBasis") -> Tensor:
    """`FourierBasis` and its tangent: (1/√2, sin(f θ), cos(f θ))/√π, (0, cos(f θ), -sin(f θ)) f θ̇/√π.

    [2, T] -> [2, T, angular].
    """
    theta, tangents = angles.unsqueeze(-1)
    x, rise = theta * basis.frequencies, tangents * basis.frequencies
    sines, cosines = torch.sin(x), torch.cos(x)
    constant = torch.full_like(theta, math.sqrt(0.5))
    values = torch.cat([constant, sines, cosines], dim=1)
    changes = torch.cat([torch.zeros_like(constant), cosines * rise, -sines * rise], dim=1)
    return torch.stack([values, changes]) / math.sqrt(math.pi)


def _angles(vectors: Tensor, tangents: Tensor, angle_edges: tuple[Tensor, Tensor]) -> Tensor:
    """Angles θ_jik and their tangents, [2, T]."""

    def angles(vectors: Tensor) -> Tensor:
        return bond_angles(vectors, torch.linalg.vector_norm(vectors, dim=-1), angle_edges)

    return torch.stack(torch.func.jvp(angles, (vectors,), (tangents,)))
