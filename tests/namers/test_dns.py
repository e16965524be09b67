"""The namers of the domain name system, against a real name server and against one that answers as it likes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path as FilePath
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from biandou.clients.name_servers import Server, read_server
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import WEIGHT, Addresses, AddressSet, Bound
from biandou.live import Live, Ok, State
from biandou.namers.dns import DnsNamerKind
from biandou.namers.dns_records import HostNamer, SrvNamer
from biandou.namers.dnssrv import DnsSrvNamerKind
from biandou.testing.observing import Observed
from tests.registries.names import INSTALLED, Dnsmasq, answering, records, refusing

Tree = NameTree[Path | Bound]
WEB = Path.of("_web._tcp.test.")
HOST = Path.of("web.test.", "8080")

real = pytest.mark.skipif(not INSTALLED, reason="dnsmasq is not installed (dnsmasq-base)")


@pytest.fixture
async def server(tmp_path: FilePath) -> AsyncIterator[Dnsmasq]:
    server = Dnsmasq(tmp_path)
    yield server
    await server.stop()


def services(port: int, **keys: Any) -> SrvNamer:
    return DnsSrvNamerKind(
        experimental=True, dns_hosts=(f"127.0.0.1:{port}",), refresh_interval_seconds=1, **keys
    ).namer()


def hosts(port: int, **keys: Any) -> HostNamer:
    return DnsNamerKind(dns_hosts=(f"127.0.0.1:{port}",), **keys).namer()


def addresses(live: Live[Tree]) -> Live[Addresses | None]:
    """Follow the addresses of a tree; `None` while it is negative."""

    def inner(tree: Tree) -> Live[Addresses | None]:
        if tree is NEG:
            return Live.ok(None)
        assert isinstance(tree, Leaf)
        assert isinstance(tree.value, Bound)
        return tree.value.addresses.map(lambda known: known)

    return live.flat_map(inner)


def at(*places: str) -> Callable[[State[Addresses | None]], bool]:
    """Say whether these are the endpoints; none means that the name is negative."""

    def wanted(state: State[Addresses | None]) -> bool:
        if not isinstance(state, Ok):
            return False
        if state.value is None:
            return not places
        return isinstance(state.value, AddressSet) and sorted(map(str, state.value.addresses)) == sorted(places)

    return wanted


def weights(state: State[Addresses | None]) -> dict[str, float]:
    assert isinstance(state, Ok)
    assert isinstance(state.value, AddressSet)
    return {str(one): one.meta[WEIGHT] for one in state.value.addresses}


ZONE = (
    "srv-host=_web._tcp.test,a.test,8001,0,1",
    "srv-host=_web._tcp.test,b.test,8002,0,3",
    "host-record=a.test,127.0.0.11",
    "host-record=b.test,127.0.0.12",
    "host-record=web.test,127.0.0.21",
)


# ── A real name server ───────────────────────────────────────────────────────────────────────────────────────────────


@real
async def test_services_are_followed_with_their_weights(server: Dnsmasq) -> None:
    await server.start(*ZONE)
    namer = services(server.port)
    with Observed(addresses(namer.lookup(WEB + Path.of("rest")))) as seen:
        state = await seen.until(at("127.0.0.11:8001", "127.0.0.12:8002"))
        found = weights(state)
        assert found["127.0.0.12:8002"] == pytest.approx(3 * found["127.0.0.11:8001"])
        shown = namer.state()["_web._tcp.test."]
        assert shown["state"]["value"] == ["127.0.0.11:8001", "127.0.0.12:8002"]
        assert shown["watch"]["request"] == "SRV _web._tcp.test."
        await server.start("srv-host=_web._tcp.test,b.test,8009", "host-record=b.test,127.0.0.12")
        await seen.until(at("127.0.0.12:8009"))
        await server.stop()
        await asyncio.sleep(2.5)
        assert at("127.0.0.12:8009")(seen.now), "nobody says, so that what was known stays"
        await server.start(*ZONE)
        await seen.until(at("127.0.0.11:8001", "127.0.0.12:8002"), 15.0)
        await server.start()
        await seen.until(at(), 15.0)
    assert namer.state() == {}


@real
async def test_hosts_are_followed_by_their_times_to_live(server: Dnsmasq) -> None:
    await server.start(*ZONE)
    namer = hosts(server.port)
    with Observed(addresses(namer.lookup(HOST))) as seen:
        await seen.until(at("127.0.0.21:8080"))
        await server.start("host-record=web.test,127.0.0.22")
        await seen.until(at("127.0.0.22:8080"))
        await server.start()
        await seen.until(at(), 15.0)
        await server.start("host-record=web.test,fd00::7")
        await seen.until(at("[fd00::7]:8080"), 15.0)
    both = hosts(server.port, family="both")
    await server.start("host-record=web.test,127.0.0.22,fd00::7")
    with Observed(addresses(both.lookup(HOST))) as seen:
        await seen.until(at("127.0.0.22:8080", "[fd00::7]:8080"))
    with Observed(addresses(namer.lookup(HOST))) as seen:
        await seen.until(at("127.0.0.22:8080"))


@real
async def test_five_hundred_records_come_whole(server: Dnsmasq) -> None:
    numbers = range(500)
    zone = [f"srv-host=_many._tcp.test,h{number % 4}.test,{1000 + number}" for number in numbers]
    await server.start(*zone, *(f"host-record=h{number}.test,127.0.0.{number + 1}" for number in range(4)))
    with Observed(addresses(services(server.port).lookup(Path.of("_many._tcp.test.")))) as seen:
        await seen.until(at(*(f"127.0.0.{number % 4 + 1}:{1000 + number}" for number in numbers)))


# ── One that answers as it likes ─────────────────────────────────────────────────────────────────────────────────────


def is_kind(question: dns.message.Message, kind: str) -> bool:
    return bool(question.question[0].rdtype == dns.rdatatype.from_text(kind))


async def test_servers_that_fail_mean_no_such_name_until_something_was_known_and_then_nothing() -> None:
    code = dns.rcode.SERVFAIL

    def answer(question: dns.message.Message) -> dns.message.Message:
        if code != dns.rcode.NOERROR:
            return refusing(question, code)
        return records(question, "web.test. 1 IN A 10.0.0.1")

    async with answering(answer) as port:
        namer = hosts(port)
        with Observed(addresses(namer.lookup(HOST))) as seen:
            await seen.until(at(), 10.0)
            assert "SERVFAIL" in namer.state()["web.test."]["watch"]["error"]
            code = dns.rcode.NOERROR
            await seen.until(at("10.0.0.1:8080"), 10.0)
            assert namer.state()["web.test."]["watch"]["error"] is None
            code = dns.rcode.SERVFAIL
            await asyncio.sleep(2.0)
            assert at("10.0.0.1:8080")(seen.now)
            code = dns.rcode.NXDOMAIN
            await seen.until(at(), 15.0)


async def test_a_name_is_asked_for_when_it_expires_and_no_sooner() -> None:
    asked: list[float] = []

    def answer(question: dns.message.Message) -> dns.message.Message:
        asked.append(time.monotonic())
        return records(question, "web.test. 2 IN A 10.0.0.1")

    async with answering(answer) as port:
        with Observed(addresses(hosts(port).lookup(HOST))) as seen:
            await seen.until(at("10.0.0.1:8080"))
            await asyncio.sleep(2.6)
            assert len(asked) == 2
            assert 1.9 < asked[1] - asked[0] < 2.6
        asked.clear()
        with Observed(addresses(hosts(port, min_ttl_secs=60).lookup(HOST))) as seen:
            await seen.until(at("10.0.0.1:8080"))
            await asyncio.sleep(2.4)
            assert len(asked) == 1


async def test_chains_of_names_are_followed_and_loops_are_not() -> None:
    def answer(question: dns.message.Message) -> dns.message.Message:
        if question.question[0].name.to_text() == "loop.test.":
            return records(question, "loop.test. 9 IN CNAME round.test.", "round.test. 9 IN CNAME loop.test.")
        chain = ["web.test. 9 IN CNAME next.test.", "next.test. 9 IN CNAME last.test.", "last.test. 9 IN A 10.0.0.3"]
        return records(question, *chain)

    async with answering(answer) as port:
        with Observed(addresses(hosts(port).lookup(HOST))) as seen:
            await seen.until(at("10.0.0.3:8080"))
        with Observed(addresses(hosts(port).lookup(Path.of("loop.test.", "80")))) as seen:
            await seen.until(at(), 10.0)


async def test_a_cut_answer_comes_over_tcp_and_garbage_costs_nothing_but_itself() -> None:
    broken = False

    def answer(question: dns.message.Message) -> dns.message.Message | bytes:
        if broken:
            return b"\xff" * 40
        if is_kind(question, "SRV"):
            return records(question, *(f"_web._tcp.test. 5 IN SRV 0 0 {port} a.test." for port in range(8000, 8060)))
        return records(question, "a.test. 5 IN A 10.0.0.1")

    async with answering(answer) as port:
        namer = services(port)
        with Observed(addresses(namer.lookup(WEB))) as seen:
            whole = at(*(f"10.0.0.1:{number}" for number in range(8000, 8060)))
            await seen.until(whole)
            broken = True
            await asyncio.sleep(2.0)
            assert whole(seen.now)


async def test_what_srv_records_say_of_priorities_and_weights() -> None:
    def answer(question: dns.message.Message) -> dns.message.Message:
        if is_kind(question, "SRV"):
            return records(
                question,
                "_web._tcp.test. 5 IN SRV 1 0 8001 a.test.",
                "_web._tcp.test. 5 IN SRV 1 30 8002 a.test.",
                "_web._tcp.test. 5 IN SRV 2 60 8003 a.test.",
                "_web._tcp.test. 5 IN SRV 1 5 8004 unknown.test.",
                "_web._tcp.test. 5 IN SRV 0 5 0 .",
            )
        if question.question[0].name.to_text() == "unknown.test.":
            return refusing(question, dns.rcode.NXDOMAIN)
        return records(question, "a.test. 5 IN A 10.0.0.1") if is_kind(question, "A") else records(question)

    async with answering(answer) as port:
        with Observed(addresses(services(port).lookup(WEB))) as seen:
            state = await seen.until(at("10.0.0.1:8001", "10.0.0.1:8002", "10.0.0.1:8003"))
            assert weights(state) == {"10.0.0.1:8001": 0.01, "10.0.0.1:8002": 0.5, "10.0.0.1:8003": 1.0}
        with Observed(addresses(services(port, use_priority=True).lookup(WEB))) as seen:
            state = await seen.until(at("10.0.0.1:8001", "10.0.0.1:8002"))
            assert weights(state) == {"10.0.0.1:8001": 0.01, "10.0.0.1:8002": 1.0}


async def test_targets_of_which_nobody_says_anything_leave_what_was_known() -> None:
    silent = False

    def answer(question: dns.message.Message) -> dns.message.Message:
        if is_kind(question, "SRV"):
            return records(question, "_web._tcp.test. 5 IN SRV 1 0 8001 a.test.")
        return refusing(question, dns.rcode.SERVFAIL) if silent else records(question, "a.test. 5 IN A 10.0.0.1")

    async with answering(answer) as port:
        with Observed(addresses(services(port).lookup(WEB))) as seen:
            await seen.until(at("10.0.0.1:8001"))
            silent = True
            await asyncio.sleep(2.5)
            assert at("10.0.0.1:8001")(seen.now)


async def test_a_target_of_which_nobody_says_anything_is_where_it_was() -> None:
    silent = False

    def answer(question: dns.message.Message) -> dns.message.Message:
        if is_kind(question, "SRV"):
            port = 8002 if silent else 8001
            return records(question, *(f"_web._tcp.test. 5 IN SRV 1 0 {port} {name}.test." for name in "ab"))
        name = question.question[0].name.to_text()
        if silent and name == "a.test.":
            return refusing(question, dns.rcode.SERVFAIL)
        return records(question, f"{name} 5 IN A 10.0.0.{1 if name == 'a.test.' else 2}")

    async with answering(answer) as port:
        with Observed(addresses(services(port).lookup(WEB))) as seen:
            await seen.until(at("10.0.0.1:8001", "10.0.0.2:8001"))
            silent = True
            await seen.until(at("10.0.0.1:8002", "10.0.0.2:8002"))


async def test_of_two_servers_at_one_address_the_second_is_asked_when_the_first_fails() -> None:
    def answer(question: dns.message.Message) -> dns.message.Message:
        return records(question, "web.test. 5 IN A 10.0.0.1") if is_kind(question, "A") else records(question)

    async with (
        answering(answer) as good,
        answering(lambda question: refusing(question, dns.rcode.SERVFAIL)) as bad,
    ):
        for ports in ((bad, good), (good, bad)):
            namer = DnsNamerKind(dns_hosts=tuple(f"127.0.0.1:{port}" for port in ports)).namer()
            with Observed(addresses(namer.lookup(HOST))) as seen:
                await seen.until(at("10.0.0.1:8080"))


@pytest.mark.parametrize(
    "path",
    [
        Path.of("web.test."),
        Path.of("web.test.", "http"),
        Path.of("web.test.", "0"),
        Path.of("web.test.", "0000809999999"),
        Path.of("web.test.", "00001" + "9" * 5000),
        Path((b"\xff", b"80")),
    ],
    ids=lambda path: str(path)[:40],
)
async def test_what_is_no_name_is_negative_without_a_question(path: Path) -> None:
    assert hosts(1).lookup(path).sample() == Ok(NEG)


async def test_a_name_that_nobody_could_have_is_negative() -> None:
    async with answering(lambda question: refusing(question, dns.rcode.NXDOMAIN)) as port:
        for host in ("a" * 64 + ".test.", "a..test.", ".".join(["a" * 60] * 5) + "."):
            with Observed(addresses(hosts(port).lookup(Path.of(host, "80")))) as seen:
                await seen.until(at(), 10.0)


def test_name_servers_are_addresses() -> None:
    assert read_server("10.0.0.2") == Server("10.0.0.2", 53)
    assert read_server("10.0.0.2:5353") == Server("10.0.0.2", 5353)
    assert str(read_server("[fd00::2]:54")) == "[fd00::2]:54"
    assert read_server("fd00::2") == Server("fd00::2", 53)
    for wrong in ("ns.example.com", "10.0.0.2:0", "10.0.0.2:x", ""):
        with pytest.raises(ValueError, match="is no address of a name server"):
            DnsSrvNamerKind(dns_hosts=(wrong,))
