"""Plugins are run in order and within their time; whatever they do, the engine gets advice."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from biandou.boundary import (
    Advice,
    Answered,
    Cancel,
    Classified,
    Consult,
    GoOn,
    NamedPath,
    NotNamed,
    OwnReply,
    PluginFailed,
)
from biandou.classifiers.interface import Classify, PythonClassifierKind, ResponseClass
from biandou.config.router import HttpRouter, Plugins
from biandou.config.service import GlobalService
from biandou.dtab import Path
from biandou.errors import ConfigError
from biandou.filters.interface import Filter, FilterKind, Pass, Reply
from biandou.identifiers.interface import Identify, PythonIdentifierKind
from biandou.linker.request_plugins import RequestPlugins, RouterPlugins
from biandou.requests import Headers, PluginRequest, PluginResponse

RUNS: dict[str, Callable[..., Any]] = {}
"""What the kinds below run, by name: a kind's configuration holds plain values only."""


class AFilter(FilterKind, frozen=True, kw_only=True, tag="test.filter"):
    run: str

    def make(self) -> Filter:
        return RUNS[self.run]


class AnIdentifier(PythonIdentifierKind, frozen=True, kw_only=True, tag="test.identifier"):
    run: str

    def make(self) -> Identify:
        return RUNS[self.run]


class AClassifier(PythonClassifierKind, frozen=True, kw_only=True, tag="test.classifier"):
    run: str

    def make(self) -> Classify:
        return RUNS[self.run]


class Engine:
    def __init__(self) -> None:
        self.advice: dict[int, Advice] = {}
        self.refuse = False

    def advise(self, ticket: int, advice: Advice) -> None:
        if self.refuse and not isinstance(advice, PluginFailed):
            raise ValueError("not a letter")
        self.advice[ticket] = advice


@pytest.fixture(autouse=True)
def _forget() -> None:
    RUNS.clear()


def router(
    *filters: str, identifiers: tuple[str, ...] = (), classifier: str = "", timeout_ms: int = 5000
) -> HttpRouter:
    service = GlobalService(response_classifier=AClassifier(run=classifier)) if classifier else GlobalService()
    return HttpRouter(
        filters=tuple(AFilter(run=name) for name in filters),
        identifier=tuple(AnIdentifier(run=name) for name in identifiers),
        service=service,
        plugins=Plugins(timeout_ms=timeout_ms),
    )


REQUEST = PluginRequest("http", "GET", "/a?b", Headers((("Host", "web"), ("X-A", "1"))), "127.0.0.1:5", "127.0.0.1:4")


async def advice_on(router: HttpRouter) -> Advice:
    plugins = RouterPlugins(router)
    try:
        return await plugins.advise(REQUEST)
    finally:
        plugins.close()


async def test_each_filter_sees_what_the_ones_before_it_changed_and_the_engine_gets_the_sum() -> None:
    seen: list[PluginRequest] = []

    def first(request: PluginRequest) -> Pass:
        return Pass(set=(("X-B", "1"), ("X-C", "1")), remove=("x-a",))

    async def second(request: PluginRequest) -> Pass:
        seen.append(request)
        return Pass(set=(("X-C", "2"),), remove=("X-B",))

    def third(request: PluginRequest) -> Pass:
        seen.append(request)
        return Pass()

    RUNS.update(first=first, second=second, third=third)
    advice = await advice_on(router("first", "second", "third"))
    assert [one.headers.fields for one in seen] == [
        (("Host", "web"), ("X-B", "1"), ("X-C", "1")),
        (("Host", "web"), ("X-C", "2")),
    ]
    assert advice == GoOn(remove=["x-a", "x-b", "x-c"], add=[("X-C", "2")])


async def test_a_reply_ends_it() -> None:
    ran: list[str] = []
    RUNS.update(reply=lambda _: Reply(401, (("A", "b"),), b"\xff"), later=lambda _: ran.append("later"))
    advice = await advice_on(router("reply", "later", identifiers=("later",)))
    assert advice == OwnReply(status=401, headers=[("A", "b")], body="\xff")
    assert not ran


