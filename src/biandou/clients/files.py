"""Files and directories whose names and contents are followed, whatever way they are replaced.

A name is looked at again when inotify says that something in its directory changed: so an atomic rename, a swapped
symbolic link (Kubernetes swaps `..data` and leaves the names alone), a directory that was deleted and made again and
a lost event are all the same case. For a link every directory that its resolution touches is watched; for the root,
each directory above it. Only what somebody observes is watched or read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from weakref import WeakValueDictionary

from biandou.clients import inotify
from biandou.clients.inotify import Inotify
from biandou.dtab.bound import Origin, shown_time
from biandou.errors import ResolutionError
from biandou.live import PENDING, Failed, Live, Ok, Watch

MAX_BYTES: Final = 500 * 1024
"""Larger files are refused (reference/naming.md §1.1)."""

SETTLE_SECONDS: Final = 1.0
"""A file that is being written is read when its writer closes it, or has been quiet for so long."""

_MAX_LINKS: Final = 40
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


class Directory:
    """A directory below which names can be looked up; `attended` hears when the first is followed, and of the last."""

    def __init__(self, path: str, notifier: Inotify, attended: Callable[[bool], None] | None = None) -> None:
        self.path = os.path.abspath(path)
        self.notifier = notifier
        self._attended = attended
        self._real: str | None = None
        self._names: WeakValueDictionary[str, Entry] = WeakValueDictionary()
        self._open_entries: dict[str, Entry] = {}
        self._above: list[Watch] = []
        self._itself: Watch | None = None
        self._error: Exception | None = None

    def entry(self, name: str) -> Entry:
        """Give what the name stands for: a `File`, a `Directory`, or `None` while there is neither.

        A name that would lead out of the directory (`..`, or one with a slash) raises `ValueError`.
        """
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"not a file name: {name!r}")
        entry = self._names.get(name)
        if entry is None:
            entry = self._names[name] = Entry(self, name)
        return entry

    def listing(self) -> list[str]:
        """Give the names of this moment, sorted; empty if the directory cannot be read."""
        try:
            return sorted(os.listdir(self.path))
        except OSError:
            return []

    def followed(self) -> Iterator[Entry]:
        """Give all names that are followed here and below."""
        for entry in list(self._open_entries.values()):
            yield entry
            below = entry.known
            if isinstance(below, Directory):
                yield from below.followed()

    def state(self) -> dict[str, Any]:
        """Give what is followed, for people."""
        state: dict[str, Any] = {"path": self.path, "following": self._real}
        if self._error is not None:
            state["error"] = str(self._error)
        state["names"] = {name: entry.describe() for name, entry in sorted(self._open_entries.items())}
        return state

    def retain(self, entry: Entry) -> None:
        """Follow the directory for this entry (entries call it themselves)."""
        self._open_entries[entry.name] = entry
        if len(self._open_entries) == 1:
            self._follow()
            if self._attended is not None:
                self._attended(True)

    def release(self, entry: Entry) -> None:
        """Stop following the directory for this entry."""
        self._open_entries.pop(entry.name, None)
        if not self._open_entries:
            self._unfollow()
            if self._attended is not None:
                self._attended(False)

    @property
    def real(self) -> str:
        """The directory's path without symbolic links; raises why it cannot be followed."""
        if self._real is None:
            raise self._error or ResolutionError(f"{self.path} is not a directory")
        return self._real

    def _follow(self) -> None:
        """Find the directory and watch it, and everything on the way to it."""
        former, self._above = [*self._above, *([self._itself] if self._itself else [])], []
        self._real, self._itself, self._error = None, None, None
        try:
            real = watch_path(self.notifier, self.path, inotify.NAMES, self._look_again, self._above)
            if real is None:
                raise ResolutionError(f"{self.path} does not exist")
            self._itself = self.notifier.watch(real, inotify.CONTENTS, self._noticed)
            self._real = real
        except OSError as error:
            self._error = ResolutionError(_explain(error, self.path))
        except ResolutionError as error:
            self._error = error
        # Closed last, so that directories which stay watched keep their events.
        for watch in former:
            watch.close()

    def _unfollow(self) -> None:
        watches, self._above = self._above, []
        if self._itself is not None:
            watches.append(self._itself)
        self._itself, self._real = None, None
        for watch in watches:
            watch.close()

    def _look_again(self, _mask: int = inotify.OVERFLOW) -> None:
        if not self._open_entries:
            return
        self._follow()
        for entry in tuple(self._open_entries.values()):
            entry.check()

    def _noticed(self, mask: int, name: str) -> None:
        if mask & (inotify.OVERFLOW | inotify.IGNORED | inotify.DELETE_SELF | inotify.MOVE_SELF):
            self._look_again()
            return
        entry = self._open_entries.get(name)
        if entry is not None:
            entry.noticed(mask)


