"""Batches of graphs from frames, streamed from a store or kept in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch

from gnnpot.errors import ConfigError
from gnnpot.graphs import Graph, build_graph, neighbor_list
from gnnpot.models.base import EnergyModel, check_elements
from gnnpot.potential import Potential
from gnnpot.runs.files import replaced_file
from gnnpot.training.config import RunConfig
from gnnpot.training.datasets import Concatenation, TrainingDataset
from gnnpot.training.prepare import PreparedData
from gnnpot.training.sampler import BatchPlan, BatchStream

#: largest number of atoms of a data set whose graphs are kept in memory if `cache_graphs` is not set
CACHED_ATOMS = 200_000


class GraphDataset(Dataset):
    """Labelled graphs of frames. With `cache`, each graph is kept in memory once it is built; see `prepare_for`."""

    def __init__(
        self,
        frames: Concatenation,
        cutoff: float,
        three_body_cutoff: float | None,
        elements: tuple[str, ...],
        cache: bool,
    ) -> None:
        self.frames, self.elements = frames, elements
        self.cutoff, self.three_body_cutoff = cutoff, three_body_cutoff
        self._cached: list[Graph | None] | None = [None] * len(frames) if cache else None
        self._prepare: Callable[[Graph], Graph] | None = None
        self._prepared: set[int] = set()

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> Graph:
        if self._cached is None:
            return self._build(i)
        graph = self._cached[i]
        if graph is None:
            graph = self._cached[i] = self._build(i)
        if self._prepare is not None and i not in self._prepared:
            graph = self._cached[i] = self._prepare(graph)
            self._prepared.add(i)
        return graph

    def prepare_for(self, model: EnergyModel, limit: float) -> None:
        """Store what `model` precomputes for each graph when it is first used, if all of it fits in `limit` bytes.

        The limit is an option and not a fraction of the free memory, so that a resumed run is bitwise the same.
        """
        if not self.cached or not model.precomputed_bytes(1, 1):
            return
        need = model.precomputed_bytes(int(self.frames.n_atoms.sum()), int(self.edge_counts().sum()))
        if need <= limit:
            self._prepare = model.precompute

    def clear_cache(self) -> None:
        """Delete the cached graphs."""
        if self._cached is not None:
            self._cached, self._prepared = [None] * len(self), set()

    def _build(self, i: int) -> Graph:
        frame = self.frames[i]
        check_elements(frame.numbers, self.elements, frame.where)
        return build_graph(frame, self.cutoff, self.three_body_cutoff)

    @property
    def cached(self) -> bool:
        return self._cached is not None

    def edge_counts(self) -> np.ndarray:
        """Number of edges of each frame, [F]."""
        if self.cached:
            return np.array([self[i].edge_index.shape[1] for i in range(len(self))])
        counts = np.empty(len(self), dtype=np.int64)
        for i in range(len(self)):
            frame = self.frames[i]
            counts[i] = len(neighbor_list(frame.positions, frame.cell, frame.pbc, self.cutoff).distances)
        return counts


class GraphData(L.LightningDataModule):
    """Training and validation batches of a run.

    The trainer's count of optimiser steps determines the training batches: a resumed run continues with the batch after
    its last step, without reading the frames before it, even if workers had read ahead.
    """

    def __init__(self, config: RunConfig, prepared: PreparedData, potential: Potential) -> None:
        super().__init__()
        self.config = config
        self._reach = (potential.cutoff, potential.three_body_cutoff, potential.elements)
        concatenation = prepared.concatenation
        self.train = self._dataset(concatenation)
        self.validation = self._dataset(Concatenation([TrainingDataset("validation", prepared.validation)]))
        self._sampling_weights = concatenation.sampling_weights
        self._sizes = {"train": self._sizes_of(self.train), "validation": self._sizes_of(self.validation)}
        self.train.prepare_for(potential.model, config.data.derivatives_gib * 2**30)

    def stream(self, ranks: int = 1, rank: int = 0, start: int = 0) -> BatchStream:
        """Training batches of a rank, from step `start` on."""
        sizes, batch = self._sizes["train"], self.config.batch
        plan = BatchPlan(sizes, batch.budget, self.config.seed, ranks, self._sampling_weights)
        return BatchStream(plan, self.config.epochs, rank, start)

    @property
    def _of_trainer(self) -> L.Trainer:
        if self.trainer is None:
            raise RuntimeError("the data of a run belong to a trainer, which sets itself")
        return self.trainer

    def train_dataloader(self) -> DataLoader:
        trainer = self._of_trainer
        stream = self.stream(trainer.world_size, trainer.global_rank, trainer.global_step)
        return self._loader(self.train, stream)

    def val_dataloader(self) -> DataLoader:
        trainer, batch = self._of_trainer, self.config.batch
        budget = max(batch.budget * batch.validation_factor, 1)
        plan = BatchPlan(self._sizes["validation"], budget, ranks=trainer.world_size)
        mine = plan.batches()[trainer.global_rank :: trainer.world_size]
        return self._loader(self.validation, [indices.tolist() for indices in mine])

    def teardown(self, stage: str) -> None:
        # trainer and data refer to each other, so graphs would stay in memory until the garbage collector runs
        self.train.clear_cache()
        self.validation.clear_cache()

    def state_dict(self) -> dict[str, Any]:
        return {"ranks": self._of_trainer.world_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        ranks = self._of_trainer.world_size
        if state["ranks"] != ranks:
            raise ConfigError(
                f"{self.config.run}: the run began on {state['ranks']} devices and can't be resumed with "
                f"{ranks}; give it as many, or begin afresh"
            )

    def _dataset(self, frames: Concatenation) -> GraphDataset:
        cache = self.config.data.cache_graphs
        if cache is None:
            cache = int(frames.n_atoms.sum()) <= CACHED_ATOMS
        return GraphDataset(frames, *self._reach, cache=cache)

    def _sizes_of(self, dataset: GraphDataset) -> np.ndarray:
        if self.config.batch.frames is not None:
            return np.ones(len(dataset), dtype=np.int64)
        if self.config.batch.max_atoms is not None:
            return dataset.frames.n_atoms
        return _remembered_edges(dataset, self.config.run)

    def _loader(self, dataset: GraphDataset, batches: Any) -> DataLoader:
        workers = 0 if dataset.cached else self.config.data.workers
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=torch.cuda.is_available(),
        )


def collate(graphs: list[Graph]) -> Batch:
    """Join graphs into one batch."""
    return Batch.from_data_list(graphs)


def _remembered_edges(dataset: GraphDataset, run: Path) -> np.ndarray:
    """Number of edges of each frame; without cached graphs, counted once per run and stored in a file."""
    if dataset.cached:
        return dataset.edge_counts()
    path = run / "data" / f"edges-{dataset.frames.sha256[:12]}-{dataset.cutoff:g}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    counts = dataset.edge_counts()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as file:
        np.save(file, counts, allow_pickle=False)
    return counts
