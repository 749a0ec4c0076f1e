"""High-dimensional neural network potential (Behler & Parrinello 2007; Behler 2011, 2021).

The environment of each atom is described by symmetry functions G (`symmetry_functions`). They are scaled and passed to
the neural network of the element of the atom, whose output is the energy of the atom:

    x_i = factor G_i + constant                       (scaling, per element and function; set from the training data)
    h^1 = f(W^1 x_i + b^1),  h^l = f(W^l h^(l-1) + b^l),  E_i = W^L h^(L-1) + b^L

| symbol   | variable             | shape                    |
|----------|----------------------|--------------------------|
| G        | `descriptors`        | [N, D]                   |
| W^l, b^l | `weights`, `biases`  | [S, in, out], [S, 1, out]|

for S elements. The networks of all elements are evaluated together, on atoms sorted into [S, largest number of atoms of
an element, D].
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
from torch import Tensor, nn

from gnnpot.config import check_ranges
from gnnpot.domains import check_fields
from gnnpot.graphs import Graph
from gnnpot.graphs.size import GraphSize
from gnnpot.models.base import AtomicOutput, EnergyModel, with_gradient
from gnnpot.models.fast.hdnnp import FastHDNNP
from gnnpot.models.ranges import MAX_DEPTH, MAX_FUNCTIONS, MAX_WIDTH
from gnnpot.models.symmetry import SymmetryDescriptor
from gnnpot.models.symmetry_functions import SymmetryFunction
from gnnpot.models.symmetry_jacobian import edge_gradient_of
from gnnpot.models.symmetry_sets import SelectedBehlerSet, SymmetrySet

Activation = Literal[
    "tanh", "softplus", "silu", "logistic", "relu", "gaussian", "cos", "reverse_logistic", "exp", "harmonic", "linear"
]
Scaling = Literal["none", "minmax", "center", "minmax_center", "sigma"]

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "softplus": nn.functional.softplus,
    "silu": nn.functional.silu,
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "gaussian": lambda x: torch.exp(-0.5 * x * x),
    "cos": torch.cos,
    "reverse_logistic": lambda x: torch.sigmoid(-x),
    "exp": lambda x: torch.exp(-x),
    "harmonic": lambda x: x * x,
    "linear": lambda x: x,
}

#: A symmetry function that varies less than this over the training data is switched off: it has no information, and
#: division by its range would amplify small values in other structures.
_MIN_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class HDNNPConfig:
    """Options of `HDNNP`."""

    architecture: Literal["hdnnp"] = "hdnnp"
    elements: tuple[str, ...] = ()  #: chemical symbols; if empty, training takes the elements of the data
    symmetry_functions: tuple[SymmetryFunction, ...] = ()  #: explicit list of functions; if empty, see `symmetry_set`
    #: rule that generates the functions for the elements
    symmetry_set: SymmetrySet = field(default_factory=SelectedBehlerSet)
    hidden: tuple[int, ...] = (30, 30)  #: numbers of nodes of the hidden layers
    activation: Activation | tuple[Activation, ...] = "tanh"  #: activation function of all hidden layers, or of each
    #: scaled symmetry functions x: "none" G; "minmax" (G - min)/(max - min); "center" G - mean; "minmax_center"
    #: (G - mean)/(max - min); "sigma" (G - mean)/σ
    scaling: Scaling = "sigma"
    scale_min: float = 0.0  #: x becomes scale_min + (scale_max - scale_min) x, except with "none" and "center"
    scale_max: float = 1.0  #: see `scale_min`; must be larger

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= len(self.hidden) <= MAX_DEPTH:
            raise ValueError(f"hidden: needs 1 to {MAX_DEPTH} layers, got {len(self.hidden)}")
        check_ranges(self, hidden=(1, MAX_WIDTH), scale_min=(-1e6, 1e6), scale_max=(-1e6, 1e6))
        if len(self.symmetry_functions) > MAX_FUNCTIONS:
            raise ValueError(f"symmetry_functions: {len(self.symmetry_functions):,} are more than {MAX_FUNCTIONS:,}")
        if not isinstance(self.activation, str) and len(self.activation) != len(self.hidden):
            raise ValueError(f"activation: {len(self.activation)} are given for {len(self.hidden)} hidden layers")
        if self.scale_max <= self.scale_min:
            raise ValueError(f"scale_max: {self.scale_max} is not above scale_min, {self.scale_min}")


class HDNNP(EnergyModel):
    """High-dimensional neural network potential; `backend` selects compiled or reference symmetry functions.

    See `symmetry.SymmetryDescriptor` for the backends.
    """

    factor: Tensor
    constant: Tensor
    minimum: Tensor
    maximum: Tensor

    config: HDNNPConfig
    message_layers = 1

    def __init__(self, config: HDNNPConfig) -> None:
        functions = config.symmetry_functions or config.symmetry_set.functions(config.elements)
        super().__init__(config.elements, cutoff=max((f.cutoff for f in functions), default=0.0))
        self.config = config
        self.descriptor = SymmetryDescriptor(functions, self.elements)
        species, width = len(self.elements), self.descriptor.width
        # where an element has fewer functions than `width`, the padding is multiplied by zero
        used = torch.zeros(species, width)
        for s, count in enumerate(self.descriptor.counts):
            used[s, :count] = 1
        self.register_buffer("factor", used)
        self.register_buffer("constant", torch.zeros(species, width))
        self.register_buffer("minimum", torch.full((species, width), -torch.inf))
        self.register_buffer("maximum", torch.full((species, width), torch.inf))
        sizes = [width, *config.hidden, 1]
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(species, a, b)) for a, b in pairs)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(species, 1, b)) for _, b in pairs)
        one = config.activation
        self.activations = (one,) * len(config.hidden) if isinstance(one, str) else one
        self.reset_parameters()

    @property
    def backend(self) -> Literal["fast", "reference"]:
        return self.descriptor.backend

    @backend.setter
    def backend(self, value: Literal["fast", "reference"]) -> None:
        if value not in ("fast", "reference"):
            raise ValueError(f"backend: '{value}' is neither 'fast' nor 'reference'")
        self.descriptor.backend = value

    @property
    def has_kernels(self) -> bool:
        return self.backend == "fast"

    @property
    def fast_dtype(self) -> torch.dtype | None:
        of_angles = any(group.chebyshev and not is_radial for is_radial, group in self.descriptor.groups)
        known = self.weights[0].dtype in (torch.float32, torch.float64)
        return torch.float64 if self.has_kernels and (of_angles or not known) else None

    def reset_parameters(self) -> None:
        """Initialise weights with variance 2/(in + out) and biases with 0 (Glorot & Bengio 2010).

        The standard deviation of the last layer is ten times smaller, so that initial energies are near zero.
        """
        for layer, weight in enumerate(self.weights):
            last = layer == len(self.weights) - 1
            for s, count in enumerate(self.descriptor.counts):
                inputs = count if layer == 0 else weight.shape[1]
                std = (2 / (inputs + weight.shape[2])) ** 0.5
                nn.init.normal_(weight.data[s], std=0.1 * std if last else std)
        for bias in self.biases:
            nn.init.zeros_(bias)

    def twice_differentiable(self) -> Self:
        model = copy.deepcopy(self)
        model.backend = "reference"
        return model

    def forward(self, graph: Graph) -> AtomicOutput:
        species = self.species(graph.numbers)
        return AtomicOutput(energies=self._energies(self.descriptor(graph, species), species))

    def _energies(self, g: Tensor, species: Tensor) -> Tensor:
        """Evaluate the networks: energies [N] from symmetry functions `g` [N, D]."""
        descriptors, index = _by_species(g, species, len(self.elements))
        x = torch.addcmul(self.constant.double()[:, None], descriptors, self.factor.double()[:, None])
        x = x.to(self.weights[0].dtype)
        for weight, bias, activation in zip(self.weights, self.biases, self.activations, strict=False):
            x = _ACTIVATIONS[activation](torch.baddbmm(bias, x, weight))
        energies = torch.baddbmm(self.biases[-1], x, self.weights[-1]).reshape(-1)
        return energies if index is None else energies.index_select(0, index)

    def memory(self, size: GraphSize) -> int:
        # edge vectors, their gradient, and the scaled gradient; temporary arrays of a thread
        return 9 * size.edges * self.weights[0].element_size() + 250_000

    def energies_and_gradient(self, graph: Graph, *, create_graph: bool = False) -> tuple[AtomicOutput, Tensor]:
        """See `EnergyModel`. Uses compiled kernels on the CPU.

        With `create_graph`, symmetry functions that `precompute` has added to the graph are not calculated again.
        """
        if create_graph:
            return self._differentiable(graph)
        if self.backend == "reference" or graph.edge_vectors.device.type != "cpu":
            output, gradient = with_gradient(self._with_extrapolation_count, graph)
            return output.detach(), gradient
        energies, gradient, count = self.compiled_copy(FastHDNNP).backend(graph, self.species(graph.numbers))
        return AtomicOutput(energies=energies, extrapolation_count=count), gradient

    def precompute(self, graph: Graph) -> Graph:
        """Return a graph with symmetry functions `descriptors` [N, D] and their derivatives `jacobian` [E, 3, D].

        With the reference backend, which PyTorch differentiates, the graph is returned unchanged.
        """
        if self.backend == "reference":
            return graph
        graph = copy.copy(graph)
        # always on the CPU, even if the model is on another device
        species = self.element_index.cpu()[graph.numbers]
        graph.descriptors, graph.jacobian = self.descriptor.with_jacobian(graph, species, self.weights[0].dtype)
        return graph

    def precomputed_bytes(self, atoms: int, edges: int) -> int:
        if self.backend == "reference":
            return 0
        return self.descriptor.width * (8 * atoms + 3 * self.weights[0].element_size() * edges)

    def _differentiable(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        """`energies_and_gradient` with `create_graph`."""
        if graph.get("jacobian") is None:
            return super().energies_and_gradient(graph, create_graph=True)
        descriptors = graph.descriptors.detach().requires_grad_()
        with torch.enable_grad():
            energies = self._energies(descriptors, self.species(graph.numbers))
            (rows,) = torch.autograd.grad(energies.sum(), descriptors, create_graph=True)
            gradient = edge_gradient_of(rows.to(graph.jacobian.dtype), graph.jacobian, graph.edge_index[0])
        return AtomicOutput(energies=energies), gradient

    @torch.no_grad()
    def descriptors(self, graph: Graph) -> Tensor:
        """Return the symmetry functions G [N, D], float64, not scaled."""
        return self.descriptor(graph, self.species(graph.numbers))

    @torch.no_grad()
    def extrapolation(self, graph: Graph) -> Tensor:
        """Return the number of symmetry functions of each atom that are outside the range of the training data, [N]."""
        species = self.species(graph.numbers)
        return self._count_outside(self.descriptor(graph, species), species)

    def _count_outside(self, g: Tensor, species: Tensor) -> Tensor:
        low, high = self.bounds()
        return ((g < low[species]) | (g > high[species])).sum(dim=1)

    def _with_extrapolation_count(self, graph: Graph) -> AtomicOutput:
        """`forward`, with the result of `extrapolation` as `extrapolation_count`."""
        species = self.species(graph.numbers)
        g = self.descriptor(graph, species)
        return AtomicOutput(energies=self._energies(g, species), extrapolation_count=self._count_outside(g, species))

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return lower and upper bounds of the symmetry functions in the training data, [S, D] each, float64.

        The bounds are widened to allow for rounding, because they are stored, and functions may be calculated, in
        single precision.
        """
        low, high = self.minimum.double(), self.maximum.double()
        slack = 1e-6 * torch.maximum(low.abs(), high.abs())
        if self.weights[0].dtype != torch.float64:
            # the nearly vanishing tails of Gaussians have no correct digits
            slack = 20 * slack + 1e-4 * (high - low) + 1e-12
        return low - slack, high + slack

    @torch.no_grad()
    def fit_statistics(self, graphs: Iterable[Graph]) -> None:
        """Set the scaling, and the range for `extrapolation`, from the training data."""
        device, shape = self.factor.device, self.factor.shape
        count = torch.zeros(shape[0], 1, dtype=torch.float64, device=device)
        mean, square = (torch.zeros(shape, dtype=torch.float64, device=device) for _ in range(2))
        low = torch.full_like(mean, torch.inf)
        high = torch.full_like(mean, -torch.inf)
        for graph in graphs:
            species, g = self.species(graph.numbers), self.descriptors(graph)
            for s in species.unique():
                rows = g[species == s]
                n, shift = len(rows), rows.mean(0) - mean[s]
                square[s] += ((rows - rows.mean(0)) ** 2).sum(0) + shift**2 * count[s] * n / (count[s] + n)
                mean[s] += shift * n / (count[s] + n)
                count[s] += n
                low[s] = torch.minimum(low[s], rows.amin(0))
                high[s] = torch.maximum(high[s], rows.amax(0))
        sigma = (square / count.clamp(min=1)).sqrt()
        self.set_scaling(low, high, mean, sigma, _MIN_SPREAD, seen=count[:, 0] > 0)

    @torch.no_grad()
    def set_scaling(
        self,
        low: Tensor,
        high: Tensor,
        mean: Tensor,
        sigma: Tensor,
        min_spread: float = 0.0,
        seen: Tensor | None = None,
    ) -> None:
        """Set scaling and range from statistics of the symmetry functions, according to the configuration.

        Args:
            low: Minimum, [S, D].
            high: Maximum, [S, D].
            mean: Mean, [S, D].
            sigma: Standard deviation, [S, D].
            min_spread: Functions whose spread does not exceed it are switched off.
            seen: [S] bool, elements whose values are set; the others keep theirs. `None`: all.
        """
        kind = self.config.scaling
        spread = {"sigma": sigma, "minmax": high - low, "minmax_center": high - low}.get(kind, torch.ones_like(mean))
        base, span = self.config.scale_min, self.config.scale_max - self.config.scale_min
        if kind in ("none", "center"):
            base, span = 0.0, 1.0
        origin = {"none": torch.zeros_like(mean), "minmax": low}.get(kind, mean)
        factor = torch.where(spread > min_spread, span / spread, 0.0)
        constant = torch.where(spread > min_spread, base - origin * factor, 0.0)
        for s, columns in enumerate(self.descriptor.counts):
            if seen is not None and not seen[s]:
                continue
            self.factor[s, :columns] = factor[s, :columns].to(self.factor)
            self.constant[s, :columns] = constant[s, :columns].to(self.constant)
            self.minimum[s, :columns] = low[s, :columns].to(self.minimum)
            self.maximum[s, :columns] = high[s, :columns].to(self.maximum)


def _by_species(x: Tensor, species: Tensor, count: int) -> tuple[Tensor, Tensor | None]:
    """Sort rows [N, D] into [S, largest number of atoms of a species, D], padded with zeros.

    Also returns the position [N] of each atom in the flattened result; `None` if there is only one species.
    """
    if count == 1:
        return x[None], None
    order = torch.argsort(species, stable=True)
    members = torch.bincount(species, minlength=count)
    begin = members.cumsum(0) - members
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - begin[species[order]]
    largest = int(members.max())
    index = species * largest + rank
    padded = x.new_zeros(count * largest, x.shape[1]).index_copy(0, index, x)
    return padded.view(count, largest, -1), index
