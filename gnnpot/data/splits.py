"""Splits of a store into training, validation and test parts, by material unless requested otherwise.

    split = split_by_material(store, {"train": 0.9, "validation": 0.05, "test": 0.05}, seed=0)
    split.save("split.json");  split = Split.load("split.json", store)
    store.select(split["train"])

The part of a material depends only on its name, the seed and the fractions. It is the same in every store, so that
adding data does not move frames between parts. The fractions are average fractions of the number of materials.

A split by frame keeps copies of a structure in one part, because a copy of a training frame would measure nothing.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from gnnpot.data.index import StoreIndex
from gnnpot.data.store import FrameStore
from gnnpot.errors import DataError, counted, suggest
from gnnpot.runs.files import write_text
from gnnpot.runs.guard import check_file

log = logging.getLogger(__name__)

FORMAT, VERSION = "gnnpot-split", 1
FRACTIONS: dict[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}


@dataclass(frozen=True, eq=False)
class Split:
    """Named parts of a store; each frame is in at most one part. `split["train"]` are the frame indices of a part."""

    parts: dict[str, np.ndarray]  #: ascending frame indices, int64
    by: Literal["material", "frame", "source", "given"]  #: how the split was made
    store_sha256: str  #: sha256 of the manifest of the store
    seed: int | None = None
    fractions: dict[str, float] = field(default_factory=dict)
    shared_materials: int = 0  #: number of materials with frames in more than one part
    shared_structures: int = 0  #: number of structures in more than one part
    shared_energies: int = 0  #: values of `StoreIndex.equivalence` in more than one part: likely copies

    def __getitem__(self, part: str) -> np.ndarray:
        if part not in self.parts:
            raise DataError(f"the split has no part '{part}'; {suggest(part, self.parts)}")
        return self.parts[part]

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write the split as JSON, atomically.

        Raises `DataError` if the file exists and `overwrite` is false, or if it is not a regular file.
        """
        path = check_file(path, overwrite=overwrite)
        mapping = {"format": FORMAT, "version": VERSION}
        mapping |= {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "parts"}
        mapping["parts"] = {name: indices.tolist() for name, indices in self.parts.items()}
        write_text(path, json.dumps(mapping) + "\n")

    @classmethod
    def load(cls, path: Path | str, store: FrameStore) -> "Split":
        """Read a split. Raises `DataError` if the file is damaged, or belongs to a store other than `store`."""
        path = Path(path)
        try:
            mapping = json.loads(path.read_text(encoding="utf-8"))
            if (mapping.pop("format"), mapping.pop("version")) != (FORMAT, VERSION):
                raise DataError(f"{path}: is not of format {FORMAT} {VERSION}; make the split again")
            parts = {name: _indices(indices) for name, indices in mapping.pop("parts").items()}
            together = np.concatenate([np.zeros(0, dtype=np.int64), *parts.values()])
            if len(np.unique(together)) < len(together):
                raise DataError(f"{path}: has frames twice; make it again with 'gnnpot data split'")
            split = cls(parts=parts, **mapping)
        except OSError as error:
            raise DataError(f"{path}: can't be read ({error.strerror}); make it with 'gnnpot data split'") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise DataError(f"{path}: is no split or is damaged; make it again with 'gnnpot data split'") from None
        if split.store_sha256 != store.sha256:
            raise DataError(f"{path}: was made for other data than {store.folder}; make a split of this store")
        return split


def _indices(values: list) -> np.ndarray:
    """Convert to an array. Raises `ValueError` for values that are not non-negative integers."""
    indices = np.array(values, dtype=np.int64)
    if indices.ndim != 1 or indices.tolist() != values or (len(indices) and indices.min() < 0):
        raise ValueError("no frame indices")
    return indices


