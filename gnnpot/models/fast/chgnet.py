"""Fast form of CHGNet: bases from tables, messages by blocks of rows."""

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.fast.gated import Gate, GatheredGate, Layout, Places, Scratch
from gnnpot.models.fast.tables import Table

if TYPE_CHECKING:
    from gnnpot.models.chgnet import Bonds, CHGNet


class FastCHGNet:
    """The parts of a CHGNet that its fast form replaces, under the names that they have in the model.

    Features of bonds and angles come from tables, or, without `tables`, from the model: in training they change at each
    step.
    """

    def __init__(self, model: "CHGNet", *, tables: bool = True, scratch: Scratch | None = None) -> None:
        self._model, scratch = model, scratch or Scratch()
        if tables:
            self._tabulate(copy.deepcopy(model).double().requires_grad_(False))
        else:
            self.bond_features, self.close_weights = model.bond_features, model.close_weights
            self.angle_features = model.angle_features
        self.atom_convolutions = [_AtomConvolution(step, step.message, scratch) for step in model.atom_convolutions]
        self.bond_convolutions = [_BondConvolution(step, step.message, scratch) for step in model.bond_convolutions]
        self.angle_updates = [_AngleUpdate(step, step.update, scratch) for step in model.angle_updates]

    def _tabulate(self, exact: "CHGNet") -> None:
        config = exact.config
        bonds = Table(lambda r: torch.cat(exact.bond_features(r), 1), config.cutoff)
        self.bond_features = lambda r: tuple(half.contiguous() for half in bonds(r).split(config.units, dim=1))
        self.close_weights = Table(exact.close_weights, config.bond_cutoff)
        # a little further than a straight angle, which rounding may exceed
        self.angle_features = Table(exact.angle_features, 1.001 * math.pi)

    def bonds(self, graph: Graph, distances: Tensor) -> "FastBonds":
        """Bonds and angles, laid out for sums."""
        return FastBonds.of(self._model.bonds(graph, distances), len(graph.numbers))


@dataclass(frozen=True, slots=True)
class FastBonds:
    """`Bonds`, and where the rows of the messages draw from."""

    plain: "Bonds"
    edges: Layout  #: messages to atoms
    angles: Layout  #: messages to bonds, summed over the angles of each directed bond
    updates: Layout  #: of angles, not summed
    ends: Tensor  #: [groups of `angles`] the close bond of each

    @classmethod
    def of(cls, index: "Bonds", atoms: int) -> "FastBonds":
        centre, neighbor = (Places(end, atoms) for end in index.edge_index)
        bond = Places(index.bond, len(index.edge))
        edges = Layout(len(index.bond), (centre, bond, neighbor), bond, group=centre.index, groups=atoms)
        ij, ik = (Places(end, len(index.close)) for end in index.angle_bonds)
        sources, rows = (ij, ik, Places(index.angle_centre, atoms)), len(index.angle_centre)
        edge, group = torch.unique_consecutive(index.angle_edges[0], return_inverse=True)
        ends = torch.empty_like(edge).index_copy_(0, group, index.angle_bonds[0])
        angles = Layout(rows, sources, ik, group=group.numpy(), groups=len(edge))
        return cls(index, edges, angles, Layout(rows, sources), ends)

    @property
    def edge(self) -> Tensor:
        return self.plain.edge

    @property
    def close(self) -> Tensor:
        return self.plain.close

    @property
    def angle_edges(self) -> tuple[Tensor, Tensor]:
        return self.plain.angle_edges


class _Step:
    """A step of the model, with a gated perceptron on gathered rows."""

    def __init__(self, step: nn.Module, mlp: nn.Module, scratch: Scratch) -> None:
        first = mlp.first.linear
        self.step, self.bias = step, first.bias.detach()
        self.weights = [w.contiguous() for w in first.weight.detach().split(mlp.first.dims, dim=1)]
        # with four inputs, the third are the rows' own
        self.gate = Gate(mlp, scratch, own=self.weights[2] if len(self.weights) == 4 else None)

    def at_angles(
        self, atoms: Tensor, bonds: Tensor, weights: Tensor | None, angles: Tensor, index: FastBonds, layout: Layout
    ) -> Tensor:
        close = bonds.index_select(0, index.close)
        ij, ik, _, centre = self.weights
        sources = torch.addmm(self.bias, close, ij.T), close @ ik.T, atoms @ centre.T
        return GatheredGate.apply(angles, weights, self.gate, layout, *sources)


class _AtomConvolution(_Step):
    def __call__(self, atoms: Tensor, bonds: Tensor, weights: Tensor, index: FastBonds) -> Tensor:
        centre, bond, neighbor = self.weights
        sources = atoms @ centre.T, torch.addmm(self.bias, bonds, bond.T), atoms @ neighbor.T
        messages = GatheredGate.apply(None, weights, self.gate, index.edges, *sources)
        return self.step.apply_messages(atoms, messages)


class _BondConvolution(_Step):
    def __call__(self, atoms: Tensor, bonds: Tensor, weights: Tensor, angles: Tensor, index: FastBonds) -> Tensor:
        messages = self.at_angles(atoms, bonds, weights, angles, index, index.angles)
        total = torch.zeros_like(weights).index_add(0, index.ends, messages)
        return self.step.apply_messages(bonds, total * weights, index.close)


class _AngleUpdate(_Step):
    def __call__(self, atoms: Tensor, bonds: Tensor, angles: Tensor, index: FastBonds) -> Tensor:
        return angles + self.at_angles(atoms, bonds, None, angles, index, index.updates)
