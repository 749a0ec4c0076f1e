"""Output files of engines: not overwritten unless requested, and never left half written."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from ase import Atoms
from ase.io import write
from ase.io.formats import extension2format, ioformats
from ase.io.trajectory import Trajectory

from gnnpot.errors import DataError
from gnnpot.runs.files import write_atomically
from gnnpot.runs.guard import check_distinct, check_file, check_not_input

__all__ = ["last_frame", "refuse_overwrite", "refuse_same", "structure_format", "write_atomically"]


def refuse_overwrite(path: Path | str | None, overwrite: bool) -> None:
    """Raise `DataError` if a file must not be written; see `gnnpot.runs.guard.check_file`."""
    if path is not None:
        check_file(path, overwrite=overwrite)


def refuse_same(outputs: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> None:
    """Raise `ConfigError` if two outputs (option name: path) are the same file, or one is an input."""
    check_distinct(outputs)
    check_not_input(outputs, inputs)


def structure_format(path: Path, atoms: Atoms) -> str:
    """ASE's format for the ending of `path`, or for the names POSCAR and CONTCAR, after a trial with `atoms`.

    Raises `DataError` if ASE has no format with this ending, or the format can't hold the structure.
    """
    ending = path.suffix.removeprefix(".").lower()
    if path.name in ("POSCAR", "CONTCAR"):
        name = "vasp"
    else:
        # ASE's format "xyz" has no cell
        own = {"xyz": "extxyz", "extxyz": "extxyz", "poscar": "vasp", "vasp": "vasp"}
        known = ioformats[own[ending]] if ending in own else extension2format.get(ending)
        if known is None or not known.can_write:
            raise DataError(f"{path}: ASE writes no format with this ending; give one like .extxyz or .cif")
        name = known.name
    with tempfile.TemporaryDirectory() as folder:
        try:
            write(Path(folder) / f"try{path.suffix}", atoms, format=name)
        except Exception as error:  # noqa: BLE001 - ASE's writers raise many kinds for what they can't hold
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{path}: ASE can't write this structure in format '{name}' ({reason}); give an ending like .extxyz"
            ) from None
    return name


def last_frame(trajectory: Path | str | None) -> Atoms:
    """Read the last structure of an ASE trajectory. Raises `DataError` if it can't be read."""
    if trajectory is None:
        raise DataError("resume: there is no trajectory to resume from; name it")
    if not Path(trajectory).is_file():
        raise DataError(f"{trajectory}: there is no trajectory to resume from; start without resuming")
    try:
        with Trajectory(str(trajectory)) as frames:
            return frames[-1]
    except Exception as error:  # noqa: BLE001 - ASE's reader raises any exception for a broken file
        raise DataError(f"{trajectory}: can't be read as a trajectory ({error}); start without resuming") from None
