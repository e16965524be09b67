"""Keeping what is known in a file: no single entry, and no failure, may cost the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from biandou.config.state_keeper import StateKeeper
from biandou.config.state_on_disk import StateOnDisk


class Entry(msgspec.Struct):
    name: str


def on_disk(path: Path) -> StateOnDisk[Entry]:
    return StateOnDisk(str(path), "linker", Entry)


async def test_an_entry_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    entries = [Entry("a"), Entry("\ud800"), Entry("b")]
    await StateKeeper(on_disk(path), lambda: entries, lambda: 1).stop()
    assert await StateKeeper(on_disk(path), list, lambda: 0).read() == [Entry("b"), Entry("a")]


async def test_a_last_save_that_fails_does_not_hold_up_the_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterator[Entry]:
        yield Entry("a")
        raise RuntimeError("a mistake of ours")

    await StateKeeper(on_disk(tmp_path / "state.json"), broken, lambda: 1).stop()
    assert "keeping the state file failed" in caplog.text


async def test_a_line_that_cannot_be_read_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.json"
    await StateKeeper(on_disk(path), lambda: [Entry("a"), Entry("b")], lambda: 1).stop()
    path.write_bytes(path.read_bytes().replace(b'"a"', b"7") + b'{"na')
    assert await StateKeeper(on_disk(path), list, lambda: 0).read() == [Entry("b")]
    assert "entries that can't be read: 2" in caplog.text
