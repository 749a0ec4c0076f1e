"""Replay of earlier frames in a fine-tuning, which preserves the accuracy on earlier systems (Robins 1995).

    earlier = earlier_frames(config, start, write=True)
    earlier.held_out, earlier.references              # for the errors on earlier systems
    earlier.source(references, share=0.25, beside=90) # a quarter of each batch, beside 90 new frames

Earlier frames are labelled frames, or structures that the starting model labels itself (learning without forgetting, Li
& Hoiem 2016). Their zero of energy may differ from that of the new frames, so they have their own element references
E0. A model with the new references E0' is trained on the energies

    E' = E + Σ_i [E0'(Z_i) - E0(Z_i)]                                                                          (1)

so that the difference of the references does not affect the weights.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers

from gnnpot.data.frame import Frame
from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.references import ElementReferences
from gnnpot.data.store import FrameStore, write_store
from gnnpot.errors import DataError
from gnnpot.potential import Potential
from gnnpot.training.config import DataConfig, DatasetConfig
from gnnpot.training.datasets import TrainingDataset
from gnnpot.training.evaluate import predictions
from gnnpot.training.stores import read_labelled
from gnnpot.training.subsets import Subset
from gnnpot.workflows.finetune.config import FineTuneConfig
from gnnpot.workflows.finetune.refit import refit_references

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Earlier:
    """Earlier frames in two subsets, and the element references of their energies."""

    held_out: Subset  #: frames to measure errors on
    rest: Subset  #: frames to replay
    references: ElementReferences
    labelled_by_start: bool  #: whether the starting model labelled them

    def source(self, references: ElementReferences, share: float, beside: int) -> TrainingDataset:
        """Dataset of the frames to replay, with energies by equation (1).

        Args:
            references: References of the potential.
            share: Fraction of each batch.
            beside: Number of new frames.
        """
        count = max(1, round(share / (1 - share) * beside))
        shift = np.nan_to_num(references.energies_by_number() - self.references.energies_by_number())
        paths = (self.rest.store.folder,)
        config = DatasetConfig(train=paths, references="own", weight=count / len(self.rest))
        return TrainingDataset("replay", self.rest, config, self.references, shift)


def earlier_frames(
    config: FineTuneConfig, start: Potential, *, write: bool, known: ElementReferences | None = None
) -> Earlier | None:
    """Earlier frames of a configuration that only have elements of `start`; `None` if there are none.

    Args:
        config: Configuration of the fine-tuning.
        start: The starting model.
        write: Whether to write their store. Otherwise, it must exist, written by another process of the run.
        known: References of the earlier frames, if the run has determined them before.

    Raises:
        DataError: Fewer than two of the requested frames can be used.
    """
    replay = config.replay
    paths, folder = replay.paths(), config.run / "data" / "earlier.store"
    if not paths:
        return None
    by_start = not replay.frames
    if write and not folder.exists():
        reading = DataConfig(train=paths, reader=replay.reader, bad_frames="skip")
        skipped: Counter[str] = Counter()
        usable = _usable(read_labelled(paths, reading, skipped), start)
        if skipped:
            log.warning("earlier frames: left out %s", ", ".join(f"{n} ({why})" for why, n in skipped.items()))
        if len(usable) < 2:
            if replay.share or replay.frames:
                raise DataError(
                    f"{', '.join(map(str, paths))}: fewer than 2 frames have only elements that {config.start} knows; "
                    "name others with replay.frames or replay.structures"
                )
            return None
        chosen = [usable[k] for k in np.unique(np.linspace(0, len(usable) - 1, replay.max_frames).astype(int))]
        source = ", ".join(map(str, paths)) + (f", labelled by {config.start}" if by_start else "")
        write_store(_labelled(start, chosen) if by_start else chosen, folder, source=source)
    if not folder.exists():
        return None
    store = FrameStore(folder)
    order = np.random.default_rng(config.seed).permutation(len(store))
    count = min(max(1, round(replay.held_out * len(store))), len(store) - 1)
    held_out, rest = (Subset(store, np.sort(part)) for part in (order[:count], order[count:]))
    references = known or start.references
    if known is None and not by_start and replay.references == "refit":
        references = refit_references(start, rest, config.refit.ridge)[1]
    return Earlier(held_out, rest, references, by_start)


def _usable(frames: Iterable[Frame], start: Potential) -> list[Frame]:
    known = [atomic_numbers[e] for e in start.elements]
    return [frame for frame in frames if np.isin(frame.numbers, known).all()]


def _labelled(start: Potential, frames: list[Frame]) -> Iterator[Frame]:
    """Label frames with energy, forces and stress of the starting model."""
    kept = {name for name, quantity in QUANTITIES.items() if quantity.derivative or name == "energy"}
    for frame, found in predictions(start, frames):
        yield frame.with_labels({name: value for name, value in found.items() if name in kept})
