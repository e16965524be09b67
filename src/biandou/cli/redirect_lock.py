"""One at a time: who puts rules in force in a network namespace is known to whoever comes after."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from biandou.cli.redirect_kernel import RedirectError

END_SECONDS: Final = 20.0
"""A guard ends within a look and the time that the kernel's tools take."""
_RUN: Final = Path("/run")


@contextlib.contextmanager
def alone(run: Path = _RUN) -> Iterator[None]:
    """Keep others from putting rules in force; raises `RedirectError` if somebody does already."""
    file = _file(run)
    while True:
        descriptor = _open(file)
        if not _locked(descriptor):
            holder = _holder(descriptor)
            os.close(descriptor)
            raise RedirectError(f"process {holder} holds rules here already (`biandou redirect remove` ends it)")
        if _is(file, descriptor):
            break
        # The former holder has taken its file away in between.
        os.close(descriptor)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def end_holder(run: Path = _RUN, seconds: float = END_SECONDS) -> bool:
    """End the process that holds rules here, and wait for that; says whether there was one.

    Raises `RedirectError` if it doesn't end.
    """
    if not _file(run).exists():
        return False
    descriptor = _open(_file(run))
    try:
        if _locked(descriptor):
            # One that was killed has left its file.
            if _is(_file(run), descriptor):
                _file(run).unlink()
            return False
        holder, until = _holder(descriptor), time.monotonic() + seconds
        if holder:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGTERM)
        while not _locked(descriptor):
            if time.monotonic() > until:
                raise RedirectError(f"process {holder} holds rules here, and does not end")
            time.sleep(0.05)
        return True
    finally:
        os.close(descriptor)


def _file(run: Path) -> Path:
    namespace = Path("/proc/self/ns/net").stat().st_ino
    return run / f"biandou-redirect-{namespace}.lock"


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RedirectError(f"{file}: {error.strerror}") from error


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> int:
    """Give the process that has written itself down; 0 if it has not yet."""
    text = os.pread(descriptor, 32, 0)
    return int(text) if text.isdigit() else 0
