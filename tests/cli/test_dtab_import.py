"""`biandou dtab import` against a real etcd that still serves version 2 of its API, and against what is none."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStoreKind
from tests.cli.loopback import SESAME, Ran, run, served
from tests.stores.etcd_members import Member, free_ports


@pytest.fixture
async def url(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", SESAME)
    store = InMemoryStoreKind(namespaces={"kept": "/svc=>/kept", "same": "/svc=>/same"}).store()
    await store.start()
    async with served(HttpApi(store, Names(store, Namers()), list)) as url:
        monkeypatch.setenv("BIANDOU_NAMERD", url)
        yield url
    await store.stop()


@pytest.fixture(scope="module", name="etcd")
def etcd_of_version_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (etcd-server)")
    client, peer = free_ports(2)
    member = Member("m0", client, peer, tmp_path_factory.mktemp("etcd"), version_2=True)
    member.start([member])
    try:
        member.healthy()
        yield f"http://127.0.0.1:{client}"
    except TimeoutError:
        pytest.skip("this etcd has no version 2 any more (3.6)")
    finally:
        member.kill()


def put(etcd: str, key: str, value: str) -> None:
    """Write as namerd 1.x does."""
    form = urllib.parse.urlencode({"value": value, "prevExist": "false"}).encode()
    request = urllib.request.Request(f"{etcd}/v2/keys{key}", form, method="PUT")  # noqa: S310 - a URL of our own
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
        assert answer.status == 201


async def test_namespaces_of_namerd_1_are_taken_over_and_none_is_overwritten(url: str, etcd: str) -> None:
    for name, text in (("web", "/svc=>/#/io.l5d.fs"), ("kept", "/svc=>/other"), ("same", "/svc => /same")):
        put(etcd, f"/namerd/dtabs/{name}", text)
    put(etcd, "/namerd/dtabs/folder/deeper", "/svc=>/x")
    would = await run("import", etcd, "--dry-run")
    assert would == Ran(0, "Would create web\nkept exists with another dtab, which stays\nsame exists already\n", "")
    assert (await run("list")).output.split() == ["kept", "same"]
    done = await run("import", etcd, "--json")
    assert json.loads(done.output) == {
        "created": ["web"],
        "unchanged": ["same"],
        "differing": ["kept"],
        "applied": True,
    }
    assert "/svc  => /#/io.l5d.fs ;" in (await run("get", "web")).output
    assert "/kept" in (await run("get", "kept")).output
    assert f"import from {etcd}/namerd/dtabs" in (await run("history", "web")).output


async def test_one_that_is_no_dtab_stops_all(url: str, etcd: str) -> None:
    put(etcd, "/broken/a", "/svc=>/x")
    put(etcd, "/broken/b", "/svc =")
    ran = await run("import", etcd, "--path-prefix", "/broken/")
    assert (ran.status, ran.errors.startswith("Error: b: line 1, column ")) == (255, True), ran.errors
    assert (await run("list")).output.split() == ["kept", "same"]


async def test_nothing_there_is_told(url: str, etcd: str) -> None:
    assert (await run("import", etcd, "--path-prefix", "/none")).output == f"there is nothing at {etcd}/none\n"
    put(etcd, "/leaf", "/svc=>/x")
    assert (await run("import", etcd, "--path-prefix", "/leaf")).errors.endswith("/v2/keys/leaf is no directory\n")


async def test_what_is_no_etcd_is_told(url: str, tmp_path: Path) -> None:
    ran = await run("import", url)
    assert ran.errors == (f"Error: {url}/v2/keys/namerd/dtabs: answers 401\n"), (
        "namerd itself, which wants a token that etcd has no use for"
    )
    (port,) = free_ports(1)
    ran = await run("import", f"http://127.0.0.1:{port}")
    assert (ran.status, f"127.0.0.1:{port}" in ran.errors) == (255, True)
    assert (await run("import", "127.0.0.1:2379")).status == 255
    assert (await run("import")).errors.startswith("Error: import requires the URL of an etcd")
