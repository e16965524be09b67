"""The demonstration's child processes: started, waited for until they serve, ended by pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0

_SERVING = re.compile(r"serving (.+) on (\S+):(\d+)$")


class ChildFailed(Exception):
    """A child process ended before it served, or took too long; the message holds what it said."""


class Child:
    """A child process that serves on `port`, and a linker's or namerd's admin on `admin_port`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.port = 0
        self.admin_port = 0
        self._process = process
        self._said: deque[str] = deque(maxlen=50)
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def kill(self) -> None:
        """End it as a crash would, and wait until the system has closed its sockets."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """End it gracefully; one that does not end in time is killed."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()
        if self._reading is not None:
            await self._reading

    async def serve_service(self) -> None:
        """Wait for the port that a service prints."""
        stream = self._process.stdout
        line = (await stream.readline()).decode() if stream is not None else ""
        if not line.strip().isdecimal():
            await self.kill()
            raise ChildFailed(f"{self.name} did not start")
        self.port = int(line)

    async def serve_program(self) -> None:
        """Wait until a linker or namerd says that it is initialized, and take its ports from its log."""
        stream = self._process.stderr
        while stream is not None and (line := (await stream.readline()).decode(errors="replace").rstrip()):
            self._said.append(line)
            serving = _SERVING.search(line)
            if serving is not None and serving[1].endswith(" admin"):
                self.admin_port = int(serving[3])
            elif serving is not None:
                self.port = int(serving[3])
            elif line.endswith(" initialized"):
                self._reading = asyncio.create_task(self._keep_reading(stream))
                return
        await self.kill()
        raise ChildFailed(f"{self.name} did not start:\n" + "\n".join(self._said))

    async def _keep_reading(self, stream: asyncio.StreamReader) -> None:
        """Read on, so that its log never stands still."""
        while line := await stream.readline():
            self._said.append(line.decode(errors="replace").rstrip())


async def start_service(
    service: str, version: str, instance: str, mood: str = "", *, ip: str = "127.0.0.1", within: Sequence[str] = ()
) -> Child:
    """Start a service and wait until it listens; raises `ChildFailed`. Its mood may be `failing`.

    `within` is put before its command (`Host.within`).
    """
    process = await asyncio.create_subprocess_exec(
        *within,
        sys.executable,
        "-m",
        "biandou.demo.service",
        service,
        version,
        instance,
        mood,
        ip,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    return await _started(Child(instance, process), program=False)


async def start_linker(name: str, config: Path, within: Sequence[str] = ()) -> Child:
    """Start `biandou linker` and wait until it serves; raises `ChildFailed`."""
    return await _start_program(f"the linker {name}", config, "linker", "--workers", "1", within=within)


async def start_namerd(config: Path) -> Child:
    """Start `biandou namerd` and wait until it serves; raises `ChildFailed`."""
    return await _start_program("namerd", config, "namerd")


async def _start_program(name: str, config: Path, *arguments: str, within: Sequence[str] = ()) -> Child:
    process = await asyncio.create_subprocess_exec(
        *within,
        sys.executable,
        "-m",
        "biandou",
        *arguments,
        str(config),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # What it keeps beyond its life is the demo's, not the user's; hosts that we pretend have one file system.
        env={**_environment(), "XDG_STATE_HOME": str(config.with_suffix(".state")), "STATE_DIRECTORY": ""},
        start_new_session=True,
    )
    return await _started(Child(name, process), program=True)


async def _started(child: Child, *, program: bool) -> Child:
    try:
        async with asyncio.timeout(START_SECONDS):
            await (child.serve_program() if program else child.serve_service())
    except TimeoutError:
        await child.kill()
        raise ChildFailed(f"{child.name} did not start within {START_SECONDS:.0f} s") from None
    except asyncio.CancelledError:
        await child.kill()
        raise
    return child


def _environment() -> dict[str, str]:
    # Children import what we import, also from a source tree that is not installed.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