class File(Live[bytes]):
    """A file's contents; failed while it is too large, not there, or cannot be read.

    The version in `origin` is when the file was written, and what confirms it is reading it.
    """

    __slots__ = ("_before", "_entry", "_refused", "origin")

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry = entry
        self._refused = False
        self.origin = Origin(f"files in {entry.directory.path}")
        self._before = self._told()

    def __repr__(self) -> str:
        return f"File({os.path.join(self._entry.directory.path, self._entry.name)})"

    def _open(self) -> None:
        self._entry.retain()
        self.read()

    def _shut(self) -> None:
        self._entry.release()

    def read(self) -> None:
        """Read the file again; one that cannot be found because its directory is lost stays as it was."""
        entry = self._entry
        try:
            path = os.path.join(entry.directory.real, entry.name)
        except ResolutionError as error:
            if not isinstance(self._state, Ok):
                self._publish(Failed(error))
            return
        try:
            contents, written = _contents(path)
        except OSError as error:
            self._fail(ResolutionError(_explain(error, path)))
        except ResolutionError as error:
            self._fail(error)
        else:
            origin = self.origin
            if self._state != Ok(contents):
                self._before, self._refused = self._told(), False
                origin.changed_at = time.time()
                # What is wrong with the same contents is still wrong.
                origin.error = origin.error_at = None
            if not self._refused:
                origin.confirmed_at = time.time()
                origin.version = shown_time(written)
            self._publish(Ok(contents))

    def refuse(self, error: Exception) -> None:
        """Say that the contents can't be used: what was made of former ones goes on, and is as old as it was."""
        origin = self.origin
        origin.error, origin.error_at = str(error), time.time()
        if not self._refused:
            self._refused = True
            origin.confirmed_at, origin.changed_at, origin.version = self._before

    def differs(self) -> bool:
        """Read an observed file and say whether it holds something else than is known; if not, that is confirmed."""
        entry = self._entry
        if not self.observed:
            return False
        try:
            contents, _ = _contents(os.path.join(entry.directory.real, entry.name))
        except (OSError, ResolutionError):
            return False
        if self._state != Ok(contents):
            return True
        if not self._refused:
            self.origin.confirmed_at = time.time()
        return False

    def _told(self) -> tuple[float | None, float | None, str | None]:
        return self.origin.confirmed_at, self.origin.changed_at, self.origin.version

    def _fail(self, error: ResolutionError) -> None:
        self.origin.error, self.origin.error_at = str(error), time.time()
        self._publish(Failed(error))


