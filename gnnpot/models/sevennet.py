"""SevenNet: equivariant message passing in the style of NequIP.

Source: Park et al., J. Chem. Theory Comput. 20, 4857 (2024); Batzner et al., Nat. Commun. 13, 2453 (2022), NequIP.

    model = SevenNet(SevenNetConfig(elements=("Na", "Cl")))
    model(graph).energies

The layers are those of `equivariant.py`; all features are treated as even under inversion.
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
    """Options of `SevenNet`; the defaults are those of 7net-0."""

    architecture: Literal["sevennet"] = "sevennet"
    #: chemical symbols; if empty, training takes the elements of the data
    elements: tuple[str, ...] = ()
    #: number of channels for each angular momentum l = 0, 1, …
    channels: tuple[int, ...] = (128, 64, 32)
    #: number of message passing layers
    layers: int = 5
    #: Å, cutoff of the edges
    cutoff: float = 5.0
    #: cutoff function: "xplor" is 1 up to `cutoff_on`, "polynomial" has the exponent `cutoff_power`
    cutoff_function: Literal["xplor", "polynomial"] = "xplor"
    #: Å, distance at which the cutoff function "xplor" begins to fall
    cutoff_on: float = 4.5
    #: exponent of the cutoff function "polynomial"
    cutoff_power: int = 6
    #: number of radial functions
    radial: int = 8
    #: hidden widths of the perceptron from radial functions to weights
    radial_hidden: tuple[int, ...] = (64, 64)
    #: whether linear layers have a bias for scalars
    bias: bool = False
    #: whether each element has factors for the messages that its atoms receive. No additional cost; lets a small
    #: network distinguish many elements
    element_scales: bool = False
    #: whether each element has its own matrices in all linear layers; includes the factors of `element_scales`. For few
    #: elements. Up to a tenth slower if atoms of the same element seldom follow one another
    element_linear: bool = False
    #: whether products of up to three features of an atom are added to its features, in all layers except the last.
    #: Increases the body order, at a cost per atom instead of per edge
    products: bool = False

    def __post_init__(self) -> None:
        check_equivariant_sizes(self)
        if self.channels[0] < 2:
            raise ValueError("channels: needs at least 2 for l = 0; the readout takes half of them")
        if self.cutoff_function == "xplor" and not 0 < self.cutoff_on < self.cutoff:
            raise ValueError(f"cutoff_on: must lie between 0 and the cutoff of {self.cutoff} Å")
        if self.element_scales and self.element_linear:
            raise ValueError("element_scales, element_linear: choose one; an element's matrices include its factors")
        if self.products and (len(self.channels) == 1 or self.layers == 1):
            raise ValueError(
                "products: need features of l = 1 between layers; give channels two numbers or more, and two layers"
            )


#: options of the published models
PRESETS = {
    "7net-0": SevenNetConfig(),
    "7net-l3i5": SevenNetConfig(channels=(128, 64, 32, 32), cutoff_function="polynomial"),
    "7net-mf-0": SevenNetConfig(bias=True),
}


class SevenNet(EquivariantModel):
    """E_i = L_4 L_3 x_i, linear in the scalars x_i of the last layer."""

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
        """2/r_c sin(f_n r)/r f_c(r), with the cutoff function f_c and trainable frequencies f_n, initially nπ/r_c.

        [E] -> [E, radial].
        """
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
    """f_c = 1 up to r_on = `on`, then (r_c² - r²)² (r_c² + 2r² - 3r_on²)/(r_c² - r_on²)³; 0 beyond r_c = `cutoff`.

    Value and slope are continuous.
    """
    r2, on2, c2 = distances * distances, on * on, cutoff * cutoff
    falling = (c2 - r2) ** 2 * (c2 + 2 * r2 - 3 * on2) / (c2 - on2) ** 3
    return torch.where(distances < on, 1.0, torch.where(distances < cutoff, falling, 0.0))
