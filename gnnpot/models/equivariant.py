"""What equivariant message passing of the NequIP kind is made of; SevenNet and Nequix are built of it.

    layer = Layer((128,), (128, 64, 32), lmax=2, options=LayerOptions(radial=(8, 64, 64)))

Features of an atom are tensors of angular momentum l = 0, 1, …: a list over l of arrays [N, 2l+1, channels[l]], the
channels last. In each layer they are mixed among channels, multiplied with the spherical harmonics of the edges,
summed over neighbours, mixed again and gated. They turn with the structure. Batzner et al., Nat. Commun. 13, 2453
(2022), NequIP.
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
    """Which atoms of a graph are of which element; sorted when it is asked for, since counting waits for a GPU."""

    def __init__(self, species: Tensor, elements: int) -> None:
        """`species` [N], index of each atom's element."""
        self.species, self.elements = species, elements

    @cached_property
    def order(self) -> Tensor:
        """[N] atoms, those of one element side by side."""
        return torch.argsort(self.species, stable=True)

    @cached_property
    def places(self) -> Tensor:
        """[N] where each atom stands in `order`."""
        return torch.argsort(self.order)

    @cached_property
    def counts(self) -> list[int]:
        """[elements] atoms of each."""
        return torch.bincount(self.species, minlength=self.elements).tolist()


class ChannelLinear(nn.Module):
    """y_l = x_l W_l / sqrt(inputs): mixes the channels of each l; with a bias for l = 0.

    With `elements`, an atom's weights are W_l + D_Z,l; the deviations D of its element are 0 to begin with.
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
        """W_l / sqrt(inputs), or, if elements have their own, [elements, inputs, outputs]."""
        weights: Iterable[Tensor] = self.weights
        if self.deviations is not None:
            weights = (w + d for w, d in zip(self.weights, self.deviations, strict=True))
        return [w / math.sqrt(w.shape[-2]) for w in weights]

    def forward(self, features: Features, atoms: AtomsByElement | None = None) -> Features:
        """`atoms` are needed if elements have matrices of their own."""
        pairs = zip(features, self.matrices, strict=False)
        mixed = [x @ w if w.ndim == 2 else _mixed_by_element(x, w, atoms) for x, w in pairs]
        if self.bias is not None:
            mixed[0] = mixed[0] + self.bias
        return mixed


def _mixed_by_element(x: Tensor, matrices: Tensor, atoms: AtomsByElement | None) -> Tensor:
    """x_i W_Z(i), x [N, m, inputs], `matrices` [elements, inputs, outputs]."""
    if atoms is None:
        raise TypeError("each element has its own matrix: say which atoms are of which")
    parts = x.index_select(0, atoms.order).split(atoms.counts)
    mixed = [part @ matrix for part, matrix in zip(parts, matrices.unbind(), strict=True)]
    return torch.cat(mixed).index_select(0, atoms.places)


class RadialNetwork(nn.Sequential):
    """Perceptron without biases from radial functions to the weights of the products, [E, radial] -> [E, weights].

    Without radial functions there are no weights: edges beyond the cutoff count for nothing.
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
    """m_i = 1/d Σ_j x_j ⊗ Y(r_ij) with weights from the distances, NequIP's eq. 8:

        m_i^(l3) = 1/d Σ_j w_p(r_ij) ⊙ Σ C x_j^(l1) Y^(l2)(r̂_ij),   for each path p = (l1, l2, l3),

    where ⊙ is by channels. The results of paths with the same l3 stand side by side as channels.
    """

    denominator: Tensor

    def __init__(
        self, inputs: tuple[int, ...], lmax_filter: int, lmax_out: int, radial: Sequence[int], *, parity: bool = False
    ) -> None:
        """`radial`: how many radial functions there are, and the hidden widths of the perceptron."""
        super().__init__()
        self.inputs, self.lmax_out = inputs, lmax_out
        self.paths = coupling_paths(len(inputs) - 1, lmax_filter, lmax_out, parity=parity)
        self.widths = [inputs[l1] for l1, _, _ in self.paths]
        self.radial_network = RadialNetwork([*radial, sum(self.widths)])
        self.outputs = tuple(
            sum(w for w, path in zip(self.widths, self.paths, strict=True) if path[2] == l) for l in range(lmax_out + 1)
        )
        #: d; a function of the number of neighbours of an average atom
        self.register_buffer("denominator", torch.tensor(1.0))

    def layout(self, dtype: torch.dtype) -> ProductLayout:
        """How kernels see it."""
        return _layout(self.inputs, tuple(self.paths), dtype)

    def forward(self, harmonics: Features, radial: Tensor, edge_index: Tensor, features: Features) -> Features:
        weights = self.radial_network(radial)
        sums = tensor_product(features, harmonics, weights, edge_index, self.paths)
        return [x / self.denominator for x in sums]


@cache
def _layout(inputs: tuple[int, ...], paths: tuple[tuple[int, int, int], ...], dtype: torch.dtype) -> ProductLayout:
    return ProductLayout(inputs, paths, [coupling(*path) for path in paths], dtype)


