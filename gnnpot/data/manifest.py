"""Manifest of a store, `manifest.json`: counts, the sha256 of each shard, rejected frames and the stress check.

It has no date and no path, so that the same frames always give the same manifest. Its sha256 identifies the data;
splits refer to it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.data.quantities import QUANTITIES
from gnnpot.errors import ConfigError, DataError, counted

MANIFEST = "manifest.json"
FORMAT = "gnnpot-store"
VERSION = 1
#: upper limit of all counts
MAX_COUNT = 2**53


@dataclass(frozen=True)
class Shard:
    """A Parquet file of the store."""

    name: str
    frames: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`."""

    frames: int
    atoms: int
    elements: dict[str, int]  #: number of atoms of each element
    labels: dict[str, int]  #: number of frames with each label
    sources: dict[str, int]  #: number of frames from each source
    codes: dict[str, int]  #: number of frames of each "code, functional", as given by the sources
    shards: list[Shard]
    row_group: int  #: frames per Parquet row group
    source: str = ""  #: origin of the data, as given by the user
    filters: dict[str, int] = field(default_factory=dict)  #: number of rejected frames by reason
    stress_check: dict[str, str | int | float | None] | None = None  #: `StressCheck`, `None` if not requested
    curation: dict[str, Any] | None = None  #: how `gnnpot data mp` selected the frames, with counts before and after
    format: str = FORMAT
    version: int = VERSION

    def to_text(self) -> str:
        return json.dumps(to_mapping(self), indent=1, ensure_ascii=False) + "\n"


class Tally:
    """Counts of the frames that are written to a store."""

    def __init__(self) -> None:
        self.frames = self.atoms = 0
        self._elements = np.zeros(119, dtype=np.int64)
        self._labels: Counter[str] = Counter(dict.fromkeys(QUANTITIES, 0))
        self._sources: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()

    def add(self, frame: Frame) -> None:
        self.frames += 1
        self.atoms += len(frame)
        self._elements += np.bincount(frame.numbers, minlength=119)
        self._labels.update(frame.labels.keys())
        self._sources[frame.provenance.source] += 1
        p = frame.provenance
        self._codes[", ".join(word for word in (p.code, p.functional) if word) or "unknown"] += 1

    def add_many(
        self,
        atoms: np.ndarray,
        labels: Mapping[str, int],
        sources: Mapping[str, int],
        codes: Mapping[str, int],
    ) -> None:
        """Add the counts of many frames.

        Args:
            atoms: [119] number of atoms by atomic number.
            labels: Number of frames with each label.
            sources: Number of frames from each source.
            codes: Number of frames of each "code, functional".
        """
        self.frames += sum(sources.values())
        self.atoms += int(atoms.sum())
        self._elements += atoms
        self._labels.update(labels)
        self._sources.update(sources)
        self._codes.update(codes)

    def to_mapping(self) -> dict:
        """Return all counts in a form that JSON can represent; the inverse is `from_mapping`."""
        names = ("_labels", "_sources", "_codes")
        counts = {name.lstrip("_"): dict(getattr(self, name)) for name in names}
        return {"frames": self.frames, "atoms": self.atoms, "elements": self._elements.tolist(), **counts}

    @classmethod
    def from_mapping(cls, mapping: Mapping) -> "Tally":
        tally = cls()
        tally.frames, tally.atoms = mapping["frames"], mapping["atoms"]
        tally._elements += np.array(mapping["elements"])
        for name in ("labels", "sources", "codes"):
            getattr(tally, f"_{name}").update(mapping[name])
        return tally

    def manifest(
        self,
        shards: list[Shard],
        row_group: int,
        source: str,
        filters: Mapping[str, int],
        check: dict | None,
        curation: dict | None = None,
    ) -> Manifest:
        """Return the manifest of the frames counted so far."""
        present = np.flatnonzero(self._elements)
        return Manifest(
            frames=self.frames,
            atoms=self.atoms,
            elements={chemical_symbols[z]: int(self._elements[z]) for z in present},
            labels=dict(self._labels),
            sources=dict(sorted(self._sources.items())),
            codes=dict(sorted(self._codes.items())),
            shards=shards,
            row_group=row_group,
            source=source,
            filters=dict(sorted(filters.items())),
            stress_check=check,
            curation=curation,
        )


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Read the manifest of a store; return it and its sha256. Raises `DataError` if it is missing or damaged."""
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise OSError
        text = path.read_bytes()
    except OSError:
        raise DataError(f"{folder}: is no store, it has no {MANIFEST}; make one with 'gnnpot data convert'") from None
    try:
        mapping = json.loads(text)
        if mapping["format"] != FORMAT or mapping["version"] != VERSION:
            raise DataError(
                f"{path}: is of format {mapping['format']} {mapping['version']}, this gnnpot reads {FORMAT} {VERSION}; "
                "convert the data again"
            )
        manifest = from_mapping(Manifest, mapping, where=str(path))
    except (ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
        raise DataError(f"{path}: is damaged ({error}); convert the data again") from None
    problem = _contradiction(manifest)
    if problem:
        raise DataError(f"{path}: contradicts itself ({problem}); convert the data again")
    return manifest, hashlib.sha256(text).hexdigest()


def _contradiction(manifest: Manifest) -> str:
    """Describe the first inconsistency of a manifest; "" if there is none."""
    shards = manifest.shards
    names = [shard.name for shard in shards]
    counts = [manifest.frames, manifest.atoms, *manifest.elements.values(), *manifest.labels.values()]
    counts += [*manifest.sources.values(), *manifest.codes.values(), *manifest.filters.values()]
    counts += [number for shard in shards for number in (shard.frames, shard.bytes)]
    if min(counts) < 0 or max(counts) > MAX_COUNT or manifest.row_group < 1 or any(s.frames < 1 for s in shards):
        return "a count that can't be"
    if any(name != Path(name).name or name in ("", ".", "..") for name in names) or len(set(names)) < len(names):
        return "names of shards that are not file names, or are listed twice"
    if sum(shard.frames for shard in shards) != manifest.frames:
        return f"its shards have {sum(shard.frames for shard in shards)} of {counted(manifest.frames, 'frame')}"
    unknown = sorted(set(manifest.elements) - set(chemical_symbols[1:]))
    if unknown:
        return f"{', '.join(unknown)[:60]} among the elements"
    if sum(manifest.elements.values()) != manifest.atoms:
        return f"its elements have {sum(manifest.elements.values())} of {manifest.atoms} atoms"
    if max(manifest.labels.values(), default=0) > manifest.frames:
        return "more labels than frames"
    return ""
