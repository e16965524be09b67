"""`io.l5d.mesh`: a namerd on loopback binds; it changes, goes, comes back, and is one of several."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

import pytest

from biandou.clients.namerd_addresses import NamerdRetry
from biandou.clients.tls import ClientTls
from biandou.dtab import FAIL, NEG, Dtab, Leaf, NameTree, Path, Union
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound
from biandou.dtab.explain import to_json
from biandou.dtab.mesh_replicas import encode_replicas
from biandou.dtab.protobuf import bytes_field
from biandou.interpreters.interface import Interpreter, ReportingInterpreter
from biandou.interpreters.mesh import MeshInterpreterKind
from biandou.live import Failed, Live, Ok, Pending, Source, State
from biandou.namerd.interfaces.mesh import MeshApi, MeshRefusal, Status
from biandou.namerd.interfaces.mesh_server import MeshServer
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStore
from biandou.telemeters.registry import ScopeRegistry
from biandou.testing.observing import Observed

WEB = Path.read("/svc/web")
TREES = "/io.linkerd.mesh.Interpreter/StreamBoundTree"
REPLICAS = "/io.linkerd.mesh.Resolver/StreamReplicas"
REPORT = "/biandou.mesh.Reports/Report"


class Namerd:
    """A namerd's mesh interface in this process, which can be stopped and started at its port.

    `streams` are answered in the place of its own; `asked` has the methods of all streams that were opened, and
    `first_asked` when each name was asked for first. Whether it tells all that a linker watches in one stream, as
    Linkerd's does not, says `together`.
    """

    together = True

    def __init__(
        self, store: InMemoryStore, streams: Mapping[str, Live[bytes]] | None = None, reports: bool = True
    ) -> None:
        self.store = store
        self.asked: list[str] = []
        self.first_asked: dict[bytes, float] = {}
        self.port = 0
        self.reports = Reports()
        self.api = MeshApi(store, Names(store, Namers()), self.reports)
        own = {method: self._noting(method, follow) for method, follow in self.api.streams.items()}
        others = {method: self._noting(method, lambda _, live=live: live) for method, live in (streams or {}).items()}  # type: ignore[misc]  # a default is not seen
        self.api.streams = own | others
        self.api.watched = {2: self.api.streams[TREES], 3: self.api.streams[REPLICAS]} if self.together else {}
        if not reports:
            self.api.unary = {method: answer for method, answer in self.api.unary.items() if method != REPORT}
        self._close: Callable[[], Awaitable[None]] | None = None

    def _noting(self, method: str, follow: Callable[[bytes], Live[bytes]]) -> Callable[[bytes], Live[bytes]]:
        def noted(request: bytes) -> Live[bytes]:
            self.asked.append(method)
            if method == TREES:
                self.first_asked.setdefault(request, time.monotonic())
            return follow(request)

        return noted

    async def start(self) -> None:
        server = MeshServer(self.api, ScopeRegistry(("mesh",)))
        self.port, self._close = await server.start("127.0.0.1", self.port, None)

    async def stop(self) -> None:
        if self._close is not None:
            await self._close()
            self._close = None

    async def __aenter__(self) -> Namerd:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()


@pytest.fixture(autouse=True, params=["ours", "Linkerd's"])
def _whose(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Namerd, "together", request.param == "ours")


def store(text: str = "/svc => /$/inet/127.0.0.1/7") -> InMemoryStore:
    return InMemoryStore({"default": Dtab.read(text)})


def interpreter(*namerds: Namerd, base: Live[Dtab] | None = None, root: str = "/default") -> Interpreter:
    """Give the interpreter of a linker whose `dst` leads to these namerds."""
    alternatives = " & ".join(f"1*/$/inet/127.0.0.1/{namerd.port}" for namerd in namerds)

    class Found:
        def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
            if path == Path.read("/#/namerd"):
                return Live.ok(NameTree.read(alternatives))
            return Namers().lookup(path)

    kind = MeshInterpreterKind(dst="/#/namerd", root=root, retry=NamerdRetry(base_seconds=1, max_seconds=1))
    return kind.interpreter(base or Live.ok(Dtab()), Found())


def connections(port: int) -> int:
    """Give how many connections a port has that are established (proc(5), `net/tcp`)."""
    tables = [FilePath(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    entries = [line.split() for table in tables for line in table]
    return sum(1 for entry in entries if entry[1].endswith(f":{port:04X}") and entry[3] == "01")


def leaf(port: int) -> Callable[[State[NameTree[Bound]]], bool]:
    def is_it(state: State[NameTree[Bound]]) -> bool:
        return (
            isinstance(state, Ok)
            and isinstance(state.value, Leaf)
            and str(state.value.value.id) == f"/$/inet/127.0.0.1/{port}"
        )

    return is_it


def bound_of(state: State[NameTree[Bound]]) -> Bound:
    assert isinstance(state, Ok)
    assert isinstance(state.value, Leaf)
    bound: Bound = state.value.value
    return bound


@contextlib.asynccontextmanager
async def resolved(addresses: Live[Any]) -> AsyncIterator[Observed[Any]]:
    with Observed(addresses) as found:
        await found.until(lambda state: not isinstance(state, Pending))
        yield found


async def test_a_name_is_bound_by_namerd_and_again_when_its_dtab_changes() -> None:
    async with Namerd(store()) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            bound = bound_of(await name.until(leaf(7)))
            assert str(bound.residual) == "/web"
            async with resolved(bound.addresses) as addresses:
                assert addresses.now == Ok(AddressSet((Address("127.0.0.1", 7),)))
            await namerd.store.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            await name.until(leaf(8))
            await namerd.store.put("default", Dtab.read("/svc => 3 * /$/inet/127.0.0.1/8 & 1 * /$/inet/127.0.0.1/9"))
            state = await name.until(lambda state: isinstance(state, Ok) and isinstance(state.value, Union))
            assert isinstance(state, Ok)
            assert isinstance(state.value, Union)
            assert [branch.weight for branch in state.value.branches] == [3.0, 1.0]
            await namerd.store.put("default", Dtab.read("/svc => !"))
            await name.until(lambda state: state == Ok(FAIL))
            await namerd.store.delete("default")
            await name.until(lambda state: state == Ok(NEG))


async def test_the_routers_own_dtab_and_the_requests_go_along() -> None:
    base: Source[Dtab] = Source(Ok(Dtab.read("/svc => /$/inet/127.0.0.1/8")))
    async with Namerd(store()) as namerd:
        ours = interpreter(namerd, base=base)
        with Observed(ours.bind(Dtab(), WEB)) as name:
            await name.until(leaf(8))
            base.set(Dtab())
            await name.until(leaf(7))
        with Observed(ours.bind(Dtab.read("/svc => /$/inet/127.0.0.1/9"), WEB)) as name:
            await name.until(leaf(9))


async def test_what_was_told_last_holds_while_namerd_is_away_and_is_mended_when_it_is_back() -> None:
    async with Namerd(store()) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            await name.until(leaf(7))
            await namerd.stop()
            await asyncio.sleep(0.3)
            assert leaf(7)(name.now)
            await namerd.store.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            await namerd.start()
            await name.until(leaf(8), 10)


async def test_a_namerd_that_comes_back_with_nothing_new_changes_nothing() -> None:
    """The engine is told of changes alone, and so is nothing bound anew."""
    states: list[State[Addresses]] = [
        Ok(AddressSet(tuple(Address("127.0.0.1", port) for port in ports))) for ports in ((7, 8), (8, 7))
    ]
    told = Source(Ok(encode_replicas(states[0])))
    async with Namerd(store(), {REPLICAS: told}) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            bound = bound_of(await name.until(leaf(7)))
            async with resolved(bound.addresses) as addresses:
                before = list(name.states), list(addresses.states)
                await namerd.stop()
                namerd.asked.clear()
                # Another namerd may know the same endpoints in another order.
                told.set(encode_replicas(states[1]))
                await namerd.start()
                async with asyncio.timeout(10):
                    while len(namerd.asked) < 2:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                assert (name.states, addresses.states) == before


async def test_linkers_come_back_each_at_a_moment_of_its_own() -> None:
    async with Namerd(store()) as namerd:
        with contextlib.ExitStack() as stack:
            # A name of its own tells a linker from the others: any of them may ask more than once.
            paths = [Path.of("svc", f"w{at}") for at in range(24)]
            names = [stack.enter_context(Observed(interpreter(namerd).bind(Dtab(), path))) for path in paths]
            for name in names:
                await name.until(leaf(7))
            assert len(namerd.first_asked) == len(names)
            await namerd.stop()
            namerd.first_asked.clear()
            await namerd.start()
            async with asyncio.timeout(10):
                while len(namerd.first_asked) < len(names):
                    await asyncio.sleep(0.01)
            moments = namerd.first_asked.values()
            assert max(moments) - min(moments) > 0.2


async def test_all_names_of_a_linker_share_one_connection() -> None:
    async with Namerd(store()) as namerd:
        ours = interpreter(namerd)
        with contextlib.ExitStack() as stack:
            names = [stack.enter_context(Observed(ours.bind(Dtab(), Path.of("svc", f"w{at}")))) for at in range(20)]
            for name in names:
                await name.until(leaf(7))
            assert connections(namerd.port) == 1


async def test_a_connection_that_nobody_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from biandou.clients import mesh

    monkeypatch.setattr(mesh, "IDLE_SECONDS", 0.1)
    async with Namerd(store()) as namerd:
        ours = interpreter(namerd)
        for _ in range(2):
            with Observed(ours.bind(Dtab(), WEB)) as name:
                await name.until(leaf(7))
                await asyncio.sleep(0.2)
                assert connections(namerd.port) == 1
            async with asyncio.timeout(5):
                while connections(namerd.port):
                    # A cancelled call is in a cycle with its exception, and holds its connection as long.
                    gc.collect()
                    await asyncio.sleep(0.05)


async def test_a_name_that_was_never_told_waits_for_namerd() -> None:
    async with Namerd(store()) as namerd:
        await namerd.stop()
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            await asyncio.sleep(0.3)
            assert isinstance(name.now, Pending)
            await namerd.start()
            await name.until(leaf(7), 10)


async def test_when_one_namerd_goes_another_takes_over() -> None:
    shared = store()
    async with Namerd(shared) as one, Namerd(shared) as other:
        with Observed(interpreter(one, other).bind(Dtab(), WEB)) as name:
            await name.until(leaf(7))
            first, second = (one, other) if one.asked else (other, one)
            assert not second.asked
            await first.stop()
            await shared.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            await name.until(leaf(8), 10)
            assert second.asked


async def test_a_name_that_namerd_cannot_bind_fails_with_its_reason() -> None:
    async with Namerd(store("/svc => /svc")) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            state = await name.until(lambda state: isinstance(state, Failed))
            assert isinstance(state, Failed)
            assert str(state.error) == "namerd: Max recursion level: 100 reached in Namer lookup"
            await namerd.store.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            await name.until(leaf(8), 10)


@pytest.mark.parametrize("message", ["ff", "0a00", "0a0430", "0a0432020a00", "0a0430010a00", "00"])
async def test_what_cannot_be_read_changes_nothing_that_is_known(message: str) -> None:
    told: Source[bytes] = Source(Ok(bytes_field(1, bytes_field(2, b""))))
    async with Namerd(store(), {TREES: told}) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            await name.until(lambda state: state == Ok(FAIL))
            told.set(bytes.fromhex(message))
            await asyncio.sleep(0.1)
            assert name.now == Ok(FAIL)
            told.set(bytes_field(1, bytes_field(1, b"")))
            await name.until(lambda state: state == Ok(NEG), 10)


async def test_a_message_without_a_tree_and_a_pending_one_are_passed_over() -> None:
    """A namerd that has just begun may know nothing yet; its linkers go on with what they know."""
    trees: Source[bytes] = Source(Ok(bytes_field(1, bytes_field(6, bytes_field(1, bytes_field(1, b"x"))))))
    replicas = Source(Ok(encode_replicas(Ok(AddressSet((Address("127.0.0.1", 7),))))))
    async with Namerd(store(), {TREES: trees, REPLICAS: replicas}) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            bound = bound_of(await name.until(lambda state: isinstance(state, Ok)))
            async with resolved(bound.addresses) as addresses:
                trees.set(b"")
                replicas.set(bytes_field(1, b""))
                await asyncio.sleep(0.1)
                replicas.set(encode_replicas(Failed(MeshRefusal(Status.INTERNAL, "no"))))
                await asyncio.sleep(0.1)
                assert (len(name.states), len(addresses.states)) == (2, 2), (name.states, addresses.states)


async def test_a_stream_is_closed_when_nobody_looks_any_more() -> None:
    async with Namerd(store()) as namerd:
        web = namerd.store.watch("default")
        with Observed(interpreter(namerd).bind(Dtab(), WEB)) as name:
            await name.until(leaf(7))
            assert web.observed
        async with asyncio.timeout(5):
            while web.observed:
                await asyncio.sleep(0.01)


async def test_delegations_are_those_of_namerd() -> None:
    async with Namerd(store("/svc => /host | /other ; /host => ~ ; /other => /$/inet/127.0.0.1/7")) as namerd:
        ours = interpreter(namerd).delegate(Dtab.read("/x => /y"), WEB)
        theirs = Names(namerd.store, Namers()).delegate("default", Dtab.read("/x => /y"), WEB)
        with Observed(ours) as told, Observed(theirs) as known:
            state = await told.until(lambda state: not isinstance(state, Pending))
            assert isinstance(state, Ok)
            assert isinstance(known.now, Ok)
            assert to_json(state.value, lambda _: None) == to_json(known.now.value, lambda _: None)


async def test_reports_go_to_every_namerd_and_one_that_does_not_know_them_is_left_alone() -> None:
    async with Namerd(store()) as one, Namerd(store()) as other, Namerd(store(), reports=False) as linkerds:
        one.reports.want("default", ["/#/x"])
        ours = interpreter(one, other, linkerds)
        assert isinstance(ours, ReportingInterpreter)
        document = json.dumps({"process": "p", "clients": {}}).encode()
        for _ in range(2):
            answers = await ours.report(document)
            assert sorted(answer["clients"] for answer in answers) == [[], ["/#/x"]]
        assert [namerd.reports.reporting("default") for namerd in (one, other)] == [1, 1]
        linkerds.api.unary = {**linkerds.api.unary, REPORT: one.api.unary[REPORT]}
        assert len(await ours.report(document)) == 2
        assert await ours.report(b"nonsense") == []


def test_mistakes_are_refused() -> None:
    dst = "/$/inet/1/2"
    with pytest.raises(ValueError, match="dst says which namerd"):
        MeshInterpreterKind(dst="/")
    with pytest.raises(ValueError, match="it has one element: /default, and not /a/b"):
        MeshInterpreterKind(dst=dst, root="/a/b")
    with pytest.raises(ValueError, match="disableValidation is not possible"):
        MeshInterpreterKind(dst=dst, tls=ClientTls(disable_validation=True))
    with pytest.raises(ValueError, match="protocols cannot be chosen"):
        MeshInterpreterKind(dst=dst, tls=ClientTls(common_name="x", protocols=("TLSv1.2",)))


def test_the_list_of_kinds_loads_no_grpc() -> None:
    code = (
        "import sys, biandou.standard, biandou.config.namerd, biandou.namerd.process; assert 'grpc' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
