"""Layers of equivariant message passing in the style of NequIP, from which SevenNet and Nequix are built.

    layer = Layer((128,), (128, 64, 32), lmax=2, options=LayerOptions(radial=(8, 64, 64)))

The features of an atom are tensors of angular momentum l = 0, 1, …, which rotate with the structure. They are a list
over l of arrays [N, 2l+1, channels[l]]. Each layer applies a linear layer to the channels, multiplies the features with
the spherical harmonics of the edges, sums over neighbours, and applies another linear layer and a gated nonlinearity.
Source: Batzner et al., Nat. Commun. 13, 2453 (2022), NequIP.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.graphs.size import GraphSize
from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.fast.convolution import BondConvolutions, bonds
from gnnpot.models.fast.equivariant import FastEquivariant
from gnnpot.models.layers import ModuleList
from gnnpot.ops.activations import SILU_SCALE, silu
from gnnpot.ops.cubic_forms import triples
from gnnpot.ops.feature_products import feature_products, terms
from gnnpot.ops.gate import gated_features
from gnnpot.ops.rms_norm import rms_norm
from gnnpot.ops.rows import Rows, padded
from gnnpot.ops.spherical_harmonics import spherical_harmonics
from gnnpot.ops.tensor_product import ProductLayout, coupling, coupling_paths, tensor_product

#: one array [N, 2l+1, channels] for each l
Features = list[Tensor]


class AtomsByElement:
    """Atoms of a graph, grouped by element; computed on first use, because counting synchronises a GPU."""

    def __init__(self, species: Tensor, elements: int) -> None:
        """`species` [N] is the index of the element of each atom, `elements` the number of elements."""
        self.species, self.elements = species, elements

    @cached_property
    def order(self) -> Tensor:
        """[N] indices of the atoms, sorted by element."""
        return torch.argsort(self.species, stable=True)

    @cached_property
    def places(self) -> Tensor:
        """[N] position of each atom in `order`."""
        return torch.argsort(self.order)

    @cached_property
    def counts(self) -> list[int]:
        """[elements] number of atoms of each element."""
        return torch.bincount(self.species, minlength=self.elements).tolist()


class ChannelLinear(nn.Module):
    """y_l = x_l W_l / sqrt(inputs): linear layer on the channels of each l, with an optional bias for l = 0.

    If `elements` is not 0, the weights of an atom are W_l + D_Z,l with deviations D of its element, initially 0.
    """

    def __init__(
        self, inputs: tuple[int, ...], outputs: tuple[int, ...], *, bias: bool = False, elements: int = 0
    ) -> None:
        super().__init__()
        pairs = list(zip(inputs, outputs, strict=False))
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(a, b)) for a, b in pairs)
        deviations = (nn.Parameter(torch.zeros(elements, a, b)) for a, b in pairs)
        self.deviations = nn.ParameterList(deviations) if elements else None
        self.bias = nn.Parameter(torch.zeros(outputs[0])) if bias else None

    @property
    def matrices(self) -> list[Tensor]:
        """W_l / sqrt(inputs) [inputs, outputs] for each l; [elements, inputs, outputs] if elements have deviations."""
        weights: Iterable[Tensor] = self.weights
        if self.deviations is not None:
            weights = (w + d for w, d in zip(self.weights, self.deviations, strict=True))
        return [w / math.sqrt(w.shape[-2]) for w in weights]

    def forward(self, features: Features, atoms: AtomsByElement | None = None) -> Features:
        """Apply the layer; `atoms` is required if elements have deviations."""
        pairs = zip(features, self.matrices, strict=False)
        mixed = [x @ w if w.ndim == 2 else _mixed_by_element(x, w, atoms) for x, w in pairs]
        if self.bias is not None:
            mixed[0] = mixed[0] + self.bias
        return mixed


def _mixed_by_element(x: Tensor, matrices: Tensor, atoms: AtomsByElement | None) -> Tensor:
    """x_i W_Z(i) for x [N, m, inputs] and `matrices` [elements, inputs, outputs]."""
    if atoms is None:
        raise TypeError("each element has its own matrix: say which atoms are of which")
    parts = x.index_select(0, atoms.order).split(atoms.counts)
    mixed = [part @ matrix for part, matrix in zip(parts, matrices.unbind(), strict=True)]
    return torch.cat(mixed).index_select(0, atoms.places)


class RadialNetwork(nn.Sequential):
    """Perceptron from radial functions to the weights of the tensor product, [E, radial] -> [E, weights].

    It has no biases, so that the weights are zero where the radial functions are zero, at and beyond the cutoff.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(a, b)) for a, b in zip(widths, widths[1:], strict=False)
        )

    def forward(self, radial: Tensor) -> Tensor:
        first, *others = self.weights
        x = radial @ (first / math.sqrt(len(first)))
        for w in others:
            x = silu(x) @ (w * (SILU_SCALE / math.sqrt(len(w))))
        return x


