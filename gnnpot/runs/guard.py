"""The guard of outputs: what may be written, and what may be replaced. Each writer asks it before any work is done.

    path = check_file("relaxed.extxyz", overwrite=False)
    folder = check_folder("train.store", overwrite=True, kind=STORE)
    check_distinct({"trajectory": trajectory, "log": log})

A file is replaced where the user asks for it, if it is an ordinary file. A folder is replaced only if gnnpot made it:
it contains the marker file of its kind, and nothing that is not of that kind.
"""

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gnnpot.errors import ConfigError, DataError

#: bytes of a name; ext4, APFS and NTFS allow 255, hidden names of unfinished outputs are longer than the output's
MAX_NAME = 180
#: what file browsers and editors put into any folder
IGNORED = ("*.partial", ".DS_Store", "Thumbs.db", ".nfs*")
#: a report's page, and what all of gnnpot's have in their head
PAGE, GENERATOR = "report.html", b"body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px"


@dataclass(frozen=True)
class FolderKind:
    """What a folder that gnnpot made contains."""

    name: str  #: "a store"
    marker: str  #: a JSON file
    format: str | int | None  #: the value of `key` in it; `None`: any
    entries: tuple[str, ...]  #: patterns of everything else in it
    key: str = "format"  #: which the marker file has

    def made(self, folder: Path) -> bool:
        """Whether gnnpot made this folder: by its marker file, or where that is damaged by everything else in it."""
        try:
            content = json.loads((folder / self.marker).read_bytes())
        except OSError:
            return False
        except (ValueError, RecursionError):
            return len(list(folder.iterdir())) > 1 and not self.strangers(folder)
        if not isinstance(content, dict) or self.key not in content:
            return False
        return self.format is None or content[self.key] == self.format

    def strangers(self, folder: Path) -> list[str]:
        """Names in the folder that do not belong to this kind."""
        known = (self.marker, *self.entries, *IGNORED)
        return sorted(p.name for p in folder.iterdir() if not any(p.match(pattern) for pattern in known))


def check_file(path: Path | str, *, overwrite: bool = False, option: str = "--output") -> Path:
    """Check that a file may be written.

    Args:
        path: of the file.
        overwrite: an ordinary file of that name may be replaced.
        option: how the user gives it, for messages.

    Returns:
        The path.

    Raises:
        DataError: for a name that can't be one, a missing or read-only folder, a file that exists, and for all that is
            no ordinary file (folder, FIFO, device, link).
    """
    path = check_name(path, option)
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise DataError(f"{path}: is a folder; give the name of a file ({option})")
    if mode is not None and not stat.S_ISREG(mode):
        raise DataError(f"{path}: is {_what(mode)}, which gnnpot does not write to; give the name of a file ({option})")
    if mode is not None and not overwrite:
        raise DataError(f"{path}: exists already; give another name, or overwrite=True (--overwrite)")
    _check_parent(path, must_exist=True)
    return path


def check_folder(
    path: Path | str, *, overwrite: bool = False, kind: FolderKind | None = None, option: str = "--output"
) -> Path:
    """Check that a folder may be made, with those above it.

    Args:
        path: of the folder.
        overwrite: a folder of `kind` may be replaced.
        kind: what gnnpot's own folders of this kind contain.
        option: how the user gives it, for messages.

    Returns:
        The path.

    Raises:
        DataError: for a name that can't be one, a read-only place, and for all that exists and may not be replaced.
    """
    path = check_name(path, option)
    if _mode(path) is not None:
        if not overwrite:
            raise DataError(f"{path}: exists already; give another name, or overwrite=True (--overwrite)")
        replaceable(path, kind)
    _check_parent(path, must_exist=False)
    return path


def replaceable(path: Path, kind: FolderKind | None) -> None:
    """Raise `DataError` for a folder that gnnpot may not replace or delete: not its own, or with files of others."""
    mode = _mode(path)
    if mode is None:
        return
    if not stat.S_ISDIR(mode):
        raise DataError(f"{path}: is {_what(mode)}, which gnnpot does not replace by a folder; give another name")
    if _is_empty(path):
        return
    what = "a folder of gnnpot" if kind is None else kind.name
    if kind is None or not kind.made(path):
        raise DataError(f"{path}: is not {what} that gnnpot made, and is not replaced; give another name")
    if strangers := kind.strangers(path):
        raise DataError(
            f"{path}: contains {_listed(strangers)} beside {what}, which would be lost; move that away, or give "
            "another name"
        )


