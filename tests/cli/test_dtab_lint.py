"""`biandou dtab lint`: what is linted, how findings look, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biandou.dtab import Dtab
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.namers.fs import FsNamerKind
from biandou.stores.in_memory import InMemoryStoreKind
from tests.cli.loopback import SESAME, Ran, run, served

LINKER = """
namers:
- {kind: io.l5d.fs, rootDir: .}
routers:
- {protocol: http, servers: [{port: 0}]}
"""
NAMERD = """
storage: {kind: io.l5d.inMemory}
namers:
- {kind: io.l5d.fs, rootDir: ., prefix: /files}
interfaces:
- {kind: io.l5d.httpController}
"""


async def test_a_file_without_a_mistake_says_nothing_and_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "web.dtab").write_text("/svc => /#/io.l5d.fs ;\n")
    assert await run("lint", str(tmp_path / "web.dtab")) == Ran(0, "", "")
    assert await run("lint", str(tmp_path / "web.dtab"), "--json") == Ran(0, "[]\n", "")


async def test_a_finding_is_shown_with_its_place_and_ends_with_1() -> None:
    told = await run("lint", stdin="/svc => /#/io.l5d.fs ;\n/x => /nowhere ;\n")
    words = "/nowhere always comes to ~: no entry and no namer knows what begins like that."
    assert told == Ran(1, f"<stdin>:2:7: dead-end: {words}\n", "")
    told = await run("lint", "-", "--json", stdin="/svc => /#/io.l5d.fs ;\n/x => /nowhere ;\n")
    assert json.loads(told.output) == [
        {"file": "<stdin>", "line": 2, "column": 7, "code": "dead-end", "message": words}
    ]


async def test_a_text_that_is_no_dtab_is_a_finding(tmp_path: Path) -> None:
    told = await run("lint", stdin="/svc =>\n  ?")
    assert (told.status, told.output.split(": ")[:2]) == (1, ["<stdin>:2:3", "syntax"])


@pytest.mark.parametrize(("config", "other"), [(LINKER, "/#/files"), (NAMERD, "/#/io.l5d.fs")])
async def test_the_namers_are_those_of_the_configuration(tmp_path: Path, config: str, other: str) -> None:
    (tmp_path / "config.yaml").write_text(config)
    text = "/a => /#/io.l5d.fs ; /b => /#/files ;"
    told = await run("lint", "-", "--config", str(tmp_path / "config.yaml"), stdin=text)
    assert told.status == 1
    assert [line.split(": ")[1:3] for line in told.output.splitlines()] == [
        ["unserved", f"No namer serves {other}; configured"]
    ]


async def test_a_configuration_or_file_that_cannot_be_read_ends_with_255(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("routers: 7")
    assert (await run("lint", "-", "--config", str(tmp_path / "config.yaml"))).status == 255
    told = await run("lint", str(tmp_path / "none.dtab"))
    assert (told.status, told.errors.startswith("Error: ")) == (255, True)


async def test_a_namespace_is_held_to_namerds_own_namers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", SESAME)
    store = InMemoryStoreKind().store()
    await store.start()
    await store.create("default", Dtab.read("/svc => /#/io.l5d.fs ; /longer => /#/consul"))
    names = Names(store, Namers([FsNamerKind(root_dir=str(tmp_path)).namer()]))
    async with served(HttpApi(store, names, list)) as url:
        told = await run("lint", "default", "--base-url", url)
        assert told.status == 1
        assert told.output == "default:3:13: unserved: No namer serves /#/consul; configured: /#/io.l5d.fs.\n"
        assert (await run("get", "default", "--base-url", url)).output.splitlines()[2][12:].startswith("/#/consul")
        assert (await run("lint", "none", "--base-url", url)).status == 255
    await store.stop()
