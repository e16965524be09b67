"""namerd's HTTP API, route by route: status codes, media types, versions, and what a caller is told of his mistakes."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import time
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import quote

import pytest

from biandou.dtab import Dtab
from biandou.errors import StoreDown, StoreForbidden
from biandou.live import PENDING, Failed, Live, Ok, Source
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.message import Conversation, Reply, Request, Stream
from biandou.namerd.names import Names
from biandou.namers.fs import FsNamerKind
from biandou.stores.in_memory import InMemoryStore
from biandou.stores.interface import NO_REMARK, Remark, Revision, Version, Versioned
from biandou.testing.observing import Observed
from biandou.transformers.assembly import assemble_namers

DTAB = "/svc=>/#/io.l5d.fs;/both=>1*/svc/a & 3*/svc/b;/no=>!;/none=>$"


class Away(InMemoryStore):
    """A store that is away: it knows what it knew, and takes no change."""

    def __init__(self, known: dict[str, Dtab] | None, error: Exception | None = None) -> None:
        super().__init__(known)
        self.trouble = "etcd: connection refused"
        self.forgotten = known is None
        self.error = error or StoreDown("etcd: connection refused")

    def watch(self, namespace: str) -> Live[Versioned | None]:
        return Source(PENDING) if self.forgotten else super().watch(namespace)

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        raise self.error

    create = put


class Kept(InMemoryStore):
    """A store that remembers remarks."""

    def __init__(self) -> None:
        super().__init__()
        self.revisions: list[Revision] = []

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        version = await super().put(namespace, dtab, remark)
        self.revisions.insert(0, Revision(version, dtab, 5.0, remark))
        return version

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        return self.revisions[:limit]


def api(store: InMemoryStore, root: FilePath | None = None) -> HttpApi:
    namers = assemble_namers([FsNamerKind(root_dir=str(root))] if root is not None else [])
    return HttpApi(store, Names(store, namers.all), lambda: ["/#/io.l5d.fs/a"])


@pytest.fixture
def http(tmp_path: FilePath) -> HttpApi:
    (tmp_path / "a").write_text("127.0.0.1 1\n")
    (tmp_path / "b").write_text("127.0.0.1 2 * 0.5\n")
    return api(InMemoryStore({"default": Dtab.read(DTAB), "empty": Dtab()}), tmp_path)


async def ask(http: HttpApi, line: str, body: str = "", **headers: str) -> Reply:
    """Send `METHOD /path?query`."""
    answer = await send(http, line, body, headers)
    assert isinstance(answer, Reply)
    return answer


async def send(
    http: HttpApi, line: str, body: str = "", headers: Mapping[str, str] | None = None, *, may_change: bool = True
) -> Reply | Stream:
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    answer = await http.answer(Request(method, f"/api/1/{path}", query, named, body.encode(), "ann", may_change))
    assert not isinstance(answer, Conversation)
    return answer


async def documents(http: HttpApi, line: str) -> Observed[Any]:
    answer = await send(http, line)
    assert isinstance(answer, Stream)
    return Observed(answer.documents)


# ── Dtabs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_namespaces_are_listed_sorted_with_a_line_end(http: HttpApi) -> None:
    for line in ("GET dtabs", "GET dtabs/", "POST dtabs"):
        assert await ask(http, line) == Reply(b'["default","empty"]\n', 200, "application/json")


@pytest.mark.parametrize(
    ("accept", "media", "body"),
    [
        ("", "application/json", b'[{"prefix":"/svc","dst":"/a | /b"}]\n'),
        ("*/*", "application/json", b'[{"prefix":"/svc","dst":"/a | /b"}]\n'),
        ("application/json;q=0.1, application/dtab", "application/json", b'[{"prefix":"/svc","dst":"/a | /b"}]\n'),
        ("text/html, application/dtab", "application/dtab", b"/svc=>/a | /b\n"),
        ("text/plain", "text/plain", b"/svc=>/a | /b\n"),
    ],
)
async def test_a_dtab_is_read_in_the_first_media_type_that_is_accepted(accept: str, media: str, body: bytes) -> None:
    http = api(InMemoryStore({"web": Dtab.read("/svc => /a | /b")}))
    reply = await ask(http, "GET dtabs/web", accept=accept)
    assert reply == Reply(body, 200, media, {"ETag": "AAAAAAAAAAE="})
    assert (await ask(http, "HEAD dtabs/web", accept=accept)).headers == {"ETag": "AAAAAAAAAAE="}


@pytest.mark.parametrize(
    ("line", "body", "headers", "status", "said"),
    [
        ("GET dtabs/nope", "", {}, 404, ""),
        ("HEAD dtabs/nope", "", {}, 404, ""),
        ("DELETE dtabs/nope", "", {}, 404, "the namespace nope does not exist"),
        ("PATCH dtabs/default", "", {}, 404, ""),
        ("GET nothing", "", {}, 404, ""),
        ("GET dtabs/a/b", "", {}, 404, ""),
        ("POST dtabs/new", "/a=>/b", {}, 400, ""),
        ("POST dtabs/new", "/a=>/b", {"content_type": "text/html"}, 400, ""),
        ("PUT dtabs/new", "/a=>/b", {"content_type": "text/html"}, 400, 'Invalid Content-Type "text/html". '),
        (
            "POST dtabs/new",
            "/a => /b ;\n/c = /d",
            {"content_type": "application/dtab"},
            400,
            "line 2, column 5: '>' expected but ' ' found at '/a => /b ;\n/c =[ ]/d'",
        ),
        (
            "PUT dtabs/new",
            '[{"prefix":"/a","dst":"/b"},{"prefix":"/a","dst":"b"}]',
            {"content_type": "application/json"},
            400,
            "[1].dst, column 1: simple expected but 'b' found at '[b]'",
        ),
        ("POST dtabs/new", "[nul", {"content_type": "application/json"}, 400, "line 1, column 2: Expecting value"),
        (
            "POST dtabs/new",
            "[null]",
            {"content_type": "application/json"},
            400,
            "The dtab contains invalid dentries: [0] is no object of the texts prefix and dst alone",
        ),
        (
            "POST dtabs/new",
            '[{"prefix":"/a","dst":"/b","x":1}]',
            {"content_type": "application/json"},
            400,
            "The dtab contains invalid dentries: [0] is no object of the texts prefix and dst alone",
        ),
        ("POST dtabs/default", "", {"content_type": "text/plain"}, 409, "the namespace default exists already"),
        (
            "PUT dtabs/default",
            "",
            {"content_type": "text/plain", "if_match": "AAAAAAAAAAI="},
            412,
            "the namespace default has another version",
        ),
        (
            "PUT dtabs/nope",
            "",
            {"content_type": "text/plain", "if_match": "AAAAAAAAAAI="},
            404,
            "the namespace nope does not exist",
        ),
        (
            "PUT dtabs/nope",
            "",
            {"content_type": "text/plain", "if_match": "*"},
            404,
            "the namespace nope does not exist",
        ),
        (
            "PUT dtabs/default",
            "",
            {"content_type": "text/plain", "if_match": "no Base64"},
            400,
            "If-Match is no version: no Base64",
        ),
        (
            "POST dtabs/a%0Ab",
            "",
            {"content_type": "text/plain"},
            400,
            "a namespace's name has no slash and nothing that cannot be printed",
        ),
        (
            "POST dtabs/new",
            "",
            {"content_type": "text/plain", "origin": "http://evil.example"},
            403,
            "this request comes from a page of a browser",
        ),
    ],
)
async def test_a_mistake_has_its_status_and_changes_nothing(
    http: HttpApi, line: str, body: str, headers: dict[str, str], *, status: int, said: str
) -> None:
    before = await ask(http, "GET dtabs"), await ask(http, "GET dtabs/default")
    reply = await ask(http, line, body, **headers)
    assert (reply.status, reply.body.decode()) == (status, said)
    assert (await ask(http, "GET dtabs"), await ask(http, "GET dtabs/default")) == before


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/dtab", "/svc => 0.3 * /a & 0.7 * /b ; # a comment\n"),
        ("text/plain;charset=utf-8", "/svc => 0.3 * /a & 0.7 * /b"),
        ("application/json", '[{"prefix":"/svc","dst":"0.3 * /a & 0.7 * /b"}]'),
    ],
)
async def test_a_namespace_lives_from_post_to_delete(http: HttpApi, media: str, body: str) -> None:
    created = await ask(http, "POST dtabs/web", body, content_type=media)
    assert (created.status, created.body) == (204, b"")
    read = await ask(http, "GET dtabs/web", accept="application/dtab")
    assert read.body == b"/svc=>0.30*/a & 0.70*/b\n" or Dtab.read(read.body.decode()) == Dtab.read(
        "/svc => 0.3 * /a & 0.7 * /b"
    )
    first = read.headers["ETag"]
    assert (await ask(http, "PUT dtabs/web", "/x=>/y", content_type="text/plain", if_match=first)).status == 204
    assert (await ask(http, "PUT dtabs/web", "/x=>/z", content_type="text/plain", if_match=first)).status == 412
    second = (await ask(http, "HEAD dtabs/web")).headers["ETag"]
    quoted = await ask(http, "PUT dtabs/web", "/x=>/z", content_type="text/plain", if_match=f'"{second}"')
    assert quoted.status == 204
    assert (await ask(http, "PUT dtabs/web", "/x=>/w", content_type="text/plain", if_match="*")).status == 204
    assert (await ask(http, "PUT dtabs/web", "/x=>/v", content_type="text/plain")).status == 204
    assert (await ask(http, "GET dtabs/web", accept="text/plain")).body == b"/x=>/v\n"
    assert (await ask(http, "DELETE dtabs/web")).status == 204
    assert (await ask(http, "GET dtabs/web")).status == 404


async def test_a_put_without_a_condition_creates(http: HttpApi) -> None:
    assert (await ask(http, "PUT dtabs/new", "/a=>/b", content_type="application/dtab")).status == 204
    assert (await ask(http, "GET dtabs/new", accept="text/plain")).body == b"/a=>/b\n"


async def test_ten_thousand_entries_are_taken_and_one_more_gets_413(http: HttpApi) -> None:
    body = ";".join(f"/n{number}=>/x" for number in range(10_000))
    assert (await ask(http, "PUT dtabs/big", body, content_type="text/plain")).status == 204
    assert (await ask(http, "PUT dtabs/big", body + ";/y=>/z", content_type="text/plain")).status == 413


@pytest.mark.parametrize("media", ["text/plain", "application/json"])
async def test_others_are_answered_while_a_long_dtab_is_read(http: HttpApi, media: str) -> None:
    dst = " | ".join(["/b"] * 300_000)
    body = f"/a=>{dst}" if media == "text/plain" else json.dumps([{"prefix": "/a", "dst": dst}])
    asked = asyncio.create_task(ask(http, "PUT dtabs/long", body, content_type=media))
    longest = 0.0
    while not asked.done():
        began = time.monotonic()
        await asyncio.sleep(0)
        longest = max(longest, time.monotonic() - began)
    assert (await asked).status == 204
    assert longest < 0.6, "reading it alone takes more than a second"


async def test_a_posted_delegation_is_bounded(http: HttpApi) -> None:
    body = json.dumps({"dtab": "/a=>/b;" * 80_000, "path": "/a"})
    assert (await ask(http, "POST delegate", body, content_type="application/json")).status == 413


async def test_a_token_that_may_only_read_changes_nothing(http: HttpApi) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = await send(http, f"{method} dtabs/default", "/a=>/b", {"content_type": "text/plain"}, may_change=False)
        assert isinstance(answer, Reply)
        assert answer.status == 403
    assert (await ask(http, "GET dtabs/default")).status == 200


async def test_a_watch_of_a_dtab_tells_each_version_and_nothing_of_a_missing_one(http: HttpApi) -> None:
    with await documents(http, "GET dtabs/new?watch=T") as watch:
        assert watch.now == Ok(None)
        await ask(http, "POST dtabs/new", "/a=>/b", content_type="text/plain")
        assert watch.now == Ok(b'[{"prefix":"/a","dst":"/b"}]\n')
        await ask(http, "PUT dtabs/new", "/a=>/c", content_type="text/plain")
        assert watch.now == Ok(b'[{"prefix":"/a","dst":"/c"}]\n')


async def test_a_head_is_never_a_stream(http: HttpApi) -> None:
    for line in ("HEAD dtabs?watch=1", "HEAD dtabs/default?watch=1", "HEAD bind/default?path=/svc/a&watch=1"):
        assert (await ask(http, line)).status == 200


async def test_a_watch_of_the_list_tells_each_change(http: HttpApi) -> None:
    with await documents(http, "GET dtabs?watch=1") as watch:
        assert watch.now == Ok(b'["default","empty"]\n')
        await ask(http, "DELETE dtabs/empty")
        assert watch.now == Ok(b'["default"]\n')


class Forgetful(InMemoryStore):
    """A store of a third party's, which keeps no history."""

    history = None  # type: ignore[assignment]  # as if it were not there


