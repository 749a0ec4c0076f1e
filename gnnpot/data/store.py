"""Stores of frames on disk, which may be larger than memory: a folder of Parquet shards and a manifest.

    write_store(read_frames("train.extxyz.gz"), "train.store", source="my DFT runs")
    store = FrameStore("train.store")
    len(store), store[17], store.index().n_atoms

A store is created atomically and never modified afterwards. Checksums detect changed files.
"""

import errno
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase.data import chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.data.index import StoreIndex, read_index
from gnnpot.data.manifest import FORMAT, MANIFEST, Manifest, Shard, Tally, read_manifest
from gnnpot.data.schema import REPEATED, double_columns, required_columns, schema, to_frames, to_table
from gnnpot.errors import DataError, counted, suggest
from gnnpot.runs.files import new_folder, write_durably
from gnnpot.runs.guard import FolderKind

#: contents of the folder of a store
STORE = FolderKind("a store", MANIFEST, FORMAT, ("shard-*.parquet",))
#: frames per Parquet row group, the unit in which a store is read
ROW_GROUP = 128
#: number of decoded row groups that a store caches
CACHED_GROUPS = 64
#: number of shards that a store keeps open
OPEN_SHARDS = 32


def write_store(
    frames: Iterable[Frame],
    folder: Path | str,
    *,
    shard_size: int = 65536,
    source: str = "",
    filters: Mapping[str, int] | None = None,
    stress_check: Callable[[], dict | None] | None = None,
    overwrite: bool = False,
) -> "FrameStore":
    """Write a store from an iterable of frames, and open it.

    After an error or an interruption, there is no incomplete store at `folder`.

    Args:
        frames: The frames; at most one row group (`ROW_GROUP` frames) is held in memory.
        folder: The folder to create.
        shard_size: Frames per file.
        source: Origin of the data, free text.
        filters: Number of rejected frames by reason. It is read after the last frame, so it may be a counter that is
            filled while `frames` is read.
        stress_check: Called after the last frame; the result is stored in the manifest. If it raises, no store is
            created.
        overwrite: Replace an existing store.

    Returns:
        The store, opened.

    Raises:
        DataError: `folder` exists and `overwrite` is false, there are no frames, or the disk is full.
    """
    folder = Path(folder)
    if shard_size < 1:
        raise DataError(f"{folder}: shard_size is {shard_size}; give a positive number of frames")
    tally = Tally()
    with new_folder(folder, overwrite, STORE) as partial:
        shards = _write_shards(frames, partial, shard_size, tally, folder)
        if not shards:
            raise DataError(f"{folder}: there are no frames to write; check the input and its filters")
        manifest = tally.manifest(shards, ROW_GROUP, source, filters or {}, stress_check() if stress_check else None)
        with disk_errors(folder):
            write_durably(partial / MANIFEST, manifest.to_text().encode())
    return FrameStore(folder)


def _write_shards(frames: Iterable[Frame], into: Path, shard_size: int, tally: Tally, folder: Path) -> list[Shard]:
    stream = iter(frames)
    shards: list[Shard] = []
    writer: ShardWriter | None = None
    while block := list(islice(stream, min(ROW_GROUP, shard_size - (writer.frames if writer else 0)))):
        for frame in block:
            tally.add(frame)
        with disk_errors(folder):
            writer = writer or ShardWriter(into / f"shard-{len(shards):05d}.parquet")
            writer.write(to_table(block))
            if writer.frames == shard_size:
                shards.append(writer.close())
                writer = None
    if writer:
        with disk_errors(folder):
            shards.append(writer.close())
    return shards


