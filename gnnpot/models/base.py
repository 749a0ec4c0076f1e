"""What every model is: a graph in, an energy per atom out. It knows nothing of forces, labels or training."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from gnnpot.compiler.memory import keep_freed_memory
from gnnpot.compiler.threads import follow_torch
from gnnpot.errors import UnknownElementError
from gnnpot.graphs import Graph
from gnnpot.graphs.size import GraphSize
from gnnpot.models.fast.training import TrainingBackend, TwoPasses

B = TypeVar("B")
E = TypeVar("E", bound="EnergyModel")


class Backend(Protocol):
    """A model's energies and edge gradient by compiled kernels, with fixed parameters."""

    def energies_and_gradient(self, graph: Graph) -> "tuple[AtomicOutput, Tensor]":
        """What the model predicts for the atoms, and the edge gradient, [E, 3]."""


@dataclass(frozen=True, slots=True)
class AtomicOutput:
    """What a model predicts for each atom."""

    energies: Tensor  #: [N]
    magmoms: Tensor | None = None  #: [N] µB
    #: [N] how many of the numbers that describe an atom lie outside of what they were in training; `None` if the model
    #: does not remember what they were, or was not asked (`forward`)
    extrapolation_count: Tensor | None = None
    others: Mapping[str, Tensor] = field(default_factory=dict)  #: further quantities of `data.quantities`, by name

    def detach(self) -> "AtomicOutput":
        """The same without history."""
        magmoms, count = (None if t is None else t.detach() for t in (self.magmoms, self.extrapolation_count))
        others = {name: value.detach() for name, value in self.others.items()}
        return AtomicOutput(self.energies.detach(), magmoms, count, others)


class EnergyModel(nn.Module):
    """Base of all models.

    A model reads `graph.edge_vectors` (never `positions`), in its own dtype, and must ignore what lies beyond its
    own cutoffs: the graph may reach further. Its energies are smooth in the edge vectors, and finite for an atom
    without edges.

    Attributes: `elements`, the symbols that the model knows; `cutoff` and `three_body_cutoff` (Å; `None`: it needs no
    triplets); `has_kernels`, whether `energies_and_gradient` is compiled on the processor, of gnnpot's own models (of
    some only with sizes that are multiples of sixteen); `fast_dtype`, in which it calculates there, if not in the
    parameters':
    edge vectors in it need no conversion; `message_layers`, how many edges away the atoms are on which an atom's energy
    depends, for models that calculate the atoms of one rank of many (`Graph.part`), and `None` for others;
    `exchanged_bytes`, the most that such a model sends of an atom between two layers; `hops`, how many edges away, of
    any model, `None` if it is not known.
    """

    config: Any  #: the options that it was built from, of its own class
    element_index: Tensor
    message_layers: int | None = None

    def __init__(self, elements: Iterable[str], cutoff: float, three_body_cutoff: float | None = None) -> None:
        super().__init__()
        self.elements = tuple(elements)
        if not self.elements:
            raise ValueError("elements: a model needs at least one element")
        if len(set(self.elements)) != len(self.elements):
            raise ValueError("elements: an element is listed twice")
        unknown = [e for e in self.elements if e not in chemical_symbols[1:]]
        if unknown:
            raise ValueError(f"elements: '{unknown[0][:20]}' is no chemical element")
        self.cutoff = cutoff
        self.three_body_cutoff = three_body_cutoff
        index = torch.full((119,), -1, dtype=torch.int64)
        for k, symbol in enumerate(self.elements):
            index[atomic_numbers[symbol]] = k
        self.register_buffer("element_index", index, persistent=False)
        self._compiled: CompiledCopy[Any, Any] | None = None
        self._training: _KeptBackend | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made of the parameters again, which takes ten times their memory."""
        return {**self.__dict__, "_compiled": None, "_training": None}

    @property
    def has_kernels(self) -> bool:
        return True

    @property
    def fast_dtype(self) -> torch.dtype | None:
        return None

    @property
    def exchanged_bytes(self) -> int:
        return 0

    @property
    def hops(self) -> int | None:
        return self.message_layers

    def forward(self, graph: Graph) -> AtomicOutput:
        """Energies of the atoms, in units of the potential's `energy_scale`."""
        raise NotImplementedError

    def twice_differentiable(self) -> Self:
        """The model, or a copy of it, whose `forward` has second derivatives with respect to the edge vectors."""
        return self

    def energies_and_gradient(self, graph: Graph, *, create_graph: bool = False) -> tuple[AtomicOutput, Tensor]:
        """`forward` and the edge gradient Σ_i dE_i/dr_e, [E, 3].

        Models with compiled kernels override this; it agrees with the derivative of `forward`, taken here, but for
        which of a bond's two edges has its gradient.

        Args:
            graph: a graph or a batch of graphs.
            create_graph: whether a loss can differentiate both with respect to the parameters; as in PyTorch.
        """
        output, gradient = with_gradient(self, graph, create_graph=create_graph)
        return output if create_graph else output.detach(), gradient

    def precompute(self, graph: Graph) -> Graph:
        """A graph with what does not depend on the parameters, for a training that uses it many times.

        Most models have nothing of the kind, and return the graph itself.
        """
        return graph

    def precomputed_bytes(self, atoms: int, edges: int) -> int:
        """What `precompute` adds to graphs; 0 if it adds nothing."""
        return 0

    def by_training_backend(self, graph: Graph, make: Callable[[Self], TrainingBackend]) -> tuple[AtomicOutput, Tensor]:
        """`energies_and_gradient` for a loss, in two passes by the backend `make(model)`, which is kept; on other
        devices than the processor by PyTorch's derivatives."""
        if graph.edge_vectors.device.type != "cpu":
            return with_gradient(self, graph, create_graph=True)
        if self._training is None:
            self._training = _KeptBackend(make(self))
        follow_torch()
        near, inside = graph.within(self.cutoff)
        parameters = [p for p in self.parameters() if p.requires_grad]
        energies, magmoms, gradient = TwoPasses.apply(self._training.backend, near, *parameters)
        if inside is not None:
            gradient = torch.zeros_like(graph.edge_vectors).index_copy(0, inside, gradient)
        return AtomicOutput(energies, magmoms), gradient

    def by_compiled_copy(self, graph: Graph, make: Callable[[Self], Backend]) -> tuple[AtomicOutput, Tensor]:
        """`energies_and_gradient` by the backend `make(copy of this model)`, without anything that a loss could
        differentiate. It is kept while the parameters don't change. On other devices than the processor, PyTorch
        differentiates `forward`."""
        if graph.edge_vectors.device.type != "cpu":
            output, gradient = with_gradient(self, graph)
            return output.detach(), gradient
        backend = self.compiled_copy(make).backend
        keep_freed_memory()
        follow_torch()
        # what lies beyond the cutoff costs as much as what lies within
        near, inside = graph.within(self.cutoff)
        output, gradient = backend.energies_and_gradient(near)
        if inside is not None:
            gradient = torch.zeros_like(graph.edge_vectors).index_copy_(0, inside, gradient)
        return output.detach(), gradient

    def compiled_copy(self, make: Callable[[Self], B]) -> "CompiledCopy[Self, B]":
        """A copy of this model with fixed parameters and its backend, kept while the parameters don't change."""
        if self._compiled is None or not self._compiled.is_of(self):
            self._compiled = None
            self._compiled = CompiledCopy(self, make)
        return self._compiled

    def memory(self, size: GraphSize) -> int:
        """About how many bytes `energies_and_gradient` takes at its peak on the processor, beyond the graph; models
        that keep features of edges override this."""
        return 100 * size.edges

    def fit_statistics(self, graphs: Iterable[Graph]) -> None:
        """Set what the model takes from the training data before training (scalings); most models take nothing."""

    def stages(self) -> list[list[str]]:
        """Names of all parameters from the graph to the energy: embeddings and bases, each block, the head.

        Constructors read as the architecture is drawn, and so does this: the k-th entries of a model's lists
        (`ModuleList`, `ParameterList`) are block k, what stands before the lists comes first, what stands after them
        is the head. Without anything after them, the last block is the head.
        """
        before = [n for n, _ in self.named_parameters(recurse=False)]
        after: list[str] = []
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


