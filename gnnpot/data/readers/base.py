"""What a reader is, the list of them, and `read_frames`, the one way in.

A reader turns a file into `Record`s: structure and labels under the file's own names. What the names mean, in which
units, and what a frame's material is, is decided once for all formats in `records.py`.
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

#: first bytes of compressed files -> how to open them
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"BZh": bz2.open,
}
#: endings of their names, which tell no format
_COMPRESSED_ENDINGS = (".gz", ".xz", ".bz2")
#: what ASE's readers of binary files raise for bytes that are damaged, besides their own errors
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OverflowError, MemoryError, RecursionError,
    AssertionError, NotImplementedError, zlib.error, struct.error,
)  # fmt: skip
#: the reason under which files that stop the reading are counted
UNREADABLE = "file that can't be read"
#: as much of a file's beginning as is looked at to find its format, bytes
HEAD = 65536


@dataclasses.dataclass(frozen=True)
class Reader(ABC):
    """One file format. Subclasses are frozen dataclasses; further fields are options that `read_frames` takes."""

    path: Path

    #: the format's name
    format: ClassVar[str]
    #: how its files write stress if no option says otherwise; `None`: the format has no stress
    stress_convention: ClassVar[StressConvention | None]
    #: whether the writers of files choose the names of the labels
    free_names: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def matches(cls, name: str) -> bool:
        """Whether a file of this `name` (in lower case, without folder and the ending of a compressed file) is likely
        of this format."""

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a file that begins with `head` is of this format; asked where no name tells."""
        return False

    @classmethod
    def holds(cls, folder: Path) -> bool:
        """Whether a folder is one of this format; most formats are files."""
        return False

    @abstractmethod
    def records(self) -> Iterator[Record | FrameError]:
        """The file's frames, one by one, in order; a `FrameError` in place of one that can't be read.

        Raises `DataError` where the file can't be read on.
        """


def read_frames(
    path: Path | str,
    format: str | None = None,
    *,
    bad_frames: Literal["raise", "skip"] = "raise",
    skipped: Counter[str] | None = None,
    **options: Any,
) -> Iterator[Frame]:
    """A stream of the frames of a file, in its order; no more than one of them is held.

    A file that is damaged, as opposed to a frame that makes no sense, stops the reading with any `bad_frames`.

    Args:
        path: The file, or `bundled:NAME`.
        format: One of `formats()`; by default found from the file's name, or else from how it begins.
        bad_frames: "raise" stops at the first frame that can't be used; "skip" leaves such frames out and counts them
            by reason in `skipped`, which is then required: nothing is left out in silence.
        skipped: How many frames were left out, by reason; it is filled while frames are read.
        options: Fields of `RecordOptions` (which keys hold the labels, stress convention, material, provenance) and
            of the format's reader.

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
    """The frames of several files, one after the other; see `read_frames`.

    With `bad_frames="skip"` a file that can't be read, or can't be read on, does not stop the others: it is logged with
    its name and the reason, and counted in `skipped` as "file that can't be read". Raises `DataError` before the first
    frame for files that do not exist, and at the end if no file could be read.
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
    """Each frame of a file with its number, counted from 0, or in its place what is wrong with it."""
    return _numbered(Path(path), *_opened(Path(path), format, options))


def _check_bad_frames(bad_frames: str, skipped: Counter[str] | None) -> None:
    if bad_frames not in ("raise", "skip"):
        raise DataError(f"bad_frames='{bad_frames}' is not a choice; {suggest(bad_frames, ['raise', 'skip'])}")
    if bad_frames == "skip" and skipped is None:
        raise DataError("bad_frames='skip' needs skipped=Counter(), which counts by reason what is left out")


def _opened(path: Path, format: str | None, options: dict[str, Any]) -> tuple[Reader, FrameBuilder]:
    """The reader of a file and what builds its frames. Raises `DataError` for an option that neither has."""
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
                raise frame.at(_place(path, number))
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
    """{format: class} of all modules in this folder."""
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
    """The readers of packages on a path; those that can't be used are logged, once, and left out."""
    found: list[type[Reader]] = []
    for format in REGISTRY.added():
        try:
            found.append(REGISTRY.find(format))
        except PluginError as error:
            log.warning("left out: %s", error)
    return tuple(found)


def _reader_where(holds: Callable[[type[Reader]], bool], path: Path) -> type[Reader] | None:
    """The first of gnnpot's readers for which something holds, or else the only one of other packages."""
    for cls in own_readers().values():
        if holds(cls):
            return cls
    found = [cls for cls in _plugin_readers(tuple(sys.path)) if _holds_safely(holds, cls)]
    if len(found) > 1:
        several = ", ".join(cls.format for cls in found)
        raise DataError(f"{path}: could be of several formats ({several}); name one with format=")
    return found[0] if found else None


def _holds_safely(holds: Callable[[type[Reader]], bool], cls: type[Reader]) -> bool:
    try:
        return holds(cls)
    except Exception as error:  # noqa: BLE001 - a defect of another package must not stop other files from being read
        log.warning("left out: the reader of '%s' (%s) fails: %s", cls.format, cls.__module__, error)
        return False


def formats() -> tuple[str, ...]:
    """Names of the formats that can be read."""
    return tuple(sorted(REGISTRY.names()))


def reader_options(format: str) -> tuple[str, ...]:
    """Names of the options that the reader of a format takes, besides those of `RecordOptions`."""
    return tuple(f.name for f in dataclasses.fields(find_reader(format)) if f.name != "path")


def find_reader(format: str) -> type[Reader]:
    """The reader of a format. Raises `DataError` if there is none."""
    return REGISTRY.find(format)


def has_reader(path: Path) -> bool:
    """Whether name, beginning or content of a file or folder tell a format."""
    try:
        reader_of(path)
    except DataError:
        return False
    return True


def is_frame_folder(path: Path) -> bool:
    """Whether a folder is one that `read_frames` reads, by itself, as a file of frames."""
    return path.is_dir() and _reader_where(lambda cls: cls.holds(path), path) is not None


def reader_of(path: Path, format: str | None = None) -> type[Reader]:
    """The reader of a file or folder, by the format's name, or else by the path's name, content or beginning.

    Raises `DataError`; `PluginError` if another package adds the format and can't be used.
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
    """A file as bytes, compressed (by gzip, xz or bzip2; its first bytes tell) or not.

    Errors of the file system and of the compression are raised as `DataError`.
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
    """The same, as text; with `errors="replace"` bytes that are no UTF-8 (a title in Latin-1) become U+FFFD."""
    with open_binary(path) as file, TextIOWrapper(file, encoding="utf-8-sig", errors=errors) as text:
        yield text
