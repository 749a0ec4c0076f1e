"""What every model is: a graph in, an energy per atom out. It knows nothing of forces, labels or training."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from gnnpot.errors import UnknownElementError
from gnnpot.graphs import Graph

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class AtomicOutput:
    """What a model says of each atom."""

    energies: Tensor  #: [N]
    magmoms: Tensor | None = None  #: [N] µB

    def detach(self) -> "AtomicOutput":
        """The same without history."""
        return AtomicOutput(self.energies.detach(), None if self.magmoms is None else self.magmoms.detach())


class EnergyModel(nn.Module):
    """Base of all models.

    A model reads `graph.edge_vectors` (never `positions`), in its own dtype, and must ignore what lies beyond its
    own cutoffs: the graph may reach further. Its energies are smooth in the edge vectors, and finite for an atom
    without edges.

    Attributes: `elements`, the symbols that the model knows; `cutoff` and `three_body_cutoff` (Å; `None`: it needs no
    triplets).
    """

    def __init__(self, elements: Iterable[str], cutoff: float, three_body_cutoff: float | None = None) -> None:
        super().__init__()
        self.elements = tuple(elements)
        if not self.elements:
            raise ValueError("elements: a model needs at least one element")
        if len(set(self.elements)) != len(self.elements):
            raise ValueError("elements: an element is listed twice")
        unknown = [e for e in self.elements if e not in chemical_symbols[1:]]
        if unknown:
            raise ValueError(f"elements: '{unknown[0]}' is no chemical element")
        self.cutoff = cutoff
        self.three_body_cutoff = three_body_cutoff
        index = torch.full((119,), -1, dtype=torch.int64)
        for k, symbol in enumerate(self.elements):
            index[atomic_numbers[symbol]] = k
        self.register_buffer("element_index", index, persistent=False)
        self._fast: tuple[Any, Any] | None = None

    def forward(self, graph: Graph) -> AtomicOutput:
        """Energies of the atoms, in units of the potential's `energy_scale`."""
        raise NotImplementedError

    def energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        """`forward` and the edge gradient Σ_i dE_i/dr_e, [E, 3], without anything that a loss could differentiate.

        Models with a fast form override this; it agrees with the derivative of `forward`, taken here.
        """
        vectors = graph.edge_vectors.detach().requires_grad_()
        with torch.enable_grad():
            output = self(graph.clone_with_edge_vectors(vectors))
            gradient = edge_gradient(output.energies.sum(), vectors, create_graph=False)
        return output.detach(), gradient

    def by_fast_form(
        self, graph: Graph, form: Callable[["EnergyModel"], F], atoms: Callable[[Graph, F], AtomicOutput]
    ) -> tuple[AtomicOutput, Tensor]:
        """`energies_and_gradient` by `atoms(graph, fast)`, with `fast = form(self)`, which is kept while the parameters
        are what they were. Fast forms are for the processor; elsewhere the reference form is used.
        """
        if graph.edge_vectors.device.type != "cpu":
            return EnergyModel.energies_and_gradient(self, graph)
        state = [(p.data_ptr(), p._version, p.dtype) for p in (*self.parameters(), *self.buffers())]
        if self._fast is None or self._fast[0] != state:
            self._fast = None
            self._fast = state, form(self)
        # what lies beyond the cutoff costs as much as what lies within
        near, inside = graph.within(self.cutoff)
        near.edge_vectors = near.edge_vectors.detach().requires_grad_()
        with torch.enable_grad():
            output = atoms(near, self._fast[1])
            gradient = edge_gradient(output.energies.sum(), near.edge_vectors, create_graph=False)
        if len(inside) < len(graph.edge_vectors):
            gradient = torch.zeros_like(graph.edge_vectors).index_copy_(0, inside, gradient)
        return output.detach(), gradient

    def fit_statistics(self, graphs: Iterable[Graph]) -> None:
        """Set what the model takes from the training data before training (scalings); most models take nothing."""

    def stages(self) -> list[list[str]]:
        """Names of all parameters from the graph to the energy: embeddings and bases, each block, the head.

        Constructors read as the architecture is drawn, and so does this: the k-th entries of a model's lists
        (`ModuleList`, `ParameterList`) are block k, what stands before the lists comes first, what stands after them
        is the head. Without anything after them, the last block is the head.
        """
        before, after = [n for n, _ in self.named_parameters(recurse=False)], []
        blocks: list[list[str]] = []
        for name, child in self.named_children():
            if isinstance(child, (nn.ModuleList, nn.ParameterList)):
                for inner, _ in child.named_parameters():
                    k = int(inner.split(".")[0])
                    blocks += [[] for _ in range(k + 1 - len(blocks))]
                    blocks[k].append(f"{name}.{inner}")
            else:
                (after if blocks else before).extend(f"{name}.{inner}" for inner, _ in child.named_parameters())
        return [names for names in (before, *blocks, after) if names]

    def species(self, numbers: Tensor) -> Tensor:
        """Index of each atom's element in `elements`, [N]."""
        return self.element_index[numbers]


def edge_gradient(energy: Tensor, edge_vectors: Tensor, *, create_graph: bool) -> Tensor:
    """dE/dr_e, [E, 3]; zeros for edges that the energy does not depend on."""
    if edge_vectors.shape[0] == 0 or not energy.requires_grad:
        return torch.zeros_like(edge_vectors)
    (gradient,) = torch.autograd.grad(energy, edge_vectors, create_graph=create_graph, allow_unused=True)
    return torch.zeros_like(edge_vectors) if gradient is None else gradient


def check_elements(numbers: Iterable[int], elements: Iterable[str], where: str) -> None:
    """Raise `UnknownElementError` if a structure has an element that is not among `elements`."""
    elements = tuple(elements)
    unseen = sorted({chemical_symbols[int(z)] for z in numbers} - set(elements))
    if unseen:
        raise UnknownElementError(
            f"{where}: the potential has not seen {', '.join(unseen)}; it knows {' '.join(elements)}"
        )
