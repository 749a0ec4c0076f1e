"""What the server remembers: sessions, each with structures, jobs and the pages that look at it.

A session is a folder: `entries/N.json` for each structure, `jobs/N/` for each job. Where the folder stays
(`StudioConfig.keep`), the next server finds its sessions again. Names in the folder are made here, never by the page.
"""

import json
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnnpot.runs.files import write_text
from gnnpot.studio.jobs import Job

#: structures of a session; the oldest go first
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
    text: str = ""  #: the sentence
    made_by: str = ""  #: kind of the job that it comes from
    created: float = field(default_factory=time.time)

    def brief(self) -> dict[str, Any]:
        """What a list shows."""
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
    """Structures and jobs of a page."""

    name: str
    folder: Path
    entries: dict[int, Entry] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    current: int | None = None
    last_job: int = 0  #: number of the last job that was started, which may be gone
    subscribers: set[Subscriber] = field(default_factory=set)
    used: float = field(default_factory=time.time)

    def publish(self, message: dict[str, Any]) -> None:
        """Send a message to every page of the session."""
        self.used = time.time()
        for subscriber in list(self.subscribers):
            subscriber(message)

    def add(self, title: str, content: dict[str, Any], **more: Any) -> Entry:
        """A new structure, which becomes the current one."""
        number = max(self.entries, default=0) + 1
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
        """Forget a structure."""
        if self.entries.pop(number, None) is not None:
            self._entry_path(number).unlink(missing_ok=True)
            if self.current == number:
                self.current = max(self.entries, default=None)
            self.publish({"event": "entry_removed", "number": number, "current": self.current})

    def recipe_of(self, number: int) -> dict[str, Any]:
        """Recipe and chips of a structure, for one that is made of it."""
        entry = self.entries.get(number)
        return {} if entry is None else {"recipe": entry.recipe, "chips": entry.chips}

    def new_job_number(self) -> int:
        """A number that no job of this server has had: one that is removed may still be ending."""
        self.last_job = max(self.last_job, *self.jobs, 0) + 1
        return self.last_job

    def job_folder(self, number: int) -> Path:
        return self.folder / "jobs" / str(number)

    def snapshot(self) -> dict[str, Any]:
        """Everything that a page needs when it comes (back)."""
        current = self.entries.get(self.current) if self.current is not None else None
        return {
            "event": "session",
            "name": self.name,
            "entries": [entry.brief() for entry in self.entries.values()],
            "current": current.full() if current else None,
            "jobs": [job.full() for job in self.jobs.values()],
        }

    def title(self) -> str:
        """The last structure in a few words."""
        return self.entries[max(self.entries)].title if self.entries else ""

    def load(self) -> None:
        """Read what an earlier server has kept."""
        for path in sorted((self.folder / "entries").glob("*.json"), key=lambda p: int(p.stem)):
            entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
            self.entries[entry.number] = entry
            self.current = entry.number
        for path in sorted((self.folder / "jobs").glob("*/job.json"), key=lambda p: int(p.parent.name)):
            job = Job.loaded(json.loads(path.read_text(encoding="utf-8")), path.parent)
            self.jobs[job.number] = job

    def _entry_path(self, number: int) -> Path:
        return self.folder / "entries" / f"{number}.json"


class Sessions:
    """All sessions of a server, in the folders of one folder."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.all: dict[str, Session] = {}
        for path in sorted(folder.glob("*/entries")):
            session = Session(path.parent.name, path.parent)
            session.load()
            self.all[session.name] = session

    def create(self) -> Session | None:
        """A new session; None where there are too many that are in use or hold something."""
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
        """Remove a session with its files."""
        self.all.pop(session.name, None)
        session.publish({"event": "gone"})
        shutil.rmtree(session.folder, ignore_errors=True)

    def recent(self) -> list[dict[str, Any]]:
        """Sessions that hold something, the last used first."""
        found = [s for s in self.all.values() if s.entries]
        found.sort(key=lambda s: -s.used)
        return [{"name": s.name, "title": s.title(), "structures": len(s.entries)} for s in found[:8]]
