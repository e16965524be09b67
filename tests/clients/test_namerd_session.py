"""One connection for all names of a linker: told in order, mended after a namerd's restart, and then the version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from biandou.clients.namerd_http import NamerdHttp
from biandou.clients.namerd_session import NamerdSession
from biandou.clients.retry import Retry
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Addresses, AddressSet, Bound
from biandou.live import Live, Ok, Source
from biandou.namerd.in_force import InForce, Linker
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.names import Names
from biandou.namerd.session import Session
from biandou.namerd.sight import Sights
from biandou.stores.in_memory import InMemoryStore
from biandou.testing.observing import Observed
from biandou.testing.origin import exchange
from tests.interpreters.test_namerd_http import Namerd, store

WEB = Path.read("/svc/web")


def session(namerd: Namerd) -> NamerdSession:
    client = NamerdHttp(Live.ok((("127.0.0.1", namerd.port),)), Retry(1, 1))
    return NamerdSession(client, "default")


def says(part: str) -> Any:
    return lambda state: isinstance(state, Ok) and part in json.dumps(state.value)


async def test_a_version_is_told_after_what_it_means_and_acknowledged() -> None:
    async with Namerd(store()) as namerd:
        told: list[str] = []
        ours = session(namerd)
        with Observed(ours.bind(WEB, Dtab(), str)) as name, Observed(ours.in_force) as version:
            await version.until(lambda state: isinstance(state, Ok))
            assert isinstance(name.now, Ok)
            with (
                Observed(ours.bind(Path.read("/svc/b"), Dtab(), lambda _: told.append("b"))),
                Observed(ours.bind(WEB, Dtab.read("/x=>/y"), lambda _: told.append("x"))),
            ):
                async with asyncio.timeout(5):
                    while len(told) < 2:
                        await asyncio.sleep(0.01)
                before = version.now
                with Observed(ours.in_force.map(lambda _: told.append("version"))):
                    told.clear()
                    await namerd.store.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
                    await version.until(lambda state: state != before)
                    assert told == ["b", "x", "version"]
        assert len([line for line in namerd.asked if "/follow/" in line]) == 1


async def test_a_name_that_is_not_resolved_yet_holds_the_version_back() -> None:
    late: Source[Addresses] = Source()

    class Found:
        def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
            from biandou.dtab import Leaf

            addresses: Live[Addresses] = late if path == Path.read("/#/late") else Live.ok(AddressSet())
            return Live.ok(Leaf(Bound(path, addresses)))

    kept = InMemoryStore({"default": Dtab.read("/svc/web => /#/early")})
    api = HttpApi(kept, Names(kept, Found()), list)  # type: ignore[arg-type] # all that is asked of namers
    async with Namerd(kept, api.answer) as namerd:
        ours = session(namerd)
        with Observed(ours.bind(WEB, Dtab(), lambda told: told)) as name, Observed(ours.in_force) as version:
            before = await version.until(lambda state: isinstance(state, Ok))
            assert says("early")(name.now)
            await kept.put("default", Dtab.read("/svc/web => /#/late"))
            await asyncio.sleep(0.3)
            assert version.now == before
            assert says("early")(name.now)
            late.set(AddressSet())
            await version.until(lambda state: state != before)
            assert says("late")(name.now)


async def test_a_restart_of_namerd_changes_nothing_if_nothing_has_changed() -> None:
    async with Namerd(store()) as namerd:
        ours = session(namerd)
        seen: list[object] = []
        with Observed(ours.in_force) as version:
            watch = ours.bind(WEB, Dtab(), lambda told: told).observe(seen.append)
            await version.until(lambda state: isinstance(state, Ok))
            count = len(seen)
            await namerd.stop()
            await namerd.start()
            async with asyncio.timeout(10):
                while len([line for line in namerd.asked if "/follow/" in line]) < 2:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert len(seen) == count
            await namerd.store.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            async with asyncio.timeout(10):
                while len(seen) == count:
                    await asyncio.sleep(0.01)
            watch.close()


@pytest.mark.parametrize(("alive", "connections"), [(0.1, 1), (100.0, 2)])
async def test_a_namerd_that_says_nothing_is_asked_anew(
    alive: float, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("biandou.clients.namerd_http.SILENCE_SECONDS", 0.5)
    monkeypatch.setattr("biandou.namerd.session.ALIVE_SECONDS", alive)
    async with Namerd(store()) as namerd:
        with Observed(session(namerd).in_force):
            await asyncio.sleep(2.2)
            assert min(len(namerd.asked), 2) == connections


async def test_names_that_come_and_go_while_namerd_does_not_read_do_not_pile_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("biandou.clients.namerd_session.MAX_UNSAID", 10)
    async with Namerd(store()) as namerd:
        ours = session(namerd)
        with Observed(ours.in_force) as version:
            await version.until(lambda state: isinstance(state, Ok))
            for number in range(100):
                with Observed(ours.bind(Path.of("svc", str(number)), Dtab(), str)):
                    pass
            with Observed(ours.bind(WEB, Dtab(), str)) as name:
                await name.until(lambda state: isinstance(state, Ok))
        assert len(namerd.asked) == 2, "it connected anew once"


class Heard:
    """A client that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    async def converse(self, _target: str, say: Callable[[], AsyncIterator[bytes]], *_more: object) -> None:
        async for lines in say():
            self.said += [json.loads(line) for line in lines.splitlines()]


