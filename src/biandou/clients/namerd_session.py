"""One connection to a namerd on which a linker follows all of its names, and learns which dtab version they come from.

A version is told after everything that it changed, so what it means is known when it is (namerd/session.py). A namerd
that knows nothing of this, as Linkerd 1.x's, is asked for a stream a name instead; then no version is known.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

from biandou.clients.identity import identity
from biandou.clients.namerd_http import NamerdHttp, Refused, take
from biandou.clients.namerd_origin import confirm, lose
from biandou.dtab import Dtab, Path
from biandou.dtab.bound import Origin
from biandou.errors import BindingError
from biandou.live import Live, Ok, Pending, Source, State

T = TypeVar("T")

ALIVE_SECONDS: Final = 15.0
"""How often namerd hears of us when there is nothing to say."""

MAX_UNSAID: Final = 10_000
"""So many lines may wait for a namerd that does not read."""

CONFIRM_SECONDS: Final = 5.0
"""So often at most is noted of all names that namerd is there, and would have told of changes."""

MAX_VERSION: Final = 255
UNKNOWN: Final = (404, 405, 501)
"""What a namerd answers that has no such connections."""

_log = logging.getLogger(__name__)


class _Unknown(Exception):
    """A namerd has no such connections."""


@dataclass(frozen=True, slots=True, eq=False)
class _Followed:
    """A name or an address: how it is asked for, and where to what is told goes."""

    line: dict[str, Any]
    target: str
    source: Source[Any]
    read: Callable[[Any], Any]
    origin: Origin | None = None


class NamerdSession:
    """Everything that is followed in one namespace; connected while something is, or `in_force` is observed."""

    def __init__(self, client: NamerdHttp, namespace: str) -> None:
        self.in_force: Source[str] = Source(follow=self._attend)
        self._client = client
        self._namespace = quote(namespace, safe="")
        self._followed: dict[int, _Followed] = {}
        self._apart: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._attended = False
        self._lines: asyncio.Queue[bytes] | None = None
        self._running: asyncio.Task[None] | None = None
        # Whether everything was told again since the connection was made, and when that was confirmed last.
        self._current = False
        self._confirmed_at = 0.0
        # What namerd refused us for last, which is logged once.
        self._refusal: str | None = None

    def bind(self, path: Path, dtab: Dtab, read: Callable[[Any], T]) -> Live[T]:
        """Give what `read` makes of the trees that a name comes to."""
        # Without entries nothing is said, so that namerd answers all who ask alike from one evaluation.
        line = {"bind": str(path), **({"dtab": str(dtab)} if len(dtab) else {})}
        entries = f"&dtab={quote(str(dtab), safe='/')}" if len(dtab) else ""
        target = f"/api/1/bind/{self._namespace}?path={quote(str(path), safe='/')}{entries}&watch=true"
        return self._source(line, target, read, Pending())

    def address(self, client: Path, read: Callable[[Any], T], first: T | None, origin: Origin | None = None) -> Live[T]:
        """Give what `read` makes of where a client name is; `first` holds until that is known.

        `origin` is told while the connection is there that nothing has changed, and when it is lost.
        """
        target = f"/api/1/addr/{self._namespace}?path={quote(str(client), safe='/')}&watch=true"
        return self._source({"addr": str(client)}, target, read, Pending() if first is None else Ok(first), origin)

    # ── What is followed ─────────────────────────────────────────────────────────────────────────────────────────────

    def _source(
        self,
        line: dict[str, Any],
        target: str,
        read: Callable[[Any], T],
        begin: State[T],
        origin: Origin | None = None,
    ) -> Live[T]:
        def follow(source: Source[T]) -> Callable[[], None]:
            return self._begin(_Followed(line, target, source, read, origin))

        return Source(begin, follow=follow)

    def _begin(self, followed: _Followed) -> Callable[[], None]:
        self._number += 1
        number = self._number
        self._followed[number] = followed
        self._put({"id": number, **followed.line})
        self._run()

        def end() -> None:
            del self._followed[number]
            if number in self._apart:
                self._apart.pop(number)()
            self._put({"drop": number})
            self._rest()

        return end

    def _attend(self, _source: Source[str]) -> Callable[[], None]:
        self._attended = True
        self._run()

        def end() -> None:
            self._attended = False
            self._rest()

        return end

    def _put(self, said: dict[str, Any]) -> None:
        """Say something soon, if there is a connection; the next one begins with all that is followed."""
        if self._lines is None:
            return
        if self._lines.qsize() < MAX_UNSAID:
            self._lines.put_nowait(_line(said))
        elif self._running is not None:
            _log.warning("namerd does not read what we say: we connect anew")
            self._lines = None
            self._running.cancel()
            self._running = None
            self._run()

    def _run(self) -> None:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._keep(), name=f"namerd {self._namespace}")
        elif self._running.done():
            self._follow_apart()

    def _rest(self) -> None:
        if not self._followed and not self._attended and self._running is not None:
            self._running.cancel()
            self._running = None

    # ── The connection ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self) -> None:
        who = identity()
        target = f"/api/1/follow/{self._namespace}?token={who.token}&host={quote(who.host, safe='')}&pid={who.pid}"
        try:
            await self._client.converse(target, self._say, self._hear, self._refuse, self._lost)
        except _Unknown:
            _log.info("namerd has no connections for many names: each has a stream of its own")
            self._follow_apart()

    def _follow_apart(self) -> None:
        self._lines = None
        for number, followed in self._followed.items():
            if number not in self._apart:
                self._apart[number] = self._client.follow(
                    followed.target, followed.read, followed.source, _lost(followed.origin)
                )

    async def _say(self) -> AsyncIterator[bytes]:
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._lines = lines
        self._current = False
        try:
            known = [
                _line({"id": number, **followed.line, **_held(followed)}) for number, followed in self._followed.items()
            ]
            yield b"".join(known) + _line({"ready": True})
            while True:
                try:
                    async with asyncio.timeout(ALIVE_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
                        said = await lines.get()
                except TimeoutError:
                    said = b"\n"
                while not lines.empty():
                    said += lines.get_nowait()
                yield said
        finally:
            if self._lines is lines:
                self._lines = None

    def _refuse(self, error: Refused) -> None:
        """Hear that namerd does not converse with us: what is not known yet fails, what is known holds."""
        if error.status in UNKNOWN:
            raise _Unknown
        problem = str(error)
        if problem != self._refusal:
            self._refusal = problem
            _log.warning("namerd refuses: %s", problem)
        for followed in self._followed.values():
            if not isinstance(followed.source.state, Ok):
                followed.source.fail(BindingError(f"namerd: {problem}"))

    def _lost(self, problem: str) -> None:
        for followed in self._followed.values():
            _lost(followed.origin)(problem)

    def _confirm(self) -> None:
        now = time.monotonic()
        if self._current and now - self._confirmed_at >= CONFIRM_SECONDS:
            self._confirmed_at = now
            for followed in self._followed.values():
                if followed.origin is not None and isinstance(followed.source.state, Ok):
                    confirm(followed.origin)

    def _hear(self, line: bytes) -> None:
        self._confirm()
        if not line.strip():
            return
        try:
            document = json.loads(line)
            version, number = document.get("version"), document.get("id")
        except (ValueError, AttributeError, RecursionError):
            raise Refused(line[:4096].decode(errors="replace")) from None
        self._refusal = None
        if isinstance(version, str) and len(version) <= MAX_VERSION:
            self.in_force.set(version)
            self._put({"inForce": version})
            if not self._current:
                self._current, self._confirmed_at = True, 0.0
                self._confirm()
            return
        followed = self._followed.get(number) if isinstance(number, int) else None
        # What was let go meanwhile may still be told of.
        if followed is None:
            return
        try:
            if "failed" in document:
                raise Refused(str(document["failed"]))
            take(document.get("is"), followed.read, followed.source)
        except Refused as error:
            # The other names are none the worse for it.
            if not isinstance(followed.source.state, Ok):
                followed.source.fail(BindingError(f"namerd: {error}"))
            else:
                _log.warning("%s stays as it was: namerd: %s", followed.target, error)


def _lost(origin: Origin | None) -> Callable[[str], None]:
    def lost(problem: str) -> None:
        if origin is not None:
            lose(origin, problem)

    return lost


def _held(followed: _Followed) -> dict[str, bool]:
    return {"held": True} if isinstance(followed.source.state, Ok) and "bind" in followed.line else {}


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"
