"""Files that engines write: none is overwritten unasked, and none is left half written."""

from collections.abc import Mapping
from pathlib import Path

from ase import Atoms
from ase.io.trajectory import Trajectory

from gnnpot.errors import DataError
from gnnpot.runs.files import write_atomically
from gnnpot.runs.guard import check_distinct, check_file

__all__ = ["last_frame", "refuse_overwrite", "refuse_same", "write_atomically"]


def refuse_overwrite(path: Path | str | None, overwrite: bool) -> None:
    """Raise `DataError` if a file may not be written; see `gnnpot.runs.guard.check_file`."""
    if path is not None:
        check_file(path, overwrite=overwrite)


def refuse_same(outputs: Mapping[str, Path | None]) -> None:
    """Raise `ConfigError` if two outputs, given by what they are called, are one file."""
    check_distinct(outputs)


def last_frame(trajectory: Path | str | None) -> Atoms:
    """The last structure of an ASE trajectory; raises `DataError` if there is none to be read."""
    if trajectory is None or not Path(trajectory).is_file():
        raise DataError(f"{trajectory}: there is no trajectory to resume from; start without resuming")
    try:
        with Trajectory(str(trajectory)) as frames:
            return frames[-1]
    except Exception as error:  # noqa: BLE001 - ASE's reader raises whatever a broken file leads it to
        raise DataError(f"{trajectory}: can't be read as a trajectory ({error}); start without resuming") from None