async def test_what_is_let_go_is_said_to_be() -> None:
    heard = Heard()
    ours = NamerdSession(heard, "default")  # type: ignore[arg-type] # all that is asked of a client
    with Observed(ours.in_force):
        with Observed(ours.bind(WEB, Dtab(), str)):
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
    assert heard.said == [{"id": 1, "bind": "/svc/web"}, {"ready": True}, {"drop": 1}]


async def test_what_is_dropped_is_told_no_more() -> None:
    kept = store()
    in_force = InForce()
    linker = Linker("a", "b", 1)
    from biandou.namers.all import Namers

    told: list[bytes] = []

    async def lines() -> AsyncIterator[list[bytes]]:
        yield [b'{"id":7,"bind":"/svc/web"}', b'{"id":8,"bind":"/svc/b"}', b'{"ready":true}']
        while not any(b"version" in lines for lines in told):
            await asyncio.sleep(0.01)
        told.clear()
        yield [b'{"drop":7}']
        await kept.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
        while not any(b"version" in lines for lines in told):
            await asyncio.sleep(0.01)

    async def write(lines: bytes) -> None:
        told.append(lines)

    sight = Sights(kept, Names(kept, Namers())).of("default", linker)
    async with asyncio.timeout(5):
        await Session("default", sight, in_force, in_force.enter("default", linker)).run(lines(), write)
    assert b'"id":8' in b"".join(told)
    assert b'"id":7' not in b"".join(told)
    assert not kept.watch("default").observed


class Lines:
    """What a linker says, then silence until `ended`."""

    def __init__(self, *lines: bytes) -> None:
        self._lines: Iterator[bytes] = iter(lines)

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> list[bytes]:
        line = next(self._lines, None)
        if line is None:
            raise StopAsyncIteration
        return [line]


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"[]",
        b"1",
        b"{}",
        b'{"id":1}',
        b'{"id":"1","bind":"/svc"}',
        b'{"id":-1,"bind":"/svc"}',
        b'{"id":true,"bind":"/svc"}',
        b'{"id":1,"bind":"svc"}',
        b'{"id":1,"bind":7}',
        b'{"id":1,"bind":"/svc","dtab":"/x"}',
        b'{"drop":"x"}',
        b'{"inForce":7}',
        b'{"inForce":"' + b"x" * 300 + b'"}',
        b'{"id":0,"bind":"/svc"}',
    ],
)
async def test_a_line_that_is_none_ends_the_connection_with_a_reason(line: bytes) -> None:
    kept = store()
    in_force = InForce()
    linker = Linker("a", "b", 1)
    from biandou.namers.all import Namers

    sights = Sights(kept, Names(kept, Namers()))

    async def write(_lines: bytes) -> None:
        pass

    one = Session("default", sights.of("default", linker), in_force, in_force.enter("default", linker))
    with pytest.raises(ValueError, match=r"can't be read|number|version"):
        await one.run(Lines(b'{"id":0,"addr":"/$/inet/127.0.0.1/7"}', b"", line), write)
    assert not kept.watch("default").observed


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/1/follow/default", b"400"),
        ("/api/1/follow/default?token=a&host=b&pid=x", b"400"),
        ("/api/1/follow/default?token=a&host=b&pid=-1", b"400"),
        ("/api/1/follow/~canary~default?token=a&host=b&pid=1", b"404"),
        ("/api/1/follow/?token=a&host=b&pid=1", b"404"),
    ],
)
async def test_who_does_not_say_who_it_is_is_refused(target: str, status: bytes) -> None:
    async with Namerd(store()) as namerd:
        head = f"POST {target} HTTP/1.1\r\nHost: namerd\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert (await exchange("127.0.0.1", namerd.port, head)).startswith(b"HTTP/1.1 " + status)
