"""The fs namer on real files and real inotify."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.clients import files
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound
from biandou.errors import ResolutionError
from biandou.live import Failed, Live, Ok, Pending, State
from biandou.namers import fs_check
from biandou.namers.fs import FsNamer, FsNamerKind, read_endpoints
from biandou.testing.observing import Observed

VECTORS = json.loads((FilePath(__file__).parents[1] / "vectors" / "naming_rooms.json").read_text())["vectors"]

Tree = NameTree[Path | Bound]


@pytest.fixture
def root(tmp_path: FilePath) -> FilePath:
    directory = tmp_path / "disco"
    directory.mkdir()
    return directory


@pytest.fixture
def namer(root: FilePath) -> FsNamer:
    return FsNamer(Path.read("/#/io.l5d.fs"), str(root))


def replace(path: FilePath, text: str) -> None:
    """Write as careful programs do: elsewhere, then rename."""
    other = path.with_name(path.name + ".new")
    other.write_text(text)
    other.rename(path)


def bound(state: State[Tree]) -> Bound:
    assert isinstance(state, Ok)
    assert isinstance(state.value, Leaf)
    assert isinstance(state.value.value, Bound)
    return state.value.value


def addresses(live: Live[Tree]) -> Live[Addresses]:
    def inner(tree: Tree) -> Live[Addresses]:
        return bound(Ok(tree)).addresses

    return live.flat_map(inner)


def at(*wanted: str) -> Callable[[State[Addresses]], bool]:
    def check(state: State[Addresses]) -> bool:
        return (
            isinstance(state, Ok)
            and isinstance(state.value, AddressSet)
            and [str(address) for address in state.value.addresses] == list(wanted)
        )

    return check


def failed_by(text: str) -> Callable[[State[Addresses]], bool]:
    return lambda state: isinstance(state, Failed) and text in str(state.error)


def negative(state: State[Tree]) -> bool:
    return state == Ok(NEG)


def is_leaf(state: State[Tree]) -> bool:
    return isinstance(state, Ok) and isinstance(state.value, Leaf)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["group"] == "fs.file"], ids=lambda v: v["id"])
def test_files_read_as_the_reference_says(vector: dict[str, Any]) -> None:
    text, expect = vector["input"]["text"].encode(), vector["expect"]
    if expect.get("failed"):
        with pytest.raises(ResolutionError, match="malformed address: "):
            read_endpoints(text)
    else:
        found = [e.at(e.host) for e in read_endpoints(text)]
        assert [[a.host, a.port, a.weight] for a in found] == expect["bound"]


@pytest.mark.parametrize(
    "line",
    ["host", "host 0", "host 70000", "host 80 *", "host 80 2", "host 80 * x", "host 80 * nan", "host 80 * -1",
     "host 8_0", "host \uff18\uff10", "host +80", "a b c d e", "host 80 x 2"],
)  # fmt: skip
def test_a_line_of_another_form_fails_the_file_and_is_quoted(line: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        read_endpoints(f"127.0.0.1 80\n  {line}  # why\n".encode())
    assert str(caught.value) == f"malformed address: {line}  # why"


async def test_a_name_is_a_file_and_the_rest_is_residual(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("127.0.0.1 8080\n127.0.0.2 8080 * 0.5\n")
    with Observed(namer.lookup(Path.read("/web/a/b"))) as tree:
        found = bound(tree.now)
        assert (str(found.id), str(found.residual)) == ("/#/io.l5d.fs/web", "/a/b")
        with Observed(found.addresses) as seen:
            assert seen.now == Ok(
                AddressSet((Address("127.0.0.1", 8080), Address("127.0.0.2", 8080, {"endpoint_addr_weight": 0.5})))
            )


async def test_sub_directories_are_walked_and_belong_to_the_id(root: FilePath, namer: FsNamer) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "web").write_text("127.0.0.1 80")
    with Observed(namer.lookup(Path.read("/a/b/web/rest"))) as tree:
        assert str(bound(tree.now).id) == "/#/io.l5d.fs/a/b/web"
    with Observed(namer.lookup(Path.read("/a/b"))) as tree:
        assert negative(tree.now), "a path that ends at a directory is no name"
    with Observed(namer.lookup(Path.read("/"))) as tree:
        assert negative(tree.now)


@pytest.mark.parametrize("path", [r"/\x2e\x2e\x2fsecret", "/../secret", "/./web", r"/web\x00", r"/a\x2fweb"])
async def test_a_name_never_leads_out_of_the_directory(root: FilePath, namer: FsNamer, path: str) -> None:
    (root / "web").write_text("127.0.0.1 80")
    (root / "a").mkdir()
    (root / "a" / "web").write_text("127.0.0.1 80")
    (root.parent / "secret").write_text("127.0.0.1 80")
    with Observed(namer.lookup(Path.read(path))) as tree:
        assert negative(tree.now)


async def test_a_name_that_is_too_long_for_a_file_is_not_there(root: FilePath, namer: FsNamer) -> None:
    """The name is a caller's `Host`: it must not do more than be unknown."""
    with Observed(namer.lookup(Path.of("x" * 300))) as tree:
        assert negative(tree.now)


