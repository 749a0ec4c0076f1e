"""Prepare the data of a run.

The steps are: open the stores (`stores.py`), split them into subsets (`subsets.py`), and derive from the frames the
element references, the energy scale, and the options that the model's configuration leaves open.
"""

import json
import logging
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.data.references import ElementReferences
from gnnpot.data.store import FrameStore
from gnnpot.errors import ConfigError, DataError
from gnnpot.graphs import build_graph
from gnnpot.models import ModelConfig, ZBLConfig, build_model
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text
from gnnpot.runs.identity import require_same
from gnnpot.training.config import DataConfig, RunConfig, TrainConfig
from gnnpot.training.datasets import Concatenation, TrainingDataset, align_references
from gnnpot.training.resolve_model import resolve_model
from gnnpot.training.stores import open_stores
from gnnpot.training.subsets import Subset, check_elements_known, split_stores

log = logging.getLogger(__name__)

#: file in the run folder: the model with the symmetry functions that were chosen from the data
FUNCTIONS = "functions.json"
#: eV/Å; frames with larger root mean square forces may be outliers and are then not used for the energy scale
MAX_FORCE = 100.0
#: eV/Å; smaller root mean square forces are rounding errors of forces that are zero by symmetry, and not used
MIN_FORCE = 1e-4
#: file in the run folder: indices in the store of the frames that were chosen
CHOSEN = "chosen.json"
#: file in the run folder: the values derived from the data
RECORD = "data.json"


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Subsets of a run and the values derived from its training frames."""

    train: Subset
    validation: Subset
    test: Subset | None
    elements: tuple[str, ...]  #: elements of the training frames
    references: ElementReferences
    energy_scale: float  #: energy unit of the model, eV
    datasets: tuple[TrainingDataset, ...]  #: all training datasets; the first is the main one, of the frames in `train`
    model: ModelConfig | None = None  #: fully specified configuration of a new model

    @property
    def concatenation(self) -> Concatenation:
        """Training frames of all datasets."""
        return Concatenation(self.datasets)

    @property
    def subsets(self) -> dict[str, Subset]:
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: subset for name, subset in named.items() if subset is not None}

    def summary(self) -> dict:
        """Return plain values for `data.json`."""
        subsets = self.subsets | {dataset.name: dataset.subset for dataset in self.datasets[1:]}
        return {
            "frames": {name: len(subset) for name, subset in subsets.items()},
            "indices_crc32": {name: zlib.crc32(subset.indices.tobytes()) for name, subset in subsets.items()},
            "store_sha256": {name: subset.store.sha256 for name, subset in subsets.items()},
            "elements": list(self.elements),
            "energy_scale": self.energy_scale,
            "references": self.references.to_mapping(),
            "sources": {dataset.name: dataset.summary() for dataset in self.datasets},
        }


def prepare(config: TrainConfig, *, write: bool = True) -> PreparedData:
    """Prepare the data of a training with new weights.

    Args:
        config: Configuration of the run.
        write: Whether to write stores and records. Otherwise, they must exist, written by another process of the run.

    Raises:
        DataError: The data do not match the configuration.
    """
    stores, subsets = open_subsets(config, write=write)
    others = [_additional_dataset(config.data, name, stores[name], subsets) for name in config.data.sources]
    datasets = align_references(TrainingDataset("train", subsets["train"]), others, config.references)
    present = np.unique(np.concatenate([dataset.subset.elements for dataset in datasets]))
    elements = tuple(chemical_symbols[z] for z in present)
    for name, subset in subsets.items():
        check_elements_known(subset, elements, name)
    evenly_spaced = Concatenation(datasets).evenly_spaced
    scale = config.energy_scale or force_scale(evenly_spaced(config.statistics_frames))
    fixed = bool(config.start) or (config.run / RECORD).exists()
    model = resolve_model(config.model, elements, evenly_spaced, config.run / FUNCTIONS, write=write, fixed=fixed)
    references = datasets[0].references
    assert references is not None, "aligned datasets have references"
    prepared = PreparedData(
        subsets["train"], subsets["validation"], subsets.get("test"), elements, references, scale, datasets, model
    )
    if write:
        record(prepared.summary(), config.run)
    for dataset in others:
        log.info("data: %d frames of %s", len(dataset.subset), dataset.name)
    return prepared


def open_subsets(config: RunConfig, *, write: bool = True) -> tuple[dict[str, FrameStore], dict[str, Subset]]:
    """Stores and subsets of a run, by name; `write` as for `prepare`.

    Raises `DataError` as `open_stores` and `split_stores` do, and if the validation frames can't select the best
    weights.
    """
    stress = config.loss.stress > 0 and config.data.check_stress
    stores = open_stores(config.data, config.run / "data", write=write, stress=stress)
    subsets = split_stores(stores, config.data, config.run / CHOSEN, write=write)
    if config.keep == "best":
        _check_validation(subsets["validation"], config)
    return stores, subsets


def _check_validation(subset: Subset, config: RunConfig) -> None:
    """Raise `DataError` if no frame has a label with a weight in the loss."""
    weighed = {name for name, weight in config.loss.weights.items() if weight > 0}
    if not any(weighed.intersection(frame.labels) for frame in subset.frames):
        raise DataError(
            f"{subset.store.folder}: no validation frame has {' or '.join(sorted(weighed))}, so none can choose the "
            "best weights; check the names of the labels, give other frames, or set keep=last"
        )


def _additional_dataset(data: DataConfig, name: str, store: FrameStore, subsets: dict[str, Subset]) -> TrainingDataset:
    """Additional dataset without the frames held out for validation and test. Raises `DataError` if it is empty."""
    held_out = [subset for key, subset in subsets.items() if key != "train"]
    subset = Subset(store, np.arange(len(store))).without(held_out, data.split.by)
    if left := len(store) - len(subset):
        log.info("%s: %d frames are left out; validation or test hold them or others of their material", name, left)
    if not len(subset):
        raise DataError(
            f"data.sources.{name}: all its frames are of materials that validate or test; split otherwise, or remove it"
        )
    return TrainingDataset(name, subset, data.sources[name])


def force_scale(frames: Iterable[Frame]) -> float:
    """Energy scale (eV): the root mean square of the force components times 1 Å; 1 eV if it is below `MIN_FORCE`.

    Frames whose root mean square force is above `MAX_FORCE` and above a thousand times the median of the frames are
    left out, and their number is logged.
    """
    labelled = [frame.forces for frame in frames if frame.forces is not None]
    squares = np.array([float(np.sum(forces**2)) for forces in labelled])
    sizes = np.array([forces.size for forces in labelled])
    if not len(sizes) or squares.sum() == 0:
        return 1.0
    own = np.sqrt(squares / sizes)
    far = (own > MAX_FORCE) & (own > 1000 * np.median(own))
    if far.any():
        largest = own.max()
        log.warning("%d of %d frames have forces of up to %.3g eV/Å, which set no scale", far.sum(), len(far), largest)
    scale = float(np.sqrt(squares[~far].sum() / sizes[~far].sum()))
    return scale if scale >= MIN_FORCE else 1.0


def record(summary: dict, run: Path) -> None:
    """Write the values derived from the data, or, in a resumed run, compare them with those written before.

    Raises:
        ConfigError: Frames or elements have changed.
    """
    path = run / RECORD
    summary = json.loads(json.dumps(summary))
    if path.exists():
        compared = ("frames", "indices_crc32", "store_sha256", "elements")
        before = json.loads(path.read_text("utf-8"))
        begun, now = ({key: content.get(key) for key in compared} for content in (before, summary))
        require_same(begun, now, where=run, kind="a training")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def build_potential(config: TrainConfig, prepared: PreparedData) -> Potential:
    """Build a potential with initial weights drawn with `config.seed`, scaled to the training frames."""
    model_config = prepared.model
    if model_config is None:
        raise ConfigError("model: fresh weights need a model; name its architecture")
    missing = sorted(set(prepared.elements) - set(model_config.elements))
    if missing:
        raise ConfigError(f"model.elements: {', '.join(missing)} is missing, which the training frames have")
    frames = prepared.concatenation.evenly_spaced(config.statistics_frames)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            model = build_model(model_config)
        except ValueError as error:
            raise ConfigError(f"model: {error}") from None
    model.fit_statistics(build_graph(frame, model.cutoff, model.three_body_cutoff, labels=False) for frame in frames)
    terms = [build_model(ZBLConfig(elements=model_config.elements))] if config.zbl else []
    potential = Potential(model, prepared.references, energy_scale=prepared.energy_scale, terms=terms)
    return potential.to(getattr(torch, config.precision))
