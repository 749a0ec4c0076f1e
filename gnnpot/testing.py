"""The model contract as a class of pytest tests, for authors of architectures.

Example::

    class TestMine(ModelContract):
        config = MineConfig(elements=("Cu", "Ni"), features=8)  # a small model: it is evaluated some thousand times

pytest then runs every test of `ModelContract` with this model. The contract:

- The energy does not depend on the frame of reference, the order of the atoms, the choice of the cell, or the other
  structures of the batch.
- Forces and stress are derivatives of the energy.
- Nothing is discontinuous at the cutoff.
- A loss of the forces has the right gradient.
- A checkpoint restores the model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from ase import Atoms
from torch import Tensor
from torch_geometric.data import Batch

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.data.references import ElementReferences
from gnnpot.engines.calculator import Calculator
from gnnpot.extras import needs_extra
from gnnpot.graphs import build_graph
from gnnpot.hub.checkpoint import Card, load_checkpoint, save_checkpoint
from gnnpot.models import build_model, find_architecture
from gnnpot.models.architectures import AnyModelConfig
from gnnpot.potential import Potential, Prediction
from gnnpot.properties.contract import CHECKS, ContractReport, Tolerances, check_contract
from gnnpot.properties.contract.structures import default_structures

with needs_extra("gnnpot.testing"):
    import pytest

__all__ = ["ModelContract"]


class ModelContract:
    """Tests that every architecture must pass; subclass it under a name that begins with `Test`.

    Attributes:
        config: Options of a small model, including its elements (two or more elements test the most).
        tolerances: Tolerances of the tests of physics, in float64.
        structures: Structures that the model is tested on, by name; by default small crystals, a slab and molecules of
            the first two elements.
    """

    config: ClassVar[AnyModelConfig]
    tolerances: ClassVar[Tolerances] = Tolerances()
    structures: ClassVar[Mapping[str, Atoms] | None] = None

    @pytest.fixture(scope="class")
    def potential(self) -> Potential:
        """The model in float64, with weights from a fixed seed and statistics from the test structures."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model(self.config)
        references = ElementReferences.from_mapping({"energies": dict.fromkeys(model.elements, 0.0)})
        potential = Potential(model, references).double().eval()
        model.fit_statistics(potential.graph(atoms) for atoms in self._structures().values())
        return potential

    @pytest.fixture(scope="class")
    def report(self, potential: Potential) -> ContractReport:
        """The results of all tests of physics."""
        return check_contract(
            Calculator(potential, dtype=torch.float64), self._structures(), tolerances=self.tolerances
        )

    @pytest.mark.parametrize("question", CHECKS)
    def test_physics(self, report: ContractReport, question: str) -> None:
        """The measurements of `gnnpot check`, one question at a time."""
        checks = [check for check in report.checks if check.name == question]
        failed = [
            f"{c.structure}: {c.quantity} {c.measured:.1e} {c.unit}, bound {c.bound:.0e} {c.detail}"
            for c in checks
            if c.status == "failed"
        ]
        assert checks and not failed, "\n".join(failed)

    def test_the_energy_depends_on_positions(self, potential: Potential) -> None:
        """A model with a constant energy would pass all other tests."""
        assert max(float(_forces(p).abs().max()) for p in self._predictions(potential)) > 1e-6

    def test_edges_beyond_the_cutoff_change_nothing(self, potential: Potential) -> None:
        """The graph may have a larger cutoff than the model, for example if several terms share the graph."""
        model = potential.model
        for name, atoms in self._structures().items():
            near = potential.graph(atoms)
            far = build_graph(Frame.from_atoms(atoms), model.cutoff + 0.7, model.three_body_cutoff, labels=False)
            one, other = (model(graph).energies for graph in (near, far))
            assert torch.allclose(one, other, atol=1e-10), f"{name}: atoms feel edges beyond the cutoff"

    def test_a_loss_of_forces_has_the_right_gradient(self, potential: Potential) -> None:
        """d/dp (Σ E² + Σ |dE/dr|²) along a random direction of all parameters, compared with a central difference."""
        model, graph = potential.model, self._batch(potential)
        parameters = [p for p in model.parameters() if p.requires_grad]
        generator = torch.Generator().manual_seed(1)
        directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]

        def loss() -> Tensor:
            output, gradient = model.energies_and_gradient(graph, create_graph=True)
            return output.energies.square().sum() + gradient.square().sum()

        slopes = torch.autograd.grad(loss(), parameters, allow_unused=True)
        slope = sum(float((s * d).sum()) for s, d in zip(slopes, directions, strict=True) if s is not None)
        step, values = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                for p, d in zip(parameters, directions, strict=True):
                    p.add_(sign * step * d)
            values.append(float(loss().detach()))
            with torch.no_grad():
                for p, d in zip(parameters, directions, strict=True):
                    p.sub_(sign * step * d)
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-6)

    def test_options_are_read_as_they_are_written(self) -> None:
        """Options that are converted to plain values (for YAML files and cards) and back are the same."""
        kind = find_architecture(self.config.architecture).config
        assert from_mapping(kind, to_mapping(self.config)) == self.config

    def test_a_checkpoint_gives_the_model_back(self, potential: Potential, tmp_path: Path) -> None:
        """A loaded model has the same options, energies and forces; in single precision, nearly the same forces."""
        folder = save_checkpoint(tmp_path / "model", potential, Card(licence="for tests"))
        loaded, _ = load_checkpoint(folder)
        assert loaded.model.config == self.config and loaded.elements == potential.elements
        for before, after in zip(self._predictions(potential), self._predictions(loaded), strict=True):
            assert torch.equal(before.energy, after.energy) and torch.equal(_forces(before), _forces(after))
        for before, after in zip(self._predictions(potential), self._predictions(loaded.float()), strict=True):
            assert torch.allclose(_forces(before).float(), _forces(after).float(), atol=1e-3, rtol=1e-3)

    def _structures(self) -> Mapping[str, Atoms]:
        return default_structures(self.config.elements) if self.structures is None else self.structures

    def _predictions(self, potential: Potential) -> list[Prediction]:
        return [potential(potential.graph(atoms)) for atoms in self._structures().values()]

    def _batch(self, potential: Potential) -> Batch:
        return Batch.from_data_list([potential.graph(atoms) for atoms in self._structures().values()])


def _forces(prediction: Prediction) -> Tensor:
    assert prediction.forces is not None, "a prediction has no forces"
    return prediction.forces
