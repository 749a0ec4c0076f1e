"""`gnnpot.testing` finds what is wrong with a model; that a right one passes is shown by `tests/plugin`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
from ase import Atoms
from torch import nn

from gnnpot.data.references import ElementReferences
from gnnpot.models import AtomicOutput, EnergyModel
from gnnpot.potential import Potential
from gnnpot.testing import ModelContract


@dataclass(frozen=True)
class Config:
    architecture: Literal["pairs"] = "pairs"
    elements: tuple[str, ...] = ("Cu",)
    defect: str = ""


class Pairs(EnergyModel):
    """A sum over pairs, with a defect."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.elements, 3.0)
        self.config = config
        self.strength = nn.Parameter(torch.tensor([0.7]))

    def forward(self, graph):
        r = graph.edge_vectors.norm(dim=1)
        envelope = (1 - r / self.cutoff).clamp(min=0) ** 2
        strength = self.strength.square()
        if self.config.defect == "no cutoff":
            envelope = torch.exp(-r)
        if self.config.defect == "detached":
            strength = self.strength * self.strength.detach()
        if self.config.defect == "constant":
            envelope = torch.zeros_like(r)
        pairs = strength * envelope
        return AtomicOutput(pairs.new_zeros(len(graph.numbers)).index_add(0, graph.edge_index[0], pairs))


class Contract(ModelContract):
    config = Config()
    structures: ClassVar = {"trimer": Atoms("Cu3", [[0, 0, 0], [2.2, 0, 0], [0.3, 2.5, 0.4]])}


TESTS = {
    "constant": Contract.test_the_energy_depends_on_positions,
    "no cutoff": Contract.test_edges_beyond_the_cutoff_change_nothing,
    "detached": Contract.test_a_loss_of_forces_has_the_right_gradient,
}


def potential_with(defect: str) -> Potential:
    references = ElementReferences.from_mapping({"energies": {"Cu": 0.0}})
    return Potential(Pairs(Config(defect=defect)), references).double().eval()


@pytest.mark.parametrize("defect", TESTS)
def test_a_defect_is_found(defect):
    with pytest.raises(AssertionError):
        TESTS[defect](Contract(), potential_with(defect))


@pytest.mark.parametrize("defect", TESTS)
def test_a_right_model_passes(defect):
    TESTS[defect](Contract(), potential_with(""))
