"""Child processes that never outlive the run, each held to one core."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PROXY_CORE = 0
LOAD_CORE = 1


class MissingProgramError(Exception):
    """A program that a measurement needs isn't installed; the text says how to get it."""


def pinned(command: Sequence[str], core: int | str) -> list[str]:
    """Give the command that runs `command` on one core, or on several (`0-1`)."""
    return ["taskset", "--cpu-list", str(core), *command]


class Children:
    """Started processes; leaving the context ends all of them, whatever happened inside."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], *, core: int | str, log: Path) -> subprocess.Popen[bytes]:
        """Start a process on a core, with what it prints going to `log`, in a process group of its own."""
        # What a linker keeps beyond its life is the measurement's.
        environment = {**os.environ, "XDG_STATE_HOME": str(log.with_suffix(".state").absolute()), "STATE_DIRECTORY": ""}
        with log.open("ab") as output:
            child = subprocess.Popen(
                pinned(command, core),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        self._running.append(child)
        return child

    def stop(self, child: subprocess.Popen[bytes]) -> None:
        """End a process and all that it started: first with a request, after three seconds by force."""
        if child in self._running:
            self._running.remove(child)
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._running.copy()):
            self.stop(child)
