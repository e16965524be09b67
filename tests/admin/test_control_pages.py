"""Stopping the process and changing log levels."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from biandou.admin.durations import duration_ms
from biandou.errors import ConfigError, Problem
from tests.admin.site import serving


@pytest.mark.parametrize(
    ("query", "grace"), [("", None), ("?grace=5.seconds", 5000), ("?grace=1.minute", 60_000), ("?grace=-1.seconds", 0)]
)
async def test_shutdown_stops_with_the_grace_that_was_asked_for(query: str, grace: int | None) -> None:
    stopped: list[int | None] = []
    async with serving(stop=stopped.append) as client, client.post(f"/admin/shutdown{query}") as reply:
        assert (reply.status, await reply.text()) == (200, "quitting\n")
    assert stopped == [grace]


async def test_a_grace_that_is_no_duration_stops_nothing() -> None:
    stopped: list[int | None] = []
    async with serving(stop=stopped.append) as client, client.post("/admin/shutdown?grace=soon") as reply:
        assert reply.status == 400
        assert await reply.text() == "could not parse 'grace' parameter: soon is not a valid duration"
    assert stopped == []


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (None, 200, "added server 127.0.0.1:1\n"),
        (ConfigError([Problem("no", "l.yaml", 3, 5, "routers[0].dtab")]), 400, "l.yaml:3:5: routers[0].dtab: no\n"),
        (OSError("cannot listen on 127.0.0.1:1: in use"), 409, "cannot listen on 127.0.0.1:1: in use\n"),
    ],
)
async def test_reload_says_what_changed_or_why_nothing_did(error: Exception | None, status: int, said: str) -> None:
    async def reload() -> str:
        if error is not None:
            raise error
        return "added server 127.0.0.1:1"

    async with serving(reload=reload) as client:
        async with client.get("/admin/reload") as reply:
            assert reply.status == 405
        async with client.post("/admin/reload") as reply:
            assert (reply.status, await reply.text()) == (status, said)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("5.seconds", 5000),
        ("1.second", 1000),
        ("500.milliseconds", 500),
        ("1.minutes", 60_000),
        ("1.day - 1.hour", 82_800_000),
        ("1.MINUTE+30.Seconds", 90_000),
        ("1.nanosecond", 0),
        (" 2.hours ", 7_200_000),
    ],
)
def test_durations_are_read_as_twitter_writes_them(text: str, milliseconds: int) -> None:
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 seconds",
        "5.weeks",
        "1.5.seconds",
        "5.seconds 1.minute",
        "x5.seconds",
        "5.seconds" * 100,
        "٥.seconds",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid duration"):
        duration_ms(text)


@pytest.fixture(name="logger")
def _logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("biandou.tests.admin")
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(logging.NOTSET)


async def test_levels_are_listed_by_name_root_among_them(logger: logging.Logger) -> None:
    async with serving() as client, client.get("/logging.json") as reply:
        listed = await reply.json()
    assert {"logger": logger.name, "level": "INFO"} in listed
    names = [entry["logger"] for entry in listed]
    assert names == sorted(names)
    assert "root" in names


@pytest.mark.parametrize("level", ["DEBUG", "debug", "TRACE", "OFF", "FATAL", "ALL"])
async def test_a_level_is_set_by_query_or_form(logger: logging.Logger, level: str) -> None:
    form = {"logger": logger.name, "level": level}
    shown = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(level.upper(), level.upper())
    async with serving() as client:
        for query, data in ((form, None), (None, form)):
            logger.setLevel(logging.INFO)
            async with client.post("/logging.json", params=query, data=data) as reply:
                assert (reply.status, await reply.read()) == (200, b"")
            async with client.get("/logging.json") as reply:
                assert {"logger": logger.name, "level": shown} in await reply.json()


async def test_what_is_unknown_changes_nothing_and_makes_no_logger(logger: logging.Logger) -> None:
    async with serving() as client:
        for params in ({"logger": logger.name, "level": "LOUD"}, {"logger": "biandou.no.such", "level": "DEBUG"}):
            async with client.post("/logging.json", params=params) as reply:
                assert (reply.status, await reply.read()) == (200, b"")
    assert logger.level == logging.INFO
    assert "biandou.no.such" not in logging.root.manager.loggerDict


async def test_a_logger_and_a_level_are_both_needed() -> None:
    async with serving() as client:
        for params in ({"logger": "root"}, {"level": "INFO"}, {}):
            async with client.post("/logging.json", params=params) as reply:
                assert reply.status == 400