@contextmanager
def disk_errors(folder: Path, kept: str = "nothing was kept") -> Iterator[None]:
    """Convert `OSError` to a `DataError`, whose message states what was `kept`."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free some space or choose another disk" if full else "check the disk and your rights"
        problem = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        raise DataError(f"{folder}: can't be written ({problem}); {kept}, {remedy}") from None


def _verify(path: Path, shard: Shard, how: str) -> None:
    remedy = "copy or convert the store again"
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is no ordinary file; {remedy}")
        size = path.stat().st_size
        if size != shard.bytes:
            state = "truncated" if size < shard.bytes else "too long"
            raise DataError(f"{path}: is {state}, {size} of {shard.bytes} bytes; {remedy}")
        if how == "sha256":
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != shard.sha256:
                raise DataError(f"{path}: its bytes have changed (sha256 is not the manifest's); {remedy}")
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); {remedy}") from None


class FrameStore(Sequence[Frame]):
    """A store opened for reading: a sequence of frames.

    Random access decodes one row group; the last `CACHED_GROUPS` are cached. Iteration in order is faster. A store can
    be pickled and used after a fork: each process opens the files again when it first reads.

    When a shard is first read, its sha256 and counts are compared with the manifest.

    Args:
        folder: The folder of the store.
        verify: Compare the sizes of the shards ("size") or their sha256 ("sha256") with the manifest on opening;
            "none" disables all comparisons, also when reading.

    Raises:
        DataError: The folder is not a store, or a shard, named in the message, is missing or has changed. Reading
            frames may also raise it.
    """

    def __init__(self, folder: Path | str, verify: Literal["size", "sha256", "none"] = "size") -> None:
        self.folder = Path(folder)
        if verify not in ("size", "sha256", "none"):
            raise DataError(f"verify='{verify}' is not a choice; {suggest(verify, ['size', 'sha256', 'none'])}")
        self.manifest: Manifest
        self.manifest, self.sha256 = read_manifest(self.folder)
        self._verifies = verify != "none"
        self._verified: set[int] = set()
        if self._verifies:
            for number, shard in enumerate(self.manifest.shards):
                _verify(self.folder / shard.name, shard, verify)
                if verify == "sha256":
                    self._verified.add(number)
        ends = np.cumsum([0] + [shard.frames for shard in self.manifest.shards])
        self._starts = ends[:-1]
        self._length = int(ends[-1])
        self._index: StoreIndex | None = None
        self._forget()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> Frame:  # type: ignore[override]
        if not -self._length <= i < self._length:
            raise IndexError(f"frame {i} of a store of {self._length}")
        i = int(i) % self._length
        shard = int(np.searchsorted(self._starts, i, side="right")) - 1
        group, row = divmod(i - int(self._starts[shard]), self.manifest.row_group)
        return self._group(shard, group)[row]

    def __iter__(self) -> Iterator[Frame]:
        for shard, entry in enumerate(self.manifest.shards):
            for group in range(-(-entry.frames // self.manifest.row_group)):
                yield from self._read(shard, group)

    def select(self, indices: Iterable[int]) -> "FrameSelection":
        """Return the frames of these indices, in this order, as a sequence that reads frames on access."""
        return FrameSelection(self, indices)

    def index(self) -> StoreIndex:  # type: ignore[override]
        """Return sizes, compositions, materials and sources of all frames, without decoding the frames; cached."""
        if self._index is None:
            for number in range(len(self.manifest.shards)):
                self._verify_bytes(number)
            index = read_index([self.folder / shard.name for shard in self.manifest.shards])
            if self._verifies:
                _compare(index, self.manifest, self.folder)
            self._index = index
        return self._index

    def row_groups(self, indices: np.ndarray) -> np.ndarray:
        """Return the number of the row group of each frame in `indices`, counted over all shards."""
        groups = [-(-shard.frames // self.manifest.row_group) for shard in self.manifest.shards]
        before = np.cumsum([0, *groups])[:-1]
        shard = np.searchsorted(self._starts, indices, side="right") - 1
        return before[shard] + (indices - self._starts[shard]) // self.manifest.row_group

    def __repr__(self) -> str:
        return f"FrameStore({str(self.folder)!r}, {self._length} frames)"

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_index": None, "_files": OrderedDict(), "_groups": OrderedDict(), "_pid": 0}

    def _forget(self) -> None:
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], list[Frame]] = OrderedDict()
        self._pid = os.getpid()

    def _group(self, shard: int, group: int) -> list[Frame]:
        if self._pid != os.getpid():
            self._forget()
        frames = self._groups.get((shard, group))
        if frames is None:
            frames = self._groups[shard, group] = self._read(shard, group)
            if len(self._groups) > CACHED_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end((shard, group))
        return frames

    def _read(self, shard: int, group: int) -> list[Frame]:
        if self._pid != os.getpid():
            self._forget()
        path = self.folder / self.manifest.shards[shard].name
        try:
            return to_frames(self._open(shard).read_row_group(group, use_threads=False))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                problem = "can't be opened, too many files are open; raise the limit (ulimit -n)"
                raise DataError(f"{path}: {problem}") from None
            raise _damaged(path, error) from None
        except (pa.ArrowException, ValueError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from None

    def _open(self, shard: int) -> pq.ParquetFile:
        """Return an opened and verified shard; the last `OPEN_SHARDS` stay open."""
        if shard not in self._files:
            self._verify_bytes(shard)
            entry = self.manifest.shards[shard]
            opened = pq.ParquetFile(self.folder / entry.name)
            if self._verifies:
                _check_shard(opened, entry, self.manifest.row_group, self.folder / entry.name)
            while len(self._files) >= OPEN_SHARDS:
                self._files.popitem(last=False)[1].close()
            self._files[shard] = opened
        self._files.move_to_end(shard)
        return self._files[shard]

    def _verify_bytes(self, shard: int) -> None:
        if self._verifies and shard not in self._verified:
            entry = self.manifest.shards[shard]
            _verify(self.folder / entry.name, entry, "sha256")
            self._verified.add(shard)


def _damaged(path: Path, error: Exception) -> DataError:
    problem = " ".join(str(error).split())[:120]
    return DataError(f"{path}: is damaged ({problem}); copy or convert the store again")


def _check_shard(opened: pq.ParquetFile, shard: Shard, row_group: int, path: Path) -> None:
    """Raise `DataError` if the columns or counts of a shard differ from schema or manifest."""
    metadata = opened.metadata
    sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    expected = [min(row_group, shard.frames - k) for k in range(0, shard.frames, row_group)]
    if sizes != expected:
        raise DataError(
            f"{path}: holds {metadata.num_rows} frames in {len(sizes)} row groups, the manifest says {shard.frames} "
            f"in {len(expected)}; copy or convert the store again"
        )
    missing = [name for name in required_columns() if name not in opened.schema_arrow.names]
    if missing:
        raise DataError(f"{path}: lacks the columns {', '.join(missing)}; copy or convert the store again")


def _compare(index: StoreIndex, manifest: Manifest, folder: Path) -> None:
    """Raise `DataError` if the counts of the index differ from the manifest."""
    counts = np.bincount(index.elements, weights=index.counts, minlength=119)
    elements = {chemical_symbols[z]: int(counts[z]) for z in np.flatnonzero(counts)}
    labelled = int((~np.isnan(index.energy)).sum())
    found = {"frames": len(index), "atoms": int(index.n_atoms.sum()), "elements": elements, "energies": labelled}
    said = {
        "frames": manifest.frames, "atoms": manifest.atoms, "elements": manifest.elements,
        "energies": manifest.labels.get("energy", 0),
    }  # fmt: skip
    for name, value in found.items():
        if value != said[name]:
            raise DataError(
                f"{folder}: the shards hold {value} as {name}, the manifest says {said[name]}; convert the data again"
            )


class FrameSelection(Sequence[Frame]):
    """Selected frames of a store, see `FrameStore.select`."""

    def __init__(self, store: FrameStore, indices: Iterable[int]) -> None:
        self.store = store
        self.indices = np.fromiter(indices, dtype=np.int64)
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < len(store):
            raise DataError(
                f"{store.folder}: has {counted(len(store), 'frame')}, but indices outside of that were selected"
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Frame:  # type: ignore[override]
        return self.store[int(self.indices[i])]


class ShardWriter:
    """Writer of a Parquet file, row group by row group, that computes the sha256 of the file."""

    def __init__(self, path: Path) -> None:
        self.frames = 0
        self._path = path
        self._sink = _HashedFile(path.open("wb"))
        self._writer = pq.ParquetWriter(
            self._sink,
            schema(),
            compression="zstd",
            use_dictionary=REPEATED,
            column_encoding=dict.fromkeys(double_columns(), "BYTE_STREAM_SPLIT"),
        )

    def write(self, table: pa.Table) -> None:
        """Write rows with the columns of `schema.schema()`; all calls but the last must have complete row groups."""
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        self.frames += table.num_rows

    def discard(self) -> None:
        """Close the incomplete file; it is overwritten later."""
        with suppress(OSError):
            self._writer.close()
        self._sink.close()

    def close(self) -> Shard:
        self._writer.close()
        self._sink.sync()
        return Shard(self._path.name, self.frames, self._sink.size, self._sink.sha256.hexdigest())


class _HashedFile:
    """The methods of a binary file that Arrow needs for writing; counts and hashes the bytes written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def sync(self) -> None:
        """Write all data to disk, and close the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
