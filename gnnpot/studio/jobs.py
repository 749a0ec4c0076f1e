"""A job: its options, the progress that it has reported, and its state.

States: waiting → starting → running → done, failed or stopped. A failed or stopped job can be resumed. The rows of
numbers that a job reports are thinned out, so that a page that reconnects gets the whole curve, and a long run needs no
more memory than a short one.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from gnnpot.runs.files import write_text

State = Literal["waiting", "starting", "running", "stopping", "stopped", "done", "failed"]
#: largest number of rows; beyond it, every second row is removed
MAX_ROWS = 2000
#: states of a job that has ended
ENDED = ("stopped", "done", "failed")
#: name of the trajectory in the folder of a job
TRAJECTORY = "trajectory.traj"


@dataclass
class Job:
    """A job of a session."""

    number: int
    kind: str
    model: str  #: name of the potential
    opens: str  #: argument of `open_potential`
    entry: int  #: number of the structure that the job starts from
    title: str
    options: dict[str, Any]
    structure: dict[str, Any]
    folder: Path
    state: State = "waiting"
    problem: str = ""
    columns: list[str] = field(default_factory=list)
    total: int | None = None
    rows: list[list[float | None]] = field(default_factory=list)
    stride: int = 1  #: one of every `stride` rows is kept
    done: float = 0.0  #: part of the work that is done, 0 to 1
    left: float | None = None  #: estimate of the time left, s
    frame: dict[str, Any] | None = None
    note: dict[str, Any] | None = None  #: a download or compilation in progress
    stage: str = ""  #: the current part of a job that has several parts
    result: dict[str, Any] | None = None
    made: int | None = None  #: number of the structure that the job has produced
    started: float = 0.0
    seconds: float = 0.0
    _seen: int = 0

    @property
    def resumable(self) -> bool:
        """Whether the job has ended early, so that it can be resumed."""
        return self.state in ("stopped", "failed")

    def add_rows(self, rows: list[list[float | None]]) -> None:
        """Add rows of numbers, thinned out if there are too many."""
        for row in rows:
            if self._seen % self.stride == 0:
                self.rows.append(row)
            self._seen += 1
        while len(self.rows) > MAX_ROWS:
            self.rows, self.stride = self.rows[::2], self.stride * 2

    def clock(self) -> float:
        """Return the time that the job has run, in seconds."""
        running = self.state in ("running", "stopping") and self.started
        return self.seconds + (time.time() - self.started if running else 0.0)

    def brief(self) -> dict[str, Any]:
        """Return the values that change while the job runs."""
        names = ("number", "state", "problem", "done", "left", "note", "result", "made", "total", "columns", "stage")
        return {**{name: getattr(self, name) for name in names}, "seconds": self.clock()}

    def full(self) -> dict[str, Any]:
        """Return all values that a page shows."""
        names = ("kind", "model", "entry", "title", "options", "rows", "frame")
        structure = {name: self.structure[name] for name in ("numbers", "cell", "pbc", "fixed", "formula")}
        return {**self.brief(), **{name: getattr(self, name) for name in names}, "structure": structure}

    def save(self) -> None:
        """Write the job to its folder, for a later server."""
        names = [name for name in self.__dataclass_fields__ if name not in ("folder", "note")]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "job.json", json.dumps({name: getattr(self, name) for name in names}))

    @classmethod
    def loaded(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Return a job that an earlier server has saved. If it was running then, its state is `stopped`."""
        job = cls(**content, folder=folder)
        if job.state not in ENDED:
            job.state = "stopped"
        return job
