"""Atomic writing of files and folders.

    write_text(path, text)
    with new_folder(Path("train.store"), overwrite=True, kind=STORE) as folder: ...

The new file or folder is written next to the old one, with a hidden name that contains the process id (for folders,
also the host), and renamed at the end. Remains of killed processes of this host are cleaned up by the next writer of a
folder: an old folder that was not replaced gets its name back, everything else is removed.
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import psutil

from gnnpot.errors import DataError
from gnnpot.runs.guard import FolderKind, check_file, check_folder


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically; if it fails, the old file is unchanged.

    Args:
        path: The file; its folder must exist.
        text: The contents.

    Raises:
        DataError: The file can't be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes as `write_text`."""
    try:
        with replaced_file(path) as file:
            file.write(data)
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror or error}); nothing was changed") from None


@contextlib.contextmanager
def replaced_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file that is renamed to `path` at the end of the block, or removed if the block raises.

    It is meant for large files, and for callers that handle `OSError`; use `write_bytes` otherwise.

    Args:
        path: The file; an existing file is replaced.
        durable: Flush the new file to disk before the old one is replaced.

    Raises:
        OSError: The file can't be written; the old file is unchanged.
    """
    partial = path.with_name(f".{path.name[:100]}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def appending(path: Path, error: BaseException | None = None) -> Iterator[None]:
    """Raise `OSError` of writes to the output of a run as `DataError`.

    Args:
        path: The output.
        error: An error because of which the output is closed. It is not replaced: a file whose last write failed also
            fails when it is closed.
    """
    try:
        yield
    except OSError as failure:
        if error is None:
            raise DataError(
                f"{path}: can't be written ({failure.strerror or failure}); free some space and resume the run"
            ) from None


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and flush it to disk. Raises `OSError`."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path | str, write: Callable[[Path], None], *, overwrite: bool = False) -> None:
    """Write a temporary file with `write`, then rename it to `path`.

    Args:
        path: The file.
        write: Called with the temporary path, which has the same suffix.
        overwrite: Replace an existing regular file.

    Raises:
        DataError: As `guard.check_file`, or the file can't be written; the old file is unchanged.
    """
    path = check_file(path, overwrite=overwrite)
    temporary = path.with_name(f".{path.stem[:100]}-{socket.gethostname()}-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror or error}); nothing was changed") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(folder: Path, overwrite: bool = False, kind: FolderKind | None = None) -> Iterator[Path]:
    """Create a temporary folder that is renamed to `folder` at the end of the block, or removed if the block raises.

    Args:
        folder: The folder.
        overwrite: Replace a folder of `kind`; other folders are never replaced (`guard.replaceable`).
        kind: Contents of folders of this kind.

    Raises:
        DataError: `folder` exists and may not be replaced, or it can't be written.
    """
    recover(folder)
    check_folder(folder, overwrite=overwrite, kind=kind)
    partial = _beside(folder, "partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    except OSError as error:
        raise DataError(f"{folder}: can't be made ({error.strerror}); choose a folder that you may write to") from None
    try:
        yield partial
        try:
            move_folder(partial, folder, kind, overwrite=overwrite)
        except OSError as error:
            raise DataError(f"{folder}: can't be put in place ({error.strerror}); nothing was changed") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_folder(partial: Path, folder: Path, kind: FolderKind | None = None, *, overwrite: bool = True) -> None:
    """Rename a folder; an existing folder of the new name is removed afterwards.

    Args:
        partial: The folder, in the same file system.
        folder: Its new name.
        kind: As in `new_folder`.
        overwrite: As in `new_folder`; another process may have created `folder` since the first check.

    Raises:
        DataError: `folder` exists and may not be replaced.
        OSError: The folder can't be renamed; an existing `folder` is unchanged.
    """
    old = _beside(folder, "old")
    if folder.exists():
        check_folder(folder, overwrite=overwrite, kind=kind)
        os.rename(folder, old)
    try:
        os.rename(partial, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Clean up temporary folders of killed processes of this host that were writing `folder`."""
    prefix = f".{folder.name}."
    try:
        beside = [path for path in folder.parent.iterdir() if path.name.startswith(prefix)]
    except OSError:
        return
    for path in sorted(beside, key=lambda path: path.suffix != ".old"):
        if path.suffix not in (".old", ".partial") or not path.is_dir() or path.is_symlink():
            continue
        host, _, process = path.stem.removeprefix(prefix).rpartition("-")
        # names of version 0.1 do not contain the host
        if host not in (socket.gethostname(), "") or not process.isdigit() or psutil.pid_exists(int(process)):
            continue
        if path.suffix == ".old" and not folder.exists():
            with contextlib.suppress(OSError):
                os.rename(path, folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{socket.gethostname()}-{os.getpid()}.{suffix}")
