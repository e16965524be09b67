"""`biandou.mesh.Names/Watch`: all that one linker watches in one stream, Biandou's own (`mesh.proto`).

A stream of gRPC's costs namerd 24 KiB and each of its messages 0.1 ms; what is watched here costs neither. Of each only
the latest state waits to be told, and what waits is told together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from biandou.dtab.protobuf import MalformedMessage, as_bytes, as_number, bytes_field, fields, number_field, text_field
from biandou.live import PENDING, Failed, Live, Ok, State, Watch
from biandou.namerd.interfaces.mesh import MeshRefusal, Status, refusal
from biandou.namerd.interfaces.mesh_in_force import IN_FORCE, LINKER, MeshStanding
from biandou.namerd.rollout import Rollout

MAX_WISHES: Final = 10_000
"""How much one linker may watch."""
MAX_NEWS: Final = 256 * 1024
"""Beyond so many bytes of news the rest waits for the next message."""
BOUND: Final = 2
"""The field of a wish for what a name comes to."""
AT_ONCE: Final = 20
"""So many wishes are taken up before others have their turn."""

Follow = Callable[[bytes], Live[bytes]]


class Wishes:
    """What one linker watches; `follows` has by a wish's field what follows it.

    `standing` gives what keeps which version the linker has in force, and wakes us to tell a new one; `tried` follows
    the names (`BOUND`) of a linker that tries the dtab of a rollout.
    """

    def __init__(
        self,
        follows: Mapping[int, Follow],
        standing: Callable[[Callable[[], None]], MeshStanding] | None = None,
        tried: Callable[[bytes, str, Rollout], Live[bytes]] | None = None,
    ) -> None:
        self._follows = follows
        self._tried = tried
        self._wishes: dict[int, _Wish] = {}
        self._waiting: dict[int, _Wish] = {}
        self.changed = asyncio.Event()
        self._standing = None if standing is None else standing(self.changed.set)
        if self._standing is not None:
            self._standing.retried = self._follow_anew

    async def take(self, message: bytes) -> None:
        """Take in a `WatchReq`; raises `MalformedMessage`."""
        for count, (number, value) in enumerate(fields(message)):
            if number == 1:
                self._take(as_bytes(number, value))
            elif number in (LINKER, IN_FORCE) and self._standing is not None:
                self._standing.take(number, as_bytes(number, value))
            if count % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)

    def _take(self, message: bytes) -> None:
        wanted = 0
        follow: tuple[int, bytes] | None = None
        for number, value in fields(message):
            if number == 1:
                wanted = as_number(number, value)
            elif number in self._follows:
                follow = number, as_bytes(number, value)
        if follow is None:
            self._drop(wanted)
        elif wanted in self._wishes:
            raise MalformedMessage(f"the number {wanted} is taken")
        else:
            wish = self._wishes[wanted] = _Wish(self, wanted)
            if len(self._wishes) > MAX_WISHES:
                too_many = MeshRefusal(Status.RESOURCE_EXHAUSTED, f"more than {MAX_WISHES} names are watched")
                wish.take(Failed(too_many))
            else:
                field, request = follow
                if field == BOUND:
                    wish.name = request
                wish.begin(self._following(field), request)

    def _following(self, field: int) -> Follow:
        """Give what follows a wish: names go by the dtab that the linker tries, if it tries one."""
        trial = self._standing.trial if self._standing is not None else None
        tried = self._tried
        if field != BOUND or trial is None or tried is None:
            return self._follows[field]
        return lambda request: tried(request, *trial)

    def _follow_anew(self) -> None:
        for wish in tuple(self._wishes.values()):
            if wish.name is not None:
                wish.begin(self._following(BOUND), wish.name)

    def _drop(self, number: int) -> None:
        self._waiting.pop(number, None)
        wish = self._wishes.pop(number, None)
        if wish is not None:
            wish.close()

    def wait(self, wish: _Wish) -> None:
        """Tell a wish's state with the next news."""
        if wish.number in self._wishes:
            self._waiting[wish.number] = wish
            self.changed.set()

    def news(self) -> bytes:
        """Give the next `WatchRsp`, empty if there is nothing to tell; clears `changed` when nothing is left."""
        told = []
        size = 0
        while self._waiting and size < MAX_NEWS:
            number = next(iter(self._waiting))
            wish = self._waiting.pop(number)
            part = wish.told()
            if part:
                told.append(bytes_field(1, number_field(1, number) + part))
                size += len(part)
            if isinstance(wish.state, Failed):
                self._drop(number)
        if not self._waiting:
            self.changed.clear()
            if self._standing is not None:
                told.append(self._standing.news(self._settled))
        return b"".join(told)

    def _settled(self) -> bool:
        """Whether nothing that was told is about to be told otherwise."""
        return not any(wish.behind for wish in self._wishes.values())

    def close(self) -> None:
        """Watch nothing any more."""
        wishes, self._wishes = self._wishes, {}
        self._waiting.clear()
        for wish in wishes.values():
            wish.close()
        if self._standing is not None:
            self._standing.close()


class _Wish:
    """One thing that is watched."""

    __slots__ = ("_former", "_watch", "_wishes", "name", "number", "state")

    def __init__(self, wishes: Wishes, number: int) -> None:
        self._wishes = wishes
        self.number = number
        self.name: bytes | None = None
        """The request, if it is about a name."""
        self.state: State[bytes] = PENDING
        self._former: bytes | None = None
        self._watch: Watch | None = None

    @property
    def behind(self) -> bool:
        """Whether what was told is no more, and what is so now is not known yet."""
        return self._former is not None and isinstance(self.state, type(PENDING))

    def begin(self, follow: Follow, request: bytes) -> None:
        former, self._watch = self._watch, None
        try:
            self._watch = follow(request).observe(self.take)
        except Exception as error:
            self.take(Failed(error))
        # Closed last, so that a source which both share stays open.
        if former is not None:
            former.close()

    def take(self, state: State[bytes]) -> None:
        self.state = state
        if not isinstance(state, type(PENDING)):
            self._wishes.wait(self)

    def told(self) -> bytes:
        """Give what is to be told of it, empty if that was told before."""
        match self.state:
            case Ok(value) if value != self._former:
                self._former = value
                return bytes_field(2, value)
            case Failed(error):
                refused = refusal(error)
                return bytes_field(3, number_field(1, refused.status) + text_field(2, str(refused)))
        return b""

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
