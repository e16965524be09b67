"""`io.l5d.namerd.http`: a namerd on loopback binds; it changes, goes, comes back, and is one of several."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

import pytest

from biandou.clients.namerd_addresses import NamerdRetry
from biandou.config.namerd import AccessToken
from biandou.dtab import FAIL, NEG, Dtab, Leaf, NameTree, Path, Union
from biandou.dtab.bound import AddressSet, Bound, Negative
from biandou.dtab.explain import to_json
from biandou.interpreters.interface import Interpreter
from biandou.interpreters.namerd_http import NamerdHttpInterpreter, NamerdHttpInterpreterKind
from biandou.live import Failed, Live, Ok, Pending, Source, State
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.http_server import Doorkeeper, HttpServer
from biandou.namerd.interfaces.message import Answer, Request
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStore
from biandou.telemeters.registry import ScopeRegistry
from biandou.testing.observing import Observed

Answering = Callable[[Request], Awaitable[Answer]]


class Namerd:
    """A namerd's HTTP API in this process, which can be stopped and started at its port."""

    def __init__(
        self, store: InMemoryStore, answer: Answering | None = None, tokens: Sequence[AccessToken] = ()
    ) -> None:
        self.store = store
        self._tokens = tokens
        self.asked: list[str] = []
        self.port = 0
        self._answer = answer or HttpApi(store, Names(store, Namers()), list).answer
        self._close: Callable[[], Awaitable[None]] | None = None

    async def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]

        async def answer(request: Request) -> Answer:
            self.asked.append(f"{request.path}?{request.query}")
            return await self._answer(request)

        self._close = await HttpServer(answer, Doorkeeper(self._tokens), ScopeRegistry(("http",))).start(listener, None)

    async def stop(self) -> None:
        if self._close is not None:
            await self._close()
            self._close = None

    async def __aenter__(self) -> Namerd:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()


def store(text: str = "/svc => /$/inet/127.0.0.1/7") -> InMemoryStore:
    return InMemoryStore({"default": Dtab.read(text)})


def interpreter(
    *namerds: Namerd,
    base: Live[Dtab] | None = None,
    namespace: str = "default",
    token: str | None = None,
    token_file: str | None = None,
) -> Interpreter:
    """Give the interpreter of a linker whose `dst` leads to these namerds."""
    alternatives = " & ".join(f"1*/$/inet/127.0.0.1/{namerd.port}" for namerd in namerds)

    class Found:
        def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
            if path == Path.read("/#/namerd"):
                return Live.ok(NameTree.read(alternatives))
            return Namers().lookup(path)

    # The least that can be written is a second; that would make this file slow.
    kind = NamerdHttpInterpreterKind(
        dst="/#/namerd",
        namespace=namespace,
        retry=NamerdRetry(base_seconds=1, max_seconds=1),
        token=token,
        token_file=token_file,
    )
    return kind.interpreter(base or Live.ok(Dtab()), Found())


def leaf(port: int) -> Callable[[State[NameTree[Bound]]], bool]:
    def is_it(state: State[NameTree[Bound]]) -> bool:
        return (
            isinstance(state, Ok)
            and isinstance(state.value, Leaf)
            and str(state.value.value.id) == f"/$/inet/127.0.0.1/{port}"
        )

    return is_it


async def test_a_name_is_bound_by_namerd_and_again_when_its_dtab_changes() -> None:
    async with Namerd(store()) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), Path.read("/svc/web"))) as name:
            state = await name.until(leaf(7))
            assert isinstance(state, Ok)
            assert isinstance(state.value, Leaf)
            bound = state.value.value
            assert str(bound.residual) == "/web"
            with Observed(bound.addresses) as addresses:
                found = addresses.now
                assert isinstance(found, Ok)
                assert isinstance(found.value, AddressSet)
                assert [str(address) for address in found.value.addresses] == ["127.0.0.1:7"]
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
        with Observed(ours.bind(Dtab(), Path.read("/svc/web"))) as name:
            await name.until(leaf(8))
            base.set(Dtab())
            await name.until(leaf(7))
        with Observed(ours.bind(Dtab.read("/svc => /$/inet/127.0.0.1/9"), Path.read("/svc/web"))) as name:
            await name.until(leaf(9))