async def test_history_shows_who_changed_what_and_why() -> None:
    http = api(Kept())
    assert (await ask(http, "GET history/web")).status == 404
    await ask(http, "PUT dtabs/web", "/a=>/b", content_type="text/plain", l5d_message="ticket 7")
    reply = await ask(http, "GET history/web?limit=1")
    assert json.loads(reply.body) == [
        {"version": "AAAAAAAAAAE=", "time": 5.0, "author": "ann", "message": "ticket 7", "dtab": "/a=>/b"}
    ]
    assert (await ask(http, "GET history/web?limit=x")).status == 400
    assert (await ask(api(Forgetful()), "GET history/web")).status == 501


# ── A store that is away ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_the_store_is_away_reads_say_so_and_changes_get_503_at_once() -> None:
    http = api(Away({"web": Dtab.read("/a => /b")}))
    # That something is not there may be old news, too.
    for line in ("GET dtabs", "GET dtabs/web", "GET bind/web?path=/a", "GET dtabs/web?watch=1", "GET dtabs/none"):
        answer = await send(http, line)
        assert answer.headers["Warning"] == '110 biandou "the store is away: etcd: connection refused"'
    async with asyncio.timeout(1):
        reply = await ask(http, "PUT dtabs/web", "/a=>/c", content_type="text/plain")
    assert (reply.status, reply.body) == (503, b"etcd: connection refused")
    assert reply.headers == {"Retry-After": "1"}


