"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from gnnpot.errors import DataError


def write_text(path: Path, text: str) -> None:
    """Write a text file: after a crash or on a full disk the old one is still there. Raises `DataError`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file: after a crash or on a full disk the old one is still there. Raises `DataError`."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write_durably(partial, data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{path}: can't be written ({error.strerror or error}); nothing was changed") from None


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def new_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill; it gets the name `folder` when the block ends, and vanishes if the block raises.

    Remains of writers that were killed on this machine are removed. Raises `DataError` if `folder` exists and
    `overwrite` is not given.
    """
    if folder.exists() and not overwrite:
        raise DataError(f"{folder}: exists already; give another name, or overwrite=True (--overwrite)")
    prefix = f".{folder.name}.{socket.gethostname()}-"
    partial = folder.with_name(f"{prefix}{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead(folder.parent, prefix)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    except OSError as error:
        raise DataError(f"{folder}: can't be made ({error.strerror}); choose a folder that you may write to") from None
    try:
        yield partial
        try:
            move_folder(partial, folder)
        except OSError as error:
            raise DataError(f"{folder}: can't be put in place ({error.strerror}); nothing was changed") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_folder(partial: Path, folder: Path) -> None:
    """Give a folder another name; what has that name is removed, once the new one stands there."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.rename(folder, old)
    try:
        os.rename(partial, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_dead(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*.partial"):
        pid = path.name.removeprefix(prefix).removesuffix(".partial")
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
