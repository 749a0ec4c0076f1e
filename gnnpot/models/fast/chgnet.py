"""Compiled backend of CHGNet: basis functions from tables, and one pass for the messages of each step.

Forward and backward pass do not use autograd; as in `m3gnet`, each step returns its result and its pullback.

The features of bonds beyond the bond cutoff are never updated and therefore not stored. A bond ij has its radial
functions h_ij and, within the bond cutoff, the sum Δ_ij of all updates of its embedding B h_ij, so that

    W e_ij = (W B) h_ij + W Δ_ij                                                                                (1)

If an update has a bias, it is the same for all bonds and is included in the biases of the following layers.
"""

import copy
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.base import AtomicOutput
from gnnpot.models.basis import STRAIGHT, bond_angles
from gnnpot.models.fast import readouts
from gnnpot.models.fast.gated import Gate, GatherIndex, GatherPlan, Scratch
from gnnpot.models.layers import GatedMLP
from gnnpot.ops.radial_table import Table

if TYPE_CHECKING:
    from gnnpot.models.chgnet import AngleUpdate, AtomConvolution, BondConvolution, Bonds, CHGNet

#: pullback of a function: gradient with respect to its value -> gradient with respect to its argument
TensorPullback = Callable[[Tensor], Tensor]


class FastCHGNet:
    """Backend of a CHGNet with the current parameters of `model`.

    Without `tables`, basis functions are evaluated by the model, because they change at each step of a training.
    """

    def __init__(self, model: "CHGNet", *, tables: bool = True, scratch: Scratch | None = None) -> None:
        self._model, scratch = model, scratch or Scratch()
        #: concurrent calls would write to the same scratch
        self._lock = threading.Lock()
        exact = copy.deepcopy(model).double().requires_grad_(False) if tables else model
        # a margin, because rounding can make angles exceed π
        stops = {"radial": model.cutoff, "bond": model.config.bond_cutoff, "angular": 1.001 * math.pi}
        self._bases = {
            name: (Table if tables else _Differentiated)(getattr(exact, f"{name}_basis"), stop)
            for name, stop in stops.items()
        }
        self._embeddings = [
            layer.weight.detach()
            for layer in (model.bond_embedding, model.atom_weights, model.bond_weights, model.angle_embedding)
        ]
        self._atoms: list[_AtomConvolution] = []
        self._bonds: list[_BondConvolution] = []
        self._angles: list[_AngleUpdate] = []
        embedding = self._embeddings[0]
        # sum of the biases of the preceding updates of bonds
        shift = embedding.new_zeros(len(embedding))
        for k, step in enumerate(model.atom_convolutions):
            self._atoms.append(_AtomConvolution(step, embedding, shift, scratch))
            if k < len(model.bond_convolutions):
                bias = model.bond_convolutions[k].out.bias
                self._bonds.append(_BondConvolution(model.bond_convolutions[k], shift, scratch))
                shift = shift if bias is None else shift + bias.detach()
            if k < len(model.angle_updates):
                self._angles.append(_AngleUpdate(model.angle_updates[k], shift, scratch))

    def energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        """Return the predictions for the atoms, and the edge gradient [E, 3]; calls of several threads wait in turn."""
        with self._lock:
            return self._energies_and_gradient(graph)

    @torch.no_grad()
    def _energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        model, vectors = self._model, graph.edge_vectors
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        index = FastBonds.of(model.bonds(graph, distances), len(graph.numbers))
        lengths = distances.index_select(0, index.edge)
        atoms = model.atom_embedding(model.species(graph.numbers))
        angles, angles_pullback = _angles(vectors, distances, index.angle_edges)
        embedded, embedding_pullback = self._layer_of("angular", angles, self._embeddings[3])
        features, features_pullback = self._features(lengths, atoms, embedded, index)
        pullbacks: list[Pullback] = []
        magmoms = None
        for k, step in enumerate(self._atoms):
            if k == len(self._atoms) - 1:
                magmoms = model.magmom(features.atoms).squeeze(-1).abs()
            pullbacks.append(step(features, index))
            steps: tuple[Sequence[Callable[[_Features, FastBonds], Pullback]], ...] = self._bonds, self._angles
            pullbacks += [of_kind[k](features, index) for of_kind in steps if k < len(of_kind)]
        energies, g_atoms = readouts.sequence(model.readout, features.atoms)
        g = features.zero_gradients(g_atoms)
        for pullback in reversed(pullbacks):
            pullback(g)
        g_distances = torch.zeros_like(distances).index_copy_(0, index.edge, features_pullback(g))
        gradient = angles_pullback(embedding_pullback(g.angles))
        return AtomicOutput(energies, magmoms), gradient.addcmul_(vectors, (g_distances / distances)[:, None])

    def _features(
        self, lengths: Tensor, atoms: Tensor, angles: Tensor, index: "FastBonds"
    ) -> tuple["_Features", "LengthsPullback"]:
        """Return the initial features, and their pullback to the lengths of the bonds, [U]."""
        embedding, atom_weights, bond_weights, _ = self._embeddings
        radial, radial_pullback = self._bases["radial"].with_pullback(lengths)
        close_weights, close_pullback = self._layer_of("bond", lengths.index_select(0, index.close), bond_weights)
        start = radial.index_select(0, index.close) @ embedding.T
        features = _Features(
            atoms, radial, radial @ atom_weights.T, start, torch.zeros_like(start), close_weights, angles
        )

        def pullback(g: _Features) -> Tensor:
            g_radial = g.radial.addmm_(g.weights, atom_weights).index_add_(0, index.close, g.start @ embedding)
            return radial_pullback(g_radial).index_add_(0, index.close, close_pullback(g.close_weights))

        return features, pullback

    def _layer_of(self, name: str, x: Tensor, layer: Tensor) -> tuple[Tensor, TensorPullback]:
        """Apply a linear layer to basis functions; return the values and the pullback."""
        values, pullback = self._bases[name].with_pullback(x)
        return values @ layer.T, lambda gradient: pullback(gradient @ layer)


