"""The routes for canaries and reports: what is refused, and with which status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from biandou.dtab import Dtab
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.message import Reply, Request
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStore

PLAN = {"path": "/svc/web", "from": "/a", "to": "/b"}


@pytest.fixture
def api() -> HttpApi:
    store = InMemoryStore({"default": Dtab.read("/svc/web=>/a")})
    return HttpApi(store, Names(store, Namers()), list)


async def ask(api: HttpApi, line: str, sent: Any = None, **more: Any) -> Reply:
    method, _, place = line.partition(" ")
    path, _, query = place.partition("?")
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    reply = await api.answer(Request(method, f"/api/1/{path}", query, body=body, **more))
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(
    "plan",
    [b"", b"[]", b"[" * 100_000, {}, {**PLAN, "path": "web"}, {**PLAN, "to": "x"}, {**PLAN, "to": "/a"},
     {**PLAN, "steps": 5}, {**PLAN, "steps": [50]}, {**PLAN, "steps": ["1", 100]}, {**PLAN, "steps": [True, 100]},
     {**PLAN, "interval": "30s"}, {**PLAN, "interval": None}, {**PLAN, "interval": 1e300},
     {**PLAN, "maxErrorRate": True}, {**PLAN, "minRequests": 1.5}, {**PLAN, "step": 1}],
)  # fmt: skip
async def test_a_plan_without_sense_gets_400_and_nothing_begins(api: HttpApi, plan: Any) -> None:
    reply = await ask(api, "POST canaries/default", plan)
    assert reply.status == 400
    assert reply.body
    assert (await ask(api, "GET canaries/default")).body == b"[]\n"


async def test_a_canary_is_started_shown_and_ended(api: HttpApi) -> None:
    reply = await ask(api, "POST canaries/default", PLAN, author="ann")
    assert reply.status == 200
    shown = json.loads(reply.body)
    assert (shown["status"], shown["weight"], shown["settled"]) == ("running", 0, False)
    assert shown["before"] == "/svc/web=>/a"
    assert json.loads((await ask(api, "GET canaries/default?path=/svc/web")).body) == shown
    assert json.loads((await ask(api, "GET canaries")).body) == {"default": [shown]}
    assert (await ask(api, "POST canaries/default", {**PLAN, "path": "/svc/x"})).status == 409
    ended = await ask(api, "PUT canaries/default?path=/svc/web", {"action": "abort"}, author="ann")
    assert (json.loads(ended.body)["status"], json.loads(ended.body)["reason"]) == ("aborted", "by ann")
    assert (await ask(api, "PUT canaries/default?path=/svc/web", {"action": "resume"})).status == 409
    assert (await ask(api, "GET dtabs")).body == b'["default"]\n'


async def test_an_old_version_that_is_not_where_the_name_leads_is_refused_with_where_it_does() -> None:
    store = InMemoryStore({"default": Dtab.read("/s=>/$/inet/127.0.0.1 ; /svc/web=>/s/1 ; /svc/half=>/s/1 & /s/2")})
    api = HttpApi(store, Names(store, Namers()), list)
    plan = {**PLAN, "to": "/s/2"}
    for old, leads in (("/s/3", "/$/inet/127.0.0.1/3"), ("/nowhere", "~")):
        reply = await ask(api, "POST canaries/default", {**plan, "from": old})
        said = f"/svc/web leads to /$/inet/127.0.0.1/1 now, and the old version to {leads}"
        assert (reply.status, reply.body.decode()) == (409, said)
    assert (await ask(api, "GET canaries/default")).body == b"[]\n"
    half = {**plan, "path": "/svc/half", "from": "/s/1"}
    assert (await ask(api, "POST canaries/default", half)).status == 200, "somebody has begun by hand"


async def test_who_may_not_gets_403_and_what_is_not_there_404(api: HttpApi) -> None:
    for method in ("POST", "PUT"):
        place = f"{method} canaries/default?path=/svc/web"
        assert (await ask(api, place, PLAN, may_change=False)).status == 403
        assert (await ask(api, place, PLAN, headers={"origin": "http://x"})).status == 403
    assert (await ask(api, "POST reports/default", PLAN, headers={"origin": "http://x"})).status == 403
    assert (await ask(api, "PUT dtabs/~canary~default", b"/a=>/b")).status == 403
    assert (await ask(api, "POST canaries/nowhere", PLAN)).status == 404
    assert (await ask(api, "GET canaries/default?path=/svc/x")).status == 404
    missing = await ask(api, "GET canaries/nowhere")
    assert (missing.status, b"nowhere" in missing.body) == (404, True)
    assert (await ask(api, "PUT canaries/default?path=/svc/x", {"action": "abort"})).status == 404
    assert (await ask(api, "POST canaries/~canary~default", PLAN)).status == 400
    assert (await ask(api, "PUT canaries/default?path=/svc/x", {"action": "explode"})).status == 400
    assert (await ask(api, "DELETE canaries/default")).status == 405
    assert (await ask(api, "GET reports/default")).status == 405
    assert (await ask(api, "POST reports/default", b"x")).status == 400