async def test_what_was_told_last_holds_while_namerd_is_away_and_is_mended_when_it_is_back() -> None:
    async with Namerd(store()) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), Path.read("/svc/web"))) as name:
            await name.until(leaf(7))
            await namerd.stop()
            await asyncio.sleep(0.3)
            assert leaf(7)(name.now)
            await namerd.store.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            await namerd.start()
            await name.until(leaf(8), 10)


READER = AccessToken(name="linkers", token="open sesame", read_only=True)  # noqa: S106 - no secret


async def test_a_token_that_may_read_is_enough_for_a_linker() -> None:
    async with Namerd(store(), tokens=[READER]) as namerd:
        binder = interpreter(namerd, token=READER.token)
        with Observed(binder.bind(Dtab(), Path.read("/svc/web"))) as name:
            await name.until(leaf(7))
        assert isinstance(binder, NamerdHttpInterpreter)
        with Observed(binder.delegate(Dtab(), Path.read("/svc/web"))) as delegation:
            await delegation.until(lambda state: isinstance(state, Ok))


async def test_what_namerd_refuses_us_for_is_told_at_once_and_logged_once_and_mended_by_the_token_file(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text("guessed\n")
    async with Namerd(store(), tokens=[READER]) as namerd:
        with Observed(interpreter(namerd, token_file=str(file)).bind(Dtab(), Path.read("/svc/web"))) as name:
            failed = await name.until(lambda state: isinstance(state, Failed))
            assert isinstance(failed, Failed)
            assert str(failed.error) == "namerd: 401 this token is not known here"
            await asyncio.sleep(2.5)
            said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
            assert said == ["namerd refuses: 401 this token is not known here"]
            file.write_text(f"{READER.token}\n")
            await name.until(leaf(7))


@pytest.mark.parametrize(
    ("token", "token_file", "said"),
    [
        ("a", "b", "exclude each other"),
        ("two\nlines", None, "printable"),
        ("", None, "printable"),
        (None, "/no/such", "/no/such: No such file or directory"),
        (None, "/dev/null", "holds no token"),
    ],
)
def test_a_token_that_cannot_be_shown_is_a_mistake(token: str | None, token_file: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NamerdHttpInterpreterKind(dst="/#/namerd", token=token, token_file=token_file)


async def test_a_name_that_was_never_told_waits_for_namerd() -> None:
    async with Namerd(store()) as namerd:
        await namerd.stop()
        with Observed(interpreter(namerd).bind(Dtab(), Path.read("/svc/web"))) as name:
            await asyncio.sleep(0.3)
            assert isinstance(name.now, Pending)
            await namerd.start()
            await name.until(leaf(7), 10)


async def test_when_one_namerd_goes_another_takes_over() -> None:
    shared = store()
    async with Namerd(shared) as one, Namerd(shared) as other:
        with Observed(interpreter(one, other).bind(Dtab(), Path.read("/svc/web"))) as name:
            await name.until(leaf(7))
            first, second = (one, other) if one.asked else (other, one)
            assert not second.asked
            await first.stop()
            await shared.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            await name.until(leaf(8), 10)
            assert second.asked


async def test_a_name_that_namerd_cannot_bind_fails_with_its_reason() -> None:
    async with Namerd(store("/svc => /svc")) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), Path.read("/svc/web"))) as name:
            state = await name.until(lambda state: isinstance(state, Failed))
            assert isinstance(state, Failed)
            assert str(state.error) == "namerd: Max recursion level: 100 reached in Namer lookup"
            await namerd.store.put("default", Dtab.read("/svc => /$/inet/127.0.0.1/8"))
            await name.until(leaf(8), 10)


