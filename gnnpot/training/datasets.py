"""Training datasets: the main one, whose element references the trained potential has, and additional ones.

    hot = TrainingDataset("hot", other, DatasetConfig(train=path, references="own", weight=0.5))
    datasets = align_references(TrainingDataset("train", subset), [hot], None)
    frames = Concatenation(datasets)
    frames[17], frames.n_atoms, frames.sampling_weights

The energy of a frame f with n_Z atoms of element Z, in a dataset s with its own references E_s(Z), becomes

    E'_f = E_f + Σ_Z n_Z [E_0(Z) - E_s(Z)]

where E_0 are the references of the main dataset: the cohesive energy is unchanged, and the zero of energy is that of
the main dataset.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.data.quantities import fields_of
from gnnpot.data.references import BLOCK, ElementReferences
from gnnpot.errors import ConfigError, DataError
from gnnpot.training.config import DatasetConfig
from gnnpot.training.sampler import SamplingWeight
from gnnpot.training.subsets import Subset, spread_indices

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainingDataset:
    """Training frames and their options. The main dataset has no `config`."""

    name: str
    subset: Subset
    config: DatasetConfig | None = None
    references: ElementReferences | None = None  #: references of the main dataset, or of one whose energies are shifted
    #: [119] shift of the energy per atom, by atomic number, eV
    shift: np.ndarray = field(default_factory=lambda: np.zeros(119))

    @property
    def weight(self) -> float:
        return 1.0 if self.config is None else self.config.weight

    def frame(self, i: int) -> Frame:
        """Return frame `i` with the labels to use and its energy shifted."""
        frame = self.subset.store[int(self.subset.indices[i])]
        if self.config is None:
            return frame
        labels = {name: value for name, value in frame.labels.items() if name in self.config.labels}
        if "energy" in labels:
            labels["energy"] += float(self.shift[frame.numbers].sum())
        fields = {name: getattr(frame, name) for name in Frame.__slots__}
        return Frame.trusted(**(fields | fields_of(labels)))

    def summary(self) -> dict:
        """Return plain values for the records of a run."""
        if self.config is None:
            return {"frames": len(self.subset), "weight": self.weight}
        return {
            "frames": len(self.subset),
            "weight": self.weight,
            "labels": list(self.config.labels),
            "store_sha256": self.subset.store.sha256,
            "references": "shared" if self.references is None else self.references.to_mapping(),
        }


class Concatenation(Sequence[Frame]):
    """Frames of several datasets, one dataset after the other; the sampler chooses the order for training."""

    def __init__(self, datasets: Sequence[TrainingDataset]) -> None:
        self.datasets = tuple(datasets)
        self._starts = np.cumsum([0] + [len(dataset.subset) for dataset in datasets])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, i: int) -> Frame:  # type: ignore[override]
        dataset = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self.datasets[dataset].frame(int(i - self._starts[dataset]))

    @cached_property
    def n_atoms(self) -> np.ndarray:
        """[F] number of atoms of each frame."""
        return np.concatenate([s.subset.store.index().n_atoms[s.subset.indices] for s in self.datasets])

    @property
    def sampling_weights(self) -> tuple[SamplingWeight, ...]:
        """Blocks and weight of each dataset, for the sampler."""
        return tuple(SamplingWeight(s.subset.store.row_groups(s.subset.indices), s.weight) for s in self.datasets)

    @property
    def sha256(self) -> str:
        """Hash that identifies the frames: equal for the same frames of the same stores."""
        digest = hashlib.sha256()
        for dataset in self.datasets:
            digest.update(dataset.subset.store.sha256.encode() + dataset.subset.indices.tobytes())
        return digest.hexdigest()

    def evenly_spaced(self, count: int) -> Iterator[Frame]:
        """Iterate over at most `count` frames, evenly spaced over all datasets."""
        return (self[k] for k in spread_indices(len(self), count))


def align_references(
    main: TrainingDataset, others: Sequence[TrainingDataset], given: dict[str, float] | None
) -> tuple[TrainingDataset, ...]:
    """Return all datasets with their references and energy shifts; the first is the main one.

    Its references, which are those of the potential, are `given` (eV per atom by symbol), or fitted to the main dataset
    and those that share its energy scale. For an element that occurs only in datasets with their own energy scale, the
    reference of the first of these datasets is used.

    Raises `ConfigError` if given references lack an element, `DataError` if no frame with some element has an energy.
    """
    sharing = [s for s in others if _is_on_common_scale(s)]
    common = _fit([main, *sharing]) if given is None else _given(given, [main, *sharing], "references")
    own = {s.name: _own_references(s) for s in others if s not in sharing}
    energies = common.energies_by_number()
    for references in own.values():
        energies = np.where(np.isnan(energies), references.energies_by_number(), energies)
    if own:
        known = np.flatnonzero(np.isfinite(energies))
        table = {chemical_symbols[z]: float(energies[z]) for z in known}
        common = ElementReferences.from_mapping({**common.to_mapping(), "energies": table})
    placed = [TrainingDataset(main.name, main.subset, None, common)]
    for dataset in others:
        mine = own.get(dataset.name)
        shift = np.zeros(119) if mine is None else energies - mine.energies_by_number()
        placed.append(TrainingDataset(dataset.name, dataset.subset, dataset.config, mine, np.nan_to_num(shift)))
    return tuple(placed)


def _is_on_common_scale(dataset: TrainingDataset) -> bool:
    """Whether a dataset has the energy scale of the main one, or no energies to which references could be fitted."""
    config = dataset.config
    return (
        config is None
        or config.references == "shared"
        or (config.references == "own" and "energy" not in config.labels)
    )


def _own_references(dataset: TrainingDataset) -> ElementReferences:
    references = None if dataset.config is None else dataset.config.references
    if isinstance(references, dict):
        return _given(references, [dataset], f"data.sources.{dataset.name}.references")
    return _fit([dataset])


def _given(energies: dict[str, float], datasets: Sequence[TrainingDataset], where: str) -> ElementReferences:
    references = ElementReferences.from_mapping({"energies": energies}, where=where)
    missing = _symbols(datasets) - {chemical_symbols[z] for z in references.elements}
    if missing:
        raise ConfigError(
            f"{where}: there is no energy for {', '.join(sorted(missing))}, which the training frames have"
        )
    return references


def _fit(datasets: Sequence[TrainingDataset]) -> ElementReferences:
    """Fit references to all frames of `datasets` together."""
    elements = np.unique(np.concatenate([s.subset.elements for s in datasets]))
    using = [s for s in datasets if s.config is None or "energy" in s.config.labels]
    folders = ", ".join(str(s.subset.store.folder) for s in datasets)
    if not any(np.isfinite(s.subset.store.index().energy[s.subset.indices]).any() for s in using):
        raise DataError(f"{folders}: no training frame has an energy; check the name of the label")
    references = ElementReferences.fit_blocks(
        (block for s in using for block in _compositions(s.subset, elements)), elements, source="training frames"
    )
    unlabelled = _symbols(datasets) - {chemical_symbols[z] for z in references.elements}
    if unlabelled:
        raise DataError(
            f"{folders}: no frame with {', '.join(sorted(unlabelled))} has an energy; leave those frames out"
        )
    return references


def _compositions(subset: Subset, elements: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, block by block, the labelled frames' numbers of atoms by element, energies, and which are free atoms."""
    index = subset.store.index()
    for start in range(0, len(index), BLOCK):
        low, high = np.searchsorted(subset.indices, (start, start + BLOCK))
        chosen = subset.indices[low:high]
        chosen = chosen[np.isfinite(index.energy[chosen])]
        if len(chosen):
            first, last = int(chosen[0]), int(chosen[-1]) + 1
            present = np.unique(index.elements[index.offsets[first] : index.offsets[last]])
            # frames of other subsets in between may have further elements
            every = np.union1d(elements, present)
            counts = index.composition(every.tolist(), slice(first, last))[0][chosen - first]
            yield counts[:, np.isin(every, elements)], index.energy[chosen], index.free_atom[chosen]


def _symbols(datasets: Sequence[TrainingDataset]) -> set[str]:
    return {chemical_symbols[z] for s in datasets for z in s.subset.elements}
