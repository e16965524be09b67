"""What a linker announces of a configuration, and what becomes of it at a reload and at the end."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from biandou.announcers.interface import AnnouncerKind, Registration
from biandou.boundary import Serving
from biandou.clients.retry import Retry
from biandou.config.linker import LinkerConfig, parse
from biandou.dtab import Path
from biandou.kinds import Register
from biandou.linker import announcing
from biandou.linker.announcing import Announcements
from biandou.standard import ROOMS

TOLD: Final[list[str]] = []
"""What was registered (+) and withdrawn (-), in its order."""


class Noted:
    retry = Retry(0.1, 0.1)

    def __init__(self, what: str, *, stuck: bool) -> None:
        self._what = what
        self._stuck = stuck

    async def register(self) -> str:
        TOLD.append(f"+{self._what}")
        return self._what

    async def hold(self) -> None:
        await asyncio.Event().wait()

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def withdraw(self) -> None:
        if self._stuck:
            await asyncio.Event().wait()
        TOLD.append(f"-{self._what}")


class NotingAnnouncer:
    scheme = "notes"
    name = "a notebook"

    def __init__(self, kind: NotingKind) -> None:
        self._kind = kind

    def registration(self, name: Path, ip: str, port: int) -> Registration:
        return Noted(f"{self._kind.page}{name} {ip} {port}", stuck=self._kind.stuck)


class NotingKind(AnnouncerKind, frozen=True, kw_only=True, tag="io.test.notes"):
    page: str = ""
    stuck: bool = False

    def check(self, name: Path) -> None:
        if name == Path.of("bad"):
            raise ValueError("not a name")

    def announcer(self) -> NotingAnnouncer:
        return NotingAnnouncer(self)


NOTES: Final[dict[str, Register[Any]]] = {**ROOMS, "announcers": Register("announcers", (NotingKind,))}


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    TOLD.clear()


def config(servers: str, announcers: str = "{kind: io.test.notes}") -> LinkerConfig:
    text = f"routers: [{{protocol: http, announcers: [{announcers}], servers: [{servers}]}}]"
    return parse(text, registers=NOTES)


def serving(*places: tuple[str, int]) -> list[Serving]:
    return [Serving("http", ip, port) for ip, port in places]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


WEB = "{port: 1, announce: [/#/io.test.notes/web]}"


async def test_every_announcer_that_matches_gets_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    """And a path that none matches is said."""
    caplog.set_level("INFO")
    announcements = Announcements()
    written = config(
        "{port: 1, announce: [/#/a/b/web, /#/other/web]}",
        "{kind: io.test.notes, prefix: /a, page: one}, {kind: io.test.notes, prefix: /a/b, page: two}",
    )
    await announcements.prepare(written)
    announcements.follow(written, serving(("127.0.0.1", 1)))
    await settled()
    assert TOLD == ["+one/b/web 127.0.0.1 1", "+two/web 127.0.0.1 1"]
    lines = [record.getMessage() for record in caplog.records]
    assert "announcing 127.0.0.1:1 as /b/web to notes" in lines
    assert "no announcer found for /#/other/web" in lines
    await announcements.withdraw(asyncio.Event(), 10_000)


async def test_the_real_port_is_announced_and_each_server_under_its_own_name() -> None:
    announcements = Announcements()
    written = config("{port: 0, announce: [/#/io.test.notes/a]}, {port: 0, announce: [/#/io.test.notes/b]}, {port: 0}")
    await announcements.prepare(written)
    announcements.follow(written, serving(("127.0.0.1", 11), ("127.0.0.1", 12), ("127.0.0.1", 13)))
    await settled()
    assert TOLD == ["+/a 127.0.0.1 11", "+/b 127.0.0.1 12"]
    await announcements.withdraw(asyncio.Event(), 10_000)
    assert sorted(TOLD[2:]) == ["-/a 127.0.0.1 11", "-/b 127.0.0.1 12"]


@pytest.mark.parametrize(
    ("ip", "expected"),
    [("0.0.0.0", ["10.0.0.1", "192.0.2.2"]), ("'::'", ["10.0.0.1", "192.0.2.2", "fd00::2"]), ("'::1'", ["::1"])],
)
async def test_a_server_on_all_addresses_is_announced_at_each(
    ip: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its family, but for loopback and what needs a zone."""
    local = frozenset(("127.0.0.1", "127.0.0.9", "192.0.2.2", "10.0.0.1", "::1", "fe80::1", "fd00::2"))
    monkeypatch.setattr(announcing, "local_addresses", lambda: local)
    announcements = Announcements()
    written = config(f"{{port: 1, ip: {ip}, announce: [/#/io.test.notes/web]}}")
    await announcements.prepare(written)
    announcements.follow(written, serving((ip.strip("'"), 1)))
    await settled()
    assert [f"+/web {one} 1" for one in expected] == TOLD
    await announcements.withdraw(asyncio.Event(), 10_000)


