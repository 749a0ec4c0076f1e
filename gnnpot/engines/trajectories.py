"""Trajectories of molecular dynamics; the file name extension sets the format.

    with create_trajectory(Path("run.zarr"), atoms, state) as frames:
        frames.write(atoms, state)
    atoms, state, frames = open_trajectory(Path("run.zarr"), atoms)      # to resume

| extension        | format                                                | state of the run                         |
|------------------|-------------------------------------------------------|------------------------------------------|
| `.traj`          | ASE's, float64, with velocities                       | in each frame; between frames, as below  |
| `.extxyz` `.xyz` | extended XYZ, text with 8 decimals, with momenta      | in a restart file (`engines.restart`)    |
| `.zarr`          | H5MD layout (de Buyl et al. 2014) in a Zarr folder:   | the same                                 |
|                  | float32 positions, compressed in chunks of frames     |                                          |

The state is due for saving when `STATE_SECONDS` of wall time have passed since the last time, for any interval of
frames; this is checked after each time step. A killed process loses at most that time and one time step.

A trajectory is created together with its first frame, and is readable after each frame (`.zarr`: at most
`FLUSH_SECONDS` later). The memory of a writer does not grow with the number of frames.
"""

import os
import shutil
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ase import Atoms
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import Trajectory

from gnnpot.engines.files import last_frame, refuse_overwrite
from gnnpot.engines.restart import read_restart, restart_path, write_restart
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.files import appending

#: key of the state of the run in `info` of ASE's frames
STATE = "gnnpot_md"
#: wall time in seconds after which the state is saved again
STATE_SECONDS = 20.0

ENDINGS = (".traj", ".extxyz", ".xyz", ".zarr")


def check_trajectory_name(path: Path, elements: tuple[str, ...] = ()) -> None:
    """Raise `ConfigError` for an unknown extension, or if `elements` are given and the format holds all atoms."""
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path}: no format of trajectories has this ending; give one of {', '.join(ENDINGS)}")
    if elements and path.suffix != ".zarr":
        raise ConfigError(f"{path}: this format holds all atoms; name a trajectory .zarr to write some elements only")


def check_new_trajectory(path: Path, overwrite: bool) -> None:
    """Raise `DataError` if the path must not be overwritten; folders must be trajectories of gnnpot."""
    if path.suffix != ".zarr" or not path.is_dir():
        refuse_overwrite(path, overwrite)
    elif not overwrite:
        raise DataError(f"{path}: exists already; give another name, or overwrite=True (--overwrite)")
    elif path.is_symlink() or not (path / "h5md" / "creator" / "zarr.json").is_file():
        raise DataError(f"{path}: is a folder, and no trajectory of gnnpot; it is not replaced, give another name")


class TrajectoryWriter(ABC):
    """Base class of trajectory writers, which append frames one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_state = time.monotonic()

    @abstractmethod
    def write(self, atoms: Atoms, state: dict[str, Any]) -> None:
        """Append a frame; `state` is the state of the run."""

    @abstractmethod
    def place(self) -> int:
        """Flush buffered frames and return the position of the next frame (bytes or number of frames)."""

    @property
    def state_due(self) -> bool:
        """Whether the state was last saved at least `STATE_SECONDS` ago."""
        return time.monotonic() - self._last_state >= STATE_SECONDS

    def save_state(self, atoms: Atoms, state: dict[str, Any]) -> None:
        """Write the restart file, with the position of the next frame unless the state has it."""
        write_restart(restart_path(self.path), atoms, {"place": self.place(), **state})
        self._last_state = time.monotonic()

    @abstractmethod
    def close(self) -> None:
        """Write all data that are still in memory, and close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with appending(self.path, error):
            self.close()


class _AseWriter(TrajectoryWriter):
    """ASE's own format; each frame holds the state, and a restart file exists only for a state between frames."""

    def __init__(self, path: Path, atoms: Atoms) -> None:
        super().__init__(path)
        self._file = Trajectory(str(path), "a", atoms)

    @staticmethod
    def create(path: Path, atoms: Atoms, state: dict[str, Any]) -> None:
        atoms.info[STATE] = state
        try:
            with Trajectory(str(path), "w", atoms) as file:
                file.write()
        finally:
            del atoms.info[STATE]

    def write(self, atoms: Atoms, state: dict[str, Any]) -> None:
        atoms.info[STATE] = state
        try:
            self._file.write(atoms)
        except BaseException:
            # when it is closed, ASE's writer would add what it has of this frame as a whole one
            self._file.backend.data = {}
            raise
        finally:
            del atoms.info[STATE]
        self._last_state = time.monotonic()
        restart_path(self.path).unlink(missing_ok=True)

    def place(self) -> int:
        return len(self._file)

    def close(self) -> None:
        self._file.close()


