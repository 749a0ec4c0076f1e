"""Frames to batches of graphs: from files or stores, streamed or kept in memory."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch

from gnnpot.data import (
    Frame,
    FrameStore,
    StressSample,
    bundled_path,
    check_stress,
    read_frames,
    split_by_frame,
    split_by_material,
    write_store,
)
from gnnpot.errors import ConfigError, DataError
from gnnpot.graphs import Graph, build_graph
from gnnpot.models.base import check_elements
from gnnpot.potential import Potential
from gnnpot.training.config import DataConfig, TrainConfig
from gnnpot.training.sampler import BudgetSampler

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Parts:
    """The frames of a run by purpose; empty where there are none."""

    train: Sequence[Frame]
    validation: Sequence[Frame]
    test: Sequence[Frame]
    manifest_sha256: str  #: of the store of the training frames


def open_parts(config: DataConfig, folder: Path, *, stress: bool = False) -> Parts:
    """Open or make the stores of a run, in `folder`, and split them. With `stress`, labels of stress are checked.

    Raises `DataError` for data that can't be used, `ConfigError` if nothing is left to validate on.
    """
    stores = {name: _store(config, name, folder) for name in PARTS if getattr(config, name) is not None}
    train = stores["train"]
    if stress:
        _require_stress(train)
    shares = {"validation": config.validation_fraction, "test": config.test_fraction}
    drawn = {name: share for name, share in shares.items() if name not in stores and share > 0}
    if "validation" not in stores and "validation" not in drawn:
        raise ConfigError("data: there is nothing to choose the best epoch by; give validation or validation_fraction")
    parts: dict[str, Sequence[Frame]] = {name: store.select(range(len(store))) for name, store in stores.items()}
    if drawn:
        cut = split_by_material if config.split_by == "material" else split_by_frame
        split = cut(train, {"train": 1.0 - sum(drawn.values()), **drawn}, seed=config.split_seed)
        split.save(folder / "split.json")
        parts |= {name: train.select(split[name]) for name in split.parts}
    return Parts(*(parts.get(name, ()) for name in PARTS), manifest_sha256=train.sha256)


def _store(config: DataConfig, name: str, folder: Path) -> FrameStore:
    """The store that a path names, or one made of the file that it names."""
    path = getattr(config, name)
    if str(path) == "bundled:gpaw-pbe":
        path = bundled_path()
    if not path.exists():
        raise DataError(f"{path}: there is no such file or store; give data.{name} a path that exists, seen from here")
    if path.is_dir():
        return FrameStore(path)
    target = folder / f"{name}.store"
    if not target.exists():
        skipped: Counter[str] = Counter()
        sample = StressSample()
        frames = read_frames(path, bad_frames="skip", skipped=skipped, stress=config.stress)
        write_store(
            sample.watch(frames),
            target,
            source=str(path),
            filters=skipped,
            stress_check=lambda: sample.result().to_mapping(),
        )
        for reason, count in skipped.items():
            log.warning("%s: %d frames were left out: %s", path, count, reason)
    return FrameStore(target)


def _require_stress(store: FrameStore) -> None:
    found = store.manifest.stress_check
    if found is None:
        check_stress(store)
    elif found.get("verdict") == "disagrees":
        raise DataError(f"{store.folder}: {found['meaning']}; name the convention with data.stress, or set loss.stress to 0")


class GraphDataset(Dataset):
    """Graphs, with labels, of frames, for a potential; `cache` keeps each one that was built."""

    def __init__(self, frames: Sequence[Frame], potential: Potential, *, cache: bool) -> None:
        self.frames = frames
        self.elements = potential.elements
        self.cutoff, self.three_body_cutoff = potential.cutoff, potential.three_body_cutoff
        self.cached: list[Graph | None] | None = [None] * len(frames) if cache else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> Graph:
        if i >= len(self):
            raise IndexError(i)
        graph = None if self.cached is None else self.cached[i]
        if graph is None:
            frame = self.frames[i]
            check_elements(frame.numbers, self.elements, frame.where)
            graph = build_graph(frame, self.cutoff, self.three_body_cutoff)
            if self.cached is not None:
                self.cached[i] = graph
        return graph


class GraphDataModule(L.LightningDataModule):
    """The training and validation batches of a run.

    Training batches follow from the trainer's count of optimiser steps: a resumed run goes on with the batch after the
    last step, and touches none before it.
    """

    def __init__(self, parts: Parts, potential: Potential, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        cache = config.data.cache_graphs
        self.train = GraphDataset(parts.train, potential, cache=cache)
        self.validation = GraphDataset(parts.validation, potential, cache=cache)
        self._atoms = {"train": _atoms(parts.train), "validation": _atoms(parts.validation)}

    def sampler(self, *, rank: int = 0, ranks: int = 1, start: int = 0) -> BudgetSampler:
        """The training batches of a rank from step `start` on."""
        config = self.config
        return BudgetSampler(
            self._atoms["train"],
            config.batch_atoms,
            seed=config.seed,
            rank=rank,
            ranks=ranks,
            epochs=config.trainer.epochs,
            start=start,
        )

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        sampler = self.sampler(rank=trainer.global_rank, ranks=trainer.world_size, start=trainer.global_step)
        return self._loader(self.train, sampler)

    def val_dataloader(self) -> DataLoader:
        trainer = self.trainer
        ranks = trainer.world_size
        sampler = BudgetSampler(self._atoms["validation"], 2 * self.config.batch_atoms, shuffle=False, ranks=ranks)
        return self._loader(self.validation, sampler.batches(0)[trainer.global_rank :: ranks])

    def _loader(self, dataset: GraphDataset, batches: BudgetSampler | list[list[int]]) -> DataLoader:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=Batch.from_data_list,
            num_workers=0 if dataset.cached is not None else self.config.data.workers,
            pin_memory=torch.cuda.is_available(),
        )


def _atoms(frames: Sequence[Frame]) -> np.ndarray:
    """Numbers of atoms; of a part of a store from its index, without reading the frames."""
    if hasattr(frames, "store"):
        return frames.store.index().n_atoms[frames.indices]
    return np.array([len(frame) for frame in frames], dtype=np.int64)
