"""Questions to the process that builds, reads uploads and writes formats: one at a time, each with a time limit."""

import asyncio
from typing import Any

from gnnpot.studio.process import Pool, WorkerError, WorkerProcess


class Builder:
    """One process for short work, started anew where it ended or took too long."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool, self._seconds = pool, seconds
        self._worker: WorkerProcess | None = None
        self._lock = asyncio.Lock()

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer of the process.

        Returns:
            What `gnnpot.studio.worker` answers; `{"problem": sentence, ...}` for what can't be done.

        Raises:
            WorkerError: the process ended, or took longer than the limit, and is gone.
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
                # its answer would be taken for that of the next question
                worker.end("stopped")
                raise
            finally:
                if worker.ended_because or not worker.running:
                    await self._pool.give_back(worker)
                    self._worker = None
                    self._pool.prepare("builder")

    async def _start(self) -> WorkerProcess:
        """A process that is ready."""
        worker = await self._pool.take("builder")
        try:
            # imports of a cold machine are no part of the limit
            await worker.receive()
        except (WorkerError, asyncio.CancelledError):
            await self._pool.give_back(worker)
            raise
        return worker
