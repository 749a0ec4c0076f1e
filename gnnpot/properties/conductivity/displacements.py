"""Displacements of ions relative to the framework, from any trajectory.

    moved = read_displacements(Path("run.traj"), "Li", frame_time=100.0)
    moved.ions          # [T, M, 3], Å

Fractional coordinates are unwrapped from frame to frame by the nearest image, which is correct if no atom moves by half
a cell between frames, and multiplied by the mean cell. The mean displacement of all other atoms (the framework) is
subtracted, since drift of the crystal is not diffusion.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.engines.trajectories import read_trajectory
from gnnpot.errors import DataError, counted

log = logging.getLogger(__name__)

#: largest displacement between frames in fractional coordinates that is accepted for unwrapping
_FAR = 0.4
_FEWEST_FRAMES = 20


@dataclass(frozen=True, slots=True)
class Displacements:
    """Unwrapped positions over time, relative to the framework."""

    ion: str  #: element of the ion
    ions: np.ndarray  #: [T, M, 3] Å, float32, unwrapped positions of ions
    framework: dict[str, np.ndarray]  #: positions of each other element, [T, atoms, 3] Å, float32; empty if not stored
    frame_time: float  #: ps between frames
    cell: np.ndarray  #: [3, 3] Å, mean cell
    atoms: int  #: number of atoms in the cell, including those not stored in the trajectory

    @property
    def volume(self) -> float:
        """Volume of the mean cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def time(self) -> float:
        """Time from the first frame to the last, ps."""
        return (len(self.ions) - 1) * self.frame_time

    def discard(self, picoseconds: float) -> "Displacements":
        """Return the displacements without the first `picoseconds`."""
        first = round(picoseconds / self.frame_time)
        if len(self.ions) - first < _FEWEST_FRAMES:
            raise DataError(
                f"discard: {picoseconds:g} of {self.time:g} ps leave fewer than {_FEWEST_FRAMES} frames; give less"
            )
        framework = {element: positions[first:] for element, positions in self.framework.items()}
        return Displacements(self.ion, self.ions[first:], framework, self.frame_time, self.cell, self.atoms)


def read_displacements(path: Path, ion: str, frame_time: float | None = None) -> Displacements:
    """Read displacements from any trajectory that gnnpot or ASE can read.

    Args:
        path: Path of the trajectory.
        ion: Element of the ion.
        frame_time: fs between frames; None: read from the frames, for trajectories of gnnpot.

    Returns:
        Displacements of ions and other atoms.

    Raises:
        DataError: The trajectory can't be read or unwrapped, or has no `ion`.
    """
    if ion not in atomic_numbers:
        raise DataError(f"ion: '{ion}' is no element; give a symbol like Li")
    if path.suffix == ".zarr":
        return _from_zarr(path, ion, frame_time)
    frames = read_trajectory(path)
    first = next(frames, None)
    if first is None:
        raise DataError(f"{path}: has no frames; give a trajectory")
    unwrapped, cells, times = _Unwrapped(first, path), [], []
    for number, atoms in enumerate(_chain(first, frames)):
        if len(atoms) == len(first) and not np.array_equal(atoms.numbers, first.numbers):
            raise DataError(f"{path}: frame {number} has its elements in another order than the first; sort its atoms")
        unwrapped.add(atoms.get_scaled_positions(wrap=False), atoms.cell.array)
        cells.append(atoms.cell.array)
        times.append(_time_of(atoms))
    scaled = np.stack(unwrapped.frames)
    between = _frame_time(path, times, frame_time)
    return _relative(path, scaled, first.numbers, np.mean(cells, axis=0), ion, between)


class _Unwrapped:
    """Unwraps fractional coordinates frame by frame."""

    def __init__(self, first: Atoms, path: Path) -> None:
        if not first.pbc.any() or first.cell.rank < 3:
            raise DataError(f"{path}: has no periodic cell, and so no density of ions; give a periodic structure")
        self.numbers, self.pbc, self.path = first.numbers, first.pbc, path
        self.frames: list[np.ndarray] = []
        self._last: np.ndarray | None = None
        self._place: np.ndarray | None = None

    def add(self, scaled: np.ndarray, cell: np.ndarray) -> None:
        if abs(np.linalg.det(cell)) < 1e-6:
            raise DataError(f"{self.path}: frame {len(self.frames)} has a cell without volume")
        if self._last is None or self._place is None:
            self._place = scaled.copy()
        else:
            if scaled.shape != self._last.shape:
                raise DataError(f"{self.path}: frame {len(self.frames)} has another number of atoms")
            step = scaled - self._last
            step -= np.where(self.pbc, np.round(step), 0.0)
            if np.abs(step).max() > _FAR:
                raise DataError(
                    f"{self.path}: an atom moves by {np.abs(step).max():.2f} of the cell between frames "
                    f"{len(self.frames) - 1} and {len(self.frames)}, too far to be followed; write frames more often"
                )
            self._place = self._place + step
        self._last = scaled
        self.frames.append(self._place.astype(np.float32))


