"""One name followed at a registry: what is known of it, since when, and how following it goes.

Every namer that asks a registry keeps one `Followed` a name. A registry that fails leaves the last good value in use,
and what a failure means as long as nothing was ever known is the namer's to say (reference/naming.md §1.13).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from biandou.dtab.bound import Origin
from biandou.live import Ok, Source

T = TypeVar("T")

LOG_NAMES: Final = 5
"""Of so many names that fail at one time each is logged as a warning."""

_log = logging.getLogger(__name__)


class Registry:
    """A registry, as its names see it: `name` is what to call it (`consul at 127.0.0.1:8500`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failing: set[str] = set()
        """The names that cannot be followed now."""


class Memory(Generic[T]):
    """What was known of a name when it was followed last; outlives the watch."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: Ok[T] | None = None


class Followed(Generic[T]):
    """Tells `source` what a registry says of the name `name`, and keeps how that goes for `/namer_state`.

    `request` is what the registry is asked, without secrets. Make one when the source opens, and `close` it when the
    source closes; `memory` may be handed to the next.
    """

    def __init__(self, registry: Registry, name: str, request: str, source: Source[T], memory: Memory[T]) -> None:
        self.origin = Origin(registry.name)
        """Goes into every `AddressSet` that is made from what is told here."""
        self._registry = registry
        self._name = name
        self._request = request
        self._source = source
        self._memory = memory
        self._began = time.time()
        # What was known long ago may not be told as if it were known now.
        source.forget()

    @property
    def known(self) -> T | None:
        """What is known now."""
        state = self._source.state
        return state.value if isinstance(state, Ok) else None

    def tell(self, value: T, version: str | None = None, *, corrected: bool = False) -> None:
        """Take in what the registry says now, and by which index or version of its own.

        `corrected` says that a reconciliation found it: the registry had not told of the change when it came.
        """
        origin = self.origin
        changed = not (isinstance(self._source.state, Ok) and self._source.state.value == value)
        origin.version = version
        origin.confirmed_at = time.time()
        if changed:
            origin.changed_at = origin.confirmed_at
            origin.corrections += corrected
        self._memory.last = Ok(value)
        self._mended()
        self._set(value)

    def confirm(self) -> None:
        """Note that what is known still holds."""
        self.origin.confirmed_at = time.time()
        self._mended()

    def fail(self, error: Exception) -> bool:
        """Stay with what is known, from an earlier time if need be; says whether anything ever was.

        If not, the source is as it was: whether that means "no such name" is the caller's to tell it.
        """
        failing = self._registry.failing
        new = self._name not in failing
        failing.add(self._name)
        # When a registry is away for thousands of names, a few of them say enough.
        level = logging.WARNING if new and len(failing) <= LOG_NAMES else logging.DEBUG
        _log.log(level, "%s: %s: %s", self._registry.name, self._name, error)
        self.origin.error, self.origin.error_at = str(error), time.time()
        if isinstance(self._source.state, Ok):
            return True
        if self._memory.last is None:
            return False
        self._set(self._memory.last.value)
        return True

    def close(self) -> None:
        """Forget that the name failed, now that nobody asks for it."""
        self._registry.failing.discard(self._name)

    def state(self, shown: Callable[[T], Any]) -> dict[str, Any]:
        """Give JSON values in the reference's shape (reference/naming.md §1.4), `value` as `shown` gives it."""
        origin, known = self.origin, self._source.state
        return {
            "state": {
                "running": True,
                "lastStartedAt": _shown(self._began),
                "lastUpdatedAt": _shown(origin.changed_at),
                "lastConfirmedAt": _shown(origin.confirmed_at),
                "value": shown(known.value) if isinstance(known, Ok) else None,
            },
            "watch": {
                "request": self._request,
                "version": origin.version,
                "corrections": origin.corrections,
                "error": origin.error,
                "lastErrorAt": _shown(origin.error_at),
            },
        }

    def _set(self, value: T) -> None:
        try:
            self._source.set(value)
        except Exception:
            # The mistake of one observer must not end the watch of the others.
            _log.exception("an observer of %s failed", self._name)

    def _mended(self) -> None:
        if self._name not in self._registry.failing:
            return
        self._registry.failing.discard(self._name)
        level = logging.INFO if not self._registry.failing else logging.DEBUG
        _log.log(level, "%s: %s: answers again", self._registry.name, self._name)
        self.origin.error = self.origin.error_at = None


def _shown(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
