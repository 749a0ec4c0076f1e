"""Compact trajectories: H5MD layout in a Zarr folder, with float32 positions in compressed chunks of frames.

    frames = ZarrFrames(Path("run.zarr")); frames.positions(0, 100)      # [100, M, 3], Å, not wrapped into the cell
    for atoms in read_zarr(Path("run.zarr")): ...

| path in the folder                        | shape     | content                                                     |
|-------------------------------------------|-----------|-------------------------------------------------------------|
| particles/all/position/value              | [T, M, 3] | positions in Å, float32, of the M atoms that are stored     |
| particles/all/position/{step, time}       | [T]       | step, -1 for an incomplete frame; time in fs                |
| particles/all/box/edges/value             | [T, 3, 3] | cell vectors in Å, as rows                                  |
| particles/all/species, /index             | [M]       | atomic numbers; indices in the structure                    |
| observables/framework/value               | [T, 3]    | mean position in Å of the atoms that are not stored         |
| observables/potential_energy/value        | [T]       | potential energy in eV                                      |

The attributes of the root are `pbc`, and the atomic numbers, masses and initial positions of all atoms. H5MD: de Buyl,
Colberg & Höfling, Comput. Phys. Commun. 185, 1546 (2014).
"""

import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import chemical_symbols
from zarr.codecs import BloscCodec
from zarr.errors import BaseZarrError

from gnnpot.engines.trajectories import TimedWriter
from gnnpot.errors import ConfigError, DataError

#: size of a chunk of positions in bytes, before compression
_CHUNK_BYTES = 1 << 20
#: wall time in seconds after which buffered frames are written together with the next frame
FLUSH_SECONDS = 1.0

_POSITION = "particles/all/position/"
_SERIES = {
    "position": _POSITION + "value",
    "step": _POSITION + "step",
    "time": _POSITION + "time",
    "cell": "particles/all/box/edges/value",
    "framework": "observables/framework/value",
    "energy": "observables/potential_energy/value",
}


