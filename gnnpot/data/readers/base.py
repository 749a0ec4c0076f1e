"""What a reader is, the list of them, and `read_frames`, the one way in.

A reader turns a file into `Record`s: structure and labels under the file's own names. What the names mean, in which
units, and what a frame's material is, is settled once for all formats in `records.py`.
"""

import dataclasses
import gzip
import importlib
import inspect
import pkgutil
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal, TextIO

from gnnpot.data.frame import Frame, FrameError
from gnnpot.data.readers.records import FrameBuilder, Record, RecordOptions
from gnnpot.data.stress import StressConvention
from gnnpot.errors import DataError, suggest

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

    @classmethod
    @abstractmethod
    def matches(cls, name: str) -> bool:
        """Whether a file of this `name` (without folder and `.gz`, in lower case) is likely of this format."""

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
    **options: object,
) -> Iterator[Frame]:
    """A stream of the frames of a file, in its order; no more than one of them is held.

    - `format`: one of `formats()`; by default found from the file's name, or else from how it begins.
    - `bad_frames`: "raise" stops at the first frame that can't be used; "skip" leaves such frames out and counts them
      by reason in `skipped`, which is then required: nothing is left out in silence.
    - `options`: fields of `RecordOptions` (which keys hold the labels, stress convention, material, provenance) and
      of the format's reader.

    Raises `DataError` naming the file and the frame, counted from 0. A file that is damaged, as opposed to a frame
    that makes no sense, stops the reading in either case.
    """
    if bad_frames not in ("raise", "skip"):
        raise DataError(f"bad_frames='{bad_frames}' is not a choice; {suggest(bad_frames, ['raise', 'skip'])}")
    if bad_frames == "skip" and skipped is None:
        raise DataError("bad_frames='skip' needs skipped=Counter(), which counts by reason what is left out")
    path = Path(path)
    cls = _reader_class(path, format)
    common = {f.name for f in dataclasses.fields(RecordOptions)}
    own = {f.name for f in dataclasses.fields(cls)} - {"path"}
    for name in options:
        if name not in common | own:
            raise DataError(f"{path}: unknown option '{name}' of format '{cls.format}'; {suggest(name, common | own)}")
    reader = cls(path, **{k: v for k, v in options.items() if k in own})
    builder = FrameBuilder(
        path, RecordOptions(**{k: v for k, v in options.items() if k in common}), cls.stress_convention
    )
    return _frames(reader, builder, skipped if bad_frames == "skip" else None)


def _frames(reader: Reader, builder: FrameBuilder, skipped: Counter[str] | None) -> Iterator[Frame]:
    k = -1
    for k, record in enumerate(reader.records()):
        where = f"{reader.path}, frame {k} (counted from 0)"
        try:
            if isinstance(record, FrameError):
                raise record
            frame = builder.build(record, k)
        except FrameError as error:
            if skipped is None:
                raise error.at(where) from None
            skipped[error.reason] += 1
            continue
        yield frame
    if k < 0:
        raise DataError(f"{reader.path}: holds no frames; check that it was written to the end")
    builder.finish()


@cache
def _readers() -> dict[str, type[Reader]]:
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


def formats() -> tuple[str, ...]:
    """Names of the formats that can be read."""
    return tuple(sorted(_readers()))


def reader_options(format: str) -> tuple[str, ...]:
    """Names of the options that the reader of a format takes, besides those of `RecordOptions`."""
    return tuple(f.name for f in dataclasses.fields(_readers()[format]) if f.name != "path")


def has_reader(path: Path) -> bool:
    """Whether name, beginning or content of a file or folder tell a format."""
    try:
        _reader_class(path, None)
    except DataError:
        return False
    return True


def is_frame_folder(path: Path) -> bool:
    """Whether a folder is one that `read_frames` reads, by itself, as a file of frames."""
    return path.is_dir() and any(cls.holds(path) for cls in _readers().values())


def _reader_class(path: Path, format: str | None) -> type[Reader]:
    known = _readers()
    if format is not None and format not in known:
        raise DataError(f"{path}: format '{format}' is not known; {suggest(format, known)}")
    candidates = known if format is None else {format: known[format]}
    if path.is_dir():
        for cls in candidates.values():
            if cls.holds(path):
                return cls
    if not path.is_file():
        problem = "is a folder, and no format is one like it" if path.is_dir() else "does not exist"
        raise DataError(f"{path}: {problem}; give the path of a file of a format among {', '.join(candidates)}")
    if format is not None:
        return known[format]
    name = path.name.lower().removesuffix(".gz")
    for cls in known.values():
        if cls.matches(name):
            return cls
    with open_binary(path) as file:
        head = file.read(HEAD)
    for cls in known.values():
        if cls.recognises(head):
            return cls
    raise DataError(
        f"{path}: neither its name nor its beginning tells a format; name one with format=, known are: "
        f"{', '.join(known)}"
    )


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """A file, gzipped or not (its first bytes tell), as bytes; whatever goes wrong in reading it is a `DataError`."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(
            f"{path}: the gzip file is truncated or damaged; fetch or write it again (gzip -t checks it)"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not a text file; name its format with format=") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); check the file and its rights") from None


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The same, as text."""
    with open_binary(path) as file, TextIOWrapper(file, encoding="utf-8") as text:
        yield text