class Entry(Live["File | Directory | None"]):
    """What one name of a directory stands for; the same object as long as anybody holds it."""

    __slots__ = ("_below", "_file", "_holders", "_links", "_settling", "directory", "name")

    def __init__(self, directory: Directory, name: str) -> None:
        super().__init__()
        self.directory = directory
        self.name = name
        self._file: File | None = None
        self._below: Directory | None = None
        self._links: list[Watch] = []
        self._holders = 0
        self._settling: asyncio.TimerHandle | None = None

    @property
    def known(self) -> File | Directory | None:
        """What the name stands for, as far as that is known."""
        return self._state.value if isinstance(self._state, Ok) else None

    def differs(self) -> bool:
        """Look, and say whether the name stands for something else than is known, or its file holds something else.

        What is being written is let be, and what cannot be looked at.
        """
        if self._settling is not None or not isinstance(self._state, Ok):
            return False
        try:
            mode = os.stat(os.path.join(self.directory.real, self.name)).st_mode
        except OSError as error:
            return error.errno in _GONE and self.known is not None
        except ResolutionError:
            return False
        if stat.S_ISDIR(mode):
            return not isinstance(self.known, Directory)
        return not isinstance(self.known, File) or self.known.differs()

    def describe(self) -> Any:
        """Give what is known, for people."""
        match self._state:
            case Ok(File() as file):
                match file.sample() if file.observed else PENDING:
                    case Ok(contents):
                        return {"state": "file", "bytes": len(contents), "origin": file.origin.shown(time.time())}
                    case Failed(error):
                        return {"state": "failed", "cause": str(error)}
                    case _:
                        return {"state": "file"}
            case Ok(Directory() as directory):
                return {"state": "directory", **directory.state()}
            case Ok(None):
                return {"state": "missing"}
            case Failed(error):
                return {"state": "failed", "cause": str(error)}
        return {"state": "pending"}

    def _open(self) -> None:
        self.retain()
        self.check()

    def _shut(self) -> None:
        self.release()

    def retain(self) -> None:
        """Hold the directory open; who observes the name does so, and who observes the file."""
        self._holders += 1
        if self._holders == 1:
            self.directory.retain(self)

    def release(self) -> None:
        """Let go of the directory."""
        self._holders -= 1
        if self._holders == 0:
            self._drop_links()
            self._cancel()
            self.directory.release(self)

    def noticed(self, mask: int) -> None:
        """Take in an event of this name."""
        if mask & inotify.CREATE and self._being_made():
            self._settle()
        elif mask & (inotify.NAMES | inotify.ATTRIB | inotify.CLOSE_WRITE | inotify.OVERFLOW | inotify.IGNORED):
            self._cancel()
            self.check()
        elif mask & inotify.MODIFY:
            self._settle()

    def check(self) -> None:
        """Look at the name again, and read its file if that is observed."""
        try:
            found = self._find()
        except (OSError, ResolutionError) as error:
            # What cannot be looked at is not gone: whoever knew it keeps it.
            if not isinstance(self._state, Ok):
                reason = error if isinstance(error, ResolutionError) else ResolutionError(_explain(error, self.name))
                self._publish(Failed(reason))
            if self._file is not None and self._file.observed:
                self._file.read()
            return
        if isinstance(found, File) and found.observed:
            found.read()
        self._publish(Ok(found))

    def _find(self) -> File | Directory | None:
        path = os.path.join(self.directory.real, self.name)
        former, self._links = self._links, []
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                watch_path(self.directory.notifier, path, inotify.CONTENTS, self._link_changed, self._links)
                mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        finally:
            for watch in former:
                watch.close()
        if stat.S_ISDIR(mode):
            if self._below is None:
                self._below = Directory(os.path.join(self.directory.path, self.name), self.directory.notifier)
            return self._below
        if self._file is None:
            self._file = File(self)
        return self._file

    def _link_changed(self, mask: int) -> None:
        if self._holders:
            self.noticed(mask)

    def _being_made(self) -> bool:
        """Whether a writer is likely to hold the new file open: not so for a link or a directory."""
        try:
            found = os.lstat(os.path.join(self.directory.real, self.name))
        except (OSError, ResolutionError):
            return False
        return stat.S_ISREG(found.st_mode) and found.st_nlink == 1

    def _settle(self) -> None:
        # A timer that runs is left alone: who never stops writing is read once a second.
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settled)

    def _settled(self) -> None:
        self._settling = None
        if self._holders:
            self.check()

    def _cancel(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _drop_links(self) -> None:
        links, self._links = self._links, []
        for watch in links:
            watch.close()


def watch_path(
    notifier: Inotify, path: str, mask: int, changed: Callable[[int], None], watches: list[Watch]
) -> str | None:
    """Resolve an absolute path by hand and watch each name on the way, in the directory where it stands.

    `changed` is called with the event's bits when one of the names may have another meaning (or, if `mask` says so,
    other contents). The watches are appended to `watches` as they are made, before the name is looked at: nothing is
    missed in between. A directory that we may pass but not read is not watched. Gives the path without links, or
    `None` if it does not exist. Raises `OSError`.
    """
    here = "/"
    names = [name for name in path.split("/") if name not in ("", ".")][::-1]
    links = 0
    while names:
        name = names.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        with contextlib.suppress(PermissionError):
            watches.append(notifier.watch(here, mask, _only(name, changed)))
        there = os.path.join(here, name)
        try:
            mode = os.lstat(there).st_mode
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        if stat.S_ISLNK(mode):
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(there)
            names.extend([part for part in target.split("/") if part not in ("", ".")][::-1])
            if target.startswith("/"):
                here = "/"
        elif names and not stat.S_ISDIR(mode):
            return None
        else:
            here = there
    return here


def _only(name: str, changed: Callable[[int], None]) -> inotify.Notify:
    def notify(mask: int, found: str) -> None:
        if found in (name, ""):
            changed(mask)

    return notify


def _contents(path: str) -> tuple[bytes, float]:
    """Give what a file holds, and when it was written."""
    # Without O_NONBLOCK opening a FIFO would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ResolutionError(f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            contents = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(contents) > MAX_BYTES:
        raise ResolutionError(f"{path} is larger than {MAX_BYTES // 1024} KB")
    return contents, found.st_mtime


def _explain(error: OSError, path: str) -> str:
    if error.errno == errno.ENOSPC:
        return f"{path}: no inotify watch is left (see fs.inotify.max_user_watches)"
    return f"{error.filename or path}: {error.strerror or error}"
