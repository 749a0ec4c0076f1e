"""Data files of suites that are not shipped with gnnpot; the user gives their path.

path = data_file(MODULI, options.data)      # options.data: the file, or its folder
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
    """Data file of a suite."""

    name: str  #: file name in a folder; a file given by its own path may have any name
    what: str  #: description for error messages


def data_file(file: DataFile, given: Path | None) -> Path:
    """Find a data file.

    The name and checksum of a file given by its own path are not checked; its sha256 is stored with the results.

    Args:
        file: Data file.
        given: Path of the file, or of a folder that contains it under its name.

    Returns:
        The path of the file.

    Raises:
        DataError: No path was given, or the file does not exist.
    """
    if given is None:
        raise DataError(f"{file.what} ({file.name}) is not shipped; give the file or its folder with --data")
    path = given / file.name if given.is_dir() else given
    if not path.is_file():
        raise DataError(f"{path}: does not exist; give {file.what} ({file.name}), or the folder that has it")
    return path


def read_json(file: DataFile, given: Path | None) -> Any:
    """Read a JSON file, compressed or not. Raises `DataError` if it does not exist or is not JSON."""
    path = data_file(file, given)
    with open_binary(path) as opened:
        data = opened.read()
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise content_error(file, path) from None


def read_rows(file: DataFile, given: Path | None, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Read a JSON file that is a list of rows with these keys. Raises `DataError` as `read_json`, or if it is not."""
    rows = read_json(file, given)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(keys) for row in rows):
        raise content_error(file, data_file(file, given))
    return rows


def content_error(file: DataFile, path: Path) -> DataError:
    """Error for a file with unexpected content."""
    return DataError(f"{path}: does not have the content of {file.name}; give {file.what}, or the folder that has it")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
