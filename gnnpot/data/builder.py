"""Resumable writing of a store: after an interruption, writing continues at the end of the last complete shard.

    with StoreBuilder("mp.store", {"table": uri, "version": 7}) as builder:
        for table, position in source.read_from(builder.position):
            builder.add(table, position, notes=lambda: counters)
        store = builder.finish(lambda shards: manifest)

Until it is finished, the store is in the folder `mp.store.unfinished`, with its complete shards and `state.json`, which
holds the position at which to continue reading the source, and the counts up to there. Both are written to disk before
the next shard is started. A shard ends with the call of `add` that fills it, so that the same calls always write the
same bytes, with or without interruptions.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.manifest import MANIFEST, Manifest, Shard
from gnnpot.data.store import ROW_GROUP, STORE, FrameStore, ShardWriter, disk_errors
from gnnpot.errors import DataError, GnnpotError
from gnnpot.runs.files import move_folder, recover, write_durably, write_text
from gnnpot.runs.guard import check_folder, check_name
from gnnpot.runs.identity import require_same
from gnnpot.runs.lock import RunLock

STATE, LOCK = "state.json", "lock"
FORMAT, VERSION = "gnnpot-unfinished-store", 1


class StoreBuilder:
    """Context manager that starts a store, or resumes an unfinished one.

    The attributes `position` and `notes` are from the last call of `add` that ended a shard; `None` and `{}` at first.

    Args:
        folder: Folder of the finished store.
        identity: Sources and options of the store, JSON values; an unfinished store with a different identity is not
            resumed.
        shard_size: Frames per shard; an interruption costs the work of at most one shard.
        overwrite: Replace an existing store.

    Raises:
        DataError: The store exists and `overwrite` is false, or another process is writing it.
        ConfigError: The unfinished store has a different identity and at least one complete shard.
    """

    def __init__(
        self, folder: Path | str, identity: Mapping[str, Any], *, shard_size: int = 16384, overwrite: bool = False
    ) -> None:
        self.folder = check_name(folder)
        self.unfinished = unfinished_folder(self.folder)
        self.shard_size, self.overwrite = shard_size, overwrite
        self.identity = json.loads(json.dumps({**identity, "shard_size": shard_size, "row_group": ROW_GROUP}))
        self.position: Any = None
        self.notes: dict[str, Any] = {}
        self.shards: list[Shard] = []
        self._writer: ShardWriter | None = None
        self._pending: list[pa.Table] = []
        recover(self.folder)
        check_folder(self.folder, overwrite=overwrite, kind=STORE)

    def __enter__(self) -> Self:
        with disk_errors(self.folder):
            self.unfinished.mkdir(parents=True, exist_ok=True)
        self._lock = RunLock(self.unfinished, "a store", LOCK)
        self._lock.acquire()
        with ExitStack() as unless_done:
            unless_done.callback(self._lock.release)
            self._resume()
            unless_done.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.discard()
        self._lock.release()
        # a rejected input leaves no folder; after a disk error or a signal, the store can be resumed
        if isinstance(error, GnnpotError) and not isinstance(error.__context__, OSError) and not self.shards:
            self._remove_nothing()

    def _remove_nothing(self) -> None:
        """Remove an unfinished store without shards; files of others in its folder are kept."""
        for name in (STATE, LOCK):
            (self.unfinished / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.unfinished.rmdir()

    @property
    def frames(self) -> int:
        """Number of frames in complete shards."""
        return sum(shard.frames for shard in self.shards)

    @property
    def pending(self) -> int:
        """Number of frames of the shard that is being written."""
        return (self._writer.frames if self._writer else 0) + sum(t.num_rows for t in self._pending)

    def add(self, table: pa.Table, position: Any, notes: Callable[[], dict]) -> None:
        """Append rows.

        Args:
            table: Rows with the columns of `schema.schema()`.
            position: Position at which to continue reading the source after these rows.
            notes: Called at the end of a shard; returns the values to store with the position.

        Raises:
            DataError: The disk is full; complete shards are kept.
        """
        self._pending.append(table)
        with disk_errors(self.unfinished, kept="complete shards are kept"):
            self._write(ROW_GROUP)
            if self.pending >= self.shard_size:
                self._end_shard()
                self._save(position, notes())

    def finish(self, manifest: Callable[[list[Shard]], Manifest]) -> FrameStore:
        """End the last shard, write `manifest(shards)`, and rename the folder to that of the finished store.

        Raises `DataError` if there are no frames; the unfinished store is then kept.
        """
        with disk_errors(self.unfinished, kept="complete shards are kept"):
            if self.pending:
                self._end_shard()
            if not self.shards:
                raise DataError(f"{self.folder}: no frame is left to write; check the source and the filters")
            write_durably(self.unfinished / MANIFEST, manifest(self.shards).to_text().encode())
        return self.put_in_place()

    @property
    def is_complete(self) -> bool:
        """Whether the manifest is written, and only the renaming of the folder is missing."""
        return (self.unfinished / MANIFEST).exists()

    def put_in_place(self) -> FrameStore:
        """Remove all files that do not belong to the store, rename its folder, and open it."""
        own = {MANIFEST, *(shard.name for shard in self.shards)}
        for path in self.unfinished.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in own and path.name not in (STATE, LOCK):
                path.unlink()
        (self.unfinished / STATE).unlink(missing_ok=True)
        with disk_errors(self.folder):
            # Windows can't remove an open file, or rename a folder that contains one
            self._lock.release()
            (self.unfinished / LOCK).unlink(missing_ok=True)
            move_folder(self.unfinished, self.folder, STORE, overwrite=self.overwrite)
        return FrameStore(self.folder)

    def _resume(self) -> None:
        path = self.unfinished / STATE
        if self.is_complete:
            self.shards = FrameStore(self.unfinished).manifest.shards
            return
        if not path.exists():
            with disk_errors(self.folder):
                self._save(None, {})
            return
        state = _read_state(path)
        try:
            identity = state["identity"]
            self.position, self.notes = state["position"], state["notes"]
            self.shards = [from_mapping(Shard, shard) for shard in state["shards"]]
        except KeyError as error:
            raise DataError(f"{path}: is damaged (no {error}); remove {self.unfinished} and start again") from None
        if not self.shards and identity != self.identity:
            # there are no shards to lose
            with disk_errors(self.folder):
                self._save(None, {})
            return
        require_same(identity, self.identity, where=self.unfinished, kind="a store")

    def _write(self, at_least: int) -> ShardWriter | None:
        """Write complete row groups of the pending tables, or all rows if `at_least` is 1; return the shard's writer.

        Nothing is written if fewer than `at_least` frames are pending.
        """
        rows = sum(t.num_rows for t in self._pending)
        if rows < at_least or rows == 0:
            return self._writer
        table = pa.concat_tables(self._pending).combine_chunks()
        whole = rows // ROW_GROUP * ROW_GROUP if at_least > 1 else rows
        self._pending = [table.slice(whole)] if whole < rows else []
        if self._writer is None:
            self._writer = ShardWriter(self.unfinished / f"shard-{len(self.shards):05d}.parquet")
        self._writer.write(table.slice(0, whole))
        return self._writer

    def _end_shard(self) -> None:
        writer = self._write(1)
        if writer is not None:
            self.shards.append(writer.close())
        self._writer = None

    def _save(self, position: Any, notes: dict) -> None:
        self.position, self.notes = position, notes
        state = {
            "format": FORMAT, "version": VERSION, "identity": self.identity, "position": position, "notes": notes,
            "shards": to_mapping(self.shards),
        }  # fmt: skip
        write_text(self.unfinished / STATE, json.dumps(state))


def unfinished_folder(folder: Path | str) -> Path:
    """Return the folder that holds a store until it is finished."""
    folder = Path(folder)
    return folder.with_name(folder.name + ".unfinished")


def unfinished_identity(folder: Path | str) -> dict[str, Any] | None:
    """Return the identity of the unfinished store of `folder`; `None` if there is none."""
    path = unfinished_folder(folder) / STATE
    return _read_state(path).get("identity") if path.exists() else None


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if (state["format"], state["version"]) != (FORMAT, VERSION):
            raise ValueError(f"it is of format {state['format']} {state['version']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is damaged ({error}); remove {path.parent} and start again") from None
    return state
