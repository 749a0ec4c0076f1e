"""Log of a molecular dynamics run: a table with one line for each sample."""

from pathlib import Path
from types import TracebackType
from typing import Self

from gnnpot.engines.md_config import MDSample
from gnnpot.errors import DataError
from gnnpot.runs.files import replaced_file

_COLUMNS = "# step  time/fs  temperature/K  potential/eV  kinetic/eV  conserved/eV"
_CELL_COLUMNS = "  volume/A^3  pressure/GPa"


class LogFile:
    """Table of samples, one on each line; the file is flushed after each line.

    With `resume_from`, the table is continued after that sample: lines of later steps, which are repeated, are removed.
    The line of the sample itself is added if it is missing and the sample belongs to a frame (`framed`).
    """

    def __init__(
        self, path: Path, resume_from: MDSample | None = None, *, framed: bool = True, cell: bool = False
    ) -> None:
        self.path = path
        header = _COLUMNS + (_CELL_COLUMNS if cell else "")
        lines, last = [header], -1
        if resume_from is not None and path.is_file():
            # the text after the last line break is an incomplete line
            complete = path.read_text(encoding="utf-8").split("\n")[:-1]
            for line in complete:
                if not line.startswith("#") and _step(line, path) <= resume_from.step:
                    lines.append(line)
                    last = _step(line, path)
        try:
            with replaced_file(path, durable=False) as file:
                file.write(("\n".join(lines) + "\n").encode())
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: can't be written ({error.strerror}); choose another name") from None
        if resume_from is not None and framed and last < resume_from.step:
            self.write(resume_from)

    def write(self, s: MDSample) -> None:
        """Append the line of a sample."""
        line = f"{s.step:8d} {s.time:12.3f} {s.temperature:10.3f} {s.potential:18.8f} {s.kinetic:14.8f}"
        line += f" {s.conserved:18.8f}"
        if s.volume is not None:
            pressure = float("nan") if s.pressure is None else s.pressure
            line += f" {s.volume:14.5f} {pressure:10.4f}"
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.path}: can't be written ({error.strerror}); free some space and resume the run"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def is_log(path: Path) -> bool:
    """Whether a file is a log of gnnpot, possibly with an incomplete header."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(len(_COLUMNS))
    return _COLUMNS.encode().startswith(start)


def _step(line: str, path: Path) -> int:
    try:
        return int(line.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        raise DataError(f"{path}: '{line}' is not a line of a gnnpot log; move the file away") from None
