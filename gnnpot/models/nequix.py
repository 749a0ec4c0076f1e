"""Nequix: a small equivariant message passing model in the style of NequIP, with parity and a norm.

Source: Koker, Kotak & Smidt, arXiv:2508.16067 (2025); weights fine-tuned on phonons: arXiv:2601.07742 (2026).

    model = Nequix(NequixConfig(elements=("Na", "Cl")))
    model(graph).energies

The layers are those of `equivariant.py`. Differences from SevenNet:

- Features have parity (-1)^l under inversion, so products (l1, l2, l3) need an even l1 + l2 + l3.
- The initial features of an atom are a one-hot encoding of its element.
- All features of an atom are normalised by an RMS norm (`ops/rms_norm.py`) before the gate.
- The energy is a linear function of the last scalars (a single layer). The radial functions have fixed frequencies.
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
    """Options of `Nequix`; the defaults are those of the published models."""

    architecture: Literal["nequix"] = "nequix"
    #: chemical symbols; if empty, training takes the elements of the data
    elements: tuple[str, ...] = ()
    #: number of channels for each angular momentum l = 0, 1, …
    channels: tuple[int, ...] = (128, 64, 32, 32)
    #: number of message passing layers
    layers: int = 4
    #: Å, cutoff of the edges
    cutoff: float = 6.0
    #: exponent of the cutoff function
    cutoff_power: int = 6
    #: number of radial functions
    radial: int = 8
    #: hidden widths of the perceptron from radial functions to weights
    radial_hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        check_equivariant_sizes(self)


class Nequix(EquivariantModel):
    """E_i = L_3 x_i, linear in the scalars x_i of the last layer."""

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
        """2/r_c sin(nπ r/r_c)/r f_c(r), with `polynomial_cutoff` f_c; [E] -> [E, radial]."""
        r = distances[:, None]
        frequencies = math.pi / self.cutoff * torch.arange(1, self.config.radial + 1).to(r)
        falling = polynomial_cutoff(r, self.cutoff, self.config.cutoff_power)
        return torch.sin(frequencies * r) * (2 / self.cutoff * falling / r)

    def fit_statistics(self, graphs: Iterable[Graph]) -> None:
        """Set the denominator of the sums over neighbours to the square root of the mean number of neighbours."""
        self.set_denominators(graphs, power=0.5)
