"""`/delegator.json` as reference/linker.md §7.3 has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from biandou.admin.delegator import delegator_page
from biandou.admin.page import Reply, Request
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.explain import Delegation
from biandou.dtab.wire import MAX_TEXT
from biandou.interpreters.local import LocalInterpreter
from biandou.live import Live
from biandou.namers.all import Namers
from tests.admin.site import serving

DTAB = "/beh=>/#/error;/bah/humbug=>/$/inet/127.1/8080;/foo=>/bah | /beh | /$/fail;/foo=>/bar;/boo=>/foo"

SAMPLE = """\
{"type":"delegate","path":"/boo/humbug","delegate":{
 "type":"alt","path":"/foo/humbug","dentry":{"prefix":"/boo","dst":"/foo"},"alt":[
  {"type":"neg","path":"/bar/humbug","dentry":{"prefix":"/foo","dst":"/bar"}},
  {"type":"delegate","path":"/bah/humbug","dentry":{"prefix":"/foo","dst":"/bah | /beh | /$/fail"},"delegate":{
    "type":"leaf","path":"/$/inet/127.1/8080","dentry":{"prefix":"/bah/humbug","dst":"/$/inet/127.1/8080"},
    "bound":{"addr":{"type":"bound","addrs":[{"ip":"127.0.0.1","port":8080,"meta":{}}],"meta":{}},
    "id":"/$/inet/127.1/8080","path":"/"}}},
  {"type":"delegate","path":"/beh/humbug","dentry":{"prefix":"/foo","dst":"/bah | /beh | /$/fail"},"delegate":{
    "type":"exception","path":"/#/error/humbug","dentry":{"prefix":"/beh","dst":"/#/error"},
    "message":"error naming /#/error/humbug"}},
  {"type":"fail","path":"/$/fail/humbug","dentry":{"prefix":"/foo","dst":"/bah | /beh | /$/fail"}}]}}
