"""The file of an access log: opened, rolled, and its rolled ones kept down to a number."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from biandou.config.plan import AccessLogPlan, SizeRoll
from biandou.namerd.access_log.roll import next_roll, rolled_name, rolled_order, stamp


class LogFile:
    """An open log. What can't be done with the file raises `OSError`."""

    def __init__(self, plan: AccessLogPlan, now: float) -> None:
        self._path = Path(plan.path)
        self._roll = plan.roll
        self._limit = plan.roll.bytes if isinstance(plan.roll, SizeRoll) else None
        self._rotate_count = plan.rotate_count
        self._fd = -1
        self.reopen(now)
        if not plan.append and self._regular:
            # By its length and not when it is opened: whoever empties it later needs one that is appended to.
            os.ftruncate(self._fd, 0)
            self._bytes = 0

    def reopen(self, now: float) -> None:
        """Open the file by its name, with the directories above it; what is there is appended to."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self.close()
        self._fd = fd
        status = os.fstat(fd)
        # A pipe or a terminal is never rolled.
        self._regular = stat.S_ISREG(status.st_mode)
        self._bytes = status.st_size
        self._opened = now
        self._roll_at = next_roll(self._roll, now)

    def write(self, lines: Sequence[bytes], now: float) -> int:
        """Write whole lines, rolling where it is time to, and give how many were written; the rest is for another call.

        Lines before one that is written to another file are all written first, in one piece.
        """
        if self._roll_at is not None and now >= self._roll_at:
            self._move(now)
        count, size = 0, 0
        for line in lines:
            if self._is_full(size + len(line)) and (count or self._bytes):
                break
            count, size = count + 1, size + len(line)
        if not count:
            self._move(now)
            return 0
        self._append(b"".join(lines[:count]))
        return count

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_full(self, more: int) -> bool:
        return self._regular and self._limit is not None and self._bytes + more > self._limit

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.write(self._fd, rest)
            self._bytes += written
            rest = rest[written:]

    def _move(self, now: float) -> None:
        """Move the file away and begin a new one."""
        if self._regular:
            of = stamp(self._roll, self._opened)
            # Above all numbers that are there, not the first that is free: the oldest may have been removed.
            used = [number for (other, number), _ in self._rolled() if other == of]
            # Somebody else may have moved it away.
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._path, rolled_name(self._path, of, max(used, default=-1) + 1))
        self.reopen(now)
        if self._rotate_count is not None:
            rolled = self._rolled()
            for _, path in rolled[: max(0, len(rolled) - self._rotate_count)]:
                path.unlink(missing_ok=True)

    def _rolled(self) -> list[tuple[tuple[str, int], Path]]:
        """Give the rolled files with what orders them, oldest first."""
        found = ((rolled_order(self._path, path.name), path) for path in self._path.parent.iterdir())
        return sorted((order, path) for order, path in found if order is not None)