class Convolution(nn.Module):
    """Tensor product of features and spherical harmonics, summed over neighbours, eq. 8 of NequIP:

        m_i^(l3) = 1/d Σ_j w_p(r_ij) ⊙ Σ C x_j^(l1) Y^(l2)(r̂_ij),   for each path p = (l1, l2, l3),

    where ⊙ multiplies channel by channel, w_p are weights from the distance, C are coupling constants, and d is the
    `denominator`. The results of paths with the same l3 are side by side as channels.
    """

    denominator: Tensor

    def __init__(
        self, inputs: tuple[int, ...], lmax_filter: int, lmax_out: int, radial: Sequence[int], *, parity: bool = False
    ) -> None:
        """`radial` has the number of radial functions, followed by the hidden widths of the perceptron."""
        super().__init__()
        self.inputs, self.lmax_out = inputs, lmax_out
        self.paths = coupling_paths(len(inputs) - 1, lmax_filter, lmax_out, parity=parity)
        self.widths = [inputs[l1] for l1, _, _ in self.paths]
        self.radial_network = RadialNetwork([*radial, sum(self.widths)])
        self.outputs = tuple(
            sum(w for w, path in zip(self.widths, self.paths, strict=True) if path[2] == l) for l in range(lmax_out + 1)
        )
        #: d, a function of the mean number of neighbours
        self.register_buffer("denominator", torch.tensor(1.0))

    def layout(self, dtype: torch.dtype) -> ProductLayout:
        """Return the layout of features, messages and weights for kernels."""
        return _layout(self.inputs, tuple(self.paths), dtype)

    def forward(self, harmonics: Features, radial: Tensor, edge_index: Tensor, features: Features) -> Features:
        weights = self.radial_network(radial)
        sums = tensor_product(features, harmonics, weights, edge_index, self.paths)
        return [x / self.denominator for x in sums]


@cache
def _layout(inputs: tuple[int, ...], paths: tuple[tuple[int, int, int], ...], dtype: torch.dtype) -> ProductLayout:
    return ProductLayout(inputs, paths, [coupling(*path) for path in paths], dtype)


class ElementScales(nn.Module):
    """y_l = s_Zl ⊙ x_l, with a trainable factor for each channel and element, initially 1."""

    def __init__(self, elements: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(elements, count)) for count in channels)

    def forward(self, features: Features, species: Tensor) -> Features:
        return [x * f.index_select(0, species)[:, None] for x, f in zip(features, self.factors, strict=True)]


class RMSNorm(nn.Module):
    """`rms_norm` with trainable factors."""

    def __init__(self, channels: tuple[int, ...], epsilon: float = 1e-12) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(count)) for count in channels)
        self.epsilon = epsilon

    def forward(self, features: Features) -> Features:
        """Normalise features; the shapes do not change."""
        return rms_norm(features, list(self.factors), self.epsilon)


