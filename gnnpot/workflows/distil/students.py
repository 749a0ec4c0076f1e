"""Students of a distillation: their data, and their first and continued training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.data.store import FrameStore, write_store
from gnnpot.errors import DataError
from gnnpot.hub.opening import OpenedPotential, open_potential
from gnnpot.potential import Potential
from gnnpot.training.config import BatchConfig, DataConfig, ScheduleConfig, TrainConfig
from gnnpot.training.prepare import PreparedData
from gnnpot.training.task import FromScratch
from gnnpot.workflows.distil.config import DistilConfig

#: learning rate at the end, as a fraction of the highest
LOWEST_RATE = 1e-3


@dataclass(frozen=True)
class Budget:
    """Length of a training, and its batches."""

    steps: int
    minutes: float | None = None  #: limit that replaces `steps`
    batch: BatchConfig | None = None  #: `None`: as in `LearnConfig.batch`


class Continued(FromScratch):
    """Training that continues from a student: its weights, references, scales and symmetry functions."""

    def __init__(self, config: TrainConfig, start: Path) -> None:
        self._start = open_potential(start).potential
        super().__init__(replace(config, model=self._start.model.config))

    def build(self, prepared: PreparedData) -> Potential:
        return self._start.to(getattr(torch, self.config.precision))


def student_run(
    config: DistilConfig, frames: Path, run: Path, budget: Budget, elements: Sequence[int], seed: int
) -> TrainConfig:
    """Configuration for training a student on the frames in the folder `frames`, in the folder `run`."""
    learn, model = config.learn, config.student
    if not model.elements:
        model = replace(model, elements=tuple(chemical_symbols[z] for z in elements))
    by_time = budget.minutes is not None
    return TrainConfig(
        model=model,
        zbl=learn.zbl,
        data=DataConfig(train=frames / TRAIN, validation=frames / VALIDATION, check_stress=False),
        run=run,
        loss=learn.loss,
        optimizer=learn.optimizer,
        schedule=ScheduleConfig(
            warmup_steps=min(100, max(1, budget.steps // 10)),
            lr_min=LOWEST_RATE * learn.optimizer.lr,
            horizon="time" if by_time else "epochs",
        ),
        batch=budget.batch or learn.batch,
        epochs=None,
        max_steps=None if by_time else budget.steps,
        max_minutes=budget.minutes,
        validate_every=learn.validate_every if by_time else min(learn.validate_every, budget.steps),
        ema=learn.ema,
        precision=learn.precision,
        seed=seed,
    )


#: names of the stores of training and validation frames
TRAIN, VALIDATION = "train.store", "validation.store"


def add_frames(frames: Sequence[Frame], share: float, seed: int, folder: Path, before: Path | None = None) -> None:
    """Write training and validation frames to the stores of `folder`.

    A frame stays in the same subset in all rounds, so that no validation frame was ever trained on.

    Args:
        frames: New frames.
        share: Fraction of the new frames for validation.
        seed: Seed of the random split.
        folder: Folder of the stores; existing stores are not changed.
        before: Folder of the previous round, whose frames are included.

    Raises:
        DataError: There are too few frames to train and validate on.
    """
    if (folder / TRAIN).exists() and (folder / VALIDATION).exists():
        return
    validating = _held_out(frames, share, seed, first=before is None)
    source = "gnnpot distil"
    for name, is_held in ((TRAIN, False), (VALIDATION, True)):
        earlier = FrameStore(before / name) if before is not None else ()
        new = [frame for k, frame in enumerate(frames) if (k in validating) == is_held]
        write_store(chain(earlier, new), folder / name, source=source, overwrite=True)


def _held_out(frames: Sequence[Frame], share: float, seed: int, first: bool) -> set[int]:
    """Indices of validation frames; for the first frames, each element remains in a training frame."""
    wanted = max(1, round(share * len(frames))) if first else round(share * len(frames))
    elements = [np.unique(frame.numbers) for frame in frames]
    left = np.bincount(np.concatenate(elements), minlength=119)
    chosen: set[int] = set()
    for k in np.random.default_rng(seed).permutation(len(frames)):
        if len(chosen) == wanted:
            break
        if not first or left[elements[k]].min() > 1:
            left[elements[k]] -= 1
            chosen.add(int(k))
    if first and not chosen:
        raise DataError(
            f"{len(frames)} labelled frames can't train and validate a student; give more structures, or more "
            "start.distortions"
        )
    return chosen


def student_folder(folder: Path, k: int) -> Path:
    """Folder of the training of student `k` of the round in `folder`."""
    return folder / f"student-{k}"


def students_of(folder: Path, count: int) -> list[OpenedPotential]:
    """Load the trained students of a round."""
    return [open_potential(student_folder(folder, k)) for k in range(count)]


def frames_in(folder: Path) -> int:
    """Number of training and validation frames of a round."""
    return sum(len(FrameStore(folder / name)) for name in (TRAIN, VALIDATION))
