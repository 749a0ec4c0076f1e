"""Requests to the process that builds structures and reads and writes files: one at a time, with a time limit."""

import asyncio
from typing import Any

from gnnpot.studio.process import Pool, WorkerError, WorkerProcess


class Builder:
    """One process for short tasks. It is started again if it has ended or taken too long."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool, self._seconds = pool, seconds
        self._worker: WorkerProcess | None = None
        self._lock = asyncio.Lock()

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message to the process and return its answer.

        Args:
            message: The task as `do`, and its arguments; see `gnnpot.studio.worker.building`.

        Returns:
            The answer; `{"problem": sentence, ...}` if the task can't be done.

        Raises:
            WorkerError: The process ended, or it exceeded the time limit and was killed.
        """
        async with self._lock:
            if self._worker is None or not self._worker.running:
                self._worker = await self._start()
            worker = self._worker
            try:
                async with asyncio.timeout(self._seconds):
                    await worker.send(message)
                    return await worker.receive()
            except TimeoutError:
                worker.end("too_long")
                raise WorkerError("too_long") from None
            except asyncio.CancelledError:
                # otherwise, its answer would be taken for the answer to the next message
                worker.end("stopped")
                raise
            finally:
                if worker.ended_because or not worker.running:
                    await self._pool.give_back(worker)
                    self._worker = None
                    self._pool.prepare("builder")

    async def _start(self) -> WorkerProcess:
        """Start a process and wait until it is ready."""
        worker = await self._pool.take("builder")
        try:
            # imports, which take long at first, do not count towards the time limit
            await worker.receive()
        except (WorkerError, asyncio.CancelledError):
            await self._pool.give_back(worker)
            raise
        return worker
