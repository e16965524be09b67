"""The metrics of a whole process: what its parts count, and what the last minute was."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from biandou.telemeters.model import Metrics, ReadScopes
from biandou.telemeters.process import ProcessMetrics
from biandou.telemeters.registry import Registry
from biandou.telemeters.tree import Node, metrics_tree
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
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take snapshots from now on, on the running event loop."""
        loop = asyncio.get_running_loop()
        self._next = loop.call_later(self._seconds, self._tick, loop.call_later)

    def stop(self) -> None:
        """Take no more snapshots."""
        self.process.close()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def snapshot(self) -> None:
        """End the window: what came since the last snapshot is what exporters show from now on."""
        self._windows.take(self._scopes())

    def tree(self) -> Node:
        """Give all metrics as they are now."""
        return metrics_tree(self._scopes(), self._windows)

    def _scopes(self) -> list[Metrics]:
        return [*self._read(), *self.registry, self.process.counted()]

    def _tick(self, call_later: Callable[..., asyncio.TimerHandle]) -> None:
        self._next = call_later(self._seconds, self._tick, call_later)
        try:
            self.snapshot()
        except Exception:
            _log.exception("the snapshot of the metrics failed")
