"""Base class and registry of readers, and `read_frames`, the common entry point.

A reader converts a file to `Record`s, with structure and labels under the names of the file. The meaning and units of
these names, and the material of a frame, are determined for all formats in `records.py`.
"""

import bz2
import dataclasses
import gzip
import importlib
import inspect
import logging
import lzma
import pkgutil
import struct
import sys
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, TextIO

from gnnpot.data.bundled import resolve_bundled
from gnnpot.data.frame import Frame, FrameError
from gnnpot.data.readers.records import FrameBuilder, Record, RecordOptions
from gnnpot.data.stress import StressConvention
from gnnpot.errors import DataError, PluginError, suggest
from gnnpot.plugins import READERS, Plugin, Registry

log = logging.getLogger(__name__)

#: first bytes of compressed files -> function that opens them
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"BZh": bz2.open,
}
#: endings of the names of compressed files, ignored when the format is determined
_COMPRESSED_ENDINGS = (".gz", ".xz", ".bz2")
#: exceptions of ASE's readers for damaged binary files, in addition to their own
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OverflowError, MemoryError, RecursionError,
    AssertionError, NotImplementedError, zlib.error, struct.error,
)  # fmt: skip
#: reason under which files that can't be read are counted
UNREADABLE = "file that can't be read"
#: number of bytes at the beginning of a file that are used to determine its format
HEAD = 65536


