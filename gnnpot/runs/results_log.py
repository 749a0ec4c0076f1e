"""Results log: an append-only file with the records of finished tasks.

    with ResultsLog(folder, plan, "labelling") as results:
        if 7 not in results: results.add(7, content)
        for content in results.contents(): ...

    plan.json        everything that the results depend on; it must be the same when a run is resumed
    journal          records: length [8 bytes], task [8], digest [16], content

An incomplete record, written by a process that was killed, is detected by its length or digest, and removed when the
log is opened again.
"""

import hashlib
import json
import logging
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gnnpot.errors import DataError
from gnnpot.runs.files import write_text
from gnnpot.runs.identity import require_same
from gnnpot.runs.lock import RunLock

log = logging.getLogger(__name__)

PLAN, RECORDS = "plan.json", "journal"
_HEAD = struct.Struct("<QQ16s")


class ResultsLog:
    """The results log in `folder`, which is created if it does not exist; locked by one process at a time.

    Args:
        folder: Folder of the log.
        plan: JSON values that the results depend on: the identity of the run.
        what: Kind of run, for messages, such as "labelling".
        fresh: Remove earlier results.

    Raises:
        ConfigError: The folder contains the log of a different plan.
        DataError: Another process has opened the log, or it can't be written.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], what: str = "a run", fresh: bool = False) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: can't be written ({error.strerror}); choose another --output") from None
        self._lock = RunLock(folder, what)
        self._lock.acquire()
        try:
            self._file = (folder / RECORDS).open("a+b")
        except OSError as error:
            self._lock.release()
            raise DataError(f"{folder}: can't be written ({error.strerror}); choose another --output") from None
        try:
            if fresh:
                self._file.truncate(0)
                (folder / PLAN).unlink(missing_ok=True)
            self._places: dict[int, tuple[int, int]] = {}
            self._find_records()
            self._agree(plan, what)
        except OSError as error:
            self.close()
            raise DataError(f"{folder}: can't be written ({error.strerror}); choose another --output") from None
        except BaseException:
            self.close()
            raise

    def _agree(self, plan: Mapping[str, Any], what: str) -> None:
        path = self.folder / PLAN
        # a log without records can be replaced without loss
        if len(self) and path.is_file():
            require_same(read_plan(self.folder), plan, where=self.folder, kind=what)
        else:
            write_text(path, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")

    def _find_records(self) -> None:
        position, size = 0, self._file.seek(0, 2)
        while position + _HEAD.size <= size:
            self._file.seek(position)
            length, task, digest = _HEAD.unpack(self._file.read(_HEAD.size))
            start = position + _HEAD.size
            if start + length > size or _digest(task, self._file.read(length)) != digest:
                break
            self._places[task] = (start, length)
            position = start + length
        self._file.truncate(position)
        self._file.seek(position)

    def __contains__(self, task: int) -> bool:
        return task in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, task: int, content: bytes) -> None:
        """Write a record. After the return, it is not lost if this process is killed. Raises `DataError`."""
        head = _HEAD.pack(len(content), task, _digest(task, content))
        try:
            place = self._file.seek(0, 2)
            self._file.write(head + content)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.folder}: can't be written ({error.strerror}); free some space and run the same command again"
            ) from None
        self._places[task] = (place + _HEAD.size, len(content))

    def contents(self) -> Iterator[bytes]:
        """Yield the contents of the records, in the order of the task numbers."""
        for task in sorted(self._places):
            start, length = self._places[task]
            self._file.seek(start)
            yield self._file.read(length)

    def remove(self) -> None:
        """Close the log, and remove its folder."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Close the log, and release the lock."""
        try:
            self._file.close()
        except OSError:
            # the disk is full: `add` has raised the error, and the file still holds the record that it could not write
            log.debug("%s: the last record is incomplete", self.folder)
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_plan(folder: Path) -> dict[str, Any]:
    """Return the plan of the results log in `folder`; empty if it is missing or can't be read."""
    try:
        plan = json.loads((folder / PLAN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def _digest(task: int, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16, salt=struct.pack("<Q", task)).digest()
