"""Fine-tuning runs, which can be stopped and resumed.

    potential = finetune(read_finetune_config("7net-0", ["frames.extxyz.gz"], run="runs/mine"))

The run folder has the contents of any training run (`gnnpot.training.run`), and `refit.json`.
"""

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols

from gnnpot.data.references import ElementReferences
from gnnpot.errors import ConfigError, DataError, UnknownElementError, counted
from gnnpot.hub.card import starting_potential
from gnnpot.hub.checkpoint import Card, weights_sha256
from gnnpot.hub.opening import OpenedPotential, open_potential
from gnnpot.potential import Potential
from gnnpot.runs.progress import Progress, no_progress
from gnnpot.training.datasets import TrainingDataset
from gnnpot.training.evaluate import evaluate
from gnnpot.training.prepare import PreparedData, open_subsets, record
from gnnpot.training.report import Section
from gnnpot.training.run import REFIT, fit
from gnnpot.training.subsets import Subset
from gnnpot.training.task import TrainingOutcome, TrainingTask
from gnnpot.workflows.finetune.config import FineTuneConfig
from gnnpot.workflows.finetune.refit import FirstStep, Refit, refit_references
from gnnpot.workflows.finetune.replay import Earlier, earlier_frames
from gnnpot.workflows.finetune.retention import probe, probe_elements, retention_section

log = logging.getLogger(__name__)

#: callback with a sentence before each step, and with the refit after it
OnEvent = Callable[[str | Refit], None]


def finetune(
    config: FineTuneConfig, resume: bool = True, *, progress: Progress = no_progress, on_event: OnEvent | None = None
) -> Potential:
    """Refit the references, train the weights, and compare with the starting potential; write model and report.

    As in `train`, a run that was stopped resumes, and a run with higher limits is extended.

    Args:
        config: The configuration; see `read_finetune_config`.
        resume: Whether to continue the run in the folder (if it has ended, its potential is returned), or to start it
            again.
        progress: Receives the progress of the training.
        on_event: Called with a sentence before each of the three steps, and with the refit before the training.

    Returns:
        The fine-tuned potential, with the averaged weights of the best or last validation.

    Raises:
        CheckpointError, DownloadError: As `gnnpot.load`, for `config.start`.
        UnknownElementError: A frame has an element that the starting potential does not have.
        ConfigError: The folder contains a run with other options or inputs, or with more steps than requested; or the
            starting potential does not have one of the `probe_elements`.
        DataError: The data can't be used, or another process trains in the folder.
        TrainingError: The loss is not finite.
        TrainingStopped: The run was stopped by Ctrl-C or SIGTERM; its state is saved.
    """
    # before the folder is created, so that a misspelt name leaves no files behind
    start = open_potential(config.start)
    return fit(FineTune(config, start, on_event), resume, progress=progress)


