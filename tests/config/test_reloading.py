"""Reloads: one at a time, once for all who ask, and what keeps one from happening is in the log."""

from __future__ import annotations

import asyncio

import pytest

from biandou.config.reloading import Reloading
from biandou.errors import ConfigError


class Program:
    """Has reloads that end when they are let, or fail."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = 0
        self.error: Exception | None = None
        self.let = asyncio.Event()
        self.told: list[str] = []
        self.reloading = Reloading(self._replan, lambda state: self.told.append(state.partition("\n")[0]))

    async def _replan(self) -> str:
        self.begun += 1
        self.running += 1
        assert self.running == 1
        try:
            await self.let.wait()
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return f"reload {self.begun}"


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_while_one_runs_gets_another_and_all_of_them_the_same() -> None:
    program = Program()
    program.reloading.ask()
    await settled()
    for _ in range(3):
        program.reloading.ask()
        await settled()
    assert program.begun == 1
    program.let.set()
    await settled()
    assert program.begun == 2
    assert program.told == ["RELOADING=1", "READY=1"] * 2


async def test_admin_is_answered_with_what_has_changed_after_what_runs() -> None:
    program = Program()
    program.reloading.ask()
    await settled()
    answer = asyncio.ensure_future(program.reloading.reload())
    await settled()
    assert not answer.done()
    program.let.set()
    assert await answer == "reload 2"


@pytest.mark.parametrize(("error", "traced"), [(ConfigError("no"), False), (OSError("no"), False), (KeyError(1), True)])
async def test_a_reload_that_fails_is_told_and_the_next_may_succeed(
    error: Exception, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    program = Program()
    program.let.set()
    program.error = error
    with pytest.raises(type(error)):
        await program.reloading.reload()
    program.reloading.ask()
    await settled()
    assert program.told == ["RELOADING=1", "READY=1"] * 2
    assert ["stays as it was" in record.message for record in caplog.records] == [True, True]
    assert [record.exc_info is not None for record in caplog.records] == [traced, traced]
    program.error = None
    assert await program.reloading.reload() == "reload 3"


async def test_what_waits_for_its_turn_can_be_cancelled() -> None:
    program = Program()
    running = asyncio.ensure_future(program.reloading.reload())
    await settled()
    program.reloading.ask()
    await settled()
    program.reloading.cancel()
    program.let.set()
    assert await running == "reload 1"
    await settled()
    assert program.begun == 1
