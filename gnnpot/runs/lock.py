"""One process at a time in a folder, on every system; the lock of a process that dies is free.

Example::

    with RunLock(folder, "a training"): ...
"""

import logging
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from gnnpot.errors import DataError

log = logging.getLogger(__name__)


class RunLock:
    """The lock of a folder, which exists.

    Args:
        folder: to lock.
        what: is done in it, for messages: "a training".
        name: of the lock file in it.
    """

    def __init__(self, folder: Path, what: str, name: str = ".lock") -> None:
        self.folder, self.what = folder, what
        # not thread-local: a lock that one thread takes may be released by another
        self._lock = FileLock(folder / name, timeout=0, thread_local=False)

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DataError: if another process has it, or the folder can't be written.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise DataError(
                f"{self.folder}: another process is writing it ({self.what}); wait for its end or stop it"
            ) from None
        except NotImplementedError:
            # some network file systems of clusters
            log.warning("%s: its disk knows no locks; take care that one process only writes it", self.folder)
        except OSError as error:
            raise DataError(f"{self.folder}: can't be written ({error.strerror}); choose another folder") from None

    def release(self) -> None:
        """Let others take it."""
        self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
