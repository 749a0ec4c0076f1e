"""Potential: atomic energies of models plus element references, with forces and stress by one differentiation.

    potential = Potential(model, references, energy_scale=1.5, terms=[ZBL(ZBLConfig(elements))])
    prediction = potential(potential.graph(frame))
    prediction.energy, prediction.forces, prediction.stress

The energy of a structure with atoms i is

    E = Σ_i [ s m_i + Σ_t t_i + E0(Z_i) ]                                                                      (1)

with the model's atomic energies m_i, the energy scale s, the other terms t_i (short-range repulsion) and the element
references E0. E depends on the positions only through the edge vectors r_e = r_j - r_i. With g_e = dE/dr_e, computed
once by reverse-mode differentiation,

    F_i   =  Σ_{e: centre i} g_e - Σ_{e: neighbour i} g_e                                                       (2)
    σ     =  1/V Σ_e ½ (r_e ⊗ g_e + g_e ⊗ r_e)                                                                 (3)
    W_i   =  -½ Σ_{e: centre or neighbour i} r_e ⊗ g_e,   Σ_i W_i = -V σ                                        (4)

| symbol | variable             | shape        | unit   |
|--------|----------------------|--------------|--------|
| s      | energy_scale         | []           | eV     |
| E0     | reference_energies   | [119]        | eV     |
| g_e    | edge_gradient        | [E, 3]       | eV/Å   |
| F_i    | forces               | [N, 3]       | eV/Å   |
| σ      | stress               | [B, 6] Voigt | eV/Å³  |
| W_i    | virials              | [N, 3, 3]    | eV     |

for B structures with N atoms and E edges in total.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from gnnpot.compiler.together import compiled_together
from gnnpot.data.frame import Frame
from gnnpot.data.quantities import ATTRIBUTES
from gnnpot.data.references import ElementReferences
from gnnpot.data.structures import StructureLike, as_atoms
from gnnpot.graphs import Graph, build_graph
from gnnpot.graphs.size import GraphSize, check_memory, graph_size
from gnnpot.models.base import AtomicOutput, EnergyModel, check_elements
from gnnpot.models.fast.edge_sums import forces_and_stress, scaled
from gnnpot.models.fast.first_call import PREDICTION, TRAINING, first_call
from gnnpot.models.layers import ModuleList
from gnnpot.torch_modes import default_modes, has_default_modes
from gnnpot.units import VOIGT


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for B structures with N atoms in total. `None`: not requested, or not predicted by the potential."""

    energy: Tensor  #: [B] float64, eV
    energies: Tensor  #: [N] float64, eV, atomic energies, whose sums are `energy`
    forces: Tensor | None = None  #: [N, 3] eV/Å
    stress: Tensor | None = None  #: [B, 6] eV/Å³, Voigt; NaN where the cell has no volume
    virials: Tensor | None = None  #: [N, 3, 3] eV
    magmoms: Tensor | None = None  #: [N] µB
    extrapolation_count: Tensor | None = (
        None  #: [N] see `AtomicOutput`; only if forces, stress or virials are requested
    )
    others: Mapping[str, Tensor] = field(default_factory=dict)  #: other quantities of `data.quantities`, by name

    @property
    def quantities(self) -> dict[str, Tensor]:
        """All predicted quantities of `data.quantities`, by name."""
        found = {name: getattr(self, name) for name in ATTRIBUTES} | dict(self.others)
        return {name: value for name, value in found.items() if value is not None}

    @property
    def outside(self) -> Tensor | None:
        """Deprecated; use `extrapolation_count`."""
        warnings.warn("Prediction.outside is deprecated; use extrapolation_count", DeprecationWarning, stacklevel=2)
        return self.extrapolation_count


