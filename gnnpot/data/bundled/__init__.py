"""The small data set that is included in gnnpot; see its README for the contents."""

from importlib.resources import files
from pathlib import Path

from gnnpot.errors import DataError


def bundled_path() -> Path:
    """Return the path of `gpaw-pbe.extxyz.gz`: crystals with energies, forces and stresses, for tests and examples."""
    return Path(str(files(__name__) / "gpaw-pbe.extxyz.gz"))


def resolve_bundled(path: Path | str) -> Path:
    """Return the file of `bundled:NAME`, which is accepted in place of any path; other paths are returned unchanged.

    Raises `DataError` for an unknown name.
    """
    scheme, _, name = str(path).partition(":")
    if scheme != "bundled":
        return Path(path)
    found = bundled_path()
    known = found.name.split(".")[0]
    if name != known:
        raise DataError(f"{path}: there is no such bundled data set; known is bundled:{known}")
    return found


def resolve_path(path: Path | str) -> Path:
    """Return `path`, or the file of `bundled:NAME`. Raises `DataError` if it does not exist."""
    path = resolve_bundled(path)
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file or store; give a path that exists (it is relative to where you are)"
        )
    return path
