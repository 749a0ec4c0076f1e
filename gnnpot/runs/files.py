"""Files and folders that appear whole or not at all.

    write_text(path, text)
    with new_folder(Path("train.store"), overwrite=True, kind=STORE) as folder: ...

The new one is filled beside the old one, under a hidden name with the host and the process in it, and renamed at the
end. What killed processes of this machine have left is put in order by the next writer of the same name: an old folder
whose replacement never came gets its name back, everything else is removed.
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
    """Write a file as UTF-8: after a crash or on a full disk the old one is still there.

    Args:
        path: of the file; its folder exists.
        text: the whole content.

    Raises:
        DataError: if it can't be written; the old file is unchanged.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`, for bytes."""
    try:
        with replaced_file(path) as file:
            file.write(data)
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror or error}); nothing was changed") from None


@contextlib.contextmanager
def replaced_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to fill; it gets the name `path` when the block ends, and vanishes if the block raises.

    For what is too large to be held as bytes, and for callers with an error of their own; others call `write_bytes`.

    Args:
        path: the name that it gets; an old file of that name is replaced.
        durable: wait until it is on the disk before the old file goes.

    Raises:
        OSError: if the disk refuses; the old file is unchanged.
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


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk. Raises OSError."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path | str, write: Callable[[Path], None], *, overwrite: bool = False) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it.

    Args:
        path: of the file.
        write: called with the temporary path, which has the same ending.
        overwrite: replace an ordinary file of that name.

    Raises:
        DataError: as `guard.check_file`, or if the disk refuses; the old file is unchanged.
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
    """A folder to fill; it gets the name `folder` when the block ends, and vanishes if the block raises.

    Args:
        folder: the name that it gets.
        overwrite: replace a folder of `kind`; any other is refused (`guard.replaceable`).
        kind: what gnnpot's own folders of this kind contain.

    Raises:
        DataError: if `folder` exists and may not be replaced, or can't be written.
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
    """Give a folder another name; what has that name is removed, once the new one stands there.

    Args:
        partial: the folder, on the same disk.
        folder: its new name.
        kind: as in `new_folder`.
        overwrite: as in `new_folder`: another process may have made one of that name since it was asked for.

    Raises:
        DataError: if what has the name is not gnnpot's, or is not to be replaced.
        OSError: if the disk refuses; what has the name is unchanged.
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
    """Put in order what killed writers of `folder` on this machine have left beside it."""
    prefix = f".{folder.name}."
    try:
        beside = [path for path in folder.parent.iterdir() if path.name.startswith(prefix)]
    except OSError:
        return
    for path in sorted(beside, key=lambda path: path.suffix != ".old"):
        if path.suffix not in (".old", ".partial") or not path.is_dir() or path.is_symlink():
            continue
        host, _, process = path.stem.removeprefix(prefix).rpartition("-")
        # version 0.1 wrote no host into the names of old folders
        if host not in (socket.gethostname(), "") or not process.isdigit() or psutil.pid_exists(int(process)):
            continue
        if path.suffix == ".old" and not folder.exists():
            with contextlib.suppress(OSError):
                os.rename(path, folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{socket.gethostname()}-{os.getpid()}.{suffix}")