class _Differentiated:
    """Basis functions of the model, with a pullback by PyTorch; replaces `Table`."""

    def __init__(self, functions: nn.Module, stop: float) -> None:
        self._functions = functions

    def with_pullback(self, x: Tensor) -> tuple[Tensor, TensorPullback]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            values = self._functions(x)
        return values.detach(), lambda gradient: torch.autograd.grad(values, x, gradient)[0]


def _angles(vectors: Tensor, distances: Tensor, angle_edges: tuple[Tensor, Tensor]) -> tuple[Tensor, TensorPullback]:
    """Return the angles θ_jik [T], and their pullback to the edge vectors."""
    angles = bond_angles(vectors, distances, angle_edges)

    def pullback(gradient: Tensor) -> Tensor:
        ij, ik = angle_edges
        directions = vectors / distances[:, None]
        # d arccos(c)/dc = -1/sin θ
        g_cosine = (gradient * (STRAIGHT - 1) / torch.sin(angles))[:, None]
        g_ij, g_ik = g_cosine * directions.index_select(0, ik), g_cosine * directions.index_select(0, ij)
        g = torch.zeros_like(vectors).index_add_(0, ij, g_ij).index_add_(0, ik, g_ik)
        return (g - directions * (g * directions).sum(-1, keepdim=True)) / distances[:, None]

    return angles, pullback


@dataclass(slots=True)
class _Features:
    """Features that the steps read and update; also used for the gradients with respect to them."""

    atoms: Tensor  #: v [N, u]
    radial: Tensor  #: h [U, radial]
    weights: Tensor  #: ẽ^a [U, u]
    start: Tensor  #: B h of the close bonds [C, u]
    change: Tensor  #: Δ of the close bonds [C, u]
    close_weights: Tensor  #: ẽ^b [C, u]
    angles: Tensor  #: a [T, u]

    def zero_gradients(self, g_atoms: Tensor) -> "_Features":
        """Allocate the gradients: `g_atoms` for the atoms, zeros for the others."""
        others = (self.radial, self.weights, self.start, self.change, self.close_weights, self.angles)
        return _Features(g_atoms, *(torch.zeros_like(x) for x in others))


LengthsPullback = Callable[[_Features], Tensor]
#: pullback of a step: replaces the gradients with respect to its output features by those with respect to its input
Pullback = Callable[[_Features], None]


@dataclass(frozen=True, slots=True)
class FastBonds:
    """`Bonds`, with the indices for gathering and summing messages."""

    bonds: "Bonds"
    edges: GatherPlan  #: messages to atoms
    angles: GatherPlan  #: messages to bonds, summed over the angles of each directed bond
    updates: GatherPlan  #: updates of angles, not summed
    ends: Tensor  #: [groups of `angles`] close bond of each directed bond

    @classmethod
    def of(cls, index: "Bonds", atoms: int) -> "FastBonds":
        centre, neighbor = (GatherIndex(end, atoms) for end in index.edge_index)
        bond = GatherIndex(index.bond, len(index.edge))
        edges = GatherPlan(len(index.bond), (centre, bond, neighbor), bond, group=centre.index, groups=atoms)
        ij, ik = (GatherIndex(end, len(index.close)) for end in index.angle_bonds)
        sources, rows = (ij, ik, GatherIndex(index.angle_centre, atoms)), len(index.angle_centre)
        edge, group = torch.unique_consecutive(index.angle_edges[0], return_inverse=True)
        ends = torch.empty_like(edge).index_copy_(0, group, index.angle_bonds[0])
        angles = GatherPlan(rows, sources, ik, group=group.numpy(), groups=len(edge))
        return cls(index, edges, angles, GatherPlan(rows, sources), ends)

    @property
    def edge(self) -> Tensor:
        return self.bonds.edge

    @property
    def close(self) -> Tensor:
        return self.bonds.close

    @property
    def angle_edges(self) -> tuple[Tensor, Tensor]:
        return self.bonds.angle_edges


