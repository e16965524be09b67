"""Linux inotify on the event loop: who wants to know of a directory is called when something in it changes.

Of our own, on libc: the packages for it bring a thread or a loop of theirs, and this is four calls. Several watches
of one directory share the kernel's one; the descriptor is open only while something is watched.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
from collections.abc import Callable
from typing import Final

from biandou.live import Ending, Watch

MODIFY: Final = 0x002
ATTRIB: Final = 0x004
CLOSE_WRITE: Final = 0x008
MOVED_FROM: Final = 0x040
MOVED_TO: Final = 0x080
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
OVERFLOW: Final = 0x4000
"""The kernel dropped events: everything must be looked at again."""
IGNORED: Final = 0x8000
"""The directory is gone, or its file system was unmounted: this watch tells nothing more."""

NAMES: Final = MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
"""What changes which file a name stands for."""
CONTENTS: Final = NAMES | MODIFY | ATTRIB | CLOSE_WRITE
"""What changes that, or what the file holds."""

_ALWAYS: Final = OVERFLOW | IGNORED
_ONLY_DIRECTORIES: Final = 0x0100_0000
_ADD_TO_MASK: Final = 0x2000_0000
_HEADER: Final = struct.Struct("iIII")
_BUFFER: Final = 64 * 1024

_log = logging.getLogger(__name__)

Notify = Callable[[int, str], None]
"""Called with the event's bits and the name in the directory (empty for the directory itself)."""


class Inotify:
    """The watched directories of one event loop."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._opening = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._libc: ctypes.CDLL | None = None
        self._watched: dict[int, dict[object, tuple[int, Notify]]] = {}

    def watch(self, directory: str, mask: int, notify: Notify) -> Watch:
        """Call `notify` for the events of `mask`, `OVERFLOW` and `IGNORED` until the watch is closed.

        Must be called on a running loop. Raises `OSError` if the directory cannot be watched: `ENOENT`, `ENOTDIR`,
        `EACCES`, or `ENOSPC` when the user's limit of watches (`fs.inotify.max_user_watches`) is reached.
        """
        libc = self._opened()
        descriptor = self._add(libc, directory, mask)
        key = object()
        self._watched.setdefault(descriptor, {})[key] = (mask | _ALWAYS, notify)
        return Ending(lambda: self._leave(descriptor, key))

    @property
    def count(self) -> int:
        """How many directories the kernel watches for us."""
        return len(self._watched)

    def _add(self, libc: ctypes.CDLL, directory: str, mask: int) -> int:
        bits = ctypes.c_uint32(mask | _ONLY_DIRECTORIES | _ADD_TO_MASK)
        descriptor = int(libc.inotify_add_watch(self._descriptor, os.fsencode(directory), bits))
        if descriptor < 0:
            number = ctypes.get_errno()
            if not self._watched:
                self._close()
            raise OSError(number, os.strerror(number), directory)
        return descriptor

    def _opened(self) -> ctypes.CDLL:
        loop = asyncio.get_running_loop()
        if self._libc is None or self._loop is not loop or self._descriptor < 0:
            if self._watched:
                raise RuntimeError("an Inotify belongs to one event loop")
            self._libc = ctypes.CDLL(None, use_errno=True)
            descriptor = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            if descriptor < 0:
                number = ctypes.get_errno()
                raise OSError(number, f"inotify: {os.strerror(number)} (see fs.inotify.max_user_instances)")
            self._descriptor, self._loop = descriptor, loop
            self._opening += 1
            loop.add_reader(descriptor, self._read)
        return self._libc

    def _close(self) -> None:
        if self._descriptor >= 0:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _leave(self, descriptor: int, key: object) -> None:
        observers = self._watched.get(descriptor)
        if observers is None or observers.pop(key, None) is None or observers:
            return
        del self._watched[descriptor]
        if not self._watched:
            self._close()
        elif self._libc is not None:
            # Fails only if the kernel has dropped the watch itself, which is what we want.
            self._libc.inotify_rm_watch(self._descriptor, descriptor)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _BUFFER)
        except (BlockingIOError, InterruptedError):
            return
        offset = 0
        opening = self._opening
        # Whoever is called may close the last watch and open another: then the rest speaks of directories that nobody
        # watches.
        while offset + _HEADER.size <= len(data) and opening == self._opening and self._descriptor >= 0:
            descriptor, mask, _cookie, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            if mask & OVERFLOW:
                for observers in tuple(self._watched.values()):
                    _tell(observers, OVERFLOW, "")
            elif mask & IGNORED:
                _tell(self._watched.get(descriptor, {}), IGNORED, "")
                if self._watched.pop(descriptor, None) is not None and not self._watched:
                    self._close()
            else:
                _tell(self._watched.get(descriptor, {}), mask, name)


def _tell(observers: dict[object, tuple[int, Notify]], mask: int, name: str) -> None:
    for key, (wanted, notify) in tuple(observers.items()):
        if mask & wanted and key in observers:
            try:
                notify(mask, name)
            except Exception:
                _log.exception("an observer of a directory failed")
