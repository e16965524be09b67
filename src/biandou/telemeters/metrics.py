"""The metrics of a whole process: what its parts count, and what the last minute was."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from biandou.telemeters.model import Metrics, ReadScopes
from biandou.telemeters.process import ProcessMetrics
from biandou.telemeters.reading import Reading
from biandou.telemeters.registry import Registry
from biandou.telemeters.window import WINDOW_SECONDS, Windows

_log: Final = logging.getLogger(__name__)


class ProcessTelemetry:
    """Reads everything that is counted in this process; `start` begins to take a snapshot every `seconds`."""

    def __init__(self, read: ReadScopes, seconds: float = WINDOW_SECONDS) -> None:
        self.registry = Registry()
        self.process = ProcessMetrics()
        self._read = read
        self._seconds = seconds
        self._windows = Windows()
        self._snapshots: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take snapshots from now on, on the running event loop."""
        self._snapshots = asyncio.get_running_loop().create_task(self._take_snapshots(), name="metrics")

    def stop(self) -> None:
        """Take no more snapshots."""
        self.process.close()
        if self._snapshots is not None:
            self._snapshots.cancel()
            self._snapshots = None

    def snapshot(self) -> None:
        """End the window: what came since the last snapshot is what exporters show from now on."""
        self._windows.take(self._scopes())

    def read(self) -> Reading:
        """Give everything as it is now."""
        return Reading(self._scopes(), self._windows)

    def _scopes(self) -> list[Metrics]:
        return [*self._read(), *self.registry, self.process.counted()]

    async def _take_snapshots(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                for _ in self._windows.taking(self._scopes()):
                    # Names are bound meanwhile: a linker with thousands of them takes half a second for this.
                    await asyncio.sleep(0)
            except Exception:
                _log.exception("the snapshot of the metrics failed")