def check_distinct(outputs: Mapping[str, Path | str | None]) -> None:
    """Check that no two outputs are one file.

    Args:
        outputs: path of each output by what it is called; `None`: is not written.

    Raises:
        ConfigError: naming the two that are one.
    """
    known: dict[Path, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        place = Path(path).resolve()
        if place in known:
            raise ConfigError(f"{path}: can't be both the {known[place]} and the {name}; give two names")
        known[place] = name


def check_report_folder(path: Path | str, names: tuple[str, ...], option: str = "--output") -> Path:
    """Check that a report may be written into a folder: a new one, an empty one, or one with an earlier report alone.

    Args:
        path: of the folder.
        names: patterns of everything that belongs to such a report.
        option: how the user gives it, for messages.

    Returns:
        The path.

    Raises:
        DataError: for a name that can't be one, a read-only place, and a folder with files of others.
    """
    path = check_name(path, option)
    mode = _mode(path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise DataError(f"{path}: is {_what(mode)}; give the name of a folder ({option})")
    if mode is not None:
        known = (*names, *IGNORED)
        strangers = sorted(p.name for p in path.iterdir() if not any(p.match(pattern) for pattern in known))
        page = path / PAGE
        if strangers:
            raise DataError(
                f"{path}: contains {_listed(strangers)}, which are no part of a report; name a folder of its own "
                f"({option})"
            )
        if page.is_file() and GENERATOR not in page.read_bytes()[:4000]:
            raise DataError(f"{path}: contains a {PAGE} that gnnpot did not make; name another folder ({option})")
        if not os.access(path, os.W_OK | os.X_OK):
            raise DataError(f"{path}: is read-only; choose a folder that you may write to ({option})")
    _check_parent(path, must_exist=False)
    return path


def check_not_input(outputs: Mapping[str, Path | str | None], inputs: Iterable[Path | str]) -> None:
    """Check that no output is one of the inputs, which it would replace.

    Args:
        outputs: path of each output by what it is called; `None`: is not written.
        inputs: files and folders that are read.

    Raises:
        ConfigError: naming the output.
    """
    read = {Path(path).resolve() for path in inputs}
    for name, path in outputs.items():
        if path is not None and Path(path).resolve() in read:
            raise ConfigError(f"{path}: can't be both an input and the {name}; give another name")


def check_run_folder(path: Path, made: bool, option: str) -> None:
    """Check that a run may have this folder: as `check_folder`, but it may exist, and `made` says it is gnnpot's."""
    check_name(path, option)
    mode = _mode(path)
    if mode is not None and not path.is_dir():
        raise ConfigError(f"{path}: is {_what(mode)}; name another folder for the run")
    here = Path.cwd()
    if not made and path.resolve() in (here, *here.parents):
        raise ConfigError(f"{path}: is the folder that you are in, or above it; name a folder of its own for the run")
    _check_parent(path / "config.yaml", must_exist=False)


def check_new_run(path: Path, option: str) -> None:
    """Check that a run may begin in this folder: a new one, or one that is empty. Raises as `check_run_folder`."""
    check_run_folder(path, False, option)
    if path.is_dir() and not _is_empty(path):
        raise ConfigError(f"{path}: contains files that gnnpot did not make; name a folder of its own ({option})")


def check_name(path: Path | str, option: str = "--output") -> Path:
    """Check that a name can be one of an output: not empty, no `.` or `..`, no longer than file systems allow.

    Raises:
        DataError: for any other name.
    """
    text = os.fspath(path)
    if not text or Path(text).name in ("", "..") or "\0" in text:
        raise DataError(f"'{text}': can't be the name of an output; give one ({option})")
    longest = max(len(os.fsencode(part)) for part in Path(text).parts)
    if longest > MAX_NAME:
        raise DataError(f"{text[:40]}…: is a name of {longest} bytes; give one of at most {MAX_NAME} ({option})")
    return Path(text)


def _check_parent(path: Path, must_exist: bool) -> None:
    parent = path.parent
    if must_exist and not parent.is_dir():
        raise DataError(f"{path}: the folder {parent} does not exist; make it first")
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise DataError(f"{path}: {parent} is not a folder; give another name")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise DataError(f"{path}: the folder {parent} is read-only; choose one that you may write to")


def _mode(path: Path) -> int | None:
    """The kind of what has that name, a link for itself; `None`: nothing has it."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: can't be looked at ({error.strerror}); give another name") from None


def _what(mode: int) -> str:
    names = (
        (stat.S_ISLNK, "a link"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a folder"), (stat.S_ISREG, "a file"),
    )  # fmt: skip
    return next((name for test, name in names if test(mode)), "no ordinary file")


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
