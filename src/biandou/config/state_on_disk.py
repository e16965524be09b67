"""A state file: replaced as a whole, written by one process at a time, read by whoever starts."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Final, Generic, TypeVar

import msgspec

FORMAT: Final = "biandou state"
VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024 * 1024

S = TypeVar("S", bound=msgspec.Struct)


class _Written(msgspec.Struct):
    """The file: `state` is of `program`'s own form, `saved` in seconds since 1970."""

    format: str
    version: int
    program: str = ""
    saved: float = 0.0
    state: msgspec.Raw = msgspec.Raw(b"null")


class StateUnusable(Exception):
    """The file is not one of ours, or of another version."""


class StateBusy(Exception):
    """Another process writes the file."""


class StateOnDisk(Generic[S]):
    """The file at `path`, of `program`, with a state of the type `form`; each method blocks, and is for a thread."""

    def __init__(self, path: str, program: str, form: type[S]) -> None:
        self.path = path
        self._program = program
        self._form = form
        self._lock: int | None = None

    def read(self) -> tuple[float, S] | None:
        """Give when it was saved, in seconds since 1970, and the state; `None` if there is no file.

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
        try:
            found = msgspec.json.decode(data, type=_Written)
            if (found.format, found.version, found.program) != (FORMAT, VERSION, self._program):
                what = (
                    f"it is of {found.program[:80]!r}" if found.format == FORMAT else f"it is a {found.format[:80]!r}"
                )
                raise StateUnusable(f"{what}, version {found.version}")
            return found.saved, msgspec.json.decode(found.state, type=self._form)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StateUnusable(str(error)) from error

    def write(self, saved: float, state: S) -> None:
        """Replace the file: whoever reads it, after a crash too, finds the former text or this one.

        Raises `OSError`, or `StateBusy`; then the file is as it was.
        """
        directory = os.path.dirname(self.path) or "."
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._hold()
        written = _Written(FORMAT, VERSION, self._program, saved, msgspec.Raw(msgspec.json.encode(state)))
        beside = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(file, "wb") as writer:
                writer.write(msgspec.json.encode(written))
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
