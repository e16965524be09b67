"""The resolver, with lookups that the test answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial

import pytest

from biandou.clients import dns
from biandou.clients.dns import Resolver, ip_literal
from biandou.live import Failed, Ok, Pending, State
from biandou.testing.observing import Observed


class Hosts:
    """Answers lookups with what the test says; counts them."""

    def __init__(self) -> None:
        self.answer: list[str] | Exception = []
        self.asked = 0
        self._wake: Callable[[], object] = lambda: None

    def lookup(self, host: str) -> list[str]:
        self.asked += 1
        self._wake()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def again(self) -> None:
        """Wait until a whole further lookup has been made."""
        loop = asyncio.get_running_loop()
        for _ in range(2):
            called = asyncio.Event()
            self._wake = partial(loop.call_soon_threadsafe, called.set)
            await asyncio.wait_for(called.wait(), 5)


UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
LATER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def resolver(hosts: Hosts) -> Resolver:
    return Resolver(refresh=0.01, lookup=hosts.lookup)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.1"), ("10.1.258", "10.1.1.2"), ("0", "0.0.0.0"),
        ("010.0.0.1", "10.0.0.1"), ("4294967295", "255.255.255.255"), ("4294967296", None), ("1.2.3.256", None),
        ("1.2.3.4.5", None), ("256.1", None), ("1..2", None), ("", None), ("web", None), ("1.2.3.x", None),
        ("::1", "::1"), ("[::1]", "::1"), ("::ffff:1.2.3.4", "::ffff:102:304"), ("[::1", None), ("a:b", None),
        ("1.2:3", None),
    ],
)  # fmt: skip
def test_literals_are_read_as_the_reference_reads_them(text: str, literal: str | None) -> None:
    assert ip_literal(text) == literal


def test_literals_and_localhost_need_no_lookup(resolver: Resolver, hosts: Hosts) -> None:
    assert resolver.addresses("127.1").sample() == Ok(("127.0.0.1",))
    assert resolver.addresses("localhost").sample() == Ok(("127.0.0.1",))
    assert hosts.asked == 0


async def test_a_name_is_kept_current_while_it_is_observed(resolver: Resolver, hosts: Hosts) -> None:
    hosts.answer = ["10.0.0.1", "10.0.0.1", "10.0.0.2"]
    with Observed(resolver.addresses("web")) as seen:
        assert isinstance(seen.now, Pending)
        await seen.until(lambda state: state == Ok(("10.0.0.1", "10.0.0.2")))
        hosts.answer = ["10.0.0.3"]
        await seen.until(lambda state: state == Ok(("10.0.0.3",)))
    await asyncio.sleep(0.05)
    asked = hosts.asked
    await asyncio.sleep(0.05)
    assert hosts.asked == asked, "nobody asks when nobody observes"


async def test_one_lookup_serves_all_observers(resolver: Resolver) -> None:
    assert resolver.addresses("web") is resolver.addresses("web")


async def test_an_unknown_host_is_known_to_be_so(resolver: Resolver, hosts: Hosts) -> None:
    hosts.answer = UNKNOWN
    with Observed(resolver.addresses("web")) as seen:
        await seen.until(lambda state: state == Ok(None))
        hosts.answer = ["10.0.0.1"]
        await seen.until(lambda state: state == Ok(("10.0.0.1",)))


async def test_a_host_that_was_known_a_moment_ago_keeps_its_addresses(
    resolver: Resolver, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.answer = ["10.0.0.1"]
    with Observed(resolver.addresses("web")) as seen:
        await seen.until(lambda state: state == Ok(("10.0.0.1",)))
        hosts.answer = UNKNOWN
        await hosts.again()
        assert seen.now == Ok(("10.0.0.1",))
        monkeypatch.setattr(dns, "UNKNOWN_GRACE_SECONDS", 0.0)
        await seen.until(lambda state: state == Ok(None))


@pytest.mark.parametrize(
    "error", [LATER, OSError("no descriptor is left"), UnicodeError("label too long"), ValueError("null")]
)
async def test_a_failure_is_said_only_while_nothing_is_known(
    resolver: Resolver, hosts: Hosts, error: Exception
) -> None:
    hosts.answer = error
    with Observed(resolver.addresses("web")) as seen:
        state = await seen.until(lambda state: isinstance(state, Failed))
        assert isinstance(state, Failed)
        assert str(state.error).startswith("cannot resolve web: ")
        hosts.answer = ["10.0.0.1"]
        await seen.until(lambda state: state == Ok(("10.0.0.1",)))
        hosts.answer = error
        await hosts.again()
        assert seen.now == Ok(("10.0.0.1",))


async def test_a_name_longer_than_any_is_unknown_and_costs_neither_a_lookup_nor_a_long_line(
    resolver: Resolver, hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    with Observed(resolver.addresses("x" * 70_000)) as seen:
        await seen.until(lambda state: state == Ok(None))
    assert hosts.asked == 0
    assert "cannot resolve xxx" in caplog.text
    assert len(caplog.text) < 1000


async def test_a_name_that_can_be_no_host_fails() -> None:
    for host in ("a\0b", "x" * 300, "a..b"):
        with Observed(Resolver().addresses(host)) as seen:
            await seen.until(lambda state: isinstance(state, Failed) or state == Ok(None))


async def test_a_failing_host_is_logged_once_a_change(
    resolver: Resolver, hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    hosts.answer = UNKNOWN
    with caplog.at_level("INFO", logger="biandou.clients.dns"), Observed(resolver.addresses("web")) as seen:
        await hosts.again()
        hosts.answer = ["10.0.0.1"]
        await seen.until(lambda state: state == Ok(("10.0.0.1",)))
        await hosts.again()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_thousands_of_failing_hosts_do_not_flood_the_log(
    resolver: Resolver, hosts: Hosts, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.answer = UNKNOWN

    async def fail(numbers: range) -> list[str]:
        caplog.clear()
        with contextlib.ExitStack() as stack:
            seen = [stack.enter_context(Observed(resolver.addresses(f"web{number}"))) for number in numbers]
            for each in seen:
                await each.until(lambda state: state == Ok(None))
        return [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]

    with caplog.at_level("DEBUG", logger="biandou.clients.dns"):
        lines = await fail(range(200))
        assert len(lines) == dns.LOG_LINES + 1
        assert "further hosts that fail, or are resolved again, have level DEBUG for 60 s" in lines
        assert len([record for record in caplog.records if record.levelno == logging.DEBUG]) >= 150
        monkeypatch.setattr(dns, "LOG_SECONDS", 0.0)
        assert len(await fail(range(200, 203))) == 3, "after a while there are lines again"


async def test_a_resolver_for_ever_asks_until_it_knows_and_never_again(hosts: Hosts) -> None:
    resolver = Resolver(forever=True, refresh=0.01, lookup=hosts.lookup)
    hosts.answer = UNKNOWN
    with Observed(resolver.addresses("web")) as seen:
        await hosts.again()
        hosts.answer = ["10.0.0.1"]
        await seen.until(lambda state: state == Ok(("10.0.0.1",)))
        asked = hosts.asked
        await asyncio.sleep(0.05)
        assert hosts.asked == asked
    assert resolver.addresses("web").sample() == Ok(("10.0.0.1",))


async def test_a_lookup_that_hangs_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "LOOKUP_SECONDS", 0.01)
    release: list[Callable[[], None]] = []

    def hang(host: str) -> list[str]:
        event = threading.Event()
        release.append(event.set)
        event.wait(10)
        return []

    resolver = Resolver(refresh=0.01, lookup=hang)
    with Observed(resolver.addresses("web")) as seen:
        await seen.until(lambda state: isinstance(state, Failed))
        await asyncio.sleep(0.5)
        assert 1 < len(release) <= dns.MAX_THREADS, "lookups that hang do not pile up without bound"
    for end in release:
        end()


async def test_an_address_with_a_zone_is_no_literal_and_a_host_that_has_only_such_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ip_literal("fe80::1%eth0") is None
    assert ip_literal("[fe80::1%eth0]") is None
    zoned = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 0, 0, 2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keys: [zoned])
    with pytest.raises(OSError, match="only addresses with a zone"):
        dns.system_lookup("here")


async def test_an_observer_that_fails_does_not_end_the_watch_of_a_host(resolver: Resolver, hosts: Hosts) -> None:
    hosts.answer = ["127.0.0.1"]

    def fail_at_the_first(state: State[tuple[str, ...] | None]) -> None:
        if state == Ok(("127.0.0.1",)):
            raise RuntimeError("a defect")

    live = resolver.addresses("web")
    broken = live.observe(fail_at_the_first)
    with Observed(live) as seen:
        await seen.until(lambda state: state == Ok(("127.0.0.1",)))
        hosts.answer = ["127.0.0.2"]
        await seen.until(lambda state: state == Ok(("127.0.0.2",)))
    broken.close()
