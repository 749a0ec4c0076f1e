"""Streaming readers of the published files of MPtrj and MatPES, which are JSON files of several gigabytes.

    curate(MPtrjFile("MPtrj_2022.9_full.json"), Curation(), "mptrj.store")
    curate(MatPESFile("MatPES-PBE-2025.1.json.gz"), Curation(), "matpes.store")

|             | MPtrj (of CHGNet)                                      | MatPES                                     |
|-------------|--------------------------------------------------------|--------------------------------------------|
| file        | {material: {"task-calculation-step": frame}}           | [frame]                                    |
| structure   | `structure`, a pymatgen dict                           | `structure`                                |
| energy      | `uncorrected_total_energy` (eV), VASP's for sigma -> 0 | `energy` (eV), VASP's for sigma -> 0       |
| corrections | `corrected_total_energy`: MP2020                       | none                                       |
| forces      | `force`, eV/Å                                          | `forces`, eV/Å                             |
| stress      | `stress` [3][3], kbar, positive under compression      | `stress` [6], kbar, positive under         |
|             |                                                        | compression, order xx yy zz yz xz xy;      |
|             |                                                        | or `stress_matrix` [3][3]                  |
| moments     | `magmom`, µB, or null                                  | property magmom of the sites, if there     |
| material    | the key; `e_per_atom_relaxed` is its final energy      | provenance.original_mp_id, else formula    |
| functional  | PBE or PBE+U, not specified in the file                | `functional`, else from the file name      |

One material of MPtrj, and about `FRAMES` frames, are in memory at a time. A resumed run parses the finished part again,
but does not filter or write it.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from ase.data import atomic_numbers

from gnnpot.data.mp.batch import FrameBatch
from gnnpot.data.mp.filters import Curation, Filter, functional
from gnnpot.data.mp.pipeline import Chunk
from gnnpot.data.readers import reduced_formula
from gnnpot.data.stress import StressConvention
from gnnpot.errors import DataError

#: approximate number of frames per batch
FRAMES = 1024
MPTRJ_STRESS = StressConvention("kbar", "compression", "xx yy zz xy yz zx")
MATPES_STRESS = StressConvention("kbar", "compression", "xx yy zz yz xz xy")
UNREADABLE = "not of the file's format"
OTHER_ELEMENTS = "other elements"
OTHER_FUNCTIONAL = "another functional"


@dataclass(frozen=True)
class _Entry:
    """A frame of a file, in the units of `gnnpot.units`."""

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    magmoms: np.ndarray
    task: str
    step: int
    material: str
    functional: str
    hubbard_u: str | None
    final_energy: float = float("nan")
    task_offset: float = float("nan")


@dataclass(frozen=True)
class _JsonFile:
    """Common base class of both files."""

    path: Path

    @property
    def applies_corrections(self) -> bool:
        return True

    @property
    def identity(self) -> dict[str, Any]:
        """Name and size of the file, which may be moved, but not changed."""
        path = Path(self.path)
        if not path.is_file():
            raise DataError(f"{path}: there is no such file; give the path of the JSON file")
        return {"file": path.name, "bytes": path.stat().st_size}

    def _chunks(
        self, groups: Iterator[tuple[list[_Entry], dict[str, int]]], start: int, place: "_Place", source: str
    ) -> Iterator[Chunk]:
        """Join `groups` (of a material, or of one frame) to batches; the position is the number of groups done."""
        entries: list[_Entry] = []
        left_out: dict[str, int] = {}
        number = 0
        for number, (group, reasons) in enumerate(groups, 1):
            if number <= start:
                continue
            entries += group
            for reason, count in reasons.items():
                left_out[reason] = left_out.get(reason, 0) + count
            if len(entries) >= FRAMES:
                yield Chunk(_batch(entries, source), left_out, number, place.done)
                entries, left_out = [], {}
        if number == 0:
            raise DataError(f"{self.path}: holds no frames; check that it is the right file")
        if entries or left_out:
            yield Chunk(_batch(entries, source) if entries else None, left_out, number, 1.0)


@dataclass(frozen=True)
class MPtrjFile(_JsonFile):
    """The data set MPtrj of CHGNet, or an excerpt with the same layout."""

    @property
    def has_ids(self) -> bool:
        return True

    @property
    def conventions(self) -> dict[str, str]:
        return {
            "name": "MPtrj",
            "energy": "zero: uncorrected_total_energy, VASP's for sigma -> 0 (eV)",
            "stress": f"{MPTRJ_STRESS} in the file, eV/Å³ positive under tension in the store",
        }

    def chunks(self, curation: Curation, filters: tuple[Filter, ...], start: Any) -> Iterator[Chunk]:
        _require(curation, self.path)
        if set(curation.run_types) != {"GGA", "GGA+U"}:
            raise DataError(f"{self.path}: MPtrj is of GGA and GGA+U and does not tell which; leave run_types out")
        corrected = curation.corrections == "mp2020"
        import ijson

        with _open(Path(self.path)) as (file, place):
            items = ijson.kvitems(file, "", use_float=True)
            groups = (self._material(name, frames, corrected, curation) for name, frames in items)
            yield from self._chunks(groups, start or 0, place, self.conventions["name"])

    def _material(
        self, name: str, frames: dict[str, dict], corrected: bool, curation: Curation
    ) -> tuple[list[_Entry], dict[str, int]]:
        """Return the frames of a material, sorted by calculation, and the number of rejected frames by reason."""
        entries: list[_Entry] = []
        left_out: dict[str, int] = {}
        for key, frame in frames.items():
            try:
                entries.append(self._entry(name, key, frame, corrected))
            except (KeyError, ValueError, TypeError, IndexError):
                left_out[UNREADABLE] = left_out.get(UNREADABLE, 0) + 1
        wanted = [e for e in entries if _made_of(e, curation)]
        if len(wanted) < len(entries):
            left_out[OTHER_ELEMENTS] = len(entries) - len(wanted)
        wanted.sort(key=lambda e: (e.task, e.step))
        return _with_offsets(wanted), left_out

    def _entry(self, material: str, key: str, frame: dict, corrected: bool) -> _Entry:
        numbers, positions, cell, _ = _structure(frame["structure"])
        task, _, step = key.rpartition("-")
        energy = float(frame["uncorrected_total_energy"])
        above = float(frame["energy_per_atom"]) - float(frame["e_per_atom_relaxed"])
        shift = float(frame["corrected_total_energy"]) - energy if corrected else 0.0
        return _Entry(
            numbers, positions, cell, energy + shift, _vectors(frame["force"], numbers),
            MPTRJ_STRESS.to_stress(frame["stress"]), _scalars(frame.get("magmom"), numbers), task, int(step), material,
            "PBE", None, (energy + shift) / len(numbers) - above,
        )  # fmt: skip


@dataclass(frozen=True)
class MatPESFile(_JsonFile):
    """A file of MatPES: static calculations with PBE or r2SCAN, each a run of its own."""

    @property
    def has_ids(self) -> bool:
        return False

    @property
    def conventions(self) -> dict[str, str]:
        return {
            "name": "MatPES",
            "energy": "zero: energy, VASP's for sigma -> 0 (eV)",
            "stress": f"{MATPES_STRESS} in the file, eV/Å³ positive under tension in the store",
        }

    def chunks(self, curation: Curation, filters: tuple[Filter, ...], start: Any) -> Iterator[Chunk]:
        _require(curation, self.path)
        if curation.corrections != "none":
            raise DataError(f"{self.path}: MatPES has no entries of the Materials Project to correct; use none")
        wanted = {functional(name).removesuffix("+U") for name in curation.run_types}
        import ijson

        with _open(Path(self.path)) as (file, place):
            frames = ijson.items(file, "item", use_float=True)
            groups = (self._frame(k, frame, wanted, curation) for k, frame in enumerate(frames))
            yield from self._chunks(groups, start or 0, place, self.conventions["name"])

    @cached_property
    def _named(self) -> str:
        return "r2SCAN" if "r2scan" in Path(self.path).name.lower() else "PBE"

    def _frame(
        self, number: int, frame: dict, wanted: set[str], curation: Curation
    ) -> tuple[list[_Entry], dict[str, int]]:
        name = str(frame.get("functional") or self._named) if isinstance(frame, dict) else ""
        name = {"r2scan": "r2SCAN"}.get(name.lower(), functional(name))
        try:
            entry = self._entry(number, frame, name)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError):
            return [], {UNREADABLE: 1}
        if name not in wanted:
            return [], {OTHER_FUNCTIONAL: 1}
        return ([entry], {}) if _made_of(entry, curation) else ([], {OTHER_ELEMENTS: 1})

    def _entry(self, number: int, frame: dict, name: str) -> _Entry:
        numbers, positions, cell, moments = _structure(frame["structure"])
        # a tensor that is not symmetric is stored under a different name, as a matrix
        stress = frame.get("stress") or frame.get("stress_matrix")
        provenance = frame.get("provenance") or {}
        return _Entry(
            numbers, positions, cell, float(frame["energy"]), _vectors(frame["forces"], numbers),
            np.full(6, np.nan) if stress is None else MATPES_STRESS.to_stress(stress), _scalars(moments, numbers),
            str(frame.get("matpes_id") or number), 0,
            str(provenance.get("original_mp_id") or reduced_formula(numbers)), name,
            None if name.endswith("+U") else "{}",
        )  # fmt: skip


def _require(curation: Curation, where: Path) -> None:
    if curation.energy == "free":
        raise DataError(f"{where}: holds the energy for sigma -> 0 alone (zero), not the free energy; leave energy out")


def _structure(mapping: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, list | None]:
    """Return numbers, positions, cell and magnetic moments (if all sites have one) of a pymatgen dict."""
    sites = mapping["sites"]
    if any(len(site["species"]) != 1 or site["species"][0]["occu"] != 1 for site in sites):
        raise ValueError("sites of mixed occupation")
    numbers = np.array([atomic_numbers[site["species"][0]["element"]] for site in sites], dtype=np.int16)
    cell = np.array(mapping["lattice"]["matrix"], dtype=float).reshape(3, 3)
    # Cartesian coordinates are optional in a pymatgen dict
    if all("xyz" in site for site in sites):
        positions = np.array([site["xyz"] for site in sites], dtype=float).reshape(-1, 3)
    else:
        positions = np.array([site["abc"] for site in sites], dtype=float).reshape(-1, 3) @ cell
    moments = [(site.get("properties") or {}).get("magmom") for site in sites]
    return numbers, positions, cell, None if any(m is None for m in moments) else moments


def _vectors(values: Any, numbers: np.ndarray) -> np.ndarray:
    if values is None:
        return np.full((len(numbers), 3), np.nan)
    return np.array(values, dtype=float).reshape(len(numbers), 3)


def _scalars(values: Any, numbers: np.ndarray) -> np.ndarray:
    if values is None:
        return np.full(len(numbers), np.nan)
    return np.array(values, dtype=float).reshape(len(numbers))


def _made_of(entry: _Entry, curation: Curation) -> bool:
    allowed = {atomic_numbers[symbol] for symbol in curation.elements}
    return not allowed or {int(z) for z in np.unique(entry.numbers)} <= allowed


def _with_offsets(entries: list[_Entry]) -> list[_Entry]:
    """Set `task_offset` of the entries of a material: last energy of the task minus the lowest of all tasks."""
    last = {e.task: e.energy / len(e.numbers) for e in entries}
    lowest = min(last.values(), default=0.0)
    return [replace(e, task_offset=last[e.task] - lowest) for e in entries]


def _batch(entries: list[_Entry], source: str) -> FrameBatch:
    """Convert entries, sorted by task, to a batch."""
    sizes = np.array([len(e.numbers) for e in entries], dtype=np.int64)
    tasks = [(e.material, e.task) for e in entries]
    first = [k for k in range(len(entries)) if k == 0 or tasks[k] != tasks[k - 1]]
    words = {
        "source": [source] * len(first),
        "task": [entries[k].task for k in first],
        "material_id": [entries[k].material for k in first],
        "code": ["VASP"] * len(first),
        "functional": [entries[k].functional for k in first],
        "pseudopotentials": [""] * len(first),
        "config_type": [""] * len(first),
        "hubbard_u": [entries[k].hubbard_u for k in first],
    }
    count = len(entries)
    return FrameBatch(
        sizes=sizes,
        numbers=np.concatenate([e.numbers for e in entries]),
        positions=np.concatenate([e.positions for e in entries]),
        cell=np.stack([e.cell for e in entries]),
        energy=np.array([e.energy for e in entries]),
        forces=np.concatenate([e.forces for e in entries]),
        stress=np.stack([e.stress for e in entries]),
        magmoms=np.concatenate([e.magmoms for e in entries]),
        electronic_steps=np.full(count, -1),
        electronic_change=np.full(count, np.nan),
        final_energy=np.array([e.final_energy for e in entries]),
        task_offset=np.array([e.task_offset for e in entries]),
        deprecated=np.zeros(count, dtype=bool),
        step=np.array([e.step for e in entries]),
        run=np.searchsorted(first, np.arange(count), side="right") - 1,
        words={name: np.array(values, dtype=object) for name, values in words.items()},
    )


class _Place:
    """Position in a file, as a fraction of its size."""

    def __init__(self, raw: BinaryIO, size: int) -> None:
        self._raw, self._size = raw, max(size, 1)

    @property
    def done(self) -> float:
        return min(self._raw.tell() / self._size, 1.0)


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, _Place]]:
    """Open a JSON file, plain or gzipped, and track the position in it. Errors are raised as `DataError`."""
    import ijson

    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            opened: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
            with opened as file:
                yield file, _Place(raw, path.stat().st_size)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path}: the gzip file is truncated or damaged; fetch it again (gzip -t checks it)") from None
    except (ijson.JSONError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: is no JSON file or is truncated ({problem}); fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); check the file and its rights") from None
