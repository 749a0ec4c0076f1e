"""The Materials Project's Delta table of trajectories, or a table of the same columns: read in bulk, in a fixed order.

    table = TrajectoryTable.open()                       # the published one, on open S3; no account is needed
    table = TrajectoryTable.open("/data/mp/trajectories", version=3)
    for rows in table.rows(curation, columns, start=None):
        rows.columns, rows.after                         # arrays of at most `ROWS` trajectories, where to read on

Files are pruned by the log of the table (partitions and statistics), row groups by their statistics, both with the run
and task types asked for; then the few narrow columns that decide are read, and of a row group that has a wanted row the
columns asked for. A reader holds one chunk of `ROWS` trajectories and the buffers that decode it, for any size
of the files and of their row groups. A version of a Delta table never changes: reading it again gives the same rows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from ase.data import atomic_numbers

from gnnpot.data.mp.filters import Curation, ElectronicConvergence, Filter
from gnnpot.data.mp.pipeline import Chunk
from gnnpot.data.mp.trajectories import ENERGY_COLUMN, SOURCE, STRESS, MPTask, as_columns, to_batch
from gnnpot.errors import DataError

#: where the Materials Project publishes its trajectories
MP_TABLE = "s3://materialsproject-parsed/core/trajectories/"
#: open data: no signature; times as mp-api's client allows
S3_OPTIONS = {"AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "us-east-1", "timeout": "60s", "max_retries": "5"}
#: trajectories that are decoded at a time
ROWS = 32
#: bytes that are fetched at a time of each column of a row group
BUFFER = 8 << 20
OTHER_TYPES = "trajectories (not frames) of other run types, task types or elements, in files that were read"
#: (file, row group in it, chunk in that), counted from 0
Position = tuple[int, int, int]


@dataclass(frozen=True)
class TableChunk:
    """A chunk of the table."""

    columns: dict[str, pa.Array]  #: of the wanted trajectories; may be none
    read: int  #: trajectories of the chunk, wanted or not
    after: Position  #: where to read on
    done: float  #: share of the bytes of all files to read that lie before `after`


@dataclass(frozen=True, eq=False)
class TrajectoryTable:
    """One version of a table."""

    uri: str
    version: int
    dataset: ds.FileSystemDataset = field(repr=False)

    @classmethod
    def open(cls, uri: str = MP_TABLE, version: int | None = None) -> "TrajectoryTable":
        """A version of a table, by default the newest. Raises `DataError` if there is none or it can't be read."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        options = S3_OPTIONS if uri.startswith(("s3://", "s3a://")) else None
        try:
            table = DeltaTable(uri, version=version, storage_options=options)
            dataset = table.to_pyarrow_dataset()
        except (DeltaError, OSError, ValueError) as error:
            problem, remedy = _plain(error), "check address and network"
            raise DataError(f"{uri}: can't be opened as a Delta table ({problem}); {remedy}") from None
        missing = [name for name in ("identifier", "elements", "cart_coords") if name not in dataset.schema.names]
        if missing:
            raise DataError(f"{uri}: has no column '{missing[0]}'; it is no table of trajectories")
        return cls(uri, table.version(), dataset)

    @property
    def identity(self) -> dict[str, str | int]:
        """What names the data."""
        return {"table": self.uri, "version": self.version}

    def rows(self, curation: Curation, columns: Sequence[str], start: Position | None = None) -> Iterator[TableChunk]:
        """Chunks of the trajectories that `curation` wants by type and elements, from `start` on."""
        files = self._files(curation)
        sizes = np.array([file.filesystem.get_file_info(file.path).size or 0 for file in files], dtype=float)
        shares = sizes / max(sizes.sum(), 1.0)
        first, group, chunk = start or (0, 0, 0)
        for number in range(first, len(files)):
            with _reading(files[number].path):
                for arrays, read, (k, s), part in self._file(files[number], curation, columns, group, chunk):
                    yield TableChunk(arrays, read, (number, k, s), float(shares[:number].sum() + part * shares[number]))
            group = chunk = 0

    def _file(
        self, file: ds.ParquetFileFragment, curation: Curation, columns: Sequence[str], group: int, chunk: int
    ) -> Iterator[tuple[dict[str, pa.Array], int, tuple[int, int], float]]:
        """Wanted rows, rows read, (row group, chunk) to read on at, and the share of the file before that."""
        constant = ds.get_partition_keys(file.partition_expression)
        groups = [g.id for g in file.subset(self._predicate(curation), schema=self.dataset.schema).row_groups]
        with pq.ParquetFile(file.path, filesystem=file.filesystem, buffer_size=BUFFER, pre_buffer=False) as parquet:
            for k in range(group, len(groups)):
                mask = self._wanted(parquet, groups[k], constant, curation)
                batches = _batches(parquet, groups[k], columns, constant) if mask.any() else repeat(None)
                for s, (batch, here) in enumerate(zip(batches, _chunks(mask), strict=False)):
                    if s < chunk:
                        continue
                    arrays = {}
                    if here.any():
                        arrays = as_columns(batch.filter(pa.array(here)), columns, constant)
                    part = (k + min(1.0, (s + 1) * ROWS / len(mask))) / len(groups)
                    yield arrays, len(here), (k, s + 1), part
                chunk = 0

    def _predicate(self, curation: Curation) -> ds.Expression:
        return ds.field("run_type").isin(curation.run_types) & ds.field("task_type").isin(curation.task_types)

    def _files(self, curation: Curation) -> list[ds.ParquetFileFragment]:
        """The files that may hold wanted rows, by name."""
        fragments = self.dataset.get_fragments(self._predicate(curation))
        return sorted(fragments, key=lambda fragment: fragment.path)

    def _wanted(self, parquet: pq.ParquetFile, group: int, constant: dict, curation: Curation) -> np.ndarray:
        """[rows of the group] which of them are wanted."""
        chosen = {"run_type": curation.run_types, "task_type": curation.task_types}
        read = [name for name in (*chosen, *(["elements"] if curation.elements else [])) if name not in constant]
        table = parquet.read_row_group(group, columns=read, use_threads=False) if read else pa.table({})
        mask = np.ones(parquet.metadata.row_group(group).num_rows, dtype=bool)
        for name, choices in chosen.items():
            if name in constant:
                mask &= constant[name] in choices
            else:
                found = pc.is_in(table[name].cast(pa.string()), value_set=pa.array(choices))
                mask &= found.to_numpy()
        if curation.elements:
            allowed = [atomic_numbers[symbol] for symbol in curation.elements]
            column = table["elements"].combine_chunks()
            others = ~np.isin(column.flatten().to_numpy(), allowed)
            mask &= np.bincount(pc.list_parent_indices(column).to_numpy()[others], minlength=len(mask)) == 0
        return mask


