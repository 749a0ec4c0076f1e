"""The task of an engine process: run one job, which reports its progress and can be stopped and resumed."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gnnpot.engines.calculator import Calculator
from gnnpot.errors import GnnpotError
from gnnpot.studio.worker.structures import cell_of, encode, to_atoms, to_payload

Send = Callable[[dict[str, Any]], None]
log = logging.getLogger(__name__)
#: time between two reports of progress, s
REPORT_SECONDS = 0.08


class Stopped(Exception):
    """The user has stopped the job."""


@dataclass
class Report:
    """Sends the progress of a job: rows of numbers, and the structure at intervals."""

    send: Send
    stop: threading.Event
    calculator: Any = None
    started: float = field(default_factory=time.monotonic)
    _rows: list[list[float | None]] = field(default_factory=list)
    _sent: float = 0.0

    def columns(self, names: list[str], total: int | None) -> None:
        """Send the names of the numbers of a row, and the number of steps (`None` if unknown)."""
        self.send({"event": "columns", "columns": names, "total": total})

    def stage(self, what: str) -> None:
        """Send the name of the current part of a job that has several parts."""
        self.send({"event": "stage", "what": what})

    def row(self, values: list[float | None], atoms: Atoms | None, done: float, left: float | None) -> None:
        """Add the numbers of a step, and send the progress if the last report is long enough ago.

        Args:
            values: Numbers of the step, one for each column.
            atoms: The present structure.
            done: Part of the work that is done, 0 to 1.
            left: Estimate of the time left, s.

        Raises:
            Stopped: The user has stopped the job.
        """
        if values:
            self._rows.append([None if v is None or not np.isfinite(v) else float(v) for v in values])
        if time.monotonic() - self._sent >= REPORT_SECONDS or self.stop.is_set():
            self._flush(atoms, done, left)
        if self.stop.is_set():
            raise Stopped

    def last(self, atoms: Atoms | None) -> None:
        """Send the rows that have not been sent yet, and the final structure."""
        self._flush(atoms, 1.0, 0.0)

    def _flush(self, atoms: Atoms | None, done: float, left: float | None) -> None:
        self._sent = time.monotonic()
        message = {"event": "progress", "rows": self._rows, "done": float(min(done, 1.0)), "left": left}
        self.send(message if atoms is None else {**message, "frame": self.frame(atoms)})
        self._rows = []

    def frame(self, atoms: Atoms) -> dict[str, Any]:
        """Return positions and cell, and the atoms outside the training range if the potential knows its range."""
        frame: dict[str, Any] = {"positions": encode(atoms.positions, "float32"), "cell": cell_of(atoms)}
        count = getattr(self.calculator, "extrapolation_count", None)
        if count is not None and len(count) == len(atoms):
            frame["outside"] = [int(i) for i in np.flatnonzero(count > 0)]
        return frame


def prepare() -> None:
    """Import the engines and calculate forces once, so that the first step of a job is fast."""
    import gnnpot.engines.md
    import gnnpot.engines.relax  # noqa: F401 - the import is what takes time
    from gnnpot.engines.warm import small_structure

    calculator = Calculator("fast")
    atoms = small_structure(calculator.potential)
    atoms.calc = calculator
    atoms.get_forces()


def run(job: dict[str, Any], send: Send, stop: threading.Event) -> None:
    """Run a job and send its progress. The last message is `done`, `stopped` or `failed`.

    Args:
        job: `kind`, `model`, `options`, `structure`, `folder` and `resume`.
        send: Sends a message to the server.
        stop: Set when the user stops the job.
    """
    from gnnpot.studio.worker.tasks import TASKS

    report = Report(send, stop)
    try:
        report.calculator = _calculator(job["model"], send)
        atoms = to_atoms(job["structure"])
        task = TASKS[job["kind"]]
        result = task(atoms, report, Path(job["folder"]), job["options"], bool(job["resume"]))
        moved = result.pop("atoms", None)
        send({"event": "done", "result": result, "structure": None if moved is None else to_payload(moved)})
    except Stopped:
        send({"event": "stopped"})
    except GnnpotError as problem:
        send({"event": "failed", "problem": str(problem)})


def _calculator(model: str, send: Send) -> Calculator:
    """Open a potential. Downloads and compilation are reported."""
    from gnnpot.compiler.events import COMPILATIONS
    from gnnpot.hub.opening import open_potential

    compiled: list[str] = []

    def compiling(name: str, running: bool) -> None:
        compiled.append(name) if running else None
        send({"event": "compiling", "kernels": len(compiled), "running": running})

    def downloading(what: str, done: int, total: int) -> None:
        send({"event": "downloading", "what": what, "done": done, "total": total})

    COMPILATIONS.listeners.append(compiling)
    return Calculator(open_potential(model, downloading))
