"""Bodies of registries' answers: bounded in size and time, and all together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest

from biandou.clients import bodies
from biandou.clients.bodies import LARGE, MAX_LARGE, Bodies, TooLarge

MIB = 1024 * 1024
CHUNK = bytes(64 * 1024)


class Sending:
    """A response whose body has so many chunks; counts what was read of it."""

    def __init__(self, chunks: int, seconds: float = 0.0) -> None:
        self.content = self
        self.read = 0
        self._left = chunks
        self._seconds = seconds

    async def readany(self) -> bytes:
        await asyncio.sleep(self._seconds)
        if self._left == 0:
            return b""
        self._left -= 1
        self.read += len(CHUNK)
        return CHUNK

    async def iter_any(self) -> AsyncIterator[bytes]:
        while chunk := await self.readany():
            yield chunk


def read(reader: Bodies, sending: Sending) -> Any:
    return reader.read(cast("aiohttp.ClientResponse", sending))


@pytest.mark.parametrize("chunks", [0, 1, 16, 17, 64])
async def test_a_body_is_read_whole_up_to_its_bound(chunks: int) -> None:
    assert await read(Bodies(4 * MIB), Sending(chunks)) == CHUNK * chunks


@pytest.mark.parametrize(("most", "chunks"), [(4 * MIB, 65), (4 * MIB, 10**9), (100, 1), (LARGE, 17)])
async def test_a_body_beyond_its_bound_is_refused(most: int, chunks: int) -> None:
    with pytest.raises(TooLarge, match=f"an answer of more than {most} bytes"):
        await read(Bodies(most), Sending(chunks))


async def test_a_body_that_comes_drop_by_drop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    with pytest.raises(TimeoutError):
        await read(Bodies(4 * MIB), Sending(10**9, 0.01))


async def test_many_large_bodies_are_not_held_at_one_time() -> None:
    reader, most, count = Bodies(8 * MIB), 8 * MIB, 24
    sent = [Sending(10**9) for _ in range(count)]
    reading = [asyncio.ensure_future(read(reader, one)) for one in sent]
    highest = 0
    while not all(one.done() for one in reading):
        held = sum(one.read for one, task in zip(sent, reading, strict=True) if not task.done())
        highest = max(highest, held)
        await asyncio.sleep(0)
    assert all(isinstance(one.exception(), TooLarge) for one in reading)
    assert highest <= count * (LARGE + len(CHUNK)) + MAX_LARGE * (most + len(CHUNK))
