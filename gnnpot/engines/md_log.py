"""Log of a molecular dynamics run: a table with one line for each sample."""

from pathlib import Path
from types import TracebackType
from typing import Self

from gnnpot.engines.md_config import MDSample
from gnnpot.errors import DataError
from gnnpot.runs.files import appending, replaced_file

_COLUMNS = "# step  time/fs  temperature/K  potential/eV  kinetic/eV  conserved/eV"
_VOLUME = "  volume/A^3"
_PRESSURE = "  pressure/GPa"
#: the headers that a log can have; gnnpot 0.1 had no pressure for fixed cells
_HEADERS = (_COLUMNS, _COLUMNS + _PRESSURE, _COLUMNS + _VOLUME + _PRESSURE)


class LogFile:
    """Table of samples, one on each line; the file is flushed after each line.

    The columns are those for which the first sample has values. With `resume`, the table is continued after that
    sample, with the columns that it has: lines of later steps, which are repeated, are removed. The line of the sample
    itself is added if it is missing and the sample belongs to a frame (`framed`).
    """

    def __init__(self, path: Path, first: MDSample, *, resume: bool = False, framed: bool = True) -> None:
        self.path, self._header = path, _header(first)
        lines, last = [], -1
        if resume and path.is_file():
            # the text after the last line break is an incomplete line
            complete = path.read_text(encoding="utf-8").split("\n")[:-1]
            if complete and complete[0] in _HEADERS:
                self._header = complete[0]
            for line in complete:
                if not line.startswith("#") and _step(line, path) <= first.step:
                    lines.append(line)
                    last = _step(line, path)
        try:
            with replaced_file(path, durable=False) as file:
                file.write(("\n".join([self._header, *lines]) + "\n").encode())
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: can't be written ({error.strerror}); choose another name") from None
        if resume and framed and last < first.step:
            self.write(first)

    def write(self, s: MDSample) -> None:
        """Append the line of a sample."""
        line = f"{s.step:8d} {s.time:12.3f} {s.temperature:10.3f} {s.potential:18.8f} {s.kinetic:14.8f}"
        line += f" {s.conserved:18.8f}"
        if _VOLUME in self._header and s.volume is not None:
            line += f" {s.volume:14.5f}"
        if _PRESSURE in self._header:
            line += f" {float('nan') if s.pressure is None else s.pressure:10.4f}"
        with appending(self.path):
            self._file.write(line + "\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with appending(self.path, error):
            self._file.close()


def is_log(path: Path) -> bool:
    """Whether a file is a log of gnnpot, possibly with an incomplete header."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(len(_COLUMNS))
    return _COLUMNS.encode().startswith(start)


def _header(s: MDSample) -> str:
    """Names of the columns for a sample."""
    return _COLUMNS + (_VOLUME if s.volume is not None else "") + (_PRESSURE if s.pressure is not None else "")


def _step(line: str, path: Path) -> int:
    try:
        return int(line.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        raise DataError(f"{path}: '{line}' is not a line of a gnnpot log; move the file away") from None
