"""State of the server: sessions, each with its structures, jobs and connected pages.

A session is a folder with `entries/N.json` for each structure and `jobs/N/` for each job. If the folder is kept
(`StudioConfig.keep`), the next server loads its sessions. All names in the folder are chosen here, never by the page.
"""

import functools
import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gnnpot.runs.files import write_text
from gnnpot.studio.jobs import Job

log = logging.getLogger(__name__)
T = TypeVar("T")

#: largest number of structures of a session; beyond it, the oldest are removed
MAX_ENTRIES = 60

Subscriber = Callable[[dict[str, Any]], None]


@dataclass
class Entry:
    """A structure of a session."""

    number: int
    title: str
    structure: dict[str, Any]
    recipe: dict[str, Any] | None = None
    chips: dict[str, list[str]] | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    text: str = ""  #: sentence that the structure was built from
    made_by: str = ""  #: kind of the job that produced the structure

    def brief(self) -> dict[str, Any]:
        """Return the values that a list of structures shows."""
        structure = self.structure
        return {
            "number": self.number,
            "title": self.title,
            "made_by": self.made_by,
            "formula": structure["formula"],
            "atoms": len(structure["numbers"]),
        }

    def full(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass
class Session:
    """The structures and jobs of a session, and the pages that show it."""

    name: str
    folder: Path
    entries: dict[int, Entry] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    current: int | None = None
    last_entry: int = 0  #: number of the last structure that was added, even if it has been removed
    last_job: int = 0  #: number of the last job that was started, even if it has been removed
    subscribers: set[Subscriber] = field(default_factory=set)
    used: float = field(default_factory=time.time)

    def publish(self, message: dict[str, Any]) -> None:
        """Send a message to every page of the session."""
        self.used = time.time()
        for subscriber in list(self.subscribers):
            subscriber(message)

    def add(self, title: str, content: dict[str, Any], **more: Any) -> Entry:
        """Add a structure, which becomes the current one. Its number is new: jobs may refer to removed structures."""
        used = (self.last_entry, *self.entries, *(job.entry for job in self.jobs.values()))
        number = self.last_entry = max(used) + 1
        names = ("structure", "recipe", "chips", "notes", "warnings")
        entry = Entry(number, title, **{name: content[name] for name in names if name in content}, **more)
        self.entries[number] = entry
        self.current = number
        path = self._entry_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(entry.full()))
        while len(self.entries) > MAX_ENTRIES:
            self.remove(min(self.entries))
        self.publish({"event": "entry", "entry": entry.full(), "brief": entry.brief(), "current": True})
        return entry

    def remove(self, number: int) -> None:
        """Remove a structure."""
        if self.entries.pop(number, None) is not None:
            self._entry_path(number).unlink(missing_ok=True)
            if self.current == number:
                self.current = max(self.entries, default=None)
            self.publish({"event": "entry_removed", "number": number, "current": self.current})

    def recipe_of(self, number: int) -> dict[str, Any]:
        """Return the recipe and chips of a structure, for a structure that is derived from it."""
        entry = self.entries.get(number)
        return {} if entry is None else {"recipe": entry.recipe, "chips": entry.chips}

    def new_job_number(self) -> int:
        """Return a number that no job has had before, because a removed job may still be running."""
        self.last_job = max(self.last_job, *self.jobs, 0) + 1
        return self.last_job

    def job_folder(self, number: int) -> Path:
        return self.folder / "jobs" / str(number)

    def snapshot(self) -> dict[str, Any]:
        """Return all data that a page needs when it connects or reconnects."""
        current = self.entries.get(self.current) if self.current is not None else None
        return {
            "event": "session",
            "name": self.name,
            "entries": [entry.brief() for entry in self.entries.values()],
            "current": current.full() if current else None,
            "jobs": [job.full() for job in self.jobs.values()],
        }

    def title(self) -> str:
        """Return the title of the latest structure."""
        return self.entries[max(self.entries)].title if self.entries else ""

    def load(self) -> None:
        """Load the structures and jobs that an earlier server has saved."""
        paths = (self.folder / "entries").glob("*.json")
        entries = [entry for path in paths if (entry := _saved(path, lambda content: Entry(**content)))]
        for entry in sorted(entries, key=lambda entry: entry.number):
            self.entries[entry.number] = entry
            self.current = entry.number
        folders = [path.parent for path in (self.folder / "jobs").glob("*/job.json")]
        jobs = [job for f in folders if (job := _saved(f / "job.json", functools.partial(Job.loaded, folder=f)))]
        self.jobs = {job.number: job for job in sorted(jobs, key=lambda job: job.number)}

    def _entry_path(self, number: int) -> Path:
        return self.folder / "entries" / f"{number}.json"


def _saved(path: Path, make: Callable[[dict[str, Any]], T]) -> T | None:
    """Return what an earlier server has saved; `None`, with a warning in the log, if the file is damaged."""
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s: can't be read and is left out (%s)", path, error)
        return None


class Sessions:
    """All sessions of a server, each in a subfolder of one folder."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.all: dict[str, Session] = {}
        for path in sorted(folder.glob("*/entries")):
            session = Session(path.parent.name, path.parent)
            session.load()
            self.all[session.name] = session

    def create(self) -> Session | None:
        """Create a session; return `None` if too many sessions are in use or hold structures.

        At the limit, the session without pages and structures that has not been used for the longest time is removed.
        """
        while len(self.all) >= self.limit:
            idle = [s for s in self.all.values() if not s.subscribers and not s.entries]
            if not idle:
                return None
            self.forget(min(idle, key=lambda s: s.used))
        name = secrets.token_hex(8)
        session = Session(name, self.folder / name)
        self.all[name] = session
        return session

    def forget(self, session: Session) -> None:
        """Remove a session and its files."""
        self.all.pop(session.name, None)
        session.publish({"event": "gone"})
        shutil.rmtree(session.folder, ignore_errors=True)

    def recent(self) -> list[dict[str, Any]]:
        """Return the last eight sessions that hold structures, the last used first."""
        found = [s for s in self.all.values() if s.entries]
        found.sort(key=lambda s: -s.used)
        return [{"name": s.name, "title": s.title(), "structures": len(s.entries)} for s in found[:8]]
