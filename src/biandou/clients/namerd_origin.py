"""How fresh it is what a namerd tells of a client name: to those who bind with it, the namerd is the registry."""

from __future__ import annotations

import time
from dataclasses import replace

from biandou.dtab.bound import Addresses, AddressSet, Origin


class Told:
    """Puts the origin of one client name into what a namerd tells of it."""

    __slots__ = ("_last", "origin")

    def __init__(self, registry: str) -> None:
        self.origin = Origin(registry)
        self._last: Addresses | None = None

    def take(self, told: Addresses) -> Addresses:
        """Note that namerd tells this now, and give it with its origin."""
        confirm(self.origin)
        if told != self._last:
            self._last, self.origin.changed_at = told, self.origin.confirmed_at
        return replace(told, origin=self.origin) if isinstance(told, AddressSet) else told


def confirm(origin: Origin) -> None:
    """Note that what namerd told last still holds: it would have told what has changed."""
    origin.confirmed_at = time.time()
    origin.error = origin.error_at = None


def lose(origin: Origin, problem: str) -> None:
    """Note that namerd cannot be heard now."""
    origin.error, origin.error_at = problem, time.time()
