"""The demonstration's control plane as the story sees it: the dtab and the canaries that namerd tells, and commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from biandou.demo.children import ChildFailed

NAMESPACE: Final = "default"
PATH: Final = "/svc/web"
AGAIN_SECONDS: Final = 0.2
KNOWN_SECONDS: Final = 10.0


class Control:
    """A namerd at `port`; `dtab` and `canary` are what it told last while `run` runs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dtab: list[str] = []
        self.canary: dict[str, Any] = {}
        self._told = asyncio.Event()
        self._url = f"http://127.0.0.1:{port}/api/1"

    async def known(self) -> None:
        """Wait until namerd has told the dtab; raises `ChildFailed`."""
        try:
            async with asyncio.timeout(KNOWN_SECONDS):
                await self._told.wait()
        except TimeoutError:
            raise ChildFailed(f"namerd did not tell its dtab within {KNOWN_SECONDS:g} s") from None

    async def create(self, dtab: str) -> None:
        """Store the first dtab; raises `ChildFailed`."""
        await self._command("dtab", "create", NAMESPACE, "-", sent=dtab)

    async def start_canary(self, old: str, new: str, interval: float) -> None:
        """Begin to move the requests for `web` from one version to another; raises `ChildFailed`."""
        self.canary = {}
        await self._command(
            "canary", "start", NAMESPACE, PATH, "--from", f"/#/io.l5d.fs/{old}", "--to", f"/#/io.l5d.fs/{new}",
            "--steps", "10,50,100", "--interval", f"{interval * 1000:.0f}ms", "--max-error-rate", "5%",
            "--min-requests", "10", "--max-p99-ratio", "0",
        )  # fmt: skip

    def ended(self, new: str) -> bool:
        """Whether the canary of this version is over, and the dtab is as it shall be then."""
        known = self.canary
        return known.get("to") == f"/#/io.l5d.fs/{new}" and bool(known["settled"]) and known["status"] != "running"

    async def run(self) -> None:
        """Follow what namerd tells until cancelled."""

        def take_dtab(document: bytes) -> None:
            self.dtab = [entry.strip() for entry in document.decode().strip().split(";") if entry.strip()]
            self._told.set()

        def take_canary(document: bytes) -> None:
            self.canary = json.loads(document)

        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
            asyncio.TaskGroup() as both,
        ):
            both.create_task(self._follow(session, f"dtabs/{NAMESPACE}?watch=true", take_dtab))
            both.create_task(self._follow(session, f"canaries/{NAMESPACE}?watch=true&path={PATH}", take_canary))

    async def _follow(self, session: aiohttp.ClientSession, place: str, take: Callable[[bytes], None]) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, ValueError):
                async with session.get(f"{self._url}/{place}", headers={"Accept": "application/dtab"}) as answer:
                    async for line in answer.content:
                        take(line)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _command(self, *arguments: str, sent: str = "") -> None:
        """Run `biandou` as somebody at a terminal would; raises `ChildFailed`."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "BIANDOU_NAMERD": f"http://127.0.0.1:{self.port}",
        }
        command = (sys.executable, "-m", "biandou", *arguments)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
        try:
            _, errors = await process.communicate(sent.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            raise ChildFailed(f"biandou {' '.join(arguments)}: {errors.decode(errors='replace').strip()}")
