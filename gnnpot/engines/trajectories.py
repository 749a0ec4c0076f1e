"""Trajectories of molecular dynamics: the format goes by the ending of the name.

    with create_trajectory(Path("run.zarr"), atoms, state) as frames:
        frames.write(atoms, state)
    atoms, state, frames = open_trajectory(Path("run.zarr"), atoms)      # to resume
    for atoms in read_trajectory(Path("run.zarr")): ...

| ending           | format                                                | where the state of the run is            |
|------------------|-------------------------------------------------------|------------------------------------------|
| `.traj`          | ASE's, float64, with velocities                       | in each frame; between frames beside it  |
| `.extxyz` `.xyz` | extended XYZ, text of 8 decimals, with momenta        | beside it, in a file (`engines.restart`) |
| `.zarr`          | H5MD's layout (de Buyl et al. 2014) in a Zarr folder: | the same                                 |
|                  | float32 positions, compressed in chunks of frames     |                                          |

Whoever runs the dynamics asks after each time step whether a state is due, which it is `STATE_SECONDS` of wall time
after the last one, however far apart the frames are: a killed process loses at most that time and one time step.

A trajectory appears with its first frame, whole, and is readable after each frame (`.zarr`: at most `FLUSH_SECONDS`
later). The memory that a writer takes does not grow with the number of frames.
"""

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from ase import Atoms
from ase.io import iread
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import Trajectory

from gnnpot.engines.files import last_frame, refuse_overwrite
from gnnpot.engines.restart import read_restart, restart_path, write_restart
from gnnpot.errors import ConfigError, DataError

#: where ASE's frames hold the state of the run
STATE = "gnnpot_md"
#: seconds of wall time between two states on disk
STATE_SECONDS = 20.0

ENDINGS = (".traj", ".extxyz", ".xyz", ".zarr")


def check_trajectory_name(path: Path, elements: tuple[str, ...] = ()) -> None:
    """Raise `ConfigError` for a name whose ending is not a format that is written, or can't leave out elements."""
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path}: no format of trajectories has this ending; give one of {', '.join(ENDINGS)}")
    if elements and path.suffix != ".zarr":
        raise ConfigError(f"{path}: this format holds all atoms; name a trajectory .zarr to write some elements only")


def check_new_trajectory(path: Path, overwrite: bool) -> None:
    """Raise `DataError` for a name that is taken; a folder is replaced only if it is a trajectory of gnnpot."""
    if path.suffix != ".zarr" or not path.is_dir():
        refuse_overwrite(path, overwrite)
    elif not overwrite:
        raise DataError(f"{path}: exists already; give another name, or overwrite=True (--overwrite)")
    elif path.is_symlink() or not (path / "h5md" / "creator" / "zarr.json").is_file():
        raise DataError(f"{path}: is a folder, and no trajectory of gnnpot; it is not replaced, give another name")


class TrajectoryWriter(ABC):
    """Frames of a run, appended one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_state = time.monotonic()

    @abstractmethod
    def write(self, atoms: Atoms, state: dict[str, Any]) -> None:
        """Append a frame of the run whose state is `state`."""

    @abstractmethod
    def place(self) -> int:
        """Write what is in memory, and say where the next frame begins."""

    @property
    def state_due(self) -> bool:
        """Whether the last state on disk is `STATE_SECONDS` old."""
        return time.monotonic() - self._last_state >= STATE_SECONDS

    def save_state(self, atoms: Atoms, state: dict[str, Any]) -> None:
        """Write the state of the run into the file beside the trajectory; the frames so far belong to it."""
        write_restart(restart_path(self.path), atoms, {**state, "place": self.place()})
        self._last_state = time.monotonic()

    @abstractmethod
    def close(self) -> None:
        """Write what is still in memory."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _AseWriter(TrajectoryWriter):
    """ASE's own format; each frame holds the state, so that the file beside it is of a state between frames only."""

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
        finally:
            del atoms.info[STATE]
        self._last_state = time.monotonic()
        restart_path(self.path).unlink(missing_ok=True)

    def place(self) -> int:
        return len(self._file)

    def close(self) -> None:
        self._file.close()


class TimedWriter(TrajectoryWriter):
    """A format whose frames hold no state: it is written beside it when it is due, and at the end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._pending: tuple[Atoms, dict[str, Any]] | None = None

    @abstractmethod
    def append(self, atoms: Atoms, state: dict[str, Any]) -> None:
        """Append a frame."""

    def write(self, atoms: Atoms, state: dict[str, Any]) -> None:
        self.append(atoms, state)
        if self.state_due:
            self.save_state(atoms, state)
        else:
            # a copy: by the time that it is written the run may have moved the atoms
            self._pending = (atoms.copy(), state)

    def save_state(self, atoms: Atoms, state: dict[str, Any]) -> None:
        super().save_state(atoms, state)
        self._pending = None

    def close(self) -> None:
        if self._pending is not None:
            self.save_state(*self._pending)


class _ExtxyzWriter(TimedWriter):
    """Extended XYZ, with energy, forces, momenta and, where there is one, stress."""

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

    def close(self) -> None:
        super().close()
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
    """A new trajectory with its first frame; one that has this name is replaced once that is written.

    Args:
        path: the name, whose ending is the format.
        atoms: the first frame.
        state: of the run.
        elements: whose positions are written (`.zarr` only); empty: all.

    Raises:
        DataError: if it can't be written.
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
        os.replace(partial, path)
        if path.suffix != ".traj":
            write_restart(restart_path(path), atoms, {**state, "place": size})
        return _writer(path, atoms)
    except OSError as error:
        _remove(partial)
        raise DataError(f"{path}: can't be written ({error.strerror or error}); choose another name") from None


def open_trajectory(
    path: Path, atoms: Atoms, elements: tuple[str, ...] = ()
) -> tuple[Atoms, dict[str, Any], TrajectoryWriter]:
    """The last state of a run, and the trajectory to continue, in which frames after that state are no more.

    Args:
        path: the name, whose ending is the format.
        atoms: the structure that the run began with.
        elements: whose positions are written (`.zarr` only); empty: those that it holds.

    Raises:
        ConfigError: if it holds other elements.
        DataError: if the run can't be continued.
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
    """The state that is on disk after the last frame, `last`, of ASE's format, to which it sets the atoms, if any."""
    if not restart_path(path).is_file():
        return None
    atoms = last.copy()
    try:
        between = read_restart(restart_path(path), atoms)
    except DataError:
        # a crash of the machine may have emptied it; the frame has a state too
        return None
    with Trajectory(str(path)) as frames:
        count = len(frames)
    # a process that was killed after a frame leaves the state before it
    if between.pop("place", None) != count or between["step"] <= state["step"]:
        return None
    last.set_cell(atoms.cell)
    last.positions[:] = atoms.positions
    last.set_momenta(atoms.get_momenta(), apply_constraint=False)
    return between


def read_trajectory(path: Path) -> Iterator[Atoms]:
    """The frames of any trajectory that gnnpot or ASE reads, one after the other. Raises `DataError`."""
    if not path.exists():
        raise DataError(f"{path}: there is no such file; give the path of a trajectory")
    if path.suffix == ".zarr":
        from gnnpot.engines.zarr_trajectory import read_zarr

        yield from read_zarr(path)
        return
    try:
        yield from iread(path, index=":", do_not_split_by_at_sign=True)
    except Exception as error:  # noqa: BLE001 - ASE's readers raise many kinds for a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: can't be read as a trajectory ({reason}); give a file that ASE knows") from None


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