@pytest.mark.parametrize(
    "document",
    ["no JSON at all", "{}", "[]", '{"type":"what"}', '{"type":"leaf","bound":{"id":"x"}}', '{"type":"union"}', "1"],
)
async def test_what_cannot_be_read_changes_nothing_that_is_known(document: str) -> None:
    told: Source[bytes] = Source(Ok(b'{"type":"fail"}\n'))

    async def answer(_request: Request) -> Answer:
        from biandou.namerd.interfaces.message import Stream

        return Stream(told, "application/json")

    async with Namerd(store(), answer) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), Path.read("/svc/web"))) as name:
            await name.until(lambda state: state == Ok(FAIL))
            told.set(document.encode() + b"\n")
            await asyncio.sleep(0.1)
            assert name.now == Ok(FAIL)
            told.set(b'{"type":"neg"}\n')
            await name.until(lambda state: state == Ok(NEG), 10)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"type": "neg"}, Ok(Negative())),
        ({"type": "bound", "addrs": [], "meta": {}}, Ok(AddressSet())),
        ({"type": "bound", "addrs": []}, Ok(AddressSet())),
    ],
)
async def test_addresses_are_read(document: Any, expected: State[Any]) -> None:
    tree = {"type": "leaf", "bound": {"id": "/#/x/web", "path": "/"}}

    async def answer(request: Request) -> Answer:
        from biandou.namerd.interfaces.message import Stream

        value = document if "/addr/" in request.path else tree
        return Stream(Live.ok(json.dumps(value).encode() + b"\n"), "application/json")

    async with Namerd(store(), answer) as namerd:
        with Observed(interpreter(namerd).bind(Dtab(), Path.read("/svc/web"))) as name:
            state = await name.until(lambda state: isinstance(state, Ok))
            assert isinstance(state, Ok)
            assert isinstance(state.value, Leaf)
            with Observed(state.value.value.addresses) as addresses:
                assert await addresses.until(lambda state: not isinstance(state, Pending)) == expected
        assert "/api/1/addr/default?path=/%23/x/web&watch=true" in namerd.asked


async def test_a_stream_is_closed_when_nobody_looks_any_more() -> None:
    async with Namerd(store()) as namerd:
        web = namerd.store.watch("default")
        with Observed(interpreter(namerd).bind(Dtab(), Path.read("/svc/web"))) as name:
            await name.until(leaf(7))
            assert web.observed
        async with asyncio.timeout(5):
            while web.observed:
                await asyncio.sleep(0.01)


async def test_delegations_are_those_of_namerd() -> None:
    async with Namerd(store("/svc => /host | /other ; /host => ~ ; /other => /$/inet/127.0.0.1/7")) as namerd:
        ours = interpreter(namerd).delegate(Dtab.read("/x => /y"), Path.read("/svc/web"))
        theirs = Names(namerd.store, Namers()).delegate("default", Dtab.read("/x => /y"), Path.read("/svc/web"))
        with Observed(ours) as told, Observed(theirs) as known:
            state = await told.until(lambda state: not isinstance(state, Pending))
            assert isinstance(state, Ok)
            assert isinstance(known.now, Ok)
            assert to_json(state.value, lambda _: None) == to_json(known.now.value, lambda _: None)


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="dst says which namerd"):
        NamerdHttpInterpreterKind(dst="/")
    with pytest.raises(ValueError, match="maxSeconds must not be below baseSeconds"):
        NamerdRetry(base_seconds=5, max_seconds=4)
    with pytest.raises(ValueError, match="a namespace has a name without slashes"):
        NamerdHttpInterpreterKind(dst="/$/inet/1", namespace="a/b")


def test_waits_grow_and_differ_from_caller_to_caller() -> None:
    from biandou.clients.retry import Retry

    retry = Retry(5, 600)
    assert all(0 <= retry.wait(0) <= 1 for _ in range(100))
    assert all(2.5 <= retry.wait(1) <= 5 for _ in range(100))
    assert all(10 <= retry.wait(3) <= 20 for _ in range(100))
    assert all(300 <= retry.wait(50) <= 600 for _ in range(100))
    assert len({retry.wait(1) for _ in range(100)}) == 100