async def test_what_is_in_force_is_not_known_before_the_store_is_read_and_that_is_said() -> None:
    reply = await ask(api(Away(None)), "GET in-force/web")
    assert (reply.status, reply.body) == (503, b"the store has not been read yet")


async def test_what_was_never_known_gets_503_at_once() -> None:
    http = api(Away(None))
    async with asyncio.timeout(1):
        for line in ("GET dtabs/web", "GET bind/web?path=/a", "GET delegate/web?path=/a", "GET resolve/web?path=/a"):
            assert (await ask(http, line)).status == 503


async def test_what_the_store_forbids_gets_403() -> None:
    http = api(Away({}, StoreForbidden("no auth")))
    assert (await ask(http, "PUT dtabs/web", "", content_type="text/plain")).status == 403
    assert (await ask(http, "POST dtabs/web", "", content_type="text/plain")).status == 403


# ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

A = '{"type":"bound","addrs":[{"ip":"127.0.0.1","port":1,"meta":{}}],"meta":{}}'
B = '{"type":"bound","addrs":[{"ip":"127.0.0.1","port":2,"meta":{"endpoint_addr_weight":0.5}}],"meta":{}}'
LEAF_A = f'{{"type":"leaf","bound":{{"addr":{A},"id":"/#/io.l5d.fs/a","path":"/x"}}}}'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bind/default?path=/svc/a/x", LEAF_A),
        ("bind/default?path=/svc/missing", '{"type":"neg"}'),
        ("bind/default?path=/no", '{"type":"fail"}'),
        ("bind/default?path=/none", '{"type":"empty"}'),
        ("bind/default?path=/unknown", '{"type":"neg"}'),
        ("bind/nowhere?path=/svc/a", '{"type":"neg"}'),
        ("bind/default?path=/svc/a/x&dtab=/svc=>!", '{"type":"fail"}'),
        ("bind/default?path=/svc/a/x&dtab=", LEAF_A),
        ("bind/default?path=/$/io.buoyant.http.status/500", '{"type":"neg"}'),
        (
            "bind/default?path=/both/",
            None,
        ),
        ("addr/default?path=/%23/io.l5d.fs/a", A),
        ("addr/other?path=/%25/io.l5d.port/80/%23/io.l5d.fs/b", B),
        ("addr/default?path=/%23/io.l5d.fs/missing", '{"type":"neg"}'),
        ("addr/default?path=/$/inet/127.0.0.1/7", A.replace('"port":1', '"port":7')),
        ("addr/default?path=/$/io.buoyant.http.status/500", '{"type":"neg"}'),
        ("resolve/default?path=/svc/a", A),
        ("resolve/default?path=/svc/missing", '{"type":"neg"}'),
        ("resolve/default?path=/svc/a&dtab=/svc=>/$/nil", '{"type":"neg"}'),
    ],
)
async def test_names_are_bound_and_resolved(http: HttpApi, line: str, expected: str | None) -> None:
    reply = await ask(http, f"GET {line.replace('=>', quote('=>'))}")
    if expected is None:
        assert (reply.status, reply.body[:14]) == (400, b"Invalid path: ")
    else:
        assert (reply.status, reply.media, reply.body.decode()) == (200, "application/json", expected + "\n")