class FineTune(TrainingTask):
    """Fine-tuning of a potential; for the three steps, see the docstring of the package."""

    def __init__(self, config: FineTuneConfig, start: OpenedPotential, on_event: OnEvent | None = None) -> None:
        self.config: FineTuneConfig = config
        self._start, self._start_card = start.potential.to(getattr(torch, config.precision)), start.card
        self._on_event = on_event or (lambda _: None)
        self._rates: Mapping[str, float] = {}
        # checked here, as they are only used after the training
        if unknown := [e for e in config.probe_elements if e not in self._start.elements]:
            raise ConfigError(
                f"probe_elements: {config.start} does not know {', '.join(unknown)}; name elements that it knows"
            )

    def inputs(self) -> list[Path]:
        return [*super().inputs(), *self.config.replay.paths(), Path(self.config.start)]

    def prepare(self, *, write: bool) -> PreparedData:
        config = self.config
        self._on_event(f"1 of 3: asking {config.start} for the energies of the frames")
        _, subsets = open_subsets(config, write=write)
        for name, subset in subsets.items():
            _check_elements(subset, name, self._start, config.start)
        step, self._earlier = self._first_step(subsets["train"], write)
        references = ElementReferences.from_mapping(step.references)
        if step.refit is not None:
            self._on_event(step.refit)
        self._step, train, scale = step, subsets["train"], float(self._start.energy_scale)
        datasets = [TrainingDataset("train", train)]
        if config.replay.share and self._earlier is not None:
            datasets.append(self._earlier.source(references, config.replay.share, len(train)))
        elements = tuple(chemical_symbols[z] for z in train.elements)
        prepared = PreparedData(
            train, subsets["validation"], subsets.get("test"), elements, references, scale, tuple(datasets)
        )
        if write:
            record(prepared.summary(), config.run)
        return prepared

    def _first_step(self, train: Subset, write: bool) -> tuple[FirstStep, Earlier | None]:
        """Refit the references and select the earlier frames, or read both if the run has done so before."""
        config, path = self.config, self.config.run / REFIT
        digest = weights_sha256(self._start)
        found = FirstStep.read(path)
        if found is not None and found.start_sha256 != digest:
            raise DataError(f"{path}: {config.start} is not what it was when the run began; begin it afresh")
        known = None
        if found is not None and found.replay_references is not None:
            known = ElementReferences.from_mapping(found.replay_references)
        earlier = earlier_frames(config, self._start, write=write, known=known)
        if found is not None:
            return found, earlier
        refit, references = None, self._start.references
        if config.refit.enabled:
            refit, references = refit_references(self._start, train, config.refit.ridge)
        replayed = None if earlier is None else earlier.references.to_mapping()
        step = FirstStep(config.start, digest, references.to_mapping(), refit, replayed)
        if write:
            step.write(path)
        return step, earlier

    def build(self, prepared: PreparedData) -> Potential:
        potential = copy.deepcopy(self._start).with_references(prepared.references)
        self._rates = self.config.strategy.begin(potential)
        trained, total = (sum(p.numel() for p in potential.parameters() if p.requires_grad in which)
                          for which in ((True,), (True, False)))  # fmt: skip
        self._on_event(f"2 of 3: training {trained:,} of {total:,} weights on {counted(len(prepared.train), 'frame')}")
        return potential

    def rates(self, potential: Potential) -> Mapping[str, float]:
        return self._rates

    def finished(self, potential: Potential) -> Potential:
        self.config.strategy.end(potential)
        return potential

    def outcome(self, prepared: PreparedData, potential: Potential, best_step: int) -> TrainingOutcome:
        self._on_event("3 of 3: measuring what was won and what was lost")
        plain = super().outcome(prepared, potential, best_step)
        config, start = self.config, self._start
        held_out = prepared.test or prepared.validation
        stress = config.loss.stress > 0
        refitted = start.with_references(prepared.references)
        new = {
            name: evaluate(model, held_out.frames, stress=stress).metrics()
            for name, model in (("start", start), ("refitted", refitted))
        }
        new["finetuned"] = plain.evaluations["test" if prepared.test else "validation"].metrics()
        measured: dict[str, Any] = {"new": new}
        if self._earlier is not None:
            measured["earlier"] = self._forgotten(potential, self._earlier, stress)
        elements = config.probe_elements or probe_elements(potential.elements, prepared.elements)
        probes = probe(start, potential, elements)
        measured |= probes.metrics()
        sections = [retention_section(measured, probes)]
        if self._step.refit is not None:
            refit = self._step.refit
            sections.append(Section("Element references", tuple(refit.rows()), note=refit.sentence()))
        return TrainingOutcome(self._card(plain.card, measured), plain.evaluations, sections)

    def _forgotten(self, potential: Potential, earlier: Earlier, stress: bool) -> dict[str, Any]:
        """Errors of both models on the held-out earlier frames, with the references of these frames."""
        frames = earlier.held_out.frames
        found: dict[str, Any] = {
            name: evaluate(model.with_references(earlier.references), frames, stress=stress).metrics()
            for name, model in (("start", self._start), ("finetuned", potential))
        }
        labels = "the starting model's own" if earlier.labelled_by_start else "those of the data they come from"
        used = "were not replayed" if self.config.replay.share else "had no part in the training"
        return {**found, "meaning": f"Earlier frames: {len(earlier.held_out)} that {used}; labels are {labels}."}

    def _card(self, card: Card, measured: dict[str, Any]) -> Card:
        start = self._start_card
        return replace(
            card,
            description=card.description or f"{self.config.start}, fine-tuned ({self.config.strategy.kind})",
            licence=card.licence or start.licence,
            references=list(start.references),
            metrics={**card.metrics, "finetune": measured},
            training={
                **card.training,
                "start_sha256": self._step.start_sha256,
                "starting_potential": starting_potential(self.config.start, start),
            },
        )


def _check_elements(subset: Subset, name: str, start: Potential, start_name: str) -> None:
    if unseen := sorted({chemical_symbols[z] for z in subset.elements} - set(start.elements)):
        raise UnknownElementError(
            f"{subset.store.folder}: the {name} frames have {', '.join(unseen)}, which {start_name} does not know; "
            "start from a potential that does, or leave those frames out"
        )