def _relative(
    path: Path,
    scaled: np.ndarray,
    numbers: np.ndarray,
    cell: np.ndarray,
    ion: str,
    frame_time: float,
    unwritten: tuple[np.ndarray, int] | None = None,
) -> Displacements:
    """Displacements relative to all other atoms; of those that were not written, mean positions [T, 3] and number."""
    chosen = numbers == atomic_numbers[ion]
    if not chosen.any():
        raise DataError(f"{path}: has no {ion}; name an element that it has")
    positions = (scaled @ cell.astype(np.float32)).astype(np.float32)
    parts = [] if unwritten is None else [unwritten]
    if not chosen.all():
        parts.append((positions[:, ~chosen].mean(axis=1, dtype=float), int(np.count_nonzero(~chosen))))
    atoms = len(numbers) + (0 if unwritten is None else unwritten[1])
    if parts:
        rest = np.average([mean for mean, _ in parts], axis=0, weights=[count for _, count in parts])
        positions -= (rest - rest[:1])[:, None].astype(np.float32)
    else:
        log.warning("%s: has no atoms besides %s, so that displacements are not relative to a framework", path, ion)
    others = sorted(set(numbers[~chosen].tolist()))
    framework = {chemical_symbols[z]: positions[:, numbers == z] for z in others}
    return Displacements(ion, positions[:, chosen], framework, frame_time, cell, atoms)


def _from_zarr(path: Path, ion: str, frame_time: float | None) -> Displacements:
    from gnnpot.engines.zarr_trajectory import ZarrFrames

    frames = ZarrFrames(path)
    if not len(frames):
        raise DataError(f"{path}: has no frames; give a trajectory")
    numbers = frames.numbers[frames.index]
    unwrapped = _Unwrapped(Atoms(numbers, cell=frames.cells(0, 1)[0], pbc=frames.pbc), path)
    cells, rest = [], []
    for start in range(0, len(frames), frames.chunk):
        end = min(start + frames.chunk, len(frames))
        for cell, positions in zip(frames.cells(start, end), frames.positions(start, end), strict=True):
            unwrapped.add(positions @ np.linalg.inv(cell), cell)
            cells.append(cell)
        rest.append(frames.framework(start, end))
    between = _frame_time(path, list(frames.times()), frame_time)
    unwritten = None if frames.complete else (np.concatenate(rest), len(frames.numbers) - len(numbers))
    return _relative(path, np.stack(unwrapped.frames), numbers, np.mean(cells, axis=0), ion, between, unwritten)


def _chain(first: Atoms, others: Iterator[Atoms]) -> Iterator[Atoms]:
    yield first
    yield from others


def _time_of(atoms: Atoms) -> float | None:
    """Time of a frame in fs; None if the frame does not contain it."""
    state = atoms.info.get("gnnpot_md")
    value = state.get("time") if isinstance(state, dict) else atoms.info.get("time_fs")
    return None if value is None else float(value)


def _frame_time(path: Path, times: list[float | None], given: float | None) -> float:
    """Time between frames in ps. Raises `DataError` if it is not constant or not known."""
    if len(times) < _FEWEST_FRAMES:
        raise DataError(
            f"{path}: has {counted(len(times), 'frame')}, too few to see diffusion; give at least {_FEWEST_FRAMES}"
        )
    if given is not None:
        if not 0 < given < np.inf:
            raise DataError(f"frame time: {given} fs is not a positive number")
        return given / 1000
    if any(time is None for time in times):
        raise DataError(f"{path}: does not say the time between its frames; give it, in fs (--frame-time)")
    steps = np.diff(np.array(times, dtype=float))
    # the last interval of a run may be shorter
    if not np.allclose(steps[:-1], steps[0], rtol=1e-6) or not 0 < steps[-1] <= steps[0] * (1 + 1e-6):
        raise DataError(f"{path}: its frames are not equally far apart in time; give the frame time in fs")
    return float(steps[0]) / 1000
