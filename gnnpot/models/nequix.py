"""Nequix: equivariant message passing of the NequIP kind, small, with features of definite parity and a norm.

Koker, Kotak & Smidt, arXiv:2508.16067 (2025); the phonon fine-tuned weights are of arXiv:2601.07742 (2026).

    model = Nequix(NequixConfig(elements=("Na", "Cl")))
    model(graph).energies

Features are made in layers as `equivariant.py` says. What differs from SevenNet:

- features of l have the parity (-1)^l under inversion, so a product (l1, l2, l3) needs an even l1 + l2 + l3;
- an atom begins with one scalar for each element, 1 for its own and 0 for the others;
- before they are gated, all features of an atom are divided by their root mean square;
- the energy is one linear function of the last scalars, and the radial functions have fixed frequencies.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gnnpot.graphs import Graph
from gnnpot.models.basis import polynomial_cutoff
from gnnpot.models.equivariant import ChannelLinear, EquivariantModel, Layer, LayerOptions
from gnnpot.models.layers import ModuleList
from gnnpot.models.ranges import check_equivariant_sizes


@dataclass(frozen=True)
class NequixConfig:
    """Sizes of a Nequix; the defaults are those of the published models."""

    architecture: Literal["nequix"] = "nequix"
    #: symbols of the elements; left empty in training, they are those of the data
    elements: tuple[str, ...] = ()
    #: number of features of each angular momentum l = 0, 1, …
    channels: tuple[int, ...] = (128, 64, 32, 32)
    #: number of message passing layers
    layers: int = 4
    #: Å, reach of an edge
    cutoff: float = 6.0
    #: exponent of the cutoff function
    cutoff_power: int = 6
    #: radial functions
    radial: int = 8
    #: hidden widths of the perceptron from radial functions to weights
    radial_hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        check_equivariant_sizes(self)


class Nequix(EquivariantModel):
    """E_i = L_3 x_i, linear in the last layer's scalars."""

    config: NequixConfig

    def __init__(self, config: NequixConfig) -> None:
        super().__init__(config.elements, config.cutoff)
        self.config, self.lmax = config, len(config.channels) - 1
        channels, elements = config.channels, (len(self.elements),)
        options = LayerOptions(radial=(config.radial, *config.radial_hidden), parity=True, norm=True)
        widths = [elements, *[channels] * (config.layers - 1), channels[:1]]
        self.layers = ModuleList(Layer(a, b, self.lmax, options) for a, b in zip(widths, widths[1:], strict=False))
        self.readout = ChannelLinear(channels[:1], (1,))

    def first_features(self) -> Tensor:
        return torch.eye(len(self.elements)).to(self.readout.weights[0])

    def readouts(self) -> tuple[ChannelLinear, ...]:
        return (self.readout,)

    def radial_basis(self, distances: Tensor) -> Tensor:
        """2/r_c sin(nπ r/r_c)/r times the cutoff function, [E] -> [E, radial]."""
        r = distances[:, None]
        frequencies = math.pi / self.cutoff * torch.arange(1, self.config.radial + 1).to(r)
        falling = polynomial_cutoff(r, self.cutoff, self.config.cutoff_power)
        return torch.sin(frequencies * r) * (2 / self.cutoff * falling / r)

    def fit_statistics(self, graphs: Iterable[Graph]) -> None:
        """Set the denominator of the sums over neighbours to the root of the mean number of neighbours."""
        self.set_denominators(graphs, power=0.5)
