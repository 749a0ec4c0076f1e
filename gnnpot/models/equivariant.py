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
from functools import cache, partial

import torch
from e3nn import o3
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.base import AtomicOutput, EnergyModel
from gnnpot.models.fast.activations import SILU_SCALE, silu
from gnnpot.models.fast.convolution import BondConvolutions, bonds
from gnnpot.models.fast.equivariant import FastEquivariant
from gnnpot.models.fast.harmonics import Harmonics
from gnnpot.models.fast.layout import Layout
from gnnpot.models.memory import GraphSize

#: one array [N, 2l+1, channels] for each l
Features = list[Tensor]


@cache
def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """sqrt(2 l3 + 1) times the Wigner 3j symbols in e3nn's real basis, [2 l1+1, 2 l2+1, 2 l3+1].

    Their common sign, which is a matter of choice, makes the first that is not zero positive.
    """
    symbols = o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
    first = symbols.flatten()[symbols.flatten().abs() > 1e-10][0]
    return symbols * torch.sign(first) * math.sqrt(2 * l3 + 1)


def coupling_paths(
    lmax_in: int, lmax_filter: int, lmax_out: int, *, parity: bool = False
) -> list[tuple[int, int, int]]:
    """(l1, l2, l3) of features, harmonics and product, for all products that keep |l1 - l2| <= l3 <= l1 + l2.

    With `parity`, only those with an even l1 + l2 + l3: what has the parity (-1)^l stays so under inversion.
    """
    return [
        (l1, l2, l3)
        for l1 in range(lmax_in + 1)
        for l2 in range(lmax_filter + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, lmax_out) + 1)
        if not (parity and (l1 + l2 + l3) % 2)
    ]


@cache
def _layout(inputs: tuple[int, ...], paths: tuple[tuple[int, int, int], ...], dtype: torch.dtype) -> Layout:
    return Layout(inputs, paths, [coupling(*path) for path in paths], dtype)


class ChannelLinear(nn.Module):
    """y_l = x_l W_l / sqrt(inputs): mixes the channels of each l; with a bias for l = 0."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], *, bias: bool = False) -> None:
        super().__init__()
        pairs = zip(inputs, outputs, strict=False)
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(a, b)) for a, b in pairs)
        self.bias = nn.Parameter(torch.zeros(outputs[0])) if bias else None

    @property
    def matrices(self) -> list[Tensor]:
        """W_l / sqrt(inputs)."""
        return [w / math.sqrt(len(w)) for w in self.weights]

    def forward(self, features: Features) -> Features:
        mixed = [x @ w for x, w in zip(features, self.matrices, strict=False)]
        if self.bias is not None:
            mixed[0] = mixed[0] + self.bias
        return mixed


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

    @property
    def constants(self) -> list[Tensor]:
        """C of each path."""
        return [coupling(*path) for path in self.paths]

    def layout(self, dtype: torch.dtype) -> Layout:
        """How kernels see it."""
        return _layout(self.inputs, tuple(self.paths), dtype)

    def forward(self, harmonics: Features, radial: Tensor, edge_index: Tensor, features: Features) -> Features:
        centre, neighbor = edge_index
        weights = self.radial_network(radial).split(self.widths, dim=1)
        at_neighbor = [x.index_select(0, neighbor) for x in features]
        sums: list[list[Tensor]] = [[] for _ in range(self.lmax_out + 1)]
        for (l1, l2, l3), constants, w in zip(self.paths, self.constants, weights, strict=True):
            rotation = torch.einsum("ijk,ej->eki", constants.to(w), harmonics[l2])
            message = (rotation @ at_neighbor[l1]) * w[:, None, :]
            sums[l3].append(message.new_zeros(len(features[0]), *message.shape[1:]).index_add(0, centre, message))
        return [torch.cat(parts, -1) / self.denominator for parts in sums]


class ElementScales(nn.Module):
    """y_l = s_Zl ⊙ x_l: a factor for each channel and element, 1 to begin with."""

    def __init__(self, elements: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(elements, count)) for count in channels)

    def forward(self, features: Features, species: Tensor) -> Features:
        return [x * f.index_select(0, species)[:, None] for x, f in zip(features, self.factors, strict=True)]


class RMSNorm(nn.Module):
    """y_l = γ_l ⊙ x_l / sqrt(ε + q),  q = 1/L Σ_l |x_l|²/(2l+1)²: one scale for all features of an atom.

    There is no shift, so that features keep turning with the structure. L is the number of l. As in Nequix; eSEN and
    EquiformerV2 (Liao et al., ICLR 2024) have the mean of squares in place of q.
    """

    def __init__(self, channels: tuple[int, ...], epsilon: float = 1e-12) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(count)) for count in channels)
        self.epsilon = epsilon

    @property
    def weights(self) -> list[float]:
        """What |x_l|² is multiplied with in q."""
        return [1 / (len(self.factors) * (2 * l + 1) ** 2) for l in range(len(self.factors))]

    def forward(self, features: Features) -> Features:
        """Features of N atoms -> the same shapes."""
        squares = sum(w * x.square().sum((1, 2)) for w, x in zip(self.weights, features, strict=True))
        scale = torch.rsqrt(squares + self.epsilon)[:, None, None]
        return [x * scale * f for x, f in zip(features, self.factors, strict=True)]


def gate(features: Features, channels: tuple[int, ...]) -> Features:
    """silu on the scalars; what has l > 0 times silu of its own scalar."""
    scalars, *gates = (SILU_SCALE * silu(features[0])).split(channels, dim=-1)
    return [scalars, *(x * g for x, g in zip(features[1:], gates, strict=True))]


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
    #: whether features are normalised before they are gated
    norm: bool = False


class Layer(nn.Module):
    """Interaction block: x' = gate(n(s_Z ⊙ L_2 conv(L_1 x) + L_0 x)).

    s_Z, factors of each element, and n, the norm of all features of an atom, are 1 unless they are asked for.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], lmax: int, options: LayerOptions) -> None:
        super().__init__()
        self.outputs = outputs
        # each feature with l > 0 gets a scalar, its gate
        ungated, bias = (sum(outputs), *outputs[1:]), options.bias
        self.self_connection = ChannelLinear(inputs, ungated)
        self.linear_in = ChannelLinear(inputs, inputs, bias=bias)
        self.convolution = Convolution(inputs, lmax, len(outputs) - 1, options.radial, parity=options.parity)
        self.linear_out = ChannelLinear(self.convolution.outputs, ungated, bias=bias)
        self.scales = ElementScales(options.scaled_elements, ungated) if options.scaled_elements else None
        self.norm = RMSNorm(ungated) if options.norm else None

    def forward(self, features: Features, species: Tensor, convolve: Callable[[Features], Features]) -> Features:
        """`species` [N] index of each atom's element; `convolve` is the layer's convolution over the edges of a graph,
        in whatever form."""
        total = self.linear_out(convolve(self.linear_in(features)))
        if self.scales is not None:
            total = self.scales(total, species)
        for l, x in enumerate(self.self_connection(features)):
            total[l] = total[l] + x
        if self.norm is not None:
            total = self.norm(total)
        return gate(total, self.outputs)


