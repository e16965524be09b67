"""Waking thousands who wait, with one timer of the event loop: each of its own would take a kilobyte."""

from __future__ import annotations

import asyncio
import heapq
from typing import Final

LEAST_SECONDS: Final = 0.005
"""Those who are due within so short a time are woken together."""


class Alarms:
    """Those who wait, and when each is due."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def after(self, seconds: float) -> asyncio.Future[None]:
        """Give what is done in so many seconds; it may be cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        due = loop.time() + seconds
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, future))
        if self._timer is None or due < self._rings_at:
            self._set(loop, due)
        return future

    def _set(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = max(due, loop.time() + LEAST_SECONDS)
        self._timer = loop.call_at(self._rings_at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
        if self._waiting:
            self._set(loop, self._waiting[0][0])