class ElementScales(nn.Module):
    """y_l = s_Zl ⊙ x_l: a factor for each channel and element, 1 to begin with."""

    def __init__(self, elements: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(elements, count)) for count in channels)

    def forward(self, features: Features, species: Tensor) -> Features:
        return [x * f.index_select(0, species)[:, None] for x, f in zip(features, self.factors, strict=True)]


class RMSNorm(nn.Module):
    """`rms_norm` with factors that are trained."""

    def __init__(self, channels: tuple[int, ...], epsilon: float = 1e-12) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(count)) for count in channels)
        self.epsilon = epsilon

    def forward(self, features: Features) -> Features:
        """Features of N atoms -> the same shapes."""
        return rms_norm(features, list(self.factors), self.epsilon)


class FeatureProducts(nn.Module):
    """y_l = x_l + (L_3 P(x))_l: adds products of an atom's own features to them; see `ops/feature_products.py`.

    Products are of the first channels of each l ≥ 1, as many as all of these l have; those of l = 0 are added to the
    first `scalars` channels.
    """

    def __init__(self, channels: tuple[int, ...], scalars: int, elements: int = 0) -> None:
        """`elements`: of how many elements each has a matrix L_3 of its own; 0: one for all."""
        super().__init__()
        lmax = len(channels) - 1
        #: channels that products are made of
        self.width = min(channels[1:])
        self.factors = nn.ParameterList(
            nn.Parameter(torch.randn(len(found), self.width) / math.sqrt(len(found)))
            for found in terms(lmax)[1:]
            if found
        )
        invariants = self.width * (lmax + len(triples(lmax)))
        #: channels of the products of each l
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
    """What the layers of one architecture have in common."""

    #: how many radial functions there are, and the hidden widths of the perceptron that makes weights of them
    radial: tuple[int, ...]
    #: whether mixed scalars get a bias
    bias: bool = False
    #: whether features of l have the parity (-1)^l under inversion, or all count as even
    parity: bool = False
    #: of how many elements each has factors of its own for what its atoms receive
    scaled_elements: int = 0
    #: of how many elements each has matrices of its own, in all that mixes channels
    mixed_elements: int = 0
    #: whether features are normalised before they are gated
    norm: bool = False
    #: whether products of an atom's own features are added to them before they are gated, where there are any of l > 0
    products: bool = False


class Layer(nn.Module):
    """Interaction block: x' = gate(n(p(s_Z ⊙ L_2 conv(L_1 x) + L_0 x))).

    without s_Z, factors of each element, n, the norm of all features of an atom, and p, which adds products of them,
    where they are not asked for. The matrices L are of all elements, or each has its own.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], lmax: int, options: LayerOptions) -> None:
        super().__init__()
        self.outputs = outputs
        # each feature with l > 0 gets a scalar, its gate
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
        """`convolve` is the layer's convolution over the edges of a graph, by either implementation."""
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
    """Base of SevenNet and Nequix: layers of features that turn with the structure; energies linear in the last.

    An architecture fills `layers`, and says what features an atom of each element begins with (`first_features`), how
    the radial functions look (`radial_basis`), and how energies are read from the last layer's scalars (`readouts`).
    """

    layers: "ModuleList[Layer]"
    #: the highest l of harmonics
    lmax: int
    #: Å where the radial functions have a curvature that jumps within the cutoff; 0: nowhere
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
        """[elements, channels]."""
        raise NotImplementedError

    def radial_basis(self, distances: Tensor) -> Tensor:
        """[E] Å -> [E, radial functions]."""
        raise NotImplementedError

    def readouts(self) -> Sequence[ChannelLinear]:
        """The linear layers, one after the other, from scalars to an energy."""
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
            # of each layer what it was given, what its atoms send, and what is gated, without and with products of it
            given = layer.convolution.layout(dtype).features.size
            totals = Rows([list(layer.outputs), *([c] for c in layer.outputs[1:])]).size
            kept += 2 * given + totals * (1 if layer.products is None else 2)
            widest = max(widest, given)
        # gradients of what was given and, in each thread, of what was sent
        numbers = kept + (1 + torch.get_num_threads()) * widest
        # vector, distance and harmonics of an edge; gradients of the harmonics, which hold the distance's, and vector
        of_an_edge = 2 * padded((self.lmax + 1) ** 2) + 7
        return (numbers * size.atoms + of_an_edge * size.edges) * dtype.itemsize

    def _atoms(self, graph: Graph, operators: "EquivariantModel | BondConvolutions") -> AtomicOutput:
        """Energies of the atoms; the convolutions are those of `operators`."""
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
        """Each layer's convolution: features of the atoms -> messages."""
        radial = self.radial_basis(distances)
        for layer in self.layers:
            yield partial(layer.convolution, harmonics, radial, graph.edge_index)

    def set_denominators(self, graphs: Iterable[Graph], power: float) -> None:
        """Set the denominators of the sums over neighbours to a power of the mean number of neighbours."""
        edges, atoms = 0, 0
        for graph in graphs:
            edges += int((graph.edge_vectors.norm(dim=-1) < self.cutoff).sum())
            atoms += len(graph.numbers)
        for layer in self.layers:
            layer.convolution.denominator.fill_(max(1.0, edges / atoms) ** power)
