"""One announcement: registered, held, tried again after failures, and withdrawn; no kind, but what all kinds run in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Literal

from biandou.announcers.interface import AnnounceError, Registration
from biandou.errors import reason

Standing = Literal["registering", "registered", "failed", "withdrawn"]

_log = logging.getLogger(__name__)


class Announcement:
    """An address that is to be known until `withdraw`; `what` is how the log calls it."""

    def __init__(self, registration: Registration, what: str) -> None:
        self._registration = registration
        self._what = what
        self.standing: Standing = "registering"
        self._known_as: str | None = None
        self._since = time.time()
        self._failures = 0
        self._error: str | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"announcing {what}")

    def state(self) -> dict[str, Any]:
        """Give how it stands, as JSON values; `since` is when that began, in seconds since 1970."""
        return {
            "state": self.standing,
            "as": self._known_as,
            "since": round(self._since, 3),
            "failures": self._failures,
            "error": self._error,
        }

    async def withdraw(self) -> None:
        """Have it known no more; what goes wrong is logged. May be cancelled."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        try:
            await self._registration.withdraw()
        except AnnounceError as error:
            _log.warning("%s could not be withdrawn: %s", self._what, reason(error))
            self._error = reason(error)
        self._stand("withdrawn")

    async def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                try:
                    await self._once()
                except AnnounceError as error:
                    self._failed(reason(error))
                except Exception as error:
                    # Whatever it is, the address should be known again when it has passed.
                    _log.exception("%s failed", self._what)
                    self._failed(reason(error))
                else:
                    continue
                await self._registration.rest(self._registration.retry.wait(self._failures))

    async def _once(self) -> None:
        known_as = await self._registration.register()
        if (self.standing, self._known_as) != ("registered", known_as):
            _log.info("%s: announced as %s", self._what, known_as)
        self._known_as, self._failures, self._error = known_as, 0, None
        self._stand("registered")
        await self._registration.hold()

    def _failed(self, error: str) -> None:
        self._failures += 1
        self._error = error
        if self.standing != "failed":
            _log.warning("%s failed, and is tried again: %s", self._what, error)
        self._stand("failed")

    def _stand(self, standing: Standing) -> None:
        if self.standing != standing:
            self.standing, self._since = standing, time.time()
