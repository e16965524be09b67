"""Reads a program's configuration again while it runs: one reload at a time, asked for by a signal or by admin."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from biandou.errors import ConfigError, reason

_log = logging.getLogger(__name__)


class Reloading:
    """Reloads of one program.

    `replan` reads the configuration anew, puts it in force and gives what has changed; if it raises, nothing has.
    `tell` is told `RELOADING=1` and `READY=1`, in systemd's words.
    """

    def __init__(self, replan: Callable[[], Awaitable[str]], tell: Callable[[str], None]) -> None:
        self._replan = replan
        self._tell = tell
        self._one_at_a_time = asyncio.Lock()
        self._asked: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Reload soon, once for all who ask until it begins; what goes wrong is said in the log."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_task(self._as_asked(), name="reload")

    async def reload(self) -> str:
        """Reload, and give what has changed; raises what kept it from that, which the log says, too."""
        async with self._one_at_a_time:
            return await self._reload()

    def cancel(self) -> None:
        """Let be what was asked for."""
        if self._asked is not None:
            self._asked.cancel()

    async def _as_asked(self) -> None:
        try:
            # Whoever asks from now on may mean a file that is newer than what we read.
            async with self._one_at_a_time:
                self._asked = None
                await self._reload()
        except Exception:
            # It has been said in the log, and everything goes on as before.
            return

    async def _reload(self) -> str:
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            changes = await self._replan()
        except Exception as error:
            _log.error(
                "the configuration can't be reloaded, and stays as it was: %s",
                error if isinstance(error, ConfigError) else reason(error),
                exc_info=None if isinstance(error, ConfigError | OSError | ValueError) else error,
            )
            raise
        finally:
            self._tell("READY=1")
        _log.info("reloaded: %s", changes)
        return changes
