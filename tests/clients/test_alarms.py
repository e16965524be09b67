"""Alarms wake those who wait when they are due, with one timer."""

from __future__ import annotations

import asyncio

from biandou.clients.alarms import Alarms


class Sleeper:
    """Writes down when it was woken."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.at = 0.0

    def wake(self) -> None:
        assert not self.woken.is_set()
        self.at = asyncio.get_running_loop().time()
        self.woken.set()


async def test_each_is_woken_when_it_is_due() -> None:
    alarms = Alarms()
    began = asyncio.get_running_loop().time()
    sleepers = {seconds: Sleeper() for seconds in (0.3, 0.05, 0.15, 0.0)}
    for seconds, sleeper in sleepers.items():
        alarms.after(seconds, sleeper)
    async with asyncio.timeout(5):
        for seconds, sleeper in sleepers.items():
            await sleeper.woken.wait()
            assert seconds <= sleeper.at - began < seconds + 0.1


async def test_who_comes_later_and_is_due_sooner_is_woken_sooner() -> None:
    alarms = Alarms()
    late, soon = Sleeper(), Sleeper()
    alarms.after(5, late)
    alarms.after(0.02, soon)
    await asyncio.wait_for(soon.woken.wait(), 1)
    assert not late.woken.is_set()


async def test_who_is_woken_may_wait_again() -> None:
    alarms = Alarms()
    second = Sleeper()

    class Again(Sleeper):
        def wake(self) -> None:
            alarms.after(0.01, second)

    alarms.after(0.01, Again())
    await asyncio.wait_for(second.woken.wait(), 1)
