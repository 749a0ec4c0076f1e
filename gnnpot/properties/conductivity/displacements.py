"""Displacements of ions relative to the framework, from any trajectory.

    moved = read_displacements(Path("run.traj"), "Li", frame_time=100.0)
    moved.ions          # [T, M, 3], Å

Fractional coordinates are unwrapped from frame to frame by the nearest image, which is correct if no atom moves by half
a cell between frames, and multiplied by the mean cell. The mean displacement of all other atoms (the framework) is
subtracted, since drift of the crystal is not diffusion.

The intervals of the frames must be equal. They are checked by the times or numbers of steps in the file, if it has
them; a frame with the positions of an earlier one, as after a restart, is refused.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from gnnpot.engines.cell_filters import vacuum_directions
from gnnpot.engines.trajectory_reader import read_trajectory
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
    vacuum: tuple[int, ...] = ()  #: indices of the cell vectors along which there is a vacuum, or no periodicity

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
        return replace(self, ions=self.ions[first:], framework=framework)


def read_displacements(
    path: Path, ion: str, frame_time: float | None = None, types: Sequence[str] = ()
) -> Displacements:
    """Read displacements from any trajectory that gnnpot or ASE can read.

    Args:
        path: Path of the trajectory.
        ion: Element of the ion.
        frame_time: fs between frames; None: read from the frames, for trajectories of gnnpot.
        types: Elements of the types 1, 2, ... of a LAMMPS dump without elements.

    Returns:
        Displacements of ions and other atoms.

    Raises:
        DataError: The trajectory can't be read or unwrapped, has no `ion`, or its frames are not equally spaced.
    """
    if ion not in atomic_numbers:
        raise DataError(f"ion: '{ion}' is no element; give a symbol like Li")
    if path.suffix == ".zarr":
        if types:
            raise DataError(f"{path}: is no LAMMPS dump; leave out types=() (--types)")
        return _from_zarr(path, ion, frame_time)
    frames = read_trajectory(path, types)
    first = next(frames, None)
    if first is None:
        raise DataError(f"{path}: has no frames; give a trajectory")
    unwrapped, cells, clock = _Unwrapped(first, path), [], _Clock(path)
    for number, atoms in enumerate(_chain(first, frames)):
        if len(atoms) == len(first) and not np.array_equal(atoms.numbers, first.numbers):
            raise DataError(
                f"{path}: frame {number} has its elements in another order than the first; write the atoms in the same "
                "order, or with their ids"
            )
        unwrapped.add(atoms.get_scaled_positions(wrap=False), atoms.cell.array)
        cells.append(atoms.cell.array)
        clock.add(atoms)
    between = clock.frame_time(frame_time)
    found = _relative(path, np.stack(unwrapped.frames), first.numbers, np.mean(cells, axis=0), ion, between)
    return _with_vacuum(found, first)


class _Unwrapped:
    """Unwraps fractional coordinates frame by frame."""

    def __init__(self, first: Atoms, path: Path) -> None:
        if not first.pbc.any() or first.cell.rank < 3:
            raise DataError(f"{path}: has no periodic cell, and so no density of ions; give a periodic structure")
        self.numbers, self.pbc, self.path = first.numbers, first.pbc, path
        self.frames: list[np.ndarray] = []
        self._last: np.ndarray | None = None
        self._place: np.ndarray | None = None
        self._seen: dict[int, int] = {}

    def add(self, scaled: np.ndarray, cell: np.ndarray) -> None:
        if abs(np.linalg.det(cell)) < 1e-6:
            raise DataError(f"{self.path}: frame {len(self.frames)} has a cell without volume")
        number = len(self.frames)
        if (before := self._seen.setdefault(hash(scaled.tobytes()), number)) < number:
            raise DataError(
                f"{self.path}: frame {number} has the same positions as frame {before}; remove the frames that are "
                "repeated, perhaps by a restart"
            )
        if self._last is None or self._place is None:
            self._place = scaled.copy()
        else:
            if scaled.shape != self._last.shape:
                raise DataError(
                    f"{self.path}: frame {number} has {counted(len(scaled), 'atom')}, and the first has "
                    f"{len(self._last)}; give a trajectory of the same atoms (the file may be cut off)"
                )
            step = scaled - self._last
            step -= np.where(self.pbc, np.round(step), 0.0)
            if np.abs(step).max() > _FAR:
                raise DataError(
                    f"{self.path}: an atom moves by {np.abs(step).max():.2f} of the cell between frames "
                    f"{number - 1} and {number}, too far to be followed; write frames more often, and all with the "
                    "same order of atoms"
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
        has = ", ".join(chemical_symbols[z] for z in sorted(set(numbers.tolist())))
        raise DataError(f"{path}: has no {ion}; name an element that it has ({has})")
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
        together = frames.cells(start, end), frames.positions(start, end), frames.framework(start, end)
        for cell, positions, mean in zip(*together, strict=True):
            inverse = np.linalg.inv(cell)
            unwrapped.add(positions @ inverse, cell)
            cells.append(cell)
            rest.append(mean @ inverse)
    between, mean_cell = _frame_time(path, list(frames.times()), frame_time), np.mean(cells, axis=0)
    unwritten = None if frames.complete else (np.stack(rest) @ mean_cell, len(frames.numbers) - len(numbers))
    found = _relative(path, np.stack(unwrapped.frames), numbers, mean_cell, ion, between, unwritten)
    return _with_vacuum(found, Atoms(numbers, frames.positions(0, 1)[0], cell=cells[0], pbc=frames.pbc))


def _chain(first: Atoms, others: Iterator[Atoms]) -> Iterator[Atoms]:
    yield first
    yield from others


def _with_vacuum(moved: Displacements, first: Atoms) -> Displacements:
    """Add the directions with a vacuum in the first frame; unknown if atoms of the framework are not stored."""
    known = bool(moved.framework) and moved.atoms == len(first)
    return replace(moved, vacuum=vacuum_directions(first)) if known else moved


def _frame_time(path: Path, times: Sequence[float], given: float | None) -> float:
    """Time between frames in ps, of frames at `times` (fs); `given` (fs) must agree."""
    clock = _Clock(path)
    clock.times.extend(times)
    return clock.frame_time(given)


class _Clock:
    """Times of frames in fs, and their numbers of steps, as far as the frames contain them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times: list[float | None] = []
        self.steps: list[float | None] = []

    def add(self, atoms: Atoms) -> None:
        state = atoms.info.get("gnnpot_md")
        known = {"time_fs": state.get("time")} if isinstance(state, dict) else atoms.info
        time, step = known.get("time_fs"), known.get("timestep", known.get("step"))
        self.times.append(None if time is None else float(time))
        self.steps.append(float(step) if isinstance(step, (int, float, np.number)) else None)

    def frame_time(self, given: float | None) -> float:
        """Time between frames in ps. Raises `DataError` if it is not constant, not known, or not as `given` (fs)."""
        if len(self.times) < _FEWEST_FRAMES:
            raise DataError(
                f"{self.path}: has {counted(len(self.times), 'frame')}, too few to see diffusion; give at least "
                f"{_FEWEST_FRAMES}"
            )
        if given is not None and not 0 < given < np.inf:
            raise DataError(f"frame time: {given} fs is not a positive number")
        # a number that is the same in all frames is not that of the frame's step
        if len(set(self.steps)) > 1:
            self._interval(self.steps, "step")
        own = self._interval(self.times, "time, fs:")
        if own is None and given is None:
            raise DataError(f"{self.path}: does not say the time between its frames; give it, in fs (--frame-time)")
        if own is not None and given is not None and not np.isclose(own, given, rtol=1e-3):
            raise DataError(
                f"{self.path}: its frames are {own:g} fs apart, and {given:g} are given; leave out the frame time "
                "(--frame-time)"
            )
        return float(given if own is None else own) / 1000  # type: ignore[arg-type]  # one of them is a number

    def _interval(self, values: list[float | None], what: str) -> float | None:
        """The constant interval of values, one of each frame; None if there are none."""
        if not values or any(value is None for value in values):
            return None
        found = np.array(values, dtype=float)
        intervals = np.diff(found)
        wrong = ~np.isclose(intervals, intervals[0], rtol=1e-6)
        wrong |= intervals <= 0
        # the last interval of a run may be shorter
        wrong[-1] = not 0 < intervals[-1] <= intervals[0] * (1 + 1e-6)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise DataError(
                f"{self.path}: its frames are not equally far apart in time ({what} {found[0]:g}, {found[1]:g} of "
                f"frames 0, 1, and {found[k]:g}, {found[k + 1]:g} of frames {k}, {k + 1}); remove frames that are "
                "repeated, or give a part with equal intervals"
            )
        return float(intervals[0])
