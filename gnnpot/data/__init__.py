"""Crystals and molecules with labels: frames, readers, stores, splits, element references.

frames = read_frames("train.extxyz.gz")                 # a stream, whatever the file's size
store = write_store(frames, "train.store")              # Parquet on disk, with a manifest
split = split_by_material(store)
references = ElementReferences.fit(store)
"""

from gnnpot.data.bundled import bundled_path
from gnnpot.data.frame import Frame, FrameError, Provenance, atomic_number, check_cell, check_distances, check_structure
from gnnpot.data.index import StoreIndex
from gnnpot.data.manifest import Manifest
from gnnpot.data.readers import formats, read_files, read_frames, reduced_formula
from gnnpot.data.references import ElementReferences
from gnnpot.data.splits import Split, split_by_count, split_by_frame, split_by_material, split_by_source, split_given
from gnnpot.data.store import FrameSelection, FrameStore, write_store
from gnnpot.data.stress import StressConvention
from gnnpot.data.stress_check import StressCheck, StressSample, check_stress

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
    "check_structure",
    "check_stress",
    "formats",
    "read_files",
    "read_frames",
    "reduced_formula",
    "split_by_count",
    "split_by_frame",
    "split_by_material",
    "split_by_source",
    "split_given",
    "write_store",
]
