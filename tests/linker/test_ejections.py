"""What the engine has found to fail reaches the namers that judge by health, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from biandou.boundary import ClientView, EndpointView
from biandou.dtab import Path
from biandou.linker import ejections
from biandou.linker.ejections import Ejections, ejected, names
from biandou.live import Live
from biandou.namers.system import SystemNamer


def client(name: str, *states: str, router: str = "http") -> ClientView:
    endpoints = [EndpointView(address=f"10.0.0.1:{n}", weight=1.0, pending=0, state=s) for n, s in enumerate(states)]
    return ClientView(router=router, client=name, state="bound", balancer="p2c", panic=False, endpoints=endpoints)


class Minding:
    """A namer that minds."""

    prefix = Path.read("/#/minding")

    def __init__(self) -> None:
        self.taken: list[Mapping[str, int]] = []
        self.judging = True

    def lookup(self, path: Path) -> Live[object]:
        raise AssertionError("nobody asks")

    def take_ejected(self, ejected: Mapping[str, int]) -> None:
        self.taken.append(ejected)


def test_what_fails_is_counted_by_the_router_that_saw_most() -> None:
    assert ejected(
        [
            client("/#/a/web", "in use", "ejected", "probing", "spared", "busy", "warming up", "on probation"),
            client("/#/a/web", "ejected", "in use", router="other"),
            client("/#/b/web", "in use"),
            client("/%/io.l5d.port/5/#/c/web", "ejected"),
        ]
    ) == {"/#/a/web": 3, "/#/c/web": 1, "/%/io.l5d.port/5/#/c/web": 1}


def test_a_name_is_known_with_and_without_what_transformers_put_in_front() -> None:
    assert names("/%/a/%/b/x/$/inet/127.1/4140") == [
        "/%/a/%/b/x/$/inet/127.1/4140",
        "/%/b/x/$/inet/127.1/4140",
        "/$/inet/127.1/4140",
    ]
    assert names("/%/x") == ["/%/x"]
    assert names("/#/a/%/b/#/c") == ["/#/a/%/b/#/c"]


async def test_namers_that_mind_are_told_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ejections, "LEAST_SECONDS", 0.01)
    asked = 0

    def read() -> list[ClientView]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ValueError("the engine is odd")
        return [client("/#/a/web", "ejected")]

    namer = Minding()
    telling = Ejections(read, [SystemNamer(), namer])
    async with asyncio.timeout(5):
        while len(namer.taken) < 2:
            await asyncio.sleep(0.01)
    assert namer.taken[0] == {"/#/a/web": 1}
    namer.judging = False
    await asyncio.sleep(0.05)
    before = asked
    await asyncio.sleep(0.05)
    assert asked == before, "nothing is judged"
    namer.judging = True
    telling.replan([SystemNamer()])
    before = asked
    await asyncio.sleep(0.05)
    assert asked == before, "nobody minds any more"
