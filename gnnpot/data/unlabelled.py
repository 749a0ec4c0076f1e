"""Reading of structures without labels, from stores, files of frames and all formats that ASE reads.

    frames = read_structures(["pool.extxyz.gz", "more.store", "NaCl.cif"])

Labelled frames are read by `gnnpot.data.readers`.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from gnnpot.data.bundled import resolve_path
from gnnpot.data.frame import Frame
from gnnpot.data.manifest import MANIFEST
from gnnpot.data.readers import has_reader, read_frames, reader_of
from gnnpot.data.readers.dft import DftReader
from gnnpot.data.readers.records import RecordOptions
from gnnpot.data.store import FrameStore
from gnnpot.data.structure_files import read_all_structures
from gnnpot.errors import DataError


def read_structures(paths: Sequence[Path | str]) -> Sequence[Frame]:
    """Read the structures of `paths`, in order; labels in files are not read.

    A single store is read on access; everything else is held in memory. Raises `DataError` for paths that don't exist
    or can't be read.
    """
    files = [resolve_path(path) for path in paths]
    if not files:
        raise DataError("there are no files of structures; name at least one")
    if len(files) == 1 and (files[0] / MANIFEST).is_file():
        return FrameStore(files[0])
    return list(chain.from_iterable(_structures(path) for path in files))


def _structures(path: Path) -> Sequence[Frame]:
    if (path / MANIFEST).is_file():
        return FrameStore(path)
    if has_reader(path):
        options = RecordOptions.without_labels()
        if issubclass(reader_of(path), DftReader):
            # unconverged calculations, a fixed density and force fields give wrong labels, but valid structures
            options |= {"unconverged": "keep", "structures_only": True}
        return list(read_frames(path, **options))
    return read_all_structures(path)