class FeatureProducts(nn.Module):
    """y_l = x_l + (L_3 P(x))_l with the products P of the features of an atom, see `ops/feature_products.py`.

    The products use the first channels of each l ≥ 1; their number is the smallest number of channels of these l. The
    products with l = 0 are added to the first `scalars` channels.
    """

    def __init__(self, channels: tuple[int, ...], scalars: int, elements: int = 0) -> None:
        """`elements` is the number of elements with their own matrix L_3; 0: one matrix for all elements."""
        super().__init__()
        lmax = len(channels) - 1
        #: number of channels of the products
        self.width = min(channels[1:])
        self.factors = nn.ParameterList(
            nn.Parameter(torch.randn(len(found), self.width) / math.sqrt(len(found)))
            for found in terms(lmax)[1:]
            if found
        )
        invariants = self.width * (lmax + len(triples(lmax)))
        #: number of channels of P for each l
        self.outputs = (invariants, *(self.width for _ in self.factors))
        self.linear = ChannelLinear(self.outputs, (scalars, *channels[1:]), elements=elements)

    def forward(self, features: Features, atoms: AtomsByElement) -> Features:
        products = feature_products([x[..., : self.width] for x in features], list(self.factors))
        total = list(features)
        for l, x in enumerate(self.linear(products, atoms)):
            total[l] = total[l] + nn.functional.pad(x, (0, total[l].shape[-1] - x.shape[-1]))
        return total


@dataclass(frozen=True)
class LayerOptions:
    """Options that all layers of a model share."""

    #: number of radial functions, followed by the hidden widths of the perceptron from these to weights
    radial: tuple[int, ...]
    #: whether the linear layers before and after the convolution have a bias for scalars
    bias: bool = False
    #: whether features have parity (-1)^l under inversion; otherwise, all features are treated as even
    parity: bool = False
    #: number of elements with their own factors s_Z for received messages; 0: no factors
    scaled_elements: int = 0
    #: number of elements with their own matrices in all linear layers; 0: one matrix for all elements
    mixed_elements: int = 0
    #: whether features are normalised before the gate
    norm: bool = False
    #: whether products of an atom's features are added before the gate, in layers whose outputs include l > 0
    products: bool = False


