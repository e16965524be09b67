"""The metrics of a whole process: what its parts count, and what the last minute was."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from biandou.telemeters.model import ReadScopes, Scopes
from biandou.telemeters.process import ProcessMetrics
from biandou.telemeters.registry import Registry
from biandou.telemeters.window import WINDOW_SECONDS

_log: Final = logging.getLogger(__name__)


def _measures_nothing() -> None:
    """End no window."""


class ProcessTelemetry:
    """Reads everything that is counted in this process; `start` begins to end windows every `seconds`.

    `end_windows` ends those of what `read` gives; it is called in another thread, since an engine with thousands of
    names takes a while for it.
    """

    def __init__(
        self,
        read: ReadScopes,
        seconds: float = WINDOW_SECONDS,
        end_windows: Callable[[], None] = _measures_nothing,
    ) -> None:
        self.registry = Registry()
        self.process = ProcessMetrics()
        self._read = read
        self._seconds = seconds
        self._end_windows = end_windows
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """End windows from now on, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="metrics")

    def stop(self) -> None:
        """End no more windows."""
        self.process.close()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def read(self) -> Scopes:
        """Give everything as it is now."""
        return [*self._read(), *self.registry, self.process.counted()]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                self.registry.end_windows()
                await asyncio.to_thread(self._end_windows)
            except Exception:
                _log.exception("the last minute's metrics could not be made")