@dataclasses.dataclass(frozen=True)
class Reader(ABC):
    """Base class of file formats. Subclasses are frozen dataclasses; their fields are options of `read_frames`."""

    path: Path

    #: name of the format
    format: ClassVar[str]
    #: default stress convention; `None` if the format has no stress
    stress_convention: ClassVar[StressConvention | None]
    #: whether the format leaves the names of the labels to the writers of files
    free_names: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def matches(cls, name: str) -> bool:
        """Return whether a file of this `name` is likely of this format.

        The name is in lower case, without the folder and the ending of compressed files.
        """

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format; used if no reader matches the name."""
        return False

    @classmethod
    def holds(cls, folder: Path) -> bool:
        """Return whether a folder is of this format; false for formats of single files."""
        return False

    @abstractmethod
    def records(self) -> Iterator[Record | FrameError]:
        """Yield the frames of the file in order, with a `FrameError` in place of each frame that can't be read.

        Raises `DataError` if the rest of the file can't be read.
        """


def read_frames(
    path: Path | str,
    format: str | None = None,
    *,
    bad_frames: Literal["raise", "skip"] = "raise",
    skipped: Counter[str] | None = None,
    **options: Any,
) -> Iterator[Frame]:
    """Iterate over the frames of a file, in order, with one frame in memory at a time.

    A damaged file, as opposed to an invalid frame, always raises an error.

    Args:
        path: The file, or `bundled:NAME`.
        format: One of `formats()`; by default determined from the file name, or else from the first bytes.
        bad_frames: "raise" stops at the first invalid frame; "skip" skips invalid frames and counts them by reason in
            `skipped`, which is then required, so that no frames are skipped silently.
        skipped: Number of skipped frames by reason; it is filled while frames are read.
        options: Fields of `RecordOptions` (keys of labels, stress convention, material, provenance) and of the reader.

    Returns:
        An iterator of frames: Å, eV, eV/Å, eV/Å³ (Voigt xx yy zz yz xz xy, positive under tension), µB.

    Raises:
        DataError: A file or frame can't be used; the message names the file and the frame, counted from 0.
    """
    _check_bad_frames(bad_frames, skipped)
    path = resolve_bundled(path)
    return _frames(path, *_opened(path, format, options), skipped if bad_frames == "skip" else None)


def read_files(
    paths: Sequence[Path | str],
    format: str | None = None,
    *,
    bad_frames: Literal["raise", "skip"] = "raise",
    skipped: Counter[str] | None = None,
    **options: Any,
) -> Iterator[Frame]:
    """Iterate over the frames of several files, in order; see `read_frames`.

    With `bad_frames="skip"`, a file that can't be read to its end is logged with its name and the reason, and counted
    in `skipped` as "file that can't be read"; the next file is then read. Raises `DataError` before the first frame if
    a file does not exist, and at the end if no file could be read to its end.
    """
    _check_bad_frames(bad_frames, skipped)
    files = [resolve_bundled(path) for path in paths]
    for path in files:
        if not path.exists():
            raise DataError(f"{path}: does not exist; give the paths of files of frames")
    if bad_frames == "raise" or skipped is None:
        streams = [_frames(path, *_opened(path, format, options), None) for path in files]
        return (frame for stream in streams for frame in stream)
    return _readable_frames(files, format, options, skipped)


def _readable_frames(
    paths: Sequence[Path], format: str | None, options: dict[str, Any], skipped: Counter[str]
) -> Iterator[Frame]:
    problems = []
    for path in paths:
        try:
            yield from _frames(path, *_opened(path, format, options), skipped)
        except DataError as error:
            log.warning("left out: %s", error)
            skipped[UNREADABLE] += 1
            problems.append(error)
    if problems and len(problems) == len(paths):
        raise problems[0]


def read_numbered(
    path: Path | str, format: str | None = None, **options: Any
) -> Iterator[tuple[int, Frame | FrameError]]:
    """Yield each frame of a file with its number, counted from 0, or a `FrameError` in place of an invalid frame."""
    return _numbered(Path(path), *_opened(Path(path), format, options))


def _check_bad_frames(bad_frames: str, skipped: Counter[str] | None) -> None:
    if bad_frames not in ("raise", "skip"):
        raise DataError(f"bad_frames='{bad_frames}' is not a choice; {suggest(bad_frames, ['raise', 'skip'])}")
    if bad_frames == "skip" and skipped is None:
        raise DataError("bad_frames='skip' needs skipped=Counter(), which counts by reason what is left out")


def _opened(path: Path, format: str | None, options: dict[str, Any]) -> tuple[Reader, FrameBuilder]:
    """Return the reader of a file and the builder of its frames. Raises `DataError` for an unknown option."""
    cls = reader_of(path, format)
    common = {f.name for f in dataclasses.fields(RecordOptions)}
    own = {f.name for f in dataclasses.fields(cls)} - {"path"}
    for name in options:
        if name not in common | own:
            raise DataError(f"{path}: unknown option '{name}' of format '{cls.format}'; {suggest(name, common | own)}")
    reader = cls(path, **{k: v for k, v in options.items() if k in own})
    return reader, FrameBuilder(
        path, RecordOptions(**{k: v for k, v in options.items() if k in common}), cls.stress_convention, cls.free_names
    )


def _frames(path: Path, reader: Reader, builder: FrameBuilder, skipped: Counter[str] | None) -> Iterator[Frame]:
    for number, frame in _numbered(path, reader, builder):
        if isinstance(frame, FrameError):
            if skipped is None:
                raise frame.with_location(_place(path, number))
            skipped[frame.reason] += 1
        else:
            yield frame


def _numbered(path: Path, reader: Reader, builder: FrameBuilder) -> Iterator[tuple[int, Frame | FrameError]]:
    number = -1
    for number, record in enumerate(reader.records()):
        try:
            yield number, record if isinstance(record, FrameError) else builder.build(record, number)
        except FrameError as error:
            yield number, error
    if number < 0:
        raise DataError(f"{path}: holds no frames; check that it was written to the end")
    builder.finish()


def _place(path: Path, number: int) -> str:
    return f"{path}, frame {number} (counted from 0)"


@cache
def own_readers() -> dict[str, type[Reader]]:
    """Return {format: class} of all modules in this folder."""
    package = importlib.import_module(__package__)
    found = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__package__}.{info.name}")
        for value in vars(module).values():
            is_reader = isinstance(value, type) and issubclass(value, Reader) and not inspect.isabstract(value)
            if is_reader and value.__module__ == module.__name__:
                found[value.format] = value
    return found


def _check(plugin: Plugin, found: Any) -> type[Reader]:
    if not (isinstance(found, type) and issubclass(found, Reader)) or inspect.isabstract(found):
        raise plugin.refused("is no subclass of gnnpot.data.readers.Reader with all of its methods")
    if getattr(found, "format", None) != plugin.name or not hasattr(found, "stress_convention"):
        raise plugin.refused(f"needs the class attributes format = '{plugin.name}' and stress_convention")
    return found


REGISTRY = Registry(
    READERS, "format", own=own_readers, load=lambda name: own_readers()[name], check=_check, error=DataError
)


@cache
def _plugin_readers(_path: tuple[str, ...]) -> tuple[type[Reader], ...]:
    """Return the readers of other packages; those that can't be loaded are logged once and ignored.

    The argument, `sys.path`, is the key of the cache.
    """
    found: list[type[Reader]] = []
    for format in REGISTRY.added():
        try:
            found.append(REGISTRY.find(format))
        except PluginError as error:
            log.warning("left out: %s", error)
    return tuple(found)


def _reader_where(holds: Callable[[type[Reader]], bool], path: Path) -> type[Reader] | None:
    """Return the first reader of gnnpot for which `holds` is true, or else the only one of other packages."""
    for cls in own_readers().values():
        if holds(cls):
            return cls
    found = [cls for cls in _plugin_readers(tuple(sys.path)) if _matches_safely(holds, cls)]
    if len(found) > 1:
        several = ", ".join(cls.format for cls in found)
        raise DataError(f"{path}: could be of several formats ({several}); name one with format=")
    return found[0] if found else None


def _matches_safely(holds: Callable[[type[Reader]], bool], cls: type[Reader]) -> bool:
    try:
        return holds(cls)
    except Exception as error:  # noqa: BLE001 - a defect of another package must not stop other files from being read
        log.warning("left out: the reader of '%s' (%s) fails: %s", cls.format, cls.__module__, error)
        return False


def formats() -> tuple[str, ...]:
    """Return the names of the formats that can be read."""
    return tuple(sorted(REGISTRY.names()))


def find_reader(format: str) -> type[Reader]:
    """Return the reader of a format. Raises `DataError` if there is none."""
    return REGISTRY.find(format)


def has_reader(path: Path) -> bool:
    """Return whether there is a reader for a file or folder."""
    try:
        reader_of(path)
    except DataError:
        return False
    return True


def is_frame_folder(path: Path) -> bool:
    """Return whether `read_frames` reads a folder as a whole, in the same way as a file."""
    return path.is_dir() and _reader_where(lambda cls: cls.holds(path), path) is not None


def reader_of(path: Path, format: str | None = None) -> type[Reader]:
    """Return the reader of a file or folder, from `format`, or else from the name, the contents or the first bytes.

    Raises `DataError` if there is none, `PluginError` if the package that provides the format can't be loaded.
    """
    try:
        asked = None if format is None else find_reader(format)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if path.is_dir():
        holds = _reader_where(lambda cls: cls.holds(path), path) if asked is None else asked
        if holds is not None and holds.holds(path):
            return holds
    _require_file(path, formats() if asked is None else (asked.format,))
    with open_binary(path) as file:
        head = file.read(HEAD)
    if head[257:262] == b"ustar" or head.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: is an archive of files; unpack it, and give the files")
    if asked is not None:
        return asked
    name = path.name.lower()
    for ending in _COMPRESSED_ENDINGS:
        name = name.removesuffix(ending)
    found = _reader_where(lambda cls: cls.matches(name), path) or _reader_where(lambda cls: cls.recognises(head), path)
    if found is None:
        raise DataError(
            f"{path}: neither its name nor its beginning tells a format; name one with format=, known are: "
            f"{', '.join(formats())}"
        )
    return found


def _require_file(path: Path, known: Sequence[str]) -> None:
    if path.is_file():
        return
    problem = "is a folder, and no format is one like it" if path.is_dir() else "does not exist"
    if path.exists() and not path.is_dir():
        problem = "is no ordinary file but a pipe or a device"
    raise DataError(f"{path}: {problem}; give the path of a file of a format among {', '.join(known)}")


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes; gzip, xz or bzip2 compression is detected from the first bytes.

    Errors of the file system and of the decompression are raised as `DataError`.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(6)
        opened = next((way for magic, way in _COMPRESSED.items() if head.startswith(magic)), open)
        with opened(path, "rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError):
        kind = "gzip" if head.startswith(b"\x1f\x8b") else "compressed"
        raise DataError(
            f"{path}: the {kind} file is truncated or damaged; fetch or write it again (gzip -t checks it)"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not a text file; name its format with format=") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); check the file and its rights") from None


@contextmanager
def open_text(path: Path, errors: Literal["strict", "replace"] = "strict") -> Iterator[TextIO]:
    """Open a file as `open_binary`, as text; `errors="replace"` replaces bytes that are not UTF-8 by U+FFFD."""
    with open_binary(path) as file, TextIOWrapper(file, encoding="utf-8-sig", errors=errors) as text:
        yield text
