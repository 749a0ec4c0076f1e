"""What a training starts from, which weights move, and what is reported at the end.

    task = FromScratch(config)
    potential = fit(task)                       # gnnpot.training.run

`run.py` knows how to train, stop, resume, and keep the best or last weights; a task fills the rest in.
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
    """What is said of a trained potential."""

    card: Card
    evaluations: dict[str, Evaluation]
    #: stand in the report before everything else
    sections: list[Section] = field(default_factory=list)


class TrainingTask:
    """What is trained, on what; `config` says how the steps are made. Subclasses fill in `prepare` and `build`."""

    config: RunConfig

    def inputs(self) -> list[Path]:
        """Files and folders that the run reads; a changed one makes it another run."""
        data = self.config.data
        return [*data.trained_on(), *data.paths("validation"), *data.paths("test")]

    def prepare(self, *, write: bool) -> PreparedData:
        """The data of the run. `write=False` expects what an earlier call has written (other processes of a run)."""
        raise NotImplementedError

    def build(self, prepared: PreparedData) -> Potential:
        """What is trained: the parameters that require a gradient."""
        raise NotImplementedError

    def rates(self, potential: Potential) -> Mapping[str, float]:
        """Factors of the learning rate by name of a parameter; 1 where there is none."""
        return {}

    def finished(self, potential: Potential) -> Potential:
        """The potential without what only training needs."""
        return potential

    def outcome(self, prepared: PreparedData, potential: Potential, best_step: int) -> TrainingOutcome:
        """Errors on the subsets that were not trained on, and the card."""
        stress = self.config.loss.stress > 0
        subsets = {name: subset for name, subset in prepared.subsets.items() if name != "train"}
        evaluations = {name: evaluate(potential, subset.frames, stress=stress) for name, subset in subsets.items()}
        return TrainingOutcome(run_card(self.config, prepared, evaluations, best_step), evaluations)


class FromScratch(TrainingTask):
    """Fresh weights, scaled to the training frames, and element references fitted to them."""

    def __init__(self, config: TrainConfig) -> None:
        self.config: TrainConfig = config

    def prepare(self, *, write: bool) -> PreparedData:
        return prepare(self.config, write=write)

    def build(self, prepared: PreparedData) -> Potential:
        return build_potential(self.config, prepared)


class FromWeights(FromScratch):
    """The weights, references and energy scale of another potential with the same model.

    Raises `ConfigError` if its model is another one, `CheckpointError` if it is no potential.
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
    """The configuration with what it takes from the potential that it starts from."""
    found = to_mapping(start.model.config)
    wanted = to_mapping(replace(config.model, elements=config.model.elements or start.model.elements))
    if is_open(config.model):
        # they were chosen when the starting potential was trained
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
    """The card of a run's potential; `more` are fields that the configuration does not know."""
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
