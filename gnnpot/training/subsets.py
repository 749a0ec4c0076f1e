"""Second step of the data preparation: split the frames into training, validation and test subsets.

Example::

    subsets = split_stores(stores, config.data, config.run / "chosen.json", write=True)
    subsets["train"].frames, subsets["validation"].elements
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.data.splits import split_by_count, split_by_frame, split_by_material
from gnnpot.data.store import FrameStore
from gnnpot.errors import ConfigError, DataError, counted
from gnnpot.runs.files import write_text
from gnnpot.sampling.representative import choose_frames
from gnnpot.training.config import SUBSETS, DataConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Subset:
    """Subset of the frames of a store, for training, validation or test."""

    store: FrameStore
    indices: np.ndarray  #: indices of the frames in the store, ascending

    @property
    def frames(self) -> Sequence[Frame]:
        return self.store.select(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def evenly_spaced(self, count: int) -> Iterator[Frame]:
        """Iterate over at most `count` frames, evenly spaced over the subset."""
        return (self.store[int(self.indices[k])] for k in spread_indices(len(self), count))

    @property
    def elements(self) -> np.ndarray:
        """Atomic numbers, ascending."""
        index = self.store.index()
        inside = np.zeros(len(index), dtype=bool)
        inside[self.indices] = True
        return np.unique(index.elements[np.repeat(inside, np.diff(index.offsets))])

    @property
    def functional(self) -> str:
        """Exchange-correlation functional of the first labels; empty if frames differ or do not have it.

        A hundred frames, evenly spaced, are checked.
        """
        said = {frame.provenance.functional for frame in self.evenly_spaced(100)}
        return said.pop() if len(said) == 1 else ""

    def without(self, held_out: Iterable["Subset"], by: str) -> "Subset":
        """Remove the frames whose material (`by` "material") or structure (otherwise) is held out."""
        kind = "material_id" if by == "material" else "fingerprint"
        taken = [getattr(part.store.index(), kind)[part.indices] for part in held_out]
        mine = getattr(self.store.index(), kind)[self.indices]
        return Subset(self.store, self.indices[~np.isin(mine, np.unique(np.concatenate(taken)))])


def spread_indices(frames: int, count: int) -> list[int]:
    """At most `count` indices below `frames`, evenly spaced."""
    return np.unique(np.linspace(0, frames - 1, min(count, frames)).astype(int)).tolist()


def split_stores(stores: dict[str, FrameStore], data: DataConfig, chosen: Path, *, write: bool) -> dict[str, Subset]:
    """Split the frames of a run into "train", "validation" and "test" (where there is one).

    Args:
        stores: Stores by name, "train" at least; those named "validation" and "test" are used completely.
        data: Fractions of the other subsets, and the number of frames to use.
        chosen: File of the frames that were chosen as representative.
        write: Whether to write that file; otherwise, it must exist.

    Raises:
        ConfigError: There is nothing to validate on, or more frames are requested than there are.
    """
    own: dict[str, Subset] = {
        name: Subset(stores[name], np.arange(len(stores[name]))) for name in SUBSETS if name in stores
    }
    fractions = {"validation": data.split.validation, "test": data.split.test}
    split = {name: fraction for name, fraction in fractions.items() if name not in own and fraction > 0}
    if "validation" not in own and "validation" not in split:
        raise ConfigError(
            "data: there is nothing to validate on; give data.validation, or data.split.validation above 0"
        )
    subsets = own
    if split:
        wanted = {"train": 1.0 - sum(split.values()), **split}
        cut = {"material": split_by_material, "frame": split_by_frame, "count": split_by_count}[data.split.by]
        result = cut(stores["train"], wanted, seed=data.split.seed)
        subsets = own | {name: Subset(stores["train"], result[name]) for name in wanted}
    if data.frames is not None:
        names = [name for name in ("train", "validation") if name == "train" or name in split]
        subsets |= _reduced({name: subsets[name] for name in names}, data, data.frames, chosen, write)
    if write:
        _warn_of_copies(subsets, own)
    log.info("data: %s", ", ".join(counted(len(subset), f"{name} frame") for name, subset in subsets.items()))
    return subsets


def _warn_of_copies(subsets: dict[str, Subset], own: Iterable[str]) -> None:
    """Log how many frames of files `own` of validation and test are training frames; splits log this themselves."""
    train = np.unique(subsets["train"].store.index().fingerprint[subsets["train"].indices])
    for name in own:
        subset = subsets[name]
        copies = int(np.isin(subset.store.index().fingerprint[subset.indices], train).sum())
        if name != "train" and copies:
            log.warning(
                "%d of %s are also training frames, so their errors are too low; remove them from either file",
                copies, counted(len(subset), f"{name} frame"),
            )  # fmt: skip


def _reduced(subsets: dict[str, Subset], config: DataConfig, count: int, path: Path, write: bool) -> dict[str, Subset]:
    """Reduce the subsets to `count` frames in total.

    The indices of representative frames are written to `path` (if `write`), and read from it when the run resumes.
    """
    counts = _counts(subsets, count)
    if config.choose == "random":
        chosen = {
            name: np.random.default_rng(config.split.seed).permutation(subset.indices)[: counts[name]]
            for name, subset in subsets.items()
        }
    elif path.exists():
        chosen = {
            name: np.array(indices, dtype=np.int64)
            for name, indices in json.loads(path.read_text(encoding="utf-8")).items()
        }
    else:
        log.info("data: choosing %d of %d frames", count, sum(map(len, subsets.values())))
        chosen = {
            name: subset.indices[choose_frames(subset.frames, counts[name]).indices] for name, subset in subsets.items()
        }
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps({name: indices.tolist() for name, indices in chosen.items()}) + "\n")
    return {name: Subset(subset.store, np.sort(chosen[name])) for name, subset in subsets.items()}


def _counts(subsets: dict[str, Subset], count: int) -> dict[str, int]:
    """Number of frames of each subset: `count` in total, in proportion to the subsets, at least one of each."""
    total = sum(map(len, subsets.values()))
    if count > total:
        raise ConfigError(f"data.frames: {count} are asked for, there are {total}; ask for fewer or leave it out")
    if count < len(subsets):
        raise ConfigError(
            f"data.frames: {count} can't be divided among {', '.join(subsets)}; give {len(subsets)} or more"
        )
    others = {name: max(1, round(count * len(subset) / total)) for name, subset in subsets.items() if name != "train"}
    while sum(others.values()) >= count:
        others[max(others, key=others.__getitem__)] -= 1
    return {"train": count - sum(others.values()), **others}


def check_elements_known(subset: Subset, elements: tuple[str, ...], name: str) -> None:
    """Raise `DataError` if the subset `name` has elements that are not in `elements`."""
    if unseen := sorted({chemical_symbols[z] for z in subset.elements} - set(elements)):
        raise DataError(f"the {name} frames have {', '.join(unseen)}, which no training frame has; split otherwise")
