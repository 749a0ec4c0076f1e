"""Frames to batches of graphs, streamed from a store or kept in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from torch_geometric.data import Batch

from gnnpot.data.frame import Frame
from gnnpot.errors import ConfigError
from gnnpot.graphs import Graph, build_graph, neighbor_list
from gnnpot.models.base import check_elements
from gnnpot.potential import Potential
from gnnpot.training.config import BatchConfig, RunConfig
from gnnpot.training.prepare import Part, PreparedData
from gnnpot.training.sampler import BatchPlan, BatchStream, MixedStream

#: all graphs of a training set are kept in memory up to this many atoms, if the configuration does not say
CACHED_ATOMS = 200_000


class GraphDataset(Dataset):
    """Graphs, with labels, of a sequence of frames; `cache` keeps each one that was built."""

    def __init__(
        self,
        frames: Sequence[Frame],
        cutoff: float,
        three_body_cutoff: float | None,
        elements: tuple[str, ...],
        cache: bool,
    ) -> None:
        self.frames, self.elements = frames, elements
        self.cutoff, self.three_body_cutoff = cutoff, three_body_cutoff
        self._cached: list[Graph | None] | None = [None] * len(frames) if cache else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> Graph:
        if self._cached is None:
            return self._build(i)
        graph = self._cached[i]
        if graph is None:
            graph = self._cached[i] = self._build(i)
        return graph

    def _build(self, i: int) -> Graph:
        frame = self.frames[i]
        check_elements(frame.numbers, self.elements, frame.where)
        return build_graph(frame, self.cutoff, self.three_body_cutoff)

    @property
    def cached(self) -> bool:
        return self._cached is not None

    def edge_counts(self) -> np.ndarray:
        """Edges of each frame, [F]."""
        if self.cached:
            return np.array([self[i].edge_index.shape[1] for i in range(len(self))])
        counts = np.empty(len(self), dtype=np.int64)
        for i in range(len(self)):
            frame = self.frames[i]
            counts[i] = len(neighbor_list(frame.positions, frame.cell, frame.pbc, self.cutoff).distances)
        return counts


class GraphData(L.LightningDataModule):
    """The training and validation batches of a run.

    Training batches follow from the trainer's count of optimiser steps: a resumed run goes on with the batch after its
    last step, and touches no frame before it, whatever workers had read ahead.
    """

    def __init__(self, config: RunConfig, prepared: PreparedData, potential: Potential) -> None:
        super().__init__()
        self.config = config
        self._reach = (potential.cutoff, potential.three_body_cutoff, potential.elements)
        parts = {"train": prepared.train, "validation": prepared.validation}
        self._share = 0.0
        if prepared.replay is not None:
            parts["replay"], self._share = prepared.replay.part, prepared.replay.share
        self._sets = {name: self._dataset(part) for name, part in parts.items()}
        self._sizes = {name: self._sizes_of(part, self._sets[name]) for name, part in parts.items()}

    @property
    def train(self) -> GraphDataset:
        """The training frames, without replay."""
        return self._sets["train"]

    def stream(self, ranks: int = 1, rank: int = 0, start: int = 0) -> BatchStream | MixedStream:
        """The training batches of a rank from step `start` on; replayed frames are numbered after the others."""
        budget, share = _shared_budget(self.config.batch, self._share)
        plan = BatchPlan(self._sizes["train"], budget, self.config.seed, ranks)
        main = BatchStream(plan, self.config.epochs, rank, start)
        if not share:
            return main
        extra = BatchPlan(self._sizes["replay"], share, self.config.seed + 1, ranks)
        return MixedStream(main, extra, offset=len(self.train))

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        stream = self.stream(trainer.world_size, trainer.global_rank, trainer.global_step)
        return self._loader([self._sets[name] for name in ("train", "replay") if name in self._sets], stream)

    def val_dataloader(self) -> DataLoader:
        trainer, batch = self.trainer, self.config.batch
        budget = max(batch.budget * batch.validation_factor, 1)
        plan = BatchPlan(self._sizes["validation"], budget, ranks=trainer.world_size, shuffle=False)
        mine = plan.batches()[trainer.global_rank :: trainer.world_size]
        return self._loader([self._sets["validation"]], [indices.tolist() for indices in mine])

    def state_dict(self) -> dict[str, Any]:
        return {"ranks": self.trainer.world_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["ranks"] != self.trainer.world_size:
            raise ConfigError(
                f"{self.config.run}: the run began on {state['ranks']} devices and can't go on with "
                f"{self.trainer.world_size}; give it as many, or begin afresh"
            )

    def _dataset(self, part: Part) -> GraphDataset:
        cache = self.config.data.cache_graphs
        if cache is None:
            cache = int(part.store.index().n_atoms[part.indices].sum()) <= CACHED_ATOMS
        return GraphDataset(part.frames, *self._reach, cache=cache)

    def _sizes_of(self, part: Part, dataset: GraphDataset) -> np.ndarray:
        if self.config.batch.frames is not None:
            return np.ones(len(part), dtype=np.int64)
        if self.config.batch.max_atoms is not None:
            return part.store.index().n_atoms[part.indices]
        return _remembered_edges(part, dataset, self.config.run)

    def _loader(self, sets: list[GraphDataset], batches: Any) -> DataLoader:
        workers = 0 if all(dataset.cached for dataset in sets) else self.config.data.workers
        return DataLoader(
            ConcatDataset(sets),
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=torch.cuda.is_available(),
        )


def _shared_budget(batch: BatchConfig, share: float) -> tuple[float, float]:
    """The budget of the training frames and that of the replayed ones, of one batch."""
    if not share:
        return batch.budget, 0.0
    if batch.frames is None:
        return (1 - share) * batch.budget, share * batch.budget
    replayed = max(1, round(share * batch.frames))
    if replayed >= batch.frames:
        raise ConfigError(
            f"batch.frames: {batch.frames} has no room for a share of {share:g} of replayed frames beside others; "
            "make it larger"
        )
    return float(batch.frames - replayed), float(replayed)


def collate(graphs: list[Graph]) -> Batch:
    """One batch of graphs."""
    return Batch.from_data_list(graphs)


def _remembered_edges(part: Part, dataset: GraphDataset, run: Path) -> np.ndarray:
    """Edges of each frame; for large sets they are counted once in a run, and kept in a file."""
    if dataset.cached:
        return dataset.edge_counts()
    path = run / "data" / f"edges-{part.store.sha256[:12]}-{len(part)}-{dataset.cutoff:g}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    counts = dataset.edge_counts()
    partial = path.with_suffix(".partial.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(partial, counts, allow_pickle=False)
    partial.replace(path)
    return counts
