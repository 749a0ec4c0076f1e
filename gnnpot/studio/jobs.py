"""A job: what it is, what it has reported, and its state.

States: waiting → starting → running → done, failed, or stopped (which can be resumed). Numbers are kept thinned, so
that a page that comes back has the whole curve and a long run needs no more memory than a short one.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from gnnpot.runs.files import write_text

State = Literal["waiting", "starting", "running", "stopping", "stopped", "done", "failed"]
#: rows that are kept; beyond it every second one goes
MAX_ROWS = 2000
#: states that have an end
ENDED = ("stopped", "done", "failed")
#: of the trajectory in a job's folder
TRAJECTORY = "trajectory.traj"


@dataclass
class Job:
    """A job of a session."""

    number: int
    kind: str
    model: str  #: the potential's name
    opens: str  #: what `open_potential` gets
    entry: int  #: number of the structure that it started from
    title: str
    options: dict[str, Any]
    structure: dict[str, Any]
    folder: Path
    state: State = "waiting"
    problem: str = ""
    columns: list[str] = field(default_factory=list)
    total: int | None = None
    rows: list[list[float | None]] = field(default_factory=list)
    stride: int = 1  #: one of so many rows is kept
    done: float = 0.0
    left: float | None = None
    frame: dict[str, Any] | None = None
    note: dict[str, Any] | None = None  #: a download or a compilation under way
    stage: str = ""  #: of work in several parts
    result: dict[str, Any] | None = None
    made: int | None = None  #: number of the structure that came of it
    started: float = 0.0
    seconds: float = 0.0
    _seen: int = 0

    @property
    def resumable(self) -> bool:
        """Whether there are files to continue from."""
        return self.state in ("stopped", "failed")

    def add_rows(self, rows: list[list[float | None]]) -> None:
        """Keep rows, thinned where they are many."""
        for row in rows:
            if self._seen % self.stride == 0:
                self.rows.append(row)
            self._seen += 1
        while len(self.rows) > MAX_ROWS:
            self.rows, self.stride = self.rows[::2], self.stride * 2

    def clock(self) -> float:
        """Seconds that it has run."""
        running = self.state in ("running", "stopping") and self.started
        return self.seconds + (time.time() - self.started if running else 0.0)

    def brief(self) -> dict[str, Any]:
        """What changes while it runs."""
        names = ("number", "state", "problem", "done", "left", "note", "result", "made", "total", "columns", "stage")
        return {**{name: getattr(self, name) for name in names}, "seconds": self.clock()}

    def full(self) -> dict[str, Any]:
        """All that a page shows."""
        names = ("kind", "model", "entry", "title", "options", "rows", "frame")
        structure = {name: self.structure[name] for name in ("numbers", "cell", "pbc", "fixed", "formula")}
        return {**self.brief(), **{name: getattr(self, name) for name in names}, "structure": structure}

    def save(self) -> None:
        """Write what a later server needs."""
        names = [name for name in self.__dataclass_fields__ if name not in ("folder", "note")]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "job.json", json.dumps({name: getattr(self, name) for name in names}))

    @classmethod
    def loaded(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """A job that an earlier server has kept; one that was running then is stopped."""
        job = cls(**content, folder=folder)
        if job.state not in ENDED:
            job.state = "stopped"
        return job
