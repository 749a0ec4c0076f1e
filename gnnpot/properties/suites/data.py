"""The data of suites that are not shipped, at a path that the user gives.

path = data_file(MODULI, options.data)      # options.data: the file, or a folder that has it
rows = read_rows(MODULI, options.data, ("mp_id", "structure", "bulk_modulus_vrh"))
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnpot.data.readers.base import open_binary
from gnnpot.errors import DataError


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a suite."""

    name: str  #: in a folder; a file that is given itself may have any
    what: str  #: for the sentence where it is missing


def data_file(file: DataFile, given: Path | None) -> Path:
    """Where a file is.

    A file that the user names is taken unchanged, with any name and content: its sha256 is part of the results.

    Args:
        file: which one.
        given: the file itself, or a folder that has it under its name.

    Returns:
        The path of the file.

    Raises:
        DataError: no path was given, or there is no file.
    """
    if given is None:
        raise DataError(f"{file.what} ({file.name}) is not shipped; give the file or its folder with --data")
    path = given / file.name if given.is_dir() else given
    if not path.is_file():
        raise DataError(f"{path}: does not exist; give {file.what} ({file.name}), or the folder that has it")
    return path


def read_json(file: DataFile, given: Path | None) -> Any:
    """What a JSON file holds, compressed or not. Raises `DataError` if there is none, or it is no JSON."""
    path = data_file(file, given)
    with open_binary(path) as opened:
        data = opened.read()
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise another(file, path) from None


def read_rows(file: DataFile, given: Path | None, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The same of a list of rows, each with these keys. Raises `DataError` as well if it is none."""
    rows = read_json(file, given)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(keys) for row in rows):
        raise another(file, data_file(file, given))
    return rows


def another(file: DataFile, path: Path) -> DataError:
    """The sentence for a file with another content."""
    return DataError(f"{path}: has not the content of {file.name}; give {file.what}, or the folder that has it")


def sha256_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