def create_zarr(path: Path, atoms: Atoms, state: dict[str, Any], elements: tuple[str, ...] = ()) -> None:
    """Create a trajectory folder with its first frame; it stores the atoms of `elements` (empty: all atoms)."""
    chosen = np.flatnonzero(np.isin(atoms.get_chemical_symbols(), elements)) if elements else np.arange(len(atoms))
    if not len(chosen):
        raise DataError(f"{path}: the structure has no {', '.join(elements)}; name elements that it has")
    root = zarr.create_group(str(path))
    root.attrs.update(
        {
            "pbc": atoms.pbc.tolist(),
            "numbers": atoms.numbers.tolist(),
            "masses": atoms.get_masses().tolist(),
            "start": atoms.positions.tolist(),
        }
    )
    header = root.create_group("h5md", attributes={"version": [1, 1]})
    header.create_group("creator", attributes={"name": "gnnpot", "version": version("gnnpot")})
    frames = max(1, min(1024, _CHUNK_BYTES // (12 * len(chosen))))
    shapes = {
        "position": ((len(chosen), 3), "float32", "Angstrom"),
        "step": ((), "int64", None),
        "time": ((), "float64", "fs"),
        "cell": ((3, 3), "float64", "Angstrom"),
        "framework": ((3,), "float64", "Angstrom"),
        "energy": ((), "float64", "eV"),
    }
    for name, (shape, dtype, unit) in shapes.items():
        root.create_array(
            _SERIES[name],
            shape=(0, *shape),
            chunks=(frames, *shape),
            dtype=dtype,
            fill_value=-1 if name == "step" else np.nan,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            attributes={} if unit is None else {"unit": unit},
        )
    for name, values in (("species", atoms.numbers[chosen]), ("index", chosen)):
        root.create_array(f"particles/all/{name}", data=values.astype(np.int64))
    root["particles/all/box"].attrs.update(
        {"dimension": 3, "boundary": ["periodic" if p else "none" for p in atoms.pbc]}
    )
    with ZarrWriter(path) as writer:
        writer.append(atoms, state)
        writer.place()


class ZarrWriter(TimedWriter):
    """Appends frames to a folder created by `create_zarr`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        root = _open(path, "r+")
        self._series = {name: _array(root, place) for name, place in _SERIES.items()}
        self._index = np.asarray(_array(root, "particles/all/index")[:])
        self._rest = np.setdiff1d(np.arange(np.size(np.array(root.attrs["numbers"]))), self._index)
        self._count = self._series["position"].shape[0]
        self._frames: list[dict[str, Any]] = []
        self._last_flush = time.monotonic()

    def append(self, atoms: Atoms, state: dict[str, Any]) -> None:
        rest = atoms.positions[self._rest].mean(axis=0) if len(self._rest) else np.full(3, np.nan)
        frame = {"position": atoms.positions[self._index].astype(np.float32), "cell": atoms.cell.array.copy()}
        frame |= {"framework": rest, "energy": _energy(atoms), "time": state["time"], "step": state["step"]}
        self._frames.append(frame)
        chunk = self._series["position"].chunks[0]
        full = (self._count + len(self._frames)) % chunk == 0
        if full or time.monotonic() - self._last_flush >= FLUSH_SECONDS:
            self.place()

    @property
    def end(self) -> int:
        return self._count + len(self._frames)

    def place(self) -> int:
        if self._frames:
            start, end = self._count, self.end
            # the step is written last, since it marks a frame as complete
            for name in ("position", "cell", "framework", "energy", "time", "step"):
                array = self._series[name]
                array.resize((end, *array.shape[1:]))
                array[start:end] = np.stack([frame[name] for frame in self._frames])
            self._count, self._frames = end, []
        self._last_flush = time.monotonic()
        return self._count


class ZarrFrames:
    """Reads a trajectory folder, chunk by chunk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        root = _open(path, "r")
        try:
            self._series = {name: _array(root, place) for name, place in _SERIES.items()}
            self.index = np.asarray(_array(root, "particles/all/index")[:])
            self.numbers = np.array(root.attrs["numbers"])
            self.masses = np.array(root.attrs["masses"])
            self.pbc = np.array(root.attrs["pbc"])
        except KeyError as error:
            raise DataError(f"{path}: is no trajectory of gnnpot, {error} is missing; give another") from None
        self.steps = self._read("step", 0, None)
        # a killed process may have left incomplete frames
        complete = np.flatnonzero(self.steps < 0)
        self.steps = self.steps[: complete[0]] if len(complete) else self.steps

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def complete(self) -> bool:
        """Whether all atoms are stored."""
        return len(self.index) == len(self.numbers)

    def times(self) -> np.ndarray:
        """Times of the frames in fs, [T]."""
        return self._read("time", 0, len(self))

    def positions(self, start: int, end: int) -> np.ndarray:
        """Positions in Å, [frames, M, 3]."""
        return self._read("position", start, end)

    def cells(self, start: int, end: int) -> np.ndarray:
        """Cell vectors in Å, [frames, 3, 3]."""
        return self._read("cell", start, end)

    def framework(self, start: int, end: int) -> np.ndarray:
        """Mean position (Å) of the atoms that are not stored, [frames, 3]; NaN if all are stored."""
        return self._read("framework", start, end)

    def energies(self) -> np.ndarray:
        """Potential energies in eV, [T]."""
        return self._read("energy", 0, len(self))

    @property
    def chunk(self) -> int:
        """Number of frames in a chunk, the unit of reading."""
        return self._series["position"].chunks[0]

    def _read(self, name: str, start: int, end: int | None) -> np.ndarray:
        try:
            return np.asarray(self._series[name][start:end])
        except (OSError, ValueError, RuntimeError, BaseZarrError) as error:
            raise DataError(f"{self.path}: is damaged ({error}); give another trajectory") from None


def read_zarr(path: Path) -> Iterator[Atoms]:
    """Yield the frames, with the atoms that are stored, and `step` and `time_fs` in `info`."""
    frames = ZarrFrames(path)
    symbols = [chemical_symbols[z] for z in frames.numbers[frames.index]]
    times = frames.times()
    for start in range(0, len(frames), frames.chunk):
        end = min(start + frames.chunk, len(frames))
        cells = frames.cells(start, end)
        for k, positions in enumerate(frames.positions(start, end)):
            info = {"step": int(frames.steps[start + k]), "time_fs": float(times[start + k])}
            yield Atoms(symbols, positions.astype(float), cell=cells[k], pbc=frames.pbc, info=info)


def check_elements(path: Path, elements: tuple[str, ...]) -> None:
    """Raise `ConfigError` if a trajectory stores other elements than `elements`; empty: no check."""
    frames = ZarrFrames(path)
    wanted = np.flatnonzero(np.isin(np.array(chemical_symbols)[frames.numbers], elements))
    if elements and not np.array_equal(wanted, frames.index):
        held = ", ".join(sorted({chemical_symbols[z] for z in frames.numbers[frames.index]}))
        raise ConfigError(f"{path}: holds the positions of {held}, not of {', '.join(elements)}; resume with the same")


def shorten_zarr(path: Path, frames: int) -> None:
    """Remove all but the first `frames` frames. Raises `DataError` if there are fewer."""
    root = _open(path, "r+")
    for place in _SERIES.values():
        array = _array(root, place)
        if array.shape[0] < frames:
            raise DataError(f"{path}: has fewer frames than its state says; start without resuming")
        # chunks keep values beyond the end of the array, which would reappear when it grows
        array[frames:] = array.fill_value
        array.resize((frames, *array.shape[1:]))


def _array(root: zarr.Group, place: str) -> zarr.Array:
    """Return the array at path `place`. Raises `KeyError` if there is none."""
    found = root[place]
    if not isinstance(found, zarr.Array):
        raise KeyError(place)
    return found


def _open(path: Path, mode: Literal["r", "r+"]) -> zarr.Group:
    try:
        return zarr.open_group(str(path), mode=mode)
    except (OSError, ValueError, KeyError, BaseZarrError) as error:
        raise DataError(f"{path}: can't be read as a Zarr folder ({error}); give another") from None


def _energy(atoms: Atoms) -> float:
    try:
        return float(atoms.get_potential_energy())
    except (RuntimeError, PropertyNotImplementedError):
        return float("nan")
