"""Jobs in their processes: some at once, the others wait; each with a limit of time and of memory."""

import asyncio
import logging
import time
from typing import Any

from gnnpot.studio.config import StudioConfig
from gnnpot.studio.jobs import Job
from gnnpot.studio.messages import say
from gnnpot.studio.process import Pool, WorkerError, WorkerProcess
from gnnpot.studio.sessions import Session

log = logging.getLogger(__name__)
#: jobs that may wait
MAX_WAITING = 20
#: seconds that a job has to stop before its process is killed
STOP_SECONDS = 15.0
#: seconds between two writings of a running job
SAVE_SECONDS = 5.0


class Runner:
    """The jobs of a server."""

    def __init__(self, pool: Pool, config: StudioConfig) -> None:
        self._pool, self._config = pool, config
        self._slots = asyncio.Semaphore(config.max_jobs)
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._workers: dict[tuple[str, int], WorkerProcess] = {}

    @property
    def waiting(self) -> int:
        return len(self._tasks) - len(self._workers)

    def start(self, session: Session, job: Job, language: str, resume: bool = False) -> None:
        """Run a job as soon as there is a place for it."""
        job.state, job.problem, job.note, job.result = "waiting", "", None, None
        session.jobs[job.number] = job
        job.save()
        session.publish({"event": "job", "job": job.full()})
        key = session.name, job.number
        task = asyncio.create_task(self._run(session, job, language, resume))
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._forget(key, task))

    async def stop(self, session: Session, job: Job) -> None:
        """Ask a job to stop; what it has done stays in its folder."""
        key = session.name, job.number
        worker, task = self._workers.get(key), self._tasks.get(key)
        if task is None:
            return
        if worker is None or job.state in ("waiting", "starting"):
            # nothing is lost: it has not begun
            task.cancel()
            return
        job.state = "stopping"
        session.publish({"event": "job_state", "job": job.brief()})
        try:
            await worker.send({"do": "stop"})
        except WorkerError:
            return
        await asyncio.wait([task], timeout=STOP_SECONDS)
        worker.end("stopped")

    async def end(self, session: Session, job: Job) -> None:
        """Stop a job at once, for its removal."""
        task = self._tasks.get((session.name, job.number))
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop all jobs; their folders hold what they have done."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        """Drop a task that has ended; the job may have been resumed by another one since its state was published."""
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def _run(self, session: Session, job: Job, language: str, resume: bool) -> None:
        key, worker = (session.name, job.number), None
        try:
            async with self._slots:
                self._enter(session, job, "starting")
                worker = await self._pool.take("engine")
                self._workers[key] = worker
                async with asyncio.timeout(self._config.max_hours * 3600):
                    await self._converse(session, job, worker, resume)
        except TimeoutError:
            self._ended(session, job, "stopped", say("time_limit", language, hours=self._config.max_hours))
        except WorkerError as error:
            stopped = error.reason == "stopped"
            log.warning("job %s ended: %s", job.number, error)
            problem = "" if stopped else say(error.reason, language)
            self._ended(session, job, "stopped" if stopped else "failed", problem)
        except asyncio.CancelledError:
            self._ended(session, job, "stopped", "")
            # the server closes, or the user has stopped it: nobody waits for more
        finally:
            self._workers.pop(key, None)
            if worker is not None:
                await self._pool.give_back(worker)
            self._pool.prepare("engine")

    async def _converse(self, session: Session, job: Job, worker: WorkerProcess, resume: bool) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        message = {"kind": job.kind, "model": job.opens, "options": job.options, "structure": job.structure}
        await worker.send({"do": "run", **message, "folder": str(job.folder), "resume": resume})
        saved = time.monotonic()
        async for found in worker.messages():
            if found["event"] in ("done", "stopped", "failed"):
                self._finish(session, job, found)
                return
            self._take(session, job, found)
            if time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                job.save()

    def _take(self, session: Session, job: Job, found: dict[str, Any]) -> None:
        """A message of the process under way."""
        kind = found.pop("event")
        if kind == "columns":
            job.columns, job.total = found["columns"], found["total"]
        elif kind == "progress":
            if job.state == "starting":
                self._enter(session, job, "running")
            job.add_rows(found["rows"])
            job.done, job.left, job.note = found["done"], found["left"], None
            job.frame = found.get("frame", job.frame)
            brief = {"number": job.number, "done": job.done, "left": job.left, "seconds": job.clock()}
            session.publish({"event": "progress", "job": brief, "rows": found["rows"], "frame": found.get("frame")})
        elif kind == "stage":
            if job.state == "starting":
                self._enter(session, job, "running")
            job.stage = found["what"]
            session.publish({"event": "job_state", "job": job.brief()})
        elif kind in ("compiling", "downloading"):
            job.note = {"what": kind, **found}
            session.publish({"event": "job_state", "job": job.brief()})

    def _finish(self, session: Session, job: Job, found: dict[str, Any]) -> None:
        if found["event"] == "done":
            job.result, job.done, job.left = found["result"], 1.0, 0.0
            if found["structure"] is not None:
                title = f"{job.title} · {job.kind}"
                content = {"structure": found["structure"], **session.recipe_of(job.entry)}
                job.made = session.add(title, content, made_by=job.kind).number
        self._ended(session, job, found["event"], found.get("problem", ""))

    def _enter(self, session: Session, job: Job, state: Any) -> None:
        job.state = state
        if state == "running":
            job.started = time.time()
        session.publish({"event": "job_state", "job": job.brief()})

    def _ended(self, session: Session, job: Job, state: Any, problem: str) -> None:
        job.seconds, job.started = job.clock(), 0.0
        job.state, job.problem, job.note = state, problem, None
        if session.jobs.get(job.number) is job:
            job.save()
        session.publish({"event": "job_state", "job": job.brief()})