async def test_identifiers_are_asked_up_to_the_first_that_gives_a_name() -> None:
    RUNS.update(none=lambda _: None, name=lambda _: Path.of("acme", "web"), never=lambda _: 1 / 0)
    advice = await advice_on(router(identifiers=("none", "name", "never")))
    assert advice == GoOn(names=[NotNamed(reason="test.identifier has no name for it"), NamedPath(path="/acme/web")])
    RUNS["name"] = lambda _: Path(())
    assert await advice_on(router(identifiers=("name",))) == GoOn(names=[NamedPath(path="")])


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda _: 1 / 0, "failed"),
        (lambda _: "Pass", "failed"),
        (lambda _: Pass(set=((b"X", "1"),)), "failed"),  # type: ignore[arg-type]  # what a plugin may do wrong
        (lambda _: threading.Event().wait(0.5), "took longer than 50 ms"),
    ],
)
async def test_what_fails_is_told_by_its_kind_and_nothing_more(
    made: Callable[..., Any], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    RUNS.update(good=lambda _: Pass(), bad=made)
    with caplog.at_level(logging.ERROR):
        advice = await advice_on(router("good", "bad", timeout_ms=50))
    assert advice == PluginFailed(message=f"the plugin test.filter {what}")
    assert len(caplog.records) == 1


async def test_failures_are_logged_at_most_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    RUNS["bad"] = lambda _: 1 / 0
    plugins = RouterPlugins(router("bad"))
    for _ in range(20):
        assert isinstance(await plugins.advise(REQUEST), PluginFailed)
    assert len(caplog.records) == 1
    plugins.close()


@pytest.mark.parametrize("found", list(ResponseClass))
async def test_a_classifier_is_called_by_its_number(found: ResponseClass) -> None:
    seen: list[tuple[PluginRequest, PluginResponse]] = []

    async def classify(request: PluginRequest, response: PluginResponse) -> ResponseClass:
        seen.append((request, response))
        return found

    RUNS["classify"] = classify
    configured = router(classifier="classify")
    assert not configured.shows_requests
    plugins = RouterPlugins(configured)
    response = PluginResponse(503, Headers((("A", "b"),)))
    (kind,) = configured.python_classifiers
    assert await plugins.classify(kind.number, REQUEST, response) == Classified(class_=found.value)
    assert seen == [(REQUEST, response)]
    assert isinstance(await plugins.classify(kind.number + 1, REQUEST, response), PluginFailed)
    RUNS["classify"] = lambda *_: True
    again = RouterPlugins(configured)
    assert isinstance(await again.classify(kind.number, REQUEST, response), PluginFailed)


def test_a_classifier_has_the_same_number_as_long_as_its_keys_are_the_same() -> None:
    assert AClassifier(run="a").number == AClassifier(run="a").number != AClassifier(run="b").number


def consult(ticket: int, answered: Answered | None = None) -> Consult:
    headers = list(REQUEST.headers.fields)
    return Consult(
        ticket=ticket,
        router="http",
        method="GET",
        target="/a?b",
        headers=headers,
        peer="127.0.0.1:5",
        local="127.0.0.1:4",
        answered=answered,
    )


async def settled(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_letters_are_answered_by_their_ticket_and_one_taken_back_is_stopped() -> None:
    stopped = asyncio.Event()

    async def slow(_: PluginRequest) -> Pass:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return Pass()

    async def fast(_: PluginRequest, __: PluginResponse) -> ResponseClass:
        return ResponseClass.SUCCESS

    RUNS.update(slow=slow, fast=fast)
    engine, configured = Engine(), router("slow", classifier="fast")
    plugins = RequestPlugins([configured], engine)
    plugins.take(consult(1))
    plugins.take(consult(2, Answered(configured.python_classifiers[0].number, 200, [])))
    await settled()
    assert engine.advice == {2: Classified(class_="success")}
    plugins.take(Cancel(ticket=1))
    plugins.take(Cancel(ticket=7))
    await asyncio.wait_for(stopped.wait(), 5)
    await settled()
    assert engine.advice.keys() == {2}


async def test_a_router_without_plugins_any_more_and_advice_that_cannot_be_written_are_failures() -> None:
    async def passes(_: PluginRequest) -> Pass:
        return Pass()

    RUNS["passes"] = passes
    engine = Engine()
    plugins = RequestPlugins([router("passes")], engine)
    engine.refuse = True
    plugins.take(consult(1))
    await settled()
    assert isinstance(engine.advice[1], PluginFailed)
    plugins.replan({})
    plugins.take(consult(2))
    assert engine.advice[2] == PluginFailed(message="http has no plugins any more")


def test_what_cannot_be_made_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"test\.filter can't be made"):
        RouterPlugins(router("missing"))
    RUNS["number"] = 1  # type: ignore[assignment]  # what a plugin may do wrong
    with pytest.raises(ConfigError, match=r"test\.filter can't be called"):
        RouterPlugins(router("number"))
