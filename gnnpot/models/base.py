"""Base class of models, which compute an energy per atom from a graph; independent of forces, labels and training."""

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
    """Compiled kernels for the energies and the edge gradient of a model with fixed parameters."""

    def energies_and_gradient(self, graph: Graph) -> "tuple[AtomicOutput, Tensor]":
        """Return the predictions for the atoms, and the edge gradient Σ_i dE_i/dr_e [E, 3]."""


@dataclass(frozen=True, slots=True)
class AtomicOutput:
    """Predictions of a model for each atom."""

    energies: Tensor  #: [N]
    magmoms: Tensor | None = None  #: [N] magnetic moments, µB
    #: [N] number of descriptors of each atom that are outside the range of the training data; `None` if the model does
    #: not store the range, and in the result of `forward`
    extrapolation_count: Tensor | None = None
    others: Mapping[str, Tensor] = field(default_factory=dict)  #: further quantities of `data.quantities`, by name

    def detach(self) -> "AtomicOutput":
        """Return the same predictions, detached from the autograd graph."""
        magmoms, count = (None if t is None else t.detach() for t in (self.magmoms, self.extrapolation_count))
        others = {name: value.detach() for name, value in self.others.items()}
        return AtomicOutput(self.energies.detach(), magmoms, count, others)


