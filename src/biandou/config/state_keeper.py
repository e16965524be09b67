"""Keeps what a program knows in its state file while it runs, and gives it what it knew when it starts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Generic, TypeVar

import msgspec

from biandou.config.state_on_disk import MAX_BYTES, StateBusy, StateOnDisk, StateUnusable
from biandou.dtab.bound import shown_time
from biandou.errors import reason

SAVE_SECONDS: Final = 2.0
"""After so long a change is in the file; more seldom if there is so much that it takes a hundredth of the time."""

CONFIRM_SECONDS: Final = 60.0
"""How often the file is written without a change, so that it says how long things were known."""

COST: Final = 0.01
AT_ONCE: Final = 200
"""So many names are looked at before others have their turn."""

_log = logging.getLogger(__name__)

Entry = TypeVar("Entry", bound=msgspec.Struct)


class StateKeeper(Generic[Entry]):
    """Keeps the state of a program in a file, if it has one.

    `entries` gives what is known at this moment, the latest first, and `changes` a number that goes up with each change
    of it.
    """

    def __init__(
        self,
        file: StateOnDisk[Entry] | None,
        entries: Callable[[], Iterable[Entry]],
        changes: Callable[[], int],
    ) -> None:
        self._file = file
        self._entries = entries
        self._changes = changes
        self._task: asyncio.Task[None] | None = None
        self._saving = asyncio.Lock()
        self._saved_at: float | None = None
        self._written = -1
        self._error: str | None = None

    async def read(self) -> list[Entry]:
        """Give what the file says, the latest last; one that can't be used is said in the log, and replaced later."""
        if self._file is None:
            return []
        try:
            found = await asyncio.to_thread(self._file.read)
        except (OSError, StateUnusable) as error:
            _log.warning("the state file %s is not used: %s", self._file.path, reason(error))
            return []
        if found is None:
            return []
        self._saved_at, entries = found
        _log.info("read the state file %s of %s", self._file.path, shown_time(self._saved_at))
        return entries

    def start(self) -> None:
        """Begin to save."""
        if self._file is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="state file")

    async def follow(self, file: StateOnDisk[Entry] | None) -> None:
        """Save in another file from now on."""
        if (file and file.path) == (self._file and self._file.path):
            return
        await self._end()
        self._file, self._saved_at, self._error, self._written = file, None, None, -1
        self.start()

    async def stop(self) -> None:
        """Save for the last time."""
        try:
            await self._save()
        except Exception:
            # The rest has to be stopped all the same.
            _log.exception("keeping the state file failed")
        finally:
            await self._end()

    def shown(self) -> dict[str, Any] | None:
        """Give JSON values for `/admin/health`, or nothing without a file; `age` is in seconds."""
        if self._file is None:
            return None
        age = None if self._saved_at is None else round(max(0.0, time.time() - self._saved_at), 3)
        shown = {"path": self._file.path, "saved": shown_time(self._saved_at), "age": age, "error": self._error}
        return {key: value for key, value in shown.items() if value is not None}

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        if self._file is not None:
            self._file.close()

    async def _run(self) -> None:
        pause = SAVE_SECONDS
        quiet = 0.0
        while True:
            await asyncio.sleep(pause)
            quiet += pause
            if self._changes() == self._written and quiet < CONFIRM_SECONDS:
                continue
            quiet = 0.0
            began = time.perf_counter()
            try:
                await self._save()
            except Exception:
                _log.exception("keeping the state file failed")
            pause = max(SAVE_SECONDS, (time.perf_counter() - began) / COST)

    async def _save(self) -> None:
        async with self._saving:
            file = self._file
            if file is None:
                return
            changes, now = self._changes(), time.time()
            lines = await self._lines()
            if not lines and self._saved_at is None:
                return
            try:
                await _to_its_end(asyncio.to_thread(file.write, now, lines))
            except (OSError, StateBusy) as error:
                if self._error is None:
                    _log.warning("the state file %s can't be written: %s", file.path, reason(error))
                self._error = reason(error)
            else:
                if self._error is not None:
                    _log.info("the state file %s is written again", file.path)
                self._error, self._saved_at, self._written = None, now, changes

    async def _lines(self) -> bytearray:
        """Give the entries as text, as far as there is room; one after the other, since there are thousands."""
        lines = bytearray()
        for count, entry in enumerate(self._entries()):
            if count % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            try:
                line = msgspec.json.encode(entry)
            except (TypeError, ValueError) as error:
                # Other names are kept all the same.
                _log.debug("an entry can't be kept: %s", error)
                continue
            if len(lines) + len(line) > MAX_BYTES - 4096:
                break
            lines += line
            lines += b"\n"
        return lines


async def _to_its_end(writing: Coroutine[Any, Any, None]) -> None:
    """Wait for what a thread does even when we are cancelled: nobody else may write meanwhile."""
    task = asyncio.create_task(writing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