class TimedWriter(TrajectoryWriter):
    """Base class for formats without the state in frames; the restart file is written when due, and at the end.

    If the writing of a frame is interrupted, the restart file has the state and the end of the frame before, so that a
    resume removes what was written of the interrupted one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._pending: tuple[Atoms, dict[str, Any]] | None = None

    @abstractmethod
    def append(self, atoms: Atoms, state: dict[str, Any]) -> None:
        """Append a frame."""

    @property
    @abstractmethod
    def end(self) -> int:
        """Position of the next frame, as `place`, without a flush."""

    def write(self, atoms: Atoms, state: dict[str, Any]) -> None:
        self.append(atoms, state)
        if self.state_due:
            self.save_state(atoms, state)
        else:
            # a copy, since the run may have moved the atoms before this state is written
            self._pending = (atoms.copy(), {**state, "place": self.end})

    def save_state(self, atoms: Atoms, state: dict[str, Any]) -> None:
        super().save_state(atoms, state)
        self._pending = None

    def close(self) -> None:
        if self._pending is not None:
            self.save_state(*self._pending)


class _ExtxyzWriter(TimedWriter):
    """Extended XYZ, with energy, forces, momenta and, if available, stress."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path.open("a", encoding="utf-8")

    @staticmethod
    def create(path: Path, atoms: Atoms, state: dict[str, Any]) -> None:
        with path.open("w", encoding="utf-8") as file:
            _write_extxyz(file, atoms, state)

    def append(self, atoms: Atoms, state: dict[str, Any]) -> None:
        _write_extxyz(self._file, atoms, state)
        self._file.flush()

    def place(self) -> int:
        self._file.flush()
        return self._file.tell()

    @property
    def end(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._file.close()


def _write_extxyz(file: Any, atoms: Atoms, state: dict[str, Any]) -> None:
    named = {"step": state["step"], "time_fs": state["time"]}
    before = {name: atoms.info.get(name) for name in named}
    atoms.info.update(named)
    try:
        write_extxyz(file, [atoms])
    finally:
        for name, value in before.items():
            if value is None:
                del atoms.info[name]
            else:
                atoms.info[name] = value


def create_trajectory(
    path: Path, atoms: Atoms, state: dict[str, Any], elements: tuple[str, ...] = ()
) -> TrajectoryWriter:
    """Create a trajectory with its first frame; an existing one is replaced as soon as the frame is written.

    Args:
        path: Path; the extension sets the format.
        atoms: First frame.
        state: State of the run.
        elements: Elements whose positions are written (`.zarr` only); empty: all.

    Raises:
        DataError: The trajectory can't be written.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    _remove(partial)
    try:
        if path.suffix == ".traj":
            _AseWriter.create(partial, atoms, state)
        elif path.suffix == ".zarr":
            from gnnpot.engines.zarr_trajectory import create_zarr

            create_zarr(partial, atoms, state, elements)
        else:
            _ExtxyzWriter.create(partial, atoms, state)
        size = 1 if path.suffix == ".zarr" else partial.stat().st_size
        restart_path(path).unlink(missing_ok=True)
        _remove(path)
        if path.suffix != ".traj":
            # before the trajectory has its name, since without this file it could not be resumed
            write_restart(restart_path(path), atoms, {**state, "place": size})
        os.replace(partial, path)
        return _writer(path, atoms)
    except DataError:
        _remove(partial)
        raise
    except OSError as error:
        _remove(partial)
        raise DataError(f"{path}: can't be written ({error.strerror or error}); choose another name") from None


def open_trajectory(
    path: Path, atoms: Atoms, elements: tuple[str, ...] = ()
) -> tuple[Atoms, dict[str, Any], TrajectoryWriter]:
    """Open a trajectory to resume its run; frames after the last saved state are removed.

    Args:
        path: Path; the extension sets the format.
        atoms: Initial structure of the run.
        elements: Elements whose positions are written (`.zarr` only); empty: those in the trajectory.

    Returns:
        The atoms in the last state, the state of the run, and the writer.

    Raises:
        ConfigError: The trajectory holds other elements.
        DataError: The run can't be resumed.
    """
    if path.suffix == ".traj":
        last = last_frame(path)
        state = last.info.pop(STATE, None)
        if state is None:
            raise DataError(f"{path}: was not written by gnnpot's molecular dynamics; start without resuming")
        return last, _state_between(path, last, state) or state, _writer(path, last)
    if not restart_path(path).is_file():
        raise DataError(
            f"{restart_path(path)}: there is no such file, without which {path} can't be continued; start without "
            "resuming"
        )
    atoms = atoms.copy()
    state = read_restart(restart_path(path), atoms)
    place = state.pop("place")
    if path.suffix == ".zarr":
        from gnnpot.engines.zarr_trajectory import check_elements, shorten_zarr

        check_elements(path, elements)
        shorten_zarr(path, place)
    else:
        if path.stat().st_size < place:
            raise DataError(f"{path}: is shorter than its state says; start without resuming")
        os.truncate(path, place)
    return atoms, state, _writer(path, atoms)


def _state_between(path: Path, last: Atoms, state: dict[str, Any]) -> dict[str, Any] | None:
    """Read a state that was saved after the last frame of ASE's format, and set the atoms `last` to it, if any."""
    if not restart_path(path).is_file():
        return None
    atoms = last.copy()
    try:
        between = read_restart(restart_path(path), atoms)
    except DataError:
        # the file may be empty after a system crash; the state in the frame is used instead
        return None
    with Trajectory(str(path)) as frames:
        count = len(frames)
    # a process killed just after writing a frame leaves an older restart file
    if between.pop("place", None) != count or between["step"] <= state["step"]:
        return None
    last.set_cell(atoms.cell)
    last.positions[:] = atoms.positions
    last.set_momenta(atoms.get_momenta(), apply_constraint=False)
    return between


def _writer(path: Path, atoms: Atoms) -> TrajectoryWriter:
    if path.suffix == ".traj":
        return _AseWriter(path, atoms)
    if path.suffix == ".zarr":
        from gnnpot.engines.zarr_trajectory import ZarrWriter

        return ZarrWriter(path)
    return _ExtxyzWriter(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
