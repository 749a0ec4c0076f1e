"""First step of the data preparation: open the stores of a run, or convert its files to stores.

Example::

    stores = open_stores(config.data, config.run / "data", write=True)
    stores["train"], stores["validation"], stores["other"]          # by the names of subsets and datasets
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from gnnpot.data.bundled import resolve_path
from gnnpot.data.frame import Frame
from gnnpot.data.readers import read_files
from gnnpot.data.store import FrameStore
from gnnpot.data.stress_check import check_stress, write_checked_store
from gnnpot.errors import DataError, counted
from gnnpot.training.config import SUBSETS, DataConfig, SubsetName

log = logging.getLogger(__name__)


def open_stores(data: DataConfig, folder: Path, *, write: bool, stress: bool = False) -> dict[str, FrameStore]:
    """Open the stores of a run, or create them.

    Args:
        data: Paths, and options for reading files.
        folder: Folder for stores that are converted from files.
        write: Whether to create missing stores. Otherwise, they must exist, written by another process of the run.
        stress: Whether to check stresses against the energies.

    Returns:
        Stores by name: "train"; "validation" and "test" if they have paths of their own; and those of `data.sources`.

    Raises:
        DataError: A path doesn't exist, a frame can't be read, or stresses have another sign or unit.
    """
    stores: dict[str, FrameStore] = {
        name: _store(data, name, folder / f"{name}.store", write) for name in SUBSETS if data.paths(name)
    }
    if stress:
        require_stress(stores["train"], "data.reader.stress")
    for name, options in data.sources.items():
        reading = replace(data, train=options.train, format=options.format, reader=options.reader)
        stores[name] = _store(reading, "train", folder / f"{name}.store", write)
        if stress and "stress" in options.labels:
            require_stress(stores[name], f"data.sources.{name}.reader.stress")
    return stores


def read_labelled(paths: Sequence[Path], config: DataConfig, skipped: Counter[str] | None = None) -> Iterator[Frame]:
    """Read the frames of files and stores; `skipped` receives the numbers of skipped frames by reason."""
    options: dict[str, Any] = {f.name: getattr(config.reader, f.name) for f in fields(config.reader)}
    skipped = Counter() if skipped is None else skipped
    resolved = [resolve_path(path) for path in paths]
    for store, group in groupby(resolved, key=Path.is_dir):
        if store:
            for path in group:
                yield from FrameStore(path)
        else:
            yield from read_files(list(group), config.format, bad_frames=config.bad_frames, skipped=skipped, **options)


def _store(config: DataConfig, name: SubsetName, target: Path, write: bool) -> FrameStore:
    """Open the store that `data.train` (or validation, test) names, or convert its paths to a store at `target`."""
    paths = [resolve_path(path) for path in config.paths(name)]
    if len(paths) == 1 and paths[0].is_dir():
        return FrameStore(paths[0])
    if write and not target.exists():
        skipped: Counter[str] = Counter()
        source = ", ".join(str(p) for p in config.paths(name))
        write_checked_store(read_labelled(paths, config, skipped), target, source=source, filters=skipped)
        if skipped:
            log.warning(
                "%s: left out %s", source, ", ".join(f"{counted(n, 'frame')} ({why})" for why, n in skipped.items())
            )
    return FrameStore(target)


def require_stress(store: FrameStore, option: str) -> None:
    """Raise `DataError` if the stresses of a store contradict its energies.

    `option` is the name of the option for the stress convention, for the error message.
    """
    known = store.manifest.stress_check
    if known is None:
        check_stress(store)
    elif known.get("verdict") == "disagrees":
        raise DataError(
            f"{store.folder}: {known.get('meaning')}; name the convention with {option}, or set loss.stress=0"
        )
