"""`/$/io.biandou.atLeast`: a dtab's own way to say what to do when there are too few healthy endpoints."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path as FilePath

import pytest

from biandou.config import linker
from biandou.dtab import NEG, Dtab, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound
from biandou.dtab.tree import Leaf
from biandou.interpreters.local import LocalInterpreter
from biandou.live import PENDING, Failed, Live, Ok, Source, State
from biandou.namers.at_least import AtLeastNamer
from biandou.namers.system import SystemNamer
from biandou.testing.observing import Observed
from biandou.transformers.assembly import assemble_namers

WEB = Path.read("/2/#/a/web")


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.put: list[tuple[float, object]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> FakeClock:
        self.put = [(when, callback)]
        return self

    def cancel(self) -> None:
        self.put = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when, callback in tuple(self.put):
            if when <= self.now:
                assert callable(callback)
                callback()


def some(count: int) -> AddressSet:
    return AddressSet(tuple(Address("10.0.0.1", 80 + index) for index in range(count)))


def test_with_enough_it_is_the_name_and_with_too_few_it_is_negative() -> None:
    clock = FakeClock()
    addresses: Source[Addresses] = Source(Ok(some(2)))
    tree: NameTree[Bound] = Leaf(Bound(Path.read("/#/a/web"), addresses))
    namer = AtLeastNamer(lambda path: Live.ok(tree if str(path) == "/#/a/web" else NEG), clock=lambda: clock)
    with Observed(namer.lookup(WEB)) as seen:
        assert seen.now == Ok(tree)
        addresses.set(some(1))
        assert seen.now == Ok(NEG)
        addresses.set(some(2))
        assert seen.now == Ok(NEG)
        clock.sleep(29.0)
        assert seen.now == Ok(NEG), "it has to last"
        assert namer.verdict(namer.prefix + WEB) == "/#/a/web 0% (2 of 2 healthy, back in 1 s)"
        assert list(namer.state()) == ["/2/#/a/web"]
        clock.sleep(1.0)
        assert seen.now == Ok(tree)
        namer.take_ejected({"/#/a/web": 1})
        assert seen.now == Ok(NEG)
    assert not namer.state()
    with Observed(namer.lookup(Path.read("/1/#/b/web"))) as seen:
        assert seen.now == Ok(NEG)


def test_what_is_not_known_in_time_is_left_to_the_next_alternative() -> None:
    clock = FakeClock()
    tree: Source[NameTree[Bound]] = Source()
    with Observed(AtLeastNamer(lambda _path: tree, clock=lambda: clock).lookup(WEB)) as seen:
        clock.sleep(1.9)
        assert len(seen.states) == 1
        clock.sleep(0.2)
        assert seen.states == [PENDING, Ok(NEG)]
    failing: Live[NameTree[Bound]] = Live.failed(OSError("away"))
    assert AtLeastNamer(lambda _path: failing, clock=lambda: clock).lookup(WEB).sample() == Ok(NEG)


@pytest.mark.parametrize("path", ["/", "/2"])
def test_without_a_path_behind_it_it_is_negative(path: str) -> None:
    assert SystemNamer().lookup(Path.of("io.biandou.atLeast") + Path.read(path)).sample() == Ok(NEG)


@pytest.mark.parametrize(
    ("amount", "said"), [("x", "neither a number"), ("0", "neither a number"), ("101%", "more than")]
)
def test_an_amount_that_is_none_is_said(amount: str, said: str) -> None:
    state = SystemNamer().lookup(Path.of("io.biandou.atLeast", amount, "#", "a")).sample()
    assert isinstance(state, Failed)
    assert said in str(state.error)


def clients(state: State[NameTree[Bound]]) -> list[str]:
    return [str(bound.id) for bound in state.value.leaves()] if isinstance(state, Ok) else []


async def test_a_dtab_falls_through_when_there_are_too_few(tmp_path: FilePath) -> None:
    """The text has no new grammar: a dtab tool of namerd's times reads it."""
    for region, count in (("east", 2), ("west", 1)):
        (tmp_path / region).mkdir()
        (tmp_path / region / "web").write_text("127.0.0.1 80\n127.0.0.2 80\n" if count == 2 else "127.0.0.3 80\n")
    namers = linker.parse(
        f"""
namers:
- {{kind: io.l5d.fs, prefix: /east, rootDir: {tmp_path}/east}}
- {{kind: io.l5d.fs, prefix: /west, rootDir: {tmp_path}/west}}
routers:
- protocol: http
  servers: [{{}}]
""",
        "test",
    ).namers
    dtab = Dtab.read("/svc => /$/io.biandou.atLeast/2/#/east | /$/io.biandou.atLeast/1/#/west | /$/nil ;")
    assert Dtab.read(str(dtab)) == dtab
    names = assemble_namers(namers)
    with Observed(LocalInterpreter(Live.ok(dtab), names.all).bind(Dtab(), Path.read("/svc/web"))) as seen:
        await seen.until(lambda state: clients(state) == ["/#/east/web"])
        (tmp_path / "east" / ".new").write_text("127.0.0.1 80\n")
        os.replace(tmp_path / "east" / ".new", tmp_path / "east" / "web")
        await seen.until(lambda state: clients(state) == ["/#/west/web"])
        (tmp_path / "west" / "web").unlink()
        await seen.until(lambda state: isinstance(state, Ok) and clients(state) == [])
        assert names.judging[0].prefix == Path.read("/$/io.biandou.atLeast")
    await asyncio.sleep(0)
