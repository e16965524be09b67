"""Compares the files that are followed below a directory with what is there, whatever inotify tells."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from biandou.clients.files import SETTLE_SECONDS, Directory, Entry, File

PATIENCE_SECONDS: Final = 2 * SETTLE_SECONDS
"""So long inotify may take to tell what was seen."""

AT_ONCE: Final = 50
"""So many names are looked at before others have their turn."""

_log = logging.getLogger(__name__)

Differing = dict[Entry, tuple[object, float]]
"""What is known of each name that differs, and since when it was seen to."""


class DirectoryCheck:
    """All names of a directory as one subject of a reconciliation: what differs for long has not been told."""

    turn: int | None = 1

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._found: Differing = {}

    @property
    def patience(self) -> float:
        """How many seconds inotify may take to tell."""
        return PATIENCE_SECONDS

    async def ask(self) -> Differing:
        """Give what differs."""
        found: Differing = {}
        for count, entry in enumerate(self._directory.followed(), 1):
            if count % AT_ONCE == 0:
                await asyncio.sleep(0)
            if entry.differs():
                known = _known(entry)
                former = self._found.get(entry)
                found[entry] = former if former is not None and former[0] == known else (known, time.monotonic())
        self._found = found
        return found

    def holds(self, truth: Differing) -> bool:
        """Whether nothing differs."""
        return not truth

    def mend(self, truth: Differing) -> None:
        """Read what has differed from the same for long enough."""
        for entry, (_, since) in truth.items():
            if time.monotonic() - since < PATIENCE_SECONDS:
                continue
            where = f"{entry.directory.path}: {entry.name}"
            _log.warning("%s: what was known was not so any more, and inotify had not told", where)
            entry.check()
            if isinstance(entry.known, File):
                entry.known.origin.corrections += 1


def _known(entry: Entry) -> object:
    known = entry.known
    return known.sample() if isinstance(known, File) and known.observed else known