def split_by_material(store: FrameStore, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> Split:
    """Split by material, so that parts share none. Raises `DataError` if too few materials would leave a part empty."""
    fractions = _checked(fractions)
    index = store.index()
    part_of_material = _draw(index.materials, fractions, seed)
    parts = _parts(part_of_material[index.material], fractions)
    n = len(index.materials)
    for name, indices in parts.items():
        if len(indices) == 0:
            raise DataError(
                f"{store.folder}: part '{name}' would be empty, there {'is' if n == 1 else 'are'} only "
                f"{counted(n, 'material')}; give it a larger fraction, try another seed, split by source file, "
                "or split by frame (--by frame; in a training --set data.split.by=frame), which lets frames of one "
                "material into several parts"
            )
    return _described(store, index, parts, "material", seed, fractions)


def part_of_material(material: str, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> str:
    """Return the part of a material in all splits by material with these fractions and this seed."""
    fractions = _checked(fractions)
    return list(fractions)[_draw(np.array([material]), fractions, seed)[0]]


def split_by_frame(store: FrameStore, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> Split:
    """Split by frame, at random. Parts share materials, so that test errors are too optimistic.

    It is meant for stores of a single material, which can't be split by material. The split records how it was made.
    """
    fractions = _checked(fractions)
    index = store.index()
    parts = _parts(_draw(_originals(store, index).astype(str), fractions, seed), fractions)
    for name, indices in parts.items():
        if len(indices) == 0:
            raise DataError(f"{store.folder}: part '{name}' would be empty; give it a larger fraction or another seed")
    return _described(store, index, parts, "frame", seed, fractions)


def split_by_count(store: FrameStore, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> Split:
    """Split by frame, at random, with exact part sizes of at least one structure; for sets of few frames.

    Raises `DataError` if there are fewer structures than parts.
    """
    fractions = _checked(fractions)
    index = store.index()
    original = _originals(store, index)
    distinct = np.unique(original)
    total = len(distinct)
    if total < len(fractions):
        what = "frame" if total == len(index) else "different structure"
        raise DataError(f"{store.folder}: {counted(total, what)} can't make {len(fractions)} parts; give more frames")
    drawn = distinct[np.random.default_rng(seed).permutation(total)]
    parts, left = {}, total
    for waiting, (name, fraction) in zip(range(len(fractions) - 1, -1, -1), reversed(fractions.items()), strict=True):
        # the first part gets the rest; each other part leaves at least one structure for each following part
        count = min(max(1, round(fraction * total)), left - waiting) if waiting else left
        parts[name], left = drawn[left - count : left], left - count
    parts = {name: np.flatnonzero(np.isin(original, parts[name])) for name in fractions}
    return _described(store, index, parts, "frame", seed, fractions)


def split_by_source(store: FrameStore, sources: Mapping[str, str], validation: float = 0.0, seed: int = 0) -> Split:
    """Split by source file, for data sets with predefined parts.

    Args:
        store: The store.
        sources: Source of each part, such as {"train": "Cu_train", "test": "Cu_test"}. A unique prefix of the name
            suffices.
        validation: Fraction of the frames of "train" that becomes the part "validation", drawn by frame.
        seed: Seed of the validation part.
    """
    index = store.index()
    parts = {}
    for part, name in sources.items():
        exact = [k for k, s in enumerate(index.sources) if s == name]
        matches = exact or [k for k, s in enumerate(index.sources) if s.startswith(name)]
        if len(matches) != 1:
            problem = "no source is named" if not matches else f"{len(matches)} sources have names that begin with"
            raise DataError(f"{store.folder}: {problem} '{name}'; {suggest(name, index.sources)}")
        parts[part] = np.flatnonzero(index.source == matches[0])
    if validation:
        fractions = _checked({"train": 1 - validation, "validation": validation})
        if "train" not in parts or "validation" in parts:
            raise DataError("a fraction for validation needs a source for 'train' and none for 'validation'")
        drawn = _draw(parts["train"].astype(str), fractions, seed)
        parts["train"], parts["validation"] = parts["train"][drawn == 0], parts["train"][drawn == 1]
    return _described(store, index, parts, "source", seed, {"validation": validation} if validation else {})


def split_given(store: FrameStore, parts: Mapping[str, np.ndarray]) -> Split:
    """Split by given frame indices. Raises `DataError` if a frame does not exist or is in two parts."""
    return _described(store, store.index(), dict(parts), "given", None, {})


def _checked(fractions: Mapping[str, float]) -> dict[str, float]:
    total = sum(fractions.values())
    # written so that NaN is rejected
    if not fractions or not all(f > 0 for f in fractions.values()) or not abs(total - 1) <= 1e-9:
        raise DataError(
            f"fractions: the sizes {dict(fractions)} of a split must be positive and sum to 1, not {total:g}"
        )
    return dict(fractions)


def _draw(names: np.ndarray, fractions: Mapping[str, float], seed: int) -> np.ndarray:
    """Return the part number of each name, by comparing a hash in [0, 1) with the cumulative fractions."""
    ends = np.cumsum(list(fractions.values()))
    hashes = [hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8] for name in names]
    uniform = np.array([int.from_bytes(h, "big") / 2**64 for h in hashes])
    return np.minimum(np.searchsorted(ends, uniform, side="right"), len(ends) - 1)


def _originals(store: FrameStore, index: StoreIndex) -> np.ndarray:
    """Return the first frame with the structure of each frame, [F] indices; the number of copies is logged."""
    _, first, structure = np.unique(index.fingerprint, return_index=True, return_inverse=True)
    if copies := len(index) - len(first):
        log.warning(
            "%s: %d of %d frames are copies of others, which stay in the same part of the split",
            store.folder, copies, len(index),
        )  # fmt: skip
    return first[structure]


def _parts(part: np.ndarray, fractions: Mapping[str, float]) -> dict[str, np.ndarray]:
    return {name: np.flatnonzero(part == k) for k, name in enumerate(fractions)}


def _described(
    store: FrameStore,
    index: StoreIndex,
    parts: dict[str, np.ndarray],
    by: Literal["material", "frame", "source", "given"],
    seed: int | None,
    fractions: dict[str, float],
) -> Split:
    """Check the parts, count what they share, and return the split."""
    parts = {name: np.sort(np.asarray(indices, dtype=np.int64)) for name, indices in parts.items()}
    every = np.concatenate([*parts.values(), np.empty(0, dtype=np.int64)])
    if len(every) and not 0 <= every.min() <= every.max() < len(index):
        raise DataError(f"{store.folder}: has {counted(len(index), 'frame')}, but a part names frames outside of that")
    if len(np.unique(every)) < len(every):
        raise DataError(f"{store.folder}: a frame is in two parts or twice in one; give each frame once")
    materials, structures, energies = (
        _shared([values[indices] for indices in parts.values()])
        for values in (index.material, index.fingerprint, index.equivalence)
    )
    if by != "frame" and max(structures, energies):
        log.warning(
            "%s: %d structures, and %d compositions of one energy, are in more than one part of the split",
            store.folder, structures, energies,
        )  # fmt: skip
    return Split(parts, by, store.sha256, seed, fractions, materials, structures, energies)


def _shared(values: list[np.ndarray]) -> int:
    """Return the number of values that occur in more than one array."""
    distinct = np.concatenate([np.unique(v) for v in values]) if values else np.empty(0)
    return int((np.unique(distinct, return_counts=True)[1] > 1).sum())
