"""Inotify on real directories."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from pathlib import Path

import pytest

from biandou.clients import inotify
from biandou.clients.inotify import Inotify


class Heard:
    """The events that one watch has brought."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str]] = []
        self._came = asyncio.Event()

    def __call__(self, mask: int, name: str) -> None:
        self.events.append((mask, name))
        self._came.set()

    async def until(self, mask: int, name: str) -> None:
        async with asyncio.timeout(5):
            while not any(bits & mask and name == found for bits, found in self.events):
                self._came.clear()
                await self._came.wait()


async def test_two_watches_of_one_directory_share_the_kernel_s(tmp_path: Path) -> None:
    notifier, names, contents = Inotify(), Heard(), Heard()
    first = notifier.watch(str(tmp_path), inotify.NAMES, names)
    second = notifier.watch(str(tmp_path), inotify.CONTENTS, contents)
    assert notifier.count == 1
    (tmp_path / "a").write_text("x")
    await contents.until(inotify.CLOSE_WRITE, "a")
    assert {bits for bits, _ in names.events} == {inotify.CREATE}, "each hears only what it asked for"
    first.close()
    (tmp_path / "b").write_text("x")
    await contents.until(inotify.CLOSE_WRITE, "b")
    assert all(name == "a" for _, name in names.events)
    second.close()
    assert notifier.count == 0


async def test_the_descriptor_is_open_only_while_something_is_watched(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    notifier, heard = Inotify(), Heard()
    watch = notifier.watch(str(tmp_path), inotify.NAMES, heard)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    watch.close()
    watch.close()
    assert len(os.listdir("/proc/self/fd")) == before
    again = notifier.watch(str(tmp_path), inotify.NAMES, heard)
    (tmp_path / "a").touch()
    await heard.until(inotify.CREATE, "a")
    again.close()


async def test_a_directory_that_goes_is_told_and_no_longer_watched(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    notifier, heard = Inotify(), Heard()
    watch = notifier.watch(str(tmp_path / "d"), inotify.NAMES, heard)
    (tmp_path / "d").rmdir()
    await heard.until(inotify.IGNORED, "")
    assert notifier.count == 0
    watch.close()


@pytest.mark.parametrize(("name", "number"), [("none", errno.ENOENT), ("file", errno.ENOTDIR)])
async def test_what_cannot_be_watched_says_why(tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=name) as caught:
        Inotify().watch(str(tmp_path / name), inotify.NAMES, Heard())
    assert caught.value.errno == number


async def test_an_observer_that_raises_costs_nobody_else_an_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(mask: int, name: str) -> None:
        raise RuntimeError("broken")

    notifier, heard = Inotify(), Heard()
    watches = [notifier.watch(str(tmp_path), inotify.NAMES, notify) for notify in (broken, heard)]
    with caplog.at_level(logging.ERROR):
        (tmp_path / "a").touch()
        await heard.until(inotify.CREATE, "a")
    assert "an observer of a directory failed" in caplog.text
    for watch in watches:
        watch.close()


async def test_events_of_a_closed_descriptor_reach_nobody_of_the_next(tmp_path: Path) -> None:
    """Watch numbers begin again with a new descriptor: what was read before must not be taken for its events."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    notifier, later = Inotify(), Heard()

    def swap(mask: int, name: str) -> None:
        watch.close()
        notifier.watch(str(tmp_path / "two"), inotify.NAMES, later)

    watch = notifier.watch(str(tmp_path / "one"), inotify.NAMES, swap)
    for name in "abc":
        (tmp_path / "one" / name).touch()
    await asyncio.sleep(0.1)
    (tmp_path / "two" / "x").touch()
    await later.until(inotify.CREATE, "x")
    assert {name for _, name in later.events} == {"x"}
