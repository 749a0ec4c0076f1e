"""The data of suites that are not shipped: at a path that the user gives, or fetched once and checked.

path = data_file(ELASTICITY, options.data)      # options.data: the file, or a folder that has it
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from gnnpot.errors import DataError
from gnnpot.hub.cache import cache_folder
from gnnpot.hub.download import LogProgress, Report, download


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a suite."""

    name: str
    sha256: str
    size: int  #: bytes
    what: str  #: for the sentence where it is missing
    url: str = ""  #: empty: it has no lasting address


def data_file(file: DataFile, given: Path | None, report: Report | None = None) -> Path:
    """Where a file is: at the path that was given, in the cache, or fetched from its address.

    A file that the user names is taken unchanged, with any name and content: its sha256 is part of the results.

    Raises:
        DataError: it is nowhere, or what was fetched is not what it should be.
    """
    if given is not None:
        path = given / file.name if given.is_dir() else given
        if not path.is_file():
            raise DataError(f"{path}: does not exist; give {file.what} ({file.name}), or the folder that has it")
        return path
    path = cache_folder() / "suites" / file.name
    if path.is_file() and sha256_of(path) == file.sha256:
        return path
    if not file.url:
        raise DataError(f"{file.what} ({file.name}) is not shipped; give the file or its folder with --data")
    partial = path.with_name(f".{path.name}.part")
    download(file.url, partial, file.size, report or LogProgress())
    if sha256_of(partial) != file.sha256:
        partial.unlink()
        raise DataError(f"{file.url}: is not {file.what} as it was published (another sha256); give it with --data")
    os.replace(partial, path)
    return path


def sha256_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