@given(st.one_of(st.binary(), st.text("a1:. *#\n\t", max_size=60).map(str.encode)))
def test_any_contents_are_read_or_refused(contents: bytes) -> None:
    with contextlib.suppress(ResolutionError):
        for endpoint in read_endpoints(contents):
            assert endpoint.host
            assert 1 <= endpoint.port <= 65535


async def test_an_empty_file_is_a_name_without_endpoints(root: FilePath, namer: FsNamer) -> None:
    (root / "web").touch()
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert seen.now == Ok(AddressSet(()))


async def test_files_that_come_and_go_are_names_that_come_and_go(root: FilePath, namer: FsNamer) -> None:
    with Observed(namer.lookup(Path.of("web"))) as tree:
        assert negative(tree.now)
        (root / "web").write_text("127.0.0.1 80")
        await tree.until(is_leaf)
        (root / "web").unlink()
        await tree.until(negative)
        replace(root / "web", "127.0.0.1 81")
        await tree.until(is_leaf)


async def test_a_change_of_contents_changes_the_addresses_and_not_the_tree(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("127.0.0.1 80")
    with Observed(namer.lookup(Path.of("web"))) as tree, Observed(bound(tree.now).addresses) as seen:
        (root / "web").write_text("127.0.0.1 81")
        await seen.until(at("127.0.0.1:81"))
        with (root / "web").open("a") as file:
            file.write("\n127.0.0.2 81\n")
        await seen.until(at("127.0.0.1:81", "127.0.0.2:81"))
        assert len(tree.states) == 1


async def test_an_atomic_rename_over_a_file_is_seen(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("127.0.0.1 80")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        replace(root / "web", "127.0.0.1 81")
        await seen.until(at("127.0.0.1:81"))
        elsewhere = root.parent / "elsewhere"
        elsewhere.write_text("127.0.0.1 82")
        elsewhere.rename(root / "web")
        await seen.until(at("127.0.0.1:82"))
        assert all(isinstance(state, Ok) for state in seen.states)


async def test_a_kubernetes_config_map_volume_is_followed(root: FilePath, namer: FsNamer) -> None:
    """Kubernetes writes a new directory and renames the link `..data` over the old one: no event names the file."""

    def write(version: str, text: str) -> None:
        (root / f"..{version}").mkdir()
        (root / f"..{version}" / "web").write_text(text)
        (root / "..data_tmp").symlink_to(f"..{version}")
        (root / "..data_tmp").rename(root / "..data")

    write("1", "127.0.0.1 80")
    (root / "web").symlink_to("..data/web")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert at("127.0.0.1:80")(seen.now)
        write("2", "127.0.0.1 81")
        await seen.until(at("127.0.0.1:81"))
        shutil.rmtree(root / "..1")
        write("3", "127.0.0.1 82")
        await seen.until(at("127.0.0.1:82"))
        assert all(isinstance(state, Ok) for state in seen.states)


async def test_a_file_behind_a_link_out_of_the_directory_is_followed(root: FilePath, namer: FsNamer) -> None:
    releases = root.parent / "releases"
    for version in ("1", "2"):
        (releases / version).mkdir(parents=True)
        (releases / version / "web").write_text(f"127.0.0.1 8{version}")
    (root.parent / "current").symlink_to(releases / "1")
    (root / "web").symlink_to(root.parent / "current" / "web")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert at("127.0.0.1:81")(seen.now)
        (root.parent / "next").symlink_to(releases / "2")
        (root.parent / "next").rename(root.parent / "current")
        await seen.until(at("127.0.0.1:82"))
        (releases / "2" / "web").write_text("127.0.0.1 83")
        await seen.until(at("127.0.0.1:83"))


async def test_links_that_lead_in_a_circle_fail_and_mend(root: FilePath, namer: FsNamer) -> None:
    (root / "web").symlink_to("web")
    with Observed(namer.lookup(Path.of("web"))) as tree:
        assert isinstance(tree.now, Failed)
        replace(root / "web", "127.0.0.1 80")
        await tree.until(is_leaf)


async def test_a_root_that_is_itself_a_link_is_followed(tmp_path: FilePath) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "web").write_text(f"127.0.0.1 8{version}")
    (tmp_path / "disco").symlink_to("1")
    namer = FsNamer(Path.read("/#/fs"), str(tmp_path / "disco"))
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert at("127.0.0.1:81")(seen.now)
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "disco")
        await seen.until(at("127.0.0.1:82"))


