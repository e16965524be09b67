"""Alarms wake those who wait when they are due, with one timer."""

from __future__ import annotations

import asyncio

from biandou.clients.alarms import Alarms


async def test_each_is_woken_when_it_is_due() -> None:
    alarms = Alarms()
    loop = asyncio.get_running_loop()
    began, woken = loop.time(), []

    async def wait(seconds: float) -> None:
        await alarms.after(seconds)
        woken.append((seconds, loop.time() - began))

    async with asyncio.TaskGroup() as group:
        for seconds in (0.3, 0.05, 0.15, 0.0):
            group.create_task(wait(seconds))
    assert [seconds for seconds, _ in woken] == [0.0, 0.05, 0.15, 0.3]
    assert all(seconds <= after < seconds + 0.1 for seconds, after in woken)


async def test_who_is_cancelled_holds_nobody_up() -> None:
    alarms = Alarms()
    gone = asyncio.create_task(asyncio.wait_for(alarms.after(0.02), 5))
    left = asyncio.create_task(asyncio.wait_for(alarms.after(0.05), 5))
    await asyncio.sleep(0)
    gone.cancel()
    await left
    assert gone.cancelled()


async def test_who_comes_later_and_is_due_sooner_is_woken_sooner() -> None:
    alarms = Alarms()
    late = alarms.after(5)
    async with asyncio.timeout(1):
        await alarms.after(0.02)
    assert not late.done()
    late.cancel()
