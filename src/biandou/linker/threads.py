"""A few threads for functions of others that may never come back; they keep no process from ending."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

_Settle = Callable[[asyncio.Future[Any], object, BaseException | None], None]
_Job = tuple[Callable[[], Any], asyncio.Future[Any], _Settle]


class Threads:
    """Runs functions in up to `limit` daemon threads, started when they are first needed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._started = 0
        self._busy = 0

    async def run(self, function: Callable[[], Any]) -> Any:
        """Give what the function gives, or raise what it raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._busy >= self._started and self._started < self._limit:
            threading.Thread(target=_work, args=(self._jobs,), name="plugin", daemon=True).start()
            self._started += 1
        self._busy += 1
        self._jobs.put((function, future, self._settle))
        return await future

    def _settle(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        # Only now is the thread free: who asked may have given up long before.
        self._busy -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def close(self) -> None:
        """Let the threads end."""
        for _ in range(self._started):
            self._jobs.put(None)


def _work(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        function, future, settle = job
        result: object = None
        error: BaseException | None = None
        # Who waits no longer needs none of it.
        if not future.cancelled():
            try:
                result = function()
            except BaseException as raised:
                error = raised
        try:
            future.get_loop().call_soon_threadsafe(settle, future, result, error)
        except RuntimeError:
            # The loop is closed: the process ends.
            return
