"""The folder for compiled kernels. Only the user (or root) may be able to write to it.

Numba reads its cache with pickle: another user who could write to the folder could execute code as this user.
The first folder of this table whose condition holds is used:

| folder                                                     | condition                                        |
|------------------------------------------------------------|--------------------------------------------------|
| `GNNPOT_KERNELS`                                           | the variable is set; the folder may be read-only |
| `NUMBA_CACHE_DIR`/gnnpot                                   | the variable is set and the folder is writable   |
| `XDG_CACHE_HOME`/gnnpot/kernels, ~/.cache/gnnpot/kernels   | the folder is writable                           |
| gnnpot-kernels-USER in the folder for temporary files      | the folder is writable                           |
| none: kernels are compiled in each process                 |                                                  |
"""

import functools
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

from gnnpot.errors import ConfigError

log = logging.getLogger(__name__)

#: number of folders with kernels of older source code that are kept for each module
KEPT = 4


@functools.cache
def kernel_folder() -> Path | None:
    """Return the folder for compiled kernels, or `None` if there is none.

    A warning is logged if there is none, or if the folder is a temporary one.

    Raises:
        ConfigError: `GNNPOT_KERNELS` does not name a folder of this user (or root) that other users can't write to.
    """
    if named := os.environ.get("GNNPOT_KERNELS"):
        path = Path(named).expanduser()
        if not _make(path) or not _is_private(path):
            raise ConfigError(
                f"GNNPOT_KERNELS={path}: must be a folder of this user that others can't write to; name another one"
            )
        return path
    for path in _usual():
        if _make(path) and _is_private(path) and can_be_written(path):
            return path
    temporary = _temporary()
    if temporary is not None and _make(temporary) and _is_private(temporary) and can_be_written(temporary):
        log.warning("compiled kernels are kept in %s: no other folder can be written (see GNNPOT_KERNELS)", temporary)
        return temporary
    log.warning("kernels are compiled in each process: no folder can be written to keep them (see GNNPOT_KERNELS)")
    return None


def remove_older(folder: Path) -> None:
    """Remove kernels of older source code of the module that `folder` belongs to, except the `KEPT` newest folders."""
    module = folder.name.rpartition("-")[0]
    others = [p for p in folder.parent.glob(f"{module}-*") if p.name.rpartition("-")[0] == module and p != folder]
    try:
        for old in sorted(others, key=lambda p: p.stat().st_mtime)[: -KEPT or None]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        # another process is removing them
        return


def can_be_written(path: Path) -> bool:
    """Whether files can be created in a folder."""
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return False
    return True


def _usual() -> list[Path]:
    paths = []
    if numba_folder := os.environ.get("NUMBA_CACHE_DIR"):
        paths.append(Path(numba_folder) / "gnnpot")
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        paths.append((Path(base) if base else Path.home() / ".cache") / "gnnpot" / "kernels")
    except RuntimeError:
        log.debug("this user has no home")
    return paths


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir()) / f"gnnpot-kernels-{_user()}"
    except FileNotFoundError:
        # no folder for temporary files can be written, as in a container with a read-only file system
        return None


def _make(path: Path) -> bool:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return True


def _is_private(path: Path) -> bool:
    """Whether a path is a folder (not a link) of this user or root that nobody else can write to."""
    try:
        status = path.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    if os.name == "nt":
        # folders in a user's profile belong to that user
        return True
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else os.environ.get("USERNAME", "user")