async def test_a_union_is_bound_to_all_its_branches(http: HttpApi) -> None:
    reply = await ask(http, "GET bind/default?path=/both")
    tree = json.loads(reply.body)
    assert [(branch["weight"], branch["tree"]["bound"]["id"]) for branch in tree["union"]] == [
        (1.0, "/#/io.l5d.fs/a"),
        (3.0, "/#/io.l5d.fs/b"),
    ]


async def test_a_union_is_resolved_to_one_of_its_branches(http: HttpApi) -> None:
    seen = {json.loads((await ask(http, "GET resolve/default?path=/both")).body)["addrs"][0]["port"] for _ in range(99)}
    assert seen == {1, 2}


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("GET bind/default?path=svc", 400, "Invalid path: svc / '/' expected but 's' found at '[s]vc'"),
        ("GET bind/default", 400, "Invalid path: the parameter path is missing"),
        ("GET addr/default?path=svc", 400, "Invalid path: svc / '/' expected but 's' found at '[s]vc'"),
        ("GET resolve/default?path=svc", 400, "Invalid path: svc / '/' expected but 's' found at '[s]vc'"),
        ("GET delegate/default?path=svc", 400, "Invalid path: svc / '/' expected but 's' found at '[s]vc'"),
        ("GET bind/default?path=/svc&dtab=x", 400, "Invalid dtab: '/' expected but 'x' found at '[x]'"),
        ("GET delegate?path=/svc&dtab=x", 400, "Invalid dtab: '/' expected but 'x' found at '[x]'"),
        ("GET addr/default?path=/$/fail", 500, "/$/fail is not one client name"),
        ("GET bind", 404, ""),
        ("PUT delegate", 405, ""),
        ("GET bind/default?path=/a&dtab=/a=>/a", 500, "Max recursion level: 100 reached in Namer lookup"),
        ("GET bind/default?" + "&".join(f"x{number}=1" for number in range(200)), 400, "Max number of fields exceeded"),
        ("GET bind/%ff?path=/a", 400, "%ff is not UTF-8 (byte 0)"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_why(http: HttpApi, line: str, status: int, said: str) -> None:
    reply = await ask(http, line)
    assert (reply.status, reply.body.decode()) == (status, said)


async def test_a_tree_that_is_too_deep_to_write_fails_alone(http: HttpApi) -> None:
    def nested(end: str) -> str:
        return "1*/$/inet/1 & 1*(" * 60 + end + ")" * 60

    dtab = ";".join(f"/a{level}=>{nested(f'/a{level + 1}')}" for level in range(30)) + ";/a30=>/$/inet/2"
    assert (await ask(http, "PUT dtabs/deep", dtab, content_type="text/plain")).status == 204
    assert (await ask(http, "GET bind/deep?path=/a29")).status == 200
    assert (await ask(http, "GET bind/deep?path=/a0")).status == 500
    with await documents(http, "GET bind/deep?path=/a0&watch=1") as watch:
        assert isinstance(watch.now, Failed)


async def test_delegation_shows_every_branch(http: HttpApi) -> None:
    for line in (
        "GET delegate/default?path=/svc/a",
        "GET delegate?namespace=default&path=/svc/a",
        "GET delegate?path=/svc/a&dtab=" + quote("/svc=>/#/io.l5d.fs"),
    ):
        reply = await ask(http, line)
        assert (reply.status, reply.media) == (200, "application/json")
        assert reply.body.decode() == (
            '{"type":"delegate","path":"/svc/a","delegate":{"type":"leaf","path":"/#/io.l5d.fs/a",'
            '"dentry":{"prefix":"/svc","dst":"/#/io.l5d.fs"},'
            f'"bound":{{"addr":{A},"id":"/#/io.l5d.fs/a","path":"/"}}}}}}'
        )


async def test_delegation_takes_a_posted_request(http: HttpApi) -> None:
    body = json.dumps({"namespace": "default", "dtab": "/svc=>!", "path": "/svc/a"})
    reply = await ask(http, "POST delegate", body, content_type="application/json")
    assert [branch["type"] for branch in json.loads(reply.body)["alt"]] == ["fail", "leaf"]
    assert (await ask(http, "POST delegate", body, content_type="text/plain")).status == 415
    bad = await ask(http, "POST delegate", '{"dtab":1}', content_type="application/json")
    assert (bad.status, bad.body) == (400, b'Malformed delegation request: {"dtab":1}')


async def test_a_watched_binding_changes_with_the_dtab_and_not_with_addresses(
    http: HttpApi, tmp_path: FilePath
) -> None:
    with await documents(http, "GET bind/default?path=/svc/a/x&watch=1") as bind:
        await bind.until(lambda state: state == Ok(LEAF_A.encode() + b"\n"))
        with await documents(http, "GET addr/default?path=/%23/io.l5d.fs/a&watch=1") as addr:
            assert addr.now == Ok(A.encode() + b"\n")
            (tmp_path / "a").write_text("127.0.0.1 9\n")
            await addr.until(lambda state: isinstance(state, Ok) and b'"port":9' in state.value)
            assert bind.now == Ok(LEAF_A.encode() + b"\n")
        await ask(http, "PUT dtabs/default", "/svc=>!", content_type="text/plain")
        assert bind.now == Ok(b'{"type":"fail"}\n')


async def test_a_binding_that_is_asked_for_twice_is_made_once(http: HttpApi) -> None:
    one = await send(http, "GET bind/default?path=/svc/a&watch=1")
    other = await send(http, "GET bind/default?path=/svc/a&watch=1&dtab=")
    assert isinstance(one, Stream)
    assert isinstance(other, Stream)
    assert one.documents is other.documents


async def test_a_failing_client_name_is_an_answer(http: HttpApi, tmp_path: FilePath) -> None:
    (tmp_path / "a").write_text("no address\n")
    reply = await ask(http, "GET addr/default?path=/%23/io.l5d.fs/a")
    assert reply.body == b'{"type":"failed","cause":"malformed address: no address"}\n'


async def test_bound_names_are_listed_and_watched(http: HttpApi) -> None:
    assert await ask(http, "GET bound-names") == Reply(b'["/#/io.l5d.fs/a"]\n', 200, "application/json")
    with await documents(http, "GET bound-names?watch=1") as watch:
        await watch.until(lambda state: state == Ok(b'["/#/io.l5d.fs/a"]\n'))


# ── The description ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_description_names_every_route_and_is_whole(http: HttpApi) -> None:
    reply = await ask(http, "GET openapi.json")
    described = json.loads(reply.body)
    routes = {path.removeprefix("/api/1/").partition("/")[0] for path in described["paths"]}
    assert routes == set(http._routes)
    text = (importlib.resources.files("biandou.namerd.interfaces") / "openapi.json").read_text()
    references = {part.partition('"')[0] for part in text.split('"$ref": "#/')[1:]}
    for reference in references:
        place: Any = described
        for key in reference.split("/"):
            place = place[key]
