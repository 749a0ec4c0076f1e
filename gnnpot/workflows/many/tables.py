"""The folder of results: a table of all structures, the structures that were computed, and those that failed."""

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
#: rows that are written together
GROUP = 1000
#: different errors that are named
SHOWN = 5
_COUNTS = ("count", "failed", "not_converged")
#: what the folder contains
MANY = FolderKind("a folder of results of many structures", ABOUT, "gnnpot-many", (TABLE, COMPUTED, FAILED))


@dataclass(frozen=True)
class Many:
    """What came of many structures."""

    folder: Path
    structures: int
    failed: int  #: rows with an error
    not_converged: int  #: relaxations that ended before
    errors: Mapping[str, int]  #: the commonest errors, how often each
    resumed_from: int  #: structures that an earlier call had computed
    identity: Mapping[str, Any]  #: what was computed by what, as JSON

    @property
    def table(self) -> Path:
        """The Parquet file."""
        return self.folder / TABLE


def write_many(
    records: Callable[[], Iterable[bytes]],
    folder: Path,
    identity: Mapping[str, Any],
    resumed_from: int,
    overwrite: bool,
) -> Many:
    """Write the folder; it appears whole.

    Args:
        records: gives all records, each time it is called.
        folder: to write.
        identity: what was computed by what, as JSON.
        resumed_from: structures that an earlier call had computed.
        overwrite: replace a folder of this kind.

    Raises:
        DataError: It exists and may not be replaced, or the disk refuses.
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
    """What an earlier call has written. Raises `DataError` if its file about it can't be read."""
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
    """Rows of the table, of which each is looked at before any is written: types of the columns, and what to count."""

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
    """Of a column; values of several types, which no column holds, are written as JSON."""
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
