"""`biandou dtab apply`: all namespaces of a folder or none, and never over what somebody else has changed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from biandou.cli.dtab_folder import LOCK, Action, Present, action, digest
from biandou.dtab import Dtab
from biandou.errors import StoreDown
from biandou.namerd.interfaces import plans
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.stores.interface import Remark
from biandou.stores.sqlite import SqliteStoreKind
from tests.cli.loopback import READING, SESAME, Ran, run, served

A, B, C = "/svc => /a", "/svc => /b", "/svc => /c"


class World:
    """A namerd and a folder of dtabs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "dtabs"
        self.folder.mkdir()
        self.store = SqliteStoreKind(path=str(folder / "namerd.db")).store()

    def file(self, name: str, text: str) -> None:
        (self.folder / f"{name}.dtab").write_text(text + " ;\n")

    async def apply(self, *words: str) -> Ran:
        return await run("apply", str(self.folder), *words)

    async def now(self) -> dict[str, str]:
        names = json.loads((await run("list", "--json")).output)
        return {name: (await run("get", name, "--pretty=false")).output.strip() for name in names}

    @property
    def lock(self) -> dict[str, dict[str, str]]:
        read: dict[str, dict[str, str]] = json.loads((self.folder / LOCK).read_text())["namespaces"]
        return read


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.store.start()
    monkeypatch.setattr(plans, "LISTEN_SECONDS", 0.1)
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", SESAME)
    async with served(HttpApi(world.store, Names(world.store, Namers()), list)) as url:
        monkeypatch.setenv("BIANDOU_NAMERD", url)
        yield world
    await world.store.stop()


async def test_a_folder_is_applied_and_applied_again_does_nothing(world: World) -> None:
    world.file("one", A)
    world.file("two", B)
    first = await world.apply("--yes", "-m", "ticket 7")
    assert (first.status, first.errors) == (0, "")
    assert first.output.splitlines()[-1] == "Changed: 2 of 2."
    assert "# one, which does not exist yet: 0 live names of 0 routers" in first.output
    assert await world.now() == {"one": "/svc=>/a;", "two": "/svc=>/b;"}
    assert world.lock["one"] == {"version": "MQ==", "sha256": digest(Dtab.read(A))}
    assert "ticket 7" in (await run("history", "two")).output
    before = (world.folder / LOCK).stat()
    world.file("one", "# a remark\n" + A)
    assert await world.apply() == Ran(0, "Nothing to do: 2 as the files say.\n", "")
    assert (world.folder / LOCK).stat().st_ino == before.st_ino


async def test_only_what_was_applied_last_is_changed(world: World) -> None:
    world.file("one", A)
    world.file("two", A)
    assert (await world.apply("--yes")).status == 0
    assert (await run("update", "two", "-", stdin=C)).status == 0
    world.file("one", B)
    world.file("two", B)
    told = await world.apply("--yes")
    version = world.lock["two"]["version"]
    assert (told.status, told.output) == (255, "")
    assert told.errors == (
        "Error: two is neither what was applied last nor what its file says: somebody has changed it since; "
        f"see biandou dtab diff two {version}\nNothing was changed. --overwrite changes these, too.\n"
    )
    assert await world.now() == {"one": "/svc=>/a;", "two": "/svc=>/c;"}
    # Taken over into the file, it is what the file says.
    world.file("two", C)
    assert (await world.apply("--yes")).output.splitlines()[-1] == "Changed: 1 of 2."
    assert world.lock["two"]["sha256"] == digest(Dtab.read(C))
    # Changed and changed back, nothing is lost by a change.
    for text in (A, C):
        assert (await run("update", "two", "-", stdin=text)).status == 0
    world.file("two", A)
    assert (await world.apply("--yes")).status == 0
    assert await world.now() == {"one": "/svc=>/b;", "two": "/svc=>/a;"}