class Layer(nn.Module):
    """Interaction block: x' = gate(n(p(s_Z ⊙ L_2 conv(L_1 x) + L_0 x))).

    s_Z are factors of each element, p adds products of the features, and n is the norm of all features of an atom; each
    of these is optional, see `LayerOptions`. The matrices L are common to all elements, or each element has its own.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], lmax: int, options: LayerOptions) -> None:
        super().__init__()
        self.outputs = outputs
        # each channel with l > 0 needs an additional scalar, its gate
        ungated, bias = (sum(outputs), *outputs[1:]), options.bias
        elements = options.mixed_elements
        self.self_connection = ChannelLinear(inputs, ungated, elements=elements)
        self.linear_in = ChannelLinear(inputs, inputs, bias=bias, elements=elements)
        self.convolution = Convolution(inputs, lmax, len(outputs) - 1, options.radial, parity=options.parity)
        self.linear_out = ChannelLinear(self.convolution.outputs, ungated, bias=bias, elements=elements)
        self.scales = ElementScales(options.scaled_elements, ungated) if options.scaled_elements else None
        has_products = options.products and len(outputs) > 1
        self.products = FeatureProducts(ungated, outputs[0], elements) if has_products else None
        self.norm = RMSNorm(ungated) if options.norm else None

    def forward(self, features: Features, atoms: AtomsByElement, convolve: Callable[[Features], Features]) -> Features:
        """Apply the layer; `convolve` is its convolution over the edges of a graph, in either implementation."""
        total = self.linear_out(convolve(self.linear_in(features, atoms)), atoms)
        if self.scales is not None:
            total = self.scales(total, atoms.species)
        for l, x in enumerate(self.self_connection(features, atoms)):
            total[l] = total[l] + x
        if self.products is not None:
            total = self.products(total, atoms)
        if self.norm is not None:
            total = self.norm(total)
        return gated_features(total, self.outputs)


class EquivariantModel(EnergyModel):
    """Base class of SevenNet and Nequix: equivariant layers, and energies that are linear in the last scalars.

    A subclass sets `layers`, and defines the initial features of each element (`first_features`), the radial functions
    (`radial_basis`), and the linear layers from the last scalars to the energy (`readouts`).
    """

    layers: "ModuleList[Layer]"
    #: highest l of the spherical harmonics
    lmax: int
    #: Å, distance within the cutoff at which the curvature of the radial functions is discontinuous; 0 if there is none
    kink: float = 0.0

    @property
    def message_layers(self) -> int:  # type: ignore[override]
        return len(self.layers)

    @property
    def exchanged_bytes(self) -> int:
        dtype = self.layers[0].convolution.denominator.dtype
        sizes = [layer.convolution.layout(dtype).features.size for layer in list(self.layers)[1:]]
        return max(sizes, default=0) * dtype.itemsize

    def first_features(self) -> Tensor:
        """Return the initial scalars of each element, [elements, channels]."""
        raise NotImplementedError

    def radial_basis(self, distances: Tensor) -> Tensor:
        """Return the radial functions [E, radial] at distances [E] in Å."""
        raise NotImplementedError

    def readouts(self) -> Sequence[ChannelLinear]:
        """Return the sequence of linear layers from scalars to an energy."""
        raise NotImplementedError

    def forward(self, graph: Graph) -> AtomicOutput:
        if graph.edge_vectors.device.type == "cpu":
            return self._atoms(bonds(graph, self.cutoff), BondConvolutions(self))
        return self._atoms(graph, self)

    def energies_and_gradient(self, graph: Graph, *, create_graph: bool = False) -> tuple[AtomicOutput, Tensor]:
        if create_graph:
            return super().energies_and_gradient(graph, create_graph=True)
        return self.by_compiled_copy(graph, FastEquivariant)

    def memory(self, size: GraphSize) -> int:
        dtype = self.layers[0].convolution.denominator.dtype
        kept, widest = 0, 0
        for layer in self.layers:
            # each layer stores its input, the features that atoms send, and the input of the gate; the latter also
            # without products, if the layer has any
            given = layer.convolution.layout(dtype).features.size
            totals = Rows([list(layer.outputs), *([c] for c in layer.outputs[1:])]).size
            kept += 2 * given + totals * (1 if layer.products is None else 2)
            widest = max(widest, given)
        # gradients with respect to the input and, for each thread, to the features that were sent
        numbers = kept + (1 + torch.get_num_threads()) * widest
        # vector, distance and harmonics of an edge; gradients of harmonics (including that of the distance) and vector
        of_an_edge = 2 * padded((self.lmax + 1) ** 2) + 7
        return (numbers * size.atoms + of_an_edge * size.edges) * dtype.itemsize

    def _atoms(self, graph: Graph, operators: "EquivariantModel | BondConvolutions") -> AtomicOutput:
        """Compute the energies of the atoms with the convolutions of `operators`."""
        vectors = graph.edge_vectors
        harmonics = spherical_harmonics(vectors, self.lmax)
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        atoms = AtomsByElement(self.species(graph.numbers), len(self.elements))
        features = [self.first_features()[atoms.species][:, None, :]]
        for layer, convolve in zip(self.layers, operators.convolutions(graph, distances, harmonics), strict=True):
            features = layer(features, atoms, convolve)
        for readout in self.readouts():
            features = readout(features)
        return AtomicOutput(features[0].flatten())

    def convolutions(
        self, graph: Graph, distances: Tensor, harmonics: Features
    ) -> Iterator[Callable[[Features], Features]]:
        """Yield the convolution of each layer: features of the atoms -> messages."""
        radial = self.radial_basis(distances)
        for layer in self.layers:
            yield partial(layer.convolution, harmonics, radial, graph.edge_index)

    def set_denominators(self, graphs: Iterable[Graph], power: float) -> None:
        """Set the denominators of the convolutions to a power of the mean number of neighbours in `graphs`."""
        edges, atoms = 0, 0
        for graph in graphs:
            edges += int((graph.edge_vectors.norm(dim=-1) < self.cutoff).sum())
            atoms += len(graph.numbers)
        for layer in self.layers:
            layer.convolution.denominator.fill_(max(1.0, edges / atoms) ** power)
