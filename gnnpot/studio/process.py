"""Worker processes of the server. They read and write lines of JSON, and are killed if they exceed a limit.

Example::

    worker = await WorkerProcess.start("engine")
    await worker.send({"do": "relax", ...})
    async for message in worker.messages(): ...
"""

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Literal, Self

import psutil

from gnnpot.errors import GnnpotError

Role = Literal["builder", "engine"]
#: largest length of a line, bytes; a structure of 20,000 atoms has some 3 million
MAX_LINE = 256 * 2**20
#: seconds between two checks of the memory of the processes
WATCH_SECONDS = 0.5


class WorkerError(GnnpotError):
    """A process ended, or was killed, before it answered. `reason` is a key of messages.yaml."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


class WorkerProcess:
    """A process of `gnnpot.studio.worker`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors: deque[str] = deque(maxlen=20)
        self._drain = asyncio.create_task(self._read_errors())
        self.ended_because = ""  #: key of the reason, if the server has killed the process

    @classmethod
    async def start(cls, role: Role) -> Self:
        """Start a process. It accepts messages at once, prepares for its role, and then answers them."""
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "gnnpot.studio.worker", role]
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, limit=MAX_LINE))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            WorkerError: The process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerError(self.ended_because or "process_ended", self.last_error()) from None

    async def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            WorkerError: The process has ended.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            await self._process.wait()
            raise WorkerError(self.ended_because or "process_ended", self.last_error())
        return json.loads(line)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            yield await self.receive()

    def end(self, because: str = "") -> None:
        """Kill the process."""
        self.ended_because = self.ended_because or because
        if self.running:
            self._process.kill()

    async def close(self) -> None:
        self.end()
        await self._process.wait()
        await self._drain

    def last_error(self) -> str:
        return self._errors[-1] if self._errors else ""

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._errors.append(line.decode(errors="replace").strip())


class Pool:
    """Starts processes, keeps one process of each role ready (imports take seconds), and limits their memory."""

    def __init__(self, max_memory: float) -> None:
        self.max_bytes = int(max_memory * 2**30)
        self._spare: dict[Role, list[asyncio.Task[WorkerProcess]]] = {"builder": [], "engine": []}
        self._all: set[WorkerProcess] = set()
        self._watch = asyncio.create_task(self._watch_memory())

    def prepare(self, role: Role) -> None:
        """Start a process in advance, unless one is ready."""
        if not self._spare[role]:
            self._spare[role].append(asyncio.create_task(self._start(role)))

    async def take(self, role: Role) -> WorkerProcess:
        """Return a process, for the caller's use alone."""
        self.prepare(role)
        spare = self._spare[role].pop()
        try:
            # if the caller is cancelled, the process is left for the next caller
            worker = await asyncio.shield(spare)
        except asyncio.CancelledError:
            self._spare[role].append(spare)
            raise
        if worker.running:
            return worker
        await self.give_back(worker)
        return await self._start(role)

    async def give_back(self, worker: WorkerProcess) -> None:
        self._all.discard(worker)
        await worker.close()

    async def close(self) -> None:
        self._watch.cancel()
        await asyncio.gather(*self._spare["builder"], *self._spare["engine"], return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self._all))

    async def _start(self, role: Role) -> WorkerProcess:
        worker = await WorkerProcess.start(role)
        self._all.add(worker)
        return worker

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for worker in list(self._all):
                if worker.running and _memory(worker.pid) > self.max_bytes:
                    worker.end("too_much_memory")


def _memory(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
