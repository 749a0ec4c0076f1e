"""Folder of results: a table of all structures, the computed structures, and those that failed."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gnnpot.data.store import disk_errors
from gnnpot.errors import DataError
from gnnpot.runs.files import new_folder, write_durably
from gnnpot.runs.guard import FolderKind
from gnnpot.workflows.many.worker import unpack

TABLE, COMPUTED, FAILED, ABOUT = "table.parquet", "structures.extxyz", "failed.extxyz", "run.json"
#: number of rows in a row group of the table
GROUP = 1000
#: largest number of different errors in `Many.errors`
SHOWN = 5
_COUNTS = ("count", "failed", "not_converged")
#: contents of the folder
MANY = FolderKind("a folder of results of many structures", ABOUT, "gnnpot-many", (TABLE, COMPUTED, FAILED))


@dataclass(frozen=True)
class Many:
    """Summary of the results of many structures."""

    folder: Path
    structures: int  #: number of structures
    failed: int  #: number of structures that failed
    not_converged: int  #: number of relaxations that did not converge
    errors: Mapping[str, int]  #: the most frequent errors, and how often each occurred
    resumed_from: int  #: number of structures that an earlier call had computed
    identity: Mapping[str, Any]  #: calculation, options, model and structures, as values for JSON

    @property
    def table(self) -> Path:
        """Path of the table, a Parquet file."""
        return self.folder / TABLE


def write_many(
    records: Callable[[], Iterable[bytes]],
    folder: Path,
    identity: Mapping[str, Any],
    resumed_from: int,
    overwrite: bool,
) -> Many:
    """Write the folder of results atomically.

    Args:
        records: Gives all records, each time it is called.
        folder: Folder to write.
        identity: Calculation, options, model and structures, as values for JSON.
        resumed_from: Number of structures that an earlier call had computed.
        overwrite: Whether to replace an existing folder of results.

    Raises:
        DataError: The folder exists and may not be replaced, or it can't be written.
    """
    rows = _Rows()
    with new_folder(folder, overwrite, MANY) as partial, disk_errors(folder, "what was computed is kept"):
        with (partial / COMPUTED).open("wb") as computed, (partial / FAILED).open("wb") as failed:
            for record in records():
                row, text = unpack(record)
                rows.look_at(row)
                (computed if row["error"] is None else failed).write(text)
        for name in (COMPUTED, FAILED):
            if (partial / name).stat().st_size == 0:
                (partial / name).unlink()
        rows.write((unpack(record)[0] for record in records()), partial / TABLE)
        errors = dict(rows.errors.most_common(SHOWN))
        counts = rows.count, rows.errors.total(), rows.not_converged
        found = Many(folder, *counts, errors, resumed_from, dict(identity))
        about = {"format": MANY.format, "version": 1, **identity, "errors": found.errors}
        about |= dict(zip(_COUNTS, counts, strict=True))
        write_durably(partial / ABOUT, (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())
    return found


def read_many(folder: Path) -> Many:
    """Read the summary that an earlier call has written. Raises `DataError` if it can't be read."""
    try:
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        counts = [about.pop(name) for name in (*_COUNTS, "errors")]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder / ABOUT}: can't be read ({error}); begin anew with another folder") from None
    structures, failed, not_converged, errors = counts
    for name in ("format", "version"):
        about.pop(name, None)
    return Many(folder, structures, failed, not_converged, errors, structures, about)


class _Rows:
    """Writer of the table; `look_at` must have seen all rows, to determine column types and counts, before `write`."""

    def __init__(self) -> None:
        self.count = self.not_converged = 0
        self.errors: Counter[str] = Counter()
        self._kinds: dict[str, set[type]] = {}

    def look_at(self, row: Mapping[str, Any]) -> None:
        self.count += 1
        self.not_converged += row.get("converged") is False
        if row["error"] is not None:
            self.errors[row["error"]] += 1
        for name, value in row.items():
            kinds = self._kinds.setdefault(name, set())
            if value is not None:
                kinds.add(type(value))

    def write(self, rows: Iterator[Mapping[str, Any]], path: Path) -> None:
        types = {name: _type(kinds) for name, kinds in self._kinds.items()}
        with pq.ParquetWriter(path, pa.schema(types.items())) as writer:
            while group := list(islice(rows, GROUP)):
                columns = {name: _column([row.get(name) for row in group], kind) for name, kind in types.items()}
                writer.write_table(pa.table(columns))


def _type(kinds: set[type]) -> pa.DataType:
    """Type of a column; values of different types are written as JSON strings."""
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    return pa.list_(pa.float64()) if kinds == {list} else pa.string()


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == pa.float64():
        values = [None if v is None else float(v) for v in values]
    if kind == pa.string():
        values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pa.array(values, kind)
