"""A state file: replaced as a whole, written by one process at a time, read by whoever starts."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from typing import Any, Final, Generic, TypeVar

import msgspec

FORMAT: Final = "biandou state"
VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024 * 1024

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_log = logging.getLogger(__name__)

Entry = TypeVar("Entry", bound=msgspec.Struct)


class _Header(msgspec.Struct):
    """The first line; `saved` in seconds since 1970."""

    format: str
    version: int
    program: str = ""
    saved: float = 0.0


class StateUnusable(Exception):
    """The file is not one of ours, or of another version."""


class StateBusy(Exception):
    """Another process writes the file."""


class StateOnDisk(Generic[Entry]):
    """The file at `path`, of `program`: a line that says so, then a line of JSON for each entry, the latest first.

    `form` is the type of an entry, which a union of tagged structs may be. Each method blocks, and is for a thread.
    """

    def __init__(self, path: str, program: str, form: Any) -> None:
        self.path = path
        self._program = program
        self._form = form
        self._lock: int | None = None

    def read(self) -> tuple[float, list[Entry]] | None:
        """Give when it was saved, in seconds since 1970, and the entries, the latest last; `None` if there is no file.

        Raises `OSError`, or `StateUnusable` for a file that can't be used.
        """
        try:
            # A pipe must not hold us up.
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with open(file, "rb") as reader:
            data = reader.read(MAX_BYTES + 1) or b""
        if len(data) > MAX_BYTES:
            raise StateUnusable(f"it has more than {MAX_BYTES} bytes")
        first, _, rest = data.partition(b"\n")
        try:
            header = msgspec.json.decode(first, type=_Header)
            if (header.format, header.version, header.program) != (FORMAT, VERSION, self._program):
                known = header.format == FORMAT
                what = f"it is of {header.program[:80]!r}" if known else f"it is a {header.format[:80]!r}"
                raise StateUnusable(f"{what}, version {header.version}")
        except _UNREADABLE as error:
            raise StateUnusable(str(error)) from error
        entries = self._entries(rest)
        entries.reverse()
        return header.saved, entries

    def _entries(self, lines: bytes) -> list[Entry]:
        decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(self._form)
        try:
            return decoder.decode_lines(lines)
        except _UNREADABLE as error:
            problem: Exception = error
        # One that can't be read costs no other its place.
        entries, left_out = [], 0
        for line in lines.splitlines():
            try:
                entries.append(decoder.decode(line))
            except _UNREADABLE as error:
                problem = error
                left_out += 1
        if not entries:
            raise StateUnusable(str(problem)) from problem
        _log.warning(
            "the state file %s: entries that can't be read: %d, the last of them: %s", self.path, left_out, problem
        )
        return entries

    def write(self, saved: float, lines: bytearray) -> None:
        """Replace the file: whoever reads it, after a crash too, finds the former text or this one.

        Raises `OSError`, or `StateBusy`; then the file is as it was.
        """
        directory = os.path.dirname(self.path) or "."
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._hold()
        beside = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(file, "wb") as writer:
                writer.write(msgspec.json.encode(_Header(FORMAT, VERSION, self._program, saved)) + b"\n")
                writer.write(lines)
                writer.flush()
                os.fsync(writer.fileno())
            os.replace(beside, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        _sync(directory)

    def close(self) -> None:
        """Let another process write the file."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _hold(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StateBusy("another process writes it") from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock


def _sync(directory: str) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
