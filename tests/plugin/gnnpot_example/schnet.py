"""SchNet: continuous-filter convolutions. Schütt et al., J. Chem. Phys. 148, 241722 (2018).

    x_i ← x_i + L_3 s(L_2 Σ_j (L_1 x_j) ⊙ W(r_ij) f_c(r_ij)),    E_i = L_5 s(L_4 x_i)

W is a perceptron of Gaussians of the distance, s(x) = ln(½ e^x + ½) the shifted softplus, f_c a cosine that ends at the
cutoff, without which forces would jump there.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gnnpot.graphs import Graph
from gnnpot.models import Architecture, AtomicOutput, EnergyModel


@dataclass(frozen=True)
class SchNetConfig:
    """Sizes of a SchNet."""

    architecture: Literal["schnet"] = "schnet"
    elements: tuple[str, ...] = ()
    features: int = 64
    interactions: int = 3
    gaussians: int = 25
    cutoff: float = 5.0  #: Å


class ShiftedSoftplus(nn.Softplus):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - math.log(2.0)


class SchNet(EnergyModel):
    def __init__(self, config: SchNetConfig) -> None:
        super().__init__(config.elements, config.cutoff)
        self.config = config
        n, gaussians = config.features, config.gaussians

        def perceptron(*widths: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(*widths[:2]), ShiftedSoftplus(), nn.Linear(*widths[1:]))

        self.register_buffer("centres", torch.linspace(0.0, config.cutoff, gaussians))
        self.embedding = nn.Embedding(len(self.elements), n)
        self.filters = nn.ModuleList(perceptron(gaussians, n, n) for _ in range(config.interactions))
        self.inputs = nn.ModuleList(nn.Linear(n, n, bias=False) for _ in range(config.interactions))
        self.outputs = nn.ModuleList(perceptron(n, n, n) for _ in range(config.interactions))
        self.readout = perceptron(n, n // 2, 1)

    def forward(self, graph: Graph) -> AtomicOutput:
        i, j = graph.edge_index
        r = graph.edge_vectors.norm(dim=1).clamp(max=self.cutoff).to(self.centres.dtype)[:, None]
        gaussians = torch.exp(-0.5 * ((r - self.centres) / self.centres[1]) ** 2)
        envelope = 0.5 * (torch.cos(math.pi * r / self.cutoff) + 1.0)
        x = self.embedding(self.species(graph.numbers))
        for filter, before, after in zip(self.filters, self.inputs, self.outputs, strict=True):
            messages = before(x)[j] * filter(gaussians) * envelope
            x = x + after(torch.zeros_like(x).index_add(0, i, messages))
        return AtomicOutput(self.readout(x)[:, 0])


ARCHITECTURE = Architecture(SchNetConfig, SchNet)