class EquivariantModel(EnergyModel):
    """Base of SevenNet and Nequix: layers of features that turn with the structure; energies linear in the last.

    An architecture fills `layers`, and says what features an atom of each element begins with (`first_features`), how
    the radial functions look (`radial_basis`), and how energies are read from the last layer's scalars (`readouts`).
    """

    layers: nn.ModuleList
    #: the highest l of harmonics
    lmax: int
    #: Å where the radial functions have a curvature that jumps within the cutoff; 0: nowhere
    kink: float = 0.0

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

    def energies_and_gradient(self, graph: Graph) -> tuple[AtomicOutput, Tensor]:
        return self.by_kept_form(graph, FastEquivariant, lambda model, graph, form: form.energies_and_gradient(graph))

    def memory(self, size: GraphSize) -> int:
        # what all layers keep, and the gradients of the widest; of edges, harmonics, vectors and their gradients
        features = [_numbers(layer.convolution.inputs) for layer in self.layers]
        totals = sum(_numbers(layer.outputs) + sum(layer.outputs[1:]) for layer in self.layers)
        of_an_edge = 2 * (self.lmax + 1) ** 2 + 12
        # each thread has gradients of its own
        kept = sum(features) + totals + (1 + torch.get_num_threads()) * max(features)
        numbers = kept * size.atoms + of_an_edge * size.edges
        return round(numbers * self.layers[0].convolution.denominator.itemsize)

    def _atoms(self, graph: Graph, form: "EquivariantModel | BondConvolutions") -> AtomicOutput:
        """Energies of the atoms; the convolutions are those of `form`."""
        vectors = graph.edge_vectors
        harmonics = spherical_harmonics(vectors, self.lmax)
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        species = self.species(graph.numbers)
        features = [self.first_features()[species][:, None, :]]
        for layer, convolve in zip(self.layers, form.convolutions(graph, distances, harmonics), strict=True):
            features = layer(features, species, convolve)
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

    def fast_harmonics(self) -> Harmonics:
        """`spherical_harmonics` with a way back by hand."""
        return Harmonics(self.lmax, [_raising(l) for l in range(1, self.lmax)])

    def set_denominators(self, graphs: Iterable[Graph], power: float) -> None:
        """Set the denominators of the sums over neighbours to a power of the mean number of neighbours."""
        edges, atoms = 0, 0
        for graph in graphs:
            edges += int((graph.edge_vectors.norm(dim=-1) < self.cutoff).sum())
            atoms += len(graph.numbers)
        for layer in self.layers:
            layer.convolution.denominator.fill_(max(1.0, edges / atoms) ** power)


def _numbers(channels: tuple[int, ...]) -> int:
    """How many numbers the features of an atom are."""
    return sum((2 * l + 1) * count for l, count in enumerate(channels))


def spherical_harmonics(vectors: Tensor, lmax: int) -> Features:
    """Y_l of the directions r̂, a list over l of [E, 2l+1] in e3nn's order and signs, with |Y_l|² = 2l + 1:

    Y_0 = 1,  Y_1 = sqrt(3) r̂,  and Y_{l+1} is the part of Y_l ⊗ Y_1 that has the angular momentum l + 1.
    """
    directions = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    harmonics = [torch.ones_like(directions[:, :1]), math.sqrt(3) * directions][: lmax + 1]
    for l in range(1, lmax):
        products = harmonics[l][:, :, None] * harmonics[1][:, None, :]
        harmonics.append(products.flatten(1) @ _raising(l).to(vectors))
    return harmonics


@cache
def _raising(l: int) -> Tensor:
    """Makes Y_{l+1} of Y_l ⊗ Y_1, [(2l+1) 3, 2l+3]; its sign and size are taken from one direction."""
    constants = o3.wigner_3j(l, 1, l + 1, dtype=torch.float64).flatten(0, 1)
    direction = torch.tensor([0.5, 0.6, 0.7], dtype=torch.float64)
    lower, one, higher = (
        o3.spherical_harmonics(k, direction, normalize=True, normalization="component") for k in (l, 1, l + 1)
    )
    found = torch.outer(lower, one).flatten() @ constants
    return constants * (found @ higher) / (found @ found)
