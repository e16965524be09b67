"""What is made of files and made anew when they change: looked at when it is needed, and at most once a second."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from biandou.errors import ConfigError

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How long a look at the files is good for."""

_log = logging.getLogger(__name__)

Stamp = tuple[int, int, int] | None
"""Modification time in nanoseconds, size and inode; none if the file can't be seen."""


class FollowedFiles(Generic[T]):
    """The newest sound state of what `files` say, as `make` reads them; `what` is what that is called in the log.

    Raises `ConfigError` if it can't be made the first time. Later what was made last stays, and the log says once why.
    """

    def __init__(self, what: str, files: Sequence[str], make: Callable[[], T]) -> None:
        self._what = what
        self._files = tuple(files)
        self._make = make
        self._looked = time.monotonic()
        # Before they are read: what changes meanwhile is seen at the next look.
        self._stamps = _stamps(self._files)
        self._made = make()
        self._sound = True

    def get(self, *, at_once: bool = False) -> T:
        """Give what the files say, or said when they were looked at last; `at_once` looks in any case."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS and not at_once:
            return self._made
        self._looked = now
        stamps = _stamps(self._files)
        if stamps == self._stamps:
            return self._made
        self._stamps = stamps
        try:
            self._made = self._make()
        except ConfigError as error:
            if self._sound:
                _log.error("%s: the files have changed and can't be used, the former ones stay: %s", self._what, error)
            self._sound = False
        else:
            _log.info("%s: the files have changed and were read again", self._what)
            self._sound = True
        return self._made


def _stamps(files: Sequence[str]) -> tuple[Stamp, ...]:
    return tuple(map(_stamp, files))


def _stamp(file: str) -> Stamp:
    try:
        seen = os.stat(file)
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