@dataclass(frozen=True, eq=False)
class DeltaSource:
    """The table as a source of `gnnpot.data.mp.pipeline.curate`.

    `tasks`: the answer of the Materials Project's interface for each (identifier, run type), see `gnnpot.data.mp.rest`;
    `{}`: nothing, then a frame's material is its reduced formula.
    """

    table: TrajectoryTable
    tasks: Mapping[tuple[str, str], MPTask] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        return {**self.table.identity, "ids": self.has_ids}

    @property
    def brings_corrections(self) -> bool:
        return False

    @property
    def has_ids(self) -> bool:
        return bool(self.tasks)

    @property
    def conventions(self) -> dict[str, str]:
        return {
            "name": SOURCE,
            "energy": "free: e_fr_energy, the derivative of which the forces are; zero: energy, for sigma -> 0 (eV)",
            "stress": f"{STRESS} in the table, eV/Å³ positive under tension in the store",
        }

    def chunks(self, curation: Curation, filters: tuple[Filter, ...], start: Any) -> Iterator[Chunk]:
        change = any(isinstance(f, ElectronicConvergence) and f.max_change is not None for f in filters)
        columns = needed_columns(curation, change)
        for rows in self.table.rows(curation, columns, tuple(start) if start else None):
            wanted = len(rows.columns["elements"]) if rows.columns else 0
            left_out = {OTHER_TYPES: rows.read - wanted} if rows.read > wanted else {}
            batch = None
            if wanted:
                batch, unread = to_batch(rows.columns, curation.energy or "free", self.tasks)
                left_out |= unread
            yield Chunk(batch, left_out, list(rows.after), rows.done)


def _chunks(mask: np.ndarray) -> Iterator[np.ndarray]:
    return (mask[k : k + ROWS] for k in range(0, len(mask), ROWS))


def _batches(parquet: pq.ParquetFile, group: int, columns: Sequence[str], constant: dict) -> Iterator[pa.RecordBatch]:
    """A row group in chunks of `ROWS` rows, the leaves of `columns` alone."""
    leaves = []
    for k in range(len(parquet.schema)):
        path = parquet.schema.column(k).path
        name = path.split(".")[0]
        if name in columns and name not in constant and (name != "electronic_steps" or path.endswith(".e_fr_energy")):
            leaves.append(path)
    return parquet.iter_batches(batch_size=ROWS, row_groups=[group], columns=leaves, use_threads=False)


def _plain(error: Exception) -> str:
    """What an error says, on one line, without the colours of a terminal."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:200]


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        problem = _plain(error)
        raise DataError(f"{path}: can't be read ({problem}); run the same command again to resume") from None


def needed_columns(curation: Curation, electronic_change: bool) -> list[str]:
    """The columns that frames are made of."""
    energy = ENERGY_COLUMN[curation.energy or "free"]
    names = ["identifier", "run_type", "task_type", "elements", "cart_coords", "lattice", energy, "forces", "stress"]
    return [*names, "num_electronic_steps", *(["electronic_steps"] if electronic_change else [])]