async def test_what_was_never_applied_from_here_or_has_been_deleted_is_not_touched(world: World) -> None:
    assert (await run("create", "one", "-", stdin=C)).status == 0
    world.file("one", A)
    told = await world.apply("--yes")
    assert told.errors.startswith("Error: one is there already, is not what its file says, and was never applied")
    assert (await world.apply("--yes", "--overwrite")).status == 0
    assert (await run("delete", "one")).status == 0
    world.file("one", B)
    told = await world.apply("--yes")
    assert (told.status, told.errors.splitlines()[0]) == (
        255,
        "Error: one was applied before, and somebody has deleted it since.",
    )
    assert (await world.apply("--yes", "--overwrite")).status == 0
    assert await world.now() == {"one": "/svc=>/b;"}


async def test_the_base_can_be_another_folder(world: World, tmp_path: Path) -> None:
    assert (await run("create", "one", "-", stdin=A)).status == 0
    world.file("one", B)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "one.dtab").write_text(C)
    told = await world.apply("--yes", "--base", f"{tmp_path}/base")
    assert told.errors.startswith("Error: one is neither what it was in --base nor what its file says")
    (tmp_path / "base" / "one.dtab").write_text(A)
    assert (await world.apply("--yes", "--base", f"{tmp_path}/base", "--lock", f"{tmp_path}/lock")).status == 0
    assert await world.now() == {"one": "/svc=>/b;"}
    assert not (world.folder / LOCK).exists()
    assert "one" in json.loads((tmp_path / "lock").read_text())["namespaces"]


async def test_a_dry_run_changes_and_records_nothing(world: World) -> None:
    world.file("one", A)
    told = await world.apply("--dry-run")
    assert (told.status, told.output.splitlines()[-1]) == (0, "To be changed: 1 of 1.")
    assert (await world.apply("--dry-run", "--exit-code")).status == 2
    told = await world.apply("--dry-run", "--json")
    document = json.loads(told.output)
    assert (document["applied"], document["unchanged"]) == (False, [])
    (change,) = document["changes"]
    assert (change["namespace"], change["action"], change["plan"]["changes"]) == ("one", "create", [])
    assert await world.now() == {}
    assert not (world.folder / LOCK).exists()
    assert (await world.apply("--dry-run", "--no-plan")).output == "# one: is created\nTo be changed: 1 of 1.\n"


async def test_without_yes_and_without_anybody_to_ask_nothing_is_changed(world: World) -> None:
    world.file("one", A)
    told = await world.apply()
    assert (told.status, told.errors) == (255, "Error: nobody is there to ask: say --yes or --dry-run\n")
    assert await world.now() == {}


@pytest.mark.parametrize("after", [False, True], ids=["refused", "done, but the answer is lost"])
async def test_what_was_written_is_undone_if_a_later_one_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    world.file("a-new", A)
    world.file("b-old", B)
    world.file("c-fails", B)
    for name in ("b-old", "c-fails"):
        assert (await run("create", name, "-", stdin=A)).status == 0
    real = world.store.update

    async def fail(namespace: str, dtab: Dtab, version: bytes, remark: Remark) -> bytes:
        if namespace == "c-fails" and "undone" not in remark.message:
            if after:
                await real(namespace, dtab, version, remark)
            raise StoreDown("the disk is full")
        return await real(namespace, dtab, version, remark)

    monkeypatch.setattr(world.store, "update", fail)
    told = await world.apply("--yes", "--overwrite", "--no-plan")
    assert told.status == 255
    first, *_, last = told.errors.splitlines()
    assert first.startswith("Error: c-fails could not be written: unexpected response: 503")
    assert last == (
        "Nothing was changed: what had been written before is as it was."
        if after
        else "It is not known whether c-fails is still written: look at it."
    )
    assert await world.now() == {"b-old": "/svc=>/a;", "c-fails": "/svc=>/a;"}
    assert not (world.folder / LOCK).exists()
    history = (await run("history", "b-old")).output.splitlines()
    assert [line.split("  ")[-1] for line in history] == ["undone: apply", "apply", "8 bytes"]