class EnergyModel(nn.Module):
    """Base class of all models.

    A model reads `graph.edge_vectors` (never `positions`), in its own dtype. The graph may have edges beyond the
    cutoffs of the model, which it must ignore. Energies are smooth functions of the edge vectors, and finite for an
    atom without edges.

    Attributes:
        elements: Chemical symbols that the model knows.
        cutoff: Å, cutoff of the edges.
        three_body_cutoff: Å, cutoff of the edges that form triplets; `None` if the model needs no triplets.
        has_kernels: Whether `energies_and_gradient` uses compiled kernels on the CPU, in gnnpot's own models. Some have
            kernels only for sizes that are multiples of sixteen.
        fast_dtype: Precision of these kernels, if it is not that of the parameters. Edge vectors of this dtype need no
            conversion.
        message_layers: Largest number of edges between an atom and the atoms on which its energy depends, in models
            that can calculate a part of a structure (`Graph.part`); `None` in other models.
        exchanged_bytes: Largest size of the features of an atom that such a model sends between two layers.
        hops: Largest number of edges between an atom and the atoms on which its energy depends, in any model; `None` if
            unknown.
    """

    config: Any  #: the configuration from which the model was built
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
        """Leave out compiled copies, which take ten times the memory of the parameters and can be made again."""
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
        """Return the energies of the atoms, in units of the potential's `energy_scale`."""
        raise NotImplementedError

    def twice_differentiable(self) -> Self:
        """Return the model, or a copy, whose `forward` has second derivatives with respect to the edge vectors."""
        return self

    def energies_and_gradient(self, graph: Graph, *, create_graph: bool = False) -> tuple[AtomicOutput, Tensor]:
        """Return the predictions for the atoms, and the edge gradient Σ_i dE_i/dr_e [E, 3].

        Models with compiled kernels override this method. Their gradient agrees with the derivative of `forward`,
        except that the gradient of a bond may be distributed differently among its two edges.

        Args:
            graph: A graph or a batch of graphs.
            create_graph: As in PyTorch: whether both results can be differentiated with respect to the parameters.
        """
        output, gradient = with_gradient(self, graph, create_graph=create_graph)
        return output if create_graph else output.detach(), gradient

    def add_energies_and_gradient(self, graph: Graph, energies: Tensor, gradient: Tensor) -> None:
        """Add the results of `energies_and_gradient` on the CPU, without `create_graph`, to tensors.

        Args:
            graph: A graph or a batch of graphs.
            energies: [N] in float64.
            gradient: [E, 3] in the dtype of the edge vectors.
        """
        output, more = self.energies_and_gradient(graph)
        energies += output.energies
        gradient += more

    def precompute(self, graph: Graph) -> Graph:
        """Return a graph with additional fields that do not depend on the parameters, for repeated use in training.

        Most models have no such fields and return the graph itself.
        """
        return graph

    def precomputed_bytes(self, atoms: int, edges: int) -> int:
        """Bytes that `precompute` adds to a graph of this size."""
        return 0

    def by_training_backend(self, graph: Graph, make: Callable[[Self], TrainingBackend]) -> tuple[AtomicOutput, Tensor]:
        """`energies_and_gradient` with `create_graph`, in the two passes of `models.fast.training`.

        The backend `make(model)` is kept. On devices other than the CPU, PyTorch differentiates `forward`.
        """
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
        """`energies_and_gradient` without `create_graph`, by the backend `make(copy of this model)`.

        The backend is kept as long as the parameters do not change. On devices other than the CPU, PyTorch
        differentiates `forward`.
        """
        if graph.edge_vectors.device.type != "cpu":
            output, gradient = with_gradient(self, graph)
            return output.detach(), gradient
        backend = self.compiled_copy(make).backend
        keep_freed_memory()
        follow_torch()
        # edges beyond the cutoff would cost as much as edges within it
        near, inside = graph.within(self.cutoff)
        output, gradient = backend.energies_and_gradient(near)
        if inside is not None:
            gradient = torch.zeros_like(graph.edge_vectors).index_copy_(0, inside, gradient)
        return output.detach(), gradient

    def compiled_copy(self, make: Callable[[Self], B]) -> "CompiledCopy[Self, B]":
        """Return a copy of this model with fixed parameters and its backend; kept until the parameters change."""
        # a local variable, because another thread may reset the attribute
        compiled = self._compiled
        if compiled is None or not compiled.is_of(self):
            self._compiled = compiled = None
            self._compiled = compiled = CompiledCopy(self, make)
        return compiled

    def memory(self, size: GraphSize) -> int:
        """Estimate the peak memory in bytes of `energies_and_gradient` on the CPU, without the graph.

        Models that store features of edges override this method.
        """
        return 100 * size.edges

    def fit_statistics(self, graphs: Iterable[Graph]) -> None:
        """Set constants, such as scalings, from the training data before training; most models have none."""

    def stages(self) -> list[list[str]]:
        """Names of the parameters in the order from graph to energy: embeddings and bases, each block, the head.

        The order follows the constructor. Parameters before the lists (`ModuleList`, `ParameterList`) come first; the
        k-th entries of all lists form block k; parameters after the lists are the head. If there are none, the last
        block is the head.
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
    """A backend for training, which is not copied with the model."""

    def __init__(self, backend: TrainingBackend) -> None:
        self.backend = backend

    def __deepcopy__(self, memo: dict) -> None:
        """Return `None`: a copy of the model makes its own backend."""


class CompiledCopy(Generic[E, B]):
    """A copy of a model with its compiled backend, and the state of the model's tensors when the copy was made."""

    def __init__(self, model: E, make: Callable[[E], B]) -> None:
        self.copy = copy.deepcopy(model).requires_grad_(False)
        self.backend = make(self.copy)
        # iterating over all modules at each step would take as long as a small structure
        self._tables = [t for m in model.modules() for t in (m._parameters, m._buffers) if t]
        self._model, self._state = model, self._now()

    def __deepcopy__(self, memo: dict) -> None:
        """Return `None`: a copy of the model makes its own backend."""

    def _now(self) -> list[tuple[int, int, torch.dtype]]:
        tensors = (t for table in self._tables for t in table.values() if t is not None)
        # tensors created in inference mode have no version counter
        return [(t.data_ptr(), 0 if t.is_inference() else t._version, t.dtype) for t in tensors]

    def is_of(self, model: EnergyModel) -> bool:
        """Whether the backend belongs to `model` with its current parameters."""
        return self._model is model and self._state == self._now()


def with_gradient(
    atoms: Callable[[Graph], AtomicOutput], graph: Graph, *, create_graph: bool = False
) -> tuple[AtomicOutput, Tensor]:
    """Return the predictions of `atoms` for a graph, and the edge gradient Σ_i dE_i/dr_e [E, 3]."""
    vectors = graph.edge_vectors.detach().requires_grad_()
    with torch.enable_grad():
        output = atoms(graph.clone_with_edge_vectors(vectors))
        return output, edge_gradient(output.energies.sum(), vectors, create_graph=create_graph)


def edge_gradient(energy: Tensor, edge_vectors: Tensor, *, create_graph: bool) -> Tensor:
    """Return dE/dr_e [E, 3]; zero for edges on which the energy does not depend."""
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
