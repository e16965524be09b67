"""`biandou dtab plan`: how changes look, and the exit status for pipelines; no namespace is changed by it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from biandou.cli.dtab_plan import render
from biandou.dtab import Dtab
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.message import Reply, Request
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.namers.fs import FsNamerKind
from biandou.stores.in_memory import InMemoryStoreKind
from tests.cli.loopback import READING, run, served

OLD = "/srv => /#/io.l5d.fs ; /svc => /srv ;"


@pytest.fixture
async def linker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Serve a namerd to which a linker reports 3 requests for /svc/web and 1 for /svc/api each time."""
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", READING)
    for name in ("web", "web2", "api"):
        (tmp_path / name).write_text("127.0.0.1 8080\n")
    store = InMemoryStoreKind().store()
    await store.start()
    await store.create("default", Dtab.read(OLD))
    api = HttpApi(store, Names(store, Namers([FsNamerKind(root_dir=str(tmp_path)).namer()])), list)

    async def report() -> None:
        count = 0
        while True:
            count += 1
            names = {"requests": {"/svc/web": 3 * count, "/svc/api": count}, "cut": 0}
            document = json.dumps({"process": "token/http", "clients": {}, "names": names})
            reply = await api.answer(Request("POST", "/api/1/reports/default", "", {}, document.encode()))
            assert isinstance(reply, Reply)
            await asyncio.sleep(0.05)

    reporting = asyncio.create_task(report())
    async with served(api) as url:
        monkeypatch.setenv("BIANDOU_NAMERD", url)
        yield
    reporting.cancel()
    await store.stop()


@pytest.mark.usefixtures("linker")
async def test_changes_are_shown_and_nothing_is_changed() -> None:
    new = f"{OLD} /svc/web => 9*/srv/web & 1*/srv/web2 ; /svc/api => !"
    told = await run("plan", "default", "-", stdin=new)
    first, *lines = told.output.splitlines()
    assert first.startswith("# default, version ")
    assert "2 live names of 1 router, 4 requests in " in first
    assert lines == [
        "~ /svc/web  moved  (75.0% of requests, 10.0% of them move)",
        "    /#/io.l5d.fs/web",
        " => 9*/#/io.l5d.fs/web & /#/io.l5d.fs/web2",
        "- /svc/api  unroutable  (25.0% of requests)",
        "    /#/io.l5d.fs/api",
        " => !",
        "1 moved, 1 unroutable, 0 routable again; 32.5% of requests go elsewhere.",
    ]
    assert told.status == 0
    assert Dtab.read((await run("get", "default", "--pretty=false")).output) == Dtab.read(OLD)
    told = await run("plan", "default", "-", "--json", stdin=new)
    assert [change["kind"] for change in json.loads(told.output)["changes"]] == ["moved", "unroutable"]


@pytest.mark.usefixtures("linker")
async def test_the_exit_status_is_for_pipelines() -> None:
    same = await run("plan", "default", "-", "--exit-code", stdin=OLD + " # a remark")
    assert (same.status, same.output.splitlines()[1:]) == (0, ["The dtab is the present one."])
    other = await run("plan", "default", "-", "--exit-code", stdin=f"{OLD} /new => /srv")
    assert (other.status, other.output.splitlines()[1:]) == (
        2,
        ["The dtab is another one, but no live name goes elsewhere."],
    )
    assert (await run("plan", "default", "-", "--exit-code", stdin="/svc => ?")).status == 1
    assert (await run("plan", "default", "none.dtab", "--exit-code")).status == 1
    assert (await run("plan", "default", "--exit-code")).status == 1
    assert (await run("plan", "default", "-", "--exit-code", "--jsn")).status == 1, (
        "2 would say that it changes something"
    )
    assert (await run("plan", "default", "-", stdin="/svc => ?")).status == 255


def test_a_plan_of_a_namerd_without_linkers_does_not_say_that_nothing_moves() -> None:
    found = {"version": "MQ==", "same": False, "routers": {"reporting": 0, "heard": 0}, "names": 0, "cut": 0}
    lines = render("web", {**found, "requests": 0, "seconds": 0.0, "moves": 0.0, "changes": []}).splitlines()
    assert lines[1:] == ["No linker reports to this namerd: which names are live is not known."]


def test_a_plan_says_what_it_did_not_see() -> None:
    seen = {"tree": "/#/a", "routable": False}
    found = {
        "version": "",
        "same": False,
        "routers": {"reporting": 3, "heard": 1},
        "names": 60,
        "cut": 7,
        "requests": 0,
        "seconds": 8.0,
        "moves": 0.0,
        "changes": [
            {"name": f"/svc/{n}", "kind": "unknown", "share": 0.0, "moves": 1.0, "before": seen, "after": seen}
            for n in range(60)
        ],
    }
    lines = render("web", found).splitlines()
    assert lines[:4] == [
        "# web, which does not exist yet: 60 live names of 1 of 3 routers heard, 0 requests in 8.0 s",
        "# not looked at, as there are too many: 7 names",
        "? /svc/0  unknown  (no requests now)",
        "    /#/a   (no endpoint)",
    ]
    assert lines[-2:] == [
        "… and 10 more; --json shows all",
        "0 moved, 0 unroutable, 0 routable again, 60 unknown; 0.0% of requests go elsewhere.",
    ]