async def test_an_interrupted_apply_is_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        world.file(name, A)
    real, hanging = world.store.create, asyncio.Event()

    async def create(namespace: str, dtab: Dtab, remark: Remark) -> bytes:
        if namespace == "two":
            hanging.set()
            await asyncio.sleep(60)
        return await real(namespace, dtab, remark)

    monkeypatch.setattr(world.store, "create", create)
    arguments = ["-m", "biandou", "dtab", "apply", str(world.folder), "--yes", "--no-plan"]
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    await asyncio.wait_for(hanging.wait(), 20)
    assert (await world.now()).keys() == {"one"}
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert errors.decode().splitlines() == [
        "Error: two could not be written: interrupted",
        "It is not known whether two is still written: look at it.",
    ]
    assert process.returncode == 255
    assert await world.now() == {}


async def test_a_change_that_comes_between_plan_and_write_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        world.file(name, A)
    assert (await world.apply("--yes", "--no-plan")).status == 0
    for name in ("one", "two"):
        world.file(name, B)
    real = world.store.update

    async def update(namespace: str, dtab: Dtab, version: bytes, remark: Remark) -> bytes:
        if namespace == "two":
            # The very same dtab, even: it is not ours to undo.
            await world.store.put("two", dtab)
        return await real(namespace, dtab, version, remark)

    monkeypatch.setattr(world.store, "update", update)
    told = await world.apply("--yes", "--no-plan")
    assert told.errors.splitlines()[0].endswith("412 Precondition Failed")
    assert told.errors.splitlines()[-1] == "Nothing was changed: what had been written before is as it was."
    assert await world.now() == {"one": "/svc=>/a;", "two": "/svc=>/b;"}


async def test_a_change_after_ours_is_not_undone_with_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        world.file(name, A)
    assert (await world.apply("--yes", "--no-plan")).status == 0
    for name in ("one", "two"):
        world.file(name, B)
    real = world.store.update

    async def update(namespace: str, dtab: Dtab, version: bytes, remark: Remark) -> bytes:
        if namespace == "two":
            for name in ("one", "two"):
                await world.store.put(name, Dtab.read(C))
        return await real(namespace, dtab, version, remark)

    monkeypatch.setattr(world.store, "update", update)
    told = await world.apply("--yes", "--no-plan")
    assert told.errors.splitlines()[-1] == ("one was written, and somebody else has changed it since: it is left so.")
    assert await world.now() == {"one": "/svc=>/c;", "two": "/svc=>/c;"}


async def test_mistakes_in_files_are_told_together_before_anything_is_asked(world: World) -> None:
    world.file("a", A)
    world.file("b", "/svc =>\n ?")
    world.file("c", "svc")
    told = await world.apply("--yes", "--base-url", "http://127.0.0.1:1")
    assert told.status == 255
    assert [line.split(" ")[0] for line in told.errors.removeprefix("Error: ").splitlines() if ".dtab:" in line] == [
        f"{world.folder}/b.dtab:2:2:",
        f"{world.folder}/c.dtab:1:1:",
    ]


async def test_what_is_no_folder_or_no_record_ends_with_255(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await world.apply()).errors == f"Error: there is no file NAME.dtab in {world.folder}\n"
    assert (await run("apply", f"{tmp_path}/none")).status == 255
    world.file("one", A)
    (world.folder / LOCK).write_text("{}")
    assert f"{LOCK} is no record" in (await world.apply("--yes")).errors
    (world.folder / LOCK).unlink()
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", READING)
    told = await world.apply("--yes", "--no-plan")
    assert (told.status, "this token may only read" in told.errors) == (255, True)


@pytest.mark.parametrize(
    ("present", "base", "what"),
    [
        (None, None, Action.CREATE),
        (None, A, Action.CONFLICT),
        (B, None, Action.NOTHING),
        (B, A, Action.NOTHING),
        (A, A, Action.UPDATE),
        (A, None, Action.CONFLICT),
        (C, A, Action.CONFLICT),
    ],
)
def test_what_has_to_be_done_follows_from_three_states(present: str | None, base: str | None, what: Action) -> None:
    now = None if present is None else Present("1", Dtab.read(present))
    assert action(Dtab.read(B), now, None if base is None else digest(Dtab.read(base))) is what
