"""Runs jobs in worker processes with limits of time and memory. A limited number runs at once; the others wait."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from gnnpot.studio.config import StudioConfig
from gnnpot.studio.jobs import ENDED, Job
from gnnpot.studio.messages import say
from gnnpot.studio.process import Pool, WorkerError, WorkerProcess
from gnnpot.studio.sessions import Session

log = logging.getLogger(__name__)
#: largest number of waiting jobs
MAX_WAITING = 20
#: time that a job has to stop before its process is killed, s
STOP_SECONDS = 15.0
#: time between two saves of a running job, s
SAVE_SECONDS = 5.0


@dataclass
class _JobRun:
    """One run of a job, from its start until its process has ended."""

    session: Session
    job: Job
    language: str
    resume: bool
    worker: WorkerProcess | None = None
    task: asyncio.Task[None] = field(init=False)

    @property
    def key(self) -> tuple[str, int]:
        return self.session.name, self.job.number


class Runner:
    """The jobs of a server."""

    def __init__(self, pool: Pool, config: StudioConfig) -> None:
        self._pool, self._config = pool, config
        self._slots = asyncio.Semaphore(config.max_jobs)
        #: the last run of each job
        self._runs: dict[tuple[str, int], _JobRun] = {}

    @property
    def waiting(self) -> int:
        """Number of jobs that wait until they can run."""
        return sum(run.job.state == "waiting" for run in self._runs.values())

    def start(self, session: Session, job: Job, language: str, resume: bool = False) -> None:
        """Run a job as soon as fewer than `max_jobs` jobs are running."""
        job.state, job.problem, job.note, job.result = "waiting", "", None, None
        session.jobs[job.number] = job
        job.save()
        session.publish({"event": "job", "job": job.full()})
        run = _JobRun(session, job, language, resume)
        run.task = asyncio.create_task(self._run(run))
        self._runs[run.key] = run
        run.task.add_done_callback(lambda _: self._forget(run))

    async def stop(self, session: Session, job: Job) -> None:
        """Ask a job to stop. Its results so far stay in its folder."""
        run = self._runs.get((session.name, job.number))
        if run is None or job.state in ENDED:
            return
        if run.worker is None or job.state in ("waiting", "starting"):
            # the job has not begun, so that nothing is lost
            run.task.cancel()
            return
        job.state = "stopping"
        session.publish({"event": "job_state", "job": job.brief()})
        try:
            await run.worker.send({"do": "stop"})
        except WorkerError:
            return
        await asyncio.wait([run.task], timeout=STOP_SECONDS)
        if run.worker is not None:
            run.worker.end("stopped")

    async def end(self, session: Session, job: Job) -> None:
        """Stop a job at once, before it is removed."""
        run = self._runs.get((session.name, job.number))
        if run is not None:
            run.task.cancel()
            await asyncio.wait([run.task])

    async def close(self) -> None:
        """Stop all jobs. Their results so far stay in their folders."""
        tasks = [run.task for run in self._runs.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, run: _JobRun) -> None:
        """Drop a run whose task has ended, unless the job has been resumed since its end was published."""
        if self._runs.get(run.key) is not run:
            return
        del self._runs[run.key]
        error = None if run.task.cancelled() else run.task.exception()
        if error is not None:
            log.error("job %s ended", run.job.number, exc_info=error)
        if run.job.state not in ENDED:
            # an unexpected error, or a task that was cancelled before its first step
            problem = say("process_ended", run.language) if error is not None else ""
            self._ended(run.session, run.job, "failed" if error is not None else "stopped", problem)

    async def _run(self, run: _JobRun) -> None:
        session, job, language = run.session, run.job, run.language
        try:
            async with self._slots:
                self._enter(session, job, "starting")
                run.worker = await self._pool.take("engine")
                async with asyncio.timeout(self._config.max_hours * 3600):
                    await self._converse(session, job, run.worker, run.resume)
        except TimeoutError:
            self._ended(session, job, "stopped", say("time_limit", language, hours=self._config.max_hours))
        except WorkerError as error:
            stopped = error.reason == "stopped"
            log.warning("job %s ended: %s", job.number, error)
            problem = "" if stopped else say(error.reason, language)
            self._ended(session, job, "stopped" if stopped else "failed", problem)
        except asyncio.CancelledError:
            self._ended(session, job, "stopped", "")
            # the server closes, or the user has stopped the job: nothing waits for the task's result
        finally:
            worker, run.worker = run.worker, None
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
        """Handle a message of the running process."""
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