class _GatedStep:
    """Base class of the steps, with a gated perceptron on gathered rows."""

    def __init__(self, mlp: GatedMLP, scratch: Scratch) -> None:
        self.bias = mlp.first_linear.bias.detach()
        self.weights = [w.detach().contiguous() for w in mlp.first_weights()]
        # if there are four inputs, the third is not gathered (features of the angles)
        self.gate = Gate(mlp, scratch, w_d=self.weights[2] if len(self.weights) == 4 else None)


class _AtomConvolution(_GatedStep):
    """v'_i = v_i + L Σ_j ẽ^a_ij ⊙ φ(v_i ⊕ e_ij ⊕ v_j), with e_ij as in equation (1)."""

    def __init__(self, step: "AtomConvolution", embedding: Tensor, shift: Tensor, scratch: Scratch) -> None:
        super().__init__(step.message, scratch)
        self.out = step.out
        self.bias = self.bias + self.weights[1] @ shift
        self.radial = self.weights[1] @ embedding

    def __call__(self, features: _Features, index: "FastBonds") -> Pullback:
        f, (centre, bond, neighbor) = features, self.weights
        bonds = torch.addmm(self.bias, f.radial, self.radial.T).index_add_(0, index.close, f.change @ bond.T)
        sources = f.atoms @ centre.T, bonds, f.atoms @ neighbor.T
        messages, pullback_messages = self.gate(index.edges, None, f.weights, *sources)
        f.atoms = f.atoms + self.out(messages)

        def pullback(g: _Features) -> None:
            g_centre, g_bond, g_neighbor = pullback_messages(g.atoms @ self.out.weight, None, g.weights)
            g.radial.addmm_(g_bond, self.radial)
            g.change.addmm_(g_bond.index_select(0, index.close), bond)
            g.atoms = torch.addmm(torch.addmm(g.atoms, g_centre, centre), g_neighbor, neighbor)

        return pullback


class _AngleStep(_GatedStep):
    """Base class of the steps with the perceptron φ(e_ij ⊕ e_ik ⊕ a_ijk ⊕ v_i)."""

    def __init__(self, mlp: GatedMLP, shift: Tensor, scratch: Scratch) -> None:
        super().__init__(mlp, scratch)
        self.bias = self.bias + (self.weights[0] + self.weights[1]) @ shift

    def at_angles(
        self, f: _Features, weights: Tensor | None, plan: GatherPlan
    ) -> tuple[Tensor, Callable[[Tensor, _Features], None]]:
        """Evaluate φ, weighted and summed according to the plan, or added to the features of the angles.

        Also returns the pullback, which adds to the gradients.
        """
        ij, ik, _, centre = self.weights
        bonds = f.start + f.change
        sources = torch.addmm(self.bias, bonds, ij.T), bonds @ ik.T, f.atoms @ centre.T
        messages, pullback_messages = self.gate(plan, f.angles, weights, *sources)

        def pullback(gradient: Tensor, g: _Features) -> None:
            g_weights = None if weights is None else g.close_weights
            g_ij, g_ik, g_centre = pullback_messages(gradient, g.angles, g_weights)
            g_bonds = torch.addmm(g_ij @ ij, g_ik, ik)
            g.start += g_bonds
            g.change += g_bonds
            g.atoms = torch.addmm(g.atoms, g_centre, centre)

        return messages, pullback


class _BondConvolution(_AngleStep):
    """e'_ij = e_ij + L Σ_k ẽ^b_ij ⊙ ẽ^b_ik ⊙ φ(e_ij ⊕ e_ik ⊕ a_ijk ⊕ v_i), without the bias of L."""

    def __init__(self, step: "BondConvolution", shift: Tensor, scratch: Scratch) -> None:
        super().__init__(step.message, shift, scratch)
        self.out = step.out

    def __call__(self, features: _Features, index: "FastBonds") -> Pullback:
        weights, out = features.close_weights, self.out.weight
        messages, pullback_messages = self.at_angles(features, weights, index.angles)
        total = torch.zeros_like(weights).index_add_(0, index.ends, messages)
        features.change = torch.addmm(features.change, total * weights, out.T)

        def pullback(g: _Features) -> None:
            g_weighted = g.change @ out
            g.close_weights.addcmul_(g_weighted, total)
            pullback_messages((g_weighted * weights).index_select(0, index.ends), g)

        return pullback


class _AngleUpdate(_AngleStep):
    """a'_ijk = a_ijk + φ(e_ij ⊕ e_ik ⊕ a_ijk ⊕ v_i)."""

    def __init__(self, step: "AngleUpdate", shift: Tensor, scratch: Scratch) -> None:
        super().__init__(step.update, shift, scratch)

    def __call__(self, features: _Features, index: "FastBonds") -> Pullback:
        features.angles, pullback = self.at_angles(features, None, index.updates)
        return lambda g: pullback(g.angles, g)
