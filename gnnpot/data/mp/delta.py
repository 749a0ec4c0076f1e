"""Reader of the Delta table of trajectories of the Materials Project, or of a table with the same columns.

    table = TrajectoryTable.open()                       # the published table, on S3; no account is needed
    table = TrajectoryTable.open("/data/mp/trajectories", version=3)
    for rows in table.rows(curation, columns, start=None):
        rows.columns, rows.after                         # arrays of at most `ROWS` trajectories, next position

Files are pruned with the log of the table (partitions and statistics), row groups with their statistics, both for the
requested run and task types. The narrow columns that determine which rows are selected are read first; the other
columns are only read for row groups with selected rows. Memory is limited to one chunk of `ROWS` trajectories and its
decoding buffers, for any size of files and row groups. A version of a Delta table never changes, so that reading it
again gives the same rows in the same order.
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

#: trajectories published by the Materials Project
MP_TABLE = "s3://materialsproject-parsed/core/trajectories/"
#: public data, without signature; timeout and retries as in the client mp-api
S3_OPTIONS = {"AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "us-east-1", "timeout": "60s", "max_retries": "5"}
#: number of trajectories that are decoded at a time
ROWS = 32
#: number of bytes of a column of a row group that are fetched at a time
BUFFER = 8 << 20
OTHER_TYPES = "trajectories (not frames) of other run types, task types or elements, in files that were read"
#: (file, row group in the file, chunk in the row group), counted from 0
Position = tuple[int, int, int]


@dataclass(frozen=True)
class TableChunk:
    """A chunk of the table."""

    columns: dict[str, pa.Array]  #: columns of the selected trajectories; empty if there are none
    read: int  #: number of trajectories of the chunk, selected or not
    after: Position  #: position after the chunk
    done: float  #: fraction of the bytes of all files before `after`


@dataclass(frozen=True, eq=False)
class TrajectoryTable:
    """A version of a table."""

    uri: str
    version: int
    dataset: ds.FileSystemDataset = field(repr=False)

    @classmethod
    def open(cls, uri: str = MP_TABLE, version: int | None = None) -> "TrajectoryTable":
        """Open a version of a table, the latest by default. Raises `DataError` if it is missing or can't be read."""
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
        """Address and version of the table."""
        return {"table": self.uri, "version": self.version}

    def rows(self, curation: Curation, columns: Sequence[str], start: Position | None = None) -> Iterator[TableChunk]:
        """Yield chunks of the trajectories that `curation` selects by types and elements, from position `start`."""
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
        """Yield selected rows, number of rows read, next (row group, chunk), and the fraction of the file before it."""
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
        """Return the files that may have selected rows, sorted by path."""
        fragments = self.dataset.get_fragments(self._predicate(curation))
        return sorted(fragments, key=lambda fragment: fragment.path)

    def _wanted(self, parquet: pq.ParquetFile, group: int, constant: dict, curation: Curation) -> np.ndarray:
        """Return [rows of the group] bool: whether each row is selected."""
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

    Args:
        table: The table.
        tasks: Results of the API of the Materials Project by (identifier, run type), see `gnnpot.data.mp.rest`. If
            empty, the material of a frame is its reduced formula.
    """

    table: TrajectoryTable
    tasks: Mapping[tuple[str, str], MPTask] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        return {**self.table.identity, "ids": self.has_ids}

    @property
    def applies_corrections(self) -> bool:
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
    """Iterate over a row group in chunks of `ROWS` rows, with only the Parquet columns needed for `columns`."""
    leaves = []
    for k in range(len(parquet.schema)):
        path = parquet.schema.column(k).path
        name = path.split(".")[0]
        if name in columns and name not in constant and (name != "electronic_steps" or path.endswith(".e_fr_energy")):
            leaves.append(path)
    return parquet.iter_batches(batch_size=ROWS, row_groups=[group], columns=leaves, use_threads=False)


def _plain(error: Exception) -> str:
    """Return the message of an error on one line, without terminal colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:200]


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        problem = _plain(error)
        raise DataError(f"{path}: can't be read ({problem}); run the same command again to resume") from None


def needed_columns(curation: Curation, electronic_change: bool) -> list[str]:
    """Return the names of the columns that are needed for frames."""
    energy = ENERGY_COLUMN[curation.energy or "free"]
    names = ["identifier", "run_type", "task_type", "elements", "cart_coords", "lattice", energy, "forces", "stress"]
    return [*names, "num_electronic_steps", *(["electronic_steps"] if electronic_change else [])]
