"""The routes of the HTTP API for what linkers follow, and for which version each of them has in force."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from biandou.errors import StoreDown
from biandou.live import Live, Ok, State
from biandou.namerd.canary_state import is_reserved
from biandou.namerd.in_force import InForce, Standing, read_linker
from biandou.namerd.interfaces.documents import JSON, dump
from biandou.namerd.interfaces.message import Answer, Conversation, Reply, Request, Stream, text
from biandou.namerd.interfaces.rollouts import rollout_json
from biandou.namerd.rollout import Rollout, tries
from biandou.namerd.rollout_state import Shown
from biandou.namerd.session import Session
from biandou.namerd.sight import Sights, trial_version

SESSIONS: Final = 10_000
"""How many connections of linkers are followed at once."""


class InForceRoutes:
    """Answers what is below `follow` and `in-force`; `clock` is that of `in_force`."""

    def __init__(self, sights: Sights, in_force: InForce, clock: Callable[[], float] = time.monotonic) -> None:
        self._sights = sights
        self._in_force = in_force
        self._clock = clock
        self._sessions = 0

    async def follow(self, request: Request, namespace: str | None) -> Answer:
        """Converse with a linker."""
        if namespace is None or is_reserved(namespace):
            return Reply(status=404)
        if request.method != "POST":
            return Reply(status=405, headers={"Allow": "POST"})
        if "origin" in request.headers:
            return text("this request comes from a page of a browser", 403)
        if self._sessions >= SESSIONS:
            return text("this namerd serves as many linkers as it can", 503, {"Retry-After": "10"})
        sent = request.parameters
        pid = sent.get("pid", "")
        linker = read_linker(sent.get("token"), sent.get("host"), int(pid) if pid.isascii() and pid.isdecimal() else 0)

        async def run(lines: AsyncIterator[list[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
            held = self._in_force.enter(namespace, linker)
            self._sessions += 1
            try:
                await Session(namespace, self._sights.of(namespace, linker), self._in_force, held).run(lines, write)
            finally:
                self._sessions -= 1
                self._in_force.leave(namespace, held)

        return Conversation(run, JSON)

    async def in_force(self, request: Request, namespace: str | None) -> Answer:
        """Say what each linker has in force, at each change if the request says so."""
        if namespace is None or is_reserved(namespace):
            return Reply(status=404)
        if request.method not in ("GET", "HEAD"):
            return Reply(status=405, headers={"Allow": "GET"})
        version, rollout = self._sights.version(namespace), self._sights.rollout(namespace)
        if request.method == "GET" and request.parameters.get("watch", "").lower() in ("1", "t", "true"):

            def show(states: tuple[State[Any], ...]) -> bytes | None:
                return self._document(namespace, states[0], states[1])

            parts: list[Live[Any]] = [version, rollout, self._in_force.changes(namespace)]
            return Stream(Live.join(parts).map(show), JSON)
        document = self._document(namespace, version.sample(), rollout.sample())
        if document is None:
            raise StoreDown("the store has not been read yet")
        return Reply(document, 200, JSON)

    def _document(self, namespace: str, version: State[str], shown: State[Shown]) -> bytes | None:
        if not isinstance(version, Ok):
            return None
        rollout = shown.value.rollout if isinstance(shown, Ok) else None
        now = self._clock()
        found = [_linker(one, version.value, rollout, now) for one in self._in_force.standings(namespace)]
        in_force = sum(1 for one in found if one["inForce"])
        told = None if rollout is None else rollout_json(rollout)
        return dump({"version": version.value, "inForce": in_force, "linkers": found, "rollout": told}) + b"\n"


def _linker(standing: Standing, version: str, rollout: Rollout | None, now: float) -> dict[str, Any]:
    trying = rollout is not None and rollout.phase.tried and standing.may_try and tries(rollout, standing.linker.token)
    wanted = trial_version(rollout) if trying and rollout is not None else version
    return {
        "host": standing.linker.host,
        "pid": standing.linker.pid,
        "token": standing.linker.token,
        "version": standing.version,
        "inForce": standing.version == wanted,
        "trying": trying,
        "seconds": round(now - standing.since, 3),
        "connected": standing.connected,
    }
