"""Curation of a source of trajectories to a store, in one pass that can be interrupted and resumed.

    source = DeltaSource(TrajectoryTable.open())                    # or MPtrjFile(path), MatPESFile(path)
    store = curate(source, Curation(run_types=("GGA", "GGA+U")), "mp.store", progress=lambda p: ...)
    store.manifest.filters, store.manifest.curation

Each chunk of the source is converted to a `FrameBatch`, checked, filtered, corrected, and appended to a `StoreBuilder`.
At the end of each shard, the position in the source and all counts are saved. In memory are one chunk, one row group of
the store, and the buffers of the source.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq

from gnnpot.config import to_mapping
from gnnpot.data.builder import StoreBuilder
from gnnpot.data.manifest import Manifest, Shard, Tally
from gnnpot.data.mp.batch import FrameBatch
from gnnpot.data.mp.corrections import NO_ENTRY, run_corrections
from gnnpot.data.mp.filters import Curation, Filter, apply_filters, drop_unusable
from gnnpot.data.mp.statistics import Statistics
from gnnpot.data.quantities import QUANTITIES
from gnnpot.data.schema import to_frames
from gnnpot.data.store import ROW_GROUP, FrameStore
from gnnpot.data.stress_check import StressSample

log = logging.getLogger(__name__)

#: number of row groups of the store, evenly spread, that are read by the stress check
CHECKED_GROUPS = 96


@dataclass(frozen=True)
class Chunk:
    """A part of a source."""

    batch: FrameBatch | None  #: selected frames; `None` if there are none
    left_out: dict[str, int]  #: number of frames (or trajectories, if stated) not readable or not selected, by reason
    after: Any  #: position after the chunk, a JSON value
    done: float  #: fraction of the source before `after`


class FrameSource(Protocol):
    """Protocol of sources of frames. A source must yield the same frames whenever it is read from the same position."""

    @property
    def identity(self) -> dict[str, Any]:
        """JSON values that identify the data; a different identity means a different source."""

    @property
    def conventions(self) -> dict[str, str]:
        """Conventions of energy and stress in the source, as text for the manifest."""

    @property
    def has_ids(self) -> bool:
        """Whether the source has material ids."""

    @property
    def applies_corrections(self) -> bool:
        """Whether the source applies the corrections of `curation` itself, as calculated by its authors."""

    def chunks(self, curation: Curation, filters: tuple[Filter, ...], start: Any) -> Iterator[Chunk]:
        """Yield the chunks in order, from position `start` (`None`: the beginning)."""


@dataclass(frozen=True)
class CurationProgress:
    """Progress of a curation."""

    done: float  #: fraction of the source
    read: int  #: number of frames read
    kept: int  #: number of frames in complete shards and in the shard that is being written


class _Counts:
    """All counts of a curation, with conversion to and from JSON values."""

    def __init__(self, notes: dict, reasons: list[str]) -> None:
        self.tally = Tally.from_mapping(notes["tally"]) if notes else Tally()
        self.before = Statistics.from_mapping(notes["before"]) if notes else Statistics()
        self.after = Statistics.from_mapping(notes["after"]) if notes else Statistics()
        self.left_out: Counter[str] = Counter(notes["left_out"] if notes else dict.fromkeys(reasons, 0))

    def to_mapping(self) -> dict:
        return {
            "tally": self.tally.to_mapping(),
            "before": self.before.to_mapping(),
            "after": self.after.to_mapping(),
            "left_out": dict(self.left_out),
        }

    def keep(self, batch: FrameBatch) -> None:
        labels = {name: int(batch.has(name).sum()) for name in QUANTITIES}
        frames = Counter(batch.run.tolist())
        sources: Counter[str] = Counter()
        codes: Counter[str] = Counter()
        for run, n in frames.items():
            words = {name: str(batch.words[name][run]) for name in ("source", "code", "functional")}
            sources[words["source"]] += n
            codes[", ".join(w for w in (words["code"], words["functional"]) if w) or "unknown"] += n
        self.tally.add_many(batch.element_counts(), labels, sources, codes)
        self.after.add(batch)


def curate(
    source: FrameSource,
    curation: Curation,
    output: Path | str,
    *,
    shard_size: int = 16384,
    limit: int | None = None,
    check_stress: bool = True,
    overwrite: bool = False,
    progress: Callable[[CurationProgress], None] | None = None,
) -> FrameStore:
    """Read a source, filter its frames and write them to a store; an unfinished store of that name is resumed.

    If the curation is interrupted, complete shards are kept.

    Args:
        source: The source of frames.
        curation: Types, elements, corrections and filters.
        output: Folder of the store.
        shard_size: Approximate number of frames per file; a shard ends with the chunk that fills it.
        limit: Stop after the chunk in which this number of frames is reached; for trials with the first frames.
        check_stress: Compare the stresses with the energies at the end (`gnnpot.data.stress_check`).
        overwrite: Replace an existing store.
        progress: Called after each chunk.

    Returns:
        The store.

    Raises:
        DataError: The source can't be read, no frames remain, or the stresses are wrong.
        ConfigError: A filter requires material ids, and the source has none.
    """
    filters = curation.resolved(source.has_ids)
    identity = {"source": source.identity, "curation": to_mapping(curation), "limit": limit}
    with StoreBuilder(output, identity, shard_size=shard_size, overwrite=overwrite) as builder:
        if builder.is_complete:
            return builder.put_in_place()
        counts = _Counts(builder.notes, [one.reason for one in filters])
        full = limit is not None and builder.frames >= limit
        for chunk in () if full else source.chunks(curation, filters, builder.position):
            _pass(chunk, curation.corrections == "mp2020" and not source.applies_corrections, filters, counts, builder)
            if progress:
                progress(CurationProgress(chunk.done, counts.before.frames, counts.after.frames))
            if limit is not None and counts.after.frames >= limit:
                break

        def manifest(shards: list[Shard]) -> Manifest:
            check = _check(builder.unfinished, shards, source.identity) if check_stress else None
            described = _described(source, curation, filters, counts, limit)
            name = curation.source or source.conventions["name"]
            return counts.tally.manifest(shards, ROW_GROUP, name, counts.left_out, check, described)

        return builder.finish(manifest)


def _pass(chunk: Chunk, correct: bool, filters: tuple[Filter, ...], counts: _Counts, builder: StoreBuilder) -> None:
    """Check, filter and correct the frames of a chunk, and add them to the store."""
    counts.left_out.update(chunk.left_out)
    if chunk.batch is None or len(chunk.batch) == 0:
        return
    batch, unusable = drop_unusable(chunk.batch)
    counts.left_out.update(unusable)
    counts.before.add(batch)
    batch, filtered = apply_filters(batch, filters)
    counts.left_out.update(filtered)
    if correct and len(batch):
        corrections = run_corrections(batch)
        valid = ~np.isnan(corrections)
        counts.left_out[NO_ENTRY] += int((~valid).sum())
        batch = batch.with_energy(batch.energy + corrections).select(valid)
    if len(batch) == 0:
        return
    counts.keep(batch)
    builder.add(batch.to_table(), chunk.after, counts.to_mapping)


def _check(folder: Path, shards: list[Shard], where: dict) -> dict:
    """Run the stress check on a sample of row groups."""
    places = [(shard, group) for shard in shards for group in range(-(-shard.frames // ROW_GROUP))]
    chosen = sorted({int(k) for k in np.linspace(0, len(places) - 1, min(CHECKED_GROUPS, len(places)))})
    sample = StressSample()
    for k in chosen:
        shard, group = places[k]
        with pq.ParquetFile(folder / shard.name) as file:
            for frame in to_frames(file.read_row_group(group, use_threads=False)):
                sample.add(frame)
    return sample.result().require(str(next(iter(where.values())))).to_mapping()


def _described(
    source: FrameSource, curation: Curation, filters: tuple[Filter, ...], counts: _Counts, limit: int | None
) -> dict[str, Any]:
    """Return the record of the curation for the manifest, from which `gnnpot.data.mp.report` makes a report."""
    conventions = dict(source.conventions)
    corrections = {
        "none": "none: energies are as calculated",
        "mp2020": "MP2020, added to the energies: "
        + ("as the file holds them" if source.applies_corrections else "pymatgen's, of the last frame of each run"),
    }
    return {
        "source": source.identity,
        "conventions": {**conventions, "corrections": corrections[curation.corrections]},
        "options": {**to_mapping(curation), "filters": [to_mapping(one) for one in filters], "limit": limit},
        "left_out": [{"reason": reason, "count": n} for reason, n in counts.left_out.items()],
        "before": counts.before.to_mapping(),
        "after": counts.after.to_mapping(),
    }
