"""Jobs of a server whose processes are replaced by ones that answer at once and end when they are allowed to."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette", reason="needs the extra studio")
from gnnpot.studio import process
from gnnpot.studio.commands import Studio
from gnnpot.studio.config import StudioConfig
from gnnpot.studio.jobs import Job
from gnnpot.studio.process import Pool
from gnnpot.studio.runner import Runner
from gnnpot.studio.sessions import Session


class Worker:
    """A process whose job runs until it is told to stop."""

    def __init__(self, broken: bool = False) -> None:
        self.stopped, self.broken = asyncio.Event(), broken

    async def send(self, message):
        if message["do"] == "stop":
            self.stopped.set()

    async def messages(self):
        yield {"event": "progress", "rows": [[1.0]], "done": 0.1, "left": 9.0}
        if self.broken:
            raise ValueError("what no process of ours sends")
        await self.stopped.wait()
        yield {"event": "stopped"}

    def end(self, because=""):
        self.stopped.set()


class SlowPool:
    """Processes that end when they are allowed to."""

    def __init__(self, broken: bool = False) -> None:
        self.may_end, self.broken = asyncio.Event(), broken

    def prepare(self, role):
        pass

    async def take(self, role):
        return Worker(self.broken)

    async def give_back(self, worker):
        await self.may_end.wait()


class Case:
    """A runner, a session, and the states of its jobs as they are published."""

    def __init__(self, folder, broken: bool = False) -> None:
        self.folder, self.pool, self.session = folder, SlowPool(broken), Session("s", folder)
        self.runner, self.states = Runner(self.pool, StudioConfig(max_jobs=2)), asyncio.Queue()
        self.session.subscribers.add(self.note)

    def note(self, message):
        if message["event"] == "job_state":
            self.states.put_nowait(message["job"]["state"])

    def job(self, number: int = 1) -> Job:
        structure = {"numbers": [], "cell": None, "pbc": [], "fixed": [], "formula": ""}
        return Job(number, "md", "gnnpot-1", "gnnpot-1", 1, "", {}, structure, self.session.job_folder(number))

    async def reach(self, wanted: str) -> None:
        while await asyncio.wait_for(self.states.get(), 60) != wanted:
            pass


def run(function: Callable[[Case], Awaitable[None]], folder, broken: bool = False) -> None:
    async def case() -> None:
        await function(Case(folder, broken))

    asyncio.run(case())


def test_a_job_that_is_resumed_before_its_process_has_ended_can_be_stopped(tmp_path):
    async def stop_resume_and_stop(case: Case) -> None:
        job = case.job()
        case.runner.start(case.session, job, "en")
        await case.reach("running")
        # in a task of its own, as the server does with each message of a page
        first_stop = asyncio.create_task(case.runner.stop(case.session, job))
        await case.reach("stopped")
        case.runner.start(case.session, job, "en", resume=True)
        await case.reach("running")
        case.pool.may_end.set()
        await first_stop
        await case.runner.stop(case.session, job)
        await case.reach("stopped")
        assert case.runner.waiting == 0

    run(stop_resume_and_stop, tmp_path)


def test_a_process_that_ends_after_that_of_the_resumed_job(tmp_path, caplog):
    async def stop_twice(case: Case) -> None:
        job, ends = case.job(), [asyncio.Event(), asyncio.Event()]
        waiting = iter(ends)

        async def give_back(worker):
            await next(waiting).wait()

        case.pool.give_back = give_back
        stops = []
        for resume in (False, True):
            case.runner.start(case.session, job, "en", resume)
            await case.reach("running")
            stops.append(asyncio.create_task(case.runner.stop(case.session, job)))
            await case.reach("stopped")
        for end, stop in zip(reversed(ends), reversed(stops), strict=True):
            end.set()
            await stop

    run(stop_twice, tmp_path)
    assert not caplog.records


def test_a_job_that_is_stopped_before_it_could_begin_is_stopped(tmp_path):
    async def start_and_stop_at_once(case: Case) -> None:
        job = case.job()
        case.runner.start(case.session, job, "en")
        assert case.runner.waiting == 1
        await case.runner.stop(case.session, job)
        await case.reach("stopped")
        assert job.resumable and case.runner.waiting == 0

    run(start_and_stop_at_once, tmp_path)


def test_an_error_that_nobody_foresaw_ends_a_job(tmp_path, caplog):
    async def start(case: Case) -> None:
        job = case.job()
        case.pool.may_end.set()
        case.runner.start(case.session, job, "en")
        await case.reach("failed")
        assert job.problem and "what no process of ours sends" in caplog.text

    run(start, tmp_path, broken=True)


def test_a_job_that_starts_while_another_is_removed_keeps_its_folder(tmp_path):
    async def remove_and_start(case: Case) -> None:
        case.session.add(
            "", {"structure": {"numbers": [29], "pbc": [True] * 3, "formula": "Cu", "cell": None, "fixed": []}}
        )
        studio = Studio(
            case.runner._config, SimpleNamespace(), SimpleNamespace(), case.runner, {"gnnpot-1": "gnnpot-1"}
        )

        async def ask(do: str, **values):
            answer = await studio.answer(case.session, {"request": 1, "do": do, **values})
            assert "problem" not in answer
            return answer

        start = {"entry": 1, "kind": "relax", "model": "gnnpot-1", "options": {}}
        first = (await ask("start", **start))["job"]
        await case.reach("running")
        removal = asyncio.create_task(ask("remove", job=first))
        await case.reach("stopped")
        second = (await ask("start", **start))["job"]
        await case.reach("running")
        case.pool.may_end.set()
        await removal
        assert not case.session.job_folder(first).exists() and case.session.job_folder(second).exists()
        await ask("stop", job=second)

    run(remove_and_start, tmp_path)


def test_a_process_whose_taker_is_cancelled_is_there_for_the_next(monkeypatch):
    open_processes, may_start = [], asyncio.Event()

    class Process:
        pid, running = 0, True

        @classmethod
        async def start(cls, role):
            open_processes.append(cls())
            await may_start.wait()
            return open_processes[-1]

        async def close(self):
            open_processes.remove(self)

    async def take_twice() -> None:
        pool = Pool(1.0)
        pool.prepare("engine")
        taker = asyncio.create_task(pool.take("engine"))
        await asyncio.sleep(0)
        taker.cancel()
        await asyncio.wait([taker])
        may_start.set()
        assert await pool.take("engine") is open_processes[0] and len(open_processes) == 1
        await pool.close()
        assert not open_processes

    monkeypatch.setattr(process, "WorkerProcess", Process)
    asyncio.run(take_twice())