class Potential(nn.Module):
    """Potential by equation (1): `energy_scale` times a model, plus other terms, plus element references.

    Energies are summed in float64 for any dtype of the model.

    Args:
        model: The model.
        references: Reference energies of the elements, eV; the potential supports the model's elements that have one.
        energy_scale: Unit of the model's energies, eV.
        terms: Additional models, whose energies are in eV.
    """

    reference_energies: Tensor
    energy_scale: Tensor

    def __init__(
        self,
        model: EnergyModel,
        references: ElementReferences,
        energy_scale: float = 1.0,
        terms: Sequence[EnergyModel] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.references = references
        self.terms = ModuleList(terms)
        known = {chemical_symbols[z] for z in references.elements}
        for term in (model, *terms):
            known &= set(term.elements)
        self.elements = tuple(e for e in model.elements if e in known)
        energies = torch.as_tensor(references.energies_by_number(), dtype=torch.float64)
        self.register_buffer("reference_energies", energies, persistent=False)
        self.register_buffer("energy_scale", torch.tensor(energy_scale, dtype=torch.float64))

    @property
    def cutoff(self) -> float:
        """Largest cutoff of the model and the terms, Å."""
        return max(m.cutoff for m in (self.model, *self.terms))

    @property
    def three_body_cutoff(self) -> float | None:
        """Largest three-body cutoff of the model and the terms, Å; `None` if none uses triplets."""
        return max(
            (m.three_body_cutoff for m in (self.model, *self.terms) if m.three_body_cutoff is not None), default=None
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the model's parameters."""
        return next((p.dtype for p in self.model.parameters()), torch.float64)

    @property
    def device(self) -> torch.device:
        return self.energy_scale.device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast all tensors, but keep the energy scale and the references in float64."""
        references, scale = self.reference_energies, self.energy_scale
        super()._apply(fn, recurse)
        self.reference_energies = references.to(self.reference_energies.device)
        self.energy_scale = scale.to(self.energy_scale.device)
        return self

    def __repr__(self) -> str:
        """Summary: architecture, size, elements, cutoff. `repr(potential.model)` lists the layers."""
        parameters = sum(p.numel() for p in self.parameters())
        architecture = getattr(getattr(self.model, "config", None), "architecture", type(self.model).__name__)
        elements = " ".join(self.elements)
        if len(elements) > 60:
            elements = f"{elements[:40].rsplit(' ', 1)[0]} ... {self.elements[-1]}"
        three_body = "" if self.three_body_cutoff is None else f", triplets within {self.three_body_cutoff} Å"
        dtype = str(self.dtype).removeprefix("torch.")
        lines = (
            f"model: {architecture}, {parameters:,} parameters, {dtype} on {self.device}",
            f"elements: {len(self.elements)} ({elements})",
            f"cutoff: {self.cutoff} Å{three_body}",
            f"energy scale: {float(self.energy_scale):.6g} eV",
            f"further terms: {', '.join(type(term).__name__ for term in self.terms) or 'none'}",
        )
        return "Potential(\n" + "".join(f"  {line}\n" for line in lines) + ")"

    def with_references(self, references: ElementReferences) -> "Potential":
        """Return a potential of the same models (shared, not copied) with other element references."""
        other = Potential(self.model, references, float(self.energy_scale), list(self.terms))
        other.train(self.training)
        return other.to(self.device)

    def memory(self, size: GraphSize) -> int:
        """Estimated peak memory of a prediction on the CPU, including its graph, bytes."""
        model = self.model.memory(size)
        # terms are evaluated after the model, of which only the gradient is then in memory
        terms = [term.memory(size) + 24 * size.edges for term in self.terms]
        return size.peak(max(model, *terms, 0))

    def check(
        self,
        numbers: np.ndarray,
        positions: np.ndarray,
        cell: np.ndarray,
        pbc: np.ndarray,
        where: str,
        skin: float = 0.0,
    ) -> None:
        """Check that the potential supports a structure, and that its prediction fits into memory.

        Args:
            numbers: Atomic numbers [N].
            positions: Positions [N, 3], Å.
            cell: Cell vectors [3, 3], Å.
            pbc: Periodicity along the cell vectors [3].
            where: Name of the structure for messages.
            skin: Distance beyond the cutoff within which pairs are listed, Å.

        Raises:
            UnknownElementError: The potential does not support an element.
            MemoryNeedError: The prediction on the CPU would need more memory than is free. The check itself allocates
                no large arrays.
        """
        check_elements(numbers, self.elements, where)
        if self.device.type == "cpu":
            size = graph_size(positions, cell, pbc, self.cutoff, self.three_body_cutoff, skin)
            check_memory(self.memory(size), where, size)

    def graph(self, structure: StructureLike, *, labels: bool = False) -> Graph:
        """Build the graph of a structure for this potential; raises the errors of `check`."""
        frame = structure if isinstance(structure, Frame) else Frame.from_atoms(as_atoms(structure), labels=labels)
        self.check(frame.numbers, frame.positions, frame.cell, frame.pbc, frame.where)
        with default_modes():
            return build_graph(frame, self.cutoff, self.three_body_cutoff, labels=labels)

    def forward(
        self, graph: Graph, *, forces: bool = True, stress: bool = True, virials: bool = False, training: bool = False
    ) -> Prediction:
        """Predict by equations (1) to (4) for a graph or a batch of graphs.

        With `training`, all results are differentiable with respect to the parameters, for use in a loss. Otherwise
        only the energy is, and only if forces, stress and virials are not requested.
        """
        if not has_default_modes():
            with default_modes():
                return self.forward(
                    graph.differentiable(), forces=forces, stress=stress, virials=virials, training=training
                )
        with_gradient = forces or stress or virials
        vectors, dtype = graph.edge_vectors, None
        if with_gradient and not training and vectors.device.type == "cpu":
            dtype = self.model.fast_dtype
        dtype = dtype or self.dtype
        if vectors.dtype != dtype:
            # a shallow copy, so that the caller's graph is not changed
            graph = graph.clone_with_edge_vectors(vectors.to(dtype))
        if not with_gradient:
            return self._prediction(graph, self._energies(graph))
        with compiled_together(lambda: first_call(self.model, TRAINING if training else PREDICTION)):
            output, gradient = self._energies_and_gradient(graph, training)
        return self._prediction(graph, output, gradient, forces, stress, virials)

    def _energies(self, graph: Graph) -> AtomicOutput:
        """Output of the model, with atomic energies by equation (1), eV."""
        output = self.model(graph)
        energies = self.energy_scale * output.energies.double() + self.reference_energies[graph.numbers]
        for term in self.terms:
            energies = energies + term(graph).energies.double()
        return replace(output, energies=energies)

    def _energies_and_gradient(self, graph: Graph, training: bool) -> tuple[AtomicOutput, Tensor]:
        """Output of the model, with atomic energies by equation (1), eV; and g_e, [E, 3], eV/Å."""
        output, gradient = self.model.energies_and_gradient(graph, create_graph=training)
        scale, references = self.energy_scale, self.reference_energies
        if not training and gradient.device.type == "cpu":
            energies, gradient = scaled(output.energies, gradient, scale, references, graph.numbers)
            for term in self.terms:
                term.add_energies_and_gradient(graph, energies, gradient)
            return replace(output, energies=energies), gradient
        energies = scale * output.energies.double() + references[graph.numbers]
        gradient = scale.to(gradient.dtype) * gradient
        for term in self.terms:
            more, more_gradient = term.energies_and_gradient(graph, create_graph=training)
            energies, gradient = energies + more.energies.double(), gradient + more_gradient
        return replace(output, energies=energies), gradient

    def _prediction(
        self,
        graph: Graph,
        output: AtomicOutput,
        gradient: Tensor | None = None,
        forces: bool = False,
        stress: bool = False,
        virials: bool = False,
    ) -> Prediction:
        vectors, energies = graph.edge_vectors, output.energies
        f: Tensor | None = None
        s: Tensor | None = None
        v: Tensor | None = None
        if gradient is not None:
            if (forces or stress) and gradient.device.type == "cpu" and not gradient.requires_grad:
                f, s = forces_and_stress(gradient, graph)
            else:
                f = forces_from_edges(gradient, graph) if forces else None
                s = stress_from_edges(gradient, vectors, graph) if stress else None
            v = virials_from_edges(gradient, vectors, graph) if virials else None
        return Prediction(
            energy=_sum(energies, graph),
            energies=energies,
            forces=f if forces else None,
            stress=s if stress else None,
            virials=v,
            magmoms=output.magmoms,
            extrapolation_count=output.extrapolation_count,
            others=output.others,
        )


def _sum(energies: Tensor, graph: Graph) -> Tensor:
    """Sum atomic energies over each structure, [B]."""
    count = graph.cell.shape[0]
    return energies.sum()[None] if count == 1 else energies.new_zeros(count).index_add(0, _batch(graph), energies)


def forces_from_edges(gradient: Tensor, graph: Graph) -> Tensor:
    """Forces by equation (2), [N, 3]."""
    centre, neighbor = graph.edge_index
    zeros = gradient.new_zeros(graph.numbers.shape[0], 3)
    return zeros.index_add(0, centre, gradient).index_add(0, neighbor, -gradient)


def stress_from_edges(gradient: Tensor, edge_vectors: Tensor, graph: Graph) -> Tensor:
    """Stress by equation (3), [B, 6]; NaN for a cell without volume."""
    if graph.cell.shape[0] == 1:
        outer = edge_vectors.T @ gradient
        virial = (0.5 * (outer + outer.T)).reshape(1, 9)[:, [3 * i + j for i, j in VOIGT]]
    else:
        batch, r, g = _batch(graph)[graph.edge_index[0]], edge_vectors, gradient
        components = [0.5 * (r[:, i] * g[:, j] + r[:, j] * g[:, i]) for i, j in VOIGT]
        virial = g.new_zeros(graph.cell.shape[0], 6).index_add(0, batch, torch.stack(components, dim=1))
    volume = torch.linalg.det(graph.cell).abs().to(virial.dtype)[:, None]
    solid = volume > 0
    # NaN is set after the division: dividing by NaN would make the derivatives NaN too, even if no loss uses the stress
    return torch.where(solid, virial / torch.where(solid, volume, 1.0), torch.nan)


def virials_from_edges(gradient: Tensor, edge_vectors: Tensor, graph: Graph) -> Tensor:
    """Atomic virials by equation (4), [N, 3, 3]: half of each edge's virial is assigned to each of its atoms."""
    centre, neighbor = graph.edge_index
    outer = -0.5 * edge_vectors[:, :, None] * gradient[:, None, :]
    zeros = gradient.new_zeros(graph.numbers.shape[0], 3, 3)
    return zeros.index_add(0, centre, outer).index_add(0, neighbor, outer)


def _batch(graph: Graph) -> Tensor:
    """Index of each atom's structure, [N]; a graph without `batch` is one structure."""
    batch = graph.get("batch")
    return torch.zeros_like(graph.numbers) if batch is None else batch
