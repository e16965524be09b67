"""A linker's connection: the names that it follows, told in order, then the dtab version that all of this comes from.

Lines of JSON go both ways (interfaces/openapi.json). What the linker says: `{"id", "bind", "dtab"?, "held"?}`,
`{"id", "addr"}`, `{"drop"}`, `{"ready"}` and `{"inForce"}`; what namerd says: `{"id", "is"}`, `{"id", "failed"}` and
`{"version"}`. A version is told when every name that it changed has been told, so a linker that reads it has what it
means; the first one after `ready`, which follows the names that the linker has from before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

from biandou.dtab import Dtab, Path
from biandou.live import Live, Ok, State
from biandou.namerd.in_force import MAX_TEXT, Held, InForce
from biandou.namerd.rollout import Rollout
from biandou.namerd.sight import View
from biandou.namerd.told import Told

NO_DTAB: Final = Dtab()
MAX_NAMES: Final = 100_000
"""How many names and addresses one connection may follow."""

SILENCE_SECONDS: Final = 45.0
"""A linker that says nothing for so long, not even an empty line, is gone."""

ALIVE_SECONDS: Final = 15.0
"""How often a linker hears of us when there is nothing to say."""

PIECE_BYTES: Final = 64 * 1024
"""About how much is written before it is waited until the linker has room for more."""

FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.02, 2.0
"""How soon it is looked again whether a name that holds a version back has been resolved."""

HELD_SECONDS: Final = 15.0
"""For so long a name that the linker holds from before holds the version back while nothing is known of it."""


class Unreadable(ValueError):
    """What a linker says is none of the lines that it may say."""


class Sight(Protocol):
    """What a linker is shown of a namespace."""

    @property
    def view(self) -> Live[View]:
        """Which dtab it goes by."""

    def name(self, path: Path, local: Dtab, trial: Rollout | None) -> Told:
        """Give what a name means, through a dtab that is tried or through the namespace's."""

    def address(self, client: Path) -> Told:
        """Give where a client name is."""


class Session:
    """One connection of the linker `held`."""

    def __init__(self, namespace: str, sight: Sight, in_force: InForce, held: Held) -> None:
        self._namespace = namespace
        self._sight = sight
        self._in_force = in_force
        self._held = held
        self._names: dict[int, Told] = {}
        # The names among them, as they were asked for; addresses are the same for all.
        self._asked: dict[int, tuple[Path, Dtab]] = {}
        # Numbers of names that the linker knows from another connection, until they have been told on this one.
        self._untold: dict[int, float] = {}
        self._changed: dict[int, None] = {}
        self._view: View | None = None
        self._trial: Rollout | None = None
        self._told_version: str | None = None
        self._ready = False
        self._wake = asyncio.Event()

    def changed(self, number: int) -> None:
        """Tell soon what a name means now."""
        self._changed[number] = None
        self._wake.set()

    async def run(self, lines: AsyncIterator[list[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
        """Converse until the linker goes; raises `Unreadable`, and what reading and writing raise."""
        watch = self._sight.view.observe(self._see)
        tasks = asyncio.create_task(self._tell(write)), asyncio.create_task(self._listen(lines))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            watch.close()
            for number, told in self._names.items():
                told.leave(self, number)
            self._names.clear()
            self._asked.clear()

    def _see(self, state: State[View]) -> None:
        if isinstance(state, Ok):
            self._view = state.value
            self._wake.set()

    # ── What the linker says ─────────────────────────────────────────────────────────────────────────────────────────

    async def _listen(self, lines: AsyncIterator[list[bytes]]) -> None:
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                some = await anext(lines, None)
            if some is None:
                return
            for line in some:
                if line.strip():
                    self._take(line)
            # A thousand that come back at once each have their turn.
            await asyncio.sleep(0)

    def _take(self, line: bytes) -> None:
        try:
            sent = json.loads(line)
            if "inForce" in sent:
                version = sent["inForce"]
                if not isinstance(version, str) or len(version) > MAX_TEXT:
                    raise Unreadable("a version is a text")
                self._in_force.hold(self._namespace, self._held, version)
            elif "ready" in sent:
                self._ready = True
                self._wake.set()
            elif "drop" in sent:
                self._drop(_number(sent["drop"]))
            else:
                self._follow(_number(sent["id"]), sent)
        except Unreadable:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Unreadable(f"a line can't be read: {error}") from error

    def _follow(self, number: int, sent: dict[str, Any]) -> None:
        if number in self._names or len(self._names) >= MAX_NAMES:
            raise Unreadable("each name has a number of its own, and there are not too many")
        if "bind" in sent:
            path, local = Path.read(sent["bind"]), Dtab.read(sent["dtab"]) if "dtab" in sent else NO_DTAB
            told = self._sight.name(path, local, self._trial)
            self._asked[number] = path, local
            if sent.get("held") is True:
                self._untold[number] = asyncio.get_running_loop().time() + HELD_SECONDS
        else:
            told = self._sight.address(Path.read(sent["addr"]))
        self._names[number] = told
        told.follow(self, number)

    def _drop(self, number: int) -> None:
        told = self._names.pop(number, None)
        if told is not None:
            told.leave(self, number)
            self._asked.pop(number, None)
            self._changed.pop(number, None)
            self._untold.pop(number, None)
            # It may have been what held the version back.
            self._wake.set()

    # ── What it is told ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _tell(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        pause = FIRST_LOOK_SECONDS
        while True:
            view = self._view
            held_back = self._ready and view is not None and view.version != self._told_version
            try:
                async with asyncio.timeout(pause if held_back else ALIVE_SECONDS):
                    await self._wake.wait()
                pause = FIRST_LOOK_SECONDS
            except TimeoutError:
                pause = min(2 * pause, LAST_LOOK_SECONDS)
                if not held_back:
                    await write(b"\n")
            self._wake.clear()
            view = self._view
            if view is not None and view.trial != self._trial:
                self._look_through(view.trial)
            while piece := self._piece():
                await write(piece)
            if not self._ready or view is None or view is not self._view or view.version == self._told_version:
                continue
            if not self._changed and self._all_told():
                self._told_version = view.version
                await write(json.dumps({"version": view.version}).encode() + b"\n")

    def _look_through(self, trial: Rollout | None) -> None:
        """Follow every name through another dtab; what means the same there need not be told again."""
        self._trial = trial
        until = asyncio.get_running_loop().time() + HELD_SECONDS
        for number, (path, local) in self._asked.items():
            former = self._names[number]
            told = self._names[number] = self._sight.name(path, local, trial)
            if told is former:
                continue
            was_changed = number in self._changed
            told.follow(self, number)
            if told.part is None and former.part is not None:
                self._untold[number] = until
            elif told.part == former.part and not was_changed:
                self._changed.pop(number, None)
            former.leave(self, number)

    def _piece(self) -> bytes:
        piece = bytearray()
        while self._changed and len(piece) < PIECE_BYTES:
            number = next(iter(self._changed))
            del self._changed[number]
            self._untold.pop(number, None)
            told = self._names[number]
            if told.part is not None:
                piece += b'{"id":%d,%b}\n' % (number, told.part)
        return bytes(piece)

    def _all_told(self) -> bool:
        """Whether no name that the linker has is about to mean something else."""
        now = asyncio.get_running_loop().time()
        if any(until > now for until in self._untold.values()):
            return False
        return not any(told.waiting for told in self._names.values())


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise Unreadable("a name's number is a whole number")
    return value
