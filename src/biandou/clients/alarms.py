"""Waking thousands who wait, with one timer of the event loop: each of its own would take a kilobyte."""

from __future__ import annotations

import asyncio
import heapq
from typing import Final, Protocol

LEAST_SECONDS: Final = 0.005
"""Those who are due within so short a time are woken together."""


class Waiter(Protocol):
    """Who waits."""

    def wake(self) -> None:
        """Hear that it is time, if one still wants to."""


class Alarms:
    """Those who wait, and when each is due."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Waiter]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def after(self, seconds: float, waiter: Waiter) -> None:
        """Wake somebody in so many seconds."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, waiter))
        if self._timer is None or due < self._rings_at:
            self._set(loop, due)

    def _set(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = max(due, loop.time() + LEAST_SECONDS)
        self._timer = loop.call_at(self._rings_at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            heapq.heappop(self._waiting)[2].wake()
        if self._waiting and self._timer is None:
            self._set(loop, self._waiting[0][0])
