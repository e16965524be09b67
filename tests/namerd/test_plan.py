"""What a new dtab would change: the names that linkers report, bound by both tables, with their part of the traffic."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path as File
from typing import Any

import pytest

from biandou.dtab import FAIL, Dtab, Path
from biandou.dtab.likeness import moving
from biandou.dtab.tree import NameTree
from biandou.linker.live_names import live_names
from biandou.live import Live, Source
from biandou.namerd.interfaces import plans
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.message import Reply, Request
from biandou.namerd.linkers import Linkers
from biandou.namerd.live_names import LiveNames
from biandou.namerd.names import Names
from biandou.namerd.plan import changes
from biandou.namerd.reports import Reports
from biandou.namers.all import Namers
from biandou.namers.fs import FsNamerKind
from biandou.stores.in_memory import InMemoryStoreKind
from biandou.stores.interface import Store
from biandou.telemeters.model import Counted

OLD = "/srv => /#/io.l5d.fs ; /svc => /srv"


@pytest.fixture
def disco(tmp_path: File) -> File:
    for name in ("web", "web2", "api"):
        (tmp_path / name).write_text("127.0.0.1 8080\n")
    (tmp_path / "empty").write_text("")
    return tmp_path


async def made(disco: File) -> tuple[Store, Names]:
    store = InMemoryStoreKind().store()
    await store.start()
    await store.create("default", Dtab.read(OLD))
    return store, Names(store, Namers([FsNamerKind(root_dir=str(disco)).namer()]))


@pytest.mark.parametrize(
    ("more", "name", "kind", "moves"),
    [
        ("/svc/web => /srv/web2", "/svc/web", "moved", 1.0),
        ("/svc/web => 3*/srv/web & 1*/srv/web2", "/svc/web", "moved", 0.25),
        ("/svc/web => /srv/none | !", "/svc/web", "unroutable", 1.0),
        ("/svc/web => /srv/empty", "/svc/web", "unroutable", 1.0),
        ("/svc/web => /svc/web", "/svc/web", "unroutable", 1.0),
        ("/svc/none => /srv/web", "/svc/none", "routable", 1.0),
        ("/svc/none => !", "/svc/none", None, 0),
        ("/svc/web => 1*/srv/web | /srv/web2", "/svc/web", None, 0),
        ("/svc/web => /$/io.buoyant.http.status/418", "/svc/web", "moved", 1.0),
    ],
)
async def test_a_name_that_goes_elsewhere_is_a_change(
    disco: File, more: str, name: str, kind: str | None, moves: float
) -> None:
    store, names = await made(disco)
    requests = {Path.read(name): 30, Path.read("/svc/api"): 70}
    found = await changes(names, "default", Dtab.read(f"{OLD} ; {more}"), requests, 5)
    assert [(str(one.name), one.kind, one.share, one.moves) for one in found] == (
        [] if kind is None else [(name, kind, 0.3, moves)]
    )
    await store.stop()


async def test_a_name_whose_namer_does_not_answer_in_time_is_unknown(disco: File) -> None:
    class Silent:
        prefix = Path.read("/#/silent")

        def lookup(self, _path: Path) -> Live[NameTree[Any]]:
            return Live()

    store = InMemoryStoreKind().store()
    await store.start()
    await store.create("default", Dtab.read(OLD))
    names = Names(store, Namers([FsNamerKind(root_dir=str(disco)).namer(), Silent()]))
    (one,) = await changes(names, "default", Dtab.read("/svc => /#/silent"), {Path.read("/svc/web"): 0}, 0.05)
    assert (one.kind, one.share, one.before.routable, one.after.routable) == ("unknown", 0.0, True, None)
    await store.stop()


async def test_names_whose_namer_is_slow_do_not_hold_up_the_others(disco: File) -> None:
    late: Source[NameTree[Any]] = Source()

    class Late:
        prefix = Path.read("/#/late")

        def lookup(self, path: Path) -> Live[NameTree[Any]]:
            return Live() if path.segments[:1] == (b"never",) else late

    store, _ = await made(disco)
    names = Names(store, Namers([FsNamerKind(root_dir=str(disco)).namer(), Late()]))
    requests = {Path.read(f"/svc/web/{number}"): 1 for number in range(90)} | {Path.read("/svc/api"): 1}
    new = f"{OLD} ; /svc/web => /#/late ; /svc/web/7 => /#/late/never ; /svc/api => !"
    plan = asyncio.create_task(changes(names, "default", Dtab.read(new), requests, 2))
    await asyncio.sleep(1.2)
    late.set(FAIL)
    kinds = Counter(change.kind for change in await plan)
    assert kinds == {"unroutable": 90, "unknown": 1}
    assert not late.observed
    await store.stop()


def test_what_moves_is_the_part_that_does_not_stay() -> None:
    old, new = NameTree.read("90*/a & 10*/b"), NameTree.read("50*/a & 25*/b & 25*/c")
    assert moving(old, new) == pytest.approx(0.4)
    assert moving(old, NameTree.read("~")) == 1.0
    assert moving(NameTree.read("~"), new) == 1.0
    assert moving(NameTree.read("0*/a & 0*/b"), NameTree.read("/a & /b")) == 0.0


# ── What linkers report ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_linker_tells_each_name_of_the_router_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scopes = [
        Counted(("rt", "http", "service", "svc/web"), {"requests": 3}, {}, {}),
        Counted(("rt", "http", "service", "svc/api"), {"requests": 5}, {}, {}),
        Counted(("rt", "http", "service", "svc/new"), {}, {}, {}),
        Counted(("rt", "other", "service", "svc/web"), {"requests": 7}, {}, {}),
        Counted(("rt", "http", "client", "#/x"), {"requests": 8}, {}, {}),
        Counted(("rt", "http", "client", "#/x", "service", "svc/web"), {"requests": 8}, {}, {}),
    ]
    told = live_names("http", scopes)
    assert told == {"requests": {"/svc/web": 3, "/svc/api": 5, "/svc/new": 0}, "cut": 0}
    monkeypatch.setattr("biandou.linker.live_names.MAX_NAMES", 2)
    assert live_names("http", scopes) == {"requests": {"/svc/web": 3, "/svc/api": 5}, "cut": 1}
    monkeypatch.setattr("biandou.linker.live_names.MAX_TEXT", 10)
    assert live_names("http", scopes) == {"requests": {"/svc/api": 5}, "cut": 2}


def report(process: str, requests: dict[str, int], cut: int = 0) -> bytes:
    return json.dumps({"process": process, "clients": {}, "names": {"requests": requests, "cut": cut}}).encode()


async def test_requests_are_those_that_came_while_it_was_listened() -> None:
    names = LiveNames()
    names.take("default", report("early/http", {"/svc/web": 1}))
    assert not names.wants("default")
    with names.wanted("default"):
        assert names.wants("default")
        names.take("default", report("a/http", {"/svc/web": 100, "/svc/api": 7}))
        names.take("default", report("b/http", {"/svc/web": 50}, 3))
        names.take("default", report("b/http", {"/svc/web": 5, "no path": 2}, 4))
        names.take("default", report("a/http", {"/svc/web": 130, "/svc/api": 7, "/svc/new": 2}))
        heard = await names.heard("default")
    assert heard.requests == {Path.read("/svc/web"): 35, Path.read("/svc/api"): 0, Path.read("/svc/new"): 2}
    assert (heard.routers, heard.cut) == (2, 4)
    assert (await names.heard("default")).requests == {}


async def test_more_names_than_are_kept_are_counted_as_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    names = LiveNames()
    monkeypatch.setattr("biandou.namerd.live_names.MAX_HELD", 3)
    with names.wanted("default"):
        names.take("default", report("a/http", {"/svc/a": 1, "/svc/b": 1}))
        names.take("default", report("b/http", {"/svc/c": 1, "/svc/d": 1}))
        assert (len((await names.heard("default")).requests), (await names.heard("default")).cut) == (2, 2)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"process": 7, "names": {"requests": {}, "cut": 0}}',
        b'{"process": "a", "names": {"requests": {"/a": -1}, "cut": 0}}',
        b'{"process": "a", "names": {"requests": {"/a": true}, "cut": 0}}',
        b'{"process": "a", "names": {"requests": [], "cut": 0}}',
        b'{"process": "a", "names": {"requests": {}}}',
        b'{"process": "a", "names": 7}',
        report("a", {f"/{number}": 1 for number in range(10_001)}),
        report("a", {"/" + "x" * 5000: 1}),
    ],
)
def test_what_is_no_report_is_refused(document: bytes) -> None:
    names = LiveNames()
    with names.wanted("default"), pytest.raises(ValueError, match=r"."):
        names.take("default", document)


# ── The route ────────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(dtab: str, namespace: str = "default", **headers: str) -> Request:
    return Request(
        "POST",
        f"/api/1/plan/{namespace}",
        "",
        {"content-type": "application/dtab", **headers},
        dtab.encode(),
        "",
        False,
    )


async def test_linkers_are_asked_for_names_only_while_somebody_plans(
    disco: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, names = await made(disco)
    reports, linkers = Reports(), Linkers()
    http = HttpApi(store, names, list, reports, linkers)

    async def tell(requests: int | None) -> Any:
        document: dict[str, Any] = {"process": "token/http", "clients": {}}
        if requests is not None:
            document["names"] = {"requests": {"/svc/web": requests, "/svc/api": 0}, "cut": 0}
        reply = await http.answer(Request("POST", "/api/1/reports/default", "", {}, json.dumps(document).encode()))
        assert isinstance(reply, Reply)
        return json.loads(reply.body)

    assert "names" not in await tell(None)
    plan = asyncio.create_task(http.answer(asked(f"{OLD} ; /svc/web => /srv/web2")))
    await asyncio.sleep(0)
    assert (await tell(None))["names"] is True
    assert (await tell(10))["seconds"] == 1.0
    await tell(14)
    reply = await asyncio.wait_for(plan, 5)
    assert isinstance(reply, Reply)
    told = json.loads(reply.body)
    assert told.pop("seconds") < 5
    assert told.pop("version") != ""
    (change,) = told.pop("changes")
    assert told == {
        "same": False,
        "routers": {"reporting": 1, "heard": 1},
        "names": 2,
        "cut": 0,
        "requests": 4,
        "moves": 1.0,
    }
    assert change == {
        "name": "/svc/web",
        "kind": "moved",
        "requests": 4,
        "share": 1.0,
        "moves": 1.0,
        "before": {"tree": "/#/io.l5d.fs/web", "routable": True},
        "after": {"tree": "/#/io.l5d.fs/web2", "routable": True},
    }
    assert "names" not in await tell(None)
    monkeypatch.setattr(plans, "LISTEN_SECONDS", 0.05)
    silent = await http.answer(asked(OLD))
    assert isinstance(silent, Reply)
    assert json.loads(silent.body)["routers"] == {"reporting": 1, "heard": 0}
    await store.stop()


async def test_what_cannot_be_planned_is_refused_and_nothing_is_changed(disco: File) -> None:
    store, names = await made(disco)
    http = HttpApi(store, names, list)

    async def status(request: Request) -> int:
        reply = await http.answer(request)
        assert isinstance(reply, Reply)
        return reply.status

    assert await status(asked("/svc => ?")) == 400
    assert await status(asked(OLD, **{"content-type": "text/html"})) == 400
    assert await status(asked("".join(f"/n{number}=>/x;" for number in range(10_001)))) == 413
    assert await status(asked(OLD, origin="http://evil")) == 403
    assert await status(asked(OLD, "~rollout~default")) == 404
    assert await status(Request("GET", "/api/1/plan/default")) == 405
    reply = await http.answer(asked(OLD))
    assert isinstance(reply, Reply)
    assert json.loads(reply.body)["same"] is True
    reply = await http.answer(asked(OLD, "nowhere"))
    assert isinstance(reply, Reply)
    assert (json.loads(reply.body)["version"], json.loads(reply.body)["same"]) == ("", False)
    await store.stop()