"""


class ErrorNamer:
    """Fails for every name below `/#/error`."""

    prefix = Path.read("/#/error")

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        return Live.failed(RuntimeError(f"error naming {self.prefix + path}"))


def delegate(namespace: str | None, dtab: Dtab, path: Path) -> Live[Delegation]:
    """Know the namespace `http`, with a namer that fails, and none, without namers."""
    if namespace not in (None, "http"):
        raise NotImplementedError("no such router")
    namers = Namers([ErrorNamer()] if namespace else [])
    return LocalInterpreter(Live.ok(Dtab()), namers).delegate(dtab, path)


async def test_the_sample_of_the_reference_in_its_order_and_without_white_space() -> None:
    expected = json.dumps(json.loads(SAMPLE), separators=(",", ":"))
    wanted = {"namespace": "http", "dtab": DTAB, "path": "/boo/humbug"}
    async with serving(delegate=delegate) as client:
        async with client.get("/delegator.json", params=wanted) as reply:
            assert (reply.status, reply.content_type, await reply.text()) == (200, "application/json", expected)
        async with client.post("/delegator.json", json=wanted) as reply:
            assert (reply.status, await reply.text()) == (200, expected)


@pytest.mark.parametrize(
    ("dtab", "expected"),
    [
        (
            "/meh=>/heh",
            {
                "type": "delegate",
                "path": "/meh",
                "delegate": {"type": "neg", "path": "/heh", "dentry": {"prefix": "/meh", "dst": "/heh"}},
            },
        ),
        (
            "/meh=>~",
            {
                "type": "delegate",
                "path": "/meh",
                "delegate": {"type": "neg", "path": "~", "dentry": {"prefix": "/meh", "dst": "~"}},
            },
        ),
        ("", {"type": "neg", "path": "/meh"}),
    ],
)
async def test_a_name_that_comes_to_nothing(dtab: str, expected: dict[str, Any]) -> None:
    async with (
        serving(delegate=delegate) as client,
        client.get("/delegator.json", params={"dtab": dtab, "path": "/meh"}) as reply,
    ):
        assert await reply.json() == expected


async def test_weights_are_shown_with_their_branches() -> None:
    async with serving(delegate=delegate) as client:
        params = {"dtab": "/a=>0.25 * /$/inet/127.1/1 & 0.75 * /$/inet/127.1/2", "path": "/a"}
        async with client.get("/delegator.json", params=params) as reply:
            shown = await reply.json()
    assert [branch["weight"] for branch in shown["union"]] == [0.25, 0.75]
    assert shown["union"][1]["tree"]["bound"]["addr"]["addrs"][0]["port"] == 2


@pytest.mark.parametrize(
    ("params", "status", "message"),
    [
        ({"dtab": "nonsense", "path": "also nonsense"}, 400, "Invalid dtab: "),
        ({"path": "nonsense"}, 400, "Invalid path: "),
        ({"dtab": "/a=>/b"}, 400, "Invalid path: null"),
        ({"path": "/a", "namespace": "nope"}, 501, "Name Interpreter for nope cannot show delegations"),
    ],
)
async def test_a_get_that_cannot_be_answered_says_why(params: dict[str, str], status: int, message: str) -> None:
    async with serving(delegate=delegate) as client, client.get("/delegator.json", params=params) as reply:
        assert reply.status == status
        assert (await reply.text()).startswith(message)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", "application/JSON2"])
async def test_a_post_is_json_and_says_so_exactly(content_type: str) -> None:
    async with (
        serving(delegate=delegate) as client,
        client.post("/delegator.json", data=b"{}", headers={"Content-Type": content_type}) as reply,
    ):
        assert reply.status == 415


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'{"path":"/a"}',
        b'{"dtab":"","path":1}',
        b'{"dtab":"x","path":"/a"}',
        b'{"dtab":"","path":"/a","namespace":1}',
        b"\xff",
        b"[" * 100_000,
    ],
)
async def test_a_post_that_makes_no_sense_is_shown_back(body: bytes) -> None:
    async with (
        serving(delegate=delegate) as client,
        client.post("/delegator.json", data=body, headers={"Content-Type": "application/json"}) as reply,
    ):
        assert reply.status == 400
        assert await reply.text() == f"Malformed delegation request: {body.decode(errors='replace')}"


async def test_other_methods_are_405() -> None:
    async with serving(delegate=delegate) as client, client.delete("/delegator.json") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET, POST")


def never(_namespace: str | None, _dtab: Dtab, _path: Path) -> Live[Delegation]:
    """Give a delegation that no namer ever answers."""
    return Live()


async def test_a_namer_that_does_not_answer_is_not_waited_for() -> None:
    page = delegator_page(never, seconds=0.05)
    reply = page.handle(Request("GET", "/delegator.json", "path=/a"))
    assert not isinstance(reply, Reply)
    answered = await reply
    assert (answered.status, answered.body) == (503, b"Request timed out.")


async def test_a_delegation_that_goes_in_circles_ends_with_an_exception_node() -> None:
    async with (
        serving(delegate=delegate) as client,
        client.get("/delegator.json", params={"dtab": "/a=>/b;/b=>/a", "path": "/a"}) as reply,
    ):
        assert reply.status == 200
        assert '"type":"exception"' in await reply.text()


@pytest.mark.parametrize(
    "dtab",
    [
        "/a=>" + "|".join(["/a/xxxxxxxx"] * 1000),
        "/a=>/a/" + "x" * 100_000,
        ";".join(["/a=>/a/x"] * 2000),
        "/a=>" + "&".join(["/a/xxxxxxxx"] * 1000),
    ],
    ids=["alternatives", "long path", "dentries", "shares"],
)
async def test_a_dtab_that_multiplies_is_answered_in_bounded_space(dtab: str) -> None:
    wanted = {"dtab": dtab, "path": "/a"}
    async with serving(delegate=delegate) as client, client.post("/delegator.json", json=wanted) as reply:
        body = await reply.read()
        assert reply.status in (200, 500)
        assert len(body) < 3 * MAX_TEXT
        if reply.status == 500:
            assert body == b"the delegation is too large to show"
