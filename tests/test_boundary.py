"""The door: letters come in by the bell, and one that can't be handled costs nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import msgspec
import pytest

from biandou.boundary import (
    Answer,
    Ask,
    Asked,
    BindFailure,
    Drained,
    EngineDoor,
    NegativeTree,
    Note,
    Release,
    Serving,
    encode,
)
from biandou.config.plan import Plan, RouterPlan, ServerPlan
from biandou.testing.compiled_engine import CompiledEngine, compiled_engines


@pytest.fixture
def compiled() -> Iterator[list[CompiledEngine]]:
    """The engines that doors make, in place of compiled ones."""
    with compiled_engines() as made:
        yield made


PLAN = Plan(
    workers=1,
    routers=[
        RouterPlan(
            label="http",
            protocol="http",
            dst_prefix="/svc",
            identifiers=[],
            servers=[ServerPlan(ip="127.0.0.1", port=4140)],
        )
    ],
)


def ask(ticket: int) -> Ask:
    return Ask(ticket=ticket, router="http", path="/svc/web", dtab=[])


async def test_asks_and_releases_are_handed_over_in_order(compiled: list[CompiledEngine]) -> None:
    door = EngineDoor(PLAN)
    taken: list[Asked] = []
    assert door.start(taken.append) == [Serving("http", "127.0.0.1", 4140)]
    compiled[0].post(ask(1), Release(ticket=1))
    compiled[0].post(ask(2))
    await asyncio.sleep(0.02)
    assert taken == [ask(1), Release(ticket=1), ask(2)]
    door.answer(2, Answer(outcome=NegativeTree()))
    assert compiled[0].answers == [(2, Answer(outcome=NegativeTree()))]
    door.close()


async def test_an_ask_that_can_not_be_handled_is_answered_and_the_next_one_is_handled(
    compiled: list[CompiledEngine], caplog: pytest.LogCaptureFixture
) -> None:
    door = EngineDoor(PLAN)
    taken: list[Asked] = []

    def take(letter: Asked) -> None:
        if letter.ticket == 1:
            raise RuntimeError("a defect")
        taken.append(letter)

    door.start(take)
    compiled[0].post(ask(1), ask(2))
    await asyncio.sleep(0.02)
    assert taken == [ask(2)]
    assert compiled[0].answers == [(1, Answer(outcome=BindFailure(message="RuntimeError: a defect")))]
    assert "cannot handle the engine's letter Ask" in caplog.text
    door.close()


async def test_not_even_an_error_that_is_no_text_costs_the_next_letter(compiled: list[CompiledEngine]) -> None:
    door = EngineDoor(PLAN)
    taken: list[Asked] = []

    def take(letter: Asked) -> None:
        if letter.ticket == 1:
            raise RuntimeError("disco/\udcff")
        taken.append(letter)

    door.start(take)
    compiled[0].post(ask(1), ask(2))
    await asyncio.sleep(0.02)
    assert taken == [ask(2)]
    assert compiled[0].answers == [(1, Answer(outcome=BindFailure(message="RuntimeError: disco/\\udcff")))]
    door.close()


async def test_a_note_goes_to_the_log_with_its_level_and_room(
    compiled: list[CompiledEngine], caplog: pytest.LogCaptureFixture
) -> None:
    door = EngineDoor(PLAN)
    door.start(lambda _letter: None)
    with caplog.at_level(logging.INFO, "biandou"):
        compiled[0].post(Note(level="warning", room="resolution", message="an endpoint is dead"))
        await asyncio.sleep(0.02)
    [record] = [record for record in caplog.records if record.message == "an endpoint is dead"]
    assert (record.levelname, vars(record)["room"]) == ("WARNING", "resolution")
    door.close()


async def test_the_end_of_the_drain_is_told(compiled: list[CompiledEngine]) -> None:
    door = EngineDoor(PLAN)
    door.start(lambda _letter: None)
    compiled[0].post(Drained(unfinished=3))
    assert (await asyncio.wait_for(door.drained, 1)).unfinished == 3
    door.close()


def test_letters_are_small_maps_of_snake_case_names() -> None:
    assert msgspec.msgpack.decode(encode(ask(7))) == {
        "type": "ask",
        "ticket": 7,
        "router": "http",
        "path": "/svc/web",
        "dtab": [],
    }
