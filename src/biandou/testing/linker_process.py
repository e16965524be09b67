"""The real program `biandou linker` or `biandou namerd` as a child: started, read by its log, ended by its id."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from biandou.testing.origin import exchange, get

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0
MAX_LOG_LINES: Final = 10_000

_SERVING = re.compile(r"serving (.+) on (\S+):(\d+)$")


class LinkerFailed(Exception):
    """The linker ended, or did not start in time; the message holds its log."""


class LinkerProcess:
    """A running linker; a context that starts it and ends it.

    Write port 0 for servers and admin in the configuration: `port()` and `admin_port` give the real ones, which are
    read from the log. `log` holds the lines of its standard error.
    """

    def __init__(
        self,
        config: str,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        cwd: str | None = None,
        program: Sequence[str] = (sys.executable, "-m", "biandou"),
        command: str = "linker",
    ) -> None:
        self.log: list[str] = []
        self.servers: dict[str, list[tuple[str, int]]] = {}
        self._config = config
        self._flags = flags
        self._environment = dict(environment or {})
        self._pass_fds = tuple(pass_fds)
        self._cwd = cwd
        self._program = tuple(program)
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._initialized = asyncio.Event()
        self._more = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.stop()

    async def start(self) -> None:
        """Start it and wait until it serves; raises `LinkerFailed`."""
        await self.launch()
        waiting = [asyncio.create_task(self._initialized.wait()), asyncio.create_task(self.process.wait())]
        done, pending = await asyncio.wait(waiting, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if waiting[0] not in done:
            code = await self.kill()
            raise LinkerFailed(f"the linker did not start (exit status {code}):\n" + "\n".join(self.log))

    async def launch(self) -> None:
        """Start it without waiting for it to serve; for configurations that are meant to fail."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="linkerd-", delete=False) as file:
            file.write(self._config)
        self._file = Path(file.name)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **self._environment,
        }
        self._process = await asyncio.create_subprocess_exec(
            *self._program,
            self._command,
            *self._flags,
            file.name,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=self._pass_fds,
            cwd=self._cwd,
        )
        self._reading = asyncio.create_task(self._read_log())

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The child; raises `LinkerFailed` before it was started."""
        if self._process is None:
            raise LinkerFailed("the linker was not started")
        return self._process

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.process.pid

    def port(self, router: str = "http", index: int = 0) -> int:
        """Give the real port of a router's server."""
        return self.servers[router][index][1]

    @property
    def admin_port(self) -> int:
        """The real port of the admin server."""
        return self.servers["http admin"][0][1]

    async def get(self, host: str, path: str = "/", *headers: str, router: str = "http") -> bytes:
        """Send a GET through the router's first server and give the answer's bytes."""
        ip, port = self.servers[router][0]
        return await exchange(ip, port, get(host, path, *headers))

    async def admin(self, path: str) -> bytes:
        """Give the body of an admin page."""
        ip, port = self.servers["http admin"][0]
        answer = await exchange(ip, port, get("admin", path))
        return answer.partition(b"\r\n\r\n")[2]

    def configure(self, config: str) -> None:
        """Write another configuration into the file that it was started with; `reload` or SIGHUP makes it read that."""
        self._file.write_text(config)

    async def reload(self, config: str) -> bytes:
        """Have it read another configuration, and give the admin's whole answer."""
        self.configure(config)
        ip, port = self.servers["http admin"][0]
        return await exchange(ip, port, b"POST /admin/reload HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n")

    async def metrics(self) -> Any:
        """Give `/admin/metrics.json`, read."""
        return json.loads(await self.admin("/admin/metrics.json"))

    async def logged(self, text: str, seconds: float = 10.0) -> str:
        """Wait until a line of the log holds `text` and give that line; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while True:
                found = next((line for line in self.log if text in line), None)
                if found is not None:
                    return found
                self._more.clear()
                await self._more.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self.process.send_signal(number)

    async def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and give the exit status; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            if self._reading is not None:
                await self._reading
        self._file.unlink(missing_ok=True)
        return code

    async def stop(self) -> int:
        """End it gracefully and give the exit status; one that does not end in time is killed."""
        if self.process.returncode is None:
            self.signal(signal.SIGTERM)
        try:
            return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()
        return await self.wait()

    async def _read_log(self) -> None:
        stream = self.process.stderr
        while stream is not None and (line := await stream.readline()):
            text = line.decode(errors="replace").rstrip("\n")
            if len(self.log) < MAX_LOG_LINES:
                self.log.append(text)
            serving = _SERVING.search(text)
            if serving is not None:
                name, ip, port = serving.groups()
                self.servers.setdefault(name, []).append((ip.strip("[]"), int(port)))
            elif text.endswith(" initialized"):
                self._initialized.set()
            self._more.set()