async def test_a_root_that_is_renamed_and_made_again_is_found(root: FilePath, namer: FsNamer) -> None:
    """While the root is away, what was known stays and what was not known fails."""
    (root / "web").write_text("127.0.0.1 80")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen, Observed(namer.lookup(Path.of("new"))) as new:
        os.rename(root, root.with_name("away"))
        await asyncio.sleep(0.1)
        assert at("127.0.0.1:80")(seen.now)
        with Observed(namer.lookup(Path.of("unknown"))) as unknown:
            assert isinstance(unknown.now, Failed)
            assert "does not exist" in str(unknown.now.error)
        os.mkdir(root)
        (root / "web").write_text("127.0.0.1 81")
        (root / "new").write_text("127.0.0.1 90")
        await seen.until(at("127.0.0.1:81"))
        await new.until(is_leaf)


async def test_a_root_that_is_deleted_with_its_parent_is_found_again(tmp_path: FilePath) -> None:
    root = tmp_path / "a" / "b" / "disco"
    root.mkdir(parents=True)
    (root / "web").write_text("127.0.0.1 80")
    namer = FsNamer(Path.read("/#/fs"), str(root))
    with Observed(namer.lookup(Path.of("web"))) as tree:
        shutil.rmtree(tmp_path / "a")
        await asyncio.sleep(0.1)
        root.mkdir(parents=True)
        (root / "web").write_text("127.0.0.1 81")
        await asyncio.sleep(0.1)
        with Observed(bound(tree.now).addresses) as seen:
            await seen.until(at("127.0.0.1:81"))


async def test_a_renamed_directory_above_the_root_is_noticed(tmp_path: FilePath) -> None:
    (tmp_path / "1" / "disco").mkdir(parents=True)
    (tmp_path / "2" / "disco").mkdir(parents=True)
    (tmp_path / "1" / "disco" / "web").write_text("127.0.0.1 81")
    (tmp_path / "2" / "disco" / "web").write_text("127.0.0.1 82")
    namer = FsNamer(Path.read("/#/fs"), str(tmp_path / "1" / "disco"))
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        (tmp_path / "1").rename(tmp_path / "old")
        (tmp_path / "2").rename(tmp_path / "1")
        await seen.until(at("127.0.0.1:82"))


