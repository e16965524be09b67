"""The end of an announced linker: withdrawn first, still there for those who have not heard of it, then drained."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from biandou.announcers.interface import AnnouncerKind, Registration
from biandou.clients.retry import Retry
from biandou.config.linker import parse
from biandou.dtab import Path
from biandou.kinds import Register
from biandou.linker.announcing import HEARD_SECONDS
from biandou.linker.process import Linker, Parts
from biandou.standard import ROOMS
from biandou.testing.compiled_engine import CompiledEngine, compiled_engines

CONFIG: Final = """
admin: {shutdownGraceMs: 5000}
routers:
- protocol: http
  announcers: [{kind: io.test.clock, answers: %s}]
  servers: [{port: 4140, announce: [/#/io.test.clock/web]}]
"""

LEAST_SECONDS: Final = 0.2
"""Enough for registries that push; a coarse clock must not fail the test."""

WITHDRAWN: Final[list[float]] = []
"""When the registry had withdrawn, on the loop's clock."""


class ClockRegistration:
    retry = Retry(10.0, 10.0)

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers

    async def register(self) -> str:
        if not self._answers:
            raise OSError("nobody there")
        return "registered"

    async def hold(self) -> None:
        await asyncio.Event().wait()

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def withdraw(self) -> None:
        # The registry takes its time.
        await asyncio.sleep(0.05)
        WITHDRAWN.append(asyncio.get_running_loop().time())


class ClockAnnouncer:
    scheme = name = "clock"

    def __init__(self, kind: ClockKind) -> None:
        self._kind = kind

    def registration(self, _name: Path, _ip: str, _port: int) -> Registration:
        return ClockRegistration(answers=self._kind.answers)


class ClockKind(AnnouncerKind, frozen=True, kw_only=True, tag="io.test.clock"):
    answers: bool = True

    def check(self, name: Path) -> None:
        """Take any name."""

    def announcer(self) -> ClockAnnouncer:
        return ClockAnnouncer(self)


class NoAdmin:
    async def start(self) -> list[str]:
        return []

    async def stop(self) -> None:
        pass

    async def prepare(self, _parts: Parts) -> Any:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def nothing_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    WITHDRAWN.clear()
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def linker(state: str) -> AsyncIterator[tuple[asyncio.Task[int], CompiledEngine]]:
    """Run a linker with a stand-in for the engine, until its announcement is in this state."""
    seen: list[Parts] = []

    def open_admin(parts: Parts) -> NoAdmin:
        seen.append(parts)
        return NoAdmin()

    text = CONFIG % ("true" if state == "registered" else "false")
    config = parse(text, registers={**ROOMS, "announcers": Register("announcers", (ClockKind,))})
    with compiled_engines() as engines:
        task = asyncio.create_task(Linker(config, 1, open_admin, lambda: config).run())
        async with asyncio.timeout(5):
            while not seen or [one["state"] for one in seen[0].announced()] != [state]:
                await asyncio.sleep(0.005)
        yield task, engines[0]
        async with asyncio.timeout(5):
            await task


async def happened(what: Callable[[], object]) -> float:
    """Wait until something is so, and give the loop's time."""
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.002)
    return asyncio.get_running_loop().time()


def test_the_pause_is_long_enough_to_be_heard_and_short_against_any_grace() -> None:
    assert LEAST_SECONDS < HEARD_SECONDS <= 1


async def test_servers_go_on_for_a_while_after_they_are_withdrawn() -> None:
    """Callers that follow the registry hear of it meanwhile, and a connection of theirs must not be refused."""
    async with linker("registered") as (_, engine):
        os.kill(os.getpid(), signal.SIGTERM)
        drained = await happened(lambda: engine.stopped)
        [withdrawn] = WITHDRAWN
        assert drained - withdrawn >= LEAST_SECONDS
        # The grace began with the signal, so that what was waited is no longer left.
        assert engine.stopped[0] <= 5000 - LEAST_SECONDS * 1000


async def test_a_second_signal_does_not_wait_for_it() -> None:
    async with linker("registered") as (task, engine):
        os.kill(os.getpid(), signal.SIGTERM)
        withdrawn = await happened(lambda: WITHDRAWN)
        assert engine.stopped == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert await happened(lambda: engine.stopped) - withdrawn < HEARD_SECONDS
        assert await task == 1


async def test_one_that_nobody_was_told_of_does_not_wait() -> None:
    async with linker("failed") as (_, engine):
        os.kill(os.getpid(), signal.SIGTERM)
        began = asyncio.get_running_loop().time()
        assert await happened(lambda: engine.stopped) - began < HEARD_SECONDS
