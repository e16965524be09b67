"""The routes for dtabs that some linkers try: what is refused, and with which status."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from biandou.dtab import Dtab
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStore
from tests.namerd.test_canary_routes import PLAN, ask

TERMS = {"dtab": "/svc/web=>/b", "share": 0.05}


@pytest.fixture
def api() -> HttpApi:
    store = InMemoryStore({"default": Dtab.read("/svc/web=>/a")})
    return HttpApi(store, Names(store, Namers()), list)


@pytest.mark.parametrize(
    "terms",
    [b"", b"[]", b"[" * 100_000, {}, {"dtab": "/a=>/b"}, {"share": 0.1}, {**TERMS, "dtab": "/svc/web"},
     {**TERMS, "dtab": 7}, {**TERMS, "dtab": [{"prefix": "/a"}]}, {**TERMS, "share": 0}, {**TERMS, "share": 1},
     {**TERMS, "share": "5%"}, {**TERMS, "share": True}, {**TERMS, "seconds": 0}, {**TERMS, "seconds": None},
     {**TERMS, "maxErrorRise": 2}, {**TERMS, "minRequests": 1.5}, {**TERMS, "more": 1}],
)  # fmt: skip
async def test_terms_without_sense_get_400_and_nothing_begins(api: HttpApi, terms: Any) -> None:
    reply = await ask(api, "POST rollouts/default", terms)
    assert reply.status == 400
    assert reply.body
    assert (await ask(api, "GET rollouts/default")).status == 404


async def test_a_rollout_is_started_shown_and_ended_and_the_dtab_stays(api: HttpApi) -> None:
    before = await ask(api, "GET dtabs/default")
    reply = await ask(api, "POST rollouts/default", TERMS, author="ann", headers={"l5d-message": "why"})
    assert reply.status == 200
    shown = json.loads(reply.body)
    assert (shown["phase"], shown["dtab"], shown["over"]) == ("measuring", "/svc/web=>/b", False)
    assert json.loads((await ask(api, "GET rollouts/default")).body) == shown
    told = json.loads((await ask(api, "GET in-force/default")).body)
    assert told["rollout"] == {key: value for key, value in shown.items() if key != "dtab"}
    assert (told["inForce"], told["linkers"]) == (0, [])
    assert (await ask(api, "POST rollouts/default", TERMS)).status == 409
    # One thing at a time.
    assert (await ask(api, "POST canaries/default", PLAN)).status == 409
    ended = await ask(api, "PUT rollouts/default", {"action": "abort"}, author="ann")
    assert (json.loads(ended.body)["phase"], json.loads(ended.body)["reason"]) == ("aborted", "by ann")
    assert (await ask(api, "PUT rollouts/default", {"action": "promote"})).status == 409
    assert await ask(api, "GET dtabs/default") == before
    assert (await ask(api, "POST canaries/default", PLAN)).status == 200
    assert (await ask(api, "POST rollouts/default", TERMS)).status == 409


async def test_a_list_of_entries_is_a_dtab_too(api: HttpApi) -> None:
    terms = {**TERMS, "dtab": [{"prefix": "/svc", "dst": "/c"}]}
    assert json.loads((await ask(api, "POST rollouts/default", terms)).body)["dtab"] == "/svc=>/c"


async def test_a_version_that_is_no_more_is_refused(api: HttpApi) -> None:
    stale = {"if-match": base64.b64encode(b"old").decode()}
    assert (await ask(api, "POST rollouts/default", TERMS, headers=stale)).status == 412
    version = json.loads((await ask(api, "GET in-force/default")).body)["version"]
    assert (await ask(api, "POST rollouts/default", TERMS, headers={"if-match": f'"{version}"'})).status == 200


@pytest.mark.parametrize(
    ("line", "sent", "more", "status"),
    [
        ("POST rollouts/default", TERMS, {"may_change": False}, 403),
        ("PUT rollouts/default", {"action": "abort"}, {"may_change": False}, 403),
        ("POST rollouts/default", TERMS, {"headers": {"origin": "http://x"}}, 403),
        ("POST rollouts/none", TERMS, {}, 404),
        ("POST rollouts/~rollout~default", TERMS, {}, 404),
        ("POST rollouts", TERMS, {}, 404),
        ("PUT rollouts/default", {"action": "abort"}, {}, 404),
        ("PUT rollouts/default", {"action": "pause"}, {}, 400),
        ("DELETE rollouts/default", {}, {}, 405),
        ("PUT dtabs/~rollout~default", b"/a=>/b", {"headers": {"content-type": "text/plain"}}, 403),
        ("POST in-force/default", {}, {}, 405),
        ("GET in-force/~rollout~default", None, {}, 404),
        ("GET follow/default", None, {}, 405),
        ("POST follow/default", None, {"headers": {"origin": "http://x"}}, 403),
    ],
)
async def test_what_is_refused(api: HttpApi, line: str, sent: Any, more: dict[str, Any], status: int) -> None:
    assert (await ask(api, line, sent, **more)).status == status


async def test_the_states_are_no_namespaces_of_anybodys(api: HttpApi) -> None:
    await ask(api, "POST rollouts/default", TERMS)
    assert (await ask(api, "GET dtabs")).body == b'["default"]\n'
    assert (await ask(api, "GET canaries")).body == b"{}\n"
