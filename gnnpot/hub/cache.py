"""The local cache of published potentials.

Example::

    with cache_lock("7net-0"):                # one process at a time
        store(data, source_path("7net-0", "checkpoint.pth"))
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from gnnpot.errors import CheckpointError
from gnnpot.runs.files import replaced_file

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the cache folder: `GNNPOT_CACHE`, else `gnnpot` in `XDG_CACHE_HOME`, else `~/.cache/gnnpot`."""
    chosen = os.environ.get("GNNPOT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gnnpot"


def checkpoint_folder(full_name: str) -> Path:
    """Return the folder of the checkpoint of a published potential; it exists if the potential has been imported."""
    return cache_folder() / "checkpoints" / full_name


def source_path(name: str, file: str) -> Path:
    """Return the path of a published file of a potential in the cache."""
    return cache_folder() / "sources" / name / file


def has_sha256(path: Path, sha256: str) -> bool:
    """Return whether a file exists and has this sha256."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def store(data: bytes, path: Path) -> None:
    """Write a file to the cache, atomically. Raises `CheckpointError` if it can't be written."""
    with cache_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as file:
            file.write(data)


@contextlib.contextmanager
def cache_errors() -> Iterator[None]:
    """Convert `OSError` to a `CheckpointError` with advice for the user."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{cache_folder()}: the cache can't be written ({error.strerror or error}); "
            "set GNNPOT_CACHE to a folder that you may write to, with room"
        ) from None


@contextlib.contextmanager
def cache_lock(what: str) -> Iterator[None]:
    """Lock a part of the cache; other processes wait. The lock of a process that dies is released.

    Raises `CheckpointError` if the cache can't be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(cache_folder() / "locks" / f"{what}.lock")
    with cache_errors():
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("%s: waiting for another process that fetches it", what)
            lock.acquire()
        except NotImplementedError:
            # some network file systems of clusters do not support locks; files are complete and verified without them
            logger.info("%s: the file system of the cache has no locks", what)
    try:
        yield
    finally:
        lock.release()
