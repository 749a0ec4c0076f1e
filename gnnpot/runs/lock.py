"""Locks that allow one process at a time in a folder, on all platforms. The lock of a process that dies is released.

Example::

    with RunLock(folder, "a training"): ...
    with file_lock(path, "a prediction"): ...
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from gnnpot.errors import DataError

log = logging.getLogger(__name__)


class RunLock:
    """Lock of an existing folder.

    Args:
        folder: The folder.
        what: Kind of run, for messages, such as "a training".
        name: Name of the lock file in the folder.
        shown: Path in messages, if only one file in the folder is locked; default: the folder.
    """

    def __init__(self, folder: Path, what: str, name: str = ".lock", shown: Path | None = None) -> None:
        self.folder, self.what, self.shown = folder, what, shown or folder
        # not thread-local, so that a different thread may release the lock
        self._lock = FileLock(folder / name, timeout=0, thread_local=False)

    def acquire(self) -> None:
        """Acquire the lock.

        Raises:
            DataError: Another process holds the lock, or the folder can't be written.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise DataError(
                f"{self.shown}: another process is writing it ({self.what}); wait for its end or stop it"
            ) from None
        except NotImplementedError:
            # some network file systems of clusters do not support locks
            log.warning("%s: the file system has no locks; make sure that only one process writes to it", self.shown)
        except OSError as error:
            raise DataError(f"{self.shown}: can't be written ({error.strerror}); choose another folder") from None

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


@contextlib.contextmanager
def file_lock(path: Path, what: str) -> Iterator[None]:
    """Context manager that locks one file of a folder by a hidden file beside it, which is removed at the end.

    Args:
        path: The file that is written; it need not exist.
        what: Kind of run, for messages, such as "a prediction".

    Raises:
        DataError: Another process holds the lock, or the folder can't be written.
    """
    name = f".{path.name}.lock"
    with RunLock(path.parent, what, name, shown=path):
        try:
            yield
        finally:
            # Windows does not remove an open file
            with contextlib.suppress(OSError):
                path.with_name(name).unlink()
