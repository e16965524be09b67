"""Which linkers are there, and which version of a namespace's dtab each has in force.

A linker says so on the connection on which it follows its names, and to other namerds in its reports: so every namerd
that a linker knows of can tell. One whose connection is gone, or that has not reported for a while, is forgotten.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from biandou.clients.identity import MAX_HOST
from biandou.live import Live, Ok, Source

EXPIRES_SECONDS: Final = 10.0
"""A linker that only reports is forgotten after this, or after three of the pauses that it was asked to make."""

LOOK_SECONDS: Final = 1.0
"""How often it is looked, while somebody watches, whether one has to be forgotten."""

MAX_REPORTING: Final = 10_000
MAX_TEXT: Final = 255
GATHER_SECONDS: Final = 0.005
"""What changes within so long is told at once."""

A_LINKER_SECONDS: Final = 0.0001
"""So much longer for each linker that is told of."""


@dataclass(frozen=True, slots=True)
class Linker:
    """A process: `token` is another one after a restart."""

    token: str
    host: str
    pid: int


@dataclass(slots=True, eq=False)
class Held:
    """What one router of a linker has in force, as it said itself; `None`: nothing yet."""

    linker: Linker
    version: str | None = None
    since: float = 0.0
    expires: float = float("inf")
    may_try: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """What a linker has in force in a namespace: one version if all of its routers have the same, since when.

    `may_try` says whether it can go by a dtab that others do not have yet.
    """

    linker: Linker
    version: str | None
    since: float
    connected: bool
    may_try: bool


class InForce:
    """The linkers of each namespace; `clock` gives seconds that only rise."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._connected: defaultdict[str, dict[Held, None]] = defaultdict(dict)
        self._reporting: defaultdict[str, dict[str, Held]] = defaultdict(dict)
        self._changes: dict[str, Source[int]] = {}
        self._telling: dict[str, asyncio.TimerHandle] = {}

    # ── What linkers say ─────────────────────────────────────────────────────────────────────────────────────────────

    def enter(self, namespace: str, linker: Linker, *, may_try: bool = True) -> Held:
        """Take in that a router of a linker follows names here."""
        held = Held(linker, since=self._clock(), may_try=may_try)
        self._connected[namespace][held] = None
        self._changed(namespace)
        return held

    def hold(self, namespace: str, held: Held, version: str) -> None:
        """Take in that it has a version in force."""
        if held.version != version:
            held.version, held.since = version, self._clock()
            self._changed(namespace)

    def leave(self, namespace: str, held: Held) -> None:
        """Take in that its connection is gone."""
        self._connected[namespace].pop(held, None)
        if not self._connected[namespace]:
            del self._connected[namespace]
        self._changed(namespace)

    def report(self, namespace: str, document: bytes, pause: float) -> None:
        """Take in what a linker reports of itself, if it does; it reports again after `pause` seconds.

        Raises `ValueError` for what is no report.
        """
        read = read_standing(document)
        if read is None:
            return
        process, linker, version, may_try = read
        now = self._clock()
        known = self._reporting.get(namespace, {}).get(process)
        if known is None:
            self._forget(namespace, now)
            if sum(map(len, self._reporting.values())) >= MAX_REPORTING:
                raise ValueError("too many linkers report")
            known = self._reporting[namespace][process] = Held(linker, since=now, may_try=may_try)
            self._changed(namespace)
        known.expires = now + max(EXPIRES_SECONDS, 3 * pause)
        if known.version != version:
            known.version, known.since = version, now
            self._changed(namespace)

    # ── What is so ───────────────────────────────────────────────────────────────────────────────────────────────────

    def standings(self, namespace: str) -> list[Standing]:
        """Give what each linker has in force, by host and process id."""
        self._forget(namespace, self._clock())
        found: dict[Linker, list[Held]] = {}
        for held in self._connected.get(namespace, ()):
            found.setdefault(held.linker, []).append(held)
        connected = set(found)
        for held in self._reporting.get(namespace, {}).values():
            # What it says on its connection is newer than any report.
            if held.linker not in connected:
                found.setdefault(held.linker, []).append(held)
        standings = [_standing(linker, parts, linker in connected) for linker, parts in found.items()]
        return sorted(standings, key=lambda one: (one.linker.host, one.linker.pid, one.linker.token))

    def changes(self, namespace: str) -> Live[int]:
        """Give a number that is another one after each change, soon."""
        source = self._changes.get(namespace)
        if source is None:
            source = self._changes[namespace] = Source(Ok(0), follow=lambda _source: self._look_on(namespace))
        return source

    def _look_on(self, namespace: str) -> Callable[[], None]:
        async def look() -> None:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if self._forget(namespace, self._clock()):
                    self._changed(namespace)

        looking = asyncio.get_running_loop().create_task(look(), name=f"linkers of {namespace}")

        def stop() -> None:
            looking.cancel()
            self._changes.pop(namespace, None)

        return stop

    def _changed(self, namespace: str) -> None:
        source = self._changes.get(namespace)
        if source is None or namespace in self._telling:
            return
        pause = GATHER_SECONDS + A_LINKER_SECONDS * len(self._connected.get(namespace, ()))
        self._telling[namespace] = asyncio.get_running_loop().call_later(pause, self._tell, namespace)

    def _tell(self, namespace: str) -> None:
        del self._telling[namespace]
        source = self._changes.get(namespace)
        if source is not None:
            state = source.state
            source.set(state.value + 1 if isinstance(state, Ok) else 0)

    def _forget(self, namespace: str, now: float) -> bool:
        """Forget who has not reported for too long; says whether there was anybody."""
        reporting = self._reporting.get(namespace, {})
        gone = [process for process, held in reporting.items() if held.expires < now]
        for process in gone:
            del reporting[process]
        if not reporting:
            self._reporting.pop(namespace, None)
        return bool(gone)


def _standing(linker: Linker, parts: list[Held], connected: bool) -> Standing:
    versions = {held.version for held in parts}
    version = versions.pop() if len(versions) == 1 else None
    return Standing(linker, version, max(held.since for held in parts), connected, all(held.may_try for held in parts))


def read_linker(token: object, host: object, pid: object) -> Linker:
    """Read who a linker says that it is; raises `ValueError`."""
    for text, most in ((token, MAX_TEXT), (host, MAX_HOST)):
        if not isinstance(text, str) or not 0 < len(text) <= most or not text.isprintable():
            raise ValueError("a linker says its token and its host")
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < 2**31:
        raise ValueError("a linker says its process id")
    return Linker(str(token), str(host), pid)


def read_standing(document: bytes) -> tuple[str, Linker, str | None, bool] | None:
    """Read `process`, who says so, which version is in force, and whether it may try others; `None` if it is not said.

    Raises `ValueError` for what is no report.
    """
    try:
        sent: dict[str, Any] = json.loads(document)
        process, linker = sent["process"], sent.get("linker")
        if linker is None:
            return None
        version = linker.get("version")
        if not isinstance(process, str) or not isinstance(version, str | None) or len(version or "") > MAX_TEXT:
            raise ValueError("a version is a text")
        who = read_linker(linker["token"], linker["host"], linker["pid"])
        return process, who, version, linker.get("mayTry") is not False
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is no report: {error!r}") from error
