"""Training tasks: the initial potential, the weights to train, and the outcome to report.

    task = FromScratch(config)
    potential = fit(task)                       # gnnpot.training.run

`run.py` trains, stops, resumes, and keeps the best or last weights; a task provides what depends on the kind of
training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gnnpot.config import to_mapping
from gnnpot.errors import ConfigError
from gnnpot.hub.card import starting_potential
from gnnpot.hub.checkpoint import Card
from gnnpot.hub.opening import open_potential
from gnnpot.potential import Potential
from gnnpot.training.config import RunConfig, TrainConfig
from gnnpot.training.evaluate import Evaluation, evaluate
from gnnpot.training.prepare import PreparedData, build_potential, prepare
from gnnpot.training.report import Section
from gnnpot.training.resolve_model import is_open


@dataclass(frozen=True, eq=False)
class TrainingOutcome:
    """Card of a trained potential, and contents of its report."""

    card: Card
    #: evaluations by name of the subset
    evaluations: dict[str, Evaluation]
    #: first sections of the report
    sections: list[Section] = field(default_factory=list)


class TrainingTask:
    """Base class of training tasks. Subclasses implement `prepare` and `build`."""

    config: RunConfig

    def inputs(self) -> list[Path]:
        """Files and folders that the run reads; a run can't be resumed if they have changed."""
        data = self.config.data
        return [*data.trained_on(), *data.paths("validation"), *data.paths("test")]

    def prepare(self, *, write: bool) -> PreparedData:
        """Prepare the data of the run. With `write=False`, another process of the run must have written them."""
        raise NotImplementedError

    def build(self, prepared: PreparedData) -> Potential:
        """Build the potential; its parameters that require a gradient are trained."""
        raise NotImplementedError

    def rates(self, potential: Potential) -> Mapping[str, float]:
        """Factors of the learning rate by name of a parameter; 1 for those that are not listed."""
        return {}

    def finished(self, potential: Potential) -> Potential:
        """Return the potential without what only training needs."""
        return potential

    def outcome(self, prepared: PreparedData, potential: Potential, best_step: int) -> TrainingOutcome:
        """Evaluate the potential on all subsets but the training frames, and make its card."""
        stress = self.config.loss.stress > 0
        subsets = {name: subset for name, subset in prepared.subsets.items() if name != "train"}
        evaluations = {name: evaluate(potential, subset.frames, stress=stress) for name, subset in subsets.items()}
        return TrainingOutcome(run_card(self.config, prepared, evaluations, best_step), evaluations)


class FromScratch(TrainingTask):
    """Training of new weights, with scalings and element references fitted to the training frames."""

    def __init__(self, config: TrainConfig) -> None:
        self.config: TrainConfig = config

    def prepare(self, *, write: bool) -> PreparedData:
        return prepare(self.config, write=write)

    def build(self, prepared: PreparedData) -> Potential:
        return build_potential(self.config, prepared)


class FromWeights(FromScratch):
    """Training that starts from the weights, references and energy scale of a potential with the same model.

    Raises `ConfigError` if the potential has another model, `CheckpointError` if `config.start` is not a potential.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._start_name = config.start
        self.start, self._start_card, _ = open_potential(config.start)
        super().__init__(_continuing(config, self.start))

    def inputs(self) -> list[Path]:
        return [*super().inputs(), Path(self._start_name)]

    def build(self, prepared: PreparedData) -> Potential:
        potential = build_potential(self.config, prepared)
        potential.load_state_dict(self.start.state_dict())
        return potential

    def outcome(self, prepared: PreparedData, potential: Potential, best_step: int) -> TrainingOutcome:
        found = super().outcome(prepared, potential, best_step)
        start = starting_potential(self._start_name, self._start_card)
        return replace(found, card=replace(found.card, training={**found.card.training, "starting_potential": start}))


def _continuing(config: TrainConfig, start: Potential) -> TrainConfig:
    """Complete the configuration with model, references and energy scale of the potential that it starts from."""
    found = to_mapping(start.model.config)
    wanted = to_mapping(replace(config.model, elements=config.model.elements or start.model.elements))
    if is_open(config.model):
        # the symmetry functions were determined when the starting potential was trained
        wanted["symmetry_functions"] = found.get("symmetry_functions")
    differ = [name for name in found if found[name] != wanted.get(name)]
    if bool(start.terms) != config.zbl:
        differ.append("zbl")
    if differ:
        raise ConfigError(f"start: {config.start} differs from the model that is asked for in {', '.join(differ)}")
    if config.references or config.energy_scale:
        raise ConfigError("start: references and energy_scale are those of the starting potential; leave them out")
    energies, scale = start.references.to_mapping()["energies"], float(start.energy_scale)
    return replace(config, model=start.model.config, references=energies, energy_scale=scale)


def run_card(
    config: RunConfig, prepared: PreparedData, evaluations: Mapping[str, Evaluation], best_step: int, **more: Any
) -> Card:
    """Make the card of a run's potential; `more` are fields that are not in the configuration."""
    card = Card(
        name=config.name or Path(config.run).name,
        description=config.description,
        licence=config.licence,
        training_data=", ".join(str(path) for path in config.data.trained_on()),
        functional=config.functional or prepared.train.functional,
        data_manifest_sha256=prepared.train.store.sha256,
        metrics={name: evaluation.metrics() for name, evaluation in evaluations.items()},
        training={**to_mapping(config), "best_step": best_step, "sources": prepared.summary()["sources"]},
    )
    return replace(card, **more)
