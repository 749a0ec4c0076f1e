"""SevenNet: equivariant message passing of the NequIP kind.

Park et al., J. Chem. Theory Comput. 20, 4857 (2024); Batzner et al., Nat. Commun. 13, 2453 (2022), NequIP.

    model = SevenNet(SevenNetConfig(elements=("Na", "Cl")))
    model(graph).energies

Features are made in layers as `equivariant.py` says; all count as even under inversion.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models.basis import polynomial_cutoff
from gnnpot.models.equivariant import ChannelLinear, EquivariantModel, Layer, LayerOptions
from gnnpot.models.layers import ModuleList
from gnnpot.models.ranges import check_equivariant_sizes


@dataclass(frozen=True)
class SevenNetConfig:
    """Sizes of a SevenNet; the defaults are those of 7net-0."""

    architecture: Literal["sevennet"] = "sevennet"
    #: symbols of the elements; left empty in training, they are those of the data
    elements: tuple[str, ...] = ()
    #: number of features of each angular momentum l = 0, 1, …
    channels: tuple[int, ...] = (128, 64, 32)
    #: number of message passing layers
    layers: int = 5
    #: Å, reach of an edge
    cutoff: float = 5.0
    #: "xplor" is 1 up to `cutoff_on` (Å), "polynomial" has the exponent `cutoff_power`
    cutoff_function: Literal["xplor", "polynomial"] = "xplor"
    #: Å, where the cutoff function "xplor" begins to fall
    cutoff_on: float = 4.5
    #: exponent of the cutoff function "polynomial"
    cutoff_power: int = 6
    #: radial functions
    radial: int = 8
    #: hidden widths of the perceptron from radial functions to weights
    radial_hidden: tuple[int, ...] = (64, 64)
    #: whether mixed scalars get a bias
    bias: bool = False
    #: whether each element weighs what its atoms receive; costs nothing, and lets one network tell 90 elements apart
    element_scales: bool = False
    #: whether each element mixes the channels of its atoms by matrices of its own, which include the factors of
    #: `element_scales`; for few elements. Costs up to a tenth, where atoms of one element seldom
    #: follow one another
    element_linear: bool = False
    #: whether products of up to three of an atom's own features are added to them, in all layers but the last: a higher
    #: order in the atoms around, at a cost for each atom, not for each edge
    products: bool = False

    def __post_init__(self) -> None:
        check_equivariant_sizes(self)
        if self.cutoff_function == "xplor" and not 0 < self.cutoff_on < self.cutoff:
            raise ValueError(f"cutoff_on: must lie between 0 and the cutoff of {self.cutoff} Å")
        if self.element_scales and self.element_linear:
            raise ValueError("element_scales, element_linear: choose one; an element's matrices include its factors")
        if self.products and (len(self.channels) == 1 or self.layers == 1):
            raise ValueError(
                "products: need features of l = 1 between layers; give channels two numbers or more, and two layers"
            )


#: sizes of the published models
PRESETS = {
    "7net-0": SevenNetConfig(),
    "7net-l3i5": SevenNetConfig(channels=(128, 64, 32, 32), cutoff_function="polynomial"),
    "7net-mf-0": SevenNetConfig(bias=True),
}


class SevenNet(EquivariantModel):
    """E_i = L_4 L_3 x_i, linear in the last layer's scalars."""

    config: SevenNetConfig

    def __init__(self, config: SevenNetConfig) -> None:
        super().__init__(config.elements, config.cutoff)
        self.config, self.lmax = config, len(config.channels) - 1
        self.kink = config.cutoff_on if config.cutoff_function == "xplor" else 0.0
        channels = config.channels
        self.frequencies = nn.Parameter(math.pi / config.cutoff * torch.arange(1.0, config.radial + 1.0))
        self.embedding = nn.Embedding(len(self.elements), channels[0])
        options = LayerOptions(
            radial=(config.radial, *config.radial_hidden),
            bias=config.bias,
            scaled_elements=len(config.elements) if config.element_scales else 0,
            mixed_elements=len(config.elements) if config.element_linear else 0,
            products=config.products,
        )
        widths = [channels[:1], *[channels] * (config.layers - 1), channels[:1]]
        self.layers = ModuleList(Layer(a, b, self.lmax, options) for a, b in zip(widths, widths[1:], strict=False))
        hidden = (channels[0] // 2,)
        self.hidden = ChannelLinear(channels[:1], hidden, bias=config.bias)
        self.readout = ChannelLinear(hidden, (1,))

    def first_features(self) -> Tensor:
        return self.embedding.weight

    def readouts(self) -> tuple[ChannelLinear, ...]:
        return self.hidden, self.readout

    def radial_basis(self, distances: Tensor) -> Tensor:
        """2/r_c sin(f_n r)/r times the cutoff function, [E] -> [E, radial]; f_n = nπ/r_c to begin with."""
        r = distances[:, None]
        if self.config.cutoff_function == "polynomial":
            falling = polynomial_cutoff(r, self.cutoff, self.config.cutoff_power)
        else:
            falling = xplor_cutoff(r, self.config.cutoff_on, self.cutoff)
        return torch.sin(self.frequencies * r) * (2 / self.cutoff * falling / r)

    def fit_statistics(self, graphs: Iterable[Graph]) -> None:
        """Set the denominator of the sums over neighbours to the mean number of neighbours."""
        self.set_denominators(graphs, power=1)


def xplor_cutoff(distances: Tensor, on: float, cutoff: float) -> Tensor:
    """1 up to `on`, then (r_c² - r²)² (r_c² + 2r² - 3r_on²)/(r_c² - r_on²)³; 0 beyond r_c. Value and slope are
    continuous."""
    r2, on2, c2 = distances * distances, on * on, cutoff * cutoff
    falling = (c2 - r2) ** 2 * (c2 + 2 * r2 - 3 * on2) / (c2 - on2) ** 3
    return torch.where(distances < on, 1.0, torch.where(distances < cutoff, falling, 0.0))
