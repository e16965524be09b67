"""The thread that writes an access log, and what lies before it: bounded, and never waited for."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from asyncio import AbstractEventLoop, get_running_loop, to_thread
from collections.abc import Sequence
from typing import Final

import msgspec

from biandou.config.plan import AccessLogPlan
from biandou.errors import reason
from biandou.namerd.access_log.file import LogFile
from biandou.telemeters.registry import Counter

MAX_WAITING: Final = 1024 * 1024
"""Bytes of lines that wait for the disk; more lines are lost, and counted."""
LOOK_SECONDS: Final = 0.1
"""How long a line waits at the most for others to be written with."""
CLOSE_SECONDS: Final = 2.0
"""How long the disk may take at the end."""

_log = logging.getLogger(__name__)


class AccessLog:
    """One access log; its methods are for the event loop. `dropped` counts the lines that are lost.

    `plan` is as the operator wrote it.
    """

    def __init__(self, plan: AccessLogPlan, file: LogFile, dropped: Counter) -> None:
        self.plan = plan
        self._file = file
        self._dropped = dropped
        self._loop: AbstractEventLoop = get_running_loop()
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._waiting = 0
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._reopening = threading.Event()
        # At the end nobody waits for a disk that does not answer.
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, plan: AccessLogPlan, dropped: Counter, former: AccessLog | None = None) -> AccessLog:
        """Open the file, in which stays what `former` wrote to it; raises `OSError`, which says whose file it is."""
        append = plan.append or (former is not None and former.plan.path == plan.path)
        try:
            file = await to_thread(LogFile, msgspec.structs.replace(plan, append=append), time.time())
        except OSError as error:
            raise OSError(error.errno, f"h2AccessLog {plan.path}: {reason(error)}") from error
        return cls(plan, file, dropped)

    def add(self, line: bytes) -> None:
        """Have a line written, or lose it if the disk is too slow."""
        with self._lock:
            room = self._waiting + len(line) <= MAX_WAITING
            if room:
                self._lines.append(line)
                self._waiting += len(line)
        if room:
            self._woken.set()
        else:
            self._dropped.add()

    def reopen(self) -> None:
        """Open the file anew by its name, soon: it may have been moved away."""
        self._reopening.set()
        self._woken.set()

    async def close(self) -> None:
        """Write what is left and close the file."""
        self._stopping.set()
        self._woken.set()
        await to_thread(self._thread.join, CLOSE_SECONDS)
        if self._thread.is_alive():
            _log.error("the access log %s is left: its last lines could not be written in time", self.plan.path)

    # ── In the thread ────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        failing = False
        while True:
            self._woken.wait()
            self._woken.clear()
            self._stopping.wait(LOOK_SECONDS)
            # Asked before the lines are taken, so that the last of them are written, and to the file that was there.
            stopping = self._stopping.is_set()
            reopening = self._reopening.is_set()
            self._reopening.clear()
            with self._lock:
                lines, self._lines = self._lines, []
                self._waiting = 0
            if lines:
                failing = not self._write(lines, failing)
            if stopping:
                self._file.close()
                return
            if reopening:
                try:
                    self._file.reopen(time.time())
                except OSError as error:
                    message = "cannot reopen the access log %s, going on with the old file: %s"
                    _log.error(message, self.plan.path, reason(error))

    def _write(self, lines: Sequence[bytes], failing: bool) -> bool:
        """Write lines, and give whether all of them were; the operator is told once that it fails."""
        written = 0
        try:
            while written < len(lines):
                written += self._file.write(lines[written:], time.time())
        except OSError as error:
            if not failing:
                _log.error("cannot write the access log %s, its lines are lost: %s", self.plan.path, reason(error))
            # After its end nobody looks at the counter.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._dropped.add, len(lines) - written)
            return False
        if failing:
            _log.info("the access log %s is written again", self.plan.path)
        return True
