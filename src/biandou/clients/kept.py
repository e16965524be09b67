"""What registries said of names, kept beyond the watch and, in the state file, beyond the process.

There is one for the process (`KEPT`), since namers come into being wherever a path names one. Without a state file it
serves those names that are asked for again while their registry is away.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from biandou.clients.records import Records
from biandou.dtab.bound import Origin

MAX_NAMES: Final = 10_000
MAX_BYTES: Final = 32 * 1024 * 1024
PATIENCE_SECONDS: Final = 1.0


class Key(NamedTuple):
    """A name at a registry (`consul at 127.0.0.1:8500`); `settings` tells how it is asked and read."""

    registry: str
    settings: str
    name: str


class Said(msgspec.Struct, frozen=True, kw_only=True, tag="said"):
    """What a registry said of a name: `value` is the namer's own, in MessagePack; times in seconds since 1970."""

    registry: str
    settings: str
    name: str
    value: bytes
    version: str | None = None
    changed: float | None = None
    at: float
    """When the registry was known to hold the same, at the latest."""

    @property
    def key(self) -> Key:
        """What it is kept by."""
        return Key(self.registry, self.settings, self.name)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.value) + len(self.name) + 200


class Saying(Protocol):
    """A name that is followed."""

    @property
    def origin(self) -> Origin:
        """Where what is known of it came from."""

    def said(self, now: float) -> Said | None:
        """Give what is known of it now, if that is anything to keep."""


class Kept:
    """What was said of names that nobody follows now, and the names that somebody follows."""

    def __init__(self) -> None:
        self.patience_seconds = PATIENCE_SECONDS
        """How long a registry has to answer before what is kept is used."""
        self.changes = 0
        """Goes up whenever a registry says something else."""
        self.records: Records[Key, Said] = Records(MAX_NAMES, MAX_BYTES)
        self._followed: dict[Saying, None] = {}

    def follow(self, saying: Saying) -> None:
        """Have a name speak for itself from now on."""
        self._followed[saying] = None

    def leave(self, saying: Saying) -> None:
        """Keep what a name said last."""
        self._followed.pop(saying, None)
        said = saying.said(time.time())
        if said is not None:
            self.records.keep(said.key, said)

    def said(self, now: float) -> Iterator[Said]:
        """Give what is known of the names that are followed."""
        for saying in tuple(self._followed):
            said = saying.said(now)
            if said is not None:
                yield said

    def origins(self) -> list[Origin]:
        """Give where what is known of the names that are followed came from."""
        return [saying.origin for saying in self._followed]


KEPT: Final = Kept()


def registries(origins: Iterable[Origin], now: float) -> dict[str, dict[str, Any]]:
    """Give for each registry how many `names` it told of, and how old the oldest of that is (`age`, seconds).

    `remembered` are those of which it has not said anything yet.
    """
    found: dict[str, dict[str, Any]] = {}
    for origin in origins:
        one = found.setdefault(origin.registry, {"names": 0, "remembered": 0})
        one["names"] += 1
        one["remembered"] += origin.remembered
        age = origin.age(now)
        if age is not None:
            one["age"] = max(one.get("age", 0.0), round(age, 3))
        if origin.error is not None:
            one["error"] = origin.error
    return found
