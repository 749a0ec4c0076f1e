"""What a run of molecular dynamics tells while it runs: a log file and a live line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gnnpot.errors import DataError

_HEADER = "# step  time/fs  temperature/K  potential/eV  kinetic/eV  conserved/eV"


@dataclass(frozen=True, slots=True)
class Sample:
    """One step in numbers."""

    step: int
    time: float  #: fs
    temperature: float  #: K
    potential: float  #: eV
    kinetic: float  #: eV
    conserved: float  #: eV: the total energy, less what the thermostat has put in


class LogFile:
    """A table of samples, one a line, complete after every line.

    With `resume_at` the table is continued after that step: lines of later steps, which will be done again, go.
    """

    def __init__(self, path: Path, resume_at: int | None = None) -> None:
        lines = [_HEADER]
        if resume_at is not None and path.is_file():
            # what follows the last line break was cut off by whatever ended the run
            complete = path.read_text().split("\n")[:-1]
            lines += [line for line in complete if line != _HEADER and _step(line, path) <= resume_at]
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text("\n".join(lines) + "\n")
        temporary.replace(path)
        self._file = path.open("a")

    def write(self, s: Sample) -> None:
        energies = f"{s.potential:18.8f} {s.kinetic:14.8f} {s.conserved:18.8f}"
        self._file.write(f"{s.step:8d} {s.time:12.3f} {s.temperature:10.3f} {energies}\n")
        self._file.flush()

    def __enter__(self) -> "LogFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _step(line: str, path: Path) -> int:
    try:
        return int(line.split()[0])
    except (ValueError, IndexError):
        raise DataError(f"{path}: '{line}' is no line of a gnnpot log; move the file away") from None


@contextmanager
def live_progress(total: int, n_atoms: int, timestep: float, show: bool) -> Iterator[Callable[[Sample], None]]:
    """A function that takes samples and, if `show`, keeps a live line: temperature, energy, rate and time left."""
    if not show:
        yield lambda _: None
        return
    text = TextColumn("T [bold]{task.fields[temperature]}[/] K   E {task.fields[energy]} eV/atom   {task.fields[rate]}")
    columns = (TextColumn("md"), BarColumn(30), MofNCompleteColumn(), text, TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("md", total=total, temperature="", energy="", rate="")
        start, first = time.perf_counter(), None

        def report(s: Sample) -> None:
            nonlocal first
            if first is None:
                first = s.step - 1
            per_step = (time.perf_counter() - start) / (s.step - first)
            rate = f"{1e6 * per_step / n_atoms:.0f} µs/atom-step, {86400 / per_step * timestep / 1e6:.2f} ns/day"
            bar.update(
                task,
                completed=s.step,
                temperature=f"{s.temperature:.0f}",
                energy=f"{(s.potential + s.kinetic) / n_atoms:.5f}",
                rate=rate,
            )

        yield report
