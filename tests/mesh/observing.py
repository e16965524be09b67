"""What a process holds, seen from outside, and waiting until something has come true."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def resident_kib(pid: int) -> int:
    """Give the memory that a process holds now, in KiB."""
    return _status_kib(pid, "VmRSS")


def peak_resident_kib(pid: int) -> int:
    """Give the most memory that a process has held since its start, or since `forget_peak`, in KiB."""
    return _status_kib(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Begin anew to note the most memory that a process holds (proc(5), `clear_refs`)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status_kib(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def descriptors(pid: int) -> int:
    """Give how many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


async def becomes(what: str, read: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], seconds: float = 10.0) -> T:
    """Read again until it is as wanted, and give it; raises `AssertionError` with what was read last if it never is."""
    last: list[T] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                last[:] = [await read()]
                if wanted(last[0]):
                    return last[0]
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not so within {seconds} s: {what}; last seen: {last}") from None
