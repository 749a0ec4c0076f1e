"""Jobs of a server whose processes are replaced by ones that answer at once and end slowly."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="needs the extra studio")
from gnnpot.studio.config import StudioConfig
from gnnpot.studio.jobs import Job
from gnnpot.studio.runner import Runner
from gnnpot.studio.sessions import Session


class Worker:
    """A process whose job runs until it is told to stop."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def send(self, message):
        if message["do"] == "stop":
            self.stopped.set()

    async def messages(self):
        yield {"event": "progress", "rows": [[1.0]], "done": 0.1, "left": 9.0}
        await self.stopped.wait()
        yield {"event": "stopped"}

    def end(self, because=""):
        self.stopped.set()


class SlowPool:
    """Processes that end when they are allowed to."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    def prepare(self, role):
        pass

    async def take(self, role):
        return Worker()

    async def give_back(self, worker):
        await self.may_end.wait()


def test_a_job_that_is_resumed_before_its_process_has_ended_can_be_stopped(tmp_path):
    async def stop_resume_and_stop() -> int:
        pool, session, states = SlowPool(), Session("s", tmp_path), asyncio.Queue()
        runner = Runner(pool, StudioConfig(max_jobs=2))
        session.subscribers.add(lambda m: states.put_nowait(m["job"]["state"]) if m["event"] == "job_state" else None)
        structure = {"numbers": [], "cell": None, "pbc": [], "fixed": [], "formula": ""}
        job = Job(1, "md", "gnnpot-1", "gnnpot-1", 1, "", {}, structure, tmp_path / "1")

        async def reach(wanted):
            while await asyncio.wait_for(states.get(), 5) != wanted:
                pass

        runner.start(session, job, "en")
        await reach("running")
        # in a task of its own, as the server does with each message of a page
        first_stop = asyncio.create_task(runner.stop(session, job))
        await reach("stopped")
        runner.start(session, job, "en", resume=True)
        await reach("running")
        pool.may_end.set()
        await first_stop
        await runner.stop(session, job)
        await reach("stopped")
        return runner.waiting

    assert asyncio.run(stop_resume_and_stop()) == 0
