"""Files that engines write: none is overwritten unasked, and none is left half written."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ase import Atoms
from ase.io import write
from ase.io.formats import extension2format, ioformats
from ase.io.trajectory import Trajectory

from gnnpot.errors import ConfigError, DataError


def refuse_overwrite(path: Path | str | None, overwrite: bool) -> None:
    """Raise `DataError` if a file is in the way, or its folder is missing."""
    if path is None:
        return
    path = Path(path)
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists already; give another name, or allow to overwrite it")


def refuse_same(outputs: Mapping[str, Path | None]) -> None:
    """Raise `ConfigError` if two outputs, given by what they are called, are one file."""
    known: dict[Path, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in known:
            raise ConfigError(f"{path}: can't be both the {known[place]} and the {name}; give two names")
        known[place] = name


def structure_format(path: Path, atoms: Atoms) -> str:
    """ASE's format for the ending of `path`, or for the names POSCAR and CONTCAR; tried on `atoms`.

    Raises `DataError` if ASE has no format with this ending, or it can't hold the structure.
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


def write_atomically(path: Path | str, write: Callable[[Path], None], *, overwrite: bool = False) -> None:
    """Let `write` fill a temporary file with the same ending beside `path`, then rename it."""
    path = Path(path)
    refuse_overwrite(path, overwrite)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def last_frame(trajectory: Path | str | None) -> Atoms:
    """The last structure of an ASE trajectory; raises `DataError` if there is none to be read."""
    if trajectory is None or not Path(trajectory).is_file():
        raise DataError(f"{trajectory}: there is no trajectory to resume from; start without resuming")
    try:
        with Trajectory(str(trajectory)) as frames:
            return frames[-1]
    except Exception as error:  # noqa: BLE001 - ASE's reader raises whatever a broken file leads it to
        raise DataError(f"{trajectory}: can't be read as a trajectory ({error}); start without resuming") from None
