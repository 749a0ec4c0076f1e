"""Checks of outputs: which files and folders may be written or replaced. Writers call them before any other work.

    path = check_file("relaxed.extxyz", overwrite=False)
    folder = check_folder("train.store", overwrite=True, kind=STORE)
    check_distinct({"trajectory": trajectory, "log": log})

A file is replaced on request if it is a regular file. A folder is only replaced if gnnpot created it: it contains the
marker file of its kind, and no files that do not belong to this kind.
"""

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gnnpot.errors import ConfigError, DataError

#: largest length of a name in bytes; ext4, APFS and NTFS allow 255, and names of temporary files are longer
MAX_NAME = 180
#: files that file browsers and file systems create in any folder, and temporary files
IGNORED = ("*.partial", ".DS_Store", "Thumbs.db", ".nfs*")
#: file name of a report, and text in the head of all reports of gnnpot
PAGE, GENERATOR = "report.html", b"body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px"


@dataclass(frozen=True)
class FolderKind:
    """Contents of a kind of folder that gnnpot creates."""

    name: str  #: name of the kind, for messages, such as "a store"
    marker: str  #: name of the marker file, a JSON file
    format: str | int | None  #: value of `key` in the marker file; `None` for any
    entries: tuple[str, ...]  #: patterns of all other files
    key: str = "format"  #: key that the marker file must have

    def is_created_by_gnnpot(self, folder: Path) -> bool:
        """Return whether gnnpot created a folder, from its marker file or, if that is damaged, its other files."""
        try:
            content = json.loads((folder / self.marker).read_bytes())
        except OSError:
            return False
        except (ValueError, RecursionError):
            return len(list(folder.iterdir())) > 1 and not self.foreign_files(folder)
        if not isinstance(content, dict) or self.key not in content:
            return False
        return self.format is None or content[self.key] == self.format

    def foreign_files(self, folder: Path) -> list[str]:
        """Return the names in a folder that do not belong to this kind."""
        known = (self.marker, *self.entries, *IGNORED)
        return sorted(p.name for p in folder.iterdir() if not any(p.match(pattern) for pattern in known))


def check_file(path: Path | str, *, overwrite: bool = False, option: str = "--output") -> Path:
    """Check that a file may be written.

    Args:
        path: The file.
        overwrite: Whether an existing regular file may be replaced.
        option: Name of the command line option, for messages.

    Returns:
        The path.

    Raises:
        DataError: The name is invalid, the folder is missing or read-only, the file exists, or it is not a regular file
            (folder, FIFO, device, link).
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
    """Check that a folder may be created, including its parents.

    Args:
        path: The folder.
        overwrite: Whether an existing folder of `kind` may be replaced.
        kind: Contents of folders of this kind.
        option: Name of the command line option, for messages.

    Returns:
        The path.

    Raises:
        DataError: The name is invalid, the parent is read-only, or the path exists and may not be replaced.
    """
    path = check_name(path, option)
    if _mode(path) is not None:
        if not overwrite:
            raise DataError(f"{path}: exists already; give another name, or overwrite=True (--overwrite)")
        replaceable(path, kind)
    _check_parent(path, must_exist=False)
    return path


def replaceable(path: Path, kind: FolderKind | None) -> None:
    """Raise `DataError` if a folder may not be replaced: not created by gnnpot, or with other files in it."""
    mode = _mode(path)
    if mode is None:
        return
    if not stat.S_ISDIR(mode):
        raise DataError(f"{path}: is {_what(mode)}, which gnnpot does not replace by a folder; give another name")
    if _is_empty(path):
        return
    what = "a folder of gnnpot" if kind is None else kind.name
    if kind is None or not kind.is_created_by_gnnpot(path):
        raise DataError(f"{path}: is not {what} that gnnpot made, and is not replaced; give another name")
    if foreign_files := kind.foreign_files(path):
        raise DataError(
            f"{path}: contains {_listed(foreign_files)} beside {what}, which would be lost; move that away, or give "
            "another name"
        )


def check_distinct(outputs: Mapping[str, Path | str | None]) -> None:
    """Check that no two outputs are the same file.

    Args:
        outputs: Path of each output by its name for messages; `None` if it is not written.

    Raises:
        ConfigError: Two outputs are the same file.
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
    """Check that a report may be written to a folder: it does not exist, is empty, or only has an earlier report.

    Args:
        path: The folder.
        names: Patterns of all files of such a report.
        option: Name of the command line option, for messages.

    Returns:
        The path.

    Raises:
        DataError: The name is invalid, the folder is read-only, or it has other files.
    """
    path = check_name(path, option)
    mode = _mode(path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise DataError(f"{path}: is {_what(mode)}; give the name of a folder ({option})")
    if mode is not None:
        known = (*names, *IGNORED)
        foreign_files = sorted(p.name for p in path.iterdir() if not any(p.match(pattern) for pattern in known))
        page = path / PAGE
        if foreign_files:
            raise DataError(
                f"{path}: contains {_listed(foreign_files)}, which are no part of a report; name a folder of its own "
                f"({option})"
            )
        if page.is_file() and GENERATOR not in page.read_bytes()[:4000]:
            raise DataError(f"{path}: contains a {PAGE} that gnnpot did not make; name another folder ({option})")
        if not os.access(path, os.W_OK | os.X_OK):
            raise DataError(f"{path}: is read-only; choose a folder that you may write to ({option})")
    _check_parent(path, must_exist=False)
    return path


def check_not_input(outputs: Mapping[str, Path | str | None], inputs: Iterable[Path | str]) -> None:
    """Check that no output would replace an input.

    Args:
        outputs: Path of each output by its name for messages; `None` if it is not written.
        inputs: Files and folders that are read.

    Raises:
        ConfigError: An output is also an input.
    """
    read = {Path(path).resolve() for path in inputs}
    for name, path in outputs.items():
        if path is not None and Path(path).resolve() in read:
            raise ConfigError(f"{path}: can't be both an input and the {name}; give another name")


def check_run_folder(path: Path, made: bool, option: str) -> None:
    """Check that a run may use a folder, which may exist; `made` is whether it was created by gnnpot.

    Raises `DataError` for an invalid name or a read-only parent, `ConfigError` for a path that is not a folder, or that
    is the current folder or a parent of it.
    """
    check_name(path, option)
    mode = _mode(path)
    if mode is not None and not path.is_dir():
        raise ConfigError(f"{path}: is {_what(mode)}; name another folder for the run")
    here = Path.cwd()
    if not made and path.resolve() in (here, *here.parents):
        raise ConfigError(f"{path}: is the folder that you are in, or above it; name a folder of its own for the run")
    _check_parent(path / "config.yaml", must_exist=False)


def check_new_run(path: Path, option: str) -> None:
    """Check that a folder for a new run does not exist or is empty. Raises as `check_run_folder`."""
    check_run_folder(path, False, option)
    if path.is_dir() and not _is_empty(path):
        raise ConfigError(f"{path}: contains files that gnnpot did not make; name a folder of its own ({option})")


def check_name(path: Path | str, option: str = "--output") -> Path:
    """Check that a name is valid for an output: not empty, `.` or `..`, and at most `MAX_NAME` bytes.

    Raises:
        DataError: The name is invalid.
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
    """Return the file mode of a path, without following links; `None` if it does not exist."""
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