async def test_a_file_becomes_a_directory_and_back(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("127.0.0.1 80")
    with Observed(namer.lookup(Path.read("/web/v1"))) as tree:
        assert str(bound(tree.now).id) == "/#/io.l5d.fs/web"
        (root / "web").unlink()
        (root / "web").mkdir()
        (root / "web" / "v1").write_text("127.0.0.1 81")
        await tree.until(lambda state: is_leaf(state) and str(bound(state).id) == "/#/io.l5d.fs/web/v1")
        shutil.rmtree(root / "web")
        await tree.until(negative)


async def test_a_bad_line_fails_the_addresses_until_the_file_is_mended(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("127.0.0.1 80")
    with Observed(namer.lookup(Path.of("web"))) as tree, Observed(bound(tree.now).addresses) as seen:
        (root / "web").write_text("foo bar baz")
        state = await seen.until(lambda state: isinstance(state, Failed))
        assert isinstance(state, Failed)
        assert str(state.error) == "malformed address: foo bar baz"
        (root / "web").write_text("127.0.0.1 81")
        await seen.until(at("127.0.0.1:81"))
        assert len(tree.states) == 1


async def test_addresses_of_a_file_that_became_malformed_are_as_old_as_their_last_good_reading(
    root: FilePath, namer: FsNamer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1_000.0
    monkeypatch.setattr(time, "time", lambda: clock)
    replace(root / "web", "127.0.0.1 80")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert isinstance(seen.now, Ok)
        assert isinstance(seen.now.value, AddressSet)
        origin = seen.now.value.origin
        assert origin is not None
        good = (origin.confirmed_at, origin.changed_at, origin.version)
        assert good[:2] == (1_000.0, 1_000.0)
        for bad in ("foo bar baz", "nor is this one"):
            clock += 100
            replace(root / "web", bad)
            await seen.until(failed_by(bad))
            assert (origin.confirmed_at, origin.changed_at, origin.version) == good
            assert origin.error_at == clock
        clock += 100
        replace(root / "web", "127.0.0.1 81")
        await seen.until(at("127.0.0.1:81"))
        assert (origin.confirmed_at, origin.changed_at, origin.error) == (clock, clock, None)


async def test_a_file_that_is_too_large_or_none_at_all_fails(root: FilePath, namer: FsNamer) -> None:
    (root / "large").write_bytes(b"#" * (500 * 1024 + 1))
    (root / "just").write_bytes(b"#" * (500 * 1024))
    os.mkfifo(root / "pipe")
    with Observed(addresses(namer.lookup(Path.of("large")))) as seen:
        assert isinstance(seen.now, Failed)
        assert "larger than 500 KB" in str(seen.now.error)
    with Observed(addresses(namer.lookup(Path.of("just")))) as seen:
        assert seen.now == Ok(AddressSet(()))
    with Observed(addresses(namer.lookup(Path.of("pipe")))) as seen:
        assert isinstance(seen.now, Failed)


async def test_a_half_written_file_is_not_read(root: FilePath, namer: FsNamer) -> None:
    """Writers truncate before they write: what lies between must not be taken for an empty service."""
    (root / "web").write_text("127.0.0.1 80")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        with (root / "web").open("w") as file:
            await asyncio.sleep(0.1)
            file.write("127.0.0.1 8")
            file.flush()
            await asyncio.sleep(0.1)
            file.write("1\n")
        await seen.until(at("127.0.0.1:81"))
        assert len(seen.states) == 2


async def test_a_file_that_its_writer_keeps_open_is_read_when_it_rests(
    root: FilePath, namer: FsNamer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLE_SECONDS", 0.05)
    with (root / "web").open("w") as file, Observed(namer.lookup(Path.of("web"))) as tree:
        file.write("127.0.0.1 80\n")
        file.flush()
        await tree.until(is_leaf)
        with Observed(bound(tree.now).addresses) as seen:
            await seen.until(at("127.0.0.1:80"))
            file.write("127.0.0.1 81\n")
            file.flush()
            await seen.until(at("127.0.0.1:80", "127.0.0.1:81"))


def queue_limit() -> int:
    return int(FilePath("/proc/sys/fs/inotify/max_queued_events").read_text())


async def test_lost_events_are_made_up_for(root: FilePath, namer: FsNamer) -> None:
    """When the kernel's queue overflows everything that is observed is looked at again."""
    limit = queue_limit()
    if limit > 100_000:
        pytest.skip(f"the kernel's inotify queue holds {limit} events here")
    (root / "web").write_text("127.0.0.1 80")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen, Observed(namer.lookup(Path.of("new"))) as new:
        noise = [root / "noise1", root / "noise2"]
        noise[0].touch()
        for _ in range(limit // 2 + 10):
            noise[0].rename(noise[1])
            noise.reverse()
        (root / "web").write_text("127.0.0.1 81")
        (root / "new").write_text("127.0.0.1 90")
        await seen.until(at("127.0.0.1:81"), seconds=30)
        await new.until(is_leaf)


async def test_an_unreadable_root_keeps_what_is_known(root: FilePath, namer: FsNamer) -> None:
    """Whatever happens to the observed files, nothing is watched once nobody observes."""
    (root / "web").write_text("127.0.0.1 80")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert at("127.0.0.1:80")(seen.now)
        shown = namer.state()["names"]["web"]
        assert (shown["state"], shown["bytes"]) == ("file", 12)
        assert shown["origin"].keys() == {"registry", "version", "changed", "confirmed", "age", "corrections"}
    assert namer.state()["names"] == {}
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert at("127.0.0.1:80")(seen.now), "and it can be observed again"


async def test_two_observers_share_what_is_watched(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("127.0.0.1 80")
    with Observed(addresses(namer.lookup(Path.of("web")))) as one:
        with Observed(addresses(namer.lookup(Path.of("web")))) as two:
            replace(root / "web", "127.0.0.1 81")
            await two.until(at("127.0.0.1:81"))
        replace(root / "web", "127.0.0.1 82")
        await one.until(at("127.0.0.1:82"))


async def test_host_names_are_resolved(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("localhost 80\n127.1 81\n::1 82\n")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        await seen.until(at("127.0.0.1:80", "127.0.0.1:81", "[::1]:82"))


async def test_a_name_that_cannot_be_resolved_is_left_out(root: FilePath, namer: FsNamer) -> None:
    (root / "web").write_text("no-such-host.invalid 80\n127.0.0.1 81\n")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        await seen.until(at("127.0.0.1:81"), seconds=40)


def test_names_are_the_top_level_entries(root: FilePath, namer: FsNamer) -> None:
    (root / "web").touch()
    (root / "dir").mkdir()
    assert list(map(str, namer.names())) == ["/#/io.l5d.fs/dir", "/#/io.l5d.fs/web"]


def test_the_configuration_names_an_existing_directory(root: FilePath) -> None:
    made = msgspec.convert({"kind": "io.l5d.fs", "rootDir": str(root)}, FsNamerKind)
    assert str(made.namer().prefix) == "/#/io.l5d.fs"
    other = msgspec.convert({"kind": "io.l5d.fs", "rootDir": str(root), "prefix": "/a/b"}, FsNamerKind)
    assert str(other.namer().prefix) == "/#/a/b"
    with pytest.raises(msgspec.ValidationError, match="is not a directory"):
        msgspec.convert({"kind": "io.l5d.fs", "rootDir": str(root / "none")}, FsNamerKind)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "io.l5d.fs", "rootDir": str(root), "prefix": "no path"}, FsNamerKind)


def test_nothing_is_known_before_anybody_asks(namer: FsNamer) -> None:
    """A lookup outside a running loop opens nothing."""
    assert isinstance(namer.lookup(Path.of("web")), Live)
    assert not isinstance(Live().sample(), Ok | Failed)
    assert isinstance(Live().sample(), Pending)


async def test_what_inotify_does_not_tell_is_found_mended_and_counted(
    root: FilePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fs_check, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(files.Entry, "noticed", lambda *_: None)
    replace(root / "web", "127.0.0.1 80")
    namer = FsNamer(Path.read("/#/io.l5d.fs"), str(root), 0.05)
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        assert at("127.0.0.1:80")(seen.now)
        await asyncio.sleep(0.4)
        assert namer.state()["names"]["web"]["origin"]["corrections"] == 0
        replace(root / "web", "127.0.0.1 81")
        await seen.until(at("127.0.0.1:81"))
        assert namer.state()["names"]["web"]["origin"]["corrections"] == 1
    with Observed(namer.lookup(Path.of("web"))) as tree:
        (root / "web").unlink()
        await tree.until(lambda state: state == Ok(NEG))
    assert [record.getMessage() for record in caplog.records] == [
        f"{root}: web: what was known was not so any more, and inotify had not told"
    ] * 2


async def test_a_change_that_inotify_tells_is_no_correction(root: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fs_check, "PATIENCE_SECONDS", 0.1)
    namer = FsNamer(Path.read("/#/io.l5d.fs"), str(root), 0.02)
    replace(root / "web", "127.0.0.1 1")
    with Observed(addresses(namer.lookup(Path.of("web")))) as seen:
        for port in range(2, 30):
            replace(root / "web", f"127.0.0.1 {port}")
            await seen.until(at(f"127.0.0.1:{port}"))
            await asyncio.sleep(0.02)
        assert namer.state()["names"]["web"]["origin"]["corrections"] == 0