async def test_a_host_without_addresses_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcing, "local_addresses", lambda: frozenset(("127.0.0.1",)))
    announcements = Announcements()
    written = config("{port: 1, ip: 0.0.0.0, announce: [/#/io.test.notes/web]}")
    await announcements.prepare(written)
    announcements.follow(written, serving(("0.0.0.0", 1)))
    assert "no address" in caplog.text
    assert announcements.state() == []


async def test_a_reload_touches_only_what_differs() -> None:
    """What is not announced any more is withdrawn before its server goes, and what is new comes when it listens."""
    announcements = Announcements()
    first = config(WEB + ", {port: 2, announce: [/#/io.test.notes/old]}")
    await announcements.prepare(first)
    announcements.follow(first, serving(("127.0.0.1", 1), ("127.0.0.1", 2)))
    await settled()
    TOLD.clear()
    second = config("{port: 3, announce: [/#/io.test.notes/new]}, " + WEB)
    await announcements.prepare(second)
    assert TOLD == ["-/old 127.0.0.1 2"]
    announcements.follow(second, serving(("127.0.0.1", 3), ("127.0.0.1", 1)))
    await settled()
    assert TOLD == ["-/old 127.0.0.1 2", "+/new 127.0.0.1 3"]
    assert {one["address"] for one in announcements.state()} == {"127.0.0.1:1", "127.0.0.1:3"}
    await announcements.withdraw(asyncio.Event(), 10_000)


async def test_a_reload_that_fails_announces_again_what_it_had_withdrawn() -> None:
    announcements = Announcements()
    first = config(WEB)
    await announcements.prepare(first)
    announcements.follow(first, serving(("127.0.0.1", 1)))
    await settled()
    await announcements.prepare(config("{port: 2}"))
    announcements.follow(first, serving(("127.0.0.1", 1)))
    await settled()
    assert TOLD == ["+/web 127.0.0.1 1", "-/web 127.0.0.1 1", "+/web 127.0.0.1 1"]
    await announcements.withdraw(asyncio.Event(), 10_000)


async def test_the_state_says_what_is_announced_where() -> None:
    announcements = Announcements()
    written = config(WEB)
    await announcements.prepare(written)
    announcements.follow(written, serving(("127.0.0.1", 1)))
    await settled()
    (state,) = announcements.state()
    assert state.pop("since") > 0
    assert state == {
        "router": "http",
        "path": "/#/io.test.notes/web",
        "address": "127.0.0.1:1",
        "to": "a notebook",
        "state": "registered",
        "as": "/web 127.0.0.1 1",
        "failures": 0,
        "error": None,
    }
    await announcements.withdraw(asyncio.Event(), 10_000)


async def test_the_end_waits_for_a_registry_not_for_long(caplog: pytest.LogCaptureFixture) -> None:
    """One that says nothing is left, and the log says what is announced yet; what another does is not lost by that."""
    announcements = Announcements()
    written = config(WEB, "{kind: io.test.notes, stuck: true}, {kind: io.test.notes, page: two}")
    await announcements.prepare(written)
    announcements.follow(written, serving(("127.0.0.1", 1)))
    await settled()
    TOLD.clear()
    async with asyncio.timeout(1.5):
        await announcements.withdraw(asyncio.Event(), 1000)
    assert TOLD == ["-two/web 127.0.0.1 1"]
    assert "127.0.0.1:1 is announced to a notebook for a while yet" in caplog.text


async def test_a_second_signal_ends_the_wait() -> None:
    announcements = Announcements()
    written = config(WEB, "{kind: io.test.notes, stuck: true}")
    await announcements.prepare(written)
    announcements.follow(written, serving(("127.0.0.1", 1)))
    await settled()
    hurry = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, hurry.set)
    async with asyncio.timeout(1):
        await announcements.withdraw(hurry, 10_000)


async def test_nothing_is_announced_after_the_end() -> None:
    """A reload may be under way when the linker is told to stop."""
    announcements = Announcements()
    written = config(WEB)
    await announcements.withdraw(asyncio.Event(), 10_000)
    await announcements.prepare(written)
    announcements.follow(written, serving(("127.0.0.1", 1)))
    await settled()
    assert TOLD == []


async def test_without_announcements_the_end_waits_for_nothing() -> None:
    began = asyncio.get_running_loop().time()
    await Announcements().withdraw(asyncio.Event(), 10_000)
    assert asyncio.get_running_loop().time() - began < 0.1
