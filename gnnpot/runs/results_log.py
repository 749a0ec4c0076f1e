"""What has been labelled so far, on disk: a file that only grows, and says which of it is whole.

    plan.json        what is labelled, how and by what; another call may go on only if it is the same
    journal          records: length [8 bytes], task [8], digest [16], content

A record that a kill cut off is found by its length or digest, and goes when the journal is opened again.
"""

import fcntl
import hashlib
import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.files import write_text

_HEAD = struct.Struct("<QQ16s")


class Journal:
    """The journal in `folder`, which is made if it is not there; for one process at a time. `fresh` empties it first.

    Raises `ConfigError` if it was begun for another `plan`, `DataError` if another process is at it or it can't be
    written.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], fresh: bool = False) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "journal").open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise DataError(f"{folder}: another process is labelling into it; wait for it or end it") from None
        except OSError as error:
            raise DataError(f"{folder}: can't be written ({error.strerror}); choose another --output") from None
        if fresh:
            self._file.truncate(0)
            (folder / "plan.json").unlink(missing_ok=True)
        try:
            self._agree(plan)
        except ConfigError:
            self._file.close()
            raise
        self._places: dict[int, tuple[int, int]] = {}
        self._find_records()

    def _agree(self, plan: Mapping[str, Any]) -> None:
        path = self.folder / "plan.json"
        if not path.is_file():
            write_text(path, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
            return
        try:
            begun = json.loads(path.read_text())
        except ValueError:
            begun = {}
        different = sorted(name for name in {*plan, *begun} if plan.get(name) != begun.get(name))
        if different:
            raise ConfigError(
                f"{self.folder}: was begun with other {', '.join(different)}; give the same again, or begin anew with "
                "--fresh"
            )

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
        """Write a record; once this returns, a kill of this process does not lose it."""
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
        """The records' contents in the order of their tasks."""
        for task in sorted(self._places):
            start, length = self._places[task]
            self._file.seek(start)
            yield self._file.read(length)

    def remove(self) -> None:
        """Take it off the disk."""
        self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _digest(task: int, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16, salt=struct.pack("<Q", task)).digest()
