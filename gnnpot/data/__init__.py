"""Labelled crystals and molecules: frames, readers, stores, splits, element references.

Example::

    frames = read_frames("train.extxyz.gz")                 # an iterator, for files of any size
    store = write_store(frames, "train.store")              # Parquet on disk, with a manifest
    split = split_by_material(store)
    references = ElementReferences.fit(store)

This package holds structures and labels, their files and stores, and their checks. Graphs are built in
`gnnpot.graphs`, training data are selected from a store in `gnnpot.training`, and new structures and labels are
generated in `gnnpot.sampling`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnnpot.data.bundled import bundled_path
    from gnnpot.data.frame import (
        Frame,
        FrameError,
        Provenance,
        atomic_number,
        check_cell,
        check_distances,
        check_structure,
    )
    from gnnpot.data.index import StoreIndex
    from gnnpot.data.manifest import Manifest
    from gnnpot.data.readers import formats, read_files, read_frames, reduced_formula
    from gnnpot.data.references import ElementReferences
    from gnnpot.data.splits import (
        Split,
        split_by_count,
        split_by_frame,
        split_by_material,
        split_by_source,
        split_given,
    )
    from gnnpot.data.store import FrameSelection, FrameStore, write_store
    from gnnpot.data.stress import StressConvention
    from gnnpot.data.stress_check import StressCheck, StressSample, check_stress
    from gnnpot.data.unlabelled import read_structures

__all__ = [
    "ElementReferences",
    "Frame",
    "FrameError",
    "FrameSelection",
    "FrameStore",
    "Manifest",
    "Provenance",
    "Split",
    "StoreIndex",
    "StressCheck",
    "StressConvention",
    "StressSample",
    "atomic_number",
    "bundled_path",
    "check_cell",
    "check_distances",
    "check_stress",
    "check_structure",
    "formats",
    "read_files",
    "read_frames",
    "read_structures",
    "reduced_formula",
    "split_by_count",
    "split_by_frame",
    "split_by_material",
    "split_by_source",
    "split_given",
    "write_store",
]

#: name -> module; imported lazily, so that pyarrow is only needed for stores
_MODULES = {
    "ElementReferences": "gnnpot.data.references",
    "Frame": "gnnpot.data.frame",
    "FrameError": "gnnpot.data.frame",
    "FrameSelection": "gnnpot.data.store",
    "FrameStore": "gnnpot.data.store",
    "Manifest": "gnnpot.data.manifest",
    "Provenance": "gnnpot.data.frame",
    "Split": "gnnpot.data.splits",
    "StoreIndex": "gnnpot.data.index",
    "StressCheck": "gnnpot.data.stress_check",
    "StressConvention": "gnnpot.data.stress",
    "StressSample": "gnnpot.data.stress_check",
    "atomic_number": "gnnpot.data.frame",
    "bundled_path": "gnnpot.data.bundled",
    "check_cell": "gnnpot.data.frame",
    "check_distances": "gnnpot.data.frame",
    "check_stress": "gnnpot.data.stress_check",
    "check_structure": "gnnpot.data.frame",
    "formats": "gnnpot.data.readers",
    "read_files": "gnnpot.data.readers",
    "read_frames": "gnnpot.data.readers",
    "read_structures": "gnnpot.data.unlabelled",
    "reduced_formula": "gnnpot.data.readers",
    "split_by_count": "gnnpot.data.splits",
    "split_by_frame": "gnnpot.data.splits",
    "split_by_material": "gnnpot.data.splits",
    "split_by_source": "gnnpot.data.splits",
    "split_given": "gnnpot.data.splits",
    "write_store": "gnnpot.data.store",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gnnpot.data' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
