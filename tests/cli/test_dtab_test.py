"""`biandou dtab test`: its output and exit status, and tests of a dtab that a namerd keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biandou.dtab import Dtab
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.stores.in_memory import InMemoryStoreKind
from tests.cli.loopback import READING, Ran, run, served


async def test_tests_that_pass_end_with_0_and_others_with_1(tmp_path: Path) -> None:
    file = tmp_path / "web.dtabtest.yaml"
    file.write_text("dtab: /svc => /#/fs\ntests:\n  /svc/a: /#/fs/a\n  /svc/b: /#/fs/b\n")
    passing = f"ok      {file}:3  /svc/a\nok      {file}:4  /svc/b\n2 of 2 as expected\n"
    assert await run("test", str(file)) == Ran(0, passing, "")
    told = await run("test", str(file), "--dtab", "-", stdin="/svc => /#/fs ; /svc/b => !")
    assert (told.status, told.output.splitlines()[1:4]) == (
        1,
        [f"FAILED  {file}:4  /svc/b", "          expected: /#/fs/b", "          came to:  !"],
    )
    assert told.output.endswith("\n1 of 2 as expected\n")
    told = await run("test", str(file), "--json", "--dtab", "-", stdin="/svc => /#/fs ; /svc/b => !")
    assert [(one["line"], one["name"], one["ok"]) for one in json.loads(told.output)] == [
        (3, "/svc/a", True),
        (4, "/svc/b", False),
    ]


async def test_what_cannot_be_read_ends_with_255(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("dtab: /svc => ?\ntests: {}")
    told = await run("test", str(tmp_path / "x.yaml"))
    assert (told.status, told.errors.startswith(f"Error: {tmp_path}/x.yaml:1: line 1, column 9")) == (255, True)
    assert (await run("test")).status == 255


async def test_a_namespace_can_be_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", READING)
    store = InMemoryStoreKind().store()
    await store.start()
    await store.create("default", Dtab.read("/svc => /#/fs"))
    file = tmp_path / "web.dtabtest.yaml"
    file.write_text("namespace: default\ntests:\n  /svc/a: /#/fs/a\n")
    async with served(HttpApi(store, Names(store, Namers()), list)) as url:
        assert (await run("test", str(file), "--base-url", url)).status == 0
        file.write_text("namespace: other\ntests:\n  /svc/a: /#/fs/a\n")
        told = await run("test", str(file), "--base-url", url)
        assert (told.status, told.errors) == (255, "Error: resource was not found by ID or name\n")
    await store.stop()
