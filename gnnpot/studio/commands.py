"""Requests of a page over its websocket: one function for each kind of message, which also checks the message.

A message is `{"request": n, "do": NAME, "language": "en" | "ja", ...}`; the answer has the same `request`. Changes that
concern all pages of a session are sent as events of the session.
"""

import base64
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gnnpot.errors import GnnpotError
from gnnpot.studio.building import Builder
from gnnpot.studio.config import StudioConfig
from gnnpot.studio.jobs import ENDED, TRAJECTORY, Job
from gnnpot.studio.messages import say
from gnnpot.studio.options import NEED_CELL, check_options
from gnnpot.studio.process import WorkerError
from gnnpot.studio.runner import MAX_WAITING, Runner
from gnnpot.studio.sessions import Entry, Session, Sessions

#: largest length of a title, in characters
MAX_TITLE = 80


class RequestError(GnnpotError):
    """A request that can't be fulfilled. The message is in the language of the page."""


@dataclass
class Studio:
    """The objects that the commands work on."""

    config: StudioConfig
    sessions: Sessions
    builder: Builder
    runner: Runner
    models: dict[str, str]  #: argument of `open_potential` for each potential of the page

    async def answer(self, session: Session, message: Any) -> dict[str, Any]:
        """Return the answer to a message of the page."""
        if not isinstance(message, dict):
            return {"event": "answer", "request": None, "problem": say("bad_message", "en")}
        language = "ja" if message.get("language") == "ja" else "en"
        head = {"event": "answer", "request": message.get("request")}
        command = COMMANDS.get(str(message.get("do")))
        if command is None:
            return {**head, "problem": say("bad_message", language)}
        try:
            return {**head, **await command(self, session, message, language)}
        except WorkerError as error:
            return {**head, "problem": say(error.reason, language)}
        except GnnpotError as problem:
            return {**head, "problem": str(problem)}
        except (KeyError, TypeError, ValueError):
            # gnnpot's own page never sends such a message
            return {**head, "problem": say("bad_message", language)}

    async def upload(self, session: Session, name: str, data: bytes, language: str) -> dict[str, Any]:
        """Add the structure of an uploaded file to a session; return its number or the problem."""
        limit = self.config.max_atoms
        content = {"do": "upload", "name": name, "data": base64.b64encode(data).decode()}
        try:
            found = await self.builder.ask({**content, "language": language, "max_atoms": limit})
        except WorkerError as error:
            return {"problem": say(error.reason, language)}
        if "problem" in found:
            return {"problem": found["problem"]}
        return {"entry": session.add(name[:MAX_TITLE], found).number}


def _entry(session: Session, message: dict[str, Any], language: str) -> Entry:
    entry = session.entries.get(int(message["entry"]))
    if entry is None:
        raise RequestError(say("unknown_entry", language))
    return entry


def _job(session: Session, message: dict[str, Any], language: str) -> Job:
    job = session.jobs.get(int(message["job"]))
    if job is None:
        raise RequestError(say("unknown_job", language))
    return job


async def _build(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    text = str(message["text"])
    base = _entry(session, message, language).recipe if message.get("entry") is not None else None
    question = {"do": "build", "text": text, "language": language, "base": base}
    mode = {"mode": str(message.get("mode", "auto")), "max_atoms": studio.config.max_atoms}
    found = await studio.builder.ask({**question, **mode})
    if "problem" in found:
        return found
    return {"entry": session.add(text.strip()[:MAX_TITLE], found, text=text).number}


async def _execute(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    question = {"do": "run_recipe", "recipe": dict(message["recipe"]), "language": language}
    found = await studio.builder.ask({**question, "max_atoms": studio.config.max_atoms})
    if "problem" in found:
        return found
    title = "; ".join(found["chips"][language])
    return {"entry": session.add(title[:MAX_TITLE], found).number}


async def _show(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    entry = _entry(session, message, language)
    session.current = entry.number
    return {"full": entry.full()}


async def _forget(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    session.remove(_entry(session, message, language).number)
    return {}


async def _start(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    entry, kind, model = _entry(session, message, language), str(message["kind"]), str(message["model"])
    if model not in studio.models:
        raise RequestError(say("unknown_model", language, name=model[:MAX_TITLE]))
    options = check_options(kind, dict(message["options"]), language)
    if kind in NEED_CELL and not all(entry.structure["pbc"]):
        raise RequestError(say("needs_cell", language))
    _refuse_more(studio, language)
    number = session.new_job_number()
    folder = session.job_folder(number)
    job = Job(number, kind, model, studio.models[model], entry.number, entry.title, options, entry.structure, folder)
    studio.runner.start(session, job, language)
    return {"job": number}


async def _stop(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    await studio.runner.stop(session, _job(session, message, language))
    return {}


async def _resume(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    job = _job(session, message, language)
    if not job.resumable:
        raise RequestError(say("not_stopped", language))
    _refuse_more(studio, language)
    studio.runner.start(session, job, language, resume=True)
    return {}


def _refuse_more(studio: Studio, language: str) -> None:
    if studio.runner.waiting >= MAX_WAITING:
        raise RequestError(say("too_many_jobs", language, limit=MAX_WAITING))


async def _remove(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    job = _job(session, message, language)
    session.jobs.pop(job.number)
    await studio.runner.end(session, job)
    shutil.rmtree(job.folder, ignore_errors=True)
    session.publish({"event": "job_removed", "number": job.number})
    return {}


async def _frames(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    job = _job(session, message, language)
    return await studio.builder.ask({"do": "frames", "path": str(job.folder / TRAJECTORY)})


async def _use_frame(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    """Add a frame of a job to the session as a structure."""
    job, index = _job(session, message, language), int(message["index"])
    found = await studio.builder.ask({"do": "frame", "path": str(job.folder / TRAJECTORY), "index": index})
    title = f"{job.title} · {job.kind} {index}"
    return {"entry": session.add(title, {**found, **session.recipe_of(job.entry)}, made_by=job.kind).number}


async def _clear(studio: Studio, session: Session, message: dict[str, Any], language: str) -> dict[str, Any]:
    """Remove the session with all its structures and jobs."""
    for job in list(session.jobs.values()):
        if job.state not in ENDED:
            await studio.runner.end(session, job)
    studio.sessions.forget(session)
    return {}


Command = Callable[[Studio, Session, dict[str, Any], str], Awaitable[dict[str, Any]]]
COMMANDS: dict[str, Command] = {
    "build": _build, "execute": _execute, "show": _show, "forget": _forget, "start": _start, "stop": _stop,
    "resume": _resume, "remove": _remove, "frames": _frames, "use_frame": _use_frame, "clear": _clear,
}  # fmt: skip
