"""Which version of its namerd's dtab a router has in force, and telling those namerds that learn it only from reports.

A version comes after everything that it changed, and what the binder makes of a change is with the engine when the
observer of that change returns: so a version that is known here is in force.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any, Final, Protocol, runtime_checkable

from biandou.clients.identity import identity
from biandou.live import Live, Ok, State, Watch

SPREAD: Final = 0.1
"""Within such a part of the usual pause a new version is reported: the more linkers, the longer."""


@runtime_checkable
class VersionedInterpreter(Protocol):
    """An interpreter that knows which version of a dtab its trees come from."""

    @property
    def in_force(self) -> Live[str]:
        """That version; observing it keeps the connection to namerd open."""

    @property
    def told_elsewhere(self) -> bool:
        """Whether there are namerds which learn only from reports what is in force."""

    @property
    def may_try(self) -> bool:
        """Whether its namerd can have it go by a dtab that others do not have yet."""


class Versions:
    """The versions of several interpreters, observed until others are watched."""

    def __init__(self) -> None:
        self._watches: dict[int, tuple[VersionedInterpreter, Watch]] = {}
        self._changed = asyncio.Event()

    def watch(self, interpreters: Iterable[object]) -> None:
        """Observe these from now on, and no others."""
        former, self._watches = self._watches, {}
        for interpreter in interpreters:
            if isinstance(interpreter, VersionedInterpreter) and id(interpreter) not in self._watches:
                watch = interpreter.in_force.observe(self._note(interpreter))
                self._watches[id(interpreter)] = interpreter, watch
        # Closed last, so that a connection which stays is not closed in between.
        for _, watch in former.values():
            watch.close()

    def _note(self, interpreter: VersionedInterpreter) -> Any:
        def note(state: State[str]) -> None:
            if isinstance(state, Ok) and interpreter.told_elsewhere:
                self._changed.set()

        return note

    async def pause(self, seconds: float) -> None:
        """Wait so long, or less if there is something to tell."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
                self._changed.clear()
                await asyncio.sleep(seconds * random.uniform(0, SPREAD))  # noqa: S311 - no secret
        except TimeoutError:
            return


def standing(interpreter: object) -> dict[str, Any]:
    """Give the part of a report that says who we are and what is in force; empty if that is not known."""
    if not isinstance(interpreter, VersionedInterpreter):
        return {}
    who, state = identity(), interpreter.in_force.sample()
    version = state.value if isinstance(state, Ok) else None
    told = {"token": who.token, "host": who.host, "pid": who.pid, "version": version}
    return {"linker": told if interpreter.may_try else {**told, "mayTry": False}}