class _KeptBackend:
    """A backend for training; a copied model makes its own."""

    def __init__(self, backend: TrainingBackend) -> None:
        self.backend = backend

    def __deepcopy__(self, memo: dict) -> None:
        """A copied model makes its own."""


class CompiledCopy(Generic[E, B]):
    """A copy of a model with its compiled backend, and the state of the model's tensors when they were made."""

    def __init__(self, model: E, make: Callable[[E], B]) -> None:
        self.copy = copy.deepcopy(model).requires_grad_(False)
        self.backend = make(self.copy)
        # going through all modules at each step would take as long as a small structure
        self._tables = [t for m in model.modules() for t in (m._parameters, m._buffers) if t]
        self._model, self._state = model, self._now()

    def __deepcopy__(self, memo: dict) -> None:
        """A copied model makes its own."""

    def _now(self) -> list[tuple[int, int, torch.dtype]]:
        tensors = (t for table in self._tables for t in table.values() if t is not None)
        # tensors that were made in inference mode have no versions
        return [(t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype) for t in tensors]

    def is_of(self, model: EnergyModel) -> bool:
        """Whether the backend is that of `model` with its present parameters."""
        return self._model is model and self._state == self._now()


def with_gradient(
    atoms: Callable[[Graph], AtomicOutput], graph: Graph, *, create_graph: bool = False
) -> tuple[AtomicOutput, Tensor]:
    """What `atoms` predicts for a graph, and Σ_i dE_i/dr_e, [E, 3]."""
    vectors = graph.edge_vectors.detach().requires_grad_()
    with torch.enable_grad():
        output = atoms(graph.clone_with_edge_vectors(vectors))
        return output, edge_gradient(output.energies.sum(), vectors, create_graph=create_graph)


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
